/* SHOWN: unpad_lengthen stays in the block
 * BOUND: blocks of up to 2048 bytes (UNPAD_MAX), of whatever length the token made them
 * FILES: src/mech/unpad.c tests/proofs/stubs/openssl.c tests/proofs/stubs/mask.c
 * CC: -Dmemcpy=copied
 * CBMC: --unwind 5
 * BREAK: src/mech/unpad.c s/i >= step + WORD; i -=/i >= step; i -=/
 * BREAK: src/mech/unpad.c s/step <= len; step <<= 1/step <= 2 * len; step <<= 1/
 */
#include "proof.h"

#include "mech/unpad.h"

void proof(void)
{
    size_t size = any_size(UNPAD_MAX);

    unpad_lengthen(any_memory(size), size, any_size(size));
}
