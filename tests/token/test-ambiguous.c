/* A private key that is wanted by a URI which does not tell it from others: an error that lists
 * them; and what is a listing stays one. */
#include "harness.h"
#include "operator.h"

#include <openssl/err.h>
#include <openssl/store.h>

/* Whether the first object of a URI, with a private key expected, is there. */
static bool wanted(OSSL_LIB_CTX *libctx, const char *uri, char *error, size_t size)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    OSSL_STORE_INFO *info;
    bool found;

    ERR_clear_error();
    assert_non_null(store);
    assert_int_equal(OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY), 1);
    info = OSSL_STORE_load(store);
    found = info != NULL && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY;
    if (!found)
        assert_int_equal(OSSL_STORE_eof(store), 1);
    OSSL_STORE_INFO_free(info);
    OSSL_STORE_close(store);
    (void)last_error(error, size);
    return found;
}

static void check(OSSL_LIB_CTX *libctx, const char *uri, const char *const *says)
{
    char error[1100];
    bool found = wanted(libctx, uri, error, sizeof(error));

    if (found != (says == NULL))
        fail_msg("%s: %s", uri, found ? "a key" : error);
    for (; says != NULL && *says != NULL; says++)
        if (strstr(error, *says) == NULL)
            fail_msg("%s: \"%s\" is not in \"%s\"", uri, *says, error);
}

/* The keys are listed by what tells them apart, ten of them. */
static void test_ambiguous_keys(void **state)
{
    static const char *const says[] = { "cannot tell which private key pkcs11:token=soft",
                                        "pkcs11:token=soft;id=%0",
                                        ";object=",
                                        ", pkcs11:token=soft;id=%0",
                                        " and others",
                                        "object= or id=",
                                        "pkcs11-ambiguous = first",
                                        NULL };
    static const char *const uris[] = { "pkcs11:token=soft", "pkcs11:token=soft;type=private",
                                        "pkcs11:" };
    OSSL_LIB_CTX *libctx = libctx_new(""), *first = libctx_new("pkcs11-ambiguous = first\n");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(uris); i++) {
        check(libctx, uris[i], i < 2 ? says : says + 1);
        check(first, uris[i], NULL);
    }
    check(libctx, "pkcs11:token=soft;object=p256", NULL);
    check(libctx, "pkcs11:token=soft;id=%05", NULL);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(first);
}

/* Where nothing is expected, it is a listing, whose first object is the first key. */
static void test_ambiguous_listing(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *key = key_load_uri(libctx, "pkcs11:token=soft;type=private");

    (void)state;
    assert_true(key_signs(libctx, key));
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* Several keys of one name on one token: each of them is what was named. */
static void test_ambiguous_name(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *keep = key_load(libctx, "p256", "private");
    CK_SESSION_HANDLE session = operator_session(true);

    (void)state;
    operator_generate(session, "double");
    operator_generate(session, "double");
    check(libctx, "pkcs11:token=soft;object=double", NULL);
    operator_destroy(session, "double");
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    EVP_PKEY_free(keep);
    OSSL_LIB_CTX_free(libctx);
}

/* Two tokens of one label. */
static void test_ambiguous_tokens(void **state)
{
    static const char *const says[] = { "several tokens", "'twin' (serial ", "serial=", NULL };
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *keep;
    CK_SLOT_ID slots[2];
    CK_TOKEN_INFO info;
    char uri[256], error[1100];

    (void)state;
    for (int n = 0; n < 2; n++)
        assert_int_equal(system("softhsm2-util --init-token --free --label twin --pin 1234 "
                                "--so-pin 12345678 > /dev/null"),
                         0);
    libctx = libctx_new_faulty("");
    keep = key_load(libctx, "p256", "private");
    assert_int_equal(operator_slots("twin", slots, 2), 2);
    for (size_t i = 0; i < 2; i++) {
        CK_SESSION_HANDLE session = operator_session_on(slots[i], true);

        if (i == 0)
            operator_generate(session, "alone");
        operator_generate(session, "key");
        assert_int_equal(p11->C_Logout(session), CKR_OK);
        assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    }
    for (int again = 0; again < 2; again++) {
        calls_reset();
        check(libctx, "pkcs11:token=twin;object=key?pin-value=1234", says);
        /* the token that was only looked at has not been shown a PIN for it */
        assert_true(calls("C_Login") <= 1);
        check(libctx, "pkcs11:token=twin;object=alone?pin-value=1234", NULL);
        check(libctx, "pkcs11:object=p256", NULL);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(p11->C_GetTokenInfo(slots[i], &info), CKR_OK);
        snprintf(uri, sizeof(uri), "pkcs11:token=twin;serial=%.16s;object=key?pin-value=1234",
                 (char *)info.serialNumber);
        check(libctx, uri, NULL);
        /* its serial number is in the list */
        snprintf(uri, sizeof(uri), "(serial %.16s", (char *)info.serialNumber);
        assert_false(
            wanted(libctx, "pkcs11:token=twin;object=key?pin-value=1234", error, sizeof(error)));
        assert_non_null(strstr(error, uri));
    }
    EVP_PKEY_free(keep);
    OSSL_LIB_CTX_free(libctx);
    libctx = libctx_new("pkcs11-ambiguous = first\n");
    check(libctx, "pkcs11:token=twin;object=key?pin-value=1234", NULL);
    OSSL_LIB_CTX_free(libctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ambiguous_keys),
        cmocka_unit_test(test_ambiguous_listing),
        cmocka_unit_test(test_ambiguous_name),
        cmocka_unit_test(test_ambiguous_tokens),
    };

    operator_open();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
