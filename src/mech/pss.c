#include "mech/pss.h"

#include <string.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "mech/mgf1.h"

/* H = Hash(eight zeros || hash || salt) */
static bool hash_salted(const EVP_MD *md, struct view hash, struct view salt, uint8_t *out)
{
    static const uint8_t zeros[8] = { 0 };
    _cleanup_(md_ctx_scoped) EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    return ctx != NULL && EVP_DigestInit_ex2(ctx, md, NULL) == 1 &&
           EVP_DigestUpdate(ctx, zeros, sizeof(zeros)) == 1 &&
           EVP_DigestUpdate(ctx, hash.data, hash.len) == 1 &&
           EVP_DigestUpdate(ctx, salt.data, salt.len) == 1 &&
           EVP_DigestFinal_ex(ctx, out, NULL) == 1;
}

bool pss_encode(const EVP_MD *md, const EVP_MD *mgf1, struct view hash, struct view salt,
                unsigned bits, uint8_t *block)
{
    size_t em_bits = bits - 1, em_len = (em_bits + 7) / 8, size = (bits + 7) / 8;
    uint8_t *em = block + (size - em_len); /* one byte later, where the modulus begins with 1 */
    size_t db_len = em_len - hash.len - 1; /* DB = zeros || 01 || salt */

    if (em_len < hash.len + salt.len + 2)
        return false;
    memset(block, 0, size);
    em[db_len - salt.len - 1] = 1;
    if (salt.len != 0)
        memcpy(em + db_len - salt.len, salt.data, salt.len);
    if (!hash_salted(md, hash, salt, em + db_len) ||
        !mgf1_mask(mgf1, em + db_len, hash.len, em, db_len))
        return false;
    em[0] &= (uint8_t)(0xff >> (8 * em_len - em_bits));
    em[em_len - 1] = 0xbc;
    return true;
}
