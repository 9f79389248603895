/* What pkcs11-metrics counts, beside what the module was really asked. That nothing is lost between
 * processes is tested in tests/metrics/run. */
#include "harness.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/provider.h>

static char folder[2048];

static OSSL_LIB_CTX *begin(const char *name, const char *more)
{
    char settings[4096];

    assert_non_null(getcwd(folder, sizeof(folder)));
    (void)snprintf(folder + strlen(folder), sizeof(folder) - strlen(folder), "/%s", name);
    (void)mkdir(folder, 0700);
    (void)snprintf(settings, sizeof(settings), "pkcs11-log = none\npkcs11-metrics = %s\n%s", folder,
                   more);
    return libctx_new_faulty(settings);
}

/* For free(3). */
static char *figures(OSSL_LIB_CTX *libctx)
{
    OSSL_PROVIDER *provider = OSSL_PROVIDER_load(libctx, "pkcs11");
    size_t size = 1 << 20;
    char *text = malloc(size);
    OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string("pkcs11-metrics", text, size),
                            OSSL_PARAM_construct_end() };

    assert_non_null(provider);
    text[0] = '\0';
    assert_int_equal(OSSL_PROVIDER_get_params(provider, params), 1);
    OSSL_PROVIDER_unload(provider);
    return text;
}

/* The sum of all lines that begin with name and have the text in them. */
static unsigned long figure(OSSL_LIB_CTX *libctx, const char *name, const char *with)
{
    char *text = figures(libctx), *rest = NULL;
    unsigned long sum = 0;

    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
        if (strncmp(line, name, strlen(name)) == 0 && strchr("{ ", line[strlen(name)]) != NULL &&
            strstr(line, with) != NULL)
            sum += strtoul(strrchr(line, ' ') + 1, NULL, 10);
    free(text);
    return sum;
}

static unsigned long calls_counted(OSSL_LIB_CTX *libctx, const char *function)
{
    char label[64];

    (void)snprintf(label, sizeof(label), "call=\"%s\"", function);
    return figure(libctx, "pkcs11_calls_total", label);
}

struct signer {
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;
};

static void *sign_some(void *arg)
{
    const struct signer *signer = arg;

    for (unsigned i = 0; i < 50; i++)
        assert_true(key_signs(signer->libctx, signer->key));
    return NULL;
}

#define THREADS 8

static void sign_in_threads(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    struct signer signer = { libctx, key };
    pthread_t threads[THREADS];

    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_some, &signer), 0);
    for (unsigned i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
}

