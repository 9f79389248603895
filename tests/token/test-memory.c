/* Memory is short: each allocation of the provider's own fails once, in everything that it does
 * with a key; and libcrypto refuses: each call of it that the provider makes fails once. What is
 * done fails or does without, nothing crashes, and the next time it works. */
#include "refuse.h"
#include "skey.h"

#include <stdatomic.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/store.h>

enum lack { NOTHING, MEMORY, CALLS };

static enum lack lack;  /* what fails */
static unsigned until;  /* how many more there are of it before one that does; 0: none */
static char failed[80]; /* which one did, or "" */

static bool fails_now(enum lack what, const char *name)
{
    if (lack != what || atomic_load(&until) == 0 || atomic_fetch_sub(&until, 1) != 1)
        return false;
    snprintf(failed, sizeof(failed), "%s", name);
    return true;
}

/* The provider's files are src/... in its allocations; libcrypto's own do not fail. */
static bool fails(const char *file)
{
    return file != NULL && strncmp(file, "src/", 4) == 0 && fails_now(MEMORY, file);
}

static bool call_refuses(const char *function)
{
    if (!fails_now(CALLS, function))
        return false;
    atomic_store(&refuse_now, NULL);
    return true;
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

static char folder[] = "/tmp/bridge-memory-XXXXXX"; /* with a file of PINs, a trail, counters */
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

/* Signs in software what the token's half has made, or not. */
static bool verifies(EVP_PKEY *key, const char *digest)
{
    static const unsigned char text[] = "message";
    EVP_MD_CTX *ctx = EVP_MD_CTX_new(), *copy = EVP_MD_CTX_new();
    unsigned char sig[512];
    size_t len = sizeof(sig);
    bool ok = key != NULL &&
              EVP_DigestSignInit_ex(ctx, NULL, digest, libctx, NULL, key, NULL) == 1 &&
              EVP_DigestSign(ctx, sig, &len, text, sizeof(text)) == 1 &&
              EVP_DigestVerifyInit_ex(copy, NULL, digest, libctx, NULL, key, NULL) == 1 &&
              EVP_DigestVerify(copy, sig, len, text, sizeof(text)) == 1;

    EVP_MD_CTX_free(copy);
    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool verify_ec(void)
{
    return verifies(ec, "SHA256");
}

static bool verify_rsa(void)
{
    return verifies(rsa, "SHA256");
}

static bool verify_ed25519(void)
{
    EVP_PKEY *key = key_load(libctx, "ed25519", "private");
    bool ok = verifies(key, NULL);

    EVP_PKEY_free(key);
    return ok;
}

static bool recover(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, rsa, NULL), *copy = NULL;
    unsigned char text[] = "message", sig[256], out[256];
    size_t len = sizeof(sig), out_len = sizeof(out);
    bool ok = EVP_PKEY_sign_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
              (copy = EVP_PKEY_CTX_dup(ctx)) != NULL &&
              EVP_PKEY_sign(copy, sig, &len, text, sizeof(text)) == 1 &&
              EVP_PKEY_verify_recover_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
              EVP_PKEY_verify_recover(ctx, out, &out_len, sig, len) == 1 &&
              out_len == sizeof(text) && memcmp(out, text, out_len) == 0;

    EVP_PKEY_CTX_free(copy);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* PSS with everything set that there is, and copied. */
static bool sign_pss_settled(void)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new(), *copy = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    unsigned char sig[256];
    size_t len = sizeof(sig);
    bool ok = EVP_DigestSignInit_ex(ctx, &pctx, "SHA256", libctx, NULL, rsa, NULL) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
              EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, 20) == 1 &&
              EVP_PKEY_CTX_set_rsa_mgf1_md_name(pctx, "SHA256", NULL) == 1 &&
              EVP_DigestSignUpdate(ctx, "message", 7) == 1 && EVP_MD_CTX_copy_ex(copy, ctx) == 1 &&
              EVP_DigestSignFinal(copy, sig, &len) == 1;

    EVP_MD_CTX_free(copy);
    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool check_keys(void)
{
    EVP_PKEY *const keys[] = { rsa, ec };
    bool ok = true;

    for (size_t i = 0; i < COUNT_OF(keys) && ok; i++) {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, keys[i], NULL);
        EVP_PKEY *copy = EVP_PKEY_dup(keys[i]);
        OSSL_PARAM *params = NULL;

        ok = ctx != NULL && copy != NULL && EVP_PKEY_public_check(ctx) == 1 &&
             EVP_PKEY_public_check_quick(ctx) == 1 && EVP_PKEY_pairwise_check(ctx) == 1 &&
             EVP_PKEY_eq(keys[i], copy) == 1 &&
             EVP_PKEY_todata(keys[i], EVP_PKEY_PUBLIC_KEY, &params) == 1;
        OSSL_PARAM_free(params);
        EVP_PKEY_free(copy);
        EVP_PKEY_CTX_free(ctx);
    }
    return ok;
}

