/* A module that lies: counts and lengths that do not go with what it was given or can have written,
 * texts that are none. Each is an error of the operation, which names the function and what it
 * said, is not tried again, and leaves the key as usable as before; nothing is overrun, which the
 * address sanitizer watches. What a module may well say is none. */
#include "harness.h"
#include "operator.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/asn1.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <openssl/x509.h>

#include "pkcs11_bridge.h"

#define SETTINGS "pkcs11-retry-ms = 40\npkcs11-session-wait-ms = 400\npkcs11-log = none\n"
#define ON_TOKEN SETTINGS "pkcs11-public-operations = token\n"
#define HASHING  SETTINGS "pkcs11-digest = token\n"
#define LOGGING  "pkcs11-retry-ms = 20000\npkcs11-log = stderr\n"
/* the texts are those of one token, which seems to be another each time */
#define ANY_TOKEN "pkcs11-pin-scope = any\n"
#define CERT      "lengths-cert"

struct path;

struct world {
    const struct path *path;
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key, *peer;
    unsigned char encrypted[256];
    bool right; /* what the last walk gave is what it should be */
};

/* A use of the token: walk is true when it said that it went well. */
struct path {
    const char *name, *settings;
    const char *key; /* a label, or a type of which a key is made, or NULL */
    bool (*walk)(struct world *world);
    const char *uri; /* that it opens */
    const char *digest;
    int padding;
    unsigned searches; /* in which a function may lie once each: without a login and with one */
};

static unsigned char message[200000];

static EVP_PKEY *open_key(const struct world *world, const char *uri)
{
    return key_load_uri(world->libctx, uri);
}

static bool walk_open(struct world *world)
{
    EVP_PKEY *key = open_key(world, world->path->uri);
    bool ok = key != NULL;

    world->right = ok && EVP_PKEY_get_size(key) > 0;
    EVP_PKEY_free(key);
    return ok;
}

