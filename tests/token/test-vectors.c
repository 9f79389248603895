/* Published vectors (tests/vectors) through the provider: keys that are imported into the token of
 * tests/token32 sign, refuse and decapsulate as they should. What libcrypto or the provider does
 * not offer is skipped. */
#include "harness.h"
#include "module.h"
#include "vectors.h"

#include <openssl/err.h>
#include <openssl/params.h>

#define SIGNATURE_MAX 50000
#define LABEL         "vector"

static ck_session_handle_t session;
static OSSL_LIB_CTX *libctx;

static bool is_offered(const char *algorithm)
{
    EVP_KEYMGMT *keymgmt = EVP_KEYMGMT_fetch(libctx, algorithm, "provider=pkcs11");
    const bool offered = keymgmt != NULL;

    EVP_KEYMGMT_free(keymgmt);
    return offered;
}

/* The parameters that a vector wants. */
static void params_of(const struct vector *vector, OSSL_PARAM params[3])
{
    static int deterministic = 1;

    *params++ = OSSL_PARAM_construct_int("deterministic", &deterministic);
    if (vector->context.len > 0)
        *params++ = OSSL_PARAM_construct_octet_string("context-string", vector->context.data,
                                                      vector->context.len);
    *params = OSSL_PARAM_construct_end();
}

static void check_signature(const struct vector *vector)
{
    static unsigned char signature[SIGNATURE_MAX];
    EVP_PKEY *key = key_load(libctx, LABEL, "private");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = sizeof(signature);
    unsigned char sha256[32];
    OSSL_PARAM params[3];
    char error[600];

    params_of(vector, params);
    if (EVP_DigestSignInit_ex(ctx, NULL, NULL, libctx, NULL, key, params) != 1 ||
        EVP_DigestSign(ctx, signature, &len, vector->message.data, vector->message.len) != 1)
        fail_msg("%s: %s", vector->source, last_error(error, sizeof(error)));
    assert_int_equal(EVP_Digest(signature, len, sha256, NULL, EVP_sha256(), NULL), 1);
    if (memcmp(sha256, vector->sha256.data, sizeof(sha256)) != 0)
        fail_msg("%s: another signature", vector->source);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
}

static const struct {
    const char *hash, *digest;
    unsigned char oid; /* the last byte of 2.16.840.1.101.3.4.2.x */
} hashes[] = {
    { "SHA224", "SHA2-224", 4 },   { "SHA256", "SHA2-256", 1 },    { "SHA384", "SHA2-384", 2 },
    { "SHA512", "SHA2-512", 3 },   { "SHA3_224", "SHA3-224", 7 },  { "SHA3_256", "SHA3-256", 8 },
    { "SHA3_384", "SHA3-384", 9 }, { "SHA3_512", "SHA3-512", 10 },
};

/* M' of FIPS 205 §10.2.2, encoded: its length; 0 for a hash that PKCS#11 has no name for. */
static size_t hashed_message(const struct vector *vector, unsigned char *out)
{
    unsigned char oid[] = { 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 0 };
    size_t i = 0, len, at = 2 + vector->context.len;

    while (i < COUNT_OF(hashes) && strcmp(hashes[i].hash, vector->hash) != 0)
        i++;
    if (i == COUNT_OF(hashes))
        return 0;
    oid[10] = hashes[i].oid;
    out[0] = 1;
    out[1] = (unsigned char)vector->context.len;
    memcpy(out + 2, vector->context.data, vector->context.len);
    memcpy(out + at, oid, sizeof(oid));
    at += sizeof(oid);
    assert_int_equal(EVP_Q_digest(NULL, hashes[i].digest, NULL, vector->message.data,
                                  vector->message.len, out + at, &len),
                     1);
    return at + len;
}

/* libcrypto has the hash of a message signed by encoding it itself. */
static void check_hashed(const struct vector *vector)
{
    static unsigned char signature[SIGNATURE_MAX];
    EVP_PKEY *key = key_load(libctx, LABEL, "private");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char encoded[512] = { 1, 0, 6 }, sha256[32];
    const size_t encoded_len = hashed_message(vector, encoded);
    size_t len = sizeof(signature);
    int deterministic = 1, raw = 0;
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_int("deterministic", &deterministic),
                                  OSSL_PARAM_construct_int("message-encoding", &raw),
                                  OSSL_PARAM_construct_end() };
    char error[600];

    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, NULL, libctx, NULL, key, params), 1);
    if (EVP_DigestSign(ctx, signature, &len, encoded, encoded_len) != 1)
        (void)last_error(error, sizeof(error));
    else
        error[0] = '\0';
    assert_int_equal(EVP_Digest(signature, len, sha256, NULL, EVP_sha256(), NULL), 1);
    if (encoded_len == 0)
        assert_non_null(strstr(error, "cannot sign this encoded message"));
    else if (error[0] != '\0' || memcmp(sha256, vector->sha256.data, sizeof(sha256)) != 0)
        fail_msg("%s: another signature: %s", vector->source, error);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
}

