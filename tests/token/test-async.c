/* Operations in asynchronous jobs (ASYNC_start_job(3)), as event-driven servers have them: the job
 * pauses while the token works, whatever becomes of it meanwhile. */
#include "harness.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/async.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#define MANY 32

#ifdef __SANITIZE_THREAD__
#define SANITIZER_THREADS 1 /* its own */
#else
#define SANITIZER_THREADS 0
#endif

/* For the first tests: the largest of a process' settings counts. */
#define FEW "pkcs11-sessions-max = 2\n"

enum work { SIGN_EC, SIGN_RSA, SIGN_MESSAGE, DECRYPT, DERIVE, WORKS };

struct world {
    OSSL_LIB_CTX *libctx, *plain;
    EVP_PKEY *ec, *rsa, *peer;
    unsigned char encrypted[256], secret[32];
};

struct job {
    struct world *world;
    enum work work;
    bool blocked; /* pauses are forbidden */
    ASYNC_JOB *job;
    ASYNC_WAIT_CTX *wait;
    unsigned pauses;
    int result;
    char error[600];
};

static bool sign(struct world *world, EVP_PKEY *key, bool whole)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char sig[512];
    size_t len = sizeof(sig);
    bool ok = EVP_DigestSignInit_ex(ctx, NULL, "SHA256", world->libctx, NULL, key, NULL) == 1;

    if (ok && whole)
        ok = EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"message", 7) == 1;
    else if (ok)
        ok = EVP_DigestSignUpdate(ctx, "message", 7) == 1 &&
             EVP_DigestSignFinal(ctx, sig, &len) == 1;
    if (ok) {
        EVP_MD_CTX_reset(ctx);
        ok = EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", world->libctx, NULL, key, NULL) == 1 &&
             EVP_DigestVerify(ctx, sig, len, (const unsigned char *)"message", 7) == 1;
    }
    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool derive(struct world *world)
{
    unsigned char out[32];

    return key_derives(world->libctx, world->ec, world->peer, out) &&
           memcmp(out, world->secret, 32) == 0;
}

/* In the job. */
static int work(void *arg)
{
    struct job *job = *(struct job **)arg;
    struct world *world = job->world;
    bool ok = false;

    if (job->blocked)
        ASYNC_block_pause();
    switch (job->work) {
    case SIGN_EC:
        ok = sign(world, world->ec, false);
        break;
    case SIGN_RSA:
        ok = sign(world, world->rsa, false);
        break;
    case SIGN_MESSAGE:
        ok = sign(world, world->rsa, true);
        break;
    case DECRYPT:
        ok = key_decrypts(world->libctx, world->rsa, world->encrypted, "message");
        break;
    default:
        ok = derive(world);
    }
    if (job->blocked)
        ASYNC_unblock_pause();
    if (!ok)
        (void)last_error(job->error, sizeof(job->error));
    return ok;
}

/* Starts or resumes; true while the job is paused. */
static bool step(struct job *job)
{
    struct job *self = job;

    switch (ASYNC_start_job(&job->job, job->wait, &job->result, work, &self, sizeof(self))) {
    case ASYNC_PAUSE:
        job->pauses++;
        return true;
    case ASYNC_FINISH:
        return false;
    default:
        fail_msg("ASYNC_start_job");
        return false;
    }
}

/* True when it is paused: the token may be so fast that there is nothing to wait for. */
static bool begin(struct job *job, struct world *world, enum work which)
{
    *job = (struct job){ .world = world, .work = which, .wait = ASYNC_WAIT_CTX_new() };
    return step(job);
}

/* As an event loop does: waits for the descriptor, then resumes. */
static void wait_for(struct job *job)
{
    OSSL_ASYNC_FD fd;
    size_t count = 0;

    assert_int_equal(ASYNC_WAIT_CTX_get_all_fds(job->wait, NULL, &count), 1);
    assert_int_equal(count, 1);
    assert_int_equal(ASYNC_WAIT_CTX_get_all_fds(job->wait, &fd, &count), 1);
    assert_int_equal(
        poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, (int)at_leisure(20000)), 1);
}

static void run_to_end(struct job *job)
{
    while (job->job != NULL) {
        wait_for(job);
        (void)step(job);
    }
}

static bool finish(struct job *job)
{
    run_to_end(job);
    ASYNC_WAIT_CTX_free(job->wait);
    return job->result == 1;
}