/* Every call, with threads that wait for sessions, and calls that fail and are made again. */
static void test_metrics_calls(void **state)
{
    static const char *const functions[] = { "C_SignInit",    "C_Sign",
                                             "C_OpenSession", "C_Login",
                                             "C_FindObjects", "C_GetAttributeValue",
                                             "C_GetTokenInfo" };
    OSSL_LIB_CTX *libctx = begin("calls", "pkcs11-sessions-max = 2\n");
    EVP_PKEY *key;

    (void)state;
    calls_reset();
    key = key_load(libctx, "p256", "private");
    fault("C_Sign 1 * - delay=1"); /* so that some wait */
    sign_in_threads(libctx, key);
    fault("C_Sign 1 1 CKR_DEVICE_ERROR");
    assert_true(key_signs(libctx, key));
    fault("");
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        assert_true(calls(functions[i]) > 0);
        assert_int_equal(calls_counted(libctx, functions[i]), calls(functions[i]));
    }
    assert_int_equal(
        figure(libctx, "pkcs11_calls_total", "call=\"C_Sign\",result=\"CKR_DEVICE_ERROR\""), 1);
    assert_int_equal(figure(libctx, "pkcs11_operations_total",
                            "operation=\"sign\",token=\"soft\",mechanism=\"CKM_ECDSA\","
                            "result=\"CKR_OK\""),
                     THREADS * 50 + 1);
    assert_int_equal(figure(libctx, "pkcs11_operation_tries_total", "operation=\"sign\""),
                     THREADS * 50 + 2);
    assert_int_equal(figure(libctx, "pkcs11_operation_duration_seconds_bucket",
                            "operation=\"sign\",token=\"soft\",le=\"+Inf\""),
                     THREADS * 50 + 1);
    assert_int_equal(figure(libctx, "pkcs11_recoveries_total",
                            "call=\"C_Sign\",token=\"soft\",result=\"CKR_DEVICE_ERROR\""),
                     1);
    assert_true(figure(libctx, "pkcs11_session_waits_total", "result=\"CKR_OK\"") > 0);
    assert_int_equal(figure(libctx, "pkcs11_logins_total", "token=\"soft\""), calls("C_Login"));
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static void test_metrics_sessions(void **state)
{
    OSSL_LIB_CTX *libctx = begin("sessions", "");
    EVP_PKEY *key = key_load(libctx, "p256", "private");

    (void)state;
    assert_true(key_signs(libctx, key));
    assert_int_equal(figure(libctx, "pkcs11_sessions_open", "token=\"soft\""), 1);
    assert_int_equal(figure(libctx, "pkcs11_sessions_in_use", "token=\"soft\""), 0);
    fault("C_Sign 1 * CKR_FUNCTION_REJECTED");
    assert_false(key_signs(libctx, key));
    fault("");
    assert_int_equal(figure(libctx, "pkcs11_sessions_in_use", "token=\"soft\""), 0);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static unsigned files(const char *dir)
{
    DIR *opened = opendir(dir);
    const struct dirent *entry;
    unsigned count = 0;

    while (opened != NULL && (entry = readdir(opened)) != NULL)
        count += strstr(entry->d_name, ".meter") != NULL && entry->d_name[0] != '.';
    if (opened != NULL)
        (void)closedir(opened);
    return count;
}

/* In a child: sign, and say with the exit code how many files there are and what is counted. */
static int sign_in_child(OSSL_LIB_CTX *libctx, EVP_PKEY *key, bool locked)
{
    int status = 0;
    pid_t pid;

    if (locked)
        (void)rename(folder, "elsewhere");
    pid = fork();
    if (pid == 0)
        _exit(key_signs(libctx, key)
                  ? (int)figure(libctx, "pkcs11_operations_total", "operation=\"sign\"")
                  : 100);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (locked)
        (void)rename("elsewhere", folder);
    return WEXITSTATUS(status);
}

/* A child has a file of its own from its first count on, or its parent's where it cannot have one;
 * one that does not count has none. */
static void test_metrics_forks(void **state)
{
    OSSL_LIB_CTX *libctx = begin("forks", "");
    EVP_PKEY *key = key_load(libctx, "p256", "private");
    int status;

    (void)state;
    assert_true(key_signs(libctx, key));
    assert_int_equal(files(folder), 1);
    if (fork() == 0)
        _exit(0);
    (void)wait(&status);
    assert_int_equal(files(folder), 1);
    assert_int_equal(sign_in_child(libctx, key, false), 1);
    assert_int_equal(files(folder), 2);
    assert_int_equal(figure(libctx, "pkcs11_operations_total", "operation=\"sign\""), 1);
    assert_int_equal(sign_in_child(libctx, key, true), 2);
    assert_int_equal(files(folder), 2);
    assert_int_equal(figure(libctx, "pkcs11_operations_total", "operation=\"sign\""), 2);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* Keys come first. */
static void test_metrics_no_folder(void **state)
{
    OSSL_LIB_CTX *libctx =
        libctx_new_faulty("pkcs11-log = none\npkcs11-metrics = /no/such/folder\n");
    EVP_PKEY *key = key_load(libctx, "p256", "private");
    char *text;

    (void)state;
    assert_true(key_signs(libctx, key));
    text = figures(libctx);
    assert_string_equal(text, "");
    free(text);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* What a hostile module returns by chance does not push out what is counted. */
static void test_metrics_many_results(void **state)
{
    OSSL_LIB_CTX *libctx = begin("many", "pkcs11-retry-ms = 0\n");
    EVP_PKEY *key = key_load(libctx, "p256", "private");
    unsigned long before;

    (void)state;
    for (unsigned i = 0; i < 700; i++) {
        char rule[64];

        (void)snprintf(rule, sizeof(rule), "C_SignInit 1 1 0x%x", 0x90000000U + i);
        fault(rule);
        (void)key_signs(libctx, key);
    }
    fault("");
    before = figure(libctx, "pkcs11_operations_total", "result=\"CKR_OK\"");
    assert_true(figure(libctx, "pkcs11_uncounted_total", "") > 0);
    assert_true(key_signs(libctx, key));
    assert_true(figure(libctx, "pkcs11_operations_total", "result=\"CKR_OK\"") <= before + 1);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_metrics_calls),        cmocka_unit_test(test_metrics_sessions),
    cmocka_unit_test(test_metrics_forks),        cmocka_unit_test(test_metrics_no_folder),
    cmocka_unit_test(test_metrics_many_results),
};

/* test-metrics [NAME]: all, each in a process of its own, or the one of this name */
int main(int argc, char **argv)
{
    if (chdir(getenv("BRIDGE_DIR")) != 0)
        return 1;
    return cases_in_children(tests, COUNT_OF(tests), argc > 1 ? argv[1] : NULL) ? 0 : 1;
}
