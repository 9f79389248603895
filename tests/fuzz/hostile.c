/* A hostile token: the provider as applications use it, with a module that lies where the input
 * says so (hostile/lies.h). The input: what the token is like, how the provider is configured, what
 * is done, the lies, and at its end the bytes that they take content from. */
#include "fuzz.h"

#include <pthread.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <openssl/x509.h>

#include "hostile/doer.h"
#include "hostile/leave.h"
#include "hostile/seed.h"
#include "hostile/token.h"
#include "hostile/wrap.h"

OSSL_provider_init_fn OSSL_provider_init;
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

#define PIN PIN_MARK "1"

/* How the provider is configured. */
enum setting {
    PUBLIC_ON_TOKEN = 1,
    TOKEN_HASHES = 2,
    COPIES = 4,
    LOGIN_ALWAYS = 8,
    AMBIGUOUS_FIRST = 16,
    EPHEMERAL_ON_TOKEN = 32,
    ONE_SESSION = 64,
    OF_NOW = 128, /* for a newer libcrypto */
};

/* Each in a library context of its own, which is made once: that takes longer than all the rest. */
static struct world {
    unsigned settings;
    OSSL_LIB_CTX *libctx;
    OSSL_PROVIDER *loaded;
} worlds[] = {
    { 0, NULL, NULL },
    { PUBLIC_ON_TOKEN | LOGIN_ALWAYS, NULL, NULL },
    { TOKEN_HASHES | COPIES, NULL, NULL },
    { AMBIGUOUS_FIRST | EPHEMERAL_ON_TOKEN, NULL, NULL },
    { ONE_SESSION, NULL, NULL },
    { ONE_SESSION | COPIES | PUBLIC_ON_TOKEN, NULL, NULL },
    { LOGIN_ALWAYS | TOKEN_HASHES | EPHEMERAL_ON_TOKEN, NULL, NULL },
    { AMBIGUOUS_FIRST | COPIES | PUBLIC_ON_TOKEN, NULL, NULL },
    { OF_NOW, NULL, NULL },
    { OF_NOW | PUBLIC_ON_TOKEN | COPIES, NULL, NULL },
    { OF_NOW | ONE_SESSION | AMBIGUOUS_FIRST, NULL, NULL },
};

OSSL_LIB_CTX *libctx;
OSSL_PROVIDER *loaded;
static bool show; /* FUZZ_SHOW is set: the errors are told */

static const char *const uris[] = {
    "pkcs11:token=soft;object=ec;type=private",
    "pkcs11:token=soft;object=rsa;type=private",
    "pkcs11:token=soft;object=ed;type=private",
    "pkcs11:token=soft;object=x;type=private",
    "pkcs11:object=ec",
    "pkcs11:id=%02",
    "pkcs11:token=soft",
    "pkcs11:type=private",
    "pkcs11:token=soft;object=rsa;type=public",
    "pkcs11:object=ec;type=cert",
    "pkcs11:token=soft;object=twin;type=private",
    "pkcs11:slot-id=0;slot-description=bay;library-description=library;object=rsa",
    "pkcs11:type=secret-key",
    "pkcs11:token=other;object=ec",
    "pkcs11:token=soft;object=made;type=private",
    "pkcs11:manufacturer=maker;id=%01;type=private?pin-value=" PIN,
};

/* In the place of the last where the token has them. */
static const char *const newer_uris[] = {
    "pkcs11:token=soft;object=dsa;type=private",
    "pkcs11:token=soft;object=kem;type=private",
    "pkcs11:token=soft;object=kem;type=public",
    "pkcs11:id=%08",
};

static bool of_now; /* the input under way has a newer libcrypto */

static const char *uri_of(unsigned how)
{
    const size_t newer = of_now ? COUNT_OF(newer_uris) : 0;
    const size_t index = how % COUNT_OF(uris), older = COUNT_OF(uris) - newer;

    return index < older ? uris[index] : newer_uris[index - older];
}

void touch(const void *data, size_t len, size_t most)
{
    static volatile unsigned char sum;

    hold(len <= most);
    for (size_t i = 0; i < len; i++)
        sum = (unsigned char)(sum ^ ((const unsigned char *)data)[i]);
}

