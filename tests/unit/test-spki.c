#include "unit.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>

#include "der/spki.h"
#include "mech/curve.h"

/* A public key of bits with exponent e; the modulus need not be a product of primes for this. */
static EVP_PKEY *rsa_public(unsigned bits, unsigned long e, uint8_t *n)
{
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    BIGNUM *modulus = BN_new(), *exponent = BN_new();
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params;

    BN_rand(modulus, (int)bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
    BN_set_word(exponent, e);
    BN_bn2bin(modulus, n);
    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus);
    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent);
    params = OSSL_PARAM_BLD_to_param(builder);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params), 1);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    EVP_PKEY_CTX_free(ctx);
    BN_free(modulus);
    BN_free(exponent);
    return key;
}

static void compare(EVP_PKEY *key, const uint8_t *der, size_t len, const char *name)
{
    unsigned char *expected = NULL;
    int expected_len = i2d_PUBKEY(key, &expected);

    check_case(expected_len > 0 && len == (size_t)expected_len, name);
    check_case(memcmp(der, expected, len) == 0, name);
    OPENSSL_free(expected);
}

static void test_spki_rsa_every_size(void **state)
{
    static const unsigned long exponents[] = { 3, 127, 128, 65537, 0xffffffff };
    static uint8_t n[1024], der[2048 + SPKI_OVERHEAD];

    (void)state;
    for (unsigned bits = 1024; bits <= 8192; bits += bits < 4096 ? 8 : 512) {
        unsigned long exponent = exponents[bits / 8 % COUNT_OF(exponents)];
        uint8_t e[] = { (uint8_t)(exponent >> 24), (uint8_t)(exponent >> 16),
                        (uint8_t)(exponent >> 8), (uint8_t)exponent };
        EVP_PKEY *key = rsa_public(bits, exponent, n);
        char name[32];
        size_t len;

        (void)snprintf(name, sizeof(name), "RSA-%u", bits);
        len = spki_write_rsa((struct view){ n, bits / 8 }, VIEW(e), false, der,
                             bits / 8 + 4 + SPKI_OVERHEAD);
        compare(key, der, len, name);
        assert_int_equal(spki_write_rsa((struct view){ n, bits / 8 }, VIEW(e), false, der, len - 1),
                         0);
        EVP_PKEY_free(key);
    }
}

static void test_spki_ec_every_curve(void **state)
{
    static const char *const curves[] = {
        "prime192v1",      "secp224r1",       "prime256v1",      "secp384r1",
        "secp521r1",       "secp256k1",       "brainpoolP192r1", "brainpoolP224r1",
        "brainpoolP256r1", "brainpoolP256t1", "brainpoolP320r1", "brainpoolP320t1",
        "brainpoolP384r1", "brainpoolP384t1", "brainpoolP512r1", "brainpoolP512t1",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(curves); i++) {
        EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", curves[i]);
        const struct curve *curve = curve_by_name(curves[i]);
        uint8_t point[EC_POINT_MAX], der[EC_POINT_MAX + SPKI_OVERHEAD];
        size_t point_len = 0, len;

        check_case(key != NULL && curve != NULL, curves[i]);
        check_case(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point,
                                                   sizeof(point), &point_len) == 1,
                   curves[i]);
        check_case(curve_point_fits(curve, (struct view){ point, point_len }), curves[i]);
        len = spki_write_ec(curve->oid, (struct view){ point, point_len }, der, sizeof(der));
        compare(key, der, len, curves[i]);
        EVP_PKEY_free(key);
    }
}

static void test_spki_raw(void **state)
{
    static const char *const types[] = { "ED25519", "ED448", "X25519", "X448" };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, types[i]);
        const struct curve *curve = curve_by_name(types[i]);
        uint8_t public[64], der[64 + SPKI_OVERHEAD];
        size_t public_len = sizeof(public), len;

        check_case(key != NULL && curve != NULL, types[i]);
        check_case(EVP_PKEY_get_raw_public_key(key, public, &public_len) == 1, types[i]);
        len = spki_write_raw(curve->oid, (struct view){ public, public_len }, der, sizeof(der));
        compare(key, der, len, types[i]);
        EVP_PKEY_free(key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spki_rsa_every_size),
        cmocka_unit_test(test_spki_ec_every_curve),
        cmocka_unit_test(test_spki_raw),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
