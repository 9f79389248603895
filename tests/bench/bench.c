/* Operations per second with one key on one token, by every way there is: raw PKCS#11 (each thread
 * on a session of its own), the same with the key copied to a session object, this provider,
 * software keys of the default provider, and other bridges.
 *
 *     bench WORK KEY THREADS SECONDS WAY...
 *
 * WORK: pkcs1, pss, ecdsa: a digest is signed, with a context that stays (EVP_PKEY_sign);
 * ecdsa-message: a message, with a context of its own each time, as TLS servers do it
 * (EVP_DigestSign); decrypt (OAEP), decrypt-pkcs1. KEY: a label on the token soft (PIN 1234).
 * WAY: raw, copied, software, or NAME=FILE, a provider by its openssl.cnf. SECONDS: for each way.
 * PKCS11_MODULE: the module for raw and copied.
 *
 * Each way is a process of its own. They take turns in short rounds, so that what the machine does
 * besides hits all of them alike; what counts is the ratio. Prints one line: the ways' operations
 * per second (the median of the rounds). */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <p11-kit/pkcs11.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/store.h>

#define THREADS_MOST  64
#define WAYS_MOST     8
#define ROUND_SECONDS 0.25
#define ROUNDS_MOST   1000
#define LIFE_ROUNDS   2

static const char *label;
static unsigned threads;
static const struct work *work;
static CK_FUNCTION_LIST *p11;
static CK_SLOT_ID slot;
static EVP_PKEY *key;

static void die(const char *what)
{
    (void)fprintf(stderr, "bench: %s\n", what);
    ERR_print_errors_fp(stderr);
    _exit(1);
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

struct worker {
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE handle;
    EVP_PKEY_CTX *ctx;
    EVP_MD_CTX *message;
    unsigned long done; /* in this round */
    pthread_t thread;
};

/* What the token gets to sign: a DigestInfo of SHA-256, or the digest in it. */
static unsigned char input[51] = { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                   0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20 };
static unsigned char encrypted[512];
static size_t encrypted_len;

static CK_RSA_PKCS_PSS_PARAMS pss = { CKM_SHA256, CKG_MGF1_SHA256, 32 };
static CK_RSA_PKCS_OAEP_PARAMS oaep = { CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, NULL, 0 };

static const struct work {
    const char *name;
    bool rsa, decrypts, message;
    int padding;
    CK_MECHANISM mechanism;
    size_t skip; /* of input, raw */
} works[] = {
    { "pkcs1", true, false, false, RSA_PKCS1_PADDING, { CKM_RSA_PKCS, NULL, 0 }, 0 },
    { "pss",
      true,
      false,
      false,
      RSA_PKCS1_PSS_PADDING,
      { CKM_RSA_PKCS_PSS, &pss, sizeof(pss) },
      19 },
    { "ecdsa", false, false, false, 0, { CKM_ECDSA, NULL, 0 }, 19 },
    { "ecdsa-message", false, false, true, 0, { CKM_ECDSA, NULL, 0 }, 19 },
    { "decrypt",
      true,
      true,
      false,
      RSA_PKCS1_OAEP_PADDING,
      { CKM_RSA_PKCS_OAEP, &oaep, sizeof(oaep) },
      0 },
    { "decrypt-pkcs1", true, true, false, RSA_PKCS1_PADDING, { CKM_RSA_PKCS, NULL, 0 }, 0 },
};

static void work_raw(const struct worker *worker)
{
    CK_MECHANISM mechanism = work->mechanism;
    unsigned char out[512];
    CK_ULONG len = sizeof(out);

    if (work->decrypts) {
        must(p11->C_DecryptInit(worker->session, &mechanism, worker->handle) == CKR_OK,
             "C_DecryptInit");
        must(p11->C_Decrypt(worker->session, encrypted, encrypted_len, out, &len) == CKR_OK,
             "C_Decrypt");
        return;
    }
    must(p11->C_SignInit(worker->session, &mechanism, worker->handle) == CKR_OK, "C_SignInit");
    must(p11->C_Sign(worker->session, input + work->skip, sizeof(input) - work->skip, out, &len) ==
             CKR_OK,
         "C_Sign");
}

static void sign_message(const struct worker *worker)
{
    unsigned char out[512];
    size_t len = sizeof(out);

    must(EVP_DigestSignInit_ex(worker->message, NULL, "SHA256", NULL, NULL, key, NULL) == 1 &&
             EVP_DigestSign(worker->message, out, &len, input, sizeof(input)) == 1,
         "EVP_DigestSign");
    EVP_MD_CTX_reset(worker->message);
}

static void work_evp(const struct worker *worker)
{
    unsigned char out[512];
    size_t len = sizeof(out);

    if (work->message)
        sign_message(worker);
    else if (work->decrypts)
        must(EVP_PKEY_decrypt(worker->ctx, out, &len, encrypted, encrypted_len) == 1,
             "EVP_PKEY_decrypt");
    else
        must(EVP_PKEY_sign(worker->ctx, out, &len, input + 19, 32) == 1, "EVP_PKEY_sign");
}

static atomic_bool stop;
static void (*work_once)(const struct worker *worker);

static void *run(void *arg)
{
    struct worker *worker = arg;

    while (!atomic_load(&stop)) {
        work_once(worker);
        worker->done++;
    }
    return NULL;
}

static EVP_PKEY *load(const char *type)
{
    char uri[128];
    OSSL_STORE_CTX *store;
    EVP_PKEY *found = NULL;

    (void)snprintf(uri, sizeof(uri), "pkcs11:token=soft;object=%s;type=%s", label, type);
    store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);
    while (store != NULL && found == NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info != NULL)
            found = strcmp(type, "public") == 0 ? OSSL_STORE_INFO_get1_PUBKEY(info)
                                                : OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    must(found != NULL, uri);
    return found;
}

