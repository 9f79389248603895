/* The provider on the token of tests/token32. */
#include "harness.h"

static void test_p256_signs(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();
    EVP_PKEY *key = key_load(libctx, "p256", "private"), *public = key_public_copy(key, plain);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char signature[80], message[] = "a message to be signed";
    size_t len = sizeof(signature);

    (void)state;
    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA2-256", libctx, NULL, key, NULL), 1);
    assert_int_equal(EVP_DigestSign(ctx, signature, &len, message, sizeof(message)), 1);
    EVP_MD_CTX_reset(ctx);
    assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, "SHA2-256", plain, NULL, public, NULL), 1);
    assert_int_equal(EVP_DigestVerify(ctx, signature, len, message, sizeof(message)), 1);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    EVP_PKEY_free(public);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_p256_signs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
