/* Keys copied to session objects: when, what it costs, and what becomes of the copy. */
#include "harness.h"
#include "operator.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include <openssl/err.h>

/* Uses until a key is copied, and more. */
#define SETTLE 5

static void sign_times(OSSL_LIB_CTX *libctx, EVP_PKEY *key, unsigned times)
{
    for (unsigned n = 0; n < times; n++)
        assert_true(key_signs(libctx, key));
}

static void test_copies_configured(void **state)
{
    static const struct {
        const char *settings, *rules;
        unsigned long copies;
    } cases[] = {
        { "pkcs11-sessions-max = 1\n", "",
          0 }, /* none to spare; first, as the largest setting counts */
        { "", "", 1 },
        { "pkcs11-module-cache-keys = auto\n", "", 1 },
        { "pkcs11-module-cache-keys = true\n", "", 1 },
        { "pkcs11-module-cache-keys = false\n", "", 0 },
        { "", "slot-flags 4", 0 }, /* CKF_HW_SLOT */
        { "pkcs11-module-cache-keys = true\n", "slot-flags 4", 1 },
        { "", "sessions 1", 0 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        OSSL_LIB_CTX *libctx = libctx_new_faulty(cases[i].settings);
        EVP_PKEY *key;

        fault(cases[i].rules);
        calls_reset();
        key = key_load(libctx, "p256", "private");
        sign_times(libctx, key, 2);
        assert_int_equal(calls("C_CopyObject"), 0); /* a key that is used once or twice */
        sign_times(libctx, key, SETTLE);
        if (calls("C_CopyObject") != cases[i].copies)
            fail_msg("%s%s: %lu copies", cases[i].settings, cases[i].rules, calls("C_CopyObject"));
        calls_reset();
        sign_times(libctx, key, 20);
        assert_int_equal(calls(NULL), 40);
        calls_reset();
        EVP_PKEY_free(key);
        assert_int_equal(calls("C_DestroyObject"), cases[i].copies);
        fault("");
        OSSL_LIB_CTX_free(libctx);
    }
}

/* Once for the slot its flags and a session, once for the key the copy. */
static void test_copies_cost(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    EVP_PKEY *keys[] = { key_load(libctx, "p256", "private"),
                         key_load(libctx, "rsa2048", "private") };
    const unsigned long once[] = { 3, 1 };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        sign_times(libctx, keys[i], 2);
        calls_reset();
        sign_times(libctx, keys[i], 10);
        assert_int_equal(calls(NULL), 20 + once[i]);
        EVP_PKEY_free(keys[i]);
    }
    OSSL_LIB_CTX_free(libctx);
}

/* A token that does not let keys be copied: asked once, and nobody notices. */
static void test_copies_refused(void **state)
{
    static const char *const ckrs[] = {
        "CKR_ACTION_PROHIBITED",      "CKR_FUNCTION_NOT_SUPPORTED",
        "CKR_TEMPLATE_INCONSISTENT",  "CKR_ATTRIBUTE_READ_ONLY",
        "CKR_GENERAL_ERROR",          "CKR_DEVICE_ERROR",
        "CKR_DEVICE_MEMORY",          "CKR_OBJECT_HANDLE_INVALID",
        "CKR_SESSION_HANDLE_INVALID", "CKR_CRYPTOKI_NOT_INITIALIZED",
        "CKR_USER_NOT_LOGGED_IN",     "CKR_TOKEN_WRITE_PROTECTED",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(ckrs); i++) {
        OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-log = none\n");
        EVP_PKEY *key = key_load(libctx, "rsa2048", "private");
        char rule[80];

        (void)snprintf(rule, sizeof(rule), "C_CopyObject 1 * %s", ckrs[i]);
        fault(rule);
        calls_reset();
        sign_times(libctx, key, 20);
        assert_int_equal(calls("C_CopyObject"), 1);
        assert_int_equal(ERR_peek_error(), 0);
        fault("");
        EVP_PKEY_free(key);
        OSSL_LIB_CTX_free(libctx);
    }
}

