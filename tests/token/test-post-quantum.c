/* ML-DSA, SLH-DSA and ML-KEM on a token that has them, from OpenSSL 3.5 on, beside the default
 * provider's. What the token does not have is passed over with a word; where it has none of them,
 * or libcrypto knows none, the test is skipped. Functions and names are newer than the headers that
 * this is built with. */
#include "harness.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/store.h>
#include <openssl/x509.h>

#include "pkcs11_bridge.h"

#define SKIPPED 77

#define CONTEXT       "context-string"
#define DETERMINISTIC "deterministic"
#define ENCODING      "message-encoding"
#define MU            "mu"

#define SIG_MAX 50000
#define ID_LEN  24

enum kind { SIGNS, ENCAPSULATES };

static struct type {
    const char *name;
    enum kind kind;
    bool there; /* on the token */
    bool slow;  /* a signature takes so long that one case does */
    char label[ID_LEN];
} types[] = {
    { "ML-DSA-44", SIGNS, false, false, "" },
    { "ML-DSA-65", SIGNS, false, false, "" },
    { "ML-DSA-87", SIGNS, false, false, "" },
    { "SLH-DSA-SHA2-128s", SIGNS, false, true, "" },
    { "SLH-DSA-SHA2-128f", SIGNS, false, false, "" },
    { "SLH-DSA-SHA2-192s", SIGNS, false, true, "" },
    { "SLH-DSA-SHA2-192f", SIGNS, false, true, "" },
    { "SLH-DSA-SHA2-256s", SIGNS, false, true, "" },
    { "SLH-DSA-SHA2-256f", SIGNS, false, true, "" },
    { "SLH-DSA-SHAKE-128s", SIGNS, false, true, "" },
    { "SLH-DSA-SHAKE-128f", SIGNS, false, true, "" },
    { "SLH-DSA-SHAKE-192s", SIGNS, false, true, "" },
    { "SLH-DSA-SHAKE-192f", SIGNS, false, true, "" },
    { "SLH-DSA-SHAKE-256s", SIGNS, false, true, "" },
    { "SLH-DSA-SHAKE-256f", SIGNS, false, true, "" },
    { "ML-KEM-512", ENCAPSULATES, false, false, "" },
    { "ML-KEM-768", ENCAPSULATES, false, false, "" },
    { "ML-KEM-1024", ENCAPSULATES, false, false, "" },
};

#define EACH(type, kind_)                                                                          \
    for (struct type *type = types; type < types + COUNT_OF(types); type++)                        \
        if (type->there && !type->slow && type->kind == (kind_))

static const char *token_uri(void)
{
    const char *uri = getenv("BRIDGE_TOKEN_URI");

    return uri != NULL ? uri : "pkcs11:token=soft";
}

static OSSL_LIB_CTX *libctx, *plain;

/* NULL, with an error, where the token does not have it. label: NULL for a session key. */
static EVP_PKEY *generate(OSSL_LIB_CTX *in, const char *type, const char *label)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(in, type, "provider=pkcs11");
    char uri[256];
    OSSL_PARAM params[3] = { OSSL_PARAM_construct_end(), OSSL_PARAM_construct_end(),
                             OSSL_PARAM_construct_end() };
    EVP_PKEY *key = NULL;

    snprintf(uri, sizeof(uri), "%s;object=%s", token_uri(), label != NULL ? label : "");
    if (label != NULL)
        params[0] = OSSL_PARAM_construct_utf8_string(PKCS11_BRIDGE_KEYGEN_URI, uri, 0);
    if (label != NULL && strncmp(label, "twin-", 5) == 0)
        params[1] = OSSL_PARAM_construct_utf8_string(PKCS11_BRIDGE_KEYGEN_IF_EXISTS,
                                                     (char *)(uintptr_t) "add", 0);
    if (ctx != NULL && EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_CTX_set_params(ctx, params) == 1)
        (void)EVP_PKEY_generate(ctx, &key);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static EVP_PKEY *loaded(OSSL_LIB_CTX *in, const struct type *type, const char *kind)
{
    EVP_PKEY *key = key_load(in, type->label, kind);
    char error[512];

    if (key == NULL)
        fail_msg("%s: no %s key: %s", type->name, kind, last_error(error, sizeof(error)));
    return key;
}