/* Everything that is there. */
static bool walk_open_all(struct world *world)
{
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(world->path->uri, world->libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    unsigned count = 0;

    while (store != NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        count += info != NULL;
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    world->right = count == 1;
    return count != 0;
}

static bool verifies(const struct world *world, const unsigned char *sig, size_t sig_len,
                     size_t len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    bool ok = EVP_DigestVerifyInit_ex(ctx, &pctx, world->path->digest, world->libctx, NULL,
                                      world->key, NULL) == 1 &&
              (world->path->padding == 0 ||
               EVP_PKEY_CTX_set_rsa_padding(pctx, world->path->padding) == 1) &&
              EVP_DigestVerify(ctx, sig, sig_len, message, len) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

/* Into a buffer that has not one byte more than it must have. */
static bool sign(struct world *world, size_t len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    size_t sig_len = (size_t)EVP_PKEY_get_size(world->key);
    unsigned char *sig = malloc(sig_len);
    bool ok = EVP_DigestSignInit_ex(ctx, &pctx, world->path->digest, world->libctx, NULL,
                                    world->key, NULL) == 1 &&
              (world->path->padding == 0 ||
               EVP_PKEY_CTX_set_rsa_padding(pctx, world->path->padding) == 1) &&
              EVP_DigestSign(ctx, sig, &sig_len, message, len) == 1;

    EVP_MD_CTX_free(ctx);
    world->right = ok && sig_len <= (size_t)EVP_PKEY_get_size(world->key) &&
                   verifies(world, sig, sig_len, len);
    free(sig);
    return ok;
}

static bool walk_sign(struct world *world)
{
    return sign(world, 100);
}

static bool walk_sign_long(struct world *world)
{
    return sign(world, sizeof(message));
}

static EVP_PKEY_CTX *rsa_context(const struct world *world)
{
    return EVP_PKEY_CTX_new_from_pkey(world->libctx, world->key, NULL);
}

/* What is encrypted: with no padding, a whole block that is below every modulus. */
static size_t plain_len(const struct world *world)
{
    return world->path->padding == RSA_NO_PADDING ? 256 : 6;
}

static bool encrypt(const struct world *world, unsigned char *out, size_t *len)
{
    EVP_PKEY_CTX *ctx = rsa_context(world);
    bool ok = EVP_PKEY_encrypt_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, world->path->padding) == 1 &&
              EVP_PKEY_encrypt(ctx, out, len, message, plain_len(world)) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool decrypt(struct world *world, const unsigned char *in)
{
    EVP_PKEY_CTX *ctx = rsa_context(world);
    unsigned char *out = malloc(256);
    size_t len = 256;
    bool ok = EVP_PKEY_decrypt_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, world->path->padding) == 1 &&
              EVP_PKEY_decrypt(ctx, out, &len, in, 256) == 1;

    EVP_PKEY_CTX_free(ctx);
    world->right = ok && len == plain_len(world) && memcmp(out, message, len) == 0;
    free(out);
    return ok;
}

static bool walk_encrypt(struct world *world)
{
    unsigned char *out = malloc(256);
    size_t len = 256;
    bool ok = encrypt(world, out, &len);

    world->right = ok && len == 256 && decrypt(world, out) && world->right;
    free(out);
    return ok;
}

static bool walk_decrypt(struct world *world)
{
    return decrypt(world, world->encrypted);
}

static bool walk_derive(struct world *world)
{
    unsigned char out[32], other[32];
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(world->libctx, world->key, NULL);
    size_t len = sizeof(out);
    bool ok = EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, world->peer) == 1 &&
              EVP_PKEY_derive(ctx, out, &len) == 1;

    EVP_PKEY_CTX_free(ctx);
    /* the secret does not stay on the token, where its length was no good either */
    assert_true(calls("C_DestroyObject") + calls("C_CloseSession") > 0);
    world->right = ok && len == sizeof(out) &&
                   key_derives(world->libctx, world->key, world->peer, other) &&
                   memcmp(out, other, sizeof(out)) == 0;
    return ok;
}

/* Every key has a label of its own. */
static bool walk_generate(struct world *world)
{
    static unsigned made;
    char uri[64] = "pkcs11:token=soft;object=lengths-000";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)"P-256", 0),
        OSSL_PARAM_construct_utf8_string(PKCS11_BRIDGE_KEYGEN_URI, uri, strlen(uri)),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(world->libctx, "EC", "provider=pkcs11");
    EVP_PKEY *key = NULL;
    bool ok;

    snprintf(uri, sizeof(uri), "pkcs11:token=soft;object=lengths-%03u", made++);
    ok = EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_CTX_set_params(ctx, params) == 1 &&
         EVP_PKEY_generate(ctx, &key) == 1;
    world->right = ok && key_signs(world->libctx, key);
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

#define P256 "pkcs11:token=soft;object=p256;type=private"
#define RSA  "pkcs11:token=soft;object=rsa2048;type=private"

#define CERTIFICATE "pkcs11:token=soft;object=" CERT ";type=cert"

#define OPENING(variable, name, walk, searches, uri)                                               \
    static const struct path variable = { name, SETTINGS, NULL, walk, uri, NULL, 0, searches }

OPENING(open_p256, "open EC", walk_open, 1, P256);
OPENING(open_rsa, "open RSA", walk_open, 1, RSA);
OPENING(open_all, "open all", walk_open_all, 1, P256);
OPENING(open_anywhere, "open on any token", walk_open_all, 1, "pkcs11:object=p256;type=private");
OPENING(open_public, "open public", walk_open, 4, "pkcs11:token=soft;object=p256;type=public");
OPENING(open_certificate, "open certificate", walk_open_all, 2, CERTIFICATE);
OPENING(generate_p256, "generate", walk_generate, 1, NULL);

#define USING(variable, name, settings, key, walk, digest, padding)                                \
    static const struct path variable = { name, settings, key, walk, NULL, digest, padding, 1 }

