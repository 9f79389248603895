/* SHOWN: mgf1_mask stays in its buffers
 * BOUND: any seed, any length (2^46 bytes), any digest
 * FILES: src/mech/mgf1.c tests/proofs/stubs/openssl.c
 * CBMC: --unwind 2
 * BREAK: src/mech/mgf1.c s/i < hash_len \&\& done + i < len/i < hash_len/
 */
#include "proof.h"

#include "mech/mgf1.h"
#include "stubs/openssl.h"

void proof(void)
{
    struct view seed = any_view(ANY_LENGTH);
    size_t len = any_size(ANY_LENGTH);

    (void)mgf1_mask(any_md_used(), seed.data, seed.len, any_memory(len), len);
}