static void open_module(void)
{
    void *library = dlopen(getenv("PKCS11_MODULE"), RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get = NULL;
    CK_SLOT_ID slots[16];
    CK_ULONG count = 16;

    must(library != NULL, "PKCS11_MODULE");
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    must(get != NULL && get(&p11) == CKR_OK, "C_GetFunctionList");
    must(p11->C_Initialize(&(CK_C_INITIALIZE_ARGS){ .flags = CKF_OS_LOCKING_OK }) == CKR_OK,
         "C_Initialize");
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

static CK_OBJECT_HANDLE find_key(CK_SESSION_HANDLE session, CK_OBJECT_CLASS class)
{
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

static void encrypt_raw(CK_SESSION_HANDLE session)
{
    CK_MECHANISM mechanism = work->mechanism;
    CK_ULONG len = sizeof(encrypted);

    must(p11->C_EncryptInit(session, &mechanism, find_key(session, CKO_PUBLIC_KEY)) == CKR_OK &&
             p11->C_Encrypt(session, input, 32, encrypted, &len) == CKR_OK,
         "C_Encrypt");
    encrypted_len = len;
}

static void begin_raw(struct worker *worker, bool copied)
{
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE session_object = { CKA_TOKEN, &no, sizeof(no) };

    worker->session = open_session();
    worker->handle = find_key(worker->session, CKO_PRIVATE_KEY);
    if (copied)
        must(p11->C_CopyObject(worker->session, worker->handle, &session_object, 1,
                               &worker->handle) == CKR_OK,
             "C_CopyObject");
    if (work->decrypts && encrypted_len == 0)
        encrypt_raw(worker->session);
}

static void encrypt_evp(EVP_PKEY *public)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(public, NULL);

    encrypted_len = sizeof(encrypted);
    must(EVP_PKEY_encrypt_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, work->padding) == 1 &&
             EVP_PKEY_encrypt(ctx, encrypted, &encrypted_len, input, 32) == 1,
         "EVP_PKEY_encrypt");
    EVP_PKEY_CTX_free(ctx);
}

static void begin_evp(struct worker *worker)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);

    worker->message = EVP_MD_CTX_new();
    worker->ctx = ctx;
    if (work->decrypts)
        must(EVP_PKEY_decrypt_init(ctx) == 1 &&
                 EVP_PKEY_CTX_set_rsa_padding(ctx, work->padding) == 1,
             "EVP_PKEY_decrypt_init");
    else
        must(EVP_PKEY_sign_init(ctx) == 1 &&
                 (!work->rsa || EVP_PKEY_CTX_set_rsa_padding(ctx, work->padding) == 1) &&
                 EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1,
             "EVP_PKEY_sign_init");
}

static void begin(const char *way, struct worker *workers)
{
    bool raw = strcmp(way, "raw") == 0 || strcmp(way, "copied") == 0;

    if (strchr(way, '=') != NULL)
        (void)setenv("OPENSSL_CONF", strchr(way, '=') + 1, 1);
    else
        (void)unsetenv("OPENSSL_CONF");
    if (raw)
        open_module();
    else if (strchr(way, '=') != NULL)
        key = load("private");
    else
        key = work->rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    if (!raw && work->decrypts)
        encrypt_evp(strchr(way, '=') != NULL ? load("public") : key);
    for (unsigned t = 0; t < threads; t++)
        if (raw)
            begin_raw(&workers[t], strcmp(way, "copied") == 0);
        else
            begin_evp(&workers[t]);
    work_once = raw ? work_raw : work_evp;
}

