/* What the pool of sessions counts, and what it leaves open in the token, when tokens fail. Each
 * case is a process of its own, since what is learnt of a token stays. */
#include "harness.h"
#include "operator.h"
#include "signer.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

#define SETTINGS  "pkcs11-log = none\npkcs11-retry-ms = 3000\n"
#define ELSEWHERE 0x77UL /* a slot that SoftHSM does not have */

static OSSL_LIB_CTX *libctx;

static EVP_PKEY *load(const char *label)
{
    EVP_PKEY *key = key_load(libctx, label, "private");

    assert_non_null(key);
    return key;
}

static void must_sign(EVP_PKEY *key)
{
    char error[600];

    if (!key_signs(libctx, key))
        fail_msg("%s", last_error(error, sizeof(error)));
}

static EVP_PKEY *must_make_key(void)
{
    EVP_PKEY *key = session_key(libctx);
    char error[600];

    if (key == NULL)
        fail_msg("%s", last_error(error, sizeof(error)));
    return key;
}

/* Where threads stay inside the module until all are let out. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned arrived;
    bool open;
} hold = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, false };

static void stay(void)
{
    pthread_mutex_lock(&hold.lock);
    hold.arrived++;
    pthread_cond_broadcast(&hold.changed);
    while (!hold.open)
        pthread_cond_wait(&hold.changed, &hold.lock);
    pthread_mutex_unlock(&hold.lock);
}

static void hold_begin(void)
{
    hold.arrived = 0;
    hold.open = false;
    fault_callback(stay);
}

/* Waits for so many threads, or until it is plain that they don't come. */
static unsigned await_stay(unsigned number)
{
    struct timespec deadline;
    unsigned arrived;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += (time_t)at_leisure(20);
    pthread_mutex_lock(&hold.lock);
    while (hold.arrived < number && rc == 0)
        rc = pthread_cond_timedwait(&hold.changed, &hold.lock, &deadline);
    arrived = hold.arrived;
    pthread_mutex_unlock(&hold.lock);
    return arrived;
}

static void let_out(void)
{
    pthread_mutex_lock(&hold.lock);
    hold.open = true;
    pthread_cond_broadcast(&hold.changed);
    pthread_mutex_unlock(&hold.lock);
}

/* So many signatures at the same time, of which at least some are to be on a session of their own
 * while rules hold as well; the number that were. */
#define MOST 16
static unsigned sign_crowded(EVP_PKEY *key, unsigned number, unsigned some, const char *rules)
{
    struct signer signers[MOST];
    unsigned arrived;
    char rule[64];

    hold_begin();
    (void)snprintf(rule, sizeof(rule), "C_Sign 1 %u - callback; %s", number, rules);
    fault(rule);
    for (unsigned n = 0; n < number; n++)
        signer_begin(&signers[n], libctx, key);
    arrived = await_stay(some);
    if (some != number) {
        settle();
        arrived = await_stay(some); /* and no more than some, where the pool has no more */
    }
    let_out();
    for (unsigned n = 0; n < number; n++)
        signer_end(&signers[n]);
    fault("");
    return arrived;
}

static unsigned sign_together(EVP_PKEY *key, unsigned number)
{
    return sign_crowded(key, number, number, "");
}

