/* What an EVP_PKEY of this provider says of itself, compared with a software key of the same public
 * half. */
#include "harness.h"

#include <openssl/core_names.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/store.h>
#include <openssl/x509.h>

static const char *const labels[] = {
    "rsa1024", "rsa2048", "rsa3072", "rsa4096", "p256",  "p384",
    "p521",    "k256",    "bp256",   "bp384",   "bp512", "ed25519"
};

static void same_number(EVP_PKEY *a, EVP_PKEY *b, const char *name)
{
    BIGNUM *x = NULL, *y = NULL;

    if (EVP_PKEY_get_bn_param(b, name, &y) == 1) {
        assert_int_equal(EVP_PKEY_get_bn_param(a, name, &x), 1);
        assert_int_equal(BN_cmp(x, y), 0);
    }
    BN_free(x);
    BN_free(y);
}

static void same_text(EVP_PKEY *a, EVP_PKEY *b, const char *name)
{
    char x[128], y[128];
    size_t len;

    if (EVP_PKEY_get_utf8_string_param(b, name, y, sizeof(y), &len) != 1)
        return;
    assert_int_equal(EVP_PKEY_get_utf8_string_param(a, name, x, sizeof(x), &len), 1);
    assert_string_equal(x, y);
}

static void same_octets(EVP_PKEY *a, EVP_PKEY *b, const char *name)
{
    unsigned char x[256], y[256];
    size_t x_len = 0, y_len = 0;

    if (EVP_PKEY_get_octet_string_param(b, name, y, sizeof(y), &y_len) != 1)
        return;
    assert_int_equal(EVP_PKEY_get_octet_string_param(a, name, x, sizeof(x), &x_len), 1);
    assert_int_equal(x_len, y_len);
    assert_memory_equal(x, y, x_len);
}

static void test_keys_as_software(void **state)
{
    static const char *const numbers[] = { OSSL_PKEY_PARAM_RSA_N,      OSSL_PKEY_PARAM_RSA_E,
                                           OSSL_PKEY_PARAM_EC_PUB_X,   OSSL_PKEY_PARAM_EC_PUB_Y,
                                           OSSL_PKEY_PARAM_EC_P,       OSSL_PKEY_PARAM_EC_A,
                                           OSSL_PKEY_PARAM_EC_B,       OSSL_PKEY_PARAM_EC_ORDER,
                                           OSSL_PKEY_PARAM_EC_COFACTOR };
    static const char *const texts[] = { OSSL_PKEY_PARAM_GROUP_NAME, OSSL_PKEY_PARAM_DEFAULT_DIGEST,
                                         OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                                         OSSL_PKEY_PARAM_EC_ENCODING,
                                         OSSL_PKEY_PARAM_EC_FIELD_TYPE };
    static const char *const octets[] = { OSSL_PKEY_PARAM_PUB_KEY,
                                          OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY,
                                          OSSL_PKEY_PARAM_EC_GENERATOR };
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();

    (void)state;
    for (size_t i = 0; i < COUNT_OF(labels); i++) {
        EVP_PKEY *key = key_load(libctx, labels[i], "private");
        EVP_PKEY *public = key_load(libctx, labels[i], "public");
        EVP_PKEY *software = key_public_copy(key, plain);

        assert_non_null(key);
        assert_non_null(public);
        assert_non_null(software);
        assert_string_equal(EVP_PKEY_get0_type_name(key), EVP_PKEY_get0_type_name(software));
        assert_int_equal(EVP_PKEY_get_bits(key), EVP_PKEY_get_bits(software));
        assert_int_equal(EVP_PKEY_get_security_bits(key), EVP_PKEY_get_security_bits(software));
        assert_int_equal(EVP_PKEY_get_size(key), EVP_PKEY_get_size(software));
        for (size_t n = 0; n < COUNT_OF(numbers); n++)
            same_number(key, software, numbers[n]);
        for (size_t n = 0; n < COUNT_OF(texts); n++)
            same_text(key, software, texts[n]);
        for (size_t n = 0; n < COUNT_OF(octets); n++)
            same_octets(key, software, octets[n]);
        assert_int_equal(EVP_PKEY_eq(key, software), 1);
        assert_int_equal(EVP_PKEY_eq(software, key), 1);
        assert_int_equal(EVP_PKEY_eq(key, public), 1);
        assert_int_equal(EVP_PKEY_eq(public, software), 1);
        EVP_PKEY_free(key);
        EVP_PKEY_free(public);
        EVP_PKEY_free(software);
    }
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

static void test_keys_of_another_size_differ(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *keys[] = { key_load(libctx, "rsa2048", "private"),
                         key_load(libctx, "rsa3072", "private"),
                         key_load(libctx, "p256", "private"), key_load(libctx, "k256", "private") };

    (void)state;
    for (size_t a = 0; a < COUNT_OF(keys); a++)
        for (size_t b = 0; b < COUNT_OF(keys); b++)
            assert_int_equal(EVP_PKEY_eq(keys[a], keys[b]) == 1, a == b);
    for (size_t a = 0; a < COUNT_OF(keys); a++)
        EVP_PKEY_free(keys[a]);
    OSSL_LIB_CTX_free(libctx);
}

/* There is no way to get at the private half. */
static void test_keys_private_half_stays(void **state)
{
    static const char *const numbers[] = { OSSL_PKEY_PARAM_RSA_D, OSSL_PKEY_PARAM_RSA_FACTOR1,
                                           OSSL_PKEY_PARAM_PRIV_KEY };
    OSSL_LIB_CTX *libctx = libctx_new("");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(labels); i++) {
        EVP_PKEY *key = key_load(libctx, labels[i], "private");
        OSSL_PARAM *params = NULL;
        unsigned char *der = NULL;

        for (size_t n = 0; n < COUNT_OF(numbers); n++) {
            BIGNUM *number = NULL;

            assert_int_equal(EVP_PKEY_get_bn_param(key, numbers[n], &number), 0);
        }
        assert_int_not_equal(EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &params), 1);
        assert_int_equal(EVP_PKEY_todata(key, EVP_PKEY_PUBLIC_KEY, &params), 1);
        OSSL_PARAM_free(params);
        assert_true(i2d_PrivateKey(key, &der) <= 0);
        EVP_PKEY_free(key);
    }
    ERR_clear_error();
    OSSL_LIB_CTX_free(libctx);
}

