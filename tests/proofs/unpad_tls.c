/* SHOWN: unpad_tls reads nothing outside the block and writes the premaster secret alone
 * BOUND: blocks of 64 to 2048 bytes (RSA_MODULUS_LEAST, UNPAD_MAX), any content, any versions
 * FILES: src/mech/unpad.c tests/proofs/stubs/openssl.c tests/proofs/stubs/mask.c
 * CC: -Dmemcpy=copied
 * CBMC: --unwind 5
 * BREAK: src/mech/unpad.c s/zero + 1;/zero + 2;/
 * BREAK: src/mech/unpad.c s/i + WORD <= len; i +=/i <= len; i +=/
 */
#include "proof.h"

#include "mech/unpad.h"

void proof(void)
{
    struct view block = any_view(UNPAD_MAX);

    ASSUME(block.len >= 64);
    unpad_tls(block, nondet_unsigned(), nondet_unsigned(), any_memory(PREMASTER_LEN));
}