struct result {
    unsigned long done;
    double seconds;
};

static struct result run_round(struct worker *workers, double length)
{
    struct result result = { 0, 0 };
    double start = now();

    atomic_store(&stop, false);
    for (unsigned t = 0; t < threads; t++) {
        workers[t].done = 0;
        must(pthread_create(&workers[t].thread, NULL, run, &workers[t]) == 0, "pthread_create");
    }
    while (now() < start + length)
        (void)nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    atomic_store(&stop, true);
    for (unsigned t = 0; t < threads; t++) {
        (void)pthread_join(workers[t].thread, NULL);
        result.done += workers[t].done;
    }
    result.seconds = now() - start;
    return result;
}

/* A process for each way: it runs a round for each length that it reads, until the end. */
struct process {
    int to, from;
    bool fails;                /* it cannot do this work: "-" */
    double rates[ROUNDS_MOST]; /* of its rounds, per second */
    unsigned rounds;
};

static void serve(const char *way, int from, int to)
{
    static struct worker workers[THREADS_MOST];
    double length;

    begin(way, workers);
    for (int n = 0; n < 4; n++) /* what the first uses cost is not measured */
        work_once(&workers[0]);
    (void)run_round(workers, 0.1);
    must(write(to, "", 1) == 1, "write");
    while (read(from, &length, sizeof(length)) == sizeof(length)) {
        struct result result = run_round(workers, length);

        must(write(to, &result, sizeof(result)) == sizeof(result), "write");
    }
    _exit(0); /* no way is measured by how it ends */
}

static void start(struct process *process, const char *way)
{
    int to[2], from[2];
    char ready;

    must(pipe(to) == 0 && pipe(from) == 0, "pipe");
    if (fork() == 0) {
        (void)close(to[1]);
        (void)close(from[0]);
        serve(way, to[0], from[1]);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    process->to = to[1];
    process->from = from[0];
    process->fails = read(process->from, &ready, 1) != 1;
}

static void take_turn(struct process *process, double length)
{
    struct result result;

    if (process->fails)
        return;
    must(write(process->to, &length, sizeof(length)) == sizeof(length) &&
             read(process->from, &result, sizeof(result)) == sizeof(result),
         "a way ended");
    process->rates[process->rounds++] = (double)result.done / result.seconds;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The middle one of the rounds: what the machine does besides makes some of them slow. */
static double rate(struct process *process)
{
    unsigned n = process->rounds;

    qsort(process->rates, n, sizeof(process->rates[0]), compare);
    return (process->rates[n / 2] + process->rates[(n - 1) / 2]) / 2;
}

/* One life of the processes. How fast one is depends a little on where its memory happens to lie:
 * many lives make that even. */
static void live(struct process *processes, char **names, int ways)
{
    for (int w = 0; w < ways; w++)
        if (!processes[w].fails)
            start(&processes[w], names[w]);
    for (int n = 0; n < LIFE_ROUNDS; n++)
        for (int w = 0; w < ways; w++)
            take_turn(&processes[w], ROUND_SECONDS);
    for (int w = 0; w < ways; w++) {
        (void)close(processes[w].to);
        (void)close(processes[w].from);
    }
    while (wait(NULL) > 0)
        ;
}

int main(int argc, char **argv)
{
    static struct process processes[WAYS_MOST];
    int ways = argc - 5;
    double length;

    if (ways < 1 || ways > WAYS_MOST) {
        (void)fprintf(stderr, "usage: bench WORK KEY THREADS SECONDS WAY...\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
        if (strcmp(works[i].name, argv[1]) == 0)
            work = &works[i];
    label = argv[2];
    threads = (unsigned)atoi(argv[3]);
    length = atof(argv[4]);
    must(work != NULL && threads >= 1 && threads <= THREADS_MOST, "WORK or THREADS");
    must(length / ROUND_SECONDS < ROUNDS_MOST, "SECONDS");
    for (double spent = 0; spent < length; spent += LIFE_ROUNDS * ROUND_SECONDS)
        live(processes, argv + 5, ways);
    for (int w = 0; w < ways; w++) {
        char text[32] = "-";

        if (!processes[w].fails)
            (void)snprintf(text, sizeof(text), "%.1f", rate(&processes[w]));
        printf("%s%s", text, w + 1 < ways ? "\t" : "\n");
    }
    return 0;
}
