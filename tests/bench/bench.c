/* Signatures per second with one key: raw PKCS#11 (C_SignInit and C_Sign, each thread on a session
 * of its own), the same with the key copied to a session object, this provider, and software.
 *
 *     bench KEY THREADS SECONDS       KEY: rsa2048 or p256, on the token soft
 *
 * All ways take turns in short rounds, so that what the machine does besides hits all of them
 * alike; what counts is the ratio. PKCS11_MODULE is the module, OPENSSL_CONF loads the provider. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <p11-kit/pkcs11.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/store.h>

#define THREADS_MOST  64
#define ROUND_SECONDS 0.25

enum way { RAW, RAW_COPIED, BRIDGE, SOFTWARE, WAYS };

static const char *const way_names[WAYS] = { "raw", "raw, key copied", "bridge", "software" };

static const char *label;
static bool rsa;
static CK_FUNCTION_LIST *p11;
static CK_SLOT_ID slot;
static EVP_PKEY *token_key, *software_key;

static void die(const char *what)
{
    (void)fprintf(stderr, "bench: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void must(bool ok, const char *what)
{
    if (!ok)
        die(what);
}

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* What the token gets: a DigestInfo of SHA-256, or a digest. */
static unsigned char input[51] = { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                   0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20 };

struct worker {
    enum way way;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE handle;
    EVP_PKEY_CTX *ctx;
    unsigned long done; /* signatures, over all rounds */
    pthread_t thread;
};

static atomic_bool stop;

static void sign_raw(const struct worker *worker)
{
    CK_MECHANISM mechanism = { rsa ? CKM_RSA_PKCS : CKM_ECDSA, NULL, 0 };
    unsigned char sig[512];
    CK_ULONG len = sizeof(sig);

    must(p11->C_SignInit(worker->session, &mechanism, worker->handle) == CKR_OK, "C_SignInit");
    must(p11->C_Sign(worker->session, rsa ? input : input + 19, rsa ? sizeof(input) : 32, sig,
                     &len) == CKR_OK,
         "C_Sign");
}

static void sign_evp(const struct worker *worker)
{
    unsigned char sig[512];
    size_t len = sizeof(sig);

    must(EVP_PKEY_sign(worker->ctx, sig, &len, input + 19, 32) == 1, "EVP_PKEY_sign");
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    void (*const sign)(const struct worker *worker) = worker->way <= RAW_COPIED ? sign_raw
                                                                                 : sign_evp;

    while (!atomic_load(&stop)) {
        sign(worker);
        worker->done++;
    }
    return NULL;
}

static EVP_PKEY *load(const char *uri)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);
    EVP_PKEY *key = NULL;

    while (store != NULL && key == NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        key = info != NULL ? OSSL_STORE_INFO_get1_PKEY(info) : NULL;
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    must(key != NULL, uri);
    return key;
}

static void open_module(void)
{
    void *library = dlopen(getenv("PKCS11_MODULE"), RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get = NULL;
    CK_SLOT_ID slots[16];
    CK_ULONG count = 16;
    CK_RV rv;

    must(library != NULL, "PKCS11_MODULE");
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    must(get != NULL && get(&p11) == CKR_OK, "C_GetFunctionList");
    rv = p11->C_Initialize(&(CK_C_INITIALIZE_ARGS){ .flags = CKF_OS_LOCKING_OK });
    must(rv == CKR_OK || rv == CKR_CRYPTOKI_ALREADY_INITIALIZED, "C_Initialize");
    must(p11->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK && count > 0, "C_GetSlotList");
    slot = slots[0];
}

static CK_SESSION_HANDLE open_session(void)
{
    CK_SESSION_HANDLE session;
    CK_RV rv;

    must(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session) ==
             CKR_OK,
         "C_OpenSession");
    rv = p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)(uintptr_t) "1234", 4);
    must(rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN, "C_Login");
    return session;
}

