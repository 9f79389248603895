/* Memory is short: each allocation of the provider's own fails once, in everything that it does
 * with a key; and libcrypto refuses: each call of it that the provider makes fails once. What is
 * done fails or does without, nothing crashes, and the next time it works. */
#include "refuse.h"
#include "skey.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/store.h>

enum lack { NOTHING, MEMORY, LIBCRYPTO };

static enum lack lack;  /* what fails */
static unsigned until;  /* how many more there are of it before one that does; 0: none */
static char failed[80]; /* which one did, or "" */

static bool fails_now(enum lack what, const char *name)
{
    if (lack != what || until == 0 || --until > 0)
        return false;
    snprintf(failed, sizeof(failed), "%s", name);
    return true;
}

/* The provider's files are src/... in its allocations; libcrypto's own do not fail. */
static bool fails(const char *file)
{
    return file != NULL && strncmp(file, "src/", 4) == 0 && fails_now(MEMORY, file);
}

static bool libcrypto_refuses(const char *function)
{
    return fails_now(LIBCRYPTO, function);
}

static void *get(size_t size, const char *file, int line)
{
    (void)line;
    return fails(file) ? NULL : malloc(size);
}

static void *get_more(void *memory, size_t size, const char *file, int line)
{
    (void)line;
    return fails(file) ? NULL : realloc(memory, size);
}

static void let_go(void *memory, const char *file, int line)
{
    (void)file;
    (void)line;
    free(memory);
}

static OSSL_LIB_CTX *libctx;
static EVP_PKEY *rsa, *ec, *ec_peer;

static bool loads(const char *label, const char *kind)
{
    EVP_PKEY *key = key_load(libctx, label, kind);

    EVP_PKEY_free(key);
    return key != NULL;
}

static bool load_rsa(void)
{
    return loads("rsa2048", "private");
}

static bool load_ec(void)
{
    return loads("p256", "private");
}

static bool load_public(void)
{
    return loads("p256", "public");
}

static bool list(void)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex("pkcs11:token=soft;object=p256", libctx, NULL, NULL,
                                               NULL, NULL, NULL, NULL);
    unsigned count = 0;

    while (store != NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        count += info != NULL;
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return count == 2;
}

static bool sign_with(EVP_PKEY *key, int padding)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new(), *copy = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    unsigned char sig[512];
    size_t len = sizeof(sig);
    bool ok = EVP_DigestSignInit_ex(ctx, &pctx, "SHA256", libctx, NULL, key, NULL) == 1 &&
              (padding == 0 || EVP_PKEY_CTX_set_rsa_padding(pctx, padding) == 1) &&
              EVP_DigestSignUpdate(ctx, "message", 7) == 1 && EVP_MD_CTX_copy_ex(copy, ctx) == 1 &&
              EVP_DigestSignFinal(copy, sig, &len) == 1;

    EVP_MD_CTX_free(copy);
    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool sign_ec(void)
{
    return sign_with(ec, 0);
}

static bool sign_rsa(void)
{
    return sign_with(rsa, RSA_PKCS1_PADDING);
}

static bool sign_pss(void)
{
    return sign_with(rsa, RSA_PKCS1_PSS_PADDING);
}

static bool decrypt(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, rsa, NULL), *copy = NULL;
    unsigned char sealed[256], out[256];
    size_t len = sizeof(sealed), out_len = sizeof(out);
    bool ok = EVP_PKEY_encrypt_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
              EVP_PKEY_encrypt(ctx, sealed, &len, (const unsigned char *)"message", 7) == 1 &&
              EVP_PKEY_decrypt_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
              (copy = EVP_PKEY_CTX_dup(ctx)) != NULL &&
              EVP_PKEY_decrypt(copy, out, &out_len, sealed, len) == 1;

    EVP_PKEY_CTX_free(copy);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool derive(void)
{
    unsigned char secret[32];

    return key_derives(libctx, ec, ec_peer, secret);
}

