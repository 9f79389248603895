/* Signs with the provider that OPENSSL_CONF says, in several processes with several threads each,
 * which the first process forks once it has signed itself:
 *
 *     signers PROCESSES THREADS COUNT [LABEL [PAUSE_MS [late]]]
 *
 * Each thread signs COUNT times with the key LABEL (p256), with so many ms between two. Says how
 * many signatures there were, and how many were refused, without the first one. late: the first
 * process tries once more when it has ended but for the handlers of exit() that were there first.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/store.h>

static struct tally {
    atomic_ulong made, refused, slowest_ms;
} * tally;

static EVP_PKEY *key;
static unsigned long count, pause_ms;

static EVP_PKEY *load(const char *label)
{
    OSSL_STORE_CTX *store;
    OSSL_STORE_INFO *info;
    EVP_PKEY *loaded = NULL;
    char uri[256];

    (void)snprintf(uri, sizeof(uri), "pkcs11:token=soft;object=%s;type=private?pin-value=1234",
                   label);
    store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);
    info = store != NULL ? OSSL_STORE_load(store) : NULL;
    if (info != NULL)
        loaded = OSSL_STORE_INFO_get1_PKEY(info);
    OSSL_STORE_INFO_free(info);
    (void)OSSL_STORE_close(store);
    return loaded;
}

static bool sign_one(void)
{
    static const unsigned char message[] = "a message that is nowhere in the trail";
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char signature[1024];
    size_t len = sizeof(signature);
    bool ok = EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(ctx, signature, &len, message, sizeof(message)) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

static void sign_late(void)
{
    (void)sign_one();
}

static unsigned long now_ms(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (unsigned long)time.tv_sec * 1000 + (unsigned long)time.tv_nsec / 1000000;
}

static void *sign_many(void *arg)
{
    for (unsigned long i = 0; i < count; i++) {
        unsigned long before = now_ms(), took, slowest;

        atomic_fetch_add(sign_one() ? &tally->made : &tally->refused, 1);
        took = now_ms() - before;
        slowest = atomic_load(&tally->slowest_ms);
        while (took > slowest && !atomic_compare_exchange_weak(&tally->slowest_ms, &slowest, took))
            ;
        if (pause_ms != 0)
            (void)usleep((useconds_t)(pause_ms * 1000));
    }
    if (atomic_load(&tally->refused) != 0)
        ERR_print_errors_fp(stderr);
    return arg;
}

static void child(unsigned long threads)
{
    pthread_t *all = calloc(threads, sizeof(*all));

    for (unsigned long i = 0; i < threads; i++)
        if (pthread_create(&all[i], NULL, sign_many, NULL) != 0)
            abort();
    for (unsigned long i = 0; i < threads; i++)
        (void)pthread_join(all[i], NULL);
    free(all);
    EVP_PKEY_free(key);
    exit(0);
}

int main(int argc, char **argv)
{
    const bool late = argc > 6 && strcmp(argv[6], "late") == 0;
    int status, bad = 0;

    if (argc < 4)
        return 2;
    if (late && (OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL) != 1 || atexit(sign_late) != 0))
        return 2;
    tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    count = strtoul(argv[3], NULL, 10);
    pause_ms = argc > 5 ? strtoul(argv[5], NULL, 10) : 0;
    key = load(argc > 4 ? argv[4] : "p256");
    if (tally == MAP_FAILED || key == NULL) {
        ERR_print_errors_fp(stderr);
        return 1;
    }
    if (!sign_one())
        ERR_print_errors_fp(stderr);
    for (unsigned long i = strtoul(argv[1], NULL, 10); i != 0; i--)
        if (fork() == 0)
            child(strtoul(argv[2], NULL, 10));
    while (wait(&status) > 0)
        bad |= status;
    printf("%lu made, %lu refused, %lu ms the slowest\n", atomic_load(&tally->made),
           atomic_load(&tally->refused), atomic_load(&tally->slowest_ms));
    if (!late)
        EVP_PKEY_free(key);
    return bad == 0 ? 0 : 1;
}
