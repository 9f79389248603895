#include "unit.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "der/algorithm.h"
#include "mech/sign.h"
#include "module/names.h"

static const char *const schemes[] = { [SIGN_RSA_PKCS1] = "PKCS#1",
                                       [SIGN_RSA_PSS] = "PSS",
                                       [SIGN_RSA_RAW] = "raw",
                                       [SIGN_ECDSA] = "ECDSA" };

static struct sign_request request(enum sign_scheme scheme, const char *digest)
{
    const struct digest *found = digest != NULL ? digest_find(digest) : NULL;

    return (
        struct sign_request){ .scheme = scheme, .digest = found, .mgf1 = found, .salt_len = 32 };
}

static void test_sign_mechanisms(void **state)
{
    static const struct {
        enum sign_scheme scheme;
        const char *digest;
        CK_MECHANISM_TYPE token, hashed; /* token 0: none */
    } cases[] = {
        { SIGN_RSA_PKCS1, NULL, 0, CKM_RSA_PKCS },
        { SIGN_RSA_PKCS1, "MD5-SHA1", 0, CKM_RSA_PKCS },
        { SIGN_RSA_PKCS1, "SHA1", CKM_SHA1_RSA_PKCS, CKM_RSA_PKCS },
        { SIGN_RSA_PKCS1, "SHA256", CKM_SHA256_RSA_PKCS, CKM_RSA_PKCS },
        { SIGN_RSA_PKCS1, "SHA512-256", 0, CKM_RSA_PKCS },
        { SIGN_RSA_PKCS1, "SHA3-384", CKM_SHA3_384_RSA_PKCS, CKM_RSA_PKCS },
        { SIGN_RSA_PSS, "SHA512-256", 0, CKM_RSA_PKCS_PSS },
        { SIGN_RSA_PSS, "SHA384", CKM_SHA384_RSA_PKCS_PSS, CKM_RSA_PKCS_PSS },
        { SIGN_RSA_PSS, "SHA3-512", CKM_SHA3_512_RSA_PKCS_PSS, CKM_RSA_PKCS_PSS },
        { SIGN_RSA_RAW, NULL, 0, CKM_RSA_X_509 },
        { SIGN_ECDSA, NULL, 0, CKM_ECDSA },
        { SIGN_ECDSA, "SHA224", CKM_ECDSA_SHA224, CKM_ECDSA },
        { SIGN_ECDSA, "SHA3-256", CKM_ECDSA_SHA3_256, CKM_ECDSA },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sign_request r = request(cases[i].scheme, cases[i].digest);
        const char *name = cases[i].digest != NULL ? cases[i].digest : schemes[cases[i].scheme];
        struct sign_mechanism mechanism;
        CK_MECHANISM_TYPE on_token = sign_type_token(&r);

        check_case(on_token == (cases[i].token != 0 ? cases[i].token : SIGN_NO_MECHANISM), name);
        check_case(cases[i].token == 0 || strncmp(mechanism_name(on_token), "CKM_", 4) == 0, name);
        sign_mechanism(&r, sign_type_hashed(&r), r.context, &mechanism);
        check_case(mechanism.ck.mechanism == cases[i].hashed, name);
        check_case(strncmp(mechanism_name(cases[i].hashed), "CKM_", 4) == 0, name);
        check_case((mechanism.ck.pParameter != NULL) == (cases[i].scheme == SIGN_RSA_PSS), name);
    }
}

/* What a token lacks is remembered by digest, MGF1 and kind of salt. */
static void test_sign_pss_variants(void **state)
{
    static const char *const names[] = { "SHA1", "SHA256", "SHA512-256", "SHA3-512" };
    static const size_t salts[] = { 0, 1, 2,
                                    3 }; /* of the digest's size: none, less, as much, more */
    CK_MECHANISM_TYPE seen[64];
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(seen); i++) {
        struct sign_request r = request(SIGN_RSA_PSS, names[i % 4]);

        r.mgf1 = digest_find(names[i / 4 % 4]);
        r.salt_len = r.digest->size * salts[i / 16] / 2;
        seen[count] = sign_pss_variant(&r);
        assert_true((seen[count] & CKM_VENDOR_DEFINED) != 0);
        assert_true(sign_kind(&r) < SIGN_KINDS);
        for (size_t k = 0; k < count; k++)
            assert_true(seen[k] != seen[count]);
        count++;
        r.salt_len += r.salt_len > r.digest->size; /* the same kind */
        assert_true(sign_pss_variant(&r) == seen[count - 1]);
    }
}