void secret_ask(void)
{
    hostile_secret_len = SECRET_UNTOLD;
}

void secret_hold(size_t len)
{
    hold(hostile_secret_len == SECRET_UNTOLD || hostile_secret_len == len);
}

void secret_hold_part(size_t len)
{
    hold(hostile_secret_len == SECRET_UNTOLD || hostile_secret_len >= len);
}

/* Nobody gets to see a PIN. */
static void errors_check(void)
{
    const char *text, *function, *file;
    int line, flags;

    while (ERR_get_error_all(&file, &line, &function, &text, &flags) != 0) {
        hold((flags & ERR_TXT_STRING) == 0 || strstr(text, PIN) == NULL);
        if (show && (flags & ERR_TXT_STRING) != 0)
            (void)fprintf(stderr, "%s\n", text);
    }
}

static void take(struct doer *doer, EVP_PKEY *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(doer->key);
    doer->key = key;
}

/* No key of a parameter set comes of numbers that are none. */
static void set_hold(const EVP_PKEY *key)
{
    if (hostile_sets_wrong != 0 && hostile_sets_right == 0)
        hold(!EVP_PKEY_is_a(key, "ML-KEM-512") && !EVP_PKEY_is_a(key, "ML-DSA-44"));
}

static void look_at(struct doer *doer, const OSSL_STORE_INFO *info)
{
    unsigned char *der = NULL;
    int len;

    switch (OSSL_STORE_INFO_get_type(info)) {
    case OSSL_STORE_INFO_PKEY:
        set_hold(OSSL_STORE_INFO_get0_PKEY(info));
        take(doer, OSSL_STORE_INFO_get1_PKEY(info));
        break;
    case OSSL_STORE_INFO_PUBKEY:
        set_hold(OSSL_STORE_INFO_get0_PUBKEY(info));
        take(doer, OSSL_STORE_INFO_get1_PUBKEY(info));
        break;
    case OSSL_STORE_INFO_CERT:
        len = i2d_X509(OSSL_STORE_INFO_get0_CERT(info), &der);
        if (len > 0)
            touch(der, (size_t)len, (size_t)len);
        OPENSSL_free(der);
        break;
    default:
        break;
    }
}

static void search(OSSL_STORE_CTX *store, unsigned how)
{
    X509_NAME *name = X509_NAME_new();
    ASN1_INTEGER *serial = ASN1_INTEGER_new();
    OSSL_STORE_SEARCH *by = NULL;

    (void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"ec", -1, -1,
                                     0);
    (void)ASN1_INTEGER_set(serial, 1);
    if (how % 4 == 1)
        by = OSSL_STORE_SEARCH_by_alias("rsa");
    else if (how % 4 == 2)
        by = OSSL_STORE_SEARCH_by_name(name);
    else if (how % 4 == 3)
        by = OSSL_STORE_SEARCH_by_issuer_serial(name, serial);
    if (by != NULL && OSSL_STORE_expect(store, OSSL_STORE_INFO_CERT) == 1)
        (void)OSSL_STORE_find(store, by);
    OSSL_STORE_SEARCH_free(by);
    ASN1_INTEGER_free(serial);
    X509_NAME_free(name);
}

static void open_uri(struct doer *doer, const char *uri, int expected, unsigned how, unsigned most)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, libctx, NULL, NULL, NULL, NULL, NULL, NULL);

    if (store == NULL)
        return;
    if (expected != 0)
        (void)OSSL_STORE_expect(store, expected);
    search(store, how);
    while (!OSSL_STORE_eof(store) && most-- > 0) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info != NULL)
            look_at(doer, info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
}

static void do_open(struct doer *doer, unsigned how)
{
    open_uri(doer, uri_of(how), 0, 0, 1);
}

static void do_open_expected(struct doer *doer, unsigned how)
{
    static const int expected[] = { OSSL_STORE_INFO_PKEY, OSSL_STORE_INFO_PUBKEY,
                                    OSSL_STORE_INFO_CERT };

    open_uri(doer, uri_of(how), expected[how / 16 % 3], 0, 2);
}