static void test_keys_export_can_be_forbidden(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("pkcs11-module-allow-export = 1\n");
    EVP_PKEY *key = key_load(libctx, "p256", "public");
    OSSL_PARAM *params = NULL;

    (void)state;
    assert_non_null(key);
    assert_int_not_equal(EVP_PKEY_todata(key, EVP_PKEY_PUBLIC_KEY, &params), 1);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* What SoftHSM's own use of libcrypto leaves on the error stack does not reach the application. */
static void test_keys_leave_no_errors(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *key;

    (void)state;
    ERR_clear_error();
    key = key_load(libctx, "rsa2048", "private");
    assert_non_null(key);
    assert_int_equal(ERR_peek_error(), 0);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static void test_keys_dup_and_check(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(labels); i++) {
        EVP_PKEY *key = key_load(libctx, labels[i], "private");
        EVP_PKEY *copy = EVP_PKEY_dup(key);
        EVP_PKEY_CTX *ctx;

        assert_non_null(copy);
        EVP_PKEY_free(key);
        ctx = EVP_PKEY_CTX_new_from_pkey(libctx, copy, NULL);
        assert_int_equal(EVP_PKEY_public_check(ctx), 1);
        if (!EVP_PKEY_is_a(copy, "ED25519")) /* which signs whole messages only */
            assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
        EVP_PKEY_CTX_free(ctx);
        EVP_PKEY_free(copy);
    }
    OSSL_LIB_CTX_free(libctx);
}

/* What TLS makes of a peer's key: the parameters of its own, and then a point. */
static void test_keys_copy_parameters(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();

    (void)state;
    for (size_t i = 0; i < COUNT_OF(labels); i++) {
        EVP_PKEY *key = key_load(libctx, labels[i], "private");
        EVP_PKEY *software = key_public_copy(key, plain), *peer = EVP_PKEY_new();
        unsigned char *point = NULL;
        size_t len;

        if (EVP_PKEY_is_a(key, "EC")) {
            assert_int_equal(EVP_PKEY_copy_parameters(peer, key), 1);
            for (int set = 0; set < 2; set++) {
                assert_int_equal(EVP_PKEY_get_bits(peer), EVP_PKEY_get_bits(software));
                assert_int_equal(EVP_PKEY_get_security_bits(peer),
                                 EVP_PKEY_get_security_bits(software));
                assert_int_equal(EVP_PKEY_get_size(peer), EVP_PKEY_get_size(software));
                len = EVP_PKEY_get1_encoded_public_key(software, &point);
                assert_int_equal(EVP_PKEY_set1_encoded_public_key(peer, point, len), 1);
                OPENSSL_free(point);
            }
            assert_int_equal(EVP_PKEY_eq(peer, key), 1);
        }
        EVP_PKEY_free(key);
        EVP_PKEY_free(software);
        EVP_PKEY_free(peer);
    }
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* A public key that arrives as parameters, as certificates bring it under ?provider=pkcs11. */
static EVP_PKEY *key_software(OSSL_LIB_CTX *libctx, OSSL_LIB_CTX *plain)
{
    EVP_PKEY *software = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-256");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "EC", "provider=pkcs11");
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = NULL;

    assert_int_equal(EVP_PKEY_todata(software, EVP_PKEY_PUBLIC_KEY, &params), 1);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params), 1);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    EVP_PKEY_free(software);
    return key;
}

