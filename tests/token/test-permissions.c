/* A server's worker that runs as another user than the one that loaded the key: what it says where
 * that user may not see the token's files, and that it works once these may be seen. */
#include "harness.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/err.h>

#define NOBODY 65534

/* chmod of all that is in the folder, and of itself; X for folders. */
static void open_to(const char *folder, mode_t files, mode_t folders)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    char path[1024];
    struct stat info;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        assert_int_equal(stat(path, &info), 0);
        if (S_ISDIR(info.st_mode))
            open_to(path, files, folders);
        else
            assert_int_equal(chmod(path, files), 0);
    }
    closedir(dir);
    assert_int_equal(chmod(folder, folders), 0);
}

static void all_files(mode_t files, mode_t folders)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/tokens", getenv("BRIDGE_DIR"));
    open_to(path, files, folders);
}

static void nothing_hidden(void)
{
    all_files(0666, 0777);
}

static void token_hidden(void)
{
    nothing_hidden();
    all_files(0600, 0700);
}

/* But not the token's own. */
static void keys_hidden(void)
{
    char command[600];

    nothing_hidden();
    all_files(0600, 0755);
    snprintf(command, sizeof(command), "chmod 666 %s/tokens/*/token.* %s/tokens/*/generation*",
             getenv("BRIDGE_DIR"), getenv("BRIDGE_DIR"));
    (void)!system(command);
}

static void serve(OSSL_LIB_CTX *libctx, EVP_PKEY *key, int requests, int answers)
{
    char error[1500];

    child_limit();
    if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
        _exit(1);
    while (read(requests, error, 1) == 1) {
        const char *text = key_signs(libctx, key) ? "signed" : last_error(error, sizeof(error));

        ERR_clear_error();
        if (write(answers, text, strlen(text) + 1) < 0)
            _exit(1);
    }
    _exit(0);
}

struct worker {
    pid_t pid;
    int requests[2], answers[2];
};

static void worker_start(struct worker *worker, OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    assert_int_equal(pipe(worker->requests), 0);
    assert_int_equal(pipe(worker->answers), 0);
    worker->pid = fork();
    assert_true(worker->pid >= 0);
    if (worker->pid == 0) {
        close(worker->requests[1]);
        serve(libctx, key, worker->requests[0], worker->answers[1]);
    }
    close(worker->requests[0]);
    close(worker->answers[1]);
}

static const char *worker_asked(struct worker *worker)
{
    static char answer[1500];
    ssize_t len;

    assert_int_equal(write(worker->requests[1], "x", 1), 1);
    len = read(worker->answers[0], answer, sizeof(answer) - 1);
    answer[len > 0 ? len : 0] = '\0';
    return answer;
}

static void worker_end(struct worker *worker)
{
    close(worker->requests[1]);
    close(worker->answers[0]);
    waitpid(worker->pid, NULL, 0);
}

static void test_permissions_worker(void **state)
{
    static const struct {
        const char *name;
        void (*hide)(void);
        const char *says[3];
    } cases[] = {
        { "token", token_hidden, { "nobody (uid 65534)", "CKR_GENERAL_ERROR", "libsofthsm2" } },
        { "keys", keys_hidden, { "or is not shown", "nobody (uid 65534)", "who loaded" } },
    };

    (void)state;
    if (geteuid() != 0)
        skip();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        OSSL_LIB_CTX *libctx = libctx_new("pkcs11-retry-ms = 100\n");
        EVP_PKEY *key = key_load(libctx, "p256", "private");
        struct worker worker;
        const char *answer;

        assert_non_null(key);
        cases[i].hide();
        worker_start(&worker, libctx, key);
        answer = worker_asked(&worker);
        for (size_t n = 0; n < COUNT_OF(cases[i].says); n++)
            if (strstr(answer, cases[i].says[n]) == NULL)
                fail_msg("%s: %s is not in: %s", cases[i].name, cases[i].says[n], answer);
        nothing_hidden();
        for (int tries = 0; tries < 100 && strcmp(answer, "signed") != 0; tries++)
            answer = worker_asked(&worker); /* it is not initialised anew twice in half a second */
        if (strcmp(answer, "signed") != 0)
            fail_msg("%s: %s", cases[i].name, answer);
        worker_end(&worker);
        EVP_PKEY_free(key);
        OSSL_LIB_CTX_free(libctx);
    }
}

/* A module that cannot say why: which it is, and who the process is. */
static void test_permissions_module(void **state)
{
    static const char *const calls[] = { "C_Initialize", "C_GetSlotList", "C_GetTokenInfo" };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-retry-ms = 0\n");
        char rule[100], error[1500], user[32];

        snprintf(rule, sizeof(rule), "%s 1 * CKR_GENERAL_ERROR", calls[i]);
        snprintf(user, sizeof(user), "uid %lu", (unsigned long)geteuid());
        fault(rule);
        assert_null(key_load(libctx, "p256", "private"));
        (void)last_error(error, sizeof(error));
        if (strstr(error, calls[i]) == NULL || strstr(error, getenv("BRIDGE_FAULT")) == NULL ||
            strstr(error, user) == NULL)
            fail_msg("%s: %s", calls[i], error);
        fault("");
        OSSL_LIB_CTX_free(libctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permissions_worker),
        cmocka_unit_test(test_permissions_module),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