/* The message is signed or verified with the parameters given. */
static bool sign(OSSL_LIB_CTX *in, EVP_PKEY *key, const OSSL_PARAM params[], const void *message,
                 size_t len, unsigned char *sig, size_t *sig_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok;

    *sig_len = SIG_MAX;
    ok = EVP_DigestSignInit_ex(ctx, NULL, NULL, in, NULL, key, params) == 1 &&
         EVP_DigestSign(ctx, sig, sig_len, message, len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool verify(OSSL_LIB_CTX *in, EVP_PKEY *key, const OSSL_PARAM params[], const void *message,
                   size_t len, const unsigned char *sig, size_t sig_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit_ex(ctx, NULL, NULL, in, NULL, key, params) == 1 &&
              EVP_DigestVerify(ctx, sig, sig_len, message, len) == 1;

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

static unsigned char message[200000];
static unsigned char sig[SIG_MAX], sig2[SIG_MAX];

struct pair {
    EVP_PKEY *key, *public; /* ours, the default provider's */
};

static struct pair pair_of(const struct type *type)
{
    struct pair pair = { .key = loaded(libctx, type, "private") };

    pair.public = key_public_copy(pair.key, plain);
    assert_non_null(pair.public);
    return pair;
}

static void pair_free(struct pair *pair)
{
    EVP_PKEY_free(pair->key);
    EVP_PKEY_free(pair->public);
}

static bool parameters_same(EVP_PKEY *key, EVP_PKEY *other, const OSSL_PARAM *asked)
{
    unsigned char a[4000], b[4000];
    OSSL_PARAM left[2] = { *asked, OSSL_PARAM_construct_end() };
    OSSL_PARAM right[2] = { *asked, OSSL_PARAM_construct_end() };

    left[0].data = a;
    right[0].data = b;
    left[0].data_size = right[0].data_size =
        asked->data_type == OSSL_PARAM_INTEGER ? sizeof(int) : sizeof(a);
    left[0].return_size = right[0].return_size = OSSL_PARAM_UNMODIFIED;
    if (EVP_PKEY_get_params(other, right) != 1 || right[0].return_size == OSSL_PARAM_UNMODIFIED)
        return true;
    return EVP_PKEY_get_params(key, left) == 1 && left[0].return_size == right[0].return_size &&
           memcmp(a, b, right[0].return_size) == 0;
}

/* All that the default provider tells of its public key. */
static void test_pq_parameters(void **state)
{
    (void)state;
    for (struct type *type = types; type < types + COUNT_OF(types); type++) {
        struct pair pair;
        const OSSL_PARAM *asked;

        if (!type->there)
            continue;
        pair = pair_of(type);
        assert_true(EVP_PKEY_is_a(pair.key, type->name));
        assert_int_equal(EVP_PKEY_eq(pair.key, pair.public), 1);
        for (asked = EVP_PKEY_gettable_params(pair.public); asked->key != NULL; asked++)
            if (strcmp(asked->key, "priv") != 0 && strcmp(asked->key, "seed") != 0 &&
                !parameters_same(pair.key, pair.public, asked))
                fail_msg("%s: %s is another", type->name, asked->key);
        pair_free(&pair);
    }
}

/* The URI in PEM leads to the key again, in another library context. */
static void test_pq_pem(void **state)
{
    (void)state;
    for (struct type *type = types; type < types + COUNT_OF(types); type++) {
        OSSL_LIB_CTX *other;
        struct pair pair;
        EVP_PKEY *again;
        BIO *bio = BIO_new(BIO_s_mem());

        if (type->there) {
            other = libctx_new("");
            pair = pair_of(type);
            assert_int_equal(PEM_write_bio_PrivateKey(bio, pair.key, NULL, NULL, 0, NULL, NULL), 1);
            again = PEM_read_bio_PrivateKey_ex(bio, NULL, NULL, NULL, other, NULL);
            assert_non_null(again);
            assert_int_equal(EVP_PKEY_eq(again, pair.key), 1);
            EVP_PKEY_free(again);
            again = loaded(libctx, type, "public");
            assert_int_equal(EVP_PKEY_eq(again, pair.public), 1);
            EVP_PKEY_free(again);
            pair_free(&pair);
            OSSL_LIB_CTX_free(other);
        }
        BIO_free(bio);
    }
}

static void test_pq_sign(void **state)
{
    static const size_t lengths[] = { 100, 0, 1, sizeof(message) };
    size_t len;

    (void)state;
    for (struct type *type = types; type < types + COUNT_OF(types); type++) {
        struct pair pair;

        if (!type->there || type->kind != SIGNS)
            continue;
        pair = pair_of(type);

        for (size_t i = 0; i < (type->slow ? 1 : COUNT_OF(lengths)); i++) {
            assert_true(sign(libctx, pair.key, NULL, message, lengths[i], sig, &len));
            assert_int_equal(len, EVP_PKEY_get_size(pair.key));
            assert_true(verify(plain, pair.public, NULL, message, lengths[i], sig, len));
            assert_true(verify(libctx, pair.key, NULL, message, lengths[i], sig, len));
            sig[len / 2] ^= 1;
            assert_false(verify(plain, pair.public, NULL, message, lengths[i], sig, len));
            assert_false(verify(libctx, pair.key, NULL, message, lengths[i], sig, len));
        }
        pair_free(&pair);
    }
}

static void test_pq_sign_context(void **state)
{
    static char context[256];
    size_t len;

    (void)state;
    memset(context, 'c', sizeof(context));
    EACH(type, SIGNS)
    {
        struct pair pair = pair_of(type);

        for (size_t n = 1; n <= 256; n += n == 1 ? 253 : 1) {
            const OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(CONTEXT, context, n),
                                          OSSL_PARAM_construct_end() };
            bool ok = sign(libctx, pair.key, params, message, 100, sig, &len);

            assert_int_equal(ok, n <= 255);
            if (!ok)
                continue;
            assert_true(verify(plain, pair.public, params, message, 100, sig, len));
            assert_true(verify(libctx, pair.key, params, message, 100, sig, len));
            assert_false(verify(plain, pair.public, NULL, message, 100, sig, len));
            assert_false(verify(libctx, pair.key, NULL, message, 100, sig, len));
        }
        pair_free(&pair);
    }
}

/* deterministic: -1 for unset. */
static bool signs_same(const struct pair *pair, int deterministic)
{
    OSSL_PARAM params[] = { OSSL_PARAM_construct_int(DETERMINISTIC, &deterministic),
                            OSSL_PARAM_construct_end() };
    const OSSL_PARAM *set = deterministic >= 0 ? params : NULL;
    size_t len, len2;

    assert_true(sign(libctx, pair->key, set, message, 100, sig, &len));
    assert_true(sign(libctx, pair->key, set, message, 100, sig2, &len2));
    assert_true(verify(plain, pair->public, NULL, message, 100, sig2, len2));
    return len == len2 && memcmp(sig, sig2, len) == 0;
}

static void test_pq_sign_deterministic(void **state)
{
    (void)state;
    EACH(type, SIGNS)
    {
        struct pair pair = pair_of(type);

        assert_true(signs_same(&pair, 1));
        assert_false(signs_same(&pair, 0));
        assert_false(signs_same(&pair, -1));
        pair_free(&pair);
    }
}

/* FIPS 204 algorithm 2: what is signed is 0, the context's length, the context and the message. */
static void test_pq_sign_encoded(void **state)
{
    static const unsigned char encoded[] = { 0, 3, 'a', 'b', 'c', 'm', 's', 'g' };
    static const unsigned char others[][3] = { { 1, 0, 0 }, { 0, 9, 'a' }, { 0 } };
    static const size_t lengths[] = { 3, 3, 1 };
    int raw = 0;
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_int(ENCODING, &raw),
                                  OSSL_PARAM_construct_end() };
    const OSSL_PARAM context[] = { OSSL_PARAM_construct_octet_string(CONTEXT, (char *)"abc", 3),
                                   OSSL_PARAM_construct_end() };
    char error[512];
    size_t len;

    (void)state;
    EACH(type, SIGNS)
    {
        struct pair pair = pair_of(type);

        assert_true(sign(libctx, pair.key, params, encoded, sizeof(encoded), sig, &len));
        assert_true(verify(plain, pair.public, context, "msg", 3, sig, len));
        assert_true(verify(libctx, pair.key, params, encoded, sizeof(encoded), sig, len));
        for (size_t i = 0; i < COUNT_OF(others); i++) {
            assert_false(sign(libctx, pair.key, params, others[i], lengths[i], sig, &len));
            assert_non_null(strstr(last_error(error, sizeof(error)), "encoded message"));
        }
        pair_free(&pair);
    }
}

/* No mechanism of PKCS#11 takes one. Verified it is, on the host. */
static void test_pq_sign_mu(void **state)
{
    int yes = 1;
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_int(MU, &yes), OSSL_PARAM_construct_end() };
    char error[512];
    size_t len;

    (void)state;
    EACH(type, SIGNS)
    {
        struct pair pair = pair_of(type);

        assert_false(sign(libctx, pair.key, params, message, 64, sig, &len));
        assert_non_null(strstr(last_error(error, sizeof(error)), "mu"));
        pair_free(&pair);
    }
}

