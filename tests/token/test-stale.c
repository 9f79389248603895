/* Sessions, handles and the module itself go away under those that use them: no object is taken for
 * another, nothing is touched that was freed, and what works is left alone. Each case is a process
 * of its own, since what is learnt of a token stays. */
#include "harness.h"
#include "operator.h"
#include "signer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/core_dispatch.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#ifndef OSSL_FUNC_STORE_DELETE /* OpenSSL 3.2 */
#define OSSL_FUNC_STORE_DELETE 9
#endif

#define SETTINGS "pkcs11-log = none\npkcs11-retry-ms = 1500\n"

static OSSL_LIB_CTX *libctx;

static EVP_PKEY *load(const char *label)
{
    EVP_PKEY *key = key_load(libctx, label, "private");

    assert_non_null(key);
    return key;
}

static EVP_PKEY *load_from(const char *token, const char *label)
{
    char uri[128];

    (void)snprintf(uri, sizeof(uri), "pkcs11:token=%s;object=%s;type=private", token, label);
    return key_load_uri(libctx, uri);
}

static void must_sign(EVP_PKEY *key)
{
    char error[600];

    if (!key_signs(libctx, key))
        fail_msg("%s", last_error(error, sizeof(error)));
}

/* A key with a copy on the keeper. */
static EVP_PKEY *copied_key(OSSL_LIB_CTX *of)
{
    EVP_PKEY *key = key_load(of, "p256", "private");

    for (int n = 0; n < 5; n++)
        assert_true(key_signs(of, key));
    assert_int_equal(calls("C_CopyObject"), 1);
    return key;
}

/* Where threads stay inside the module, until they are let out in the order of their arrival. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned arrived, released;
} hold = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0 };

static void stay(void)
{
    unsigned self;

    pthread_mutex_lock(&hold.lock);
    self = ++hold.arrived;
    pthread_cond_broadcast(&hold.changed);
    while (self > hold.released)
        pthread_cond_wait(&hold.changed, &hold.lock);
    pthread_mutex_unlock(&hold.lock);
}

static void await_stay(unsigned number)
{
    pthread_mutex_lock(&hold.lock);
    while (hold.arrived < number)
        pthread_cond_wait(&hold.changed, &hold.lock);
    pthread_mutex_unlock(&hold.lock);
}

static void let_out(unsigned number)
{
    pthread_mutex_lock(&hold.lock);
    hold.released = number;
    pthread_cond_broadcast(&hold.changed);
    pthread_mutex_unlock(&hold.lock);
}

static void hold_reset(void)
{
    hold.arrived = hold.released = 0;
}

static CK_OBJECT_HANDLE find_private(CK_SESSION_HANDLE session, const CK_ATTRIBUTE *other)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) }, *other };
    CK_OBJECT_HANDLE objects[2];
    CK_ULONG count = 0;

    assert_int_equal(p11->C_FindObjectsInit(session, template, COUNT_OF(template)), CKR_OK);
    assert_int_equal(p11->C_FindObjects(session, objects, COUNT_OF(objects), &count), CKR_OK);
    assert_int_equal(p11->C_FindObjectsFinal(session), CKR_OK);
    assert_int_equal(count, 1);
    return objects[0];
}

/* SoftHSM numbers sessions and objects in one row. What the provider has lies below the first or
 * above the second of these numbers, and the operator's session, once the module was started anew,
 * between them. */
#define STAYS 100
#define FROM  200

/* Opens sessions up to this number and closes them. */
static void number_up_to(CK_ULONG number)
{
    CK_SESSION_HANDLE session = 0;

    while (session < number) {
        session = operator_session(false);
        assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    }
}

/* A session with this number, logged in; no other of the operator's. */
static CK_SESSION_HANDLE session_numbered(CK_ULONG number)
{
    CK_SESSION_HANDLE session = operator_session(true);

    while (session < number) {
        CK_SESSION_HANDLE next = operator_session(false);

        assert_int_equal(p11->C_CloseSession(session), CKR_OK);
        session = next;
    }
    return session;
}

/* An object that lives as long as the session. */
static CK_OBJECT_HANDLE make_victim(CK_SESSION_HANDLE session)
{
    CK_OBJECT_CLASS class = CKO_DATA;
    CK_BBOOL no = CK_FALSE;
    char label[] = "victim";
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
                                { CKA_TOKEN, &no, sizeof(no) },
                                { CKA_LABEL, label, sizeof(label) - 1 } };
    CK_OBJECT_HANDLE object;

    assert_int_equal(p11->C_CreateObject(session, template, COUNT_OF(template), &object), CKR_OK);
    return object;
}

