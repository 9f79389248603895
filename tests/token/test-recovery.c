/* What recovery must not do, and how threads wait: a key that was replaced, one that is gone,
 * tokens that look alike, sessions that are all busy. */
#include "harness.h"
#include "operator.h"
#include "signer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/err.h>

/* Another key takes the place of the one that the EVP_PKEY shows: it never signs in its name. */
static void test_recovery_replaced(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    EVP_PKEY *other = key_load(libctx, "p256", "private"), *key, *again;
    CK_SESSION_HANDLE session = operator_session(true);
    char error[600];

    (void)state;
    assert_non_null(other);
    operator_generate(session, "replaced");
    key = key_load(libctx, "replaced", "private");
    assert_true(key_signs(libctx, key));
    operator_destroy(session, "replaced");
    operator_generate(session, "replaced");
    fault("C_SignInit 1 1 CKR_KEY_HANDLE_INVALID");
    assert_false(key_signs(libctx, key));
    assert_non_null(strstr(last_error(error, sizeof(error)), "the key was replaced"));
    fault("");
    assert_false(key_signs(libctx, key)); /* also without a fault, and not for long */
    again = key_load(libctx, "replaced", "private");
    assert_non_null(again);
    assert_true(key_signs(libctx, again));
    assert_int_equal(EVP_PKEY_eq(key, again), 0);
    operator_destroy(session, "replaced");
    assert_false(key_signs(libctx, again));
    assert_non_null(strstr(last_error(error, sizeof(error)), "no longer on the token"));
    assert_true(key_signs(libctx, other));
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    ERR_clear_error();
    EVP_PKEY_free(key);
    EVP_PKEY_free(again);
    EVP_PKEY_free(other);
    OSSL_LIB_CTX_free(libctx);
}

/* Two tokens with one label, told apart by their serial numbers: each EVP_PKEY stays with its own,
 * also when their slots change places. */
static void test_recovery_tokens_alike(void **state)
{
    CK_SLOT_ID slots[16], twins[2];
    CK_ULONG count = COUNT_OF(slots);
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *keys[2];

    (void)state;
    for (int n = 0; n < 2; n++) { /* a token that is made leaves a free slot behind it */
        assert_int_equal(p11->C_Initialize(NULL), CKR_OK);
        count = COUNT_OF(slots);
        assert_int_equal(p11->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
        (void)operator_init_token("twin", "1234");
        assert_int_equal(p11->C_Finalize(NULL), CKR_OK);
    }
    libctx = libctx_new_faulty("");
    EVP_PKEY_free(key_load(libctx, "p256", "private")); /* the module is up */
    assert_int_equal(operator_slots("twin", twins, 2), 2);
    for (int n = 0; n < 2; n++) {
        CK_SESSION_HANDLE session = operator_session_on(twins[n], true);
        CK_TOKEN_INFO info;
        char uri[128];

        operator_generate(session, "same");
        assert_int_equal(p11->C_CloseSession(session), CKR_OK);
        assert_int_equal(p11->C_GetTokenInfo(twins[n], &info), CKR_OK);
        snprintf(uri, sizeof(uri), "pkcs11:token=twin;serial=%.16s;object=same;type=private",
                 (const char *)info.serialNumber);
        keys[n] = key_load_uri(libctx, uri);
        assert_non_null(keys[n]);
    }
    assert_int_equal(EVP_PKEY_eq(keys[0], keys[1]), 0);
    fault("C_SignInit 1 1 CKR_DEVICE_REMOVED drop-sessions; C_SignInit 2 1 CKR_TOKEN_NOT_PRESENT");
    for (int n = 0; n < 2; n++) { /* a signature is verified with the key that made it */
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        unsigned char sig[512];
        size_t len = sizeof(sig);

        assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", libctx, NULL, keys[n], NULL),
                         1);
        assert_int_equal(EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"m", 1), 1);
        EVP_MD_CTX_reset(ctx);
        assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", libctx, NULL, keys[n], NULL),
                         1);
        assert_int_equal(EVP_DigestVerify(ctx, sig, len, (const unsigned char *)"m", 1), 1);
        EVP_MD_CTX_free(ctx);
    }
    fault("");
    EVP_PKEY_free(keys[0]);
    EVP_PKEY_free(keys[1]);
    OSSL_LIB_CTX_free(libctx);
}

static OSSL_LIB_CTX *recursive_libctx;
static EVP_PKEY *recursive_key;
static unsigned refused;

/* What a module may do that uses libcrypto, and is led back here. */
static void recurse(void)
{
    EVP_PKEY *key = key_load(recursive_libctx, "p256", "private");
    OSSL_LIB_CTX *fresh;

    refused += key == NULL && !key_signs(recursive_libctx, recursive_key);
    EVP_PKEY_free(key);
    fresh = libctx_new("");
    key = key_load(fresh, "p256", "private");
    refused += key == NULL;
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(fresh);
    ERR_clear_error();
}

/* A module that calls back into this provider, or loads it, from inside each of its functions: an
 * error for the inner use, none for the outer, and nothing hangs. */
