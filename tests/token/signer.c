#include "harness.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "pkcs11_bridge.h"
#include "signer.h"

EVP_PKEY *session_key(OSSL_LIB_CTX *libctx)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "EC", "provider=pkcs11");
    char uri[] = "pkcs11:token=soft", yes[] = "yes", group[] = "P-256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(PKCS11_BRIDGE_KEYGEN_URI, uri, sizeof(uri) - 1),
        OSSL_PARAM_utf8_string(PKCS11_BRIDGE_KEYGEN_EPHEMERAL, yes, sizeof(yes) - 1),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group) - 1),
        OSSL_PARAM_END,
    };
    EVP_PKEY *key = NULL;

    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
    if (EVP_PKEY_generate(ctx, &key) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static void *sign(void *arg)
{
    struct signer *signer = arg;

    signer->ok = key_signs(signer->libctx, signer->key);
    (void)last_error(signer->error, sizeof(signer->error));
    return NULL;
}

void signer_begin(struct signer *signer, OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    signer->libctx = libctx;
    signer->key = key;
    assert_int_equal(pthread_create(&signer->thread, NULL, sign, signer), 0);
}

void signer_end(struct signer *signer)
{
    pthread_join(signer->thread, NULL);
    if (!signer->ok)
        fail_msg("%s", signer->error);
}

/* proc_pid_stat(5): the state is behind the name, which is in parentheses. */
static bool task_waits(const char *id)
{
    char path[64], line[512] = "";
    const char *name_end;
    FILE *stat;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%.20s/stat", id);
    stat = fopen(path, "r");
    if (stat == NULL)
        return true; /* it has ended */
    (void)!fread(line, 1, sizeof(line) - 1, stat);
    (void)fclose(stat);
    name_end = strrchr(line, ')');
    return name_end == NULL || strchr("RD", name_end[2]) == NULL;
}

static bool all_wait(void)
{
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *task;
    bool wait = true;

    assert_non_null(tasks);
    while (wait && (task = readdir(tasks)) != NULL)
        wait = task->d_name[0] == '.' || atol(task->d_name) == (long)gettid() ||
               task_waits(task->d_name);
    (void)closedir(tasks);
    return wait;
}

void others_wait(void)
{
    unsigned looks = 1000;

    for (unsigned calm = 0; calm < 3 && looks > 0; looks--) {
        usleep(10000);
        calm = all_wait() ? calm + 1 : 0;
    }
}

void settle(void)
{
    usleep(200000);
}