static void world_begin(struct world *world, const char *settings)
{
    EVP_PKEY_CTX *ctx;
    EVP_PKEY *own;
    size_t len = sizeof(world->encrypted);

    fault("");
    world->plain = libctx_new_plain();
    world->libctx = libctx_new_faulty(settings);
    world->ec = key_load(world->libctx, "p256", "private");
    world->rsa = key_load(world->libctx, "rsa2048", "private");
    world->peer = EVP_PKEY_Q_keygen(world->plain, NULL, "EC", "P-256");
    ctx = EVP_PKEY_CTX_new_from_pkey(world->libctx, world->rsa, NULL);
    assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    assert_int_equal(
        EVP_PKEY_encrypt(ctx, world->encrypted, &len, (const unsigned char *)"message", 7), 1);
    EVP_PKEY_CTX_free(ctx);
    own = key_public_copy(world->ec, world->plain);
    assert_true(key_derives(world->plain, world->peer, own, world->secret));
    EVP_PKEY_free(own);
    for (int n = 0; n < 4; n++) { /* the copies are made, the mechanisms known */
        assert_true(sign(world, world->ec, true));
        assert_true(sign(world, world->rsa, true));
    }
}

static void world_end(struct world *world)
{
    fault("");
    ERR_clear_error();
    EVP_PKEY_free(world->ec);
    EVP_PKEY_free(world->rsa);
    EVP_PKEY_free(world->peer);
    OSSL_LIB_CTX_free(world->libctx);
    OSSL_LIB_CTX_free(world->plain);
}

static unsigned entries(const char *path)
{
    DIR *dir = opendir(path);
    unsigned count = 0;

    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}

/* A thread of the crew lets go of an operation just after its job can see that it is done. */
static void must_fall_to(const char *path, unsigned most)
{
    for (int n = 0; n < 100 && entries(path) > most; n++)
        usleep(20000);
    assert_true(entries(path) <= most);
}

/* Every operation pauses once at most and has its result, at the cost that it has outside of a job.
 */
static void test_async_each(void **state)
{
    static const unsigned long cost[WORKS] = { 2, 2, 2, 2, 3 };
    struct world world;

    (void)state;
    world_begin(&world, "");
    for (enum work which = 0; which < WORKS; which++)
        for (int n = 0; n < 10; n++) {
            struct job job;

            calls_reset();
            (void)begin(&job, &world, which);
            if (!finish(&job))
                fail_msg("%d: %s", (int)which, job.error);
            assert_true(job.pauses <= 1);
            assert_int_equal(calls(NULL), n == 0 && which == DECRYPT ? calls(NULL) : cost[which]);
        }
    world_end(&world);
}

/* Outside of a job: no thread. */
static void test_async_outside(void **state)
{
    unsigned threads = entries("/proc/self/task");
    struct world world;

    (void)state;
    world_begin(&world, FEW);
    assert_true(sign(&world, world.ec, false));
    assert_int_equal(entries("/proc/self/task"), threads);
    world_end(&world);
}

static atomic_uint looks, on_job_stacks;

static void look_at_stack(void)
{
    const char *here = __builtin_frame_address(0);
    pthread_attr_t attributes;
    void *low = NULL;
    size_t size = 0;

    assert_int_equal(pthread_getattr_np(pthread_self(), &attributes), 0);
    assert_int_equal(pthread_attr_getstack(&attributes, &low, &size), 0);
    (void)pthread_attr_destroy(&attributes);
    atomic_fetch_add(&looks, 1);
    atomic_fetch_add(&on_job_stacks, here < (char *)low || here >= (char *)low + size);
}

/* With pkcs11-async = off: no pause in a job, and yet the module has the stack of a thread. */
static void test_async_off(void **state)
{
    struct world world;
    struct job job;

    (void)state;
    world_begin(&world, FEW "pkcs11-async = off\n");
    fault_callback(look_at_stack);
    fault("C_Sign 1 * - callback; C_Decrypt 1 * - callback; C_DeriveKey 1 * - callback");
    for (enum work which = 0; which < WORKS; which++) {
        assert_false(begin(&job, &world, which));
        if (job.result != 1)
            fail_msg("%d: %s", (int)which, job.error);
        ASYNC_WAIT_CTX_free(job.wait);
    }
    fault("");
    assert_true(atomic_load(&looks) >= WORKS);
    assert_int_equal(atomic_load(&on_job_stacks), 0);
    world_end(&world);
}

/* One thread has many operations with the token at once. */
static void test_async_many(void **state)
{
    struct world world;
    struct job jobs[MANY];

    (void)state;
    world_begin(&world, "pkcs11-sessions-max = 32\n");
    fault("C_Sign 1 * - delay=300; C_Decrypt 1 * - delay=300; C_DeriveKey 1 * - delay=300");
    for (unsigned n = 0; n < MANY; n++)
        assert_true(begin(&jobs[n], &world, n % WORKS));
    for (unsigned n = 0; n < MANY; n++)
        if (!finish(&jobs[MANY - 1 - n]))
            fail_msg("%u: %s", n, jobs[MANY - 1 - n].error);
    world_end(&world);
}

