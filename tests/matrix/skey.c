/* One use of a secret key behind EVP_SKEY, for cells of scripts/matrix that the openssl command has
 * no way to, compared with the default provider's result for the same bytes (those of ask.c).
 *
 *   OPERATION URI PREFIX      OPERATION: a row of the table below
 *                             PREFIX: what the provider puts before names of algorithms
 *
 * A library that is not linked with libcrypto, whose functions have other versions in 4.0: beside.c
 * starts it with the libcrypto that is meant. Exit code 77: that one does not have the functions.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TOKENS       "provider=pkcs11"
#define HOST         "provider=default"
#define OLDER        77
#define TEXT(n, v)   OSSL_PARAM_construct_utf8_string((n), (char *)(uintptr_t)(v), 0)
#define BYTES(n, v)  OSSL_PARAM_construct_octet_string((n), (v), sizeof(v))

typedef struct skey SKEY;

static SKEY *(*skey_import)(OSSL_LIB_CTX *, const char *, const char *, int, const OSSL_PARAM *);
static int (*cipher_init)(EVP_CIPHER_CTX *, const EVP_CIPHER *, SKEY *, const unsigned char *,
                          size_t, int, const OSSL_PARAM *);
static int (*mac_init)(EVP_MAC_CTX *, SKEY *, const OSSL_PARAM *);
static int (*kdf_set)(EVP_KDF_CTX *, SKEY *, const char *);
static SKEY *(*kdf_derive)(EVP_KDF_CTX *, void *, const char *, const char *, size_t,
                           const OSSL_PARAM *);

static unsigned char secret[32] = "matrix: thirty-two bytes of key";
static unsigned char message[64] =
    "a message of sixty-four bytes, so that it is whole blocks of AES";
static unsigned char iv[16];
static const char *prefix;

struct operation {
    const char *name, *algorithm, *type;
    int (*run)(const struct operation *, SKEY *);
};

static const char *name_of(const struct operation *operation)
{
    static char name[64];

    (void)snprintf(name, sizeof(name), "%s%s", prefix, operation->algorithm);
    return name;
}

/* key NULL: with the bytes. in: 64 bytes out of which out is made; tag: for GCM. */
static int crypt(const char *name, SKEY *key, int encrypt, const unsigned char *in, size_t len,
                 unsigned char *out, int *out_len, unsigned char *tag)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, key != NULL ? TOKENS : HOST);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    size_t iv_len = cipher != NULL ? (size_t)EVP_CIPHER_get_iv_length(cipher) : 0;
    int wrap = cipher != NULL && EVP_CIPHER_get_mode(cipher) == EVP_CIPH_WRAP_MODE, last = 0, ok;

    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (cipher == NULL)
        ok = 0;
    else if (key != NULL)
        ok = cipher_init(ctx, cipher, key, wrap || (tag != NULL && encrypt) ? NULL : iv,
                         wrap || (tag != NULL && encrypt) ? 0 : iv_len, encrypt, NULL);
    else
        ok = EVP_CipherInit_ex2(ctx, cipher, secret, wrap ? NULL : iv, encrypt, NULL);
    if (ok == 1 && !wrap)
        ok = EVP_CIPHER_CTX_set_padding(ctx, 0);
    if (ok == 1 && tag != NULL && !encrypt)
        ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, tag);
    if (ok == 1)
        ok = EVP_CipherUpdate(ctx, out, out_len, in, (int)len);
    if (ok == 1)
        ok = EVP_CipherFinal_ex(ctx, out + *out_len, &last);
    *out_len += last;
    if (ok == 1 && tag != NULL && encrypt) {
        OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_IV, iv, iv_len),
                                OSSL_PARAM_construct_end() };

        ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag);
        if (ok == 1 && key != NULL) /* the provider's own */
            ok = EVP_CIPHER_CTX_get_params(ctx, params);
    }
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    return ok == 1;
}

static int same(const unsigned char *a, int a_len, const unsigned char *b, int b_len)
{
    if (a_len == b_len && memcmp(a, b, (size_t)b_len) == 0)
        return 1;
    fprintf(stderr, "not what the default provider makes of the same bytes\n");
    return 0;
}

static int run_cipher(const struct operation *operation, SKEY *key)
{
    unsigned char ours[128], theirs[128], back[128], our_tag[16], their_tag[16];
    int gcm = strcmp(operation->name, "gcm") == 0, our_len = 0, their_len = 0, back_len = 0;

    return crypt(name_of(operation), key, 1, message, 64, ours, &our_len, gcm ? our_tag : NULL) &&
           crypt(operation->algorithm, NULL, 1, message, 64, theirs, &their_len,
                 gcm ? their_tag : NULL) &&
           same(ours, our_len, theirs, their_len) && (!gcm || same(our_tag, 16, their_tag, 16)) &&
           crypt(name_of(operation), key, 0, theirs, (size_t)their_len, back, &back_len,
                 gcm ? their_tag : NULL) &&
           same(back, back_len, message, 64);
}

