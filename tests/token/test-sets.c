/* What a token may say of keys of parameter sets that is not so, on that of tests/token32: the
 * public half of another set beside a private key, and lengths that none has. */
#include "harness.h"
#include "module.h"

#include <openssl/err.h>

#define LABEL "mixed"
#define PAIR  "pair"

static const char hidden[] = "C_GetAttributeValue 1 * - len=none of=CKA_PUBLIC_KEY_INFO";

/* A private key of ML-DSA-44, and beside it, with its names, a public one of ML-DSA-65; and a pair.
 */
static void objects_make(void)
{
    OSSL_LIB_CTX *plain = libctx_new_plain();
    EVP_PKEY *other = EVP_PKEY_Q_keygen(plain, NULL, "ML-DSA-65");
    unsigned char seed[32] = { 1 }, public[1952];
    size_t len;
    ck_session_handle_t session;

    assert_non_null(other);
    assert_int_equal(EVP_PKEY_get_octet_string_param(other, "pub", public, sizeof(public), &len),
                     1);
    OK(v2->C_Initialize(NULL));
    session = session_login();
    (void)object_import(session, "ML-DSA-44", CKO_PRIVATE_KEY, CKA_SEED, seed, sizeof(seed), LABEL);
    (void)object_import(session, "ML-DSA-65", CKO_PUBLIC_KEY, CKA_VALUE, public, len, LABEL);
    object_generate(session, "ML-DSA-44", PAIR);
    OK(v2->C_Finalize(NULL));
    EVP_PKEY_free(other);
    OSSL_LIB_CTX_free(plain);
}

/* It is no half of this key, and where nothing else shows one, that is an error. */
static void test_sets_another_public_half(void **state)
{
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;
    char error[600];

    (void)state;
    NEEDS("ML-DSA-44");
    libctx = libctx_new_faulty("");
    fault(hidden);
    key = key_load(libctx, LABEL, "private");
    assert_null(key);
    assert_non_null(strstr(last_error(error, sizeof(error)), "CKA_PARAMETER_SET"));
    fault("");
    ERR_clear_error();
    OSSL_LIB_CTX_free(libctx);
}

/* Half a key is none, unless its CKA_PUBLIC_KEY_INFO tells what it is; once the truth is told both
 * are keys. */
static void test_sets_lengths(void **state)
{
    static const struct {
        const char *rule, *kind;
        bool by_info;
    } lies[] = {
        { "C_GetAttributeValue 1 * - len=2 of=CKA_PARAMETER_SET", "private", false },
        { "C_GetAttributeValue 1 * - len=0 of=CKA_PARAMETER_SET", "private", false },
        { "C_GetAttributeValue 1 * - len=none of=CKA_PARAMETER_SET", "private", false },
        { "C_GetAttributeValue 1 * - len=2 of=CKA_PARAMETER_SET", "public", false },
        { "C_GetAttributeValue 1 * - len=none of=CKA_PARAMETER_SET", "public", false },
        { "C_GetAttributeValue 1 * - len=-1 of=CKA_VALUE", "public", true },
        { "C_GetAttributeValue 1 * - len=+1 of=CKA_VALUE", "public", true },
        { "C_GetAttributeValue 1 * - len=0 of=CKA_VALUE", "public", true },
        { "C_GetAttributeValue 1 * - len=none of=CKA_VALUE", "public", true },
    };

    (void)state;
    NEEDS("ML-DSA-44");
    for (size_t i = 0; i < COUNT_OF(lies); i++) {
        OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-retry-ms = 40\npkcs11-log = none\n");
        EVP_PKEY *lied, *key;

        fault(lies[i].rule);
        lied = key_load(libctx, PAIR, lies[i].kind);
        fault("");
        key = key_load(libctx, PAIR, lies[i].kind);
        assert_non_null(key);
        if (lied != NULL && (!lies[i].by_info || EVP_PKEY_eq(lied, key) != 1))
            fail_msg("%s: a %s key", lies[i].rule, lies[i].kind);
        EVP_PKEY_free(lied);
        EVP_PKEY_free(key);
        ERR_clear_error();
        OSSL_LIB_CTX_free(libctx);
    }
}

static int begin(void **state)
{
    (void)state;
    module_open();
    if (is_known("ML-DSA-44"))
        objects_make();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets_another_public_half),
        cmocka_unit_test(test_sets_lengths),
    };

    return cmocka_run_group_tests(tests, begin, NULL);
}