static bool generate(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "EC", "provider=pkcs11");
    EVP_PKEY *key = NULL;

    if (ctx != NULL && EVP_PKEY_keygen_init(ctx) == 1 &&
        EVP_PKEY_CTX_set_group_name(ctx, "P-256") == 1)
        (void)EVP_PKEY_generate(ctx, &key);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    return key != NULL;
}

static bool write_and_read(void)
{
    BIO *bio = BIO_new(BIO_s_mem());
    EVP_PKEY *key = NULL;

    if (PEM_write_bio_PrivateKey_ex(bio, ec, NULL, NULL, 0, NULL, NULL, libctx, NULL) == 1)
        key = PEM_read_bio_PrivateKey_ex(bio, NULL, NULL, NULL, libctx, NULL);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return key != NULL;
}

static bool write_text(void)
{
    BIO *bio = BIO_new(BIO_s_mem());
    bool ok = EVP_PKEY_print_private(bio, ec, 0, NULL) == 1 && PEM_write_bio_PUBKEY(bio, rsa) == 1;

    BIO_free(bio);
    return ok;
}

/* A software key that is brought here. */
static bool take_software(void)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(libctx, "provider=default", "EC", "P-256"), *ours = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "EC", "provider=pkcs11");
    OSSL_PARAM *params = NULL;
    bool ok = ctx != NULL && EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &params) == 1 &&
              EVP_PKEY_fromdata_init(ctx) == 1 &&
              EVP_PKEY_fromdata(ctx, &ours, EVP_PKEY_KEYPAIR, params) == 1 && sign_with(ours, 0);
    EVP_PKEY *copy = ok ? EVP_PKEY_dup(ours) : NULL;

    ok = copy != NULL;
    EVP_PKEY_free(copy);
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(ours);
    EVP_PKEY_free(key);
    return ok;
}

static bool begin_provider(void)
{
    OSSL_PROVIDER *provider;
    OSSL_LIB_CTX *other = OSSL_LIB_CTX_new();
    bool ok;

    provider = OSSL_PROVIDER_load(other, getenv("BRIDGE_PROVIDER"));
    ok = provider != NULL;
    if (ok)
        OSSL_PROVIDER_unload(provider);
    OSSL_LIB_CTX_free(other);
    return ok;
}

static bool sign_ed25519(void)
{
    static const unsigned char text[] = "message";
    EVP_PKEY *key = key_load(libctx, "ed25519", "private");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char sig[64];
    size_t len = sizeof(sig);
    bool ok = key != NULL && EVP_DigestSignInit_ex(ctx, NULL, NULL, libctx, NULL, key, NULL) == 1 &&
              EVP_DigestSign(ctx, sig, &len, text, sizeof(text)) == 1;

    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok;
}

static bool make_secret(void)
{
    size_t len = 32;
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_size_t(SKEY_KEY_LENGTH, &len),
                                  OSSL_PARAM_construct_end() };
    SKEY *key = EVP_SKEY_generate(libctx, "AES", OURS, params);
    bool ok = key != NULL && EVP_SKEY_get0_key_id(key) != NULL;

    EVP_SKEY_free(key);
    return ok;
}

/* In two pieces, of which the second goes through a copy of the context. */
static bool crypt_with(const char *name, SKEY *key, const unsigned char *iv)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(libctx, name, NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new(), *copy = EVP_CIPHER_CTX_new();
    unsigned char out[64];
    int len = 0;
    bool ok = cipher != NULL && ctx != NULL && copy != NULL &&
              EVP_CipherInit_SKEY(ctx, cipher, key, iv, iv != NULL ? 16 : 0, 1, NULL) == 1 &&
              (iv == NULL || EVP_CipherUpdate(ctx, out, &len, out, 5) == 1) &&
              (iv == NULL || EVP_CIPHER_CTX_copy(copy, ctx) == 1) &&
              EVP_CipherUpdate(iv != NULL ? copy : ctx, out, &len, out, 32) == 1 &&
              EVP_CipherFinal_ex(iv != NULL ? copy : ctx, out, &len) == 1;

    EVP_CIPHER_CTX_free(copy);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    return ok;
}