static void end(EVP_PKEY *key)
{
    ERR_clear_error();
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* No session stays open without work, so that the one of a token that failed is the last: the token
 * is looked for all the same, though another is in its slot now. */
static void moves(const char *more)
{
    EVP_PKEY *key;
    CK_SLOT_ID soft[1], second[1];
    char rule[128];

    libctx = libctx_new_faulty(more);
    key = load("p256");
    must_sign(key);
    assert_int_equal(operator_slots("soft", soft, 1), 1);
    assert_int_equal(operator_slots("second", second, 1), 1);
    (void)snprintf(rule, sizeof(rule), "C_SignInit 1 1 - slots=%lx:%lx,%lx:%lx", soft[0], second[0],
                   ELSEWHERE, soft[0]);
    fault(rule);
    must_sign(key);
    must_sign(key);
    end(key);
}

static void test_pool_moves(void **state)
{
    (void)state;
    moves(SETTINGS "pkcs11-module-cache-sessions = 0\n");
}

static void test_pool_moves_kept(void **state)
{
    (void)state;
    moves(SETTINGS);
}

/* A token that fails again and again is not left with sessions of before. */
static void test_pool_leaves_none_open(void **state)
{
    EVP_PKEY *key;

    (void)state;
    libctx = libctx_new_faulty(SETTINGS "pkcs11-sessions-max = 2\n");
    key = load("p256");
    for (int n = 0; n < 6; n++) {
        for (int i = 0; i < 5; i++) /* it is copied */
            must_sign(key);
        fault("C_SignInit 1 1 CKR_DEVICE_ERROR");
        must_sign(key);
        fault("");
    }
    must_sign(key);
    if (sessions_open() > 3)
        fail_msg("%lu sessions are open", sessions_open());
    end(key);
}

/* The same with a token that does not answer when its sessions are closed. */
static void test_pool_closes_later(void **state)
{
    EVP_PKEY *key;

    (void)state;
    libctx =
        libctx_new_faulty(SETTINGS "pkcs11-sessions-max = 4\npkcs11-module-cache-keys = false\n");
    key = load("p256");
    for (int n = 0; n < 3; n++) {
        assert_int_equal(sign_together(key, 4), 4);
        fault("C_SignInit 1 1 CKR_DEVICE_ERROR; C_CloseSession 1 3 CKR_DEVICE_ERROR");
        must_sign(key);
        fault("");
        must_sign(key);
        if (sessions_open() > 4)
            fail_msg("%lu sessions are open", sessions_open());
    }
    end(key);
}

/* While calls of before a failure have not come back, their sessions fill the token. That is not
 * what the token has for ever after. */
static void test_pool_full_for_a_while(void **state)
{
    struct signer held[3], first, second;
    EVP_PKEY *key;

    (void)state;
    libctx =
        libctx_new_faulty(SETTINGS "pkcs11-sessions-max = 4\npkcs11-module-cache-keys = false\n");
    key = load("rsa2048");
    hold_begin();
    fault("sessions 4; C_Sign 1 4 - callback; C_SignInit 4 1 CKR_DEVICE_ERROR");
    for (unsigned n = 0; n < COUNT_OF(held); n++)
        signer_begin(&held[n], libctx, key);
    assert_int_equal(await_stay(3), 3);
    signer_begin(&first, libctx, key);
    assert_int_equal(await_stay(4), 4);
    signer_begin(&second, libctx, key);
    settle();
    let_out();
    for (unsigned n = 0; n < COUNT_OF(held); n++)
        signer_end(&held[n]);
    signer_end(&first);
    signer_end(&second);
    assert_int_equal(sign_together(key, 4), 4);
    end(key);
}

/* Other processes have the token's sessions, and give them back: then the pool grows again. What
 * tries too early costs no operation its success, and no start of the module anew. */
static void test_pool_grows_again(void **state)
{
    EVP_PKEY *key;

    (void)state;
    libctx =
        libctx_new_faulty(SETTINGS "pkcs11-sessions-max = 4\npkcs11-module-cache-keys = false\n");
    key = load("rsa2048");
    assert_int_equal(sign_crowded(key, 4, 2, "sessions 2"), 2);
    usleep(300000); /* now one more is tried */
    calls_reset();
    assert_int_equal(sign_crowded(key, 4, 2, "sessions 2"), 2);
    assert_int_equal(calls("C_OpenSession"), 1);
    usleep(600000);
    assert_int_equal(sign_together(key, 4), 4);
    assert_int_equal(calls("C_Finalize"), 0);
    end(key);
}

/* Who waits in such a crowd is who tries, again and again, and waits no longer for that: with 3 s
 * there are three pauses of 250, 500 and 1000 ms. */
static void test_pool_wait_ends(void **state)
{
    struct signer held[2], late;
    EVP_PKEY *key;

    (void)state;
    RESTS_ON_TIME;
    libctx = libctx_new_faulty("pkcs11-log = none\npkcs11-sessions-max = 4\n"
                               "pkcs11-session-wait-ms = 3000\n");
    key = load("rsa2048");
    hold_begin();
    fault("sessions 2; C_Sign 1 * - callback");
    for (unsigned n = 0; n < COUNT_OF(held); n++)
        signer_begin(&held[n], libctx, key);
    assert_int_equal(await_stay(2), 2);
    calls_reset();
    signer_begin(&late, libctx, key);
    pthread_join(late.thread, NULL);
    assert_false(late.ok);
    assert_non_null(strstr(late.error, "were busy for 3000 ms"));
    if (calls("C_OpenSession") > 4)
        fail_msg("tried %lu times", calls("C_OpenSession"));
    let_out();
    for (unsigned n = 0; n < COUNT_OF(held); n++)
        signer_end(&held[n]);
    fault("");
    end(key);
}

/* Where others have all of them, starting the module anew helps nobody. */
static void test_pool_no_restart_for_sessions(void **state)
{
    (void)state;
    libctx = libctx_new_faulty("pkcs11-log = none\npkcs11-retry-ms = 300\n");
    fault("sessions 0");
    assert_null(key_load(libctx, "p256", "private"));
    assert_true(calls("C_OpenSession") > 5);
    assert_int_equal(calls("C_Finalize"), 0);
    fault("");
    end(load("p256"));
}

/* The session that session keys are made on finds the token full of idle sessions. */
static void test_pool_keeper_in_full_token(void **state)
{
    EVP_PKEY *key, *own;

    (void)state;
    libctx = libctx_new_faulty(SETTINGS "pkcs11-module-cache-keys = false\n");
    key = load("rsa2048");
    assert_int_equal(sign_together(key, 3), 3);
    calls_reset();
    fault("sessions 3");
    own = must_make_key();
    must_sign(own);
    must_sign(key);
    assert_int_equal(calls("C_Finalize"), 0);
    fault("");
    EVP_PKEY_free(own);
    end(key);
}

/* A session key in a thread, numbered in the order of their beginnings. */
struct maker {
    pthread_t thread;
    unsigned number;
    EVP_PKEY *key;
};

static _Thread_local unsigned maker_number;

static void *make_key(void *arg)
{
    struct maker *maker = arg;

    maker_number = maker->number;
    maker->key = must_make_key();
    return NULL;
}

static void make_begin(struct maker *makers, unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        makers[n].number = n;
        assert_int_equal(pthread_create(&makers[n].thread, NULL, make_key, &makers[n]), 0);
    }
}

