#include "unit.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

#include "mech/pss.h"

#define BLOCK_MAX 512

/* A raw signature over the block, verified by libcrypto with exactly this salt. */
static bool verifies(EVP_PKEY *key, const char *md, const char *mgf1, struct view hash, int salt,
                     const uint8_t *block)
{
    EVP_PKEY_CTX *signer = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    EVP_MD *digest = EVP_MD_fetch(NULL, md, NULL);
    uint8_t sig[BLOCK_MAX];
    size_t len = sizeof(sig);
    bool ok = EVP_PKEY_sign_init(signer) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(signer, RSA_NO_PADDING) == 1 &&
              EVP_PKEY_sign(signer, sig, &len, block, (size_t)EVP_PKEY_get_size(key)) == 1 &&
              EVP_PKEY_verify_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
              EVP_PKEY_CTX_set_signature_md(ctx, digest) == 1 &&
              EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, salt) == 1 &&
              EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, mgf1, NULL) == 1 &&
              EVP_PKEY_verify(ctx, sig, len, hash.data, hash.len) == 1;

    EVP_MD_free(digest);
    EVP_PKEY_CTX_free(signer);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* Moduli of every length modulo 8: of 8n + 1 bits the block is a byte longer than what is encoded.
 */
static void test_pss_verifies(void **state)
{
    static const size_t moduli[] = { 1024, 1025, 1026, 1028, 1031 };
    static const char *const names[] = { "SHA1", "SHA256", "SHA384", "SHA3-256", "SHA512-256" };
    uint8_t message_hash[EVP_MAX_MD_SIZE], salt[BLOCK_MAX], block[BLOCK_MAX];

    (void)state;
    memset(message_hash, 0x5a, sizeof(message_hash));
    memset(salt, 0xa5, sizeof(salt));
    for (size_t b = 0; b < COUNT_OF(moduli); b++) {
        EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", moduli[b]);

        for (size_t d = 0; d < COUNT_OF(names) * COUNT_OF(names); d++) {
            const char *name = names[d / COUNT_OF(names)];
            const char *mask = names[d % COUNT_OF(names)];
            EVP_MD *md = EVP_MD_fetch(NULL, name, NULL), *mgf1 = EVP_MD_fetch(NULL, mask, NULL);
            struct view hash = { message_hash, (size_t)EVP_MD_get_size(md) };
            size_t most = (moduli[b] - 1 + 7) / 8 - hash.len - 2;
            const size_t lengths[] = { 0, 1, hash.len, most };

            for (size_t s = 0; s < COUNT_OF(lengths); s++) {
                struct view chosen = { salt, lengths[s] };

                if (lengths[s] > most)
                    continue;
                check_case(pss_encode(md, mgf1, hash, chosen, (unsigned)moduli[b], block) &&
                               verifies(key, name, mask, hash, (int)lengths[s], block),
                           name);
            }
            check_case(!pss_encode(md, mgf1, hash, (struct view){ salt, most + 1 },
                                   (unsigned)moduli[b], block),
                       name);
            EVP_MD_free(md);
            EVP_MD_free(mgf1);
        }
        EVP_PKEY_free(key);
    }
}

static void test_pss_modulus_too_short(void **state)
{
    EVP_MD *md = EVP_MD_fetch(NULL, "SHA512", NULL);
    uint8_t hash[64] = { 0 }, block[BLOCK_MAX];

    (void)state;
    for (unsigned bits = 512; bits <= 521; bits++)
        assert_false(pss_encode(md, md, VIEW(hash), (struct view){ NULL, 0 }, bits, block));
    assert_true(pss_encode(md, md, VIEW(hash), (struct view){ NULL, 0 }, 530, block));
    EVP_MD_free(md);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pss_verifies),
        cmocka_unit_test(test_pss_modulus_too_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
