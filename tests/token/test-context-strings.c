/* Context strings of ML-DSA and SLH-DSA, on the token of tests/token32: kept, and passed over. */
#include "harness.h"
#include "module.h"

#include <openssl/err.h>
#include <openssl/params.h>

#define SIGNATURE_MAX 50000

static const char *const algorithms[] = { "ML-DSA-44", "ML-DSA-65", "ML-DSA-87",
                                          "SLH-DSA-SHA2-128f" };

static unsigned char signature[SIGNATURE_MAX], message[] = "a message", context[] = "context";

/* The length of what was signed; 0: an error. */
static size_t sign(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const OSSL_PARAM *params,
                   const unsigned char *data, size_t data_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = sizeof(signature);

    if (EVP_DigestSignInit_ex(ctx, NULL, NULL, libctx, NULL, key, params) != 1 ||
        EVP_DigestSign(ctx, signature, &len, data, data_len) != 1)
        len = 0;
    EVP_MD_CTX_free(ctx);
    return len;
}

static bool verifies(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const OSSL_PARAM *params, size_t len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const bool ok = EVP_DigestVerifyInit_ex(ctx, NULL, NULL, libctx, NULL, key, params) == 1 &&
                    EVP_DigestVerify(ctx, signature, len, message, sizeof(message)) == 1;

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

static void with_context(size_t len, OSSL_PARAM params[2])
{
    params[0] = OSSL_PARAM_construct_octet_string("context-string", context, len);
    params[1] = OSSL_PARAM_construct_end();
}

static void check_kept(const char *algorithm)
{
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();
    EVP_PKEY *key = key_load(libctx, algorithm, "private"), *public = key_public_copy(key, plain);
    OSSL_PARAM params[2], other[2];
    size_t len;

    with_context(sizeof(context), params);
    with_context(sizeof(context) - 1, other);
    len = sign(libctx, key, params, message, sizeof(message));
    assert_true(verifies(plain, public, params, len));
    assert_false(verifies(plain, public, other, len));
    assert_false(verifies(plain, public, NULL, len));
    EVP_PKEY_free(key);
    EVP_PKEY_free(public);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* A signature without the context is good for another purpose than the one that was asked for. */
static void check_passed_over(const char *algorithm)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *key = key_load(libctx, algorithm, "private");
    const unsigned char encoded[] = { 0, 3, 'a', 'b', 'c', 'm' };
    const unsigned char hashed[2 + 11 + 32] = {
        1, 0, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1
    }; /* by SHA-256 */
    int raw = 0;
    const OSSL_PARAM raw_params[] = { OSSL_PARAM_construct_int("message-encoding", &raw),
                                      OSSL_PARAM_construct_end() };
    OSSL_PARAM params[2];
    char error[600];

    assert_non_null(key);
    with_context(sizeof(context), params);
    setenv("TOKEN32_NO_CONTEXTS", "1", 1);
    assert_int_equal(sign(libctx, key, params, message, sizeof(message)), 0);
    assert_non_null(strstr(last_error(error, sizeof(error)), "cannot sign with a context string"));
    assert_int_equal(sign(libctx, key, raw_params, encoded, sizeof(encoded)), 0);
    assert_non_null(strstr(last_error(error, sizeof(error)), "cannot sign with a context string"));
    assert_int_equal(sign(libctx, key, raw_params, hashed, sizeof(hashed)), 0);
    assert_non_null(strstr(last_error(error, sizeof(error)), "cannot sign what was hashed before"));
    assert_true(sign(libctx, key, NULL, message, sizeof(message)) > 0);
    unsetenv("TOKEN32_NO_CONTEXTS");
    assert_true(sign(libctx, key, raw_params, hashed, sizeof(hashed)) > 0);
    assert_true(sign(libctx, key, params, message, sizeof(message)) > 0);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static void test_contexts_are_kept(void **state)
{
    (void)state;
    NEEDS("ML-DSA-44");
    for (size_t i = 0; i < COUNT_OF(algorithms); i++)
        check_kept(algorithms[i]);
}

static void test_contexts_that_are_passed_over_are_noticed(void **state)
{
    (void)state;
    NEEDS("ML-DSA-44");
    for (size_t i = 0; i < COUNT_OF(algorithms); i++)
        check_passed_over(algorithms[i]);
}

/* Their labels are their names. */
static int keys_make(void **state)
{
    ck_session_handle_t session;

    (void)state;
    module_open();
    if (!is_known("ML-DSA-44"))
        return 0;
    OK(v2->C_Initialize(NULL));
    session = session_login();
    for (size_t i = 0; i < COUNT_OF(algorithms); i++)
        object_generate(session, algorithms[i], algorithms[i]);
    OK(v2->C_Finalize(NULL));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contexts_are_kept),
        cmocka_unit_test(test_contexts_that_are_passed_over_are_noticed),
    };

    return cmocka_run_group_tests(tests, keys_make, NULL);
}
