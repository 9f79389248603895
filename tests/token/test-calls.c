/* What things cost in C_* calls, exactly. */
#include "harness.h"

#include <openssl/rsa.h>
#include <openssl/x509.h>

static void sign(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char sig[1024];
    size_t len = sizeof(sig);

    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", libctx, NULL, key, NULL), 1);
    assert_int_equal(EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"message", 7), 1);
    EVP_MD_CTX_free(ctx);
}

static void sign_digest(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    unsigned char sig[1024], digest[32] = { 1 };
    size_t len = 0;

    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()), 1);
    assert_int_equal(EVP_PKEY_sign(ctx, NULL, &len, digest, sizeof(digest)), 1);
    assert_int_equal(EVP_PKEY_sign(ctx, sig, &len, digest, sizeof(digest)), 1);
    EVP_PKEY_CTX_free(ctx);
}

/* What a key's first uses may cost once: the first asks for the mechanism, the third copies the key
 * (token/copies has what that costs). */
static void settle(OSSL_LIB_CTX *libctx, EVP_PKEY *key, void (*use)(OSSL_LIB_CTX *, EVP_PKEY *))
{
    for (int n = 0; n < 3; n++)
        use(libctx, key);
}

/* Loading the provider makes no call at all. */
static void test_calls_none_before_use(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");

    (void)state;
    assert_non_null(libctx);
    assert_int_equal(calls(NULL), 0);
    OSSL_LIB_CTX_free(libctx);
}

static void test_calls_two_per_signature(void **state)
{
    static const char *const labels[] = { "rsa2048", "p256" };
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(labels); i++) {
        EVP_PKEY *key = key_load(libctx, labels[i], "private");

        assert_non_null(key);
        settle(libctx, key, sign);
        calls_reset();
        for (int n = 0; n < 100; n++) {
            sign(libctx, key);
            sign_digest(libctx, key);
        }
        assert_int_equal(calls("C_SignInit"), 200);
        assert_int_equal(calls("C_Sign"), 200);
        assert_int_equal(calls(NULL), 400);
        EVP_PKEY_free(key);
    }
    OSSL_LIB_CTX_free(libctx);
}

static void decrypt(OSSL_LIB_CTX *libctx, EVP_PKEY *key, int padding, const char *digest)
{
    EVP_PKEY_CTX *encrypter = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    unsigned char encrypted[512], out[512];
    size_t encrypted_len = sizeof(encrypted), len = sizeof(out);

    assert_int_equal(EVP_PKEY_encrypt_init(encrypter), 1);
    assert_int_equal(EVP_PKEY_decrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(encrypter, padding), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, padding), 1);
    if (digest != NULL) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md_name(encrypter, digest, NULL), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, digest, NULL), 1);
    }
    assert_int_equal(
        EVP_PKEY_encrypt(encrypter, encrypted, &encrypted_len, (const unsigned char *)"message", 7),
        1);
    assert_int_equal(EVP_PKEY_decrypt(ctx, out, &len, encrypted, encrypted_len), 1);
    assert_int_equal(len, 7);
    EVP_PKEY_CTX_free(encrypter);
    EVP_PKEY_CTX_free(ctx);
}