static void do_list(struct doer *doer, unsigned how)
{
    open_uri(doer, uris[how % 4 + 4], 0, how / 4, 12);
}

static bool is_rsa(const struct doer *doer)
{
    return EVP_PKEY_is_a(doer->key, "RSA");
}

static bool hashes(const struct doer *doer)
{
    return is_rsa(doer) || EVP_PKEY_is_a(doer->key, "EC");
}

static void do_sign(struct doer *doer, unsigned how)
{
    static const char *const digests[] = { "SHA256", "SHA1", "SHA512", "SHA3-256" };
    static const int paddings[] = { RSA_PKCS1_PADDING, RSA_PKCS1_PSS_PADDING };
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    size_t most = 0, len;
    unsigned char *out;
    bool ok = EVP_DigestSignInit_ex(ctx, &pctx, hashes(doer) ? digests[how / 4 % 4] : NULL, libctx,
                                    NULL, doer->key, NULL) == 1;

    if (ok && is_rsa(doer))
        ok = EVP_PKEY_CTX_set_rsa_padding(pctx, paddings[how % 2]) == 1;
    if (ok && (how & 2) != 0 && hashes(doer))
        ok = EVP_DigestSignUpdate(ctx, "message", 7) == 1 &&
             EVP_DigestSignFinal(ctx, NULL, &most) == 1;
    else
        ok = ok && EVP_DigestSign(ctx, NULL, &most, (const unsigned char *)"message", 7) == 1;
    out = malloc(most);
    len = most;
    if (ok && (how & 2) != 0 && hashes(doer))
        ok = EVP_DigestSignFinal(ctx, out, &len) == 1;
    else
        ok = ok && EVP_DigestSign(ctx, out, &len, (const unsigned char *)"message", 7) == 1;
    if (ok)
        touch(out, len, most);
    free(out);
    EVP_MD_CTX_free(ctx);
}

static bool padding_set(EVP_PKEY_CTX *ctx, unsigned how)
{
    static const int paddings[] = { RSA_PKCS1_PADDING, RSA_PKCS1_OAEP_PADDING, RSA_NO_PADDING,
                                    RSA_PKCS1_WITH_TLS_PADDING };
    unsigned version = 0x0303;
    OSSL_PARAM params[] = { OSSL_PARAM_construct_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION,
                                                      &version),
                            OSSL_PARAM_construct_end() };

    return EVP_PKEY_CTX_set_rsa_padding(ctx, paddings[how % 4]) == 1 &&
           (how % 4 != 3 || EVP_PKEY_CTX_set_params(ctx, params) == 1);
}

static void do_decrypt(struct doer *doer, unsigned how)
{
    unsigned char in[256] = { 1 };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, doer->key, NULL);
    size_t most = 0, len, in_len = (size_t)EVP_PKEY_get_size(doer->key);
    unsigned char *out;

    if (ctx != NULL && EVP_PKEY_decrypt_init(ctx) == 1 && padding_set(ctx, how) &&
        in_len <= sizeof(in) && EVP_PKEY_decrypt(ctx, NULL, &most, in, in_len) == 1) {
        out = malloc(most);
        len = most;
        if (EVP_PKEY_decrypt(ctx, out, &len, in, in_len) == 1)
            touch(out, len, most);
        free(out);
    }
    EVP_PKEY_CTX_free(ctx);
}

static void do_encrypt(struct doer *doer, unsigned how)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, doer->key, NULL);
    size_t most = 0, len;
    unsigned char *out;

    if (ctx != NULL && EVP_PKEY_encrypt_init(ctx) == 1 && padding_set(ctx, how % 2) &&
        EVP_PKEY_encrypt(ctx, NULL, &most, (const unsigned char *)"message", 7) == 1) {
        out = malloc(most);
        len = most;
        if (EVP_PKEY_encrypt(ctx, out, &len, (const unsigned char *)"message", 7) == 1)
            touch(out, len, most);
        free(out);
    }
    EVP_PKEY_CTX_free(ctx);
}