static void check_refusal(const struct vector *vector)
{
    EVP_PKEY *key = key_load(libctx, LABEL, "public");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    OSSL_PARAM params[3];

    assert_non_null(key);
    params_of(vector, params);
    if (EVP_DigestVerifyInit_ex(ctx, NULL, NULL, libctx, NULL, key, params) == 1 &&
        EVP_DigestVerify(ctx, vector->signature.data, vector->signature.len, vector->message.data,
                         vector->message.len) == 1)
        fail_msg("%s: verified", vector->source);
    ERR_clear_error();
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
}

static void check_decapsulation(const struct vector *vector)
{
    EVP_PKEY *key = key_load(libctx, LABEL, "private");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    unsigned char secret[32];
    size_t len = sizeof(secret);
    char error[600];

    if (EVP_PKEY_decapsulate_init(ctx, NULL) != 1 ||
        EVP_PKEY_decapsulate(ctx, secret, &len, vector->c.data, vector->c.len) != 1)
        fail_msg("%s: %s", vector->source, last_error(error, sizeof(error)));
    assert_int_equal(len, sizeof(secret));
    if (memcmp(secret, vector->k.data, len) != 0)
        fail_msg("%s: another secret", vector->source);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
}

/* What a vector may have of a key, and as what the token takes it. */
static ck_object_handle_t key_import(const struct vector *vector)
{
    const struct {
        const struct vector_bytes *value;
        ck_object_class_t class;
        ck_attribute_type_t type;
    } kinds[] = {
        { &vector->seed, CKO_PRIVATE_KEY, CKA_SEED },
        { &vector->sk, CKO_PRIVATE_KEY, CKA_VALUE },
        { &vector->dk, CKO_PRIVATE_KEY, CKA_VALUE },
        { &vector->pk, CKO_PUBLIC_KEY, CKA_VALUE },
    };

    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (kinds[i].value->data != NULL)
            return object_import(session, vector->algorithm, kinds[i].class, kinds[i].type,
                                 kinds[i].value->data, kinds[i].value->len, LABEL);
    fail_msg("%s: no key", vector->source);
    return 0;
}

/* All vectors of this operation, of algorithms that begin so, of messages that are hashed before or
 * are not. */
static void check_all(const char *settings, const char *algorithm, const char *operation,
                      bool hashed, void (*check)(const struct vector *vector))
{
    struct vector vector = { 0 };
    FILE *file = vectors_open();
    unsigned count = 0;

    libctx = libctx_new(settings);
    while (vectors_next(file, &vector)) {
        ck_object_handle_t object;

        if (strcmp(vector.operation, operation) != 0 || (vector.hash != NULL) != hashed ||
            strncmp(vector.algorithm, algorithm, strlen(algorithm)) != 0)
            continue;
        if (!is_offered(vector.algorithm))
            break;
        object = key_import(&vector);
        check(&vector);
        OK(v2->C_DestroyObject(session, object));
        count++;
    }
    while (vectors_next(file, &vector)) {
    }
    (void)fclose(file);
    OSSL_LIB_CTX_free(libctx);
    if (count == 0)
        skip();
}

#define CASE(name, settings, algorithm, operation, hashed, check)                                  \
    static void test_vectors_##name(void **state)                                                  \
    {                                                                                              \
        (void)state;                                                                               \
        check_all(settings, algorithm, operation, hashed, check);                                  \
    }

CASE(ml_dsa, "", "ML-DSA", "sign", false, check_signature)
CASE(ml_dsa_refused, "", "ML-DSA", "refuse", false, check_refusal)
CASE(ml_dsa_refused_on_token, "pkcs11-public-operations = token\n", "ML-DSA", "refuse", false,
     check_refusal)
CASE(slh_dsa, "", "SLH-DSA", "sign", false, check_signature)
CASE(slh_dsa_hashed, "", "SLH-DSA", "sign", true, check_hashed)
CASE(ml_kem, "", "ML-KEM", "decapsulate", false, check_decapsulation)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors_ml_dsa),
        cmocka_unit_test(test_vectors_ml_dsa_refused),
        cmocka_unit_test(test_vectors_ml_dsa_refused_on_token),
        cmocka_unit_test(test_vectors_slh_dsa),
        cmocka_unit_test(test_vectors_slh_dsa_hashed),
        cmocka_unit_test(test_vectors_ml_kem),
    };

    module_open();
    OK(v2->C_Initialize(NULL));
    session = session_login();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