/* With the padding taken off by the token (OAEP with SHA-1) or on the host (the others). */
static void test_calls_two_per_decryption(void **state)
{
    static const struct {
        int padding;
        const char *digest;
    } cases[] = { { RSA_PKCS1_PADDING, NULL },
                  { RSA_PKCS1_OAEP_PADDING, "SHA1" },
                  { RSA_PKCS1_OAEP_PADDING, "SHA256" } };
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    EVP_PKEY *key = key_load(libctx, "rsa2048", "private");

    (void)state;
    settle(libctx, key, sign);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        decrypt(libctx, key, cases[i].padding, cases[i].digest); /* it learns what the token has */
        calls_reset();
        for (int n = 0; n < 50; n++)
            decrypt(libctx, key, cases[i].padding, cases[i].digest);
        assert_int_equal(calls("C_DecryptInit"), 50);
        assert_int_equal(calls("C_Decrypt"), 50);
        assert_int_equal(calls(NULL), 100);
    }
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* Public operations: none on the token, or two each where it is told to. */
static void test_calls_public_operations(void **state)
{
    static const struct {
        const char *settings;
        unsigned long calls;
    } cases[] = { { "", 0 }, { "pkcs11-public-operations = token\n", 20 } };
    static const char *const kinds[] = { "private", "public" };

    (void)state;
    for (size_t c = 0; c < COUNT_OF(cases); c++)
        for (size_t k = 0; k < COUNT_OF(kinds); k++) {
            OSSL_LIB_CTX *libctx = libctx_new_faulty(cases[c].settings);
            EVP_PKEY *key = key_load(libctx, "rsa2048", kinds[k]);
            EVP_PKEY *private = key_load(libctx, "rsa2048", "private");
            EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
            EVP_PKEY_CTX *signer = EVP_PKEY_CTX_new_from_pkey(libctx, private, NULL);
            unsigned char sig[256];
            size_t len = sizeof(sig);

            assert_int_equal(EVP_PKEY_sign_init(signer), 1);
            assert_int_equal(EVP_PKEY_sign(signer, sig, &len, (const unsigned char *)"abc", 3), 1);
            assert_int_equal(EVP_PKEY_verify_init(ctx), 1);
            assert_int_equal(EVP_PKEY_verify(ctx, sig, len, (const unsigned char *)"abc", 3), 1);
            calls_reset(); /* the private key's public half is found by now */
            for (int n = 0; n < 10; n++)
                assert_int_equal(EVP_PKEY_verify(ctx, sig, len, (const unsigned char *)"abc", 3),
                                 1);
            if (calls(NULL) != cases[c].calls)
                fail_msg("%s %s: %lu calls", cases[c].settings, kinds[k], calls(NULL));
            EVP_PKEY_CTX_free(ctx);
            EVP_PKEY_CTX_free(signer);
            EVP_PKEY_free(key);
            EVP_PKEY_free(private);
            OSSL_LIB_CTX_free(libctx);
        }
}

/* What a process that begins pays: C_Initialize, C_GetSlotList, C_GetTokenInfo, C_OpenSession,
 * C_GetTokenInfo again, since it may be another token by now, and C_Login, a search (3), and one
 * call for each half; then two for a signature. A key that is opened again is read and not searched
 * for, an RSA key's private half alone. */
static void test_calls_opening(void **state)
{
    static const struct {
        const char *label;
        unsigned long first, again;
    } cases[] = { { "rsa2048", 11, 1 }, { "p256", 11, 2 } };
    static const char *const kinds[] = { "private", "public" };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        OSSL_LIB_CTX *libctx = libctx_new_faulty("");
        EVP_PKEY *key;
        unsigned char *der = NULL;

        calls_reset();
        key = key_load(libctx, cases[i].label, "private");
        assert_true(i2d_PUBKEY(key, &der) > 0);
        assert_int_equal(calls(NULL), cases[i].first);
        sign_digest(libctx, key);
        assert_int_equal(calls(NULL), cases[i].first + 2);
        EVP_PKEY_free(key);
        for (size_t k = 0; k < COUNT_OF(kinds); k++) {
            calls_reset();
            key = key_load(libctx, cases[i].label, kinds[k]);
            assert_int_equal(calls(NULL), k == 0 ? cases[i].again : 4);
            EVP_PKEY_free(key);
        }
        OPENSSL_free(der);
        OSSL_LIB_CTX_free(libctx);
    }
}

/* One C_Initialize and one C_Login, whatever the number of keys. */
static void test_calls_one_login(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");

    (void)state;
    calls_reset();
    for (int n = 0; n < 5; n++) {
        EVP_PKEY *key = key_load(libctx, n % 2 != 0 ? "rsa2048" : "p256", "private");

        sign(libctx, key);
        EVP_PKEY_free(key);
    }
    assert_int_equal(calls("C_Initialize"), 1);
    assert_int_equal(calls("C_Login"), 1);
    assert_int_equal(calls("C_OpenSession"), 1);
    assert_int_equal(calls("C_GetSlotList"), 1);
    OSSL_LIB_CTX_free(libctx);
    assert_int_equal(calls("C_Finalize"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_none_before_use),
        cmocka_unit_test(test_calls_two_per_signature),
        cmocka_unit_test(test_calls_two_per_decryption),
        cmocka_unit_test(test_calls_public_operations),
        cmocka_unit_test(test_calls_opening),
        cmocka_unit_test(test_calls_one_login),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