static void do_verify(struct doer *doer, unsigned how)
{
    unsigned char signature[256];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = (size_t)EVP_PKEY_get_size(doer->key);

    memset(signature, 0x55, sizeof(signature));
    if (len <= sizeof(signature) &&
        EVP_DigestVerifyInit_ex(ctx, NULL, hashes(doer) ? "SHA256" : NULL, libctx, NULL, doer->key,
                                NULL) == 1)
        (void)EVP_DigestVerify(ctx, signature, how % 2 != 0 ? len : len / 2,
                               (const unsigned char *)"message", 7);
    EVP_MD_CTX_free(ctx);
}

static void do_derive(struct doer *doer, unsigned how)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, doer->key, NULL);
    EVP_PKEY *peer = (how & 1) != 0 && doer->peer != NULL ? doer->peer : doer->key;
    size_t most = 0, len;
    unsigned char *out;

    if (ctx != NULL && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, peer) == 1 &&
        EVP_PKEY_derive(ctx, NULL, &most) == 1) {
        out = malloc(most);
        len = most;
        secret_ask();
        if (EVP_PKEY_derive(ctx, out, &len) == 1) {
            secret_hold(len);
            touch(out, len, most);
        }
        free(out);
    }
    EVP_PKEY_CTX_free(ctx);
}

static void do_generate(struct doer *doer, unsigned how)
{
    static const char *const types[] = { "EC", "RSA", "ED25519", "X25519" };
    static char group[] = "P-256", uri[] = "pkcs11:token=soft;object=made;id=%09";
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, types[how % 4], "provider=pkcs11");
    OSSL_PARAM params[3], *p = params;
    EVP_PKEY *key = NULL;

    if (how % 4 == 0)
        *p++ = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
    if ((how & 4) == 0)
        *p++ = OSSL_PARAM_construct_utf8_string("pkcs11_uri", uri, 0);
    *p = OSSL_PARAM_construct_end();
    if (ctx != NULL && EVP_PKEY_keygen_init(ctx) == 1 &&
        (how % 4 != 1 || EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 1024) == 1) &&
        EVP_PKEY_CTX_set_params(ctx, params) == 1)
        (void)EVP_PKEY_generate(ctx, &key);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(doer->peer);
    doer->peer = doer->key;
    doer->key = NULL;
    take(doer, key);
}

/* With another object of the token. */
static void do_wrap(struct doer *doer, unsigned how)
{
    size_t len = 0;
    unsigned char *blob = hostile_wrap(loaded, uris[how % COUNT_OF(uris)], how, &len);

    (void)doer;
    if (blob != NULL)
        touch(blob, len, HOSTILE_WRAPPED_MOST);
    OPENSSL_free(blob);
}

/* With AES or RSA; a key without its public half, or with that of the doer's. */
static void do_unwrap(struct doer *doer, unsigned how)
{
    static unsigned char blob[301];
    static char uri[] = "pkcs11:token=soft;object=unwrapped",
                with[][24] = { "pkcs11:object=rsa", "pkcs11:object=aes" };
    EVP_PKEY_CTX *ctx =
        EVP_PKEY_CTX_new_from_name(libctx, how & 1 ? "RSA" : "EC", "provider=pkcs11");
    OSSL_PARAM *half = NULL, *all,
               params[] = {
                   OSSL_PARAM_construct_octet_string("pkcs11_wrapped", blob, 300 + how % 2),
                   OSSL_PARAM_construct_utf8_string("pkcs11_wrapped_with", with[how / 4 % 2], 0),
                   OSSL_PARAM_construct_utf8_string("pkcs11_uri", uri, 0),
                   OSSL_PARAM_construct_end()
               };
    EVP_PKEY *key = NULL;

    if (doer->key != NULL && (how & 2) != 0)
        (void)EVP_PKEY_todata(doer->key, EVP_PKEY_PUBLIC_KEY, &half);
    all = OSSL_PARAM_merge(half, params);
    if (ctx != NULL && all != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, all);
    OPENSSL_free(all);
    OSSL_PARAM_free(half);
    EVP_PKEY_CTX_free(ctx);
    take(doer, key);
}

