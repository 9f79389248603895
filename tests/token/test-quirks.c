/* Keys of a module whose CKA_ALLOWED_MECHANISMS must not be asked for. Run by valgrind as well,
 * which sees what is read without having been written: what was not asked for has no answer. */
#include "harness.h"

#include <openssl/err.h>
#include <openssl/store.h>

/* All objects of the token, as a listing reads them; how many. */
static unsigned list(OSSL_LIB_CTX *libctx)
{
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex("pkcs11:token=soft", libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    unsigned count = 0;

    assert_non_null(store);
    while (!OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        count += info != NULL;
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return count;
}

/* The module says of every object that it lacks an attribute, or has answered for some only. */
static void test_quirks_no_allowed_mechanisms(void **state)
{
    static const char *const rules[] = {
        "",
        "C_GetAttributeValue 1 * CKR_ATTRIBUTE_TYPE_INVALID after",
        "C_GetAttributeValue 1 * CKR_ATTRIBUTE_SENSITIVE after",
        "C_GetAttributeValue 1 1 CKR_ATTRIBUTE_TYPE_INVALID",
    };
    static const char *const labels[] = { "p256", "rsa2048" };

    (void)state;
    for (size_t r = 0; r < COUNT_OF(rules); r++) {
        OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-log = none\n"
                                                 "pkcs11-module-quirks = no-allowed-mechanisms\n");

        for (size_t k = 0; k < COUNT_OF(labels); k++) {
            EVP_PKEY *key;

            fault(rules[r]);
            key = key_load(libctx, labels[k], "private");
            assert_non_null(key);
            assert_true(key_signs(libctx, key));
            EVP_PKEY_free(key);
        }
        fault(rules[r]);
        assert_true(list(libctx) > COUNT_OF(labels));
        fault("");
        ERR_clear_error();
        OSSL_LIB_CTX_free(libctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_quirks_no_allowed_mechanisms) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