static bool mac_with(SKEY *key)
{
    EVP_MAC *mac = EVP_MAC_fetch(libctx, "PKCS11-CMAC", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac), *copy = NULL;
    unsigned char out[16];
    size_t len = 0;
    bool ok = ctx != NULL && EVP_MAC_init_SKEY(ctx, key, NULL) == 1 &&
              EVP_MAC_update(ctx, out, 5) == 1 && (copy = EVP_MAC_CTX_dup(ctx)) != NULL &&
              EVP_MAC_final(copy, out, &len, sizeof(out)) == 1;

    EVP_MAC_CTX_free(copy);
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    return ok;
}

static bool use_secret(void)
{
    static const unsigned char iv[16] = { 1 };
    unsigned char bytes[32] = { 7 };
    SKEY *key = EVP_SKEY_import_raw_key(libctx, "AES", bytes, sizeof(bytes), OURS);
    bool ok = key != NULL && crypt_with("PKCS11-AES-256-CBC", key, iv) &&
              crypt_with("PKCS11-AES-256-CTR", key, iv) &&
              crypt_with("PKCS11-AES-256-GCM", key, NULL) && mac_with(key);

    EVP_SKEY_free(key);
    return ok;
}

static const struct {
    const char *name;
    bool (*work)(void);
} works[] = {
    { "load an RSA key", load_rsa },
    { "load an EC key", load_ec },
    { "load a public key", load_public },
    { "list", list },
    { "sign with ECDSA", sign_ec },
    { "sign with RSA", sign_rsa },
    { "sign with PSS", sign_pss },
    { "decrypt", decrypt },
    { "derive", derive },
    { "generate", generate },
    { "write and read PEM", write_and_read },
    { "write text", write_text },
    { "take a software key", take_software },
    { "load the provider", begin_provider },
    { "sign with Ed25519", sign_ed25519 },
    { "make a secret key", make_secret }, /* from here on with EVP_SKEY */
    { "use a secret key", use_secret },
};

/* Each failure of one work, in turn, until it gets to its end before there is one. */
static void fail_each(const char *name, bool (*work)(void), enum lack what)
{
    unsigned n = 0;
    bool ok, again;

    do {
        lack = what;
        until = ++n;
        failed[0] = '\0';
        ok = work();
        again = failed[0] != '\0';
        lack = NOTHING;
        ERR_clear_error();
        if (!work())
            fail_msg("%s: not any more after failure %u, of %s", name, n, failed);
    } while (again && n < 5000);
    assert_true(ok && !again);
    printf("%s: %u failures\n", name, n - 1);
}

static void fail_works(enum lack what)
{
    for (size_t i = 0; i < COUNT_OF(works) - (skey_functions() ? 0 : 2); i++)
        fail_each(works[i].name, works[i].work, what);
}

static void test_memory_short(void **state)
{
    (void)state;
    fail_works(MEMORY);
}

static void test_libcrypto_refuses(void **state)
{
    (void)state;
    fail_works(LIBCRYPTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_memory_short),
                                        cmocka_unit_test(test_libcrypto_refuses) };
    int bad;

    if (CRYPTO_set_mem_functions(get, get_more, let_go) != 1)
        return 1;
    refuse_now = libcrypto_refuses;
    libctx = libctx_new("pkcs11-log = none\npkcs11-retry-ms = 0\n");
    rsa = key_load(libctx, "rsa2048", "private");
    ec = key_load(libctx, "p256", "private");
    ec_peer = EVP_PKEY_Q_keygen(libctx, "provider=default", "EC", "P-256");
    bad = cmocka_run_group_tests(tests, NULL, NULL);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(ec_peer);
    OSSL_LIB_CTX_free(libctx);
    return bad;
}