/* No more threads than sessions, and nobody is forgotten. */
static void test_async_bounded(void **state)
{
    unsigned threads = entries("/proc/self/task"), most = 0;
    struct world world;
    struct job jobs[MANY];

    (void)state;
    world_begin(&world, FEW);
    fault("C_Sign 1 * - delay=20");
    for (unsigned n = 0; n < MANY; n++) {
        assert_true(begin(&jobs[n], &world, SIGN_EC));
        if (entries("/proc/self/task") > most)
            most = entries("/proc/self/task");
    }
    assert_true(most <= threads + 2 + SANITIZER_THREADS);
    for (unsigned n = 0; n < MANY; n++)
        assert_true(finish(&jobs[n]));
    world_end(&world);
}

/* What went wrong on the other thread is told on the job's. */
static void test_async_errors(void **state)
{
    static const struct {
        enum work work;
        const char *rule, *error;
    } cases[] = {
        { SIGN_EC, "C_Sign 1 * CKR_FUNCTION_REJECTED", "C_Sign: CKR_FUNCTION_REJECTED" },
        { DECRYPT, "C_DecryptInit 1 * CKR_KEY_SIZE_RANGE", "C_DecryptInit: CKR_KEY_SIZE_RANGE" },
        { DERIVE, "C_DeriveKey 1 * CKR_DEVICE_ERROR", "C_DeriveKey: CKR_DEVICE_ERROR" },
        { SIGN_RSA, "C_Sign 1 * - len=200", " 200" },
        { DECRYPT, "C_Decrypt 1 * - len=257", " 257" },
        { DERIVE, "C_GetAttributeValue 1 * - len=33", " 33" },
    };
    struct world world;

    (void)state;
    world_begin(&world, "pkcs11-retry-ms = 50\npkcs11-log = none\n");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct job job;

        fault(cases[i].rule);
        (void)begin(&job, &world, cases[i].work);
        assert_false(finish(&job));
        if (strstr(job.error, cases[i].error) == NULL)
            fail_msg("%s: %s", cases[i].rule, job.error);
        fault("");
        (void)begin(&job, &world, cases[i].work);
        assert_true(finish(&job));
    }
    world_end(&world);
}

/* Faults are mended there as here. */
static void test_async_recovery(void **state)
{
    static const char *const rules[] = {
        "C_SignInit 3 1 - drop-sessions",
        "C_Sign 5 2 CKR_DEVICE_ERROR",
        "C_SignInit 2 3 CKR_USER_NOT_LOGGED_IN",
        "C_SignInit 2 1 CKR_CRYPTOKI_NOT_INITIALIZED",
    };
    struct world world;

    (void)state;
    world_begin(&world, "pkcs11-log = none\n");
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        struct job jobs[MANY];

        fault(rules[i]);
        for (unsigned n = 0; n < MANY; n++)
            (void)begin(&jobs[n], &world, n % 3);
        for (unsigned n = 0; n < MANY; n++)
            if (!finish(&jobs[n]))
                fail_msg("%s: %s", rules[i], jobs[n].error);
    }
    world_end(&world);
}

/* An application that resumes before it is time, and code that forbids pauses. */
static void test_async_early(void **state)
{
    struct world world;
    struct job job;

    (void)state;
    world_begin(&world, "");
    fault("C_Sign 1 * - delay=100");
    assert_true(begin(&job, &world, SIGN_EC));
    while (step(&job))
        ;
    assert_true(job.pauses > 2);
    assert_int_equal(job.result, 1);

    job.blocked = true; /* with the same ASYNC_WAIT_CTX */
    assert_false(step(&job));
    assert_int_equal(job.result, 1);
    ASYNC_WAIT_CTX_free(job.wait);
    world_end(&world);
}

/* One descriptor for each ASYNC_WAIT_CTX, however many operations it sees, and none at the end. */
static void test_async_descriptors(void **state)
{
    struct world world;
    struct job job;
    unsigned before;

    (void)state;
    world_begin(&world, "");
    before = entries("/proc/self/fd");
    (void)begin(&job, &world, SIGN_EC);
    for (int n = 0; n < 100; n++) {
        run_to_end(&job);
        assert_int_equal(job.result, 1);
        (void)step(&job);
    }
    assert_true(finish(&job));
    must_fall_to("/proc/self/fd", before);
    world_end(&world);
}

/* Jobs that are given up while the token works, with everything that they worked on; the stacks
 * stay where libcrypto has them. */
