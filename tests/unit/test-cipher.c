#include "unit.h"

#include "mech/cipher.h"

static struct cipher_request request(enum cipher_padding padding, const char *digest,
                                     const char *mgf1)
{
    return (struct cipher_request){ .padding = padding,
                                    .digest = digest_find(digest),
                                    .mgf1 = digest_find(mgf1) };
}

static void test_cipher_mechanisms(void **state)
{
    static const struct {
        const char *name;
        enum cipher_padding padding;
        CK_MECHANISM_TYPE mechanism;
    } cases[] = {
        { "PKCS#1", CIPHER_PKCS1, CKM_RSA_PKCS },
        { "TLS", CIPHER_TLS, CKM_RSA_PKCS },
        { "OAEP", CIPHER_OAEP, CKM_RSA_PKCS_OAEP },
        { "raw", CIPHER_RAW, CKM_RSA_X_509 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct cipher_request r = request(cases[i].padding, "SHA1", "SHA1");
        struct cipher_mechanism mechanism;

        check_case(cipher_mechanism(&r, &mechanism), cases[i].name);
        check_case(mechanism.ck.mechanism == cases[i].mechanism, cases[i].name);
        check_case((mechanism.ck.pParameter != NULL) == (cases[i].padding == CIPHER_OAEP),
                   cases[i].name);
    }
}

static void test_cipher_oaep_parameters(void **state)
{
    static const uint8_t label[] = "label";
    struct cipher_request r = request(CIPHER_OAEP, "SHA256", "SHA3-512");
    struct cipher_mechanism mechanism;

    (void)state;
    r.label = (struct view){ label, 5 };
    assert_true(cipher_mechanism(&r, &mechanism));
    assert_int_equal(mechanism.oaep.hashAlg, CKM_SHA256);
    assert_int_equal(mechanism.oaep.mgf, CKG_MGF1_SHA3_512);
    assert_int_equal(mechanism.oaep.source, CKZ_DATA_SPECIFIED);
    assert_ptr_equal(mechanism.oaep.pSourceData, label);
    assert_int_equal(mechanism.oaep.ulSourceDataLen, 5);
    assert_ptr_equal(mechanism.ck.pParameter, &mechanism.oaep);
    /* PKCS#11 has no MGF1 with every digest */
    r = request(CIPHER_OAEP, "SHA256", "SHA512-256");
    assert_false(cipher_mechanism(&r, &mechanism));
    cipher_mechanism_raw(&mechanism);
    assert_int_equal(mechanism.ck.mechanism, CKM_RSA_X_509);
    assert_null(mechanism.ck.pParameter);
}

/* Each use of OAEP has a number of its own, which is no mechanism's. */
static void test_cipher_oaep_variants_differ(void **state)
{
    CK_MECHANISM_TYPE seen[DIGESTS * DIGESTS * 2];
    size_t count = 0;

    (void)state;
    for (size_t d = 0; d < DIGESTS; d++)
        for (size_t m = 0; m < DIGESTS; m++)
            for (size_t l = 0; l < 2; l++) {
                struct cipher_request r = { .digest = &digests[d],
                                            .mgf1 = &digests[m],
                                            .label = { NULL, l } };
                CK_MECHANISM_TYPE variant = cipher_oaep_variant(&r);

                assert_true((variant & CKM_VENDOR_DEFINED) != 0);
                for (size_t i = 0; i < count; i++)
                    assert_true(seen[i] != variant);
                seen[count++] = variant;
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cipher_mechanisms),
        cmocka_unit_test(test_cipher_oaep_parameters),
        cmocka_unit_test(test_cipher_oaep_variants_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
