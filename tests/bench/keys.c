/* What keys cost by themselves: to open, to keep open, and to use for long.
 *
 *     keys fill COUNT           makes COUNT public key objects on the token soft (PIN 1234, module
 * PKCS11_MODULE) keys open LABEL COUNT     opens the private key COUNT times and keeps them:
 * milliseconds for the first, microseconds for each of the others, and the bytes that each holds
 *     keys sign LABEL COUNT     signs COUNT times: resident KiB after a hundredth of them and at
 * the end
 *     keys verify LABEL COUNT   verifies what it signed once COUNT times
 *     keys decrypt LABEL COUNT  decrypts with PKCS#1 v1.5 padding COUNT times
 *
 * The provider is what OPENSSL_CONF says. */
#include <dlfcn.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <p11-kit/pkcs11.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/store.h>

#include "common.h"

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static unsigned long resident(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long size = 0, pages = 0;

    must(file != NULL && fscanf(file, "%lu %lu", &size, &pages) == 2, "/proc/self/statm");
    (void)fclose(file);
    return pages * (unsigned long)sysconf(_SC_PAGESIZE);
}

static void open_keys(const char *label, unsigned long count)
{
    EVP_PKEY **keys = calloc(count, sizeof(EVP_PKEY *));
    double start = now(), first;
    unsigned long before;

    must(keys != NULL && count > 0, "COUNT");
    keys[0] = load(label);
    first = now() - start;
    (void)malloc_trim(0);
    before = resident();
    start = now();
    for (unsigned long n = 1; n < count; n++)
        keys[n] = load(label);
    printf("%.2f", first * 1e3);
    if (count > 1)
        printf("\t%.1f\t%.0f", (now() - start) * 1e6 / (double)(count - 1),
               (double)(resident() - before) / (double)(count - 1));
    printf("\n");
}

static void sign(const char *label, unsigned long count)
{
    EVP_PKEY *key = load(label);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned long before = 0;

    for (unsigned long n = 0; n < count; n++) {
        unsigned char sig[1024];
        size_t len = sizeof(sig);

        must(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, key, NULL) == 1 &&
                 EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"message", 7) == 1,
             "EVP_DigestSign");
        EVP_MD_CTX_reset(ctx);
        if (n == count / 100)
            before = resident();
    }
    printf("%lu\t%lu\n", before / 1024, resident() / 1024);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
}

/* On the host: what the token signed, whether that is a signature or not. */
static void verify(const char *label, unsigned long count)
{
    EVP_PKEY *key = load(label);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char sig[1024];
    size_t len = sizeof(sig);

    must(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, key, NULL) == 1 &&
             EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"message", 7) == 1,
         "EVP_DigestSign");
    EVP_MD_CTX_reset(ctx);
    for (unsigned long n = 0; n < count; n++) {
        must(EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", NULL, NULL, key, NULL) == 1,
             "EVP_DigestVerifyInit");
        (void)EVP_DigestVerify(ctx, sig, len, (const unsigned char *)"message", 7);
        EVP_MD_CTX_reset(ctx);
    }
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
}

static void decrypt(const char *label, unsigned long count)
{
    EVP_PKEY *key = load(label);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    unsigned char in[1024], out[1024];
    size_t in_len = sizeof(in);

    must(ctx != NULL && EVP_PKEY_encrypt_init(ctx) == 1 &&
             EVP_PKEY_encrypt(ctx, in, &in_len, (const unsigned char *)"message", 7) == 1 &&
             EVP_PKEY_decrypt_init(ctx) == 1,
         "EVP_PKEY_encrypt");
    for (unsigned long n = 0; n < count; n++) {
        size_t len = sizeof(out);

        must(EVP_PKEY_decrypt(ctx, out, &len, in, in_len) == 1, "EVP_PKEY_decrypt");
    }
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
}

static void fill(unsigned long count)
{
    static CK_BYTE params[] = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 };
    static CK_BYTE point[67] = { 4, 65, 4 };
    void *library = dlopen(getenv("PKCS11_MODULE"), RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get = NULL;
    CK_FUNCTION_LIST *p11;
    CK_SESSION_HANDLE session;
    CK_SLOT_ID slots[16];
    CK_ULONG slot_count = 16;
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    CK_KEY_TYPE type = CKK_EC;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_OBJECT_HANDLE object;

    must(library != NULL, "PKCS11_MODULE");
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    must(get != NULL && get(&p11) == CKR_OK && p11->C_Initialize(NULL) == CKR_OK &&
             p11->C_GetSlotList(CK_TRUE, slots, &slot_count) == CKR_OK &&
             p11->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                                &session) == CKR_OK &&
             p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)(uintptr_t) "1234", 4) == CKR_OK,
         "the token");
    for (unsigned long n = 0; n < count; n++) {
        char label[32];
        CK_ATTRIBUTE template[] = {
            { CKA_CLASS, &class, sizeof(class) },
            { CKA_KEY_TYPE, &type, sizeof(type) },
            { CKA_TOKEN, &yes, sizeof(yes) },
            { CKA_PRIVATE, &no, sizeof(no) },
            { CKA_EC_PARAMS, params, sizeof(params) },
            { CKA_EC_POINT, point, sizeof(point) },
            { CKA_ID, &n, sizeof(n) },
            { CKA_LABEL, label, 0 },
        };

        template[7].ulValueLen = (CK_ULONG)snprintf(label, sizeof(label), "foreign-%lu", n);
        must(p11->C_CreateObject(session, template, 8, &object) == CKR_OK, "C_CreateObject");
    }
    (void)p11->C_Finalize(NULL);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    if (argc == 3 && strcmp(what, "fill") == 0)
        fill(strtoul(argv[2], NULL, 10));
    else if (argc == 4 && strcmp(what, "open") == 0)
        open_keys(argv[2], strtoul(argv[3], NULL, 10));
    else if (argc == 4 && strcmp(what, "sign") == 0)
        sign(argv[2], strtoul(argv[3], NULL, 10));
    else if (argc == 4 && strcmp(what, "verify") == 0)
        verify(argv[2], strtoul(argv[3], NULL, 10));
    else if (argc == 4 && strcmp(what, "decrypt") == 0)
        decrypt(argv[2], strtoul(argv[3], NULL, 10));
    else
        (void)fprintf(stderr,
                      "usage: keys fill COUNT | keys open|sign|verify|decrypt LABEL COUNT\n");
    return 0;
}
