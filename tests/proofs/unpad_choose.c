/* SHOWN: unpad_choose stays in its buffers, and gives one of the two lengths
 * BOUND: blocks of up to 2048 bytes (UNPAD_MAX), any content
 * FILES: src/mech/unpad.c tests/proofs/stubs/openssl.c tests/proofs/stubs/mask.c
 * CC: -Dmemcpy=copied
 * CBMC: --unwind 5
 * BREAK: src/mech/unpad.c s/choose_bytes(~good, out, substitute, size)/choose_bytes(~good, out, substitute, size + 1)/
 * BREAK: src/mech/unpad.c s/i + WORD <= len; i +=/i < len; i +=/
 */
#include "proof.h"

#include "mech/unpad.h"

void proof(void)
{
    size_t size = any_size(UNPAD_MAX), right = any_size(size), wrong = any_size(size), len = right;
    ct_mask good = nondet_bool() ? ~(ct_mask)0 : 0;

    unpad_choose(good, any_memory(size), &len, any_memory(size), wrong, size);
    CHECK(len == (good != 0 ? right : wrong), "the length of the one that was chosen");
}