static void make_end(struct maker *makers, unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        pthread_join(makers[n].thread, NULL);
        assert_non_null(makers[n].key);
    }
}

/* Session keys are made on several sessions at once, which are lent by the pool as long as they
 * have keys on them, and no longer: idle ones, where there are as many. */
static void lends_keepers(unsigned idle)
{
    struct maker makers[MOST];
    EVP_PKEY *key;

    libctx = libctx_new_faulty(
        SETTINGS
        "pkcs11-sessions-max = 10\npkcs11-module-cache-keys = false\npkcs11-module-cache-sessions "
        "= 10\n");
    key = load("rsa2048");
    assert_int_equal(sign_together(key, idle), idle);
    hold_begin();
    fault("C_GenerateKeyPair 1 3 - callback");
    make_begin(makers, MOST);
    assert_int_equal(await_stay(3), 3);
    let_out();
    make_end(makers, MOST);
    for (unsigned n = 0; n < MOST; n++)
        must_sign(makers[n].key);
    assert_int_equal(sign_crowded(key, 10, 8, ""), 8);
    for (unsigned n = 0; n < MOST; n++)
        EVP_PKEY_free(makers[n].key);
    assert_int_equal(sign_together(key, 10), 10);
    assert_int_equal(sessions_open(), 11);
    end(key);
}

static void test_pool_lends_keepers(void **state)
{
    (void)state;
    lends_keepers(1);
}

static void test_pool_lends_idle_sessions(void **state)
{
    (void)state;
    lends_keepers(10);
}