#ifndef OSSL_FUNC_STORE_DELETE /* OpenSSL 3.2 */
#define OSSL_FUNC_STORE_DELETE 9
#endif

/* OSSL_STORE_delete is of OpenSSL 3.2, and does this. */
static void do_delete(struct doer *doer, unsigned how)
{
    int (*delete_object)(void *provctx, const char *uri, const OSSL_PARAM params[],
                         OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_arg) = NULL;
    int no_cache;
    const OSSL_ALGORITHM *store = OSSL_PROVIDER_query_operation(loaded, OSSL_OP_STORE, &no_cache);

    (void)doer;
    if (store == NULL)
        return;
    for (const OSSL_DISPATCH *f = store->implementation; f->function_id != 0; f++)
        if (f->function_id == OSSL_FUNC_STORE_DELETE)
            *(void (**)(void)) & delete_object = f->function;
    (void)delete_object(OSSL_PROVIDER_get0_provider_ctx(loaded), uri_of(how), NULL, NULL, NULL);
}

static void do_export(struct doer *doer, unsigned how)
{
    static const char *const formats[] = { "DER", "PEM", "TEXT" };
    static const int selections[] = { EVP_PKEY_PUBLIC_KEY, EVP_PKEY_KEYPAIR };
    OSSL_ENCODER_CTX *ctx = OSSL_ENCODER_CTX_new_for_pkey(doer->key, selections[how % 2],
                                                          formats[how / 2 % 3], NULL, NULL);
    unsigned char *data = NULL;
    size_t len = 0;

    if (OSSL_ENCODER_to_data(ctx, &data, &len) == 1)
        touch(data, len, len);
    OPENSSL_free(data);
    OSSL_ENCODER_CTX_free(ctx);
}

/* PEM that names a key, as a file has it. */
static void do_decode(struct doer *doer, unsigned how)
{
    static const char pem[] = "-----BEGIN PKCS#11 PROVIDER URI-----\n"
                              "MEYaGVBLQ1MjMTEgUHJvdmlkZXIgVVJJIHYxLjAMKXBrY3MxMTp0b2tlbj1zb2Z0\n"
                              "O29iamVjdD1yc2E7dHlwZT1wcml2YXRl\n"
                              "-----END PKCS#11 PROVIDER URI-----\n";
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = NULL;
    OSSL_DECODER_CTX *ctx = OSSL_DECODER_CTX_new_for_pkey(
        &key, "PEM", NULL, "RSA", how % 2 != 0 ? EVP_PKEY_KEYPAIR : 0, libctx, NULL);

    (void)OSSL_DECODER_from_bio(ctx, bio);
    OSSL_DECODER_CTX_free(ctx);
    BIO_free(bio);
    take(doer, key);
}

static void do_random(struct doer *doer, unsigned how)
{
    EVP_RAND *rand = EVP_RAND_fetch(libctx, "PKCS11-RAND", NULL);
    EVP_RAND_CTX *ctx = rand != NULL ? EVP_RAND_CTX_new(rand, NULL) : NULL;
    unsigned char *out = malloc(how + 1);

    (void)doer;
    if (ctx != NULL && EVP_RAND_instantiate(ctx, 128, 0, NULL, 0, NULL) == 1 &&
        EVP_RAND_generate(ctx, out, how + 1, 0, 0, NULL, 0) == 1)
        touch(out, how + 1, how + 1);
    free(out);
    EVP_RAND_CTX_free(ctx);
    EVP_RAND_free(rand);
}

static void do_ask(struct doer *doer, unsigned how)
{
    char name[80];
    size_t len;
    BIGNUM *n = NULL;
    EVP_PKEY *copy = EVP_PKEY_dup(doer->key);

    (void)EVP_PKEY_get_bits(doer->key);
    (void)EVP_PKEY_get_security_bits(doer->key);
    (void)EVP_PKEY_get_utf8_string_param(doer->key, OSSL_PKEY_PARAM_GROUP_NAME, name, sizeof(name),
                                         &len);
    (void)EVP_PKEY_get_bn_param(doer->key, OSSL_PKEY_PARAM_RSA_N, &n);
    if (doer->peer != NULL && how % 2 != 0)
        (void)EVP_PKEY_eq(doer->key, doer->peer);
    BN_free(n);
    EVP_PKEY_free(copy);
}

