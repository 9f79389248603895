/* Deleting objects, and random numbers. */
#include "harness.h"

#include <dlfcn.h>

#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/store.h>
#include <openssl/ui.h>

/* OSSL_STORE_delete is of OpenSSL 3.2. */
typedef int store_delete(const char *uri, OSSL_LIB_CTX *libctx, const char *propq,
                         const UI_METHOD *ui_method, void *ui_data, const OSSL_PARAM params[]);

static store_delete *find_delete(void)
{
    store_delete *function;

    *(void **)&function = dlsym(RTLD_DEFAULT, "OSSL_STORE_delete");
    if (function == NULL)
        skip();
    return function;
}

static void test_objects_delete(void **state)
{
    store_delete *delete = find_delete();
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *key = key_load(libctx, "p256", "private");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char sig[128];
    size_t len = sizeof(sig);
    static const struct {
        const char *uri, *error; /* NULL: it is deleted */
    } steps[] = {
        { "pkcs11:token=soft;object=p256", "names several objects" },
        { "pkcs11:token=soft", "neither object nor id" },
        { "pkcs11:token=soft;object=nothing", "no such object" },
        { "pkcs11:token=soft;object=%0", "malformed" },
        { "pkcs11:token=soft;object=p256;type=private", NULL },
        { "pkcs11:token=soft;object=p256;type=private", "no such object" },
        { "pkcs11:token=soft;object=p256", NULL },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        char error[512];

        ERR_clear_error();
        assert_int_equal(delete (steps[i].uri, libctx, NULL, NULL, NULL, NULL) == 1,
                         steps[i].error == NULL);
        (void)last_error(error, sizeof(error));
        if (steps[i].error != NULL && strstr(error, steps[i].error) == NULL)
            fail_msg("%s: %s", steps[i].uri, error);
    }
    assert_null(key_load(libctx, "p256", "private"));
    assert_null(key_load(libctx, "p256", "public"));
    ERR_clear_error();
    /* a key that was open says so */
    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", libctx, NULL, key, NULL), 1);
    assert_int_not_equal(EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"m", 1), 1);
    {
        char error[512];

        assert_non_null(
            strstr(last_error(error, sizeof(error)), "the key is no longer on the token"));
    }
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static void test_objects_random(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("pkcs11-random = yes\n");
    EVP_RAND *rand = EVP_RAND_fetch(libctx, "PKCS11-RAND", "provider=pkcs11");
    EVP_RAND_CTX *ctx = EVP_RAND_CTX_new(rand, NULL);
    unsigned char a[1000] = { 0 }, b[1000] = { 0 };

    (void)state;
    assert_non_null(ctx);
    assert_int_equal(EVP_RAND_instantiate(ctx, 128, 0, NULL, 0, NULL), 1);
    assert_int_equal(EVP_RAND_generate(ctx, a, sizeof(a), 128, 0, NULL, 0), 1);
    assert_int_equal(EVP_RAND_generate(ctx, b, sizeof(b), 128, 0, NULL, 0), 1);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_int_equal(EVP_RAND_get_state(ctx), EVP_RAND_STATE_READY);
    assert_int_equal(EVP_RAND_uninstantiate(ctx), 1);
    assert_int_not_equal(EVP_RAND_get_state(ctx), EVP_RAND_STATE_READY);
    EVP_RAND_CTX_free(ctx);
    EVP_RAND_free(rand);
    OSSL_LIB_CTX_free(libctx);
}

static void test_objects_no_random_unless_asked(void **state)
{
    OSSL_LIB_CTX *off = libctx_new("pkcs11-random = no\n"), *libctx = libctx_new_faulty("");
    EVP_PKEY *key = key_load(libctx, "p384", "private");
    unsigned char byte;

    (void)state;
    assert_null(EVP_RAND_fetch(off, "PKCS11-RAND", NULL));
    assert_non_null(key);
    calls_reset();
    assert_int_equal(EVP_set_default_properties(libctx, "?provider=pkcs11"), 1);
    assert_int_equal(RAND_bytes_ex(libctx, &byte, 1, 0), 1);
    assert_int_equal(calls("C_GenerateRandom"), 0);
    EVP_PKEY_free(key);
    ERR_clear_error();
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(off);
}

/* What default_properties = fips=yes finds: all of it, or nothing. */
static void test_objects_fips(void **state)
{
    static const char *const settings[] = { "", "pkcs11-module-assume-fips = true\n",
                                            "pkcs11-module-assume-fips = false\n" };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        OSSL_LIB_CTX *libctx = libctx_new(settings[i]);
        OSSL_STORE_LOADER *loader = OSSL_STORE_LOADER_fetch(libctx, "pkcs11", "fips=yes");
        EVP_KEYMGMT *keymgmt = EVP_KEYMGMT_fetch(libctx, "EC", "fips=yes");
        EVP_SIGNATURE *signature = EVP_SIGNATURE_fetch(libctx, "PKCS11-ECDSA", "fips=yes");
        OSSL_DECODER *decoder = OSSL_DECODER_fetch(libctx, "EC", "fips=yes,structure=pk11-uri");
        EVP_KEYMGMT *other = EVP_KEYMGMT_fetch(libctx, "EC", "provider=pkcs11,fips!=yes");

        assert_int_equal(loader != NULL, i == 1);
        assert_int_equal(keymgmt != NULL, i == 1);
        assert_int_equal(signature != NULL, i == 1);
        assert_int_equal(decoder != NULL, i == 1);
        assert_int_equal(other != NULL, i != 1);
        OSSL_STORE_LOADER_free(loader);
        EVP_KEYMGMT_free(keymgmt);
        EVP_KEYMGMT_free(other);
        EVP_SIGNATURE_free(signature);
        OSSL_DECODER_free(decoder);
        ERR_clear_error();
        OSSL_LIB_CTX_free(libctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects_delete),
        cmocka_unit_test(test_objects_fips),
        cmocka_unit_test(test_objects_random),
        cmocka_unit_test(test_objects_no_random_unless_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
