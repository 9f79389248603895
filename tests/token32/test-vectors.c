/* The token of this folder beside published vectors (tests/vectors): what it signs, refuses and
 * decapsulates with keys that are imported into it. */
#include <stdio.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "module.h"
#include "vectors.h"

#define SIGNATURE_MAX 50000

static ck_session_handle_t session;

#define HASHED(name)                                                                               \
    {                                                                                              \
#name, CKM_HASH_ML_DSA_##name, CKM_HASH_SLH_DSA_##name                                     \
    }

static const struct {
    const char *hash;
    ck_mechanism_type_t ml_dsa, slh_dsa;
} hashes[] = {
    HASHED(SHA224),   HASHED(SHA256),   HASHED(SHA384),   HASHED(SHA512),   HASHED(SHA3_224),
    HASHED(SHA3_256), HASHED(SHA3_384), HASHED(SHA3_512), HASHED(SHAKE128), HASHED(SHAKE256),
};

static ck_mechanism_type_t mechanism_of(const struct vector *vector)
{
    const bool ml_dsa = algorithm32(vector->algorithm)->type == CKK_ML_DSA;

    if (vector->hash == NULL)
        return ml_dsa ? CKM_ML_DSA : CKM_SLH_DSA;
    for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++)
        if (strcmp(hashes[i].hash, vector->hash) == 0)
            return ml_dsa ? hashes[i].ml_dsa : hashes[i].slh_dsa;
    fail_msg("%s: no mechanism", vector->source);
    return 0;
}

static struct sign_context context_of(const struct vector *vector)
{
    return (struct sign_context){ .hedge = CKH_DETERMINISTIC_REQUIRED,
                                  .context = vector->context.data,
                                  .context_len = vector->context.len };
}

static void check_signature(const struct vector *vector)
{
    static unsigned char signature[SIGNATURE_MAX];
    struct sign_context context = context_of(vector);
    struct ck_mechanism mechanism = { mechanism_of(vector), &context, SIGN_CONTEXT_SIZE };
    const bool seeded = vector->seed.data != NULL;
    const struct vector_bytes key = seeded ? vector->seed : vector->sk;
    unsigned long len = sizeof(signature);
    unsigned char sha256[32];

    OK(v2->C_SignInit(session, &mechanism,
                      object_import(session, vector->algorithm, CKO_PRIVATE_KEY,
                                    seeded ? CKA_SEED : CKA_VALUE, key.data, key.len, NULL)));
    OK(v2->C_Sign(session, vector->message.data, vector->message.len, signature, &len));
    assert_int_equal(EVP_Digest(signature, len, sha256, NULL, EVP_sha256(), NULL), 1);
    if (memcmp(sha256, vector->sha256.data, sizeof(sha256)) != 0)
        fail_msg("%s: another signature", vector->source);
}

static ck_rv_t verify_init(const struct vector *vector)
{
    struct sign_context context = context_of(vector);
    struct ck_mechanism mechanism = { mechanism_of(vector), &context, SIGN_CONTEXT_SIZE };

    return v2->C_VerifyInit(session, &mechanism,
                            object_import(session, vector->algorithm, CKO_PUBLIC_KEY, CKA_VALUE,
                                          vector->pk.data, vector->pk.len, NULL));
}

static ck_rv_t verify(const struct vector *vector)
{
    return v2->C_Verify(session, vector->message.data, vector->message.len, vector->signature.data,
                        vector->signature.len);
}

/* The mechanism refuses a context that is too long. */
static void check_refused(const struct vector *vector)
{
    ck_rv_t rv;

    if (vector->context.len > 255) {
        assert_int_equal(verify_init(vector), CKR_MECHANISM_PARAM_INVALID);
        return;
    }
    OK(verify_init(vector));
    rv = verify(vector);
    if (rv != CKR_SIGNATURE_INVALID && rv != CKR_SIGNATURE_LEN_RANGE)
        fail_msg("%s: 0x%lx", vector->source, rv);
}

static void check_accepted(const struct vector *vector)
{
    ck_rv_t rv;

    OK(verify_init(vector));
    rv = verify(vector);
    if (rv != CKR_OK)
        fail_msg("%s: 0x%lx", vector->source, rv);
}

static void check_decapsulation(const struct vector *vector)
{
    static unsigned char yes = 1, no = 0;
    struct ck_attribute readable[] = { { CKA_SENSITIVE, &no, 1 }, { CKA_EXTRACTABLE, &yes, 1 } };
    struct ck_mechanism mechanism = { CKM_ML_KEM, NULL, 0 };
    unsigned char secret[32];
    struct ck_attribute value = { CKA_VALUE, secret, sizeof(secret) };
    ck_object_handle_t key;

    OK(v3->C_DecapsulateKey(session, &mechanism,
                            object_import(session, vector->algorithm, CKO_PRIVATE_KEY, CKA_VALUE,
                                          vector->dk.data, vector->dk.len, NULL),
                            readable, 2, vector->c.data, vector->c.len, &key));
    OK(v2->C_GetAttributeValue(session, key, &value, 1));
    if (memcmp(secret, vector->k.data, sizeof(secret)) != 0)
        fail_msg("%s: another secret", vector->source);
}

/* All vectors of this operation, but those of a mu, which no mechanism takes. */
static void check_all(const char *operation, void (*check)(const struct vector *vector))
{
    struct vector vector = { 0 };
    FILE *file = vectors_open();
    unsigned count = 0;

    while (vectors_next(file, &vector))
        if (strcmp(vector.operation, operation) == 0 && vector.mu.data == NULL) {
            check(&vector);
            count++;
        }
    (void)fclose(file);
    assert_true(count >= 10);
}

static int begin(void **state)
{
    (void)state;
    OK(v2->C_Initialize(NULL));
    session = session_login();
    return 0;
}

static int end(void **state)
{
    (void)state;
    OK(v2->C_Finalize(NULL));
    return 0;
}

static void test_signatures(void **state)
{
    (void)state;
    NEEDS("ML-DSA-44");
    check_all("sign", check_signature);
}

static void test_refused_signatures(void **state)
{
    (void)state;
    NEEDS("ML-DSA-44");
    check_all("refuse", check_refused);
}

static void test_accepted_signatures(void **state)
{
    (void)state;
    NEEDS("ML-DSA-44");
    check_all("accept", check_accepted);
}

static void test_decapsulations(void **state)
{
    (void)state;
    NEEDS("ML-KEM-512");
    check_all("decapsulate", check_decapsulation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_signatures, begin, end),
        cmocka_unit_test_setup_teardown(test_refused_signatures, begin, end),
        cmocka_unit_test_setup_teardown(test_accepted_signatures, begin, end),
        cmocka_unit_test_setup_teardown(test_decapsulations, begin, end),
    };

    module_open();
    return cmocka_run_group_tests_name("token32/vectors", tests, NULL, NULL);
}
