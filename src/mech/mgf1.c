#include "mech/mgf1.h"

#include "base/libcrypto.h"
#include "base/scope.h"

bool mgf1_mask(const EVP_MD *md, const uint8_t *seed, size_t seed_len, uint8_t *bytes, size_t len)
{
    _cleanup_(md_ctx_scoped) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t hash_len = (size_t)EVP_MD_get_size(md);
    uint8_t hash[EVP_MAX_MD_SIZE];
    uint32_t counter = 0;

    for (size_t done = 0; ctx != NULL && done < len; done += hash_len, counter++) {
        const uint8_t count[] = { (uint8_t)(counter >> 24), (uint8_t)(counter >> 16),
                                  (uint8_t)(counter >> 8), (uint8_t)counter };

        if (EVP_DigestInit_ex2(ctx, md, NULL) != 1 || EVP_DigestUpdate(ctx, seed, seed_len) != 1 ||
            EVP_DigestUpdate(ctx, count, sizeof(count)) != 1 ||
            EVP_DigestFinal_ex(ctx, hash, NULL) != 1)
            return false;
        for (size_t i = 0; i < hash_len && done + i < len; i++)
            bytes[done + i] ^= hash[i];
    }
    return ctx != NULL;
}
