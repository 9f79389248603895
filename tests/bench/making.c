/* How session keys are made by many threads: P-256, each destroyed again before the next.
 *
 *     making THREADS SECONDS RAW|provider
 *
 * The provider is that of OPENSSL_CONF. RAW is the path of a module: the least that PKCS#11 asks
 * for, each thread on a session of its own, the module initialised and logged in (PIN 1234, the
 * token soft): C_GenerateKeyPair, the public half read, both halves destroyed.
 *
 * Prints keys per second, how many failed, the least and the most that a thread made, and the
 * longest that one took, in milliseconds. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include <p11-kit/pkcs11.h>

#include "common.h"

#define THREADS_MOST 1024

static CK_FUNCTION_LIST *p11;
static CK_SLOT_ID slot;
static atomic_bool over;

struct maker {
    pthread_t thread;
    CK_SESSION_HANDLE session;
    unsigned long made, failed;
    double longest;
};

static struct maker makers[THREADS_MOST];

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void raw_begin(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
    CK_C_GetFunctionList get = NULL;
    CK_SLOT_ID slots[16];
    CK_ULONG count = 16;
    CK_TOKEN_INFO info;
    CK_SESSION_HANDLE session;

    must(library != NULL, path);
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    must(get(&p11) == CKR_OK && p11->C_Initialize(&args) == CKR_OK &&
             p11->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK,
         "C_Initialize");
    slot = slots[0];
    for (CK_ULONG i = 0; i < count; i++)
        if (p11->C_GetTokenInfo(slots[i], &info) == CKR_OK && memcmp(info.label, "soft ", 5) == 0)
            slot = slots[i];
    must(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session) == CKR_OK &&
             p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)(uintptr_t) "1234", 4) == CKR_OK,
         "C_Login");
}

static bool raw_make(CK_SESSION_HANDLE session)
{
    static CK_BYTE p256[] = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 };
    CK_BYTE point[128];
    CK_MECHANISM mechanism = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE public[] = { { CKA_TOKEN, &no, sizeof(no) },
                              { CKA_EC_PARAMS, p256, sizeof(p256) } };
    CK_ATTRIBUTE private[] = { { CKA_TOKEN, &no, sizeof(no) }, { CKA_SIGN, &yes, sizeof(yes) } };
    CK_ATTRIBUTE shown = { CKA_EC_POINT, point, sizeof(point) };
    CK_OBJECT_HANDLE a, b;

    return p11->C_GenerateKeyPair(session, &mechanism, public, 2, private, 2, &a, &b) == CKR_OK &&
           p11->C_GetAttributeValue(session, a, &shown, 1) == CKR_OK &&
           p11->C_DestroyObject(session, a) == CKR_OK && p11->C_DestroyObject(session, b) == CKR_OK;
}

static bool make(struct maker *maker)
{
    EVP_PKEY *key;

    if (p11 != NULL)
        return raw_make(maker->session);
    key = EVP_PKEY_Q_keygen(NULL, "provider=pkcs11", "EC", "P-256");
    EVP_PKEY_free(key);
    ERR_clear_error();
    return key != NULL;
}

static void *run(void *arg)
{
    struct maker *maker = arg;

    while (!atomic_load(&over)) {
        double before = now(), taken;
        bool ok = make(maker);

        taken = now() - before;
        maker->made += ok;
        maker->failed += !ok;
        maker->longest = taken > maker->longest ? taken : maker->longest;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned threads = argc > 3 ? (unsigned)atoi(argv[1]) : 0;
    unsigned long made = 0, failed = 0, least = ~0UL, most = 0;
    double start, longest = 0;

    must(threads > 0 && threads <= THREADS_MOST, "making THREADS SECONDS MODULE|provider");
    if (strcmp(argv[3], "provider") != 0)
        raw_begin(argv[3]);
    for (unsigned t = 0; p11 != NULL && t < threads; t++)
        must(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &makers[t].session) == CKR_OK,
             "C_OpenSession");
    must(make(&makers[0]), "the first key");
    start = now();
    for (unsigned t = 0; t < threads; t++)
        must(pthread_create(&makers[t].thread, NULL, run, &makers[t]) == 0, "pthread_create");
    while (now() < start + atof(argv[2]))
        (void)nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    atomic_store(&over, true);
    for (unsigned t = 0; t < threads; t++) {
        (void)pthread_join(makers[t].thread, NULL);
        made += makers[t].made;
        failed += makers[t].failed;
        least = makers[t].made < least ? makers[t].made : least;
        most = makers[t].made > most ? makers[t].made : most;
        longest = makers[t].longest > longest ? makers[t].longest : longest;
    }
    (void)printf("%.0f\t%lu\t%lu\t%lu\t%.0f\n", (double)made / (now() - start), failed, least, most,
                 longest * 1e3);
    (void)fflush(stdout);
    _exit(0); /* no way is measured by how it ends */
}