static void test_recovery_recursion(void **state)
{
    static const char *const functions[] = { "C_Initialize",      "C_GetTokenInfo",
                                             "C_OpenSession",     "C_Login",
                                             "C_FindObjectsInit", "C_GetAttributeValue",
                                             "C_SignInit",        "C_Sign" };

    (void)state;
    limit(60);
    fault_callback(recurse);
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        EVP_PKEY *key;
        char rule[64];

        fault("");
        recursive_libctx = libctx_new_faulty("");
        if (i >= 2) { /* the module is up and the key in use */
            recursive_key = key_load(recursive_libctx, "rsa2048", "private");
            assert_true(key_signs(recursive_libctx, recursive_key));
        }
        snprintf(rule, sizeof(rule), "%s 1 1 - callback", functions[i]);
        refused = 0;
        fault(rule);
        if (strcmp(functions[i], "C_OpenSession") == 0 || strcmp(functions[i], "C_Login") == 0)
            fault("C_SignInit 1 1 CKR_DEVICE_ERROR; C_OpenSession 1 1 - callback; "
                  "C_Login 1 1 - callback");
        key = key_load(recursive_libctx, "p384", "private");
        assert_non_null(key);
        assert_true(key_signs(recursive_libctx, key));
        if (refused == 0)
            fail_msg("%s: the module never called back, or was served", functions[i]);
        fault("");
        EVP_PKEY_free(key);
        EVP_PKEY_free(recursive_key);
        recursive_key = NULL;
        OSSL_LIB_CTX_free(recursive_libctx);
    }
    alarm(0);
}

static void fork_and_wait(void)
{
    pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(0);
    (void)waitpid(pid, &status, 0);
    refused++;
}

/* A module that forks in the middle of a call, to run a program say. */
static void test_recovery_module_forks(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    EVP_PKEY *key = key_load(libctx, "p256", "private");

    (void)state;
    limit(60);
    fault_callback(fork_and_wait);
    refused = 0;
    fault("C_Sign 1 5 - callback");
    for (int n = 0; n < 10; n++)
        assert_true(key_signs(libctx, key));
    assert_int_equal(refused, 5);
    fault("");
    alarm(0);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

struct waiting {
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;
    unsigned arrival, served;
    char error[600];
    bool ok;
};

static atomic_uint served;

static void *sign_once(void *arg)
{
    struct waiting *waiting = arg;

    waiting->ok = key_signs(waiting->libctx, waiting->key);
    waiting->served = atomic_fetch_add(&served, 1);
    (void)last_error(waiting->error, sizeof(waiting->error));
    return NULL;
}

/* Starts a signature in a thread of each, one after the other has come to where it waits. */
static void wait_all(struct waiting *all, size_t count, OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    pthread_t threads[16];

    atomic_store(&served, 0);
    for (size_t i = 0; i < count; i++) {
        all[i] = (struct waiting){ .libctx = libctx, .key = key, .arrival = (unsigned)i };
        assert_int_equal(pthread_create(&threads[i], NULL, sign_once, &all[i]), 0);
        others_wait();
    }
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

/* One session, eight threads: first come, first served. */
static void test_recovery_first_come(void **state)
{
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;
    struct waiting all[8];

    (void)state;
    RESTS_ON_TIME;
    libctx = libctx_new_faulty("pkcs11-sessions-max = 1\n");
    key = key_load(libctx, "p256", "private");
    assert_non_null(key);
    fault("sessions 1; C_Sign 1 * - delay=250");
    wait_all(all, COUNT_OF(all), libctx, key);
    fault("");
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        assert_true(all[i].ok);
        assert_int_equal(all[i].served, all[i].arrival);
    }
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* Nobody waits without end: the error says how many sessions were busy, and for how long. */
static void test_recovery_all_busy(void **state)
{
    OSSL_LIB_CTX *libctx =
        libctx_new_faulty("pkcs11-sessions-max = 1\npkcs11-session-wait-ms = 60\n");
    EVP_PKEY *key = key_load(libctx, "p256", "private");
    struct waiting all[3];

    (void)state;
    assert_non_null(key);
    fault("sessions 1; C_Sign 1 1 - delay=1500");
    wait_all(all, COUNT_OF(all), libctx, key);
    fault("");
    assert_true(all[0].ok);
    for (size_t i = 1; i < COUNT_OF(all); i++) {
        assert_false(all[i].ok);
        assert_non_null(strstr(all[i].error, "all 1 sessions with the token 'soft' were busy for"));
        assert_non_null(strstr(all[i].error, "pkcs11-sessions-max"));
    }
    assert_true(key_signs(libctx, key));
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* A token that hangs while one thread looks for it: the others don't wait without end either. */
static void test_recovery_no_answer(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-session-wait-ms = 60\npkcs11-log = none\n");
    EVP_PKEY *key = key_load(libctx, "p256", "private");
    struct waiting all[3];

    (void)state;
    assert_non_null(key);
    fault("C_Sign 1 * - delay=400"); /* so that there are several sessions */
    wait_all(all, COUNT_OF(all), libctx, key);
    fault("C_SignInit 1 1 CKR_DEVICE_ERROR; C_GetSlotList 1 1 - delay=1500");
    wait_all(all, COUNT_OF(all), libctx, key);
    fault("");
    assert_true(all[0].ok);
    for (size_t i = 1; i < COUNT_OF(all); i++) {
        assert_false(all[i].ok);
        assert_non_null(strstr(all[i].error, "failed and does not answer"));
    }
    assert_true(key_signs(libctx, key));
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recovery_all_busy),     cmocka_unit_test(test_recovery_no_answer),
        cmocka_unit_test(test_recovery_first_come),   cmocka_unit_test(test_recovery_replaced),
        cmocka_unit_test(test_recovery_recursion),    cmocka_unit_test(test_recovery_module_forks),
        cmocka_unit_test(test_recovery_tokens_alike),
    };

    operator_open();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