USING(sign_rsa, "RSA", SETTINGS, "rsa2048", walk_sign, "SHA256", 0);
USING(sign_pss, "PSS", SETTINGS, "rsa2048", walk_sign, "SHA256", RSA_PKCS1_PSS_PADDING);
USING(sign_long, "RSA in pieces", HASHING, "rsa2048", walk_sign_long, "SHA256", 0);
USING(sign_p256, "P-256", SETTINGS, "p256", walk_sign, "SHA256", 0);
USING(sign_p521, "P-521", SETTINGS, "p521", walk_sign, "SHA256", 0);
USING(sign_ed25519, "Ed25519", SETTINGS, "ed25519", walk_sign, NULL, 0);
USING(sign_ed448, "Ed448", SETTINGS, "ED448", walk_sign, NULL, 0);
USING(encrypt_pkcs1, "encrypt PKCS#1", ON_TOKEN, "rsa2048", walk_encrypt, NULL, RSA_PKCS1_PADDING);
USING(encrypt_oaep, "encrypt OAEP", ON_TOKEN, "rsa2048", walk_encrypt, NULL,
      RSA_PKCS1_OAEP_PADDING);
USING(encrypt_raw, "encrypt raw", ON_TOKEN, "rsa2048", walk_encrypt, NULL, RSA_NO_PADDING);
USING(decrypt_pkcs1, "decrypt PKCS#1", SETTINGS, "rsa2048", walk_decrypt, NULL, RSA_PKCS1_PADDING);
USING(decrypt_oaep, "decrypt OAEP", SETTINGS, "rsa2048", walk_decrypt, NULL,
      RSA_PKCS1_OAEP_PADDING);
USING(decrypt_raw, "decrypt raw", SETTINGS, "rsa2048", walk_decrypt, NULL, RSA_NO_PADDING);
USING(derive_p256, "derive", SETTINGS, "p256", walk_derive, NULL, 0);

/* That the operation goes well all the same. */
#define PASSES NULL