/* The same where the token has few sessions, and does not say so. */
static void keepers_in_small_token(const char *rules)
{
    struct maker makers[MOST];

    libctx = libctx_new_faulty(SETTINGS "pkcs11-sessions-max = 10\n");
    fault(rules);
    make_begin(makers, MOST);
    make_end(makers, MOST);
    for (unsigned n = 0; n < MOST; n++) {
        must_sign(makers[n].key);
        EVP_PKEY_free(makers[n].key);
    }
    fault("");
    assert_int_equal(calls("C_Finalize"), 0);
    end(NULL);
}

static void test_pool_keepers_in_small_token(void **state)
{
    (void)state;
    keepers_in_small_token("sessions 2");
}

/* Others wait while the one beside the pool is opened, which is not one to lend others for. */
static void test_pool_keepers_wait_for_the_first(void **state)
{
    (void)state;
    keepers_in_small_token("sessions 2; C_OpenSession 1 1 - delay=500");
}

/* A session was lent before the one beside the pool could be opened, and is the last that the token
 * had. The pool's own is not closed for that: who uses the keys would wait for ever. */
static void test_pool_lent_before_the_first(void **state)
{
    struct maker makers[2];
    EVP_PKEY *key;

    (void)state;
    libctx = libctx_new_faulty(SETTINGS "pkcs11-sessions-max = 10\n");
    key = load("p256");
    fault("sessions 2; C_OpenSession 1 1 CKR_SESSION_COUNT delay=500");
    make_begin(makers, COUNT_OF(makers));
    make_end(makers, COUNT_OF(makers));
    for (unsigned n = 0; n < COUNT_OF(makers); n++)
        must_sign(makers[n].key);
    must_sign(key);
    for (unsigned n = 0; n < COUNT_OF(makers); n++)
        EVP_PKEY_free(makers[n].key);
    fault("");
    assert_int_equal(calls("C_Finalize"), 0);
    end(key);
}

/* Who waits for a keeper is served in the order of arrival. */
static unsigned made[MOST], made_count;

static void stay_in_order(void)
{
    made[made_count++] = maker_number; /* one thread at a time */
    stay();
}

static void test_pool_makers_in_order(void **state)
{
    struct maker makers[6];

    (void)state;
    RESTS_ON_TIME;
    libctx = libctx_new_faulty(SETTINGS "pkcs11-sessions-max = 4\n");
    EVP_PKEY_free(must_make_key());
    hold_begin();
    fault_callback(stay_in_order);
    fault("C_GenerateKeyPair 1 6 - callback");
    for (unsigned n = 0; n < COUNT_OF(makers); n++) {
        makers[n].number = n;
        assert_int_equal(pthread_create(&makers[n].thread, NULL, make_key, &makers[n]), 0);
        assert_int_equal(await_stay(1), 1);
        usleep(20000); /* it waits by then, most likely */
    }
    let_out();
    make_end(makers, COUNT_OF(makers));
    for (unsigned n = 0; n < COUNT_OF(makers); n++) {
        assert_int_equal(made[n], n);
        EVP_PKEY_free(makers[n].key);
    }
    fault("");
    end(NULL);
}

/* 256 threads, and 10 ms for each call: none waits for too long. */
#define CROWD 256
static void test_pool_crowd_of_makers(void **state)
{
    static struct maker makers[CROWD];

    (void)state;
    libctx = libctx_new_faulty("pkcs11-log = none\npkcs11-sessions-max = 32\n");
    EVP_PKEY_free(must_make_key());
    calls_reset();
    fault("* 1 * - delay=10");
    make_begin(makers, CROWD);
    make_end(makers, CROWD);
    fault("");
    assert_int_equal(calls("C_GenerateKeyPair"), CROWD);
    assert_int_equal(calls("C_FindObjects"), 0);
    for (unsigned n = 0; n < CROWD; n++)
        EVP_PKEY_free(makers[n].key);
    end(NULL);
}

/* The program's own sessions: their numbers may be those that the provider's had before the module
 * was started anew. */
#define SESSIONS 400
static CK_SESSION_HANDLE sessions[SESSIONS];
static struct signer other;