/* What a key remembers of the token is by scheme and digest; of PSS, by the variant too. */
static void test_sign_kinds(void **state)
{
    bool seen[SIGN_KINDS] = { false };

    (void)state;
    for (size_t i = 0; i < SIGN_SCHEMES * (DIGESTS + 1UL); i++) {
        struct sign_request r = { .scheme = (enum sign_scheme)(i / (DIGESTS + 1)) };
        size_t row = i % (DIGESTS + 1);
        unsigned kind;

        r.digest = row < DIGESTS ? &digests[row] : NULL;
        if (r.scheme == SIGN_RSA_PSS && r.digest == NULL)
            continue;
        r.mgf1 = r.digest;
        kind = sign_kind(&r);
        assert_true(kind < SIGN_KINDS);
        assert_false(seen[kind]);
        seen[kind] = true;
    }
}

static void test_sign_eddsa_parameters(void **state)
{
    static const uint8_t context[] = { 'c', 't', 'x' };
    struct sign_request r = { .scheme = SIGN_EDDSA };
    struct sign_mechanism mechanism;

    (void)state;
    sign_mechanism(&r, sign_type_token(&r), r.context, &mechanism);
    assert_null(mechanism.ck.pParameter);
    r = (struct sign_request){ .scheme = SIGN_EDDSA,
                               .eddsa_params = true,
                               .prehash = true,
                               .context = { context, sizeof(context) } };
    sign_mechanism(&r, sign_type_token(&r), r.context, &mechanism);
    assert_int_equal(mechanism.ck.mechanism, CKM_EDDSA);
    assert_ptr_equal(mechanism.ck.pParameter, &mechanism.eddsa);
    assert_int_equal(mechanism.ck.ulParameterLen, sizeof(mechanism.eddsa));
    assert_int_equal(mechanism.eddsa.phFlag, CK_TRUE);
    assert_ptr_equal(mechanism.eddsa.pContextData, context);
    assert_int_equal(mechanism.eddsa.ulContextDataLen, sizeof(context));
}

static void test_sign_pss_parameters(void **state)
{
    struct sign_request r = { .scheme = SIGN_RSA_PSS,
                              .digest = digest_find("SHA384"),
                              .mgf1 = digest_find("SHA1"),
                              .salt_len = 17 };
    struct sign_mechanism mechanism;

    (void)state;
    sign_mechanism(&r, sign_type_hashed(&r), r.context, &mechanism);
    assert_int_equal(mechanism.pss.hashAlg, CKM_SHA384);
    assert_int_equal(mechanism.pss.mgf, CKG_MGF1_SHA1);
    assert_int_equal(mechanism.pss.sLen, 17);
    assert_ptr_equal(mechanism.ck.pParameter, &mechanism.pss);
    assert_int_equal(mechanism.ck.ulParameterLen, sizeof(mechanism.pss));
}

static void test_sign_input(void **state)
{
    static const struct {
        enum sign_scheme scheme;
        const char *digest, *curve;
        size_t len, input_len;
    } cases[] = {
        { SIGN_RSA_PKCS1, "SHA256", NULL, 32, 32 + 19 },
        { SIGN_RSA_PKCS1, "SHA1", NULL, 20, 20 + 15 },
        { SIGN_RSA_PKCS1, "MD5-SHA1", NULL, 36, 36 },
        { SIGN_RSA_PKCS1, NULL, NULL, 50, 50 },
        { SIGN_RSA_PSS, "SHA512", NULL, 64, 64 },
        { SIGN_RSA_RAW, NULL, NULL, 256, 256 },
        { SIGN_RSA_RAW, NULL, NULL, SIGN_INPUT_MAX, SIGN_INPUT_MAX },
        { SIGN_RSA_RAW, NULL, NULL, SIGN_INPUT_MAX + 1, 0 },
        { SIGN_ECDSA, "SHA512", "P-256", 64, 32 },
        { SIGN_ECDSA, "SHA256", "P-256", 32, 32 },
        { SIGN_ECDSA, "SHA1", "P-256", 20, 20 },
        { SIGN_ECDSA, "SHA512", "P-521", 64, 64 },
        { SIGN_ECDSA, NULL, "P-384", 100, 48 },
    };
    static uint8_t data[SIGN_INPUT_MAX + 1], out[SIGN_INPUT_MAX];

    (void)state;
    memset(data, 0x5a, sizeof(data));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sign_request r = request(cases[i].scheme, cases[i].digest);
        const struct curve *curve = cases[i].curve != NULL ? curve_by_name(cases[i].curve) : NULL;
        struct view in = sign_input(&r, curve, (struct view){ data, cases[i].len }, out);

        check_case(in.len == cases[i].input_len, schemes[cases[i].scheme]);
        check_case(in.len == 0 || in.data[in.len - 1] == 0x5a, schemes[cases[i].scheme]);
    }
}