static int mac(const char *name, SKEY *key, unsigned char *out, size_t *out_len)
{
    EVP_MAC *fetched = EVP_MAC_fetch(NULL, name, key != NULL ? TOKENS : HOST);
    EVP_MAC_CTX *ctx = fetched != NULL ? EVP_MAC_CTX_new(fetched) : NULL;
    int hmac = strstr(name, "HMAC") != NULL, ok = 0;
    const OSSL_PARAM params[] = { hmac ? TEXT(OSSL_MAC_PARAM_DIGEST, "SHA2-256")
                                       : TEXT(OSSL_MAC_PARAM_CIPHER, "AES-256-CBC"),
                                  OSSL_PARAM_construct_end() };

    if (ctx != NULL)
        ok = key != NULL ? mac_init(ctx, key, params) : EVP_MAC_init(ctx, secret, 32, params);
    ok = ok == 1 && EVP_MAC_update(ctx, message, 64) == 1 &&
         EVP_MAC_final(ctx, out, out_len, 64) == 1;
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(fetched);
    return ok;
}

static int run_mac(const struct operation *operation, SKEY *key)
{
    unsigned char ours[64], theirs[64];
    size_t our_len = 0, their_len = 0;

    return mac(name_of(operation), key, ours, &our_len) &&
           mac(operation->algorithm, NULL, theirs, &their_len) &&
           same(ours, (int)our_len, theirs, (int)their_len);
}

/* What the KDF is given but for the key; what follows is for the caller to say. */
static OSSL_PARAM *kdf_params(const struct operation *operation, OSSL_PARAM *params)
{
    *params++ = TEXT(OSSL_KDF_PARAM_DIGEST, "SHA2-256");
    if (strcmp(operation->algorithm, "HKDF") == 0) {
        *params++ = BYTES(OSSL_KDF_PARAM_INFO, message);
        return params;
    }
    *params++ = TEXT(OSSL_KDF_PARAM_MODE, "EXPAND_ONLY");
    *params++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, (char *)"tls13 ", 6);
    *params++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, (char *)"c hs traffic", 12);
    *params++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_DATA, message, 32);
    return params;
}

static EVP_KDF_CTX *kdf_ctx(const char *name, const char *properties)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, name, properties);

    return kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
}

/* To bytes, or where the token keeps them to itself to a key, which encrypts as these bytes do. */
static int run_kdf(const struct operation *operation, SKEY *key)
{
    unsigned char ours[32], theirs[32], a[128], b[128];
    char aes[64];
    EVP_KDF_CTX *ctx = kdf_ctx(name_of(operation), TOKENS);
    EVP_KDF_CTX *host = kdf_ctx(operation->algorithm, HOST);
    OSSL_PARAM params[8], *more = kdf_params(operation, params);
    SKEY *derived;
    int a_len = 0, b_len = 0;

    more[0] = BYTES(OSSL_KDF_PARAM_KEY, secret);
    more[1] = OSSL_PARAM_construct_end();
    if (EVP_KDF_derive(host, theirs, 32, params) != 1 || ctx == NULL)
        return 0;
    more[0] = OSSL_PARAM_construct_end();
    if (kdf_set(ctx, key, OSSL_KDF_PARAM_KEY) != 1)
        return 0;
    if (EVP_KDF_derive(ctx, ours, 32, params) == 1)
        return same(ours, 32, theirs, 32);
    derived = kdf_derive(ctx, NULL, "AES", TOKENS, 32, params);
    memcpy(secret, theirs, 32);
    (void)snprintf(aes, sizeof(aes), "%sAES-256-CBC", prefix);
    return derived != NULL && crypt(aes, derived, 1, message, 64, a, &a_len, NULL) &&
           crypt("AES-256-CBC", NULL, 1, message, 64, b, &b_len, NULL) && same(a, a_len, b, b_len);
}

static const struct operation operations[] = {
    { "cbc", "AES-256-CBC", "AES", run_cipher },
    { "ctr", "AES-256-CTR", "AES", run_cipher },
    { "gcm", "AES-256-GCM", "AES", run_cipher },
    { "kw", "AES-256-WRAP", "AES", run_cipher },
    { "cmac", "CMAC", "AES", run_mac },
    { "hmac", "HMAC", "GENERIC-SECRET", run_mac },
    { "hkdf", "HKDF", "GENERIC-SECRET", run_kdf },
    { "tls13", "TLS13-KDF", "GENERIC-SECRET", run_kdf },
};

static void find(void *function, const char *name)
{
    *(void **)function = dlsym(RTLD_DEFAULT, name);
}

static int functions_found(const struct operation *operation)
{
    find(&skey_import, "EVP_SKEY_import");
    find(&cipher_init, "EVP_CipherInit_SKEY");
    find(&mac_init, "EVP_MAC_init_SKEY");
    find(&kdf_set, "EVP_KDF_CTX_set_SKEY");
    find(&kdf_derive, "EVP_KDF_derive_SKEY");
    return skey_import != NULL && cipher_init != NULL && mac_init != NULL &&
           (operation->run != run_kdf || (kdf_set != NULL && kdf_derive != NULL));
}

static int run(const struct operation *operation, const char *uri)
{
    const OSSL_PARAM params[] = { TEXT("pkcs11_uri", uri), OSSL_PARAM_construct_end() };
    SKEY *key;

    if (!functions_found(operation)) {
        fprintf(stderr, "this libcrypto does not have the functions\n");
        return OLDER;
    }
    key = skey_import(NULL, operation->type, TOKENS, 0xff, params);
    if (key != NULL && operation->run(operation, key))
        return 0;
    ERR_print_errors_fp(stderr);
    return 1;
}

int start(int argc, char **argv);

__attribute__((visibility("default"))) int start(int argc, char **argv)
{
    for (size_t i = 0; argc == 4 && i < COUNT(operations); i++)
        if (strcmp(operations[i].name, argv[1]) == 0) {
            prefix = argv[3];
            return run(&operations[i], argv[2]);
        }
    return 2;
}