static CK_OBJECT_HANDLE find_key(CK_SESSION_HANDLE session)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
                                { CKA_LABEL, (void *)(uintptr_t)label, strlen(label) } };
    CK_OBJECT_HANDLE handle;
    CK_ULONG count = 0;

    must(p11->C_FindObjectsInit(session, template, 2) == CKR_OK &&
             p11->C_FindObjects(session, &handle, 1, &count) == CKR_OK && count == 1 &&
             p11->C_FindObjectsFinal(session) == CKR_OK,
         "the key");
    return handle;
}

static void worker_begin(struct worker *worker, enum way way)
{
    EVP_PKEY *key = way == BRIDGE ? token_key : software_key;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE session_object = { CKA_TOKEN, &no, sizeof(no) };

    *worker = (struct worker){ .way = way };
    if (way <= RAW_COPIED) {
        worker->session = open_session();
        worker->handle = find_key(worker->session);
        if (way == RAW_COPIED)
            must(p11->C_CopyObject(worker->session, worker->handle, &session_object, 1,
                                   &worker->handle) == CKR_OK,
                 "C_CopyObject");
        return;
    }
    worker->ctx = EVP_PKEY_CTX_new(key, NULL);
    must(EVP_PKEY_sign_init(worker->ctx) == 1 &&
             EVP_PKEY_CTX_set_signature_md(worker->ctx, EVP_sha256()) == 1,
         "EVP_PKEY_sign_init");
}

static double run_round(struct worker *workers, unsigned threads)
{
    double start = now();

    atomic_store(&stop, false);
    for (unsigned t = 0; t < threads; t++)
        must(pthread_create(&workers[t].thread, NULL, work, &workers[t]) == 0, "pthread_create");
    while (now() < start + ROUND_SECONDS)
        (void)nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    atomic_store(&stop, true);
    for (unsigned t = 0; t < threads; t++)
        (void)pthread_join(workers[t].thread, NULL);
    return now() - start;
}

static struct worker workers[WAYS][THREADS_MOST];
static double seconds[WAYS];

static double rate(enum way way, unsigned threads)
{
    unsigned long done = 0;

    for (unsigned t = 0; t < threads; t++)
        done += workers[way][t].done;
    return (double)done / seconds[way];
}

static void report(unsigned threads)
{
    double best = rate(RAW, threads);

    if (rate(RAW_COPIED, threads) > best)
        best = rate(RAW_COPIED, threads);
    printf("| %s | %u ", label, threads);
    for (enum way way = 0; way < WAYS; way++)
        printf("| %.0f ", rate(way, threads));
    printf("| %.2f | %.2f |\n", rate(BRIDGE, threads) / rate(RAW, threads),
           rate(BRIDGE, threads) / best);
}

int main(int argc, char **argv)
{
    unsigned threads = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    double length = argc > 3 ? atof(argv[3]) : 2;
    char uri[128];

    if (argc < 2 || threads == 0 || threads > THREADS_MOST) {
        (void)fprintf(stderr, "usage: bench rsa2048|p256 THREADS SECONDS\ncolumns: key, threads");
        for (enum way way = 0; way < WAYS; way++)
            (void)fprintf(stderr, ", %s", way_names[way]);
        (void)fprintf(stderr, ", bridge / raw, bridge / best raw\n");
        return 2;
    }
    label = argv[1];
    rsa = strcmp(label, "rsa2048") == 0;
    (void)snprintf(uri, sizeof(uri), "pkcs11:token=soft;object=%s;type=private", label);
    token_key = load(uri);
    software_key = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    open_module();
    for (enum way way = 0; way < WAYS; way++)
        for (unsigned t = 0; t < threads; t++)
            worker_begin(&workers[way][t], way);
    for (double spent = 0; spent < length * WAYS;)
        for (enum way way = 0; way < WAYS; way++) {
            double round = run_round(workers[way], threads);

            seconds[way] += round;
            spent += round;
        }
    report(threads);
    return 0;
}
