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
    static int deterministic = 1, mu = 1;

    if (vector->mu.data != NULL)
        *params++ = OSSL_PARAM_construct_int("mu", &mu);
    else
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

static const struct hash {
    const char *name, *digest;
    unsigned char oid; /* the last byte of 2.16.840.1.101.3.4.2.x */
    unsigned char len; /* of what has no length by itself, and no name in PKCS#11 */
} hashes[] = {
    { "SHA224", "SHA2-224", 4, 0 },      { "SHA256", "SHA2-256", 1, 0 },
    { "SHA384", "SHA2-384", 2, 0 },      { "SHA512", "SHA2-512", 3, 0 },
    { "SHA3_224", "SHA3-224", 7, 0 },    { "SHA3_256", "SHA3-256", 8, 0 },
    { "SHA3_384", "SHA3-384", 9, 0 },    { "SHA3_512", "SHA3-512", 10, 0 },
    { "SHAKE128", "SHAKE-128", 11, 32 }, { "SHAKE256", "SHAKE-256", 12, 64 },
};

static const struct hash *hash_of(const struct vector *vector)
{
    for (size_t i = 0; i < COUNT_OF(hashes); i++)
        if (strcmp(hashes[i].name, vector->hash) == 0)
            return &hashes[i];
    fail_msg("%s: no hash", vector->source);
    return NULL;
}

