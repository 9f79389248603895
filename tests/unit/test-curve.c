#include "unit.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/objects.h>

#include "mech/curve.h"

/* Bits, strength, longest signature and point length as libcrypto has them for a software key. */
static void test_curve_agrees_with_libcrypto(void **state)
{
    static const char *const names[] = {
        "P-192",           "P-224",           "P-256",           "P-384",
        "P-521",           "secp256k1",       "brainpoolP192r1", "brainpoolP224r1",
        "brainpoolP256r1", "brainpoolP256t1", "brainpoolP320r1", "brainpoolP320t1",
        "brainpoolP384r1", "brainpoolP384t1", "brainpoolP512r1", "brainpoolP512t1",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", names[i]);
        const struct curve *curve = curve_by_name(names[i]);
        char group[64], name[64];
        size_t len = 0;

        check_case(key != NULL && curve != NULL, names[i]);
        EVP_PKEY_get_group_name(key, group, sizeof(group), &len);
        check_text(curve_name(curve, name, sizeof(name)), group, names[i]);
        check_case(curve->order_bits == (unsigned)EVP_PKEY_get_bits(key), names[i]);
        check_case(curve_security_bits(curve) == (unsigned)EVP_PKEY_get_security_bits(key),
                   names[i]);
        check_case(curve->signature_max == (size_t)EVP_PKEY_get_size(key), names[i]);
        EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0, &len);
        check_case(len == 1 + 2 * curve_field_bytes(curve) && len <= EC_POINT_MAX, names[i]);
        EVP_PKEY_free(key);
    }
}

static void test_curve_by_params(void **state)
{
    static const struct {
        const char *name, *params;
        size_t len;
        const char *curve;
    } cases[] = {
        { "P-256", "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10, "P-256" },
        { "something behind", "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x05\x00", 12, NULL },
        { "explicit parameters", "\x30\x03\x02\x01\x01", 5, NULL },
        { "a curve's name", "\x13\x05P-256", 7, NULL },
        { "an unknown OID", "\x06\x03\x2a\x03\x04", 5, NULL },
        { "Ed25519", "\x06\x03\x2b\x65\x70", 5, "ED25519" },
        { "Ed25519 by name", "\x13\x0c\x65\x64wards25519", 14, "ED25519" },
        { "Ed25519 by its old OID", "\x06\x09\x2b\x06\x01\x04\x01\xda\x47\x0f\x01", 11, "ED25519" },
        { "X25519 by name", "\x13\x0a\x63urve25519", 12, "X25519" },
        { "a name that is too long",
          "\x13\x28"
          "0123456789012345678901234567890123456789",
          42, NULL },
        { "nothing", "", 0, NULL },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct curve *expected =
            cases[i].curve != NULL ? curve_by_name(cases[i].curve) : NULL;

        check_case(curve_by_params(
                       (struct view){ (const uint8_t *)cases[i].params, cases[i].len }) == expected,
                   cases[i].name);
    }
}

static size_t explicit_parameters(const char *name, point_conversion_form_t form, uint8_t **der)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(OBJ_txt2nid(name));
    int len;

    EC_GROUP_set_asn1_flag(group, OPENSSL_EC_EXPLICIT_CURVE);
    EC_GROUP_set_point_conversion_form(group, form);
    *der = NULL;
    len = i2d_ECPKParameters(group, der);
    EC_GROUP_free(group);
    return len > 0 ? (size_t)len : 0;
}

static void test_curve_by_explicit_params(void **state)
{
    static const char *const names[] = {
        "prime192v1",      "secp224r1",       "prime256v1",      "secp384r1",
        "secp521r1",       "secp256k1",       "brainpoolP192r1", "brainpoolP224r1",
        "brainpoolP256r1", "brainpoolP256t1", "brainpoolP320r1", "brainpoolP320t1",
        "brainpoolP384r1", "brainpoolP384t1", "brainpoolP512r1", "brainpoolP512t1",
    };
    static const point_conversion_form_t forms[] = { POINT_CONVERSION_UNCOMPRESSED,
                                                     POINT_CONVERSION_COMPRESSED };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names) * COUNT_OF(forms); i++) {
        const char *name = names[i / COUNT_OF(forms)];
        uint8_t *der;
        size_t len = explicit_parameters(name, forms[i % COUNT_OF(forms)], &der);

        check_case(len != 0 && curve_by_params((struct view){ der, len }) == curve_by_name(name),
                   name);
        check_case(curve_by_params((struct view){ der, len - 1 }) == NULL, name);
        OPENSSL_free(der);
    }
}

/* The parameters of another curve, or no parameters at all, whichever byte is another; the seed,
 * which stands behind b, is none of the curve. */
static void test_curve_by_wrong_explicit_params(void **state)
{
    uint8_t *der;
    size_t len = explicit_parameters("prime256v1", POINT_CONVERSION_UNCOMPRESSED, &der);
    size_t seed = len - 3 - 35 - 67 - 23;

    (void)state;
    assert_int_equal(der[seed], 0x03);
    for (size_t i = 0; i < len; i++) {
        bool of_seed = i >= seed + 2 && i < seed + 23;

        der[i] ^= 1;
        if ((curve_by_params((struct view){ der, len }) == NULL) == of_seed)
            fail_msg("byte %zu", i);
        der[i] ^= 1;
    }
    OPENSSL_free(der);
    len = explicit_parameters("secp160r1", POINT_CONVERSION_UNCOMPRESSED, &der);
    assert_null(curve_by_params((struct view){ der, len }));
    OPENSSL_free(der);
}

static void test_curve_raw_agrees_with_libcrypto(void **state)
{
    static const char *const names[] = { "ED25519", "ED448", "X25519", "X448" };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, names[i]);
        const struct curve *curve = curve_by_name(names[i]);
        unsigned char public[64];
        size_t len = sizeof(public);

        check_case(key != NULL && curve != NULL, names[i]);
        check_case(curve->order_bits == (unsigned)EVP_PKEY_get_bits(key), names[i]);
        check_case(curve_security_bits(curve) == (unsigned)EVP_PKEY_get_security_bits(key),
                   names[i]);
        check_case(curve->signature_max == (size_t)EVP_PKEY_get_size(key), names[i]);
        check_case(EVP_PKEY_get_raw_public_key(key, public, &len) == 1, names[i]);
        check_case(curve_point_fits(curve, (struct view){ public, len }), names[i]);
        check_case(!curve_point_fits(curve, (struct view){ public, len - 1 }), names[i]);
        EVP_PKEY_free(key);
    }
}

static void test_curve_point_fits(void **state)
{
    const struct curve *curve = curve_by_name("secp256r1");
    uint8_t point[66] = { 0x04 };

    (void)state;
    assert_true(curve_point_fits(curve, (struct view){ point, 65 }));
    assert_false(curve_point_fits(curve, (struct view){ point, 64 }));
    assert_false(curve_point_fits(curve, (struct view){ point, 66 }));
    assert_false(curve_point_fits(curve, (struct view){ NULL, 0 }));
    point[0] = 0x02;
    assert_false(curve_point_fits(curve, (struct view){ point, 65 }));
    assert_false(curve_point_fits(curve, (struct view){ point, 33 }));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_curve_agrees_with_libcrypto),
        cmocka_unit_test(test_curve_by_params),
        cmocka_unit_test(test_curve_by_explicit_params),
        cmocka_unit_test(test_curve_by_wrong_explicit_params),
        cmocka_unit_test(test_curve_raw_agrees_with_libcrypto),
        cmocka_unit_test(test_curve_point_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