typedef int init_fn(EVP_PKEY_CTX *ctx, EVP_SIGNATURE *signature, const OSSL_PARAM params[]);
typedef int update_fn(EVP_PKEY_CTX *ctx, const unsigned char *in, size_t len);
typedef int sign_final_fn(EVP_PKEY_CTX *ctx, unsigned char *sig, size_t *len);
typedef int verify_final_fn(EVP_PKEY_CTX *ctx);

static init_fn *sign_message_init, *verify_message_init;
static update_fn *sign_update, *verify_update, *set_signature;
static sign_final_fn *sign_final;
static verify_final_fn *verify_final;

static const struct newer functions[] = {
    { "EVP_PKEY_sign_message_init", &sign_message_init },
    { "EVP_PKEY_sign_message_update", &sign_update },
    { "EVP_PKEY_sign_message_final", &sign_final },
    { "EVP_PKEY_verify_message_init", &verify_message_init },
    { "EVP_PKEY_verify_message_update", &verify_update },
    { "EVP_PKEY_verify_message_final", &verify_final },
    { "EVP_PKEY_CTX_set_signature", &set_signature },
};

/* By its name, in pieces, and then in pieces in a copy of the context. */
static void sign_in_pieces(EVP_PKEY *key, EVP_SIGNATURE *algorithm, size_t *len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL), *copy;

    *len = SIG_MAX;
    assert_int_equal(sign_message_init(ctx, algorithm, NULL), 1);
    assert_int_equal(sign_update(ctx, message, 1000), 1);
    copy = EVP_PKEY_CTX_dup(ctx);
    assert_non_null(copy);
    EVP_PKEY_CTX_free(ctx);
    assert_int_equal(sign_update(copy, message + 1000, sizeof(message) - 1000), 1);
    assert_int_equal(sign_final(copy, sig, len), 1);
    EVP_PKEY_CTX_free(copy);
}

