/* Private keys of other providers, with pkcs11-module-import. */
#include "harness.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "operator.h"

#define SESSION "pkcs11-module-import = session\n"
#define HERE    "?provider=pkcs11"

static EVP_PKEY *soft_rsa(OSSL_LIB_CTX *libctx)
{
    return EVP_PKEY_Q_keygen(libctx, "provider=default", "RSA", (size_t)2048);
}

static EVP_PKEY *soft_ec(OSSL_LIB_CTX *libctx)
{
    return EVP_PKEY_Q_keygen(libctx, "provider=default", "EC", "P-256");
}

static EVP_PKEY *soft_ed25519(OSSL_LIB_CTX *libctx)
{
    return EVP_PKEY_Q_keygen(libctx, "provider=default", "ED25519");
}

static EVP_PKEY *(*const makers[])(OSSL_LIB_CTX *libctx) = { soft_rsa, soft_ec, soft_ed25519 };

/* Whether key signs where this provider is preferred, and the default provider agrees. */
static bool signs_here(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    static const unsigned char message[] = "message";
    const char *digest = EVP_PKEY_is_a(key, "ED25519") ? NULL : "SHA256";
    EVP_MD_CTX *sign = EVP_MD_CTX_new(), *verify = EVP_MD_CTX_new();
    unsigned char signature[512];
    size_t len = sizeof(signature);
    bool done =
        EVP_DigestSignInit_ex(sign, NULL, digest, libctx, HERE, key, NULL) == 1 &&
        EVP_DigestSign(sign, signature, &len, message, sizeof(message)) == 1 &&
        EVP_DigestVerifyInit_ex(verify, NULL, digest, libctx, "provider=default", key, NULL) == 1 &&
        EVP_DigestVerify(verify, signature, len, message, sizeof(message)) == 1;

    EVP_MD_CTX_free(sign);
    EVP_MD_CTX_free(verify);
    return done;
}

/* The only private session object that there is, or CK_INVALID_HANDLE. */
static CK_OBJECT_HANDLE session_object(CK_SESSION_HANDLE session)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
                                { CKA_TOKEN, &no, sizeof(no) } };
    CK_OBJECT_HANDLE found[2] = { CK_INVALID_HANDLE, CK_INVALID_HANDLE };
    CK_ULONG count = 0;

    assert_int_equal(p11->C_FindObjectsInit(session, template, COUNT_OF(template)), CKR_OK);
    assert_int_equal(p11->C_FindObjects(session, found, COUNT_OF(found), &count), CKR_OK);
    assert_int_equal(p11->C_FindObjectsFinal(session), CKR_OK);
    assert_true(count <= 1);
    return count == 1 ? found[0] : CK_INVALID_HANDLE;
}

static void must_be_kept_secret(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    CK_BBOOL private = CK_FALSE, sensitive = CK_FALSE, extractable = CK_TRUE;
    CK_ATTRIBUTE list[] = { { CKA_PRIVATE, &private, 1 },
                            { CKA_SENSITIVE, &sensitive, 1 },
                            { CKA_EXTRACTABLE, &extractable, 1 } };

    assert_int_equal(p11->C_GetAttributeValue(session, object, list, COUNT_OF(list)), CKR_OK);
    assert_true(private && sensitive && !extractable);
}

/* A session object of the token, which keeps it secret, for all uses of the EVP_PKEY, and gone with
 * it. */
static void test_imports_live_with_their_key(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty(SESSION);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(makers); i++) {
        EVP_PKEY *key = makers[i](libctx);
        CK_SESSION_HANDLE session;

        calls_reset();
        assert_true(signs_here(libctx, key));
        assert_true(signs_here(libctx, key));
        assert_int_equal(calls("C_Sign"), 2);
        assert_int_equal(calls("C_CreateObject"), 2); /* both halves, once */
        session = operator_session(false);
        must_be_kept_secret(session, session_object(session));
        EVP_PKEY_free(key);
        assert_int_equal(calls("C_DestroyObject"), 2);
        assert_int_equal(session_object(session), CK_INVALID_HANDLE);
        assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    }
    OSSL_LIB_CTX_free(libctx);
}

/* They stay where they are without the setting, and where the token does not take them. */
static void test_imports_go_elsewhere(void **state)
{
    static const struct {
        const char *settings, *rule;
        unsigned long destroyed;
    } cases[] = { { "", "", 0 },
                  { "pkcs11-module-import = refuse\n", "", 0 },
                  { SESSION, "C_CreateObject 1 * CKR_TEMPLATE_INCONSISTENT", 0 },
                  { SESSION, "C_CreateObject 2 * CKR_TEMPLATE_INCONSISTENT", 1 },
                  { SESSION "pkcs11-retry-ms = 0\n", "C_GetSlotList 1 * - count=0", 0 } };

    (void)state;
    for (size_t c = 0; c < COUNT_OF(cases); c++)
        for (size_t i = 0; i < COUNT_OF(makers); i++) {
            OSSL_LIB_CTX *libctx = libctx_new_faulty(cases[c].settings);
            EVP_PKEY *key = makers[i](libctx);

            calls_reset();
            fault(cases[c].rule);
            assert_true(signs_here(libctx, key));
            assert_int_equal(calls("C_Sign"), 0);
            assert_int_equal(calls("C_DestroyObject"), cases[c].destroyed);
            fault("");
            ERR_clear_error();
            EVP_PKEY_free(key);
            OSSL_LIB_CTX_free(libctx);
        }
}

/* What a token does that loses its sessions, as at a reboot, ends the key, and the error says so.
 */
static void test_imports_end_with_their_session(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty(SESSION);
    EVP_PKEY *key = soft_ec(libctx);
    char error[512];

    (void)state;
    assert_true(signs_here(libctx, key));
    fault("C_SignInit 1 1 - drop-sessions");
    assert_false(signs_here(libctx, key));
    assert_non_null(strstr(last_error(error, sizeof(error)), "a session key lives as long as"));
    fault("");
    ERR_clear_error();
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* A pair that is lost between its making and its first use is made again. */
static void test_imports_are_made_again(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty(SESSION);
    EVP_PKEY *key = soft_ec(libctx);

    (void)state;
    calls_reset();
    fault("C_GetAttributeValue 1 1 - drop-sessions");
    assert_true(signs_here(libctx, key));
    assert_int_equal(calls("C_Sign"), 1);
    fault("");
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_imports_live_with_their_key),
        cmocka_unit_test(test_imports_go_elsewhere),
        cmocka_unit_test(test_imports_end_with_their_session),
        cmocka_unit_test(test_imports_are_made_again),
    };

    operator_open();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
