/* SHOWN: pss_encode stays in its buffers and refuses what does not fit
 * BOUND: moduli of 512 to 16384 bits, any digest, any salt (2^30 bytes)
 * FILES: src/mech/pss.c tests/proofs/stubs/openssl.c tests/proofs/stubs/mask.c
 * CBMC: --unwind 2
 * BREAK: src/mech/pss.c s/em_len < hash.len + salt.len + 2/em_len < hash.len + 2/
 */
#include "proof.h"

#include "mech/pss.h"
#include "stubs/openssl.h"

void proof(void)
{
    const EVP_MD *md = any_md_used();
    size_t len = (size_t)EVP_MD_get_size(md);
    unsigned bits = (unsigned)any_size(8 * 2048);

    ASSUME(bits >= 512);
    (void)pss_encode(md, any_md(), (struct view){ any_memory(len), len }, any_view((size_t)1 << 30),
                     bits, any_memory((bits + 7) / 8));
}
