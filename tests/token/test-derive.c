/* Key agreement: the token's secret is the one that software computes from the other side. */
#include "harness.h"

#include <pthread.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/params.h>

static const struct {
    const char *label, *curve;
} keys[] = { { "p256", "P-256" },
             { "p384", "P-384" },
             { "p521", "P-521" },
             { "k256", "secp256k1" },
             { "bp256", "brainpoolP256r1" },
             { "bp512", "brainpoolP512r1" } };

static bool set_kdf(EVP_PKEY_CTX *ctx, const char *digest, size_t *len)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE,
                                         (char *)(uintptr_t)OSSL_KDF_NAME_X963KDF, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST, (char *)(uintptr_t)digest,
                                         0),
        OSSL_PARAM_construct_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, len),
        OSSL_PARAM_construct_octet_string(OSSL_EXCHANGE_PARAM_KDF_UKM, (char *)(uintptr_t) "ukm",
                                          3),
        OSSL_PARAM_construct_end(),
    };

    return EVP_PKEY_CTX_set_params(ctx, params) == 1;
}

static bool derive(OSSL_LIB_CTX *libctx, EVP_PKEY *key, EVP_PKEY *peer, const char *kdf_digest,
                   int cofactor, unsigned char *out, size_t *len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    size_t asked = 0, kdf_len = 77;
    bool ok = EVP_PKEY_derive_init(ctx) == 1 &&
              (kdf_digest == NULL || set_kdf(ctx, kdf_digest, &kdf_len)) &&
              (cofactor == 0 || EVP_PKEY_CTX_set_ecdh_cofactor_mode(ctx, cofactor) == 1) &&
              EVP_PKEY_derive_set_peer(ctx, peer) == 1 && EVP_PKEY_derive(ctx, NULL, &asked) == 1 &&
              asked <= *len && EVP_PKEY_derive(ctx, out, len) == 1 && *len == asked;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static void test_derive_as_software(void **state)
{
    static const char *const kdfs[] = { NULL, "SHA256", "SHA512" };
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();

    (void)state;
    for (size_t k = 0; k < COUNT_OF(keys); k++)
        for (size_t d = 0; d < COUNT_OF(kdfs); d++)
            for (int cofactor = 0; cofactor < 2; cofactor++) {
                EVP_PKEY *key = key_load(libctx, keys[k].label, "private");

                if (key == NULL && key_lacking(keys[k].label))
                    continue; /* not every token has every curve */
                EVP_PKEY *own = key_public_copy(key, plain);
                EVP_PKEY *peer = EVP_PKEY_Q_keygen(plain, NULL, "EC", keys[k].curve);
                unsigned char a[128], b[128];
                size_t a_len = sizeof(a), b_len = sizeof(b);
                char error[512];

                ERR_clear_error();
                if (!derive(libctx, key, peer, kdfs[d], cofactor, a, &a_len))
                    fail_msg("%s: %s", keys[k].label, last_error(error, sizeof(error)));
                assert_true(derive(plain, peer, own, kdfs[d], cofactor, b, &b_len));
                assert_int_equal(a_len, b_len);
                assert_memory_equal(a, b, a_len);
                EVP_PKEY_free(key);
                EVP_PKEY_free(own);
                EVP_PKEY_free(peer);
            }
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

typedef bool special_fn(OSSL_LIB_CTX *plain, EVP_PKEY *peer, EVP_PKEY *own);

/* With a peer that is special, found among random ones: the token's secret is that of software. */
static void check_special_peer(const char *label, const char *curve, special_fn *special)
{
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();
    EVP_PKEY *key = key_load(libctx, label, "private"), *own;
    bool seen = false;

    if (key == NULL && key_lacking(label)) {
        OSSL_LIB_CTX_free(libctx);
        OSSL_LIB_CTX_free(plain);
        skip();
    }
    own = key_public_copy(key, plain);
    for (unsigned n = 0; n < 5000 && !seen; n++) {
        EVP_PKEY *peer = EVP_PKEY_Q_keygen(plain, NULL, "EC", curve);
        unsigned char a[80], b[80];
        size_t a_len = sizeof(a), b_len = sizeof(b);

        seen = special(plain, peer, own);
        if (seen) {
            assert_true(derive(libctx, key, peer, NULL, 0, a, &a_len));
            assert_true(derive(plain, peer, own, NULL, 0, b, &b_len));
            assert_int_equal(a_len, (EVP_PKEY_get_bits(key) + 7) / 8);
            assert_int_equal(a_len, b_len);
            assert_memory_equal(a, b, a_len);
        }
        EVP_PKEY_free(peer);
    }
    assert_true(seen);
    EVP_PKEY_free(key);
    EVP_PKEY_free(own);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

static bool secret_begins_with_zero(OSSL_LIB_CTX *plain, EVP_PKEY *peer, EVP_PKEY *own)
{
    unsigned char secret[80];
    size_t len = sizeof(secret);

    assert_true(derive(plain, peer, own, NULL, 0, secret, &len));
    return secret[0] == 0;
}

/* Secrets with leading zeros keep them: some peer in a few hundred gives one. */
static void test_derive_leading_zeros(void **state)
{
    (void)state;
    check_special_peer("p256", "P-256", secret_begins_with_zero);
}

static bool point_looks_wrapped(OSSL_LIB_CTX *plain, EVP_PKEY *peer, EVP_PKEY *own)
{
    unsigned char point[129];
    size_t len = 0;

    (void)plain;
    (void)own;
    EVP_PKEY_get_octet_string_param(peer, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &len);
    return len == sizeof(point) && point[1] == sizeof(point) - 2;
}

/* A point whose bytes could be a DER OCTET STRING as well: 04, then its length. */
static void test_derive_ambiguous_point(void **state)
{
    (void)state;
    check_special_peer("bp512", "brainpoolP512r1", point_looks_wrapped);
}

static void test_derive_refuses_other_curves(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();
    EVP_PKEY *key = key_load(libctx, "p256", "private");
    EVP_PKEY *peer = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-384");
    unsigned char out[64];
    size_t len = sizeof(out);

    (void)state;
    assert_false(derive(libctx, key, peer, NULL, 0, out, &len));
    ERR_clear_error();
    EVP_PKEY_free(key);
    EVP_PKEY_free(peer);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* A key of this provider's with this point, which need not be one. */
static EVP_PKEY *peer_new(OSSL_LIB_CTX *libctx, const char *curve, unsigned char *point, size_t len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "EC", "provider=pkcs11");
    EVP_PKEY *key = NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)(uintptr_t)curve, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, len),
        OSSL_PARAM_construct_end(),
    };

    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    (void)EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* The point of key in this form; its length. */
static size_t point_of(EVP_PKEY *key, const char *form, unsigned char *out, size_t size)
{
    size_t len = 0;

    assert_int_equal(
        EVP_PKEY_set_utf8_string_param(key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, form), 1);
    assert_int_equal(
        EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, out, size, &len),
        1);
    return len;
}