static const struct doing doings[] = {
    { "open", do_open, NO_KEY },
    { "open", do_open, NO_KEY },
    { "open-expected", do_open_expected, NO_KEY },
    { "list", do_list, NO_KEY },
    { "sign", do_sign, A_KEY },
    { "sign", do_sign, A_KEY },
    { "decrypt", do_decrypt, A_KEY },
    { "decrypt", do_decrypt, A_KEY },
    { "derive", do_derive, A_KEY },
    { "generate", do_generate, NO_KEY },
    { "delete", do_delete, NO_KEY },
    { "export", do_export, A_KEY },
    { "encrypt", do_encrypt, A_KEY },
    { "verify", do_verify, A_KEY },
    { "decode", do_decode, NO_KEY },
    { "random", do_random, NO_KEY },
    { "ask", do_ask, A_KEY },
    { "wrap", do_wrap, NO_KEY },
    { "unwrap", do_unwrap, NO_KEY },
};

/* A newer libcrypto does what an older one does, and more. */
static const struct doing *doing_of(uint8_t byte)
{
    const size_t what = byte % (COUNT_OF(doings) + newer_doing_count);

    if (what >= COUNT_OF(doings) && of_now)
        return &newer_doings[what - COUNT_OF(doings)];
    return &doings[what % COUNT_OF(doings)];
}

const char *doing_name(unsigned number)
{
    if (number < COUNT_OF(doings))
        return doings[number].name;
    number -= COUNT_OF(doings);
    return number < newer_doing_count ? newer_doings[number].name : NULL;
}

static bool has(const struct doer *doer, const struct doing *doing)
{
    return doing->with == NO_KEY ||
           (doing->with == A_KEY ? (void *)doer->key : doer->secret) != NULL;
}

static const uint8_t *todo;

static void *run(void *arg)
{
    struct doer *doer = arg;

    for (size_t i = 0; i < DOINGS; i++) {
        const uint8_t *what = todo + i * DOING_LEN;
        const struct doing *doing = doing_of(what[0]);

        if (what[0] == NO_DOING || !has(doer, doing))
            continue;
        doing->work(doer, what[1]);
        errors_check();
    }
    return NULL;
}

/* One thread, or two with a key in common. */
static void run_all(bool two)
{
    struct doer doers[2] = { { NULL, NULL, NULL }, { NULL, NULL, NULL } };
    pthread_t thread;

    if (two) {
        do_open(&doers[0], todo[1]);
        errors_check();
        if (doers[0].key != NULL && EVP_PKEY_up_ref(doers[0].key) == 1)
            doers[1].key = doers[0].key;
        hold(pthread_create(&thread, NULL, run, &doers[1]) == 0);
    }
    (void)run(&doers[0]);
    if (two)
        hold(pthread_join(thread, NULL) == 0);
    for (size_t i = 0; i < COUNT_OF(doers); i++) {
        EVP_PKEY_free(doers[i].key);
        EVP_PKEY_free(doers[i].peer);
        if (of_now)
            newer_free(&doers[i]);
    }
}

/* What a module does that uses libcrypto, and finds the provider there. */
static void call_back(void)
{
    struct doer doer = { NULL, NULL, NULL };

    do_open(&doer, 0);
    EVP_PKEY_free(doer.key);
    ERR_clear_error();
}

static char module_path[4096];