static void verify_in_pieces(EVP_PKEY *key, EVP_SIGNATURE *algorithm, size_t len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);

    assert_int_equal(verify_message_init(ctx, algorithm, NULL), 1);
    assert_int_equal(set_signature(ctx, sig, len), 1);
    assert_int_equal(verify_update(ctx, message, 1000), 1);
    assert_int_equal(verify_update(ctx, message + 1000, sizeof(message) - 1000), 1);
    assert_int_equal(verify_final(ctx), 1);
    EVP_PKEY_CTX_free(ctx);
}

static void test_pq_sign_by_name(void **state)
{
    size_t len;

    (void)state;
    EACH(type, SIGNS)
    {
        struct pair pair = pair_of(type);
        EVP_SIGNATURE *ours = EVP_SIGNATURE_fetch(libctx, type->name, "provider=pkcs11");
        const char *another = strcmp(type->name, "ML-DSA-44") == 0 ? "ML-DSA-65" : "ML-DSA-44";
        EVP_SIGNATURE *other = EVP_SIGNATURE_fetch(libctx, another, "provider=pkcs11");
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, pair.key, NULL);

        assert_non_null(ours);
        sign_in_pieces(pair.key, ours, &len);
        assert_true(verify(plain, pair.public, NULL, message, sizeof(message), sig, len));
        verify_in_pieces(pair.key, ours, len);
        assert_int_not_equal(sign_message_init(ctx, other, NULL), 1);
        len = SIG_MAX;
        assert_int_equal(sign_message_init(ctx, ours, NULL), 1);
        assert_int_equal(EVP_PKEY_sign(ctx, sig, &len, message, 50), 1);
        assert_true(verify(plain, pair.public, NULL, message, 50, sig, len));
        EVP_PKEY_CTX_free(ctx);
        EVP_SIGNATURE_free(ours);
        EVP_SIGNATURE_free(other);
        pair_free(&pair);
    }
    ERR_clear_error();
}

/* A software key's signature, verified by this provider. */
static void test_pq_verify_software(void **state)
{
    size_t len;

    (void)state;
    EACH(type, SIGNS)
    {
        EVP_PKEY *software = EVP_PKEY_Q_keygen(plain, NULL, type->name);
        EVP_PKEY *public;
        EVP_SIGNATURE *ours = EVP_SIGNATURE_fetch(libctx, type->name, "provider=pkcs11");
        EVP_PKEY_CTX *ctx;

        assert_non_null(software);
        assert_true(sign(plain, software, NULL, message, 100, sig, &len));
        public = key_public_copy(software, libctx);
        ctx = EVP_PKEY_CTX_new_from_pkey(libctx, public, NULL);
        assert_int_equal(verify_message_init(ctx, ours, NULL), 1);
        assert_int_equal(EVP_PKEY_verify(ctx, sig, len, message, 100), 1);
        assert_int_not_equal(EVP_PKEY_verify(ctx, sig, len, message, 99), 1);
        EVP_PKEY_CTX_free(ctx);
        EVP_PKEY_free(public);
        EVP_PKEY_free(software);
        EVP_SIGNATURE_free(ours);
    }
    ERR_clear_error();
}

/* By who does not have this provider. */
static bool verifies_elsewhere(X509 *certificate)
{
    unsigned char *der = NULL;
    const unsigned char *position;
    int len = i2d_X509(certificate, &der);
    X509 *copy = X509_new_ex(plain, NULL);
    bool ok;

    position = der;
    ok = len > 0 && d2i_X509(&copy, &position, len) != NULL &&
         X509_verify(copy, X509_get0_pubkey(copy)) == 1;
    OPENSSL_free(der);
    X509_free(copy);
    return ok;
}

static void certify(const struct pair *pair)
{
    X509 *certificate = X509_new_ex(libctx, NULL);
    X509_REQ *request = X509_REQ_new_ex(libctx, NULL);
    X509_NAME *name = X509_get_subject_name(certificate);

    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                                (const unsigned char *)"pq", -1, -1, 0),
                     1);
    assert_int_equal(X509_set_issuer_name(certificate, name), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(certificate), 0));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(certificate), 3600));
    assert_int_equal(X509_set_pubkey(certificate, pair->key), 1);
    assert_true(X509_sign(certificate, pair->key, NULL) > 0);
    assert_true(verifies_elsewhere(certificate));
    assert_int_equal(X509_check_private_key(certificate, pair->key), 1);
    assert_int_equal(X509_REQ_set_version(request, 0), 1);
    assert_int_equal(X509_REQ_set_pubkey(request, pair->key), 1);
    assert_true(X509_REQ_sign(request, pair->key, NULL) > 0);
    assert_int_equal(X509_REQ_verify_ex(request, pair->key, libctx, NULL), 1);
    X509_free(certificate);
    X509_REQ_free(request);
}