static void restart_by_program(void)
{
    assert_int_equal(p11->C_Finalize(NULL), CKR_OK);
    signer_begin(&other, libctx, other.key);
    pthread_join(other.thread, NULL);
    for (unsigned n = 0; n < SESSIONS; n++)
        sessions[n] = operator_session(false);
}

static void test_pool_sessions_of_program(void **state)
{
    EVP_PKEY *key;

    (void)state;
    assert_int_equal(p11->C_Initialize(NULL), CKR_OK);
    for (int n = 0; n < 100; n++) /* the number of the session is one of those to come */
        assert_int_equal(p11->C_CloseSession(operator_session(false)), CKR_OK);
    libctx = libctx_new_faulty(SETTINGS);
    key = load("p256");
    other.key = load("p384");
    fault_callback(restart_by_program);
    fault("C_SignInit 1 1 - callback");
    must_sign(key);
    fault("");
    assert_true(other.ok);
    for (unsigned n = 0; n < SESSIONS; n++) {
        CK_SESSION_INFO info;

        if (p11->C_GetSessionInfo(sessions[n], &info) != CKR_OK)
            fail_msg("session %lu was closed", sessions[n]);
    }
    EVP_PKEY_free(other.key);
    end(key);
}

/* A call outside of sessions says that the module is not initialised, when it has been again for
 * long. */
static void restart_by_other(void)
{
    assert_int_equal(p11->C_Finalize(NULL), CKR_OK);
    signer_begin(&other, libctx, other.key);
    pthread_join(other.thread, NULL);
}

static void test_pool_late_answer(void **state)
{
    EVP_PKEY *key;

    (void)state;
    libctx = libctx_new_faulty(SETTINGS);
    other.key = load("p384");
    must_sign(other.key);
    calls_reset();
    fault_callback(restart_by_other);
    fault("C_GetSlotList 1 1 CKR_CRYPTOKI_NOT_INITIALIZED callback");
    key = key_load_uri(libctx, "pkcs11:token=nowhere;object=none");
    assert_null(key);
    fault("");
    assert_true(other.ok);
    assert_int_equal(calls("C_Initialize"), 1);
    EVP_PKEY_free(other.key);
    end(NULL);
    assert_int_equal(calls("C_Finalize"), 1);
}

/* The original's handle goes stale while there is a copy: the next copy takes its place, and none
 * is left when the key goes. */
static void test_pool_copy_for_copy(void **state)
{
    EVP_PKEY *key;

    (void)state;
    libctx = libctx_new_faulty(SETTINGS);
    key = load("p256");
    calls_reset();
    for (int n = 0; n < 5; n++)
        must_sign(key);
    assert_int_equal(calls("C_CopyObject"), 1);
    usleep(1200000); /* the original is used next */
    fault("C_SignInit 1 1 CKR_KEY_HANDLE_INVALID");
    for (int n = 0; n < 5; n++)
        must_sign(key);
    fault("");
    EVP_PKEY_free(key);
    assert_int_equal(calls("C_DestroyObject"), calls("C_CopyObject"));
    end(NULL);
}

/* A copy that the token does not know any more, so it says, is not left there. */
static void test_pool_copy_lost(void **state)
{
    EVP_PKEY *key;

    (void)state;
    libctx = libctx_new_faulty(SETTINGS);
    key = load("p256");
    calls_reset();
    for (int n = 0; n < 5; n++)
        must_sign(key);
    assert_int_equal(calls("C_CopyObject"), 1);
    fault("C_SignInit 1 1 CKR_KEY_HANDLE_INVALID");
    must_sign(key);
    fault("");
    assert_int_equal(calls("C_DestroyObject"), 1);
    EVP_PKEY_free(key);
    assert_int_equal(calls("C_DestroyObject"), calls("C_CopyObject"));
    end(NULL);
}

/* A module that looks for tokens when it is initialised only: those that come later are seen all
 * the same, and the search costs a second no more than one start anew. Where a token is in use,
 * nobody who looks for another disturbs it. */