/* A peer may be known by a compressed point: as a key of the default provider that is exported that
 * way, imported, and set afterwards. */
static void test_derive_compressed(void **state)
{
    static const char *const forms[] = { "compressed", "hybrid" };
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();

    (void)state;
    for (size_t i = 0; i < COUNT_OF(keys) * COUNT_OF(forms); i++) {
        const char *curve = keys[i % COUNT_OF(keys)].curve;
        EVP_PKEY *key = key_load(libctx, keys[i % COUNT_OF(keys)].label, "private");

        if (key == NULL && key_lacking(keys[i % COUNT_OF(keys)].label))
            continue;
        EVP_PKEY *own = key_public_copy(key, plain);
        EVP_PKEY *peer = EVP_PKEY_Q_keygen(plain, NULL, "EC", curve), *changed;
        unsigned char point[200], other[200], right[80];
        size_t right_len = sizeof(right), other_len = point_of(own, "uncompressed", other, 200);
        size_t len = point_of(peer, forms[i / COUNT_OF(keys)], point, sizeof(point));
        EVP_PKEY *peers[] = { peer, peer_new(libctx, curve, point, len),
                              peer_new(libctx, curve, other, other_len) };

        changed = peers[2];
        assert_int_equal(EVP_PKEY_set1_encoded_public_key(changed, point, len), 1);
        assert_true(derive(plain, peer, own, NULL, 0, right, &right_len));
        for (size_t p = 0; p < COUNT_OF(peers); p++) {
            unsigned char secret[80];
            size_t secret_len = sizeof(secret);

            assert_true(derive(libctx, key, peers[p], NULL, 0, secret, &secret_len));
            assert_int_equal(secret_len, right_len);
            assert_memory_equal(secret, right, right_len);
            EVP_PKEY_free(peers[p]);
        }
        EVP_PKEY_free(own);
        EVP_PKEY_free(key);
    }
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* A point that is on another curve does not reach the token, also where the program says that the
 * peer is not to be looked at. */
static void test_derive_off_curve(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty(""), *plain = libctx_new_plain();
    EVP_PKEY *key = key_load(libctx, "p256", "private");
    EVP_PKEY *fine = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-256");
    unsigned char point[65], secret[64];
    size_t good = point_of(fine, "uncompressed", point, sizeof(point));
    EVP_PKEY *peer = peer_new(libctx, "P-256", point, good);
    char error[512];

    (void)state;
    calls_reset();
    for (int i = 0; i < 3; i++) {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
        size_t len = sizeof(secret);

        if (i != 0) /* the second time before it is the peer, then afterwards */
            point[64] ^= 1;
        assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
        if (i != 2)
            assert_int_equal(EVP_PKEY_set1_encoded_public_key(peer, point, good), 1);
        assert_int_equal(EVP_PKEY_derive_set_peer_ex(ctx, peer, 0), 1);
        if (i == 2) {
            point[64] ^= 1;
            assert_int_equal(EVP_PKEY_set1_encoded_public_key(peer, point, good), 1);
        }
        ERR_clear_error();
        assert_int_equal(EVP_PKEY_derive(ctx, secret, &len) == 1, i == 0);
        if (i != 0)
            assert_non_null(strstr(last_error(error, sizeof(error)), "not a point of the curve"));
        assert_int_equal(calls("C_DeriveKey"), 1);
        EVP_PKEY_CTX_free(ctx);
    }
    point[0] = 2; /* an x that no point of the curve has, or one that has: never both */
    for (unsigned x = 0, none = 0; none == 0; x++) {
        EVP_PKEY *compressed;

        assert_int_not_equal(x, 64);
        point[32] = (unsigned char)x;
        compressed = peer_new(libctx, "P-256", point, 33);
        none = compressed == NULL;
        EVP_PKEY_free(compressed);
    }
    ERR_clear_error();
    EVP_PKEY_free(peer);
    EVP_PKEY_free(fine);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* Three calls: derive, read, destroy. */
static void test_derive_three_calls(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty(""), *plain = libctx_new_plain();
    EVP_PKEY *key = key_load(libctx, "p256", "private");
    EVP_PKEY *peer = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-256");
    unsigned char out[64];

    (void)state;
    for (int n = -3; n < 50; n++) {
        size_t len = sizeof(out);

        if (n == 0) /* the third use copies the key */
            calls_reset();
        assert_true(derive(libctx, key, peer, NULL, 0, out, &len));
    }
    assert_int_equal(calls("C_DeriveKey"), 50);
    assert_int_equal(calls("C_DestroyObject"), 50);
    assert_int_equal(calls(NULL), 150);
    EVP_PKEY_free(key);
    EVP_PKEY_free(peer);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* A token that makes no session object on a session which may only read. */
static void test_derive_read_only(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty(""), *plain = libctx_new_plain();
    EVP_PKEY *key = key_load(libctx, "p256", "private");
    EVP_PKEY *peer = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-256");
    unsigned char out[64];
    size_t len = sizeof(out);

    (void)state;
    fault("C_DeriveKey 1 1 CKR_SESSION_READ_ONLY");
    assert_true(derive(libctx, key, peer, NULL, 0, out, &len));
    fault("C_DeriveKey 1 * CKR_SESSION_READ_ONLY");
    len = sizeof(out);
    assert_false(derive(libctx, key, peer, NULL, 0, out, &len));
    fault("");
    EVP_PKEY_free(key);
    EVP_PKEY_free(peer);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* A derivation that is begun; a key pair of software as its peer; the end of it. */
static EVP_PKEY_CTX *derive_begin(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);

    assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
    return ctx;
}

static bool takes_pair_for_peer(OSSL_LIB_CTX *plain, EVP_PKEY_CTX *ctx)
{
    EVP_PKEY *peer = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-256");
    unsigned char out[32];
    size_t len = sizeof(out);
    bool ok = EVP_PKEY_derive_set_peer(ctx, peer) == 1 && EVP_PKEY_derive(ctx, out, &len) == 1;

    EVP_PKEY_free(peer);
    return ok;
}

/* A key pair of software that is imported while a derivation is begun is a peer of it, and is a
 * pair all the same. */
static bool stays_pair(OSSL_LIB_CTX *libctx, OSSL_LIB_CTX *plain)
{
    EVP_PKEY *software = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-256"), *pair = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "EC", "provider=pkcs11");
    OSSL_PARAM *params = NULL;
    bool stays;

    assert_int_equal(EVP_PKEY_todata(software, EVP_PKEY_KEYPAIR, &params), 1);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    stays = EVP_PKEY_fromdata(ctx, &pair, EVP_PKEY_KEYPAIR, params) == 1 && key_signs(libctx, pair);
    OSSL_PARAM_free(params);
    EVP_PKEY_free(pair);
    EVP_PKEY_free(software);
    EVP_PKEY_CTX_free(ctx);
    return stays;
}

static void *take_elsewhere(void *ctx)
{
    OSSL_LIB_CTX *plain = libctx_new_plain();
    bool taken = takes_pair_for_peer(plain, ctx);

    OSSL_LIB_CTX_free(plain);
    return taken ? ctx : NULL;
}

static void test_derive_pairs_for_peers(void **state)
{
    static const char *const settings[] = { "", "pkcs11-module-import = session\n" };
    OSSL_LIB_CTX *plain = libctx_new_plain();

    (void)state;
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        OSSL_LIB_CTX *libctx = libctx_new(settings[i]);
        EVP_PKEY *key = key_load(libctx, "p256", "private");
        EVP_PKEY_CTX *ctx = derive_begin(libctx, key), *copy = EVP_PKEY_CTX_dup(ctx);
        pthread_t thread;
        void *taken = NULL;

        assert_true(stays_pair(libctx, plain));
        assert_true(takes_pair_for_peer(plain, ctx));
        EVP_PKEY_CTX_free(ctx);
        assert_int_equal(pthread_create(&thread, NULL, take_elsewhere, copy), 0);
        pthread_join(thread, &taken);
        assert_ptr_equal(taken, copy);
        EVP_PKEY_CTX_free(copy);
        EVP_PKEY_free(key);
        OSSL_LIB_CTX_free(libctx);
    }
    OSSL_LIB_CTX_free(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_derive_as_software),
        cmocka_unit_test(test_derive_leading_zeros),
        cmocka_unit_test(test_derive_ambiguous_point),
        cmocka_unit_test(test_derive_refuses_other_curves),
        cmocka_unit_test(test_derive_compressed),
        cmocka_unit_test(test_derive_off_curve),
        cmocka_unit_test(test_derive_three_calls),
        cmocka_unit_test(test_derive_read_only),
        cmocka_unit_test(test_derive_pairs_for_peers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