static void test_pq_certificates(void **state)
{
    (void)state;
    EACH(type, SIGNS)
    {
        struct pair pair = pair_of(type);

        certify(&pair);
        pair_free(&pair);
    }
}

static bool encapsulate(OSSL_LIB_CTX *in, EVP_PKEY *key, unsigned char *out, size_t *len,
                        unsigned char *secret)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(in, key, NULL);
    size_t secret_len = 32;
    bool ok;

    *len = SIG_MAX;
    ok = EVP_PKEY_encapsulate_init(ctx, NULL) == 1 &&
         EVP_PKEY_encapsulate(ctx, out, len, secret, &secret_len) == 1 && secret_len == 32;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool decapsulate(OSSL_LIB_CTX *in, EVP_PKEY *key, const unsigned char *ciphertext,
                        size_t len, unsigned char *secret)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(in, key, NULL);
    size_t secret_len = 0;
    bool ok = EVP_PKEY_decapsulate_init(ctx, NULL) == 1 &&
              EVP_PKEY_decapsulate(ctx, NULL, &secret_len, ciphertext, len) == 1 &&
              secret_len == 32 &&
              EVP_PKEY_decapsulate(ctx, secret, &secret_len, ciphertext, len) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static void test_pq_decapsulate(void **state)
{
    unsigned char a[32], b[32], c[32];
    size_t len;

    (void)state;
    EACH(type, ENCAPSULATES)
    {
        struct pair pair = pair_of(type);

        assert_true(encapsulate(plain, pair.public, sig, &len, a));
        assert_true(decapsulate(libctx, pair.key, sig, len, b));
        assert_memory_equal(a, b, 32);
        assert_true(encapsulate(libctx, pair.key, sig, &len, a));
        assert_true(decapsulate(libctx, pair.key, sig, len, b));
        assert_memory_equal(a, b, 32);
        /* another ciphertext is no error, and always the same other secret */
        sig[0] ^= 1;
        assert_true(decapsulate(libctx, pair.key, sig, len, b));
        assert_true(decapsulate(libctx, pair.key, sig, len, c));
        assert_memory_equal(b, c, 32);
        assert_memory_not_equal(a, b, 32);
        assert_false(decapsulate(libctx, pair.key, sig, len - 1, b));
        pair_free(&pair);
    }
    ERR_clear_error();
}

/* Key agreement among the keys of the token alone. */
static void test_pq_encapsulate_on_token(void **state)
{
    OSSL_LIB_CTX *faulty = libctx_new_faulty("pkcs11-public-operations = token\n");
    unsigned char a[32], b[32];
    size_t len;

    (void)state;
    EACH(type, ENCAPSULATES)
    {
        EVP_PKEY *key = loaded(faulty, type, "private");

        calls_reset();
        assert_true(encapsulate(faulty, key, sig, &len, a));
        assert_int_equal(calls("C_EncapsulateKey"), 1);
        assert_true(decapsulate(faulty, key, sig, len, b));
        assert_memory_equal(a, b, 32);
        EVP_PKEY_free(key);
    }
    EACH(type, SIGNS)
    {
        EVP_PKEY *key = loaded(faulty, type, "private");
        const OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(CONTEXT, (char *)"abc", 3),
                                      OSSL_PARAM_construct_end() };

        assert_true(sign(faulty, key, params, message, 100, sig, &len));
        calls_reset();
        assert_true(verify(faulty, key, params, message, 100, sig, len));
        assert_int_equal(calls("C_Verify"), 1);
        assert_false(verify(faulty, key, NULL, message, 100, sig, len));
        EVP_PKEY_free(key);
    }
    OSSL_LIB_CTX_free(faulty);
}

/* Exactly: two for a signature, three for a secret. */
static void test_pq_calls(void **state)
{
    OSSL_LIB_CTX *faulty = libctx_new_faulty("");
    unsigned char secret[32];
    size_t len;

    (void)state;
    for (struct type *type = types; type < types + COUNT_OF(types); type++) {
        struct pair pair;
        EVP_PKEY *key;

        if (!type->there || type->slow)
            continue;
        pair = pair_of(type);
        key = loaded(faulty, type, "private");
        if (type->kind == ENCAPSULATES)
            assert_true(encapsulate(plain, pair.public, sig, &len, secret));
        for (int n = 0; n < 13; n++) {
            if (n == 3)
                calls_reset(); /* it may have been copied */
            assert_true(type->kind == SIGNS ? sign(faulty, key, NULL, message, 100, sig2, &len)
                                            : decapsulate(faulty, key, sig, len, secret));
        }
        assert_int_equal(calls(NULL), type->kind == SIGNS ? 20 : 30);
        assert_int_equal(calls(type->kind == SIGNS ? "C_Sign" : "C_DecapsulateKey"), 10);
        EVP_PKEY_free(key);
        pair_free(&pair);
    }
    OSSL_LIB_CTX_free(faulty);
}