static unsigned renumbered;

/* The module is started anew by another hand: no session of before is known to it, and the number
 * that this private key had is victim's. */
static void renumber(const CK_ATTRIBUTE *key)
{
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
    CK_OBJECT_HANDLE number = find_private(operator_session(true), key);
    CK_SESSION_HANDLE session;

    assert_true(number > FROM);
    assert_int_equal(p11->C_Finalize(NULL), CKR_OK);
    assert_int_equal(p11->C_Initialize(&args), CKR_OK);
    session = session_numbered(STAYS);
    number_up_to(number - 1);
    assert_int_equal(make_victim(session), number);
    number_up_to(number + 100); /* no new session has an old one's number */
    renumbered++;
}

static void renumber_doomed(void)
{
    char label[] = "doomed";
    const CK_ATTRIBUTE named = { CKA_LABEL, label, sizeof(label) - 1 };

    renumber(&named);
}

static void renumber_session_object(void)
{
    CK_BBOOL no = CK_FALSE;
    const CK_ATTRIBUTE session_object = { CKA_TOKEN, &no, sizeof(no) };

    renumber(&session_object);
}

static CK_ULONG objects_named(const char *label)
{
    CK_SESSION_HANDLE session = operator_session(true);
    CK_OBJECT_HANDLE objects[8];
    CK_ULONG count = operator_find(session, label, objects, COUNT_OF(objects));

    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    return count;
}

/* A key pair, alone of its name. */
static void make_doomed(void)
{
    CK_SESSION_HANDLE session = operator_session(true);

    operator_destroy(session, "doomed");
    operator_generate(session, "doomed");
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
}

/* OSSL_FUNC_store_delete_fn of OpenSSL 3.2 */
typedef int store_delete(void *provctx, const char *uri, const OSSL_PARAM params[],
                         OSSL_PASSPHRASE_CALLBACK *callback, void *arg);

static store_delete *find_delete(OSSL_PROVIDER *provider)
{
    int no_cache;
    const OSSL_ALGORITHM *stores =
        OSSL_PROVIDER_query_operation(provider, OSSL_OP_STORE, &no_cache);
    const OSSL_DISPATCH *dispatch = stores->implementation;

    while (dispatch->function_id != 0 && dispatch->function_id != OSSL_FUNC_STORE_DELETE)
        dispatch++;
    assert_int_equal(dispatch->function_id, OSSL_FUNC_STORE_DELETE);
    return (store_delete *)dispatch->function;
}

/* What OSSL_STORE_delete does, which OpenSSL has from 3.2 on. */
static bool delete (const char *uri)
{
    OSSL_PROVIDER *provider = OSSL_PROVIDER_load(libctx, "pkcs11");
    int deleted;

    assert_non_null(provider);
    deleted =
        find_delete(provider)(OSSL_PROVIDER_get0_provider_ctx(provider), uri, NULL, NULL, NULL);
    OSSL_PROVIDER_unload(provider);
    return deleted == 1;
}

/* The module starts anew between any two calls of a deletion: it deletes what its URI names. */
static void test_stale_delete(void **state)
{
    static const char *const moments[] = { "C_OpenSession 1 1 - callback",
                                           "C_FindObjectsInit 1 1 - callback",
                                           "C_FindObjects 1 1 - callback",
                                           "C_FindObjectsFinal 1 1 - callback",
                                           "C_DestroyObject 1 1 - callback" };

    (void)state;
    fault_callback(renumber_doomed);
    for (size_t i = 0; i < COUNT_OF(moments); i++) {
        EVP_PKEY *key;
        char error[600];
        bool deleted;

        libctx = libctx_new_faulty(SETTINGS);
        key = load("p256");
        number_up_to(FROM);
        make_doomed();
        renumbered = 0;
        fault(moments[i]);
        deleted = delete ("pkcs11:token=soft;object=doomed;type=private");
        fault("");
        assert_int_equal(renumbered, 1);
        if (objects_named("victim") != 1)
            fail_msg("%s: another object is gone, and the deletion says %d", moments[i], deleted);
        if (!deleted)
            fail_msg("%s: %s", moments[i], last_error(error, sizeof(error)));
        assert_int_equal(objects_named("doomed"), 1);
        EVP_PKEY_free(key);
        OSSL_LIB_CTX_free(libctx);
    }
}

