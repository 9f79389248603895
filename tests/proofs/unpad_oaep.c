/* SHOWN: unpad_oaep stays in its buffers, refuses a block that is too short for the digest, and a message is shorter than its block
 * BOUND: any block (2^46 bytes; those over UNPAD_MAX are refused), any digest, any label
 * FILES: src/mech/unpad.c tests/proofs/stubs/openssl.c tests/proofs/stubs/mask.c
 * CC: -Dmemcpy=copied
 * CBMC: --unwind 5
 * BREAK: src/mech/unpad.c s/block.len > sizeof(em) || //
 * BREAK: src/mech/unpad.c s/ || block.len < 2 \* hash_len + 2//
 */
#include "proof.h"

#include "mech/unpad.h"
#include "stubs/openssl.h"

void proof(void)
{
    struct view block = any_view(ANY_LENGTH), label = any_view(ANY_LENGTH);
    ct_mask good = 0;
    size_t len = 0;

    if (unpad_oaep(block, any_md(), any_md(), label, any_memory(block.len), &len, &good))
        CHECK(len < block.len, "shorter than the block");
}
