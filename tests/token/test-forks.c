/* fork in the middle of threads that sign: parent and children all go on. */
#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>

#define THREADS 8
#define FORKS   200

static OSSL_LIB_CTX *libctx;
static EVP_PKEY *keys[2];
static bool readers_wait;
static atomic_bool stop;
static atomic_uint signatures, failures;

static bool sign(EVP_PKEY *key)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new(), *verifier = EVP_MD_CTX_new();
    unsigned char sig[512];
    size_t len = sizeof(sig);
    const unsigned char *message = (const unsigned char *)"message";
    bool ok = EVP_DigestSignInit_ex(ctx, NULL, "SHA256", libctx, NULL, key, NULL) == 1 &&
              EVP_DigestSign(ctx, sig, &len, message, 7) == 1 &&
              EVP_DigestVerifyInit_ex(verifier, NULL, "SHA256", libctx, NULL, key, NULL) == 1 &&
              EVP_DigestVerify(verifier, sig, len, message, 7) == 1;

    EVP_MD_CTX_free(ctx);
    EVP_MD_CTX_free(verifier);
    return ok;
}

static void *sign_on(void *arg)
{
    (void)arg;
    for (unsigned n = 0; !atomic_load(&stop); n++) {
        if (!sign(keys[n % 2]))
            atomic_fetch_add(&failures, 1);
        atomic_fetch_add(&signatures, 1);
    }
    ERR_clear_error();
    return NULL;
}

/* Signs with the keys that it inherited. */
static int child(void)
{
    bool ok;

    child_limit();
    ok = sign(keys[0]) && sign(keys[1]) && sign(keys[0]) && sign(keys[1]);
    if (!ok)
        ERR_print_errors_fp(stderr);
    return ok ? 0 : 1;
}

static pid_t fork_child(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(child());
    assert_int_not_equal(pid, -1);
    return pid;
}

/* The child ends well, or, if it proves nothing, another in its place. */
static void await_child(pid_t pid, unsigned n)
{
    int status = -1;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    while (child_proves_nothing(status)) {
        pid = fork_child();
        assert_int_equal(waitpid(pid, &status, 0), pid);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("child %u ended with status 0x%x", n, (unsigned)status);
}

static void fork_often(unsigned times, unsigned at_once)
{
    pid_t children[8];

    for (unsigned n = 0; n < times; n += at_once) {
        for (unsigned c = 0; c < at_once; c++)
            children[c] = fork_child();
        for (unsigned c = 0; c < at_once; c++)
            await_child(children[c], n + c);
    }
}

static void check_forks(const char *settings, unsigned times)
{
    pthread_t threads[THREADS];
    unsigned before;

    libctx = libctx_new_faulty(settings);
    keys[0] = key_load(libctx, "rsa2048", "private");
    keys[1] = key_load(libctx, "p256", "private");
    assert_non_null(keys[0]);
    assert_non_null(keys[1]);
    /* libcrypto fetches algorithms at their first use, with locks that a child may find taken */
    assert_true(sign(keys[0]) && sign(keys[1]));
    atomic_store(&stop, false);
    for (size_t t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, sign_on, NULL), 0);
    fork_often(times, 1);
    fork_often(times / 5, 4);
    before = atomic_load(&signatures);
    while (atomic_load(&signatures) < before + 100) /* they still do */
        usleep(1000);
    atomic_store(&stop, true);
    for (size_t t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    assert_int_equal(atomic_load(&failures), 0);
    EVP_PKEY_free(keys[0]);
    EVP_PKEY_free(keys[1]);
    OSSL_LIB_CTX_free(libctx);
}

static void test_forks_while_signing(void **state)
{
    (void)state;
    if (readers_wait)
        skip();
    check_forks("pkcs11-log = none\n", FORKS);
}

/* All threads but one wait for the session when it happens. */
static void test_forks_with_one_session(void **state)
{
    (void)state;
    if (readers_wait)
        skip();
    check_forks("pkcs11-log = none\npkcs11-sessions-max = 1\n", FORKS / 4);
}

/* Grandchildren, and a parent that had not used the token yet. */
static void test_forks_of_forks(void **state)
{
    int status = -1;
    pid_t pid;

    (void)state;
    libctx = libctx_new_faulty("");
    pid = fork();
    if (pid == 0) {
        keys[0] = key_load(libctx, "rsa2048", "private");
        keys[1] = key_load(libctx, "p256", "private");
        if (keys[0] == NULL || keys[1] == NULL || child() != 0)
            _exit(1);
        pid = fork();
        if (pid == 0)
            _exit(child());
        _exit(waitpid(pid, &status, 0) == pid && status == 0 && child() == 0 ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    OSSL_LIB_CTX_free(libctx);
}

static void *load_in_thread(void *arg)
{
    EVP_PKEY_free(key_load(libctx, "p256", "private"));
    return arg;
}

/* Another thread loads the module, which has constructors, when it happens: in this process for the
 * first time. */
static void test_forks_while_loading(void **state)
{
    pthread_t thread;
    int status = -1;
    pid_t pid;

    (void)state;
    if (readers_wait)
        skip();
    (void)unlink("loading");
    assert_int_equal(setenv("FAULT_LOADS", "loading", 1), 0);
    libctx = libctx_new_faulty("");
    assert_int_equal(pthread_create(&thread, NULL, load_in_thread, NULL), 0);
    while (access("loading", F_OK) != 0)
        (void)usleep(1000);
    pid = fork();
    if (pid == 0) {
        child_limit();
        keys[0] = key_load(libctx, "rsa2048", "private");
        keys[1] = key_load(libctx, "p256", "private");
        _exit(keys[0] != NULL && keys[1] != NULL ? child() : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    (void)pthread_join(thread, NULL);
    assert_int_equal(unsetenv("FAULT_LOADS"), 0);
    OSSL_LIB_CTX_free(libctx);
}

/* Whether a second reader of a lock of libcrypto's waits for the first, and here for ever: so on
 * RISC-V, where a child in the middle of threads hangs in its first EVP_MD_fetch, with no provider
 * but the default one. */
static bool libcrypto_readers_wait(void)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        CRYPTO_RWLOCK *lock = CRYPTO_THREAD_lock_new();

        alarm(5);
        _exit(CRYPTO_THREAD_read_lock(lock) && CRYPTO_THREAD_read_lock(lock) ? 0 : 1);
    }
    return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forks_while_loading),
        cmocka_unit_test(test_forks_while_signing),
        cmocka_unit_test(test_forks_with_one_session),
        cmocka_unit_test(test_forks_of_forks),
    };

    readers_wait = libcrypto_readers_wait();
    if (readers_wait)
        puts("libcrypto's locks let one reader in at a time: no forks in the middle of threads");
    limit(280);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
