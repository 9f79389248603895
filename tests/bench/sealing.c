/* AES-256-GCM with a session key of a token, messages of so many bytes: the least that PKCS#11 asks
 * for (C_EncryptInit, C_Encrypt), and the provider of OPENSSL_CONF, without and with room for the
 * tag behind the message (pkcs11-tag-room), in turns of one process with the same module.
 *
 *     sealing MODULE BYTES ROUNDS MESSAGES [raw|provider|roomy]
 *
 * Prints on one line the messages per second of the three, by the median of the rounds, and the
 * quotients of the second and the third to the first, round by round and of that the median. One
 * way alone: for profiles, and for counting calls. OpenSSL 3.5 or newer; PIN 1234, the token soft.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/params.h>

#include "module/cryptoki.h"

#include "common.h"
#include "pkcs11_bridge.h"

#define KEY_LEN 32
#define TAG_LEN 16
#define MOST    (1UL << 20)

static CK_FUNCTION_LIST *p11;
static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE raw_key;
static EVP_CIPHER_CTX *plain, *roomy;
static void *key;
static int (*init_skey)(EVP_CIPHER_CTX *, const EVP_CIPHER *, void *, const unsigned char *, size_t,
                        int, const OSSL_PARAM *);
static unsigned char message[MOST], sealed[MOST + TAG_LEN];
static size_t len;
static unsigned long long number;

/* Of this thread, which does all of it: what else runs here does not count. */
static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void *function(const char *name)
{
    void *found = dlsym(RTLD_DEFAULT, name);

    must(found != NULL, name);
    return found;
}

static void raw_begin(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get = NULL;
    CK_SLOT_ID slots[16], slot;
    CK_ULONG count = 16, key_len = KEY_LEN;
    CK_TOKEN_INFO info;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_MECHANISM mechanism = { CKM_AES_KEY_GEN, NULL, 0 };
    CK_ATTRIBUTE template[] = { { CKA_TOKEN, &no, sizeof(no) },
                                { CKA_PRIVATE, &yes, sizeof(yes) },
                                { CKA_SENSITIVE, &yes, sizeof(yes) },
                                { CKA_ENCRYPT, &yes, sizeof(yes) },
                                { CKA_VALUE_LEN, &key_len, sizeof(key_len) } };

    must(library != NULL, path);
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    must(get(&p11) == CKR_OK && p11->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK,
         "C_GetSlotList");
    slot = slots[0];
    for (CK_ULONG i = 0; i < count; i++)
        if (p11->C_GetTokenInfo(slots[i], &info) == CKR_OK && memcmp(info.label, "soft ", 5) == 0)
            slot = slots[i];
    must(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session) == CKR_OK,
         "C_OpenSession"); /* logged in, as the provider is */
    must(p11->C_GenerateKey(session, &mechanism, template, 5, &raw_key) == CKR_OK, "C_GenerateKey");
}

static void provider_begin(void)
{
    void *(*generate)(OSSL_LIB_CTX *, const char *, const char *, const OSSL_PARAM *);
    size_t key_len = KEY_LEN;
    unsigned yes = 1;
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_size_t("key-length", &key_len),
                                  OSSL_PARAM_construct_end() };
    const OSSL_PARAM room[] = { OSSL_PARAM_construct_uint(PKCS11_BRIDGE_CIPHER_TAG_ROOM, &yes),
                                OSSL_PARAM_construct_end() };
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "PKCS11-AES-256-GCM", NULL);

    *(void **)&generate = function("EVP_SKEY_generate");
    *(void **)&init_skey = function("EVP_CipherInit_SKEY");
    plain = EVP_CIPHER_CTX_new();
    roomy = EVP_CIPHER_CTX_new();
    must(cipher != NULL, "PKCS11-AES-256-GCM");
    key = generate(NULL, "AES", "provider=pkcs11", params);
    must(key != NULL && init_skey(plain, cipher, key, NULL, 0, 1, NULL) == 1 &&
             init_skey(roomy, cipher, key, NULL, 0, 1, room) == 1,
         "EVP_SKEY_generate");
    EVP_CIPHER_free(cipher);
}

static void raw_seal(void)
{
    unsigned char iv[12] = { 0 };
    struct gcm_params params = { .pIv = iv, .ulIvLen = 12, .ulIvBits = 96, .ulTagBits = 128 };
    CK_MECHANISM mechanism = { CKM_AES_GCM, &params, sizeof(params) };
    CK_ULONG out_len = sizeof(sealed);

    number++;
    memcpy(iv, &number, sizeof(number));
    must(p11->C_EncryptInit(session, &mechanism, raw_key) == CKR_OK &&
             p11->C_Encrypt(session, message, len, sealed, &out_len) == CKR_OK &&
             out_len == len + TAG_LEN,
         "C_Encrypt");
}

/* A new IV, the message, its tag. */
static void provider_seal(EVP_CIPHER_CTX *ctx)
{
    int part = 0, last = 0;

    must(init_skey(ctx, NULL, NULL, NULL, 0, 1, NULL) == 1 &&
             EVP_EncryptUpdate(ctx, sealed, &part, message, (int)len) == 1 &&
             EVP_EncryptFinal_ex(ctx, sealed + part, &last) == 1 &&
             EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, sealed + len) == 1 &&
             (size_t)(part + last) == len,
         "EVP_EncryptUpdate");
}

static void plain_seal(void)
{
    provider_seal(plain);
}

static void roomy_seal(void)
{
    provider_seal(roomy);
}

static const struct {
    const char *name;
    void (*seal)(void);
} ways[] = { { "raw", raw_seal }, { "provider", plain_seal }, { "roomy", roomy_seal } };

#define WAYS 3

static double rate(void (*seal)(void), unsigned long messages)
{
    double began = now();

    for (unsigned long i = 0; i < messages; i++)
        seal();
    return (double)messages / (now() - began);
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), ascending);
    return values[count / 2];
}

#define ROUNDS_MOST 1000

static double rates[WAYS][ROUNDS_MOST], quotients[WAYS][ROUNDS_MOST];

static void take_turns(unsigned rounds, unsigned long messages)
{
    for (unsigned i = 0; i < rounds; i++)
        for (unsigned way = 0; way < WAYS; way++) {
            rates[way][i] = rate(ways[way].seal, messages);
            quotients[way][i] = rates[way][i] / rates[0][i];
        }
    for (unsigned way = 0; way < WAYS; way++)
        (void)printf("%.0f\t", median(rates[way], rounds));
    (void)printf("%.3f\t%.3f\n", median(quotients[1], rounds), median(quotients[2], rounds));
}

int main(int argc, char **argv)
{
    unsigned rounds;
    unsigned long messages;

    must(argc >= 5, "sealing MODULE BYTES ROUNDS MESSAGES [raw|provider|roomy]");
    len = strtoul(argv[2], NULL, 10);
    rounds = (unsigned)strtoul(argv[3], NULL, 10);
    messages = strtoul(argv[4], NULL, 10);
    must(len <= MOST && rounds >= 1 && rounds <= ROUNDS_MOST, "sealing: too much");
    provider_begin();
    raw_begin(argv[1]);
    if (argc == 5)
        take_turns(rounds, messages);
    for (unsigned way = 0; argc > 5 && way < WAYS; way++)
        if (strcmp(argv[5], ways[way].name) == 0)
            (void)rate(ways[way].seal, messages * rounds);
    return 0;
}
