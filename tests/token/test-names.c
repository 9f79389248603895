/* Opening private keys by name, again and again, while the token changes behind the provider's
 * back; and among many objects. */
#include "harness.h"
#include "operator.h"

#include <unistd.h>

#include <openssl/err.h>
#include <openssl/store.h>
#include <openssl/x509.h>

/* Makes count data objects with this label. */
static void make_data(CK_SESSION_HANDLE session, const char *label, unsigned count)
{
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
                                { CKA_TOKEN, &yes, sizeof(yes) },
                                { CKA_PRIVATE, &no, sizeof(no) },
                                { CKA_LABEL, (void *)(uintptr_t)label, strlen(label) } };
    CK_OBJECT_HANDLE object;

    while (count-- > 0)
        assert_int_equal(p11->C_CreateObject(session, template, COUNT_OF(template), &object),
                         CKR_OK);
}

static void rename_objects(CK_SESSION_HANDLE session, const char *from, const char *to)
{
    CK_ATTRIBUTE new = { CKA_LABEL, (void *)(uintptr_t)to, strlen(to) };
    CK_OBJECT_HANDLE objects[8];
    CK_ULONG count = operator_find(session, from, objects, COUNT_OF(objects));

    for (CK_ULONG i = 0; i < count; i++)
        assert_int_equal(p11->C_SetAttributeValue(session, objects[i], &new, 1), CKR_OK);
}

/* The URI names what the token has now, not what it had. */
static void test_names_follow_the_token(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    EVP_PKEY *keep = key_load(libctx, "p256", "private"), *first, *second;
    CK_SESSION_HANDLE session = operator_session(true);

    (void)state;
    operator_generate(session, "passing");
    first = key_load(libctx, "passing", "private");
    assert_true(key_signs(libctx, first));

    operator_destroy(session, "passing"); /* another key by the same name */
    operator_generate(session, "passing");
    second = key_load(libctx, "passing", "private");
    assert_true(key_signs(libctx, second));
    assert_int_equal(EVP_PKEY_eq(first, second), 0);
    EVP_PKEY_free(first);

    rename_objects(session, "passing", "passed"); /* the name is gone */
    assert_null(key_load(libctx, "passing", "private"));
    first = key_load(libctx, "passed", "private");
    assert_int_equal(EVP_PKEY_eq(first, second), 1);
    EVP_PKEY_free(first);
    EVP_PKEY_free(second);

    operator_destroy(session, "passed");
    assert_null(key_load(libctx, "passed", "private"));
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    assert_true(key_signs(libctx, keep));
    ERR_clear_error();
    EVP_PKEY_free(keep);
    OSSL_LIB_CTX_free(libctx);
}

/* Sessions, logins and handles that go away take nothing with them. */
static void test_names_outlive_faults(void **state)
{
    static const char *const rules[] = {
        "C_GetAttributeValue 1 1 - drop-sessions",
        "C_GetAttributeValue 1 1 - logout",
        "C_GetAttributeValue 1 1 CKR_OBJECT_HANDLE_INVALID",
        "C_GetAttributeValue 2 1 CKR_OBJECT_HANDLE_INVALID",
        "C_GetAttributeValue 2 1 CKR_DEVICE_ERROR",
        "C_GetAttributeValue 1 1 CKR_CRYPTOKI_NOT_INITIALIZED",
        "C_GetAttributeValue 1 1 CKR_SESSION_HANDLE_INVALID",
    };
    OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-log = none\n");

    (void)state;
    EVP_PKEY_free(key_load(libctx, "p256", "private"));
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        EVP_PKEY *key;

        fault(rules[i]);
        key = key_load(libctx, "p256", "private");
        fault("");
        if (key == NULL || !key_signs(libctx, key))
            fail_msg("%s", rules[i]);
        EVP_PKEY_free(key);
    }
    OSSL_LIB_CTX_free(libctx);
}

static unsigned count_keys(OSSL_LIB_CTX *libctx, const char *uri)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    unsigned keys = 0;

    assert_int_equal(OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY), 1);
    while (!OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        keys += info != NULL && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY;
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return keys;
}

/* Several keys of one name, alone and among other objects of that name: all are found, also again.
 */
static void test_names_shared(void **state)
{
    static const unsigned others[] = { 0, 1, 30 };
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    EVP_PKEY *keep = key_load(libctx, "p256", "private");
    CK_SESSION_HANDLE session = operator_session(true);

    (void)state;
    operator_generate(session, "shared");
    operator_generate(session, "shared");
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        make_data(session, "shared", others[i]);
        for (int again = 0; again < 2; again++)
            assert_int_equal(count_keys(libctx, "pkcs11:token=soft;object=shared"), 2);
    }
    for (unsigned left = 34; left > 0; left -= left > 8 ? 8 : left)
        operator_destroy(session, "shared");
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    ERR_clear_error();
    EVP_PKEY_free(keep);
    OSSL_LIB_CTX_free(libctx);
}

/* Opening a key costs the same number of calls among many objects as among few, and so does the
 * first signature. */
static void test_names_among_many(void **state)
{
    unsigned long before[2] = { 0, 0 };

    (void)state;
    for (int many = 0; many < 2; many++) {
        OSSL_LIB_CTX *libctx = libctx_new_faulty("");
        static const char *const labels[] = { "p256", "rsa2048" };

        if (many) {
            EVP_PKEY *keep = key_load(libctx, "p256", "private");
            CK_SESSION_HANDLE session = operator_session(true);

            make_data(session, "foreign", 500);
            assert_int_equal(p11->C_CloseSession(session), CKR_OK);
            EVP_PKEY_free(keep);
            OSSL_LIB_CTX_free(libctx);
            libctx = libctx_new_faulty("");
        }
        for (size_t i = 0; i < COUNT_OF(labels); i++) {
            EVP_PKEY *key;

            calls_reset();
            key = key_load(libctx, labels[i], "private");
            assert_true(key_signs(libctx, key));
            if (many)
                assert_int_equal(calls(NULL), before[i]);
            before[i] = calls(NULL);
            EVP_PKEY_free(key);
        }
        OSSL_LIB_CTX_free(libctx);
    }
}

/* More names than a few are remembered, and none is searched for again. */
static void test_names_remembered(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    EVP_PKEY *keep = key_load(libctx, "p256", "private");
    CK_SESSION_HANDLE session = operator_session(true);
    char label[16];

    (void)state;
    for (unsigned round = 0; round < 2; round++)
        for (unsigned n = 0; n < 80; n++) {
            EVP_PKEY *key;

            (void)snprintf(label, sizeof(label), "one-of-%u", n);
            if (round == 0)
                operator_generate(session, label);
            key = key_load(libctx, label, "private");
            assert_non_null(key);
            EVP_PKEY_free(key);
        }
    calls_reset();
    for (unsigned n = 0; n < 80; n++) {
        (void)snprintf(label, sizeof(label), "one-of-%u", n);
        EVP_PKEY_free(key_load(libctx, label, "private"));
    }
    assert_int_equal(calls("C_GetAttributeValue"), 160);
    assert_int_equal(calls(NULL), 160);
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    EVP_PKEY_free(keep);
    OSSL_LIB_CTX_free(libctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_follow_the_token), cmocka_unit_test(test_names_outlive_faults),
        cmocka_unit_test(test_names_shared),           cmocka_unit_test(test_names_remembered),
        cmocka_unit_test(test_names_among_many),
    };

    operator_open();
    limit(300);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
