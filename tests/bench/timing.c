/* Decrypts ciphertexts of two classes, in an order drawn at random, and says how long each took:
 * what scripts/timing makes its t-test of.
 *
 *     timing KIND LABEL COUNT     a line "CLASS NANOSECONDS CPU" for each of COUNT decryptions: by
 * the clock on the wall, and the thread's own of the processor, which what else the machine does
 * disturbs less
 *
 * KIND, and what its classes differ in:
 *     pkcs1        PKCS#1 v1.5 with implicit rejection: right and wrong padding
 *     tls          a premaster secret: right, and wrong padding or version
 *     oaep         OAEP, SHA-1: wrong in the first byte, wrong behind it
 *     oaep-sha256  the same with SHA-256
 *     module       C_DecryptInit and C_Decrypt with CKM_RSA_PKCS, without the provider: as pkcs1
 *
 * The private key LABEL is an RSA key on the token "soft" (PIN 1234). The provider is what
 * OPENSSL_CONF says, the module of the last kind PKCS11_MODULE. No ciphertext is used twice. Under
 * callgrind the counters are dumped after each decryption, with the class as the reason. */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <p11-kit/pkcs11.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <valgrind/callgrind.h>

#include "common.h"

#define SIZE_MAX_RSA 512
#define WARM_UP      20 /* the key is copied, the secret of implicit rejection made */
#define VERSION      0x0303

static unsigned random_below(unsigned limit)
{
    uint32_t number;

    must(RAND_bytes((unsigned char *)&number, sizeof(number)) == 1, "RAND_bytes");
    return number % limit;
}

static void random_not_zero(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(1 + random_below(255));
}

/* 00 02, padding, 00, and a message of len random bytes */
static void pkcs1_right(uint8_t *block, size_t size, size_t len)
{
    random_not_zero(block, size);
    block[0] = 0;
    block[1] = 2;
    block[size - len - 1] = 0;
    must(RAND_bytes(block + size - len, (int)len) == 1, "RAND_bytes");
}

/* In one of the ways in which it can be. */
static void pkcs1_spoil(uint8_t *block, size_t size)
{
    switch (random_below(4)) {
    case 0: /* below the modulus, whose first bit is set */
        block[0] = (uint8_t)(1 + random_below(127));
        break;
    case 1:
        block[1] ^= (uint8_t)(1 + random_below(255));
        break;
    case 2:
        block[2 + random_below(8)] = 0;
        break;
    default:
        random_not_zero(block + 2, size - 2);
    }
}

/* The message has any length, as that has which stands for a wrong padding. */
static void block_pkcs1(uint8_t *block, size_t size, bool second)
{
    pkcs1_right(block, size, random_below((unsigned)size - 10));
    if (second)
        pkcs1_spoil(block, size);
}

static void block_tls(uint8_t *block, size_t size, bool second)
{
    pkcs1_right(block, size, 48);
    block[size - 48] = VERSION >> 8;
    block[size - 47] = VERSION & 0xff;
    if (second && random_below(5) == 0)
        block[size - 47] ^= (uint8_t)(1 + random_below(255));
    else if (second)
        pkcs1_spoil(block, size);
}

static void block_oaep(uint8_t *block, size_t size, bool second)
{
    must(RAND_bytes(block, (int)size) == 1, "RAND_bytes");
    block[0] = second ? 0 : (uint8_t)(1 + random_below(127));
}

struct kind {
    const char *name;
    void (*block)(uint8_t *block, size_t size, bool second);
    const char *classes[2];
    int padding;
    const char *md;
    bool module; /* without the provider */
};

static const struct kind kinds[] = {
    { "pkcs1", block_pkcs1, { "right", "wrong" }, RSA_PKCS1_PADDING, NULL, false },
    { "tls", block_tls, { "right", "wrong" }, RSA_PKCS1_WITH_TLS_PADDING, NULL, false },
    { "oaep", block_oaep, { "first", "later" }, RSA_PKCS1_OAEP_PADDING, "SHA1", false },
    { "oaep-sha256", block_oaep, { "first", "later" }, RSA_PKCS1_OAEP_PADDING, "SHA256", false },
    { "module", block_pkcs1, { "right", "wrong" }, RSA_PKCS1_PADDING, NULL, true },
};

/* One way to decrypt: through the provider, or the module alone. */
struct way {
    EVP_PKEY_CTX *ctx;
    CK_FUNCTION_LIST *p11;
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE key;
};

static void way_through_provider(struct way *way, const struct kind *kind, EVP_PKEY *key)
{
    unsigned version = VERSION;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, &version),
        OSSL_PARAM_construct_end(),
    };

    way->ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    must(way->ctx != NULL && EVP_PKEY_decrypt_init(way->ctx) == 1 &&
             EVP_PKEY_CTX_set_rsa_padding(way->ctx, kind->padding) == 1 &&
             (kind->md == NULL ||
              EVP_PKEY_CTX_set_rsa_oaep_md_name(way->ctx, kind->md, NULL) == 1) &&
             (kind->padding != RSA_PKCS1_WITH_TLS_PADDING ||
              EVP_PKEY_CTX_set_params(way->ctx, params) == 1),
         "EVP_PKEY_decrypt_init");
}