static void test_pool_token_comes_late(void **state)
{
    EVP_PKEY *key;

    (void)state;
    RESTS_ON_TIME;
    libctx = libctx_new_faulty("pkcs11-log = none\npkcs11-retry-ms = 0\n");
    fault("C_GetSlotList 1 * - count=0");
    assert_null(key_load(libctx, "p256", "private"));
    assert_int_equal(calls("C_Initialize"), 1); /* it is just up, and not tried again for long */
    fault("C_GetSlotList 1 * - count=0 until-restart");
    usleep(1050000);
    for (int n = 0; n < 20; n++)
        EVP_PKEY_free(key_load_uri(libctx, "pkcs11:token=nowhere;object=none"));
    assert_int_equal(calls("C_Initialize"), 2);
    key = load("p256");
    must_sign(key);
    fault("");
    usleep(1050000);
    assert_null(key_load_uri(libctx, "pkcs11:token=nowhere;object=none"));
    assert_int_equal(calls("C_Initialize"), 2);
    must_sign(key);
    end(key);
}

/* C_Initialize or C_Login does not come back: one thread stays with it, and the others say so after
 * a while. */
static void *load_late(void *arg)
{
    return key_load(arg, "p256", "private");
}

static void hangs(const char *rule, const char *told)
{
    pthread_t thread;
    char error[600];
    void *key;

    libctx = libctx_new_faulty(
        "pkcs11-log = none\npkcs11-retry-ms = 100\npkcs11-session-wait-ms = 100\n");
    hold_begin();
    fault(rule);
    assert_int_equal(pthread_create(&thread, NULL, load_late, libctx), 0);
    assert_int_equal(await_stay(1), 1);
    assert_null(key_load(libctx, "p256", "private"));
    if (strstr(last_error(error, sizeof(error)), told) == NULL)
        fail_msg("%s", error);
    let_out();
    pthread_join(thread, &key);
    assert_non_null(key);
    must_sign(key);
    EVP_PKEY_free(key);
    fault("");
    end(load("p256"));
}

static void test_pool_initialise_hangs(void **state)
{
    (void)state;
    hangs("C_Initialize 1 1 - callback", "its C_Initialize has not come back");
}

static void test_pool_login_hangs(void **state)
{
    (void)state;
    hangs("C_Login 1 1 - callback", "another thread has been logging in to the token 'soft'");
}

/* The same where it is started anew: what needs no call of this module goes on. */
static void verify(EVP_PKEY *with)
{
    static const unsigned char signature[8] = { 0x30, 6, 2, 1, 1, 2, 1, 1 }, digest[32] = { 1 };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, with, "provider=pkcs11");

    assert_int_equal(EVP_PKEY_verify_init(ctx), 1);
    assert_int_not_equal(EVP_PKEY_verify(ctx, signature, sizeof(signature), digest, sizeof(digest)),
                         1);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
}

static void test_pool_restart_hangs(void **state)
{
    EVP_PKEY *key, *other_key;
    struct signer signer;

    (void)state;
    libctx = libctx_new_faulty(SETTINGS);
    key = load("p256");
    other_key = load("p384");
    calls_reset();
    hold_begin();
    fault("C_SignInit 1 * CKR_DEVICE_ERROR until-restart; C_Initialize 1 1 - callback");
    signer_begin(&signer, libctx, key);
    assert_int_equal(await_stay(1), 1);
    verify(other_key);
    let_out();
    signer_end(&signer);
    fault("");
    assert_int_equal(calls("C_Finalize"), 1);
    assert_int_equal(calls_overlapping(), 0);
    EVP_PKEY_free(other_key);
    end(key);
}

/* Threads that stay inside the module until each is let out by its number, in the order of arrival.
 */
static unsigned arrived, let_go;

static void stay_in_turn(void)
{
    unsigned number;

    pthread_mutex_lock(&hold.lock);
    number = arrived++;
    pthread_cond_broadcast(&hold.changed);
    while (let_go <= number)
        pthread_cond_wait(&hold.changed, &hold.lock);
    pthread_mutex_unlock(&hold.lock);
}