/* The AlgorithmIdentifier that libcrypto's own implementation gives for the same request. */
static size_t libcrypto_algorithm(EVP_PKEY *key, const struct sign_request *r, uint8_t *out,
                                  size_t size)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    char name[32];
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, out, size),
        OSSL_PARAM_construct_end(),
    };

    digest_name(r->digest, name, sizeof(name));
    assert_int_equal(EVP_DigestSignInit_ex(ctx, &pctx, name, NULL, NULL, key, NULL), 1);
    if (r->scheme == SIGN_RSA_PSS) {
        EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, (int)r->salt_len);
    }
    if (EVP_PKEY_CTX_get_params(pctx, params) != 1)
        params[0].return_size = 0;
    EVP_MD_CTX_free(ctx);
    return params[0].return_size;
}

static void test_sign_algorithm_as_libcrypto(void **state)
{
    EVP_PKEY *rsa = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    EVP_PKEY *ec = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    static const enum sign_scheme all[] = { SIGN_RSA_PKCS1, SIGN_RSA_PSS, SIGN_ECDSA };

    (void)state;
    for (size_t s = 0; s < COUNT_OF(all); s++)
        for (size_t d = 0; d < DIGESTS - 1; d++) {
            struct sign_request r = {
                .scheme = all[s], .digest = &digests[d], .mgf1 = &digests[d], .salt_len = 32
            };
            uint8_t der[ALGORITHM_IDENTIFIER_MAX], expected[256];
            size_t len = sign_algorithm(&r, der, sizeof(der));
            size_t expected_len = libcrypto_algorithm(all[s] == SIGN_ECDSA ? ec : rsa, &r, expected,
                                                      sizeof(expected));

            if (expected_len == 0 || len == 0)
                continue; /* pairs that the one or the other does not have */
            check_case(len == expected_len && memcmp(der, expected, len) == 0, digests[d].names);
        }
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
}

/* CK_SIGN_ADDITIONAL_CONTEXT where something is asked for, and the same with the hash of a message.
 */
static void test_sign_sets(void **state)
{
    struct sign_request request = { .scheme = SIGN_SET, .set = set_by_name("ML-DSA-65") };
    struct sign_mechanism mechanism;

    (void)state;
    sign_mechanism(&request, sign_type_token(&request), request.context, &mechanism);
    assert_int_equal(mechanism.ck.mechanism, CKM_ML_DSA);
    assert_int_equal(mechanism.ck.ulParameterLen, 0);
    request.hedge = HEDGE_DETERMINISTIC;
    sign_mechanism(&request, sign_type_token(&request), request.context, &mechanism);
    assert_int_equal(mechanism.ck.ulParameterLen, 3 * sizeof(CK_ULONG));
    request.digest = digest_find("SHA2-384");
    sign_mechanism(&request, sign_type_token(&request), request.context, &mechanism);
    assert_int_equal(mechanism.ck.mechanism, CKM_HASH_ML_DSA);
    assert_int_equal(mechanism.ck.ulParameterLen, 4 * sizeof(CK_ULONG));
    assert_int_equal(mechanism.additional.hash, CKM_SHA384);
    assert_true(sign_is_whole(CKM_HASH_ML_DSA));
    request.set = set_by_name("SLH-DSA-SHA2-128f");
    assert_int_equal(sign_type_token(&request), CKM_HASH_SLH_DSA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sign_mechanisms),
        cmocka_unit_test(test_sign_pss_variants),
        cmocka_unit_test(test_sign_kinds),
        cmocka_unit_test(test_sign_eddsa_parameters),
        cmocka_unit_test(test_sign_pss_parameters),
        cmocka_unit_test(test_sign_input),
        cmocka_unit_test(test_sign_algorithm_as_libcrypto),
        cmocka_unit_test(test_sign_sets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