/* A token that says that it does not make such keys is not asked to. */
static void test_pq_not_made(void **state)
{
    OSSL_LIB_CTX *faulty = libctx_new_faulty("");
    char error[1024];

    (void)state;
    fault("C_GetMechanismInfo 1 * CKR_MECHANISM_INVALID");
    calls_reset();
    for (struct type *type = types; type < types + COUNT_OF(types); type++) {
        if (!type->there)
            continue;
        assert_null(generate(faulty, type->name, NULL));
        assert_non_null(strstr(last_error(error, sizeof(error)), "KEY_PAIR_GEN"));
    }
    assert_int_equal(calls("C_GenerateKeyPair"), 0);
    fault("");
    OSSL_LIB_CTX_free(faulty);
}

/* Keys without a URI, and software keys that are made session keys. */
static void test_pq_session_keys(void **state)
{
    OSSL_LIB_CTX *import = libctx_new_faulty("pkcs11-module-import = session\n");
    size_t len, len2;
    unsigned char a[32], b[32];

    (void)state;
    for (struct type *type = types; type < types + COUNT_OF(types); type++) {
        EVP_PKEY *made, *software, *public;

        if (!type->there || type->slow)
            continue;
        made = generate(libctx, type->name, NULL);
        assert_non_null(made);
        public = key_public_copy(made, plain);
        if (type->kind == SIGNS) {
            assert_true(sign(libctx, made, NULL, message, 100, sig, &len));
            assert_true(verify(plain, public, NULL, message, 100, sig, len));
        } else {
            assert_true(encapsulate(plain, public, sig, &len, a));
            assert_true(decapsulate(libctx, made, sig, len, b));
            assert_memory_equal(a, b, 32);
        }
        EVP_PKEY_free(made);
        EVP_PKEY_free(public);

        software = EVP_PKEY_Q_keygen(import, "provider!=pkcs11", type->name);
        assert_non_null(software);
        calls_reset();
        if (type->kind == SIGNS) {
            EVP_SIGNATURE *ours = EVP_SIGNATURE_fetch(import, type->name, "provider=pkcs11");
            EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(import, software, NULL);

            len2 = SIG_MAX;
            assert_int_equal(sign_message_init(ctx, ours, NULL), 1);
            assert_int_equal(EVP_PKEY_sign(ctx, sig, &len2, message, 100), 1);
            assert_true(verify(import, software, NULL, message, 100, sig, len2));
            assert_int_equal(calls("C_Sign"), 1);
            EVP_PKEY_CTX_free(ctx);
            EVP_SIGNATURE_free(ours);
        }
        if (type->kind == ENCAPSULATES) {
            EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(import, software, "provider=pkcs11");
            size_t secret_len = sizeof(b);

            assert_true(encapsulate(import, software, sig, &len, a));
            assert_int_equal(EVP_PKEY_decapsulate_init(ctx, NULL), 1);
            assert_int_equal(EVP_PKEY_decapsulate(ctx, b, &secret_len, sig, len), 1);
            assert_memory_equal(a, b, sizeof(a));
            assert_int_equal(calls("C_DecapsulateKey"), 1);
            EVP_PKEY_CTX_free(ctx);
        }
        EVP_PKEY_free(software);
    }
    OSSL_LIB_CTX_free(import);
}

/* What each function may say: once, and it passes or is an error that names both; afterwards all is
 * as before. */
static void faults_pass(OSSL_LIB_CTX *faulty, const struct type *type, EVP_PKEY *key,
                        const unsigned char *ciphertext, size_t ciphertext_len)
{
    static const char *const functions_of[][3] = {
        [SIGNS] = { "C_SignInit", "C_Sign", "C_Sign" },
        [ENCAPSULATES] = { "C_DecapsulateKey", "C_GetAttributeValue", "C_DestroyObject" },
    };
    static const char *const ckrs[] = {
        "CKR_DEVICE_ERROR",     "CKR_DEVICE_MEMORY",         "CKR_FUNCTION_FAILED",
        "CKR_GENERAL_ERROR",    "CKR_SESSION_CLOSED",        "CKR_SESSION_HANDLE_INVALID",
        "CKR_HOST_MEMORY",      "CKR_USER_NOT_LOGGED_IN",    "CKR_KEY_HANDLE_INVALID",
        "CKR_ARGUMENTS_BAD",    "CKR_MECHANISM_INVALID",     "CKR_KEY_TYPE_INCONSISTENT",
        "CKR_OPERATION_ACTIVE", "CKR_TEMPLATE_INCONSISTENT", "CKR_FUNCTION_NOT_SUPPORTED",
        "CKR_BUFFER_TOO_SMALL",
    };
    unsigned char secret[32];
    char rule[128], error[1024];
    size_t len;

    for (size_t f = 0; f < 3; f++)
        for (size_t c = 0; c < COUNT_OF(ckrs); c++) {
            const char *function = functions_of[type->kind][f];

            snprintf(rule, sizeof(rule), "%s 1 1 %s", function, ckrs[c]);
            fault(rule);
            if (!(type->kind == SIGNS
                      ? sign(faulty, key, NULL, message, 100, sig2, &len)
                      : decapsulate(faulty, key, ciphertext, ciphertext_len, secret))) {
                (void)last_error(error, sizeof(error));
                if (strstr(error, function) == NULL || strstr(error, ckrs[c]) == NULL)
                    fail_msg("%s: %s: %s", type->name, rule, error);
            }
            fault("");
            if (!(type->kind == SIGNS
                      ? sign(faulty, key, NULL, message, 100, sig2, &len)
                      : decapsulate(faulty, key, ciphertext, ciphertext_len, secret)))
                fail_msg("%s: after %s: %s", type->name, rule, last_error(error, sizeof(error)));
            ERR_clear_error();
        }
}