static void await_arrival(unsigned number)
{
    pthread_mutex_lock(&hold.lock);
    while (arrived < number)
        pthread_cond_wait(&hold.changed, &hold.lock);
    pthread_mutex_unlock(&hold.lock);
}

static void let_one_go(void)
{
    pthread_mutex_lock(&hold.lock);
    let_go++;
    pthread_cond_broadcast(&hold.changed);
    pthread_mutex_unlock(&hold.lock);
}

/* The only session is closed while another is being opened: the token logs out, and no handle of
 * before is used any more. */
static void test_pool_last_but_one_to_come(void **state)
{
    struct signer first, second;
    EVP_PKEY *key;

    (void)state;
    libctx =
        libctx_new_faulty(SETTINGS "pkcs11-sessions-max = 2\npkcs11-module-cache-keys = false\n");
    key = load("p256");
    must_sign(key);
    assert_int_equal(sessions_open(), 1);
    calls_reset();
    fault_callback(stay_in_turn);
    fault("C_Sign 1 1 CKR_FUNCTION_FAILED callback; C_OpenSession 1 1 - callback");
    signer_begin(&first, libctx, key);
    await_arrival(1);
    signer_begin(&second, libctx, key);
    await_arrival(2);
    let_one_go();
    signer_end(&first);
    let_one_go();
    signer_end(&second);
    fault("");
    assert_int_equal(calls("C_SignInit"), 3);
    assert_int_equal(calls("C_Login"), 1);
    assert_true(sessions_open() <= 2);
    end(key);
}

/* The premaster secret of TLS with RSA, which needs raw RSA, of a ciphertext as good as any. */
static bool decrypts_tls(EVP_PKEY *key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    unsigned version = 0x0303;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, &version),
        OSSL_PARAM_construct_end(),
    };
    unsigned char in[256] = { 0, 1, 2, 3 }, out[48];
    size_t len = sizeof(out);
    bool ok = EVP_PKEY_decrypt_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_WITH_TLS_PADDING) == 1 &&
              EVP_PKEY_CTX_set_params(ctx, params) == 1 &&
              EVP_PKEY_decrypt(ctx, out, &len, in, sizeof(in)) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* That a token does not say whether it has a mechanism is not that it has none. */
static void test_pool_mechanism_not_told(void **state)
{
    EVP_PKEY *key;
    char error[600];

    (void)state;
    libctx = libctx_new_faulty("pkcs11-log = none\npkcs11-retry-ms = 300\n");
    key = load("rsa2048");
    fault("C_GetMechanismInfo 1 1 CKR_DEVICE_ERROR");
    if (!decrypts_tls(key))
        fail_msg("%s", last_error(error, sizeof(error)));
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
    libctx = libctx_new_faulty("pkcs11-log = none\npkcs11-retry-ms = 300\n");
    key = load("rsa2048");
    fault("C_GetMechanismInfo 1 * CKR_DEVICE_ERROR");
    assert_false(decrypts_tls(key));
    if (strstr(last_error(error, sizeof(error)), "C_GetMechanismInfo") == NULL)
        fail_msg("%s", error);
    fault("");
    end(key);
}

static int child_of_fork(EVP_PKEY *key)
{
    char error[600];

    calls_reset();
    fault("* 1 * CKR_CRYPTOKI_NOT_INITIALIZED until-restart");
    if (!decrypts_tls(key)) {
        (void)fprintf(stderr, "%s\n", last_error(error, sizeof(error)));
        return 1;
    }
    return calls("C_GetMechanismInfo") == 1 ? 0 : 2;
}

/* The child of a fork asks nothing of the module before it has initialised it. */
static void test_pool_mechanism_in_child(void **state)
{
    EVP_PKEY *key;
    int status = -1;
    pid_t pid;

    (void)state;
    libctx = libctx_new_faulty(SETTINGS);
    key = load("rsa2048");
    pid = fork();
    if (pid == 0)
        _exit(child_of_fork(key));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    end(key);
}