static void way_through_module(struct way *way, const char *label)
{
    void *library = dlopen(getenv("PKCS11_MODULE"), RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get = NULL;
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
                                { CKA_LABEL, (void *)(uintptr_t)label, strlen(label) } };
    CK_SLOT_ID slots[16];
    CK_ULONG count = 16;

    must(library != NULL, "PKCS11_MODULE");
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    must(get != NULL && get(&way->p11) == CKR_OK, "C_GetFunctionList");
    (void)way->p11->C_Initialize(NULL); /* perhaps the provider has */
    must(way->p11->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK &&
             way->p11->C_OpenSession(slots[0], CKF_SERIAL_SESSION, NULL, NULL, &way->session) ==
                 CKR_OK,
         "C_OpenSession");
    (void)way->p11->C_Login(way->session, CKU_USER, (CK_UTF8CHAR *)(uintptr_t) "1234", 4);
    must(way->p11->C_FindObjectsInit(way->session, template, 2) == CKR_OK &&
             way->p11->C_FindObjects(way->session, &way->key, 1, &count) == CKR_OK && count == 1 &&
             way->p11->C_FindObjectsFinal(way->session) == CKR_OK,
         label);
}

/* Whether it said that all was right. */
static bool decrypt(const struct way *way, uint8_t *in, size_t size)
{
    CK_MECHANISM mechanism = { CKM_RSA_PKCS, NULL, 0 };
    uint8_t out[SIZE_MAX_RSA];
    size_t len = sizeof(out);
    CK_ULONG ck_len = sizeof(out);

    if (way->p11 == NULL)
        return EVP_PKEY_decrypt(way->ctx, out, &len, in, size) == 1;
    return way->p11->C_DecryptInit(way->session, &mechanism, way->key) == CKR_OK &&
           way->p11->C_Decrypt(way->session, in, size, out, &ck_len) == CKR_OK;
}

static uint64_t now(clockid_t clock)
{
    struct timespec time;

    (void)clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

struct sample {
    uint8_t in[SIZE_MAX_RSA];
    bool second;
    uint64_t wall, cpu;
};

static void sample_make(struct sample *sample, const struct kind *kind, EVP_PKEY_CTX *public,
                        size_t size)
{
    uint8_t block[SIZE_MAX_RSA];
    size_t len = size;

    sample->second = random_below(2) == 1;
    kind->block(block, size, sample->second);
    must(EVP_PKEY_encrypt(public, sample->in, &len, block, size) == 1, "EVP_PKEY_encrypt");
}

/* A wrong padding is an error where it is OAEP's, or where the module is asked. */
static void sample_take(struct sample *sample, const struct kind *kind, const struct way *way,
                        size_t size)
{
    bool told = kind->padding == RSA_PKCS1_OAEP_PADDING || (kind->module && sample->second);
    uint64_t wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID);
    bool ok;

    CALLGRIND_ZERO_STATS;
    ok = decrypt(way, sample->in, size);
    CALLGRIND_DUMP_STATS_AT(kind->classes[sample->second]);
    sample->cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
    sample->wall = now(CLOCK_MONOTONIC) - wall;
    must(ok == !told, "a decryption has another outcome than its padding");
    ERR_clear_error();
}

static void measure(const struct kind *kind, const char *label, size_t count)
{
    struct sample *samples = calloc(count + WARM_UP, sizeof(*samples));
    EVP_PKEY *key = load(label);
    EVP_PKEY_CTX *public = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    size_t size = (size_t)EVP_PKEY_get_size(key);
    struct way way = { 0 };

    must(samples != NULL && size <= SIZE_MAX_RSA, "COUNT");
    must(EVP_PKEY_encrypt_init(public) == 1 &&
             EVP_PKEY_CTX_set_rsa_padding(public, RSA_NO_PADDING) == 1,
         "EVP_PKEY_encrypt_init");
    for (size_t i = 0; i < count + WARM_UP; i++)
        sample_make(&samples[i], kind, public, size);
    if (kind->module)
        way_through_module(&way, label);
    else
        way_through_provider(&way, kind, key);
    for (size_t i = 0; i < count + WARM_UP; i++)
        sample_take(&samples[i], kind, &way, size);
    for (size_t i = WARM_UP; i < count + WARM_UP; i++)
        printf("%s %llu %llu\n", kind->classes[samples[i].second],
               (unsigned long long)samples[i].wall, (unsigned long long)samples[i].cpu);
    EVP_PKEY_CTX_free(way.ctx);
    EVP_PKEY_CTX_free(public);
    EVP_PKEY_free(key);
    free(samples);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 4 && i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, argv[1]) == 0) {
            measure(&kinds[i], argv[2], strtoul(argv[3], NULL, 10));
            return 0;
        }
    (void)fprintf(stderr, "usage: timing KIND LABEL COUNT\n");
    return 2;
}