static void world_make(struct world *world)
{
    const unsigned settings = world->settings;
    char text[2048];
    int len = snprintf(
        text, sizeof(text),
        "openssl_conf=i\n[i]\nproviders=p\n[p]\ndefault=d\npkcs11=s\n[d]\nactivate=1\n[s]\n"
        "activate=1\npkcs11-module-path=%s\npkcs11-module-insecure-path=yes\n"
        "pkcs11-module-token-pin=" PIN "\npkcs11-log=none\n"
        "pkcs11-session-wait-ms=200\npkcs11-retry-ms=100\npkcs11-sessions-max=%d\n"
        "pkcs11-public-operations=%s\npkcs11-digest=%s\npkcs11-module-cache-keys=%s\n"
        "pkcs11-module-login-behavior=%s\npkcs11-ambiguous=%s\npkcs11-ephemeral=%s\n",
        module_path, settings & ONE_SESSION ? 1 : 3, settings & PUBLIC_ON_TOKEN ? "token" : "host",
        settings & TOKEN_HASHES ? "token" : "auto", settings & COPIES ? "true" : "auto",
        settings & LOGIN_ALWAYS ? "always" : "auto", settings & AMBIGUOUS_FIRST ? "first" : "error",
        settings & EPHEMERAL_ON_TOKEN ? "token" : "software");

    world->libctx = OSSL_LIB_CTX_new();
    hold(OSSL_PROVIDER_add_builtin(world->libctx, "pkcs11",
                                   of_now ? newer_init : OSSL_provider_init) == 1);
    hold(OSSL_LIB_CTX_load_config(world->libctx, fuzz_file(text, (size_t)len)) == 1);
    world->loaded = OSSL_PROVIDER_load(world->libctx, "pkcs11");
    hold(world->loaded != NULL);
}

static void world_end(struct world *world)
{
    OSSL_PROVIDER_unload(world->loaded);
    OSSL_LIB_CTX_free(world->libctx);
    *world = (struct world){ .settings = world->settings };
}

static void world_run(struct world *world, bool two)
{
    if (world->libctx == NULL)
        world_make(world);
    libctx = world->libctx;
    loaded = world->loaded;
    run_all(two);
    hostile_leave(OSSL_PROVIDER_get0_provider_ctx(loaded));
    ERR_clear_error();
}