static void test_pq_faults(void **state)
{
    OSSL_LIB_CTX *faulty = libctx_new_faulty(
        "pkcs11-retry-ms = 40\npkcs11-log = none\npkcs11-module-cache-keys = false\n");
    unsigned char secret[32];
    size_t len = 0;

    (void)state;
    for (struct type *type = types; type < types + COUNT_OF(types); type++) {
        struct pair pair;
        EVP_PKEY *key;

        if (!type->there || type->slow)
            continue;
        pair = pair_of(type);
        key = loaded(faulty, type, "private");
        if (type->kind == ENCAPSULATES)
            assert_true(encapsulate(plain, pair.public, sig, &len, secret));
        faults_pass(faulty, type, key, sig, len);
        EVP_PKEY_free(key);
        pair_free(&pair);
    }
    OSSL_LIB_CTX_free(faulty);
}

/* What a module says that is not so. */
static void test_pq_lengths(void **state)
{
    static const char *const rules[] = { "C_Sign 1 * - len=-1", "C_Sign 1 * - len=+1",
                                         "C_GetAttributeValue 1 * - len=31 of=CKA_VALUE",
                                         "C_GetAttributeValue 1 * - len=33 of=CKA_VALUE",
                                         "C_GetAttributeValue 1 * - len=none of=CKA_VALUE" };
    OSSL_LIB_CTX *faulty = libctx_new_faulty("pkcs11-retry-ms = 40\npkcs11-log = none\n");
    unsigned char secret[32];
    size_t len;

    (void)state;
    for (struct type *type = types; type < types + COUNT_OF(types); type++) {
        EVP_PKEY *key;

        if (!type->there || type->slow)
            continue;
        key = loaded(faulty, type, "private");
        if (type->kind == ENCAPSULATES)
            assert_true(encapsulate(faulty, key, sig, &len, secret));
        for (size_t i = 0; i < COUNT_OF(rules); i++) {
            if ((type->kind == SIGNS) != (strncmp(rules[i], "C_Sign ", 7) == 0))
                continue;
            fault(rules[i]);
            assert_false(type->kind == SIGNS ? sign(faulty, key, NULL, message, 100, sig2, &len)
                                             : decapsulate(faulty, key, sig, len, secret));
            fault("");
        }
        EVP_PKEY_free(key);
        ERR_clear_error();
    }
    OSSL_LIB_CTX_free(faulty);
}

/* Whether key is what its public half says. */
static bool is_whole(OSSL_LIB_CTX *in, const struct type *type, EVP_PKEY *key)
{
    EVP_PKEY *public = key_public_copy(key, plain);
    unsigned char a[32], b[32];
    size_t len;
    bool ok = type->kind == SIGNS
                  ? sign(in, key, NULL, message, 100, sig, &len) &&
                        verify(plain, public, NULL, message, 100, sig, len)
                  : encapsulate(plain, public, sig, &len, a) && decapsulate(in, key, sig, len, b) &&
                        memcmp(a, b, sizeof(a)) == 0;

    EVP_PKEY_free(public);
    return ok;
}

/* NSS softokn has no two keys with one CKA_ID. */
static bool make_twins(const struct type *type)
{
    char names[64], error[1024];
    bool both = true;

    snprintf(names, sizeof(names), "twin-%s;id=twin-%s", type->name, type->name);
    for (int n = 0; n < 2 && both; n++) {
        EVP_PKEY *key = generate(libctx, type->name, names);

        both = key != NULL;
        if (both)
            assert_true(is_whole(libctx, type, key));
        else
            printf("%s: no twins: %s\n", type->name, last_error(error, sizeof(error)));
        EVP_PKEY_free(key);
    }
    return both;
}

/* Two pairs with the same names, where the private object does not show its public half: the
 * private key itself says which one it is. */
static void test_pq_pairs(void **state)
{
    OSSL_LIB_CTX *faulty = libctx_new_faulty("");

    (void)state;
    fault("C_GetAttributeValue 1 * - len=none of=CKA_PUBLIC_KEY_INFO");
    for (struct type *type = types; type < types + COUNT_OF(types); type++) {
        char uri[256];
        OSSL_STORE_CTX *store;
        unsigned found = 0;

        if (!type->there || type->slow || !make_twins(type))
            continue;
        snprintf(uri, sizeof(uri), "%s;object=twin-%s;type=private", token_uri(), type->name);
        store = OSSL_STORE_open_ex(uri, faulty, NULL, NULL, NULL, NULL, NULL, NULL);
        while (!OSSL_STORE_eof(store)) {
            OSSL_STORE_INFO *info = OSSL_STORE_load(store);

            if (info == NULL)
                continue;
            assert_true(is_whole(faulty, type, OSSL_STORE_INFO_get0_PKEY(info)));
            found++;
            OSSL_STORE_INFO_free(info);
        }
        OSSL_STORE_close(store);
        assert_int_equal(found, 2);
    }
    fault("");
    OSSL_LIB_CTX_free(faulty);
    ERR_clear_error();
}