static bool imports_rsa(OSSL_LIB_CTX *libctx, size_t len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "RSA", "provider=pkcs11");
    unsigned char n[128], e[] = { 1, 0, 1 };
    OSSL_PARAM params[] = { OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, n, len),
                            OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, e, sizeof(e)), OSSL_PARAM_END };
    EVP_PKEY *key = NULL;

    memset(n, 0xff, sizeof(n));
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    (void)EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return key != NULL;
}

/* A modulus that has no room for what padding takes is none: not to read before its beginning. */
static void test_keys_short_rsa(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");

    (void)state;
    for (size_t len = 1; len < 64; len++)
        assert_false(imports_rsa(libctx, len));
    assert_true(imports_rsa(libctx, 64));
    OSSL_LIB_CTX_free(libctx);
}

static bool has_point(EVP_PKEY *key, const unsigned char *point, size_t len)
{
    unsigned char *own = NULL;
    size_t own_len = EVP_PKEY_get1_encoded_public_key(key, &own);
    bool has = own_len == len && memcmp(own, point, len) == 0;

    OPENSSL_free(own);
    return has;
}

/* A copy that is given another point leaves the key that it was copied from as it was; a key on a
 * token has the point that it has. */
static void test_keys_copy_changes_alone(void **state)
{
    static const char *const settings[] = { "", "pkcs11-public-operations = token\n" };
    OSSL_LIB_CTX *plain = libctx_new_plain();
    EVP_PKEY *other = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-256");
    unsigned char *point = NULL;
    size_t len = EVP_PKEY_get1_encoded_public_key(other, &point);

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        OSSL_LIB_CTX *libctx = libctx_new(settings[i % 2]);
        EVP_PKEY *key = i < 2 ? key_software(libctx, plain) : key_load(libctx, "p256", "public");
        EVP_PKEY *copy = EVP_PKEY_dup(key);
        unsigned char *before = NULL;
        size_t before_len = EVP_PKEY_get1_encoded_public_key(key, &before);
        bool on_token = i == 3;

        assert_true(has_point(copy, before, before_len));
        assert_int_equal(EVP_PKEY_set1_encoded_public_key(copy, point, len), !on_token);
        assert_int_equal(has_point(copy, point, len), !on_token);
        assert_true(has_point(key, before, before_len));
        OPENSSL_free(before);
        EVP_PKEY_free(copy);
        EVP_PKEY_free(key);
        OSSL_LIB_CTX_free(libctx);
    }
    ERR_clear_error();
    OPENSSL_free(point);
    EVP_PKEY_free(other);
    OSSL_LIB_CTX_free(plain);
}

static void test_keys_import_public(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();
    static const char *const types[] = { "RSA", "EC" };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        EVP_PKEY *software = i == 0 ? EVP_PKEY_Q_keygen(plain, NULL, "RSA", (size_t)2048)
                                    : EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-384");
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, types[i], "provider=pkcs11");
        OSSL_PARAM *public = NULL, *private = NULL;
        EVP_PKEY *key = NULL, *half = NULL;
        EVP_MD_CTX *md = EVP_MD_CTX_new();
        unsigned char sig[512];
        size_t len = sizeof(sig);

        assert_int_equal(EVP_PKEY_todata(software, EVP_PKEY_PUBLIC_KEY, &public), 1);
        assert_int_equal(EVP_PKEY_todata(software, EVP_PKEY_KEYPAIR, &private), 1);
        assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
        assert_int_equal(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, public), 1);
        /* with its private half it is a software key here */
        assert_int_equal(EVP_PKEY_fromdata(ctx, &half, EVP_PKEY_KEYPAIR, private), 1);
        assert_true(key_signs(libctx, half));
        assert_int_equal(EVP_PKEY_eq(key, half), 1);
        EVP_PKEY_free(half);
        assert_int_equal(EVP_PKEY_eq(key, software), 1);
        EVP_DigestSignInit_ex(md, NULL, "SHA256", plain, NULL, software, NULL);
        assert_int_equal(EVP_DigestSign(md, sig, &len, (const unsigned char *)"m", 1), 1);
        EVP_MD_CTX_reset(md);
        assert_int_equal(EVP_DigestVerifyInit_ex(md, NULL, "SHA256", libctx, NULL, key, NULL), 1);
        assert_int_equal(EVP_DigestVerify(md, sig, len, (const unsigned char *)"m", 1), 1);
        EVP_MD_CTX_reset(md);
        assert_false(key_signs(libctx, key));
        EVP_MD_CTX_free(md);
        EVP_PKEY_CTX_free(ctx);
        OSSL_PARAM_free(public);
        OSSL_PARAM_free(private);
        EVP_PKEY_free(key);
        EVP_PKEY_free(software);
    }
    ERR_clear_error();
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