/* Its length. */
static size_t digest(const struct hash *hash, const struct vector_bytes *message,
                     unsigned char *out)
{
    EVP_MD *md = EVP_MD_fetch(NULL, hash->digest, NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned len = hash->len;

    assert_int_equal(EVP_DigestInit_ex(ctx, md, NULL), 1);
    assert_int_equal(EVP_DigestUpdate(ctx, message->data, message->len), 1);
    assert_int_equal(
        len == 0 ? EVP_DigestFinal_ex(ctx, out, &len) : EVP_DigestFinalXOF(ctx, out, len), 1);
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(md);
    return len;
}

/* M' of FIPS 204 §5.4 and FIPS 205 §10.2.2, encoded: its length. */
static size_t hashed_message(const struct vector *vector, unsigned char *out)
{
    const struct hash *hash = hash_of(vector);
    const unsigned char oid[] = { 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, hash->oid };
    const size_t at = 2 + vector->context.len;

    out[0] = 1;
    out[1] = (unsigned char)vector->context.len;
    memcpy(out + 2, vector->context.data, vector->context.len);
    memcpy(out + at, oid, sizeof(oid));
    return at + sizeof(oid) + digest(hash, &vector->message, out + at + sizeof(oid));
}

/* libcrypto has the hash of a message signed by encoding it itself. */
static void check_hashed(const struct vector *vector)
{
    static unsigned char signature[SIGNATURE_MAX];
    EVP_PKEY *key = key_load(libctx, LABEL, "private");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char encoded[512], sha256[32];
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
    if (hash_of(vector)->len != 0)
        assert_non_null(strstr(error, "cannot sign this encoded message"));
    else if (error[0] != '\0' || memcmp(sha256, vector->sha256.data, sizeof(sha256)) != 0)
        fail_msg("%s: another signature: %s", vector->source, error);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
}

static void check_signing(const struct vector *vector)
{
    if (vector->hash != NULL)
        check_hashed(vector);
    else
        check_signature(vector);
}

/* What is verified: the message or its mu as it is, or the encoding of its hash. */
static bool verifies(const struct vector *vector)
{
    static int raw = 0;
    EVP_PKEY *key = key_load(libctx, LABEL, "public");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    struct vector_bytes message = vector->mu.data != NULL ? vector->mu : vector->message;
    unsigned char encoded[512];
    OSSL_PARAM params[3];
    bool ok;

    assert_non_null(key);
    params_of(vector, params);
    if (vector->hash != NULL) {
        message = (struct vector_bytes){ encoded, hashed_message(vector, encoded) };
        params[0] = OSSL_PARAM_construct_int("message-encoding", &raw);
        params[1] = OSSL_PARAM_construct_end();
    }
    ok = EVP_DigestVerifyInit_ex(ctx, NULL, NULL, libctx, NULL, key, params) == 1 &&
         EVP_DigestVerify(ctx, vector->signature.data, vector->signature.len, message.data,
                          message.len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok;
}

static void check_refusal(const struct vector *vector)
{
    if (verifies(vector))
        fail_msg("%s: verified", vector->source);
    ERR_clear_error();
}

/* A token takes no mu, and of hashes none that PKCS#11 has no name for. */
static bool is_for_token(const struct vector *vector)
{
    return vector->mu.data == NULL && (vector->hash == NULL || hash_of(vector)->len == 0);
}

static void check_acceptance(const struct vector *vector)
{
    char error[600];

    if (!verifies(vector))
        fail_msg("%s: %s", vector->source, last_error(error, sizeof(error)));
}

static void check_acceptance_on_token(const struct vector *vector)
{
    if (is_for_token(vector))
        check_acceptance(vector);
    else
        check_refusal(vector);
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

/* All vectors of this operation, of algorithms that begin so. */
static void check_all(const char *settings, const char *algorithm, const char *operation,
                      void (*check)(const struct vector *vector))
{
    struct vector vector = { 0 };
    FILE *file = vectors_open();
    unsigned count = 0;

    libctx = libctx_new(settings);
    while (vectors_next(file, &vector)) {
        ck_object_handle_t object;

        if (strcmp(vector.operation, operation) != 0 ||
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

#define ON_TOKEN "pkcs11-public-operations = token\n"

#define CASE(name, settings, algorithm, operation, check)                                          \
    static void test_vectors_##name(void **state)                                                  \
    {                                                                                              \
        (void)state;                                                                               \
        check_all(settings, algorithm, operation, check);                                          \
    }

CASE(ml_dsa, "", "ML-DSA", "sign", check_signing)
CASE(ml_dsa_accepted, "", "ML-DSA", "accept", check_acceptance)
CASE(ml_dsa_refused, "", "ML-DSA", "refuse", check_refusal)
CASE(ml_dsa_accepted_on_token, ON_TOKEN, "ML-DSA", "accept", check_acceptance_on_token)
CASE(ml_dsa_refused_on_token, ON_TOKEN, "ML-DSA", "refuse", check_refusal)
CASE(slh_dsa, "", "SLH-DSA", "sign", check_signing)
CASE(slh_dsa_accepted, "", "SLH-DSA", "accept", check_acceptance)
CASE(slh_dsa_refused, "", "SLH-DSA", "refuse", check_refusal)
CASE(slh_dsa_accepted_on_token, ON_TOKEN, "SLH-DSA", "accept", check_acceptance_on_token)
CASE(slh_dsa_refused_on_token, ON_TOKEN, "SLH-DSA", "refuse", check_refusal)
CASE(ml_kem, "", "ML-KEM", "decapsulate", check_decapsulation)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors_ml_dsa),
        cmocka_unit_test(test_vectors_ml_dsa_accepted),
        cmocka_unit_test(test_vectors_ml_dsa_refused),
        cmocka_unit_test(test_vectors_ml_dsa_accepted_on_token),
        cmocka_unit_test(test_vectors_ml_dsa_refused_on_token),
        cmocka_unit_test(test_vectors_slh_dsa),
        cmocka_unit_test(test_vectors_slh_dsa_accepted),
        cmocka_unit_test(test_vectors_slh_dsa_refused),
        cmocka_unit_test(test_vectors_slh_dsa_accepted_on_token),
        cmocka_unit_test(test_vectors_slh_dsa_refused_on_token),
        cmocka_unit_test(test_vectors_ml_kem),
    };

    module_open();
    OK(v2->C_Initialize(NULL));
    session = session_login();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