/* With a KDF, which works on the host, and a context that is copied. */
static bool derive_kdf(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, ec, NULL), *copy = NULL;
    unsigned char out[40], *ukm = OPENSSL_zalloc(8);
    size_t len = sizeof(out);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, (char *)"X963KDF", 0),
        OSSL_PARAM_construct_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_EXCHANGE_PARAM_KDF_UKM, ukm, 8),
        OSSL_PARAM_construct_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, &len),
        OSSL_PARAM_construct_end(),
    };
    bool ok = EVP_PKEY_derive_init_ex(ctx, params) == 1 &&
              EVP_PKEY_derive_set_peer(ctx, ec_peer) == 1 &&
              (copy = EVP_PKEY_CTX_dup(ctx)) != NULL && EVP_PKEY_derive(copy, out, &len) == 1 &&
              len == sizeof(out);

    EVP_PKEY_CTX_free(copy);
    EVP_PKEY_CTX_free(ctx);
    OPENSSL_free(ukm);
    return ok;
}

/* A software key that came to this provider, with and without a password. */
static bool write_software(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "EC", "provider=pkcs11");
    EVP_PKEY *key = EVP_PKEY_Q_keygen(libctx, "provider=default", "EC", "P-256"), *ours = NULL;
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(libctx, "AES-256-CBC", NULL);
    OSSL_PARAM *params = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    bool ok = ctx != NULL && EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &params) == 1 &&
              EVP_PKEY_fromdata_init(ctx) == 1 &&
              EVP_PKEY_fromdata(ctx, &ours, EVP_PKEY_KEYPAIR, params) == 1 &&
              PEM_write_bio_PKCS8PrivateKey(bio, ours, NULL, NULL, 0, NULL, NULL) == 1 &&
              PEM_write_bio_PKCS8PrivateKey(bio, ours, cipher, "secret", 6, NULL, NULL) == 1 &&
              EVP_PKEY_print_private(bio, ours, 0, NULL) == 1;

    BIO_free(bio);
    OSSL_PARAM_free(params);
    EVP_CIPHER_free(cipher);
    EVP_PKEY_free(ours);
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* A generator that has the token's for its parent. */
static bool seed(void)
{
    EVP_RAND *ours = EVP_RAND_fetch(libctx, "PKCS11-RAND", NULL);
    EVP_RAND *other = EVP_RAND_fetch(libctx, "CTR-DRBG", NULL);
    EVP_RAND_CTX *parent = EVP_RAND_CTX_new(ours, NULL);
    EVP_RAND_CTX *child = parent != NULL ? EVP_RAND_CTX_new(other, parent) : NULL;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_DRBG_PARAM_CIPHER, (char *)"AES-256-CTR", 0),
        OSSL_PARAM_construct_end(),
    };
    unsigned char out[32];
    bool ok = child != NULL && EVP_RAND_instantiate(parent, 256, 0, NULL, 0, NULL) == 1 &&
              EVP_RAND_instantiate(child, 256, 0, NULL, 0, params) == 1 &&
              EVP_RAND_generate(child, out, sizeof(out), 256, 0, NULL, 0) == 1;

    EVP_RAND_CTX_free(child);
    EVP_RAND_CTX_free(parent);
    EVP_RAND_free(other);
    EVP_RAND_free(ours);
    return ok;
}