/* The error has the function and, as a word of its own, says: the number that is wrong. */
static const struct row {
    const struct path *path;
    const char *rule;
    const char *function, *says;
} rows[] = {
#define SLOTS(path, n)                                                                             \
    {                                                                                              \
        &path, "C_GetSlotList 1 * - count=" #n, "C_GetSlotList", #n                                \
    }
    SLOTS(open_p256, 65),
    SLOTS(open_p256, 10000000),
    SLOTS(open_anywhere, 65),
    SLOTS(open_anywhere, 1000),
    { &open_anywhere, "C_GetSlotList 1 * - count=none", "C_GetSlotList", "" },
    { &open_anywhere, "C_GetSlotList 1 1 CKR_BUFFER_TOO_SMALL after count=100", "", PASSES },

#define FOUND(path, n)                                                                             \
    {                                                                                              \
        &path, "C_FindObjects 1 * - count=" #n, "C_FindObjects", #n                                \
    }
    FOUND(open_p256, 65),
    FOUND(open_p256, 1000),
    FOUND(open_all, 300),
    FOUND(open_public, 1000),
    FOUND(open_certificate, 300),
    FOUND(open_certificate, 1000),
    { &open_p256, "C_FindObjects 1 * - count=none", "C_FindObjects", "" },
    { &open_certificate, "C_FindObjects 1 * - count=none", "C_FindObjects", "" },
    FOUND(generate_p256, 2),
    FOUND(encrypt_oaep, 1000),
    /* a key that is found again */
    { &sign_p256, "C_SignInit 1 1 CKR_KEY_HANDLE_INVALID; C_FindObjects 1 * - count=1000",
      "C_FindObjects", "1000" },
    /* what a pair that was not finished may have left, and what is not ours */
    { &generate_p256,
      "C_GenerateKeyPair 1 1 CKR_DEVICE_ERROR after; C_FindObjects 3 1 - count=1000; "
      "C_DestroyObject 1 * CKR_OK",
      "C_FindObjects", "1000" },

#define SIGN(path, n)                                                                              \
    {                                                                                              \
        &path, "C_Sign 1 * - len=" #n, "C_Sign", #n                                                \
    }
    SIGN(sign_rsa, 0),
    SIGN(sign_rsa, 200),
    SIGN(sign_rsa, 255),
    SIGN(sign_rsa, 257),
    SIGN(sign_rsa, 100000),
    { &sign_rsa, "C_Sign 1 * - len=none", "C_Sign", "" },
    SIGN(sign_pss, 200),
    SIGN(sign_pss, 257),
    SIGN(sign_p256, 0),
    SIGN(sign_p256, 32),
    SIGN(sign_p256, 62),
    SIGN(sign_p256, 63),
    SIGN(sign_p256, 65),
    SIGN(sign_p256, 66),
    SIGN(sign_p256, 100000),
    { &sign_p256, "C_Sign 1 * - len=none", "C_Sign", "" },
    SIGN(sign_p521, 130),
    SIGN(sign_p521, 134),
    SIGN(sign_ed25519, 0),
    SIGN(sign_ed25519, 32),
    SIGN(sign_ed25519, 63),
    SIGN(sign_ed25519, 65),
    SIGN(sign_ed448, 64),
    SIGN(sign_ed448, 113),
    SIGN(sign_ed448, 115),

#define FINAL(n)                                                                                   \
    {                                                                                              \
        &sign_long, "C_SignFinal 1 * - len=" #n, "C_SignFinal", #n                                 \
    }
    FINAL(0),
    FINAL(200),
    FINAL(257),
    FINAL(100000),
    { &sign_long, "C_SignFinal 1 * - len=none", "C_SignFinal", "" },

#define ENCRYPT(path, n)                                                                           \
    {                                                                                              \
        &path, "C_Encrypt 1 * - len=" #n, "C_Encrypt", #n                                          \
    }
    ENCRYPT(encrypt_pkcs1, 0),
    ENCRYPT(encrypt_pkcs1, 255),
    ENCRYPT(encrypt_pkcs1, 257),
    ENCRYPT(encrypt_pkcs1, 100000),
    { &encrypt_pkcs1, "C_Encrypt 1 * - len=none", "C_Encrypt", "" },
    ENCRYPT(encrypt_oaep, 200),
    ENCRYPT(encrypt_oaep, 300),
    ENCRYPT(encrypt_raw, 200),
    ENCRYPT(encrypt_raw, 300),

#define DECRYPT(path, n)                                                                           \
    {                                                                                              \
        &path, "C_Decrypt 1 * - len=" #n, "C_Decrypt", #n                                          \
    }
    DECRYPT(decrypt_oaep, 257),
    DECRYPT(decrypt_oaep, 100000),
    /* openCryptoki's word for a digest of MGF1 that it lacks: then it decrypts without padding */
    { &decrypt_oaep, "C_Decrypt 1 1 - len=none", "", PASSES },
    { &decrypt_oaep, "C_Decrypt 1 2 - len=none", "C_Decrypt", "" },
    DECRYPT(decrypt_raw, 257),
    { &decrypt_raw, "C_Decrypt 1 * - len=none", "C_Decrypt", "" },
    DECRYPT(decrypt_pkcs1, 257),
    { &decrypt_pkcs1, "C_Decrypt 1 * - len=none", "C_Decrypt", "" },
    { &decrypt_pkcs1, "C_GetMechanismInfo 1 * - flags=0; C_Decrypt 1 * - len=257", "C_Decrypt",
      "257" },
    { &decrypt_pkcs1, "C_GetMechanismInfo 1 * - flags=0; C_Decrypt 1 * - len=none", "C_Decrypt",
      "" },

/* Lengths that no CK_ULONG has, and no list of them. */
#if ULONG_MAX > 0xffffffff
#define HALF_ULONG 4
#define ODD_ULONGS 12
#else
#define HALF_ULONG 2
#define ODD_ULONGS 6
#endif
#define ATTRIBUTE(path, type, n) ATTRIBUTE_OF(path, #type, n)
#define ATTRIBUTE_OF(path, name, n)                                                                \
    {                                                                                              \
        &path, "C_GetAttributeValue 1 * CKR_OK after of=" name " len=" #n, "C_GetAttributeValue",  \
            #n                                                                                     \
    }
    ATTRIBUTE(derive_p256, CKA_VALUE, 0),
    ATTRIBUTE(derive_p256, CKA_VALUE, 31),
    ATTRIBUTE(derive_p256, CKA_VALUE, 33),
    ATTRIBUTE(derive_p256, CKA_VALUE, 100000),
    { &derive_p256, "C_GetAttributeValue 1 * - len=none", "C_GetAttributeValue", "" },

    /* larger than the buffer */
    ATTRIBUTE(open_p256, CKA_CLASS, 5000),
    ATTRIBUTE(open_p256, CKA_KEY_TYPE, 5000),
    ATTRIBUTE(open_p256, CKA_ID, 5000),
    ATTRIBUTE(open_p256, CKA_LABEL, 5000),
    ATTRIBUTE(open_p256, CKA_EC_PARAMS, 5000),
    ATTRIBUTE(open_p256, CKA_EC_POINT, 5000),
    ATTRIBUTE(open_p256, CKA_PUBLIC_KEY_INFO, 5000),
    ATTRIBUTE(open_p256, CKA_ALLOWED_MECHANISMS, 5000),
    ATTRIBUTE(open_p256, CKA_ALWAYS_AUTHENTICATE, 5000),
    ATTRIBUTE(open_p256, CKA_SIGN, 5000),
    ATTRIBUTE(open_p256, CKA_DECRYPT, 5000),
    ATTRIBUTE(open_p256, CKA_DERIVE, 5000),
    ATTRIBUTE(open_rsa, CKA_MODULUS, 5000),
    ATTRIBUTE(open_rsa, CKA_PUBLIC_EXPONENT, 5000),
    ATTRIBUTE(open_public, CKA_EC_POINT, 5000),
    ATTRIBUTE(open_certificate, CKA_VALUE, 5000),
    ATTRIBUTE(generate_p256, CKA_EC_POINT, 5000),
    /* no CK_ULONG, no CK_BBOOL, no list of CK_MECHANISM_TYPE */
    ATTRIBUTE(open_p256, CKA_CLASS, 1),
    ATTRIBUTE(open_p256, CKA_CLASS, HALF_ULONG),
    ATTRIBUTE(open_p256, CKA_CLASS, ODD_ULONGS),
    ATTRIBUTE(open_p256, CKA_KEY_TYPE, 1),
    ATTRIBUTE(open_p256, CKA_KEY_TYPE, HALF_ULONG),
    ATTRIBUTE(open_p256, CKA_KEY_TYPE, ODD_ULONGS),
    ATTRIBUTE(open_public, CKA_KEY_TYPE, HALF_ULONG),
    ATTRIBUTE(open_p256, CKA_SIGN, 2),
    ATTRIBUTE(open_p256, CKA_DERIVE, 8),
    ATTRIBUTE(open_p256, CKA_ALWAYS_AUTHENTICATE, 8),
    ATTRIBUTE(open_p256, CKA_ALLOWED_MECHANISMS, HALF_ULONG),
    ATTRIBUTE(open_p256, CKA_ALLOWED_MECHANISMS, ODD_ULONGS),
    /* what the object does not have is "none" for some with CKR_OK; some say with
     * CKR_BUFFER_TOO_SMALL how much they have */
    { &open_p256, "C_GetAttributeValue 1 * CKR_OK after", "", PASSES },
    { &open_rsa, "C_GetAttributeValue 1 * CKR_OK after", "", PASSES },
    { &open_p256, "C_GetAttributeValue 1 * CKR_OK after of=CKA_LABEL len=none", "", PASSES },
    { &open_p256, "C_GetAttributeValue 1 * CKR_OK after of=CKA_LABEL len=0", "", PASSES },
    { &open_p256, "C_GetAttributeValue 1 * CKR_OK after of=CKA_SIGN len=none", "", PASSES },
    { &open_p256, "C_GetAttributeValue 1 * CKR_BUFFER_TOO_SMALL after of=CKA_LABEL len=5000", "",
      PASSES },
    { &open_p256,
      "C_GetAttributeValue 1 * CKR_BUFFER_TOO_SMALL after of=CKA_LABEL len=4611686018427387906", "",
      PASSES },
    { &open_p256,
      "C_GetAttributeValue 1 * CKR_ATTRIBUTE_TYPE_INVALID after of=CKA_LABEL len=100000000", "",
      PASSES },
    { &open_all, "C_GetAttributeValue 1 * CKR_ATTRIBUTE_SENSITIVE after of=CKA_LABEL len=100000000",
      "", PASSES },

    { &sign_rsa, "C_GetMechanismInfo 1 * - flags=0", "", PASSES },
    { &sign_rsa, "C_GetMechanismInfo 1 * - flags=ffffffffffffffff", "", PASSES },
    { &sign_long, "C_GetMechanismInfo 1 * - flags=ffffffffffffffff", "", PASSES },
    { &decrypt_pkcs1, "C_GetMechanismInfo 1 * - flags=0", "", PASSES },
    { &decrypt_oaep, "C_GetMechanismInfo 1 * - flags=0", "", PASSES },
};