/* A module whose list of functions has holes. */
static void test_pool_functions_lacking(void **state)
{
    static const char *const functions[] = {
        "C_GetInfo",
        "C_GetSlotList",
        "C_GetSlotInfo",
        "C_GetTokenInfo",
        "C_OpenSession",
        "C_GetMechanismInfo",
        "C_Login",
        "C_FindObjectsInit",
        "C_FindObjects",
        "C_FindObjectsFinal",
        "C_GetAttributeValue",
        "C_SetAttributeValue",
        "C_CopyObject",
        "C_DestroyObject",
        "C_GenerateKeyPair",
        "C_DeriveKey",
        "C_SignInit",
        "C_Sign",
        "C_SignUpdate",
        "C_SignFinal",
        "C_VerifyInit",
        "C_Verify",
        "C_EncryptInit",
        "C_Encrypt",
        "C_DecryptInit",
        "C_Decrypt",
        "C_GenerateRandom",
        "C_GetSessionInfo",
        "C_CloseSession",
        "C_Finalize",
        "C_Initialize",
    };
    char rule[64], error[600];
    EVP_PKEY *key, *own;

    (void)state;
    for (size_t f = 0; f < COUNT_OF(functions); f++) {
        bool works = true;

        (void)snprintf(rule, sizeof(rule), "lacks %s", functions[f]);
        fault(rule);
        libctx = libctx_new_faulty("pkcs11-log = none\npkcs11-retry-ms = 0\n");
        key = key_load(libctx, "p256", "private");
        for (int n = 0; key != NULL && works && n < 4; n++)
            works = key_signs(libctx, key);
        own = key != NULL && works ? session_key(libctx) : NULL;
        if ((key == NULL || own == NULL) &&
            (strstr(last_error(error, sizeof(error)), functions[f]) == NULL ||
             strstr(error, "does not have th") == NULL))
            fail_msg("without %s: %s", functions[f], error);
        EVP_PKEY_free(own);
        end(key);
    }
    fault("");
}

static void make_second(void)
{
    assert_int_equal(p11->C_Initialize(NULL), CKR_OK);
    (void)operator_init_token("second", "1234");
    assert_int_equal(p11->C_Finalize(NULL), CKR_OK);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_pool_moves),
    cmocka_unit_test(test_pool_moves_kept),
    cmocka_unit_test(test_pool_leaves_none_open),
    cmocka_unit_test(test_pool_closes_later),
    cmocka_unit_test(test_pool_full_for_a_while),
    cmocka_unit_test(test_pool_grows_again),
    cmocka_unit_test(test_pool_wait_ends),
    cmocka_unit_test(test_pool_no_restart_for_sessions),
    cmocka_unit_test(test_pool_keeper_in_full_token),
    cmocka_unit_test(test_pool_lends_keepers),
    cmocka_unit_test(test_pool_lends_idle_sessions),
    cmocka_unit_test(test_pool_keepers_in_small_token),
    cmocka_unit_test(test_pool_keepers_wait_for_the_first),
    cmocka_unit_test(test_pool_lent_before_the_first),
    cmocka_unit_test(test_pool_makers_in_order),
    cmocka_unit_test(test_pool_crowd_of_makers),
    cmocka_unit_test(test_pool_sessions_of_program),
    cmocka_unit_test(test_pool_late_answer),
    cmocka_unit_test(test_pool_copy_for_copy),
    cmocka_unit_test(test_pool_copy_lost),
    cmocka_unit_test(test_pool_token_comes_late),
    cmocka_unit_test(test_pool_initialise_hangs),
    cmocka_unit_test(test_pool_login_hangs),
    cmocka_unit_test(test_pool_restart_hangs),
    cmocka_unit_test(test_pool_last_but_one_to_come),
    cmocka_unit_test(test_pool_mechanism_not_told),
    cmocka_unit_test(test_pool_mechanism_in_child),
    cmocka_unit_test(test_pool_functions_lacking),
};

/* test-pool [NAME]: all, or the one of this name */
int main(int argc, char **argv)
{
    operator_open();
    make_second();
    return cases_in_children(tests, COUNT_OF(tests), argc > 1 ? argv[1] : NULL) ? 0 : 1;
}