static unsigned store_count(OSSL_LIB_CTX *libctx, const char *uri, int expect, int *first)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    unsigned count = 0;

    assert_non_null(store);
    if (expect != 0)
        assert_int_equal(OSSL_STORE_expect(store, expect), 1);
    *first = 0;
    while (!OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info == NULL)
            continue;
        if (count++ == 0)
            *first = OSSL_STORE_INFO_get_type(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return count;
}

static void test_keys_store_expect(void **state)
{
    static const struct {
        const char *uri;
        int expect;
        unsigned count;
        int first;
    } cases[] = {
        { "pkcs11:token=soft", 0, 24, OSSL_STORE_INFO_PKEY },
        { "pkcs11:token=soft", OSSL_STORE_INFO_PKEY, 12, OSSL_STORE_INFO_PKEY },
        { "pkcs11:token=soft", OSSL_STORE_INFO_PUBKEY, 12, OSSL_STORE_INFO_PUBKEY },
        { "pkcs11:", OSSL_STORE_INFO_PKEY, 12, OSSL_STORE_INFO_PKEY },
        { "pkcs11:token=soft;type=public", 0, 12, OSSL_STORE_INFO_PUBKEY },
        { "pkcs11:token=soft;object=p256", 0, 2, OSSL_STORE_INFO_PKEY },
        { "pkcs11:token=soft;id=%05", 0, 2, OSSL_STORE_INFO_PKEY },
        { "pkcs11:token=soft;object=p256;id=%05", OSSL_STORE_INFO_PUBKEY, 1,
          OSSL_STORE_INFO_PUBKEY },
        { "pkcs11:token=soft;object=p256;id=%06", 0, 0, 0 },
        { "pkcs11:token=soft;object=p256;type=private", OSSL_STORE_INFO_PUBKEY, 1,
          OSSL_STORE_INFO_PUBKEY },
        { "pkcs11:token=soft;object=p256;type=public", OSSL_STORE_INFO_PKEY, 0, 0 },
        { "pkcs11:token=soft", OSSL_STORE_INFO_CRL, 0, 0 },
        { "pkcs11:manufacturer=SoftHSM%20project;model=SoftHSM%20v2;object=p256", 0, 2,
          OSSL_STORE_INFO_PKEY },
        { "pkcs11:slot-manufacturer=SoftHSM%20project;object=p256", 0, 2, OSSL_STORE_INFO_PKEY },
        { "pkcs11:slot-manufacturer=somebody;object=p256", 0, 0, 0 },
        { "pkcs11:library-manufacturer=SoftHSM;library-version=2.6;object=p256", 0, 2,
          OSSL_STORE_INFO_PKEY },
        { "pkcs11:library-manufacturer=SoftHSM;library-version=9.9;object=p256", 0, 0, 0 },
        { "pkcs11:model=another", 0, 0, 0 },
    };
    OSSL_LIB_CTX *libctx = libctx_new("pkcs11-ambiguous = first\n");

    (void)state;
    for (int pass = 0; pass < 2; pass++) /* the tokens are known the second time */
        for (size_t i = 0; i < COUNT_OF(cases); i++) {
            int first;
            unsigned count = store_count(libctx, cases[i].uri, cases[i].expect, &first);

            if (count != cases[i].count || first != cases[i].first)
                fail_msg("%s, expect %d: %u objects, the first is %d", cases[i].uri,
                         cases[i].expect, count, first);
        }
    ERR_clear_error();
    OSSL_LIB_CTX_free(libctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_as_software),
        cmocka_unit_test(test_keys_of_another_size_differ),
        cmocka_unit_test(test_keys_private_half_stays),
        cmocka_unit_test(test_keys_export_can_be_forbidden),
        cmocka_unit_test(test_keys_leave_no_errors),
        cmocka_unit_test(test_keys_dup_and_check),
        cmocka_unit_test(test_keys_copy_parameters),
        cmocka_unit_test(test_keys_copy_changes_alone),
        cmocka_unit_test(test_keys_short_rsa),
        cmocka_unit_test(test_keys_import_public),
        cmocka_unit_test(test_keys_store_expect),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