/* The keys that the paths use are open already; for opening one, everything is new. */
static void load_key(struct world *world)
{
    const struct path *path = world->path;
    char error[600];
    size_t len = sizeof(world->encrypted);

    if (path->key == NULL)
        return;
    world->key = key_load(world->libctx, path->key, "private");
    if (world->key == NULL) /* the token of the tests has none: a session key */
        world->key = EVP_PKEY_Q_keygen(world->libctx, "provider=pkcs11", path->key);
    if (world->key == NULL)
        fail_msg("no key %s: %s", path->key, last_error(error, sizeof(error)));
    world->peer = EVP_PKEY_Q_keygen(world->libctx, NULL, "EC", "P-256");
    if (path->walk == walk_decrypt)
        assert_true(encrypt(world, world->encrypted, &len));
    ERR_clear_error();
}

static struct world here;

static struct world *world_begin(const struct path *path, const char *settings)
{
    fault("");
    here = (struct world){ .path = path, .libctx = libctx_new_faulty(settings) };
    assert_non_null(here.libctx);
    return &here;
}

/* Also when the test failed. */
static int world_end(void **state)
{
    (void)state;
    fault("");
    EVP_PKEY_free(here.key);
    EVP_PKEY_free(here.peer);
    OSSL_LIB_CTX_free(here.libctx);
    ERR_clear_error();
    return 0;
}