/* The module lies beside the program. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    ssize_t len = readlink("/proc/self/exe", module_path, sizeof(module_path) - 32);
    char *slash;

    (void)argc;
    (void)argv;
    hold(len > 0);
    module_path[len] = '\0';
    slash = strrchr(module_path, '/');
    strcpy(slash + 1, "hostile-module.so");
    show = getenv("FUZZ_SHOW") != NULL;
    return 0;
}

static void lies_and_token(const uint8_t *data, size_t size)
{
    lies_begin(data + LIES_AT, LIES, data + CONTENT_AT, size - CONTENT_AT);
    hostile_begin(data[0] | (of_now ? NEWER : 0), call_back);
}

/* data has CONTENT_AT bytes or more. */
static void one_input(const uint8_t *data, size_t size)
{
    const bool two = data[1] % 2 != 0;
    struct world *world = &worlds[data[1] / 2 % COUNT_OF(worlds)];

    of_now = (world->settings & OF_NOW) != 0;
    newer_pretend(of_now);
    todo = data + TODO_AT;
    if (show)
        seed_tell(data, size);
    lies_and_token(data, size);
    if (lies_about(INDEX_C_GetInterface))
        newer_interfaces_look(module_path);
    world_run(world, two);
    if (lies_about(INDEX_C_GetFunctionList)) { /* which is called once for each */
        world_end(world);
        lies_and_token(data, size);
        world_run(world, two);
        world_end(world);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[8192];
    size_t len = seed_bytes(data, size, bytes, sizeof(bytes));

    if (len == 0) {
        len = size < sizeof(bytes) ? size : sizeof(bytes);
        memset(bytes, 0, CONTENT_AT);
        memcpy(bytes, data, len);
        len = len > CONTENT_AT ? len : CONTENT_AT;
    }
    one_input(bytes, len);
    return 0;
}

/* What the provider calls. */
static const uint8_t called[] = {
    INDEX_C_Initialize,
    INDEX_C_Finalize,
    INDEX_C_GetInfo,
    INDEX_C_GetSlotList,
    INDEX_C_GetSlotInfo,
    INDEX_C_GetTokenInfo,
    INDEX_C_GetTokenInfo,
    INDEX_C_GetMechanismInfo,
    INDEX_C_OpenSession,
    INDEX_C_OpenSession,
    INDEX_C_CloseSession,
    INDEX_C_GetSessionInfo,
    INDEX_C_Login,
    INDEX_C_GetAttributeValue,
    INDEX_C_GetAttributeValue,
    INDEX_C_GetAttributeValue,
    INDEX_C_GetAttributeValue,
    INDEX_C_SetAttributeValue,
    INDEX_C_FindObjectsInit,
    INDEX_C_FindObjects,
    INDEX_C_FindObjects,
    INDEX_C_FindObjects,
    INDEX_C_FindObjectsFinal,
    INDEX_C_CopyObject,
    INDEX_C_DestroyObject,
    INDEX_C_GenerateKeyPair,
    INDEX_C_WrapKey,
    INDEX_C_UnwrapKey,
    INDEX_C_DeriveKey,
    INDEX_C_SignInit,
    INDEX_C_Sign,
    INDEX_C_Sign,
    INDEX_C_SignUpdate,
    INDEX_C_SignFinal,
    INDEX_C_VerifyInit,
    INDEX_C_Verify,
    INDEX_C_EncryptInit,
    INDEX_C_Encrypt,
    INDEX_C_DecryptInit,
    INDEX_C_Decrypt,
    INDEX_C_GenerateRandom,
    INDEX_C_GetFunctionList,
    INDEX_C_SessionCancel,
    INDEX_C_EncapsulateKey,
    INDEX_C_DecapsulateKey,
    INDEX_C_GenerateKey,
    INDEX_C_CreateObject,
    INDEX_C_GetInterface,
};

/* An attribute of any call, another one of a template, or each. */
static uint8_t which_drawn(unsigned random)
{
    unsigned types = 0;

    while (lie_type_name(types) != NULL)
        types++;
    if (random % 3 == 0)
        return (uint8_t)(BY_TYPE + random / 4 % types);
    return random % 3 == 1 ? ALL : (uint8_t)(random / 4 % 8);
}

static void lie_draw(uint8_t *lie, unsigned seed, unsigned random)
{
    lie[0] = called[random % COUNT_OF(called)];
    lie[1] = (uint8_t)(random / 256 % 8 == 7 ? ALL : random / 256 % 8);
    lie[2] = (uint8_t)(random / 4096 % 2 == 0 ? LENGTH : random / 16384);
    lie[3] = (uint8_t)(seed >> 8);
    lie[4] = which_drawn(seed);
    if (lie[4] >= BY_TYPE && lie[4] < ALL && seed / 128 % 4 != 0) { /* whenever it is asked for */
        lie[0] = INDEX_C_GetAttributeValue;
        lie[1] = ALL;
    }
}

/* Changes one thing of those that the input is made of. */
static size_t mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    unsigned random = seed * 2654435761U >> 8;
    uint8_t *lie = data + LIES_AT + random / 8 % LIES * LIE_LEN;
    uint8_t *doing = data + TODO_AT + random / 8 % DOINGS * DOING_LEN;

    switch (random % 8) {
    case 0:
        return CONTENT_AT +
               LLVMFuzzerMutate(data + CONTENT_AT, size - CONTENT_AT, max_size - CONTENT_AT);
    case 1:
        data[random / 8 % 2] ^= (uint8_t)(1u << random / 16 % 8);
        return size;
    case 2:
        doing[0] = (uint8_t)(random / 64);
        return size;
    case 3:
        doing[1] = (uint8_t)(random / 64);
        return size;
    case 4:
        (void)LLVMFuzzerMutate(lie, LIE_LEN, LIE_LEN);
        return size;
    case 5:
        lie[1 + random / 128 % 4] = (uint8_t)(random / 512);
        return size;
    case 6:
        memset(lie, 0, LIE_LEN);
        return size;
    default: /* another lie, early */
        lie_draw(lie, seed, random / 128);
        return size;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    uint8_t bytes[8192];
    size_t len = seed_bytes(data, size, bytes, sizeof(bytes));

    if (max_size < CONTENT_AT + 8)
        return size;
    if (len != 0) {
        size = len < max_size ? len : max_size;
        memcpy(data, bytes, size);
    } else if (size < CONTENT_AT) {
        memset(data + size, 0, CONTENT_AT - size);
        size = CONTENT_AT;
    }
    return mutate(data, size, max_size, seed);
}