static struct job given_up[3 * MANY];

static void test_async_given_up(void **state)
{
    struct world world;
    unsigned before;

    (void)state;
    world_begin(&world, "pkcs11-sessions-max = 4\n");
    before = entries("/proc/self/fd");
    for (unsigned n = 0; n < COUNT_OF(given_up); n++) {
        fault("C_Sign 1 * - delay=20; C_Decrypt 1 * - delay=20; C_DeriveKey 1 * - delay=20");
        (void)begin(&given_up[n], &world, n % WORKS);
        if (n % 3 == 0)
            usleep(n * 1000); /* in the queue, at work, or done */
        ASYNC_WAIT_CTX_free(given_up[n].wait);
    }
    world_end(&world); /* waits for those at work */
    world_begin(&world, "");
    assert_true(sign(&world, world.ec, true));
    must_fall_to("/proc/self/fd", before);
    world_end(&world);
}

/* A program that ends with jobs on their way ends with its own exit code. */
static void test_async_exit(void **state)
{
    (void)state;
    NO_THREADS_AFTER_FORK;
    for (int n = 0; n < 10; n++) {
        pid_t pid = fork();
        int status;

        if (pid == 0) {
            struct world world;

            limit(20);
            world_begin(&world, "");
            fault("C_Sign 1 * - delay=30");
            for (unsigned i = 0; i < 8; i++)
                (void)begin(&given_up[i], &world, i % 3);
            usleep((unsigned)n * 5000);
            exit(42);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 42)
            fail_msg("round %d: status %x", n, (unsigned)status);
    }
}

/* A fork with jobs on their way: each of the two processes finishes its own. */
static void test_async_fork(void **state)
{
    struct world world;

    (void)state;
    NO_THREADS_AFTER_FORK;
    world_begin(&world, "");
    for (int n = 0; n < 10; n++) {
        struct job jobs[8];
        pid_t pid;
        int status;

        fault("C_Sign 1 * - delay=50");
        for (unsigned i = 0; i < COUNT_OF(jobs); i++)
            assert_true(begin(&jobs[i], &world, i % 2));
        usleep((unsigned)n * 10000);
        pid = fork();
        if (pid == 0) {
            child_limit();
            for (unsigned i = 0; i < COUNT_OF(jobs); i++) {
                while (step(&jobs[i]))
                    ;
                if (jobs[i].result != 1)
                    _exit(1);
                jobs[i].wait = ASYNC_WAIT_CTX_new(); /* and begins others */
                (void)step(&jobs[i]);
                if (!finish(&jobs[i]))
                    _exit(2);
            }
            _exit(0);
        }
        for (unsigned i = 0; i < COUNT_OF(jobs); i++)
            assert_true(finish(&jobs[i]));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (child_proves_nothing(status))
            n--;
        else
            assert_int_equal(status, 0);
    }
    world_end(&world);
}

static atomic_uint failures;

static void *loop(void *arg)
{
    struct world *world = arg;
    struct job jobs[8];

    for (int round = 0; round < 10; round++) {
        for (unsigned n = 0; n < COUNT_OF(jobs); n++)
            (void)begin(&jobs[n], world, n % WORKS);
        for (unsigned n = 0; n < COUNT_OF(jobs); n++)
            if (!finish(&jobs[n]))
                atomic_fetch_add(&failures, 1);
    }
    ASYNC_cleanup_thread();
    return NULL;
}

/* Several event loops on one token. */
static void test_async_threads(void **state)
{
    struct world world;
    pthread_t threads[4];

    (void)state;
    world_begin(&world, "");
    assert_true(derive(&world));
    assert_true(key_decrypts(world.libctx, world.rsa, world.encrypted, "message"));
    for (size_t t = 0; t < COUNT_OF(threads); t++)
        assert_int_equal(pthread_create(&threads[t], NULL, loop, &world), 0);
    for (size_t t = 0; t < COUNT_OF(threads); t++)
        pthread_join(threads[t], NULL);
    assert_int_equal(atomic_load(&failures), 0);
    world_end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_async_outside), /* first: no thread has been started */
        cmocka_unit_test(test_async_off),      cmocka_unit_test(test_async_bounded),
        cmocka_unit_test(test_async_each),     cmocka_unit_test(test_async_many),
        cmocka_unit_test(test_async_errors),   cmocka_unit_test(test_async_recovery),
        cmocka_unit_test(test_async_early),    cmocka_unit_test(test_async_descriptors),
        cmocka_unit_test(test_async_threads),  cmocka_unit_test(test_async_fork),
        cmocka_unit_test(test_async_given_up), cmocka_unit_test(test_async_exit),
    };

    limit(300); /* nothing hangs */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