/* Whether text has word between blanks and marks. */
static bool has_word(const char *text, const char *word)
{
    static const char marks[] = " ,.;:()'\"";
    size_t len = strlen(word);

    for (const char *at = text; len != 0 && (at = strstr(at, word)) != NULL; at++)
        if (at > text && strchr(marks, at[-1]) != NULL && strchr(marks, at[len]) != NULL)
            return true;
    return len == 0;
}

static const char *told(const struct row *row, const char *error)
{
    if (strstr(error, row->function) == NULL)
        return "the error does not name the function";
    if (!has_word(error, row->says))
        return "the error does not have what the module said";
    if (strstr(error, "CKR_BUFFER_TOO_SMALL") != NULL)
        return "the error has a value that the module did not return";
    return NULL;
}

static const char *walk_with_lie(struct world *world, const struct row *row, char *error,
                                 size_t size)
{
    bool ok;

    calls_reset();
    ERR_clear_error();
    fault(row->rule);
    ok = world->path->walk(world);
    fault("");
    (void)last_error(error, size);
    ERR_clear_error();
    if (row->says == PASSES)
        return !ok ? "it failed" : !world->right ? "the result is wrong" : NULL;
    if (ok)
        return "it was believed";
    return told(row, error);
}

/* Whether a function that lies for ever was called again after its lie. */
static bool tried_again(const struct row *row)
{
    const char *rule = strstr(row->rule, row->function);

    return row->says != PASSES && strncmp(rule + strlen(row->function), " 1 * ", 5) == 0 &&
           calls(row->function) > row->path->searches;
}

static void test_lie(void **state)
{
    const struct row *row = *state;
    struct world *world = world_begin(row->path, row->path->settings);
    char error[600];
    const char *wrong;

    load_key(world);
    wrong = walk_with_lie(world, row, error, sizeof(error));
    if (wrong != NULL)
        fail_msg("%s: %s", wrong, error);
    if (tried_again(row))
        fail_msg("%s was called %lu times: %s", row->function, calls(row->function), error);
    if (!world->path->walk(world))
        fail_msg("afterwards: %s", last_error(error, sizeof(error)));
    if (!world->right)
        fail_msg("afterwards the result is wrong");
}