/* A provider with files of all kinds, from its beginning to its end. */
static bool use_files(void)
{
    char settings[512];
    OSSL_LIB_CTX *other;
    EVP_PKEY *key;
    bool ok;

    snprintf(settings, sizeof(settings),
             "pkcs11-token-pins = file:%s/pins\npkcs11-audit = %s/audit\npkcs11-audit-chain = yes\n"
             "pkcs11-metrics = %s\npkcs11-log = none\npkcs11-retry-ms = 0\n",
             folder, folder, folder);
    other = libctx_new(settings);
    key = other != NULL ? key_load(other, "p256", "private") : NULL;
    ok = key != NULL && key_signs(other, key);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(other);
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
    bool leaks; /* a token has leaks of its own there, which are only known by whole stacks */
} works[] = {
    { "load an RSA key", load_rsa, false },
    { "load an EC key", load_ec, false },
    { "load a public key", load_public, false },
    { "list", list, false },
    { "sign with ECDSA", sign_ec, false },
    { "sign with RSA", sign_rsa, false },
    { "sign with PSS", sign_pss, false },
    { "decrypt", decrypt, false },
    { "derive", derive, false },
    { "generate", generate, false },
    { "write and read PEM", write_and_read, false },
    { "write text", write_text, false },
    { "take a software key", take_software, false },
    { "load the provider", begin_provider, false },
    { "sign with Ed25519", sign_ed25519, true },
    { "verify with ECDSA", verify_ec, false },
    { "verify with RSA", verify_rsa, false },
    { "verify with Ed25519", verify_ed25519, true },
    { "recover", recover, false },
    { "sign with PSS, everything set", sign_pss_settled, false },
    { "check keys", check_keys, false },
    { "derive with a KDF", derive_kdf, false },
    { "write a software key", write_software, false },
    { "seed a generator", seed, false },
    { "use files", use_files, false },
    { "make a secret key", make_secret, true }, /* from here on with EVP_SKEY */
    { "use a secret key", use_secret, true },
};

/* Each failure of one work, in turn, until it gets to its end before there is one. */
static void fail_each(const char *name, bool (*work)(void), enum lack what)
{
    char error[600];
    unsigned n = 0;
    bool ok, again;

    if (!work())
        fail_msg("%s: not at all: %s", name, last_error(error, sizeof(error)));
    do {
        lack = what;
        atomic_store(&refuse_now, what == CALLS ? call_refuses : NULL);
        atomic_store(&until, ++n);
        failed[0] = '\0';
        ok = work();
        again = failed[0] != '\0';
        lack = NOTHING;
        atomic_store(&refuse_now, NULL);
        ERR_clear_error();
        if (!work())
            fail_msg("%s: not any more after failure %u, of %s", name, n, failed);
    } while (again && n < 5000);
    assert_true(ok && !again);
    printf("%s: %u failures\n", name, n - 1);
}

static const char *only; /* this work, NULL: all that the token does not leak in */
static bool leaks;       /* those that it does */

static void fail_works(enum lack what)
{
    for (size_t i = 0; i < COUNT_OF(works) - (skey_functions() ? 0 : 2); i++)
        if (only != NULL ? strcmp(only, works[i].name) == 0 : works[i].leaks == leaks)
            fail_each(works[i].name, works[i].work, what);
}

static void test_memory_short(void **state)
{
    (void)state;
    fail_works(MEMORY);
}

static void test_calls_refused(void **state)
{
    (void)state;
    fail_works(CALLS);
}

static void folder_begin(void)
{
    char path[64];
    FILE *pins;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/pins", folder);
    pins = fopen(path, "w");
    assert_non_null(pins);
    (void)fputs("pkcs11:token=soft 1234\n", pins);
    (void)fclose(pins);
}

static void folder_end(void)
{
    char command[64];

    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

/* test-memory [leaks|WORK] */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_memory_short),
                                        cmocka_unit_test(test_calls_refused) };
    int bad;

    if (CRYPTO_set_mem_functions(get, get_more, let_go) != 1)
        return 1;
    leaks = argc > 1 && strcmp(argv[1], "leaks") == 0;
    only = argc > 1 && !leaks ? argv[1] : NULL;
    folder_begin();
    libctx = libctx_new("pkcs11-log = none\npkcs11-retry-ms = 0\n");
    rsa = key_load(libctx, "rsa2048", "private");
    ec = key_load(libctx, "p256", "private");
    ec_peer = EVP_PKEY_Q_keygen(libctx, "provider=default", "EC", "P-256");
    bad = cmocka_run_group_tests(tests, NULL, NULL);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(ec_peer);
    OSSL_LIB_CTX_free(libctx);
    folder_end();
    return bad;
}