/* What takes sessions, logins or handles away takes the copy too; no operation fails. */
static void test_copies_lost(void **state)
{
    static const char *const rules[] = {
        "C_SignInit 1 1 - drop-sessions",
        "C_SignInit 1 1 - logout",
        "C_SignInit 1 1 CKR_KEY_HANDLE_INVALID",
        "C_Sign 1 1 CKR_KEY_HANDLE_INVALID",
        "C_SignInit 1 1 CKR_DEVICE_REMOVED remove; C_GetSlotList 1 1 - insert",
        "C_SignInit 1 1 CKR_CRYPTOKI_NOT_INITIALIZED",
    };
    OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-log = none\n");
    EVP_PKEY *key = key_load(libctx, "p256", "private");

    (void)state;
    sign_times(libctx, key, SETTLE);
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        calls_reset();
        fault(rules[i]);
        sign_times(libctx, key, SETTLE);
        fault("");
        if (calls("C_CopyObject") != 1)
            fail_msg("%s: %lu copies", rules[i], calls("C_CopyObject"));
    }
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* A token where copies never last: it is used without, after a while. */
static void test_copies_never_last(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-log = none\n");
    EVP_PKEY *key = key_load(libctx, "p256", "private");

    (void)state;
    calls_reset();
    for (int n = 0; n < 30; n++) {
        sign_times(libctx, key, SETTLE);
        fault("C_SignInit 1 1 CKR_KEY_HANDLE_INVALID");
        sign_times(libctx, key, 1);
        fault("");
    }
    assert_int_equal(calls("C_CopyObject"), 8);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* Whether key stops working, within two seconds, with an error that has text. */
static void must_stop(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const char *text)
{
    char error[600];

    for (int n = 0; n < 100 && key_signs(libctx, key); n++)
        usleep(20000);
    if (strstr(last_error(error, sizeof(error)), text) == NULL)
        fail_msg("not '%s' but '%s'", text, error);
    assert_false(key_signs(libctx, key)); /* for good */
}

/* A key that is deleted or replaced on the token does not live on in its copy. */
static void test_copies_deleted(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    EVP_PKEY *first = key_load(libctx, "p256", "private"), *key;
    CK_SESSION_HANDLE session = operator_session(true);
    CK_OBJECT_HANDLE objects[4];

    (void)state;
    operator_generate(session, "short-lived");
    key = key_load(libctx, "short-lived", "private");
    calls_reset();
    sign_times(libctx, key, SETTLE);
    assert_int_equal(calls("C_CopyObject"), 1);
    assert_int_equal(operator_find(session, "short-lived", objects, COUNT_OF(objects)), 2);
    operator_destroy(session, "short-lived");
    must_stop(libctx, key, "no longer on the token");
    EVP_PKEY_free(key);

    operator_generate(session, "short-lived");
    key = key_load(libctx, "short-lived", "private");
    calls_reset();
    sign_times(libctx, key, SETTLE);
    assert_int_equal(calls("C_CopyObject"), 1);
    operator_destroy(session, "short-lived");
    operator_generate(session, "short-lived");
    must_stop(libctx, key, "the key was replaced");
    operator_destroy(session, "short-lived");
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    sign_times(libctx, first, 1);
    ERR_clear_error();
    EVP_PKEY_free(key);
    EVP_PKEY_free(first);
    OSSL_LIB_CTX_free(libctx);
}

struct signer {
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;
};

static atomic_uint failures;

static void *sign_on(void *arg)
{
    const struct signer *signer = arg;

    for (int n = 0; n < 50; n++)
        if (!key_signs(signer->libctx, signer->key))
            atomic_fetch_add(&failures, 1);
    ERR_clear_error();
    return NULL;
}

/* Eight threads come to the copying use at once: one copies. */
static void test_copies_threads(void **state)
{
    struct signer signer = { .libctx = libctx_new_faulty("") };
    pthread_t threads[8];

    (void)state;
    signer.key = key_load(signer.libctx, "p256", "private");
    calls_reset();
    for (size_t t = 0; t < COUNT_OF(threads); t++)
        assert_int_equal(pthread_create(&threads[t], NULL, sign_on, &signer), 0);
    for (size_t t = 0; t < COUNT_OF(threads); t++)
        pthread_join(threads[t], NULL);
    assert_int_equal(atomic_load(&failures), 0);
    assert_int_equal(calls("C_CopyObject"), 1);
    EVP_PKEY_free(signer.key);
    OSSL_LIB_CTX_free(signer.libctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_configured), cmocka_unit_test(test_copies_cost),
        cmocka_unit_test(test_copies_refused),    cmocka_unit_test(test_copies_lost),
        cmocka_unit_test(test_copies_never_last), cmocka_unit_test(test_copies_deleted),
        cmocka_unit_test(test_copies_threads),
    };

    operator_open();
    limit(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