/* Texts of C_GetTokenInfo, and how a URI names the token then. */
static const struct text {
    const char *kind, *token;
} texts[] = {
    { "full", "softxxxxxxxxxxxxxxxxxxxxxxxxxxxx" },
    { "nul", "soft" },
    { "nul-inside", "soft%00x" },
    { "control", "soft%1b%5b31m%0d%0a%7f" },
    { "not-utf8", "soft%ff%c3%28%c0%80" },
};

/* Where people read it: no control characters but the ends of lines of a log, and UTF-8. */
static void check_readable(const char *what, const char *text, bool log)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t rest = strlen(text);
    unsigned long character;

    while (rest > 0) {
        int len = UTF8_getc(at, (int)rest, &character);

        if (len <= 0)
            fail_msg("%s is not UTF-8: %s", what, text);
        if ((character < 0x20 && !(log && character == '\n')) || character == 0x7f)
            fail_msg("%s has the control character %lu: %s", what, character, text);
        at += len;
        rest -= (size_t)len;
    }
}

static struct world *text_begin(const struct text *text, const char *settings)
{
    struct world *world = world_begin(&sign_p256, settings);
    char rule[64];

    snprintf(rule, sizeof(rule), "C_GetTokenInfo 1 * - text=%s", text->kind);
    fault(rule);
    ERR_clear_error();
    return world;
}

static void text_open(struct world *world, const char *uri)
{
    char error[600];

    world->key = open_key(world, uri);
    if (world->key == NULL)
        fail_msg("%s: %s", uri, last_error(error, sizeof(error)));
}

/* The token is there, and every text that comes from it can be read. */
static void test_text(void **state)
{
    const struct text *text = *state;
    struct world *world = text_begin(text, SETTINGS ANY_TOKEN);
    char error[600], rule[128];

    assert_null(open_key(world, "pkcs11:token=other;object=p256;type=private"));
    assert_non_null(strstr(last_error(error, sizeof(error)), "the tokens there are: 'soft"));
    check_readable("the list of tokens", error, false);
    text_open(world, "pkcs11:object=p256;type=private");
    assert_true(walk_sign(world) && world->right);
    snprintf(rule, sizeof(rule), "C_GetTokenInfo 1 * - text=%s; C_Sign 1 1 CKR_DATA_INVALID",
             text->kind);
    fault(rule);
    assert_false(walk_sign(world));
    assert_non_null(strstr(last_error(error, sizeof(error)), "CKR_DATA_INVALID"));
    check_readable("the error", error, false);
}

/* A URI with the token's text opens it, and so does the one that the key has for itself. */
static void test_text_in_uri(void **state)
{
    const struct text *text = *state;
    struct world *world = text_begin(text, SETTINGS ANY_TOKEN);
    char uri[256], error[600];
    EVP_PKEY *again;
    BIO *bio;
    bool same;

    snprintf(uri, sizeof(uri), "pkcs11:token=%s;object=p256;type=private", text->token);
    text_open(world, uri);
    bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey_ex(bio, world->key, NULL, NULL, 0, NULL, NULL,
                                                 world->libctx, NULL),
                     1);
    again = PEM_read_bio_PrivateKey_ex(bio, NULL, NULL, NULL, world->libctx, NULL);
    BIO_free(bio);
    if (again == NULL)
        fail_msg("its own URI: %s", last_error(error, sizeof(error)));
    same = EVP_PKEY_eq(world->key, again) == 1;
    EVP_PKEY_free(again);
    assert_true(same);
}

/* A walk with trouble in it, in a process of its own. */
static int walk_logged(const char *kind)
{
    const struct text *text = texts;
    struct world *world;
    char rule[128];

    while (strcmp(text->kind, kind) != 0)
        text++;
    world = text_begin(text, LOGGING ANY_TOKEN);
    text_open(world, "pkcs11:object=p256;type=private");
    snprintf(rule, sizeof(rule), "C_GetTokenInfo 1 * - text=%s; C_SignInit 1 3 CKR_DEVICE_ERROR",
             text->kind);
    fault(rule);
    (void)walk_sign(world);
    return world_end(NULL);
}