struct thread {
    const struct type *type;
    EVP_PKEY *key;
    unsigned char ciphertext[1600], secret[32];
    size_t len;
    bool ok;
};

static void *work(void *arg)
{
    struct thread *thread = arg;
    unsigned char *own = malloc(SIG_MAX), secret[32];
    size_t len;

    thread->ok = own != NULL;
    for (int n = 0; thread->ok && n < 20; n++)
        thread->ok =
            thread->type->kind == SIGNS
                ? sign(libctx, thread->key, NULL, message, 100, own, &len)
                : decapsulate(libctx, thread->key, thread->ciphertext, thread->len, secret) &&
                      memcmp(secret, thread->secret, 32) == 0;
    free(own);
    return NULL;
}

static void test_pq_threads(void **state)
{
    static struct thread threads[8];
    pthread_t ids[COUNT_OF(threads)];
    size_t count = 0;

    (void)state;
    while (count < COUNT_OF(threads))
        for (struct type *type = types; type < types + COUNT_OF(types); type++)
            if (type->there && !type->slow && count < COUNT_OF(threads)) {
                struct thread *thread = &threads[count];

                *thread = (struct thread){ .type = type, .key = loaded(libctx, type, "private") };
                if (type->kind == ENCAPSULATES)
                    assert_true(encapsulate(libctx, thread->key, thread->ciphertext, &thread->len,
                                            thread->secret));
                assert_int_equal(pthread_create(&ids[count++], NULL, work, thread), 0);
            }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(pthread_join(ids[i], NULL), 0);
        assert_true(threads[i].ok);
        EVP_PKEY_free(threads[i].key);
    }
}

/* Whether all keys still do what they did. */
static bool all_whole(EVP_PKEY *keys[])
{
    bool ok = true;

    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (keys[i] != NULL && !is_whole(libctx, &types[i], keys[i])) {
            char error[512];

            printf("%s: %s\n", types[i].name, last_error(error, sizeof(error)));
            ok = false;
        }
    return ok;
}

/* The child uses its parent's keys, and so does the parent meanwhile and afterwards. */
static void test_pq_forks(void **state)
{
    EVP_PKEY *keys[COUNT_OF(types)] = { NULL };
    int status;
    pid_t child;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (types[i].there && !types[i].slow)
            keys[i] = loaded(libctx, &types[i], "private");
    assert_true(all_whole(keys));
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(all_whole(keys) ? 0 : 1);
    assert_true(all_whole(keys));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(all_whole(keys));
    for (size_t i = 0; i < COUNT_OF(types); i++)
        EVP_PKEY_free(keys[i]);
}

static bool known(const char *type)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(plain, type, NULL);
    bool is = ctx != NULL;

    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return is;
}

/* The keys that all cases work with; how many there are. */
static unsigned make_keys(void)
{
    unsigned made = 0;

    for (struct type *type = types; type < types + COUNT_OF(types); type++) {
        char error[1024];
        EVP_PKEY *key;

        snprintf(type->label, sizeof(type->label), "%s", type->name);
        if (!known(type->name))
            continue;
        key = generate(libctx, type->name, type->label);
        type->there = key != NULL;
        made += type->there;
        if (key == NULL)
            printf("%s: %s\n", type->name, last_error(error, sizeof(error)));
        EVP_PKEY_free(key);
    }
    return made;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pq_parameters),
        cmocka_unit_test(test_pq_pem),
        cmocka_unit_test(test_pq_sign),
        cmocka_unit_test(test_pq_sign_context),
        cmocka_unit_test(test_pq_sign_deterministic),
        cmocka_unit_test(test_pq_sign_encoded),
        cmocka_unit_test(test_pq_sign_mu),
        cmocka_unit_test(test_pq_sign_by_name),
        cmocka_unit_test(test_pq_verify_software),
        cmocka_unit_test(test_pq_certificates),
        cmocka_unit_test(test_pq_decapsulate),
        cmocka_unit_test(test_pq_encapsulate_on_token),
        cmocka_unit_test(test_pq_calls),
        cmocka_unit_test(test_pq_not_made),
        cmocka_unit_test(test_pq_session_keys),
        cmocka_unit_test(test_pq_faults),
        cmocka_unit_test(test_pq_lengths),
        cmocka_unit_test(test_pq_pairs),
        cmocka_unit_test(test_pq_threads),
        cmocka_unit_test(test_pq_forks),
    };
    int failed;

    libctx = libctx_new("");
    plain = libctx_new_plain();
    if (!known("ML-DSA-44") || !newer_found(functions, COUNT_OF(functions))) {
        puts("this libcrypto does not know ML-DSA");
        return SKIPPED;
    }
    if (make_keys() == 0) {
        puts("the token does not have ML-DSA");
        return SKIPPED;
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
    return failed;
}
