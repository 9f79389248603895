/* The end of the process: with its own exit code, soon, and with the module finalised wherever that
 * is safe. Each case is a process of its own, that ends with exit(). */
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/store.h>
#include <openssl/ui.h>

#define EXIT_CODE 42

static OSSL_LIB_CTX *libctx;
static EVP_PKEY *key;

static void must(bool ok)
{
    if (!ok) {
        ERR_print_errors_fp(stderr);
        _exit(1);
    }
}

static void use_key(const char *settings)
{
    libctx = libctx_new_faulty(settings);
    key = key_load(libctx, "p256", "private");
    must(key_signs(libctx, key));
}

/* Calls of function, as the module itself counted them until it was unloaded. */
static unsigned long counted(const char *function)
{
    char line[128], name[64];
    unsigned long count, found = 0;
    FILE *file = fopen("counts", "r");

    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "%63s %lu", name, &count) == 2 && strcmp(name, function) == 0)
            found = count;
    fclose(file);
    return found;
}

/* The process that body makes of itself must call C_Finalize so often. */
static void must_end(void (*body)(void), unsigned long finalised)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        limit(20);
        body();
        exit(EXIT_CODE);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_CODE)
        fail_msg("the process ended with status 0x%x", (unsigned)status);
    assert_int_equal(counted("C_Finalize"), finalised);
}

static void end_with_key(void)
{
    use_key("");
}

static void end_after_unload(void)
{
    use_key("");
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static void end_of_no_deinit(void)
{
    use_key("pkcs11-module-quirks = no-deinit\n");
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* libcrypto is gone when exit() begins; OpenSSL 4 releases nothing then. */
static void end_after_cleanup(void)
{
    use_key("");
    OPENSSL_cleanup();
}

static void end_without_login(void)
{
    libctx = libctx_new_faulty("");
    must(key_load(libctx, "nothing", "public") == NULL);
}

static void end_from_within(void)
{
    exit(EXIT_CODE);
}

static void end_in_a_call(void)
{
    use_key("");
    fault_callback(end_from_within);
    fault("C_Sign 1 1 - callback");
    (void)key_signs(libctx, key);
    must(false);
}

/* A thread that has a session and is in no call: it asks somebody for the PIN. */
static atomic_bool asked;

static int wait_for_pin(UI *ui, UI_STRING *string)
{
    (void)ui, (void)string;
    atomic_store(&asked, true);
    while (atomic_load(&asked))
        pause();
    return 0;
}

static void *ask_for_pin(void *arg)
{
    UI_METHOD *method = UI_create_method("a person");
    OSSL_STORE_CTX *store;

    (void)UI_method_set_reader(method, wait_for_pin);
    store = OSSL_STORE_open_ex("pkcs11:token=soft;object=p256;type=private", arg, NULL, method,
                               NULL, NULL, NULL, NULL);
    (void)OSSL_STORE_load(store);
    return NULL;
}

static void *look_for_public(void *arg)
{
    (void)key_load(arg, "p384", "public");
    return NULL;
}

/* Another thread waits for that session, to start the module anew. */
static void end_while_it_restarts(void)
{
    pthread_t threads[2];

    libctx = libctx_new_faulty("# no token-pin\npkcs11-log = none\npkcs11-retry-ms = 5000\n");
    must(key_load(libctx, "p256", "public") != NULL);
    must(pthread_create(&threads[0], NULL, ask_for_pin, libctx) == 0);
    (void)pthread_detach(threads[0]);
    while (!atomic_load(&asked))
        usleep(1000);
    fault("C_FindObjectsInit 1 * CKR_DEVICE_ERROR; C_OpenSession 1 * CKR_DEVICE_ERROR");
    must(pthread_create(&threads[1], NULL, look_for_public, libctx) == 0);
    (void)pthread_detach(threads[1]);
    usleep(300000);
}

static void test_exit_while_it_restarts(void **state)
{
    (void)state;
    must_end(end_while_it_restarts, 1);
    assert_int_equal(counted("C_Initialize"), 1);
}

/* Standard error is a pipe that nobody reads, and full. */
static void fill_stderr(void)
{
    static const char rest[4096];

    must(fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK) == 0);
    while (write(STDERR_FILENO, rest, sizeof(rest)) > 0)
        ;
    must(fcntl(STDERR_FILENO, F_SETFL, 0) == 0);
}

static void *look_nowhere(void *arg)
{
    (void)key_load_uri(arg, "pkcs11:token=nowhere");
    return NULL;
}

/* Another thread has the module to itself, to start it anew, and has not come to that: it tells the
 * operator first, who does not listen, and is waited for 100 ms. */
static void end_before_it_restarts(void)
{
    pthread_t thread;
    int ends[2];

    must(pipe(ends) == 0 && dup2(ends[1], STDERR_FILENO) >= 0);
    libctx = libctx_new_faulty("pkcs11-log = stderr\npkcs11-retry-ms = 0\n");
    must(key_load_uri(libctx, "pkcs11:token=nowhere") == NULL);
    usleep(1050000);
    fill_stderr();
    must(pthread_create(&thread, NULL, look_nowhere, libctx) == 0);
    (void)pthread_detach(thread);
    usleep(50000);
}

static void test_exit_before_it_restarts(void **state)
{
    (void)state;
    NO_THREADS_AFTER_FORK;
    must_end(end_before_it_restarts, 1);
    assert_int_equal(counted("C_Initialize"), 1);
}

static void test_exit_finalises(void **state)
{
    (void)state;
    must_end(end_with_key, 1);
    must_end(end_without_login, 1);
    must_end(end_after_unload, 1);
}

static void test_exit_leaves_alone(void **state)
{
    (void)state;
    must_end(end_of_no_deinit, 0);
    must_end(end_after_cleanup, OpenSSL_version_num() >= 0x40000000UL);
    must_end(end_in_a_call, 0);
}

static void fork_and_end(void)
{
    int status = -1;
    pid_t pid;

    use_key("");
    pid = fork();
    if (pid == 0)
        exit(EXIT_CODE);
    must(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CODE);
    must(counted("C_Finalize") == 0 && key_signs(libctx, key));
}

/* The child of a fork does not finalise what is its parent's. */
static void test_exit_of_a_child(void **state)
{
    (void)state;
    must_end(fork_and_end, 1);
}

static void sign_late(void)
{
    char error[512];

    if (key_signs(libctx, key) ||
        strstr(last_error(error, sizeof(error)), "the process is ending") == NULL)
        _exit(1);
}

static void sign_in_time(void)
{
    must(key_signs(libctx, key));
}

static const char *settings = "";

static void end_with_handlers(void)
{
    must(OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL) == 1 &&
         atexit(sign_late) == 0);
    use_key(settings);
    must(atexit(sign_in_time) == 0);
}