static const char *program;

/* What it writes to standard error, which is a file from the process's beginning on. */
static void capture(const struct text *text, char *out, size_t size)
{
    char path[] = "/tmp/bridge-log-XXXXXX";
    int file = mkstemp(path), status;
    ssize_t len;
    pid_t child = fork();

    if (child == 0) {
        (void)dup2(file, STDERR_FILENO);
        (void)execl(program, program, "--log", text->kind, (char *)NULL);
        _exit(9);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    len = pread(file, out, size - 1, 0);
    assert_true(len >= 0);
    out[len] = '\0';
    unlink(path);
    close(file);
    if (status != 0)
        fail_msg("%s", out);
}

/* One line for the trouble, one for its end. */
static void test_text_in_log(void **state)
{
    char log[2000];

    capture(*state, log, sizeof(log));
    assert_non_null(strstr(log, "pkcs11-bridge: token 'soft"));
    check_readable("the log", log, true);
    for (const char *line = log, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        assert_memory_equal(line, "pkcs11-bridge: ", 15);
    }
}

/* A certificate, which the token of the tests has none of. */
static void make_certificate(void)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *x509 = X509_new();
    unsigned char *der = NULL;
    CK_OBJECT_CLASS class = CKO_CERTIFICATE;
    CK_CERTIFICATE_TYPE type = CKC_X_509;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_OBJECT_HANDLE object;
    int len;

    X509_gmtime_adj(X509_getm_notBefore(x509), 0);
    X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
    X509_set_pubkey(x509, key);
    assert_int_not_equal(X509_sign(x509, key, EVP_sha256()), 0);
    len = i2d_X509(x509, &der);
    {
        CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
                                    { CKA_CERTIFICATE_TYPE, &type, sizeof(type) },
                                    { CKA_TOKEN, &yes, sizeof(yes) },
                                    { CKA_PRIVATE, &no, sizeof(no) },
                                    { CKA_LABEL, (void *)(uintptr_t)CERT, strlen(CERT) },
                                    { CKA_SUBJECT, (void *)(uintptr_t) "0\0", 2 },
                                    { CKA_VALUE, der, (CK_ULONG)len } };

        assert_int_equal(
            p11->C_CreateObject(operator_session(true), template, COUNT_OF(template), &object),
            CKR_OK);
    }
    OPENSSL_free(der);
    X509_free(x509);
    EVP_PKEY_free(key);
}

static int prepare(void **state)
{
    (void)state;
    operator_open();
    assert_int_equal(p11->C_Initialize(NULL), CKR_OK);
    make_certificate();
    assert_int_equal(p11->C_Finalize(NULL), CKR_OK);
    return 0;
}

static struct CMUnitTest tests[COUNT_OF(rows) + 3 * COUNT_OF(texts)];
static char names[COUNT_OF(tests)][160];
static size_t count;

static void add_test(const char *name, const char *more, CMUnitTestFunction function,
                     const void *state)
{
    snprintf(names[count], sizeof(names[count]), "%s: %s", name, more);
    tests[count] = (struct CMUnitTest){ .name = names[count],
                                        .test_func = function,
                                        .teardown_func = world_end,
                                        .initial_state = (void *)(uintptr_t)state };
    count++;
}

/* All, or those that match a pattern. */
int main(int argc, char **argv)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        add_test(rows[i].path->name, rows[i].rule, test_lie, &rows[i]);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        add_test("text", texts[i].kind, test_text, &texts[i]);
        add_test("text in a URI", texts[i].kind, test_text_in_uri, &texts[i]);
        add_test("text in the log", texts[i].kind, test_text_in_log, &texts[i]);
        tests[count - 1].teardown_func = NULL; /* its world is in another process */
    }
    memset(message + 1, 'm', sizeof(message) - 1);
    program = argv[0];
    if (argc > 2 && strcmp(argv[1], "--log") == 0)
        return walk_logged(argv[2]);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    limit(550); /* nothing hangs */
    return _cmocka_run_group_tests("lengths", tests, count, prepare, NULL);
}
