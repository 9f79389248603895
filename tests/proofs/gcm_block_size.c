/* SHOWN: gcm_block_size reserves nothing beyond the limit, something before it, and no more than a
 *        block: no number twice, none past the limit, and an end
 * BOUND: none: any two numbers of 64 bits
 * FILES: src/key/gcm_state.c
 * CBMC: --unwind 2
 * BREAK: src/key/gcm_state.c s/reserved >= limit/reserved > limit/
 */
#include "key/gcm_state.h"
#include "proof.h"

void proof(void)
{
    uint64_t reserved = nondet_size(), limit = nondet_size(), size;

    size = gcm_block_size(reserved, limit);
    CHECK(size <= GCM_BLOCK_MOST, "a block at most");
    CHECK((size == 0) == (reserved >= limit), "none only where there are none");
    CHECK(size == 0 || size <= limit - reserved, "none beyond the limit");
}