/* There is but one session, which must be one that may write. */
static void test_stale_delete_one_session(void **state)
{
    EVP_PKEY *key;
    char error[600];

    (void)state;
    libctx = libctx_new_faulty(SETTINGS "pkcs11-sessions-max = 1\n");
    key = load("p256");
    make_doomed();
    must_sign(key);
    if (!delete ("pkcs11:token=soft;object=doomed;type=private"))
        fail_msg("%s", last_error(error, sizeof(error)));
    assert_int_equal(objects_named("doomed"), 1);
    must_sign(key);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static void *free_key(void *key)
{
    EVP_PKEY_free(key);
    return NULL;
}

/* A key is freed while all sessions are busy; meanwhile the module starts anew, which the keeper
 * notices. The session objects of the key are gone and their numbers other objects'. */
static void check_free(EVP_PKEY *(*make)(OSSL_LIB_CTX *of))
{
    struct signer signers[2];
    EVP_PKEY *keys[2], *key, *other;
    pthread_t thread;

    libctx = libctx_new_faulty(SETTINGS "pkcs11-sessions-max = 2\n");
    keys[0] = load("rsa2048");
    keys[1] = load("p384");
    number_up_to(FROM);
    calls_reset();
    key = make(libctx);
    fault_callback(stay);
    fault("C_Sign 1 2 - callback; C_GenerateKeyPair 1 1 - callback");
    for (unsigned n = 0; n < 2; n++)
        signer_begin(&signers[n], libctx, keys[n]);
    await_stay(2);
    calls_reset();
    assert_int_equal(pthread_create(&thread, NULL, free_key, key), 0);
    settle();
    fault_callback(renumber_session_object);
    other = session_key(libctx);
    assert_int_equal(renumbered, 1);
    let_out(2);
    for (unsigned n = 0; n < 2; n++)
        signer_end(&signers[n]);
    pthread_join(thread, NULL);
    fault("");
    assert_int_equal(objects_named("victim"), 1);
    assert_int_equal(calls("C_DestroyObject"), 0);
    must_sign(other);
    EVP_PKEY_free(other);
    EVP_PKEY_free(keys[0]);
    EVP_PKEY_free(keys[1]);
    OSSL_LIB_CTX_free(libctx);
}

static void test_stale_free_session_key(void **state)
{
    (void)state;
    check_free(session_key);
}

static void test_stale_free_copied_key(void **state)
{
    (void)state;
    check_free(copied_key);
}

#define SECOND_DEAD "* 1 * CKR_DEVICE_ERROR token=second"

/* One token is dead, and a thread waits for a session of the other while a restart of their module
 * is tried, after which it would not come up. One session comes back before the restart can begin,
 * for the one that waits, the other lets it begin. */
static void wait_through_restart(EVP_PKEY *key, EVP_PKEY *dead)
{
    struct signer holders[2], waiter, failing;

    hold_reset();
    fault("C_Sign 1 2 - callback; C_Initialize 1 4 CKR_GENERAL_ERROR; " SECOND_DEAD);
    for (unsigned n = 0; n < 2; n++)
        signer_begin(&holders[n], libctx, key);
    await_stay(2);
    signer_begin(&waiter, libctx, key);
    settle();
    signer_begin(&failing, libctx, dead);
    usleep(500000);
    let_out(1);
    settle();
    let_out(2);
    for (unsigned n = 0; n < 2; n++)
        signer_end(&holders[n]);
    signer_end(&waiter);
    pthread_join(failing.thread, NULL);
    assert_false(failing.ok);
    fault("");
}

static void test_stale_waiter(void **state)
{
    EVP_PKEY *key, *dead;

    (void)state;
    libctx = libctx_new_faulty(SETTINGS "pkcs11-sessions-max = 2\n");
    key = load("rsa2048");
    dead = load_from("second", "other");
    must_sign(dead);
    fault_callback(stay);
    for (int n = 0; n < 3; n++) {
        wait_through_restart(key, dead);
        must_sign(key);
        must_sign(dead);
    }
    EVP_PKEY_free(key);
    EVP_PKEY_free(dead);
    OSSL_LIB_CTX_free(libctx);
}

static atomic_bool stop;

static void *sign_on(void *arg)
{
    while (!atomic_load(&stop))
        (void)key_signs(libctx, arg);
    ERR_clear_error();
    return NULL;
}

/* All tokens are dead and the module does not always come up: threads fail, and go on afterwards.
 */
static void test_stale_restarts(void **state)
{
    pthread_t threads[8];
    EVP_PKEY *keys[2];

    (void)state;
    libctx = libctx_new_faulty(SETTINGS "pkcs11-sessions-max = 2\n");
    keys[0] = load("p256");
    keys[1] = load_from("second", "other");
    for (size_t t = 0; t < COUNT_OF(threads); t++)
        assert_int_equal(pthread_create(&threads[t], NULL, sign_on, keys[t % 2]), 0);
    for (int n = 0; n < 5; n++) {
        fault("C_SignInit 1 * CKR_DEVICE_ERROR until-restart; "
              "C_Initialize 1 3 CKR_GENERAL_ERROR");
        usleep(700000);
    }
    fault("");
    atomic_store(&stop, true);
    for (size_t t = 0; t < COUNT_OF(threads); t++)
        pthread_join(threads[t], NULL);
    must_sign(keys[0]);
    must_sign(keys[1]);
    EVP_PKEY_free(keys[0]);
    EVP_PKEY_free(keys[1]);
    OSSL_LIB_CTX_free(libctx);
}

/* Asks what tokens there are, with no session of any. */
static void *look_for_nothing(void *arg)
{
    (void)arg;
    do {
        EVP_PKEY_free(load_from("nosuch", "nothing"));
    } while (!atomic_load(&stop));
    ERR_clear_error();
    return NULL;
}

/* A call does not come back while the token that is in use wants the module started anew: it is
 * when that call is back, not before. */
static void test_stale_restart_beside_call(void **state)
{
    EVP_PKEY *key;
    pthread_t thread;

    (void)state;
    libctx = libctx_new_faulty(SETTINGS);
    key = load("p256");
    must_sign(key);
    calls_reset();
    fault_callback(stay);
    fault("C_GetTokenInfo 1 1 - callback; C_SignInit 1 * CKR_DEVICE_ERROR until-restart");
    atomic_store(&stop, true);
    assert_int_equal(pthread_create(&thread, NULL, look_for_nothing, NULL), 0);
    await_stay(1);
    for (int n = 0; n < 2; n++)
        (void)key_signs(libctx, key);
    assert_int_equal(calls_overlapping(), 0);
    let_out(1);
    pthread_join(thread, NULL);
    must_sign(key);
    assert_int_equal(calls_overlapping(), 0);
    assert_int_equal(calls("C_Finalize"), 1);
    fault("");
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* What a restart mended is done, though it took longer than there was time to try again. */
static void test_stale_slow_restart(void **state)
{
    EVP_PKEY *key;

    (void)state;
    libctx = libctx_new_faulty(SETTINGS);
    key = load("p256");
    must_sign(key);
    calls_reset();
    fault("C_SignInit 1 * CKR_DEVICE_ERROR until-restart; C_Initialize 1 1 - delay=2000");
    must_sign(key);
    assert_int_equal(calls("C_Finalize"), 1);
    fault("C_SignInit 1 * CKR_DEVICE_ERROR; C_Initialize 1 * - delay=2000");
    assert_false(key_signs(libctx, key)); /* one that mends nothing is not gone through for ever */
    fault("");
    must_sign(key);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* To run a program say, and with more to do afterwards. */
static void fork_and_go_on(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    (void)waitpid(pid, NULL, 0);
    settle();
}

#define RESTARTS 4

/* A module that forks while it starts anew: the calls of other threads stay out until it is up. Who
 * looks for a token that is not there may start it anew as well, where nobody works with it, once
 * in a second. */
static void test_stale_restart_forks(void **state)
{
    const time_t began = time(NULL);
    unsigned long restarts;
    pthread_t threads[4];
    EVP_PKEY *key;

    (void)state;
    libctx = libctx_new_faulty("pkcs11-log = none\npkcs11-retry-ms = 8000\n");
    key = load("p256");
    must_sign(key);
    fault_callback(fork_and_go_on);
    calls_reset();
    for (size_t t = 0; t < COUNT_OF(threads); t++)
        assert_int_equal(pthread_create(&threads[t], NULL, look_for_nothing, NULL), 0);
    for (unsigned n = 0; n < RESTARTS; n++) {
        fault("C_GetTokenInfo 1 * - delay=10; C_GetSlotList 1 * - delay=10; "
              "C_SignInit 1 * CKR_DEVICE_ERROR until-restart; C_Initialize 1 1 - callback");
        must_sign(key);
    }
    atomic_store(&stop, true);
    for (size_t t = 0; t < COUNT_OF(threads); t++)
        pthread_join(threads[t], NULL);
    restarts = calls("C_Initialize");
    assert_true(restarts >= RESTARTS); /* assert_in_range is not in cmocka 1 and 2 alike */
    assert_true(restarts <= RESTARTS + (unsigned long)(time(NULL) - began));
    assert_int_equal(calls_overlapping(), 0);
    fault("");
    must_sign(key);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* A token is dead, the other has a session key: it lives on. */
static void test_stale_session_key_of_other(void **state)
{
    EVP_PKEY *key, *dead;

    (void)state;
    libctx = libctx_new_faulty(SETTINGS);
    dead = load_from("second", "other");
    key = session_key(libctx);
    must_sign(dead);
    must_sign(key);
    calls_reset();
    fault(SECOND_DEAD);
    for (int n = 0; n < 2; n++)
        assert_false(key_signs(libctx, dead));
    must_sign(key);
    assert_int_equal(calls("C_Finalize"), 0);
    fault("");
    must_sign(dead); /* back without a restart */
    must_sign(key);
    assert_int_equal(calls("C_Finalize"), 0);
    EVP_PKEY_free(key);
    EVP_PKEY_free(dead);
    OSSL_LIB_CTX_free(libctx);
}

static atomic_uint signatures, failures;

static void *sign_and_count(void *key)
{
    while (!atomic_load(&stop))
        atomic_fetch_add(key_signs(libctx, key) ? &signatures : &failures, 1);
    ERR_clear_error();
    return NULL;
}

static void await_signatures(unsigned more)
{
    unsigned before = atomic_load(&signatures);

    while (atomic_load(&signatures) < before + more)
        usleep(1000);
}

/* A token is dead, the other works, without session objects. */
static void test_stale_other_works(void **state)
{
    EVP_PKEY *key, *dead;
    pthread_t threads[2];

    (void)state;
    libctx = libctx_new_faulty(SETTINGS "pkcs11-module-cache-keys = false\n");
    dead = load_from("second", "other");
    key = load("p256");
    must_sign(dead);
    calls_reset();
    for (size_t t = 0; t < COUNT_OF(threads); t++)
        assert_int_equal(pthread_create(&threads[t], NULL, sign_and_count, key), 0);
    await_signatures(10);
    fault(SECOND_DEAD);
    for (int n = 0; n < 2; n++)
        assert_false(key_signs(libctx, dead));
    await_signatures(10);
    assert_int_equal(calls("C_Finalize"), 0);
    fault("");
    must_sign(dead);
    atomic_store(&stop, true);
    for (size_t t = 0; t < COUNT_OF(threads); t++)
        pthread_join(threads[t], NULL);
    assert_int_equal(atomic_load(&failures), 0);
    EVP_PKEY_free(key);
    EVP_PKEY_free(dead);
    OSSL_LIB_CTX_free(libctx);
}

#define ALL_DEAD                                                                                   \
    "* 1 * CKR_DEVICE_ERROR token=soft until-restart; "                                            \
    "* 1 * CKR_DEVICE_ERROR token=second until-restart"

/* What serves all tokens died: the module is started anew, whatever session objects there were. */
static void test_stale_all_dead(void **state)
{
    EVP_PKEY *keys[2], *session;
    struct signer signers[2];

    (void)state;
    libctx = libctx_new_faulty("pkcs11-log = none\npkcs11-retry-ms = 8000\n");
    calls_reset();
    keys[0] = copied_key(libctx);
    keys[1] = load_from("second", "other");
    session = session_key(libctx);
    must_sign(keys[1]);
    must_sign(session);
    fault(ALL_DEAD);
    for (unsigned n = 0; n < 2; n++)
        signer_begin(&signers[n], libctx, keys[n]);
    for (unsigned n = 0; n < 2; n++)
        signer_end(&signers[n]);
    assert_false(key_signs(libctx, session));
    EVP_PKEY_free(session);
    session = session_key(libctx);
    must_sign(session);
    fault("");
    EVP_PKEY_free(session);
    EVP_PKEY_free(keys[0]);
    EVP_PKEY_free(keys[1]);
    OSSL_LIB_CTX_free(libctx);
}

/* The same where nobody asks the other token meanwhile. */
static void test_stale_all_dead_one_asked(void **state)
{
    EVP_PKEY *keys[2];

    (void)state;
    libctx = libctx_new_faulty("pkcs11-log = none\npkcs11-retry-ms = 8000\n");
    keys[0] = load("p256");
    keys[1] = load_from("second", "other");
    must_sign(keys[0]);
    must_sign(keys[1]);
    fault(ALL_DEAD);
    must_sign(keys[0]);
    must_sign(keys[1]);
    fault("");
    EVP_PKEY_free(keys[0]);
    EVP_PKEY_free(keys[1]);
    OSSL_LIB_CTX_free(libctx);
}

/* A search fails: it is ended, and the token goes on, without an end of the session keys that there
 * are. */
static void test_stale_search(void **state)
{
    static const char *const ckrs[] = { "CKR_DEVICE_MEMORY",     "CKR_HOST_MEMORY",
                                        "CKR_GENERAL_ERROR",     "CKR_FUNCTION_FAILED",
                                        "CKR_FUNCTION_CANCELED", "CKR_ARGUMENTS_BAD" };
    EVP_PKEY *first, *next;

    (void)state;
    libctx = libctx_new_faulty(SETTINGS);
    first = session_key(libctx);
    must_sign(first);
    for (size_t i = 0; i < COUNT_OF(ckrs); i++) {
        char rule[64], nowhere[32];

        (void)snprintf(rule, sizeof(rule), "C_FindObjects 1 1 %s", ckrs[i]);
        (void)snprintf(nowhere, sizeof(nowhere), "nowhere-%zu", i);
        calls_reset();
        fault(rule);
        assert_null(key_load(libctx, nowhere, "private"));
        fault("");
        assert_int_not_equal(calls("C_FindObjects"), 0);
        if (calls("C_FindObjectsFinal") != calls("C_FindObjectsInit"))
            fail_msg("%s: %lu searches begun, %lu ended", ckrs[i], calls("C_FindObjectsInit"),
                     calls("C_FindObjectsFinal"));
        next = session_key(libctx);
        assert_non_null(next);
        must_sign(next);
        must_sign(first);
        assert_int_equal(calls("C_Finalize"), 0);
        EVP_PKEY_free(next);
        ERR_clear_error();
    }
    EVP_PKEY_free(first);
    OSSL_LIB_CTX_free(libctx);
}

/* The other token, with a key named other. */
static void make_second(void)
{
    CK_SLOT_ID slots[16];
    CK_ULONG count = COUNT_OF(slots);

    assert_int_equal(p11->C_Initialize(NULL), CKR_OK);
    assert_int_equal(p11->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    (void)operator_init_token("second", "1234");
    assert_int_equal(p11->C_Finalize(NULL), CKR_OK);
    assert_int_equal(p11->C_Initialize(NULL), CKR_OK);
    assert_int_equal(operator_slots("second", slots, 1), 1);
    operator_generate(operator_session_on(slots[0], true), "other");
    assert_int_equal(p11->C_Finalize(NULL), CKR_OK);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_stale_delete),
    cmocka_unit_test(test_stale_delete_one_session),
    cmocka_unit_test(test_stale_free_session_key),
    cmocka_unit_test(test_stale_free_copied_key),
    cmocka_unit_test(test_stale_waiter),
    cmocka_unit_test(test_stale_restarts),
    cmocka_unit_test(test_stale_restart_beside_call),
    cmocka_unit_test(test_stale_slow_restart),
    cmocka_unit_test(test_stale_restart_forks),
    cmocka_unit_test(test_stale_session_key_of_other),
    cmocka_unit_test(test_stale_other_works),
    cmocka_unit_test(test_stale_all_dead),
    cmocka_unit_test(test_stale_all_dead_one_asked),
    cmocka_unit_test(test_stale_search),
};

/* test-stale [NAME]: all, or the one of this name */
int main(int argc, char **argv)
{
    operator_open();
    make_second();
    return cases_in_children(tests, COUNT_OF(tests), argc > 1 ? argv[1] : NULL) ? 0 : 1;
}
