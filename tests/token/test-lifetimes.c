/* Things that outlive each other, several of everything, and fork. */
#include "harness.h"

#include <sys/wait.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/provider.h>

static void test_lifetimes_two_contexts_share_the_module(void **state)
{
    OSSL_LIB_CTX *a = libctx_new_faulty(""), *b = libctx_new_faulty("pkcs11-sessions-max = 3\n");
    EVP_PKEY *key_a, *key_b;

    (void)state;
    calls_reset();
    key_a = key_load(a, "p256", "private");
    key_b = key_load(b, "rsa2048", "private");
    assert_true(key_signs(a, key_a));
    assert_true(key_signs(b, key_b));
    assert_int_equal(calls("C_Initialize"), 1);
    assert_int_equal(calls("C_Login"), 1);
    EVP_PKEY_free(key_a);
    OSSL_LIB_CTX_free(a);
    assert_int_equal(calls("C_Finalize"), 0);
    assert_true(key_signs(b, key_b));
    EVP_PKEY_free(key_b);
    OSSL_LIB_CTX_free(b);
    assert_int_equal(calls("C_Finalize"), 1);
}

static void test_lifetimes_key_outlives_context(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *key = key_load(libctx, "p256", "private");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);

    (void)state;
    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    EVP_PKEY_free(key); /* the context keeps it */
    {
        unsigned char sig[128], digest[32] = { 0 };
        size_t len = sizeof(sig);

        assert_int_equal(EVP_PKEY_sign(ctx, sig, &len, digest, sizeof(digest)), 1);
    }
    EVP_PKEY_CTX_free(ctx);
    OSSL_LIB_CTX_free(libctx);
}

static void test_lifetimes_load_and_unload(void **state)
{
    (void)state;
    for (int n = 0; n < 1000; n++) {
        OSSL_LIB_CTX *libctx = libctx_new("");
        EVP_PKEY *key = key_load(libctx, "p256", "private");

        assert_true(key_signs(libctx, key));
        EVP_PKEY_free(key);
        OSSL_LIB_CTX_free(libctx);
    }
}

/* A child signs with the key that its parent loaded, and the parent goes on. */
static void test_lifetimes_fork(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *key = key_load(libctx, "p256", "private");

    (void)state;
    assert_true(key_signs(libctx, key));
    for (int n = 0; n < 5; n++) {
        pid_t child = fork();
        int status = 0;

        if (child == 0)
            _exit(key_signs(libctx, key) && key_signs(libctx, key) ? 0 : 1);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_true(key_signs(libctx, key));
    }
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* A wrong PIN costs one C_Login, however often it is used. */
static void test_lifetimes_wrong_pin_is_tried_once(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-module-token-pin = 9999\n");
    char error[512];

    (void)state;
    calls_reset();
    ERR_clear_error();
    assert_null(key_load(libctx, "p256", "private"));
    assert_non_null(strstr(last_error(error, sizeof(error)), "C_Login: CKR_PIN_INCORRECT"));
    for (int n = 0; n < 10; n++)
        assert_null(key_load(libctx, "p256", "private"));
    assert_non_null(strstr(last_error(error, sizeof(error)), "refused this PIN before"));
    assert_null(strstr(error, "9999"));
    assert_int_equal(calls("C_Login"), 1);
    OSSL_LIB_CTX_free(libctx);
}

/* Loading costs nothing and cannot fail for want of a module: the first use says so. */
static void test_lifetimes_missing_module(void **state)
{
    OSSL_LIB_CTX *libctx;
    char error[512];

    (void)state;
    setenv("PKCS11_PROVIDER_MODULE", "/nonexistent/module.so", 1);
    libctx = libctx_new("");
    assert_non_null(libctx);
    ERR_clear_error();
    assert_null(key_load(libctx, "p256", "private"));
    assert_non_null(strstr(last_error(error, sizeof(error)), "/nonexistent/module.so"));
    unsetenv("PKCS11_PROVIDER_MODULE");
    OSSL_LIB_CTX_free(libctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lifetimes_two_contexts_share_the_module),
        cmocka_unit_test(test_lifetimes_key_outlives_context),
        cmocka_unit_test(test_lifetimes_load_and_unload),
        cmocka_unit_test(test_lifetimes_fork),
        cmocka_unit_test(test_lifetimes_wrong_pin_is_tried_once),
        cmocka_unit_test(test_lifetimes_missing_module),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