/* Handlers that were registered after the key's first use can use it; others are told. */
static void test_exit_handlers(void **state)
{
    (void)state;
    must_end(end_with_handlers, 1);
    /* also where the module was not finalised: its destructors may have been run */
    settings = "pkcs11-module-quirks = no-deinit\n";
    must_end(end_with_handlers, 0);
}

static void *sign_on(void *arg)
{
    (void)arg;
    for (;;)
        (void)key_signs(libctx, key);
    return NULL;
}

static void start_threads(unsigned count)
{
    pthread_t thread;

    for (unsigned t = 0; t < count; t++)
        must(pthread_create(&thread, NULL, sign_on, NULL) == 0);
}

static unsigned round_number;

static void end_while_signing(void)
{
    use_key("");
    start_threads(8);
    usleep(round_number * 2000);
}

static void test_exit_while_signing(void **state)
{
    (void)state;
    NO_THREADS_AFTER_FORK;
    for (round_number = 0; round_number < 20; round_number++)
        must_end(end_while_signing, 1);
}

static void end_while_a_call_hangs(void)
{
    use_key("");
    fault("C_Sign 1 1 - delay=60000");
    start_threads(1);
    usleep(100000);
}

static void test_exit_while_a_call_hangs(void **state)
{
    (void)state;
    NO_THREADS_AFTER_FORK;
    must_end(end_while_a_call_hangs, 0);
}

static EVP_PKEY *session_key;

static void free_late(void)
{
    EVP_PKEY_free(session_key);
}

/* The only session is in use, in a call that does not come back. */
static void end_with_a_session_key(void)
{
    EVP_PKEY_CTX *ctx;

    must(atexit(free_late) == 0);
    use_key("pkcs11-sessions-max = 1\npkcs11-session-wait-ms = 3600000\n");
    ctx = EVP_PKEY_CTX_new_from_name(libctx, "EC", "provider=pkcs11");
    must(EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_CTX_set_group_name(ctx, "P-256") == 1 &&
         EVP_PKEY_generate(ctx, &session_key) == 1 && key_signs(libctx, session_key));
    EVP_PKEY_CTX_free(ctx);
    fault("C_Sign 1 1 - delay=60000");
    start_threads(1);
    usleep(100000);
}

/* A session key that goes late waits for nobody. */
static void test_exit_with_a_session_key(void **state)
{
    (void)state;
    NO_THREADS_AFTER_FORK;
    must_end(end_with_a_session_key, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exit_finalises),
        cmocka_unit_test(test_exit_while_it_restarts),
        cmocka_unit_test(test_exit_before_it_restarts),
        cmocka_unit_test(test_exit_leaves_alone),
        cmocka_unit_test(test_exit_of_a_child),
        cmocka_unit_test(test_exit_handlers),
        cmocka_unit_test(test_exit_while_signing),
        cmocka_unit_test(test_exit_while_a_call_hangs),
        cmocka_unit_test(test_exit_with_a_session_key),
    };

    if (chdir(getenv("BRIDGE_DIR")) != 0 || setenv("FAULT_COUNTS", "counts", 1) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
