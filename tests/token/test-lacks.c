/* RSA signatures of kinds that the token lacks: PSS is padded on the host and signed raw, PKCS#1
 * v1.5 gets its DigestInfo here. With every kind of token. */
#include "harness.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#define NO_RAW "hide 3;" /* CKM_RSA_X_509 */

enum way { DIGEST, WHOLE, STREAMED, WAYS };

/* SALT_UNSET: the application does not choose. */
#define SALT_UNSET (-100)

struct kind {
    const char *digest, *mgf1;
    int padding, salt;
};

struct world {
    OSSL_LIB_CTX *libctx, *plain;
    EVP_PKEY *key, *public;
};

static unsigned char message[3000];

static struct world world_begin(bool faulty, const char *settings, const char *rules)
{
    struct world world = { .libctx = faulty ? libctx_new_faulty(settings) : libctx_new(settings),
                           .plain = libctx_new_plain() };
    char error[512];

    if (faulty)
        fault(rules);
    world.key = key_load(world.libctx, "rsa2048", "private");
    if (world.key == NULL)
        fail_msg("no key: %s", last_error(error, sizeof(error)));
    world.public = key_public_copy(world.key, world.plain);
    return world;
}

static void world_end(struct world *world)
{
    EVP_PKEY_free(world->key);
    EVP_PKEY_free(world->public);
    OSSL_LIB_CTX_free(world->libctx);
    OSSL_LIB_CTX_free(world->plain);
}

static bool choose(EVP_PKEY_CTX *ctx, const struct kind *kind)
{
    return EVP_PKEY_CTX_set_rsa_padding(ctx, kind->padding) == 1 &&
           (kind->padding != RSA_PKCS1_PSS_PADDING || kind->salt == SALT_UNSET ||
            EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, kind->salt) == 1) &&
           (kind->mgf1 == NULL || EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, kind->mgf1, NULL) == 1);
}

static bool sign_digest(const struct world *world, const struct kind *kind, unsigned char *sig,
                        size_t *len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(world->libctx, world->key, NULL);
    EVP_MD *md = EVP_MD_fetch(world->plain, kind->digest, NULL);
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t digest_len = 0;
    bool ok = EVP_Q_digest(world->plain, kind->digest, NULL, message, sizeof(message), digest,
                           &digest_len) == 1 &&
              EVP_PKEY_sign_init(ctx) == 1 && choose(ctx, kind) &&
              EVP_PKEY_CTX_set_signature_md(ctx, md) == 1 &&
              EVP_PKEY_sign(ctx, sig, len, digest, digest_len) == 1;

    EVP_MD_free(md);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool sign(const struct world *world, const struct kind *kind, enum way way,
                 unsigned char *sig, size_t *len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    bool ok;

    *len = 512;
    if (way == DIGEST) {
        EVP_MD_CTX_free(ctx);
        return sign_digest(world, kind, sig, len);
    }
    ok = EVP_DigestSignInit_ex(ctx, &pctx, kind->digest, world->libctx, NULL, world->key, NULL) ==
             1 &&
         choose(pctx, kind);
    if (ok && way == WHOLE)
        ok = EVP_DigestSign(ctx, sig, len, message, sizeof(message)) == 1;
    else if (ok)
        ok = EVP_DigestSignUpdate(ctx, message, 1000) == 1 &&
             EVP_DigestSignUpdate(ctx, message + 1000, sizeof(message) - 1000) == 1 &&
             EVP_DigestSignFinal(ctx, sig, len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

/* In software, with exactly this salt length. */
static bool verifies(const struct world *world, const struct kind *kind, int salt,
                     const unsigned char *sig, size_t len)
{
    const struct kind exact = { kind->digest, kind->mgf1, kind->padding, salt };
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    bool ok = EVP_DigestVerifyInit_ex(ctx, &pctx, kind->digest, world->plain, NULL, world->public,
                                      NULL) == 1 &&
              choose(pctx, &exact) &&
              EVP_DigestVerify(ctx, sig, len, message, sizeof(message)) == 1;

    ERR_clear_error();
    EVP_MD_CTX_free(ctx);
    return ok;
}

static void check(const struct world *world, const struct kind *kind, enum way way)
{
    unsigned char sig[512];
    size_t len;
    char error[512];

    ERR_clear_error();
    if (!sign(world, kind, way, sig, &len))
        fail_msg("%s %s salt %d way %u: %s", kind->digest, kind->mgf1 != NULL ? kind->mgf1 : "",
                 kind->salt, way, last_error(error, sizeof(error)));
    if (!verifies(world, kind, kind->salt, sig, len))
        fail_msg("%s %s salt %d way %u: not verified", kind->digest,
                 kind->mgf1 != NULL ? kind->mgf1 : "", kind->salt, way);
}

static void check_all(const struct kind *kinds, size_t count)
{
    static const char *const settings[] = { "pkcs11-digest = auto\n", "pkcs11-digest = token\n",
                                            "pkcs11-digest = host\n" };

    for (size_t s = 0; s < COUNT_OF(settings); s++) {
        struct world world = world_begin(false, settings[s], NULL);

        for (size_t k = 0; k < count; k++)
            for (enum way way = 0; way < WAYS; way++)
                check(&world, &kinds[k], way);
        world_end(&world);
    }
}

static void test_lacks_pss(void **state)
{
    static const struct kind kinds[] = {
        { "SHA256", NULL, RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_DIGEST },
        { "SHA256", NULL, RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_MAX },
        { "SHA256", NULL, RSA_PKCS1_PSS_PADDING, 0 },
        { "SHA256", NULL, RSA_PKCS1_PSS_PADDING, 20 },
        { "SHA256", "SHA1", RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_DIGEST },
        { "SHA1", "SHA512", RSA_PKCS1_PSS_PADDING, 17 },
        { "SHA512", NULL, RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_MAX },
        { "SHA3-256", NULL, RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_DIGEST },
        { "SHA3-512", "SHA256", RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_MAX },
        { "SHA512-256", NULL, RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_DIGEST },
        { "SHA256", "SHA512-256", RSA_PKCS1_PSS_PADDING, 33 },
    };

    (void)state;
    check_all(kinds, COUNT_OF(kinds));
}

static void test_lacks_pkcs1_digest(void **state)
{
    static const struct kind kinds[] = {
        { "SHA256", NULL, RSA_PKCS1_PADDING, 0 },     { "SHA512-224", NULL, RSA_PKCS1_PADDING, 0 },
        { "SHA512-256", NULL, RSA_PKCS1_PADDING, 0 }, { "SHA3-224", NULL, RSA_PKCS1_PADDING, 0 },
        { "SHA3-512", NULL, RSA_PKCS1_PADDING, 0 },
    };

    (void)state;
    check_all(kinds, COUNT_OF(kinds));
}

static const struct kind sha3 = { "SHA3-256", NULL, RSA_PKCS1_PSS_PADDING, 32 };
static const struct kind sha2_mgf1 = { "SHA256", "SHA1", RSA_PKCS1_PSS_PADDING, 32 };

/* What the token was seen to lack it is not asked again. */
static void test_lacks_is_remembered(void **state)
{
    static const struct kind *const kinds[] = { &sha3, &sha2_mgf1 };
    struct world world = world_begin(true, "", "");

    (void)state;
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        for (unsigned n = 0; n < 3; n++) /* also: the key is copied */
            check(&world, kinds[k], WHOLE);
        calls_reset();
        for (enum way way = 0; way < WAYS; way++)
            check(&world, kinds[k], way);
        assert_int_equal(calls("C_SignInit"), WAYS);
        assert_int_equal(calls("C_Sign"), WAYS);
        assert_int_equal(calls(NULL), 2 * WAYS);
    }
    world_end(&world);
}

/* What was known of a module that has been started anew since is asked again. */
static void test_lacks_since_the_start(void **state)
{
    static const struct kind kind = { "SHA256", NULL, RSA_PKCS1_PADDING, 0 };
    struct world world = world_begin(true, "", "");

    (void)state;
    for (unsigned n = 0; n < 3; n++)
        check(&world, &kind, WHOLE); /* the token hashes */
    fault("hide 40; C_SignInit 1 * CKR_CRYPTOKI_NOT_INITIALIZED until-restart");
    check(&world, &kind, DIGEST);
    calls_reset();
    for (unsigned n = 0; n < 3; n++)
        check(&world, &kind, WHOLE);
    assert_int_equal(calls("C_GetMechanismInfo"), 1);
    assert_int_equal(calls("C_SignInit"), 3);
    fault("");
    world_end(&world);
}

/* What passes is not taken for a lack. */
static void test_lacks_is_not_a_failure(void **state)
{
    static const struct kind kind = { "SHA256", NULL, RSA_PKCS1_PSS_PADDING, 32 };
    static const char *const rules[] = { "C_SignInit 1 2 CKR_SESSION_HANDLE_INVALID",
                                         "C_Sign 1 1 CKR_DEVICE_ERROR",
                                         "C_Sign 1 1 CKR_ARGUMENTS_BAD" };
    char error[512];

    (void)state;
    for (size_t r = 0; r < COUNT_OF(rules); r++) {
        struct world world = world_begin(true, "", rules[r]);
        unsigned char sig[512];
        size_t len;

        (void)sign(&world, &kind, WHOLE, sig, &len);
        (void)last_error(error, sizeof(error));
        fault("C_SignInit 1 1 CKR_MECHANISM_INVALID"); /* were it raw, it would fail */
        if (!sign(&world, &kind, WHOLE, sig, &len))
            fail_msg("%s: %s", rules[r], last_error(error, sizeof(error)));
        calls_reset();
        check(&world, &kind, DIGEST);
        assert_int_equal(calls("C_SignInit"), 1);
        fault("");
        world_end(&world);
    }
}

/* An error that names mechanism, call and key. */
static void test_lacks_raw_as_well(void **state)
{
    static const struct kind nameless = { "SHA512-256", NULL, RSA_PKCS1_PSS_PADDING, 32 };
    struct world world = world_begin(true, "", NO_RAW);
    unsigned char sig[512];
    size_t len;
    char error[1024];

    (void)state;
    for (unsigned n = 0; n < 2; n++) {
        assert_false(sign(&world, &sha3, WHOLE, sig, &len));
        (void)last_error(error, sizeof(error));
        if (strstr(error, "C_SignInit: CKR_") == NULL || strstr(error, "CKM_RSA_PKCS_PSS") == NULL)
            fail_msg("%s", error);
    }
    assert_false(sign(&world, &nameless, WHOLE, sig, &len));
    (void)last_error(error, sizeof(error));
    if (strstr(error, "CKM_RSA_X_509") == NULL)
        fail_msg("%s", error);
    fault("");
    world_end(&world);
}

static bool long_salt_by_default(void)
{
    return OpenSSL_version_num() < 0x30100000UL;
}

/* A token that has no salt longer than the digest, and cannot sign raw. */
static void test_lacks_long_salt(void **state)
{
    static const struct kind unset = { "SHA256", NULL, RSA_PKCS1_PSS_PADDING, SALT_UNSET };
    static const struct kind most = { "SHA256", NULL, RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_MAX };
    struct world world = world_begin(true, "", NO_RAW "C_SignInit 1 1 CKR_MECHANISM_PARAM_INVALID");
    unsigned char sig[512];
    size_t len;
    char error[512];

    (void)state;
    if (!long_salt_by_default())
        skip();
    for (enum way way = 0; way < WAYS; way++) {
        if (!sign(&world, &unset, way, sig, &len))
            fail_msg("%u: %s", way, last_error(error, sizeof(error)));
        assert_true(verifies(&world, &unset, RSA_PSS_SALTLEN_DIGEST, sig, len));
    }
    fault(NO_RAW "C_SignInit 1 1 CKR_MECHANISM_PARAM_INVALID");
    assert_false(sign(&world, &most, WHOLE, sig, &len)); /* it was chosen */
    assert_non_null(strstr(last_error(error, sizeof(error)), "CKR_MECHANISM_PARAM_INVALID"));
    fault("");
    world_end(&world);
}

static size_t algorithm(EVP_PKEY_CTX *ctx, unsigned char *out, size_t size)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, out, size),
        OSSL_PARAM_construct_end(),
    };

    assert_int_equal(EVP_PKEY_CTX_get_params(ctx, params), 1);
    return params[0].return_size;
}

/* A certificate says which salt its signature has: once it was told, it is that one, or none. */
static void test_lacks_long_salt_and_told(void **state)
{
    static const struct kind unset = { "SHA256", NULL, RSA_PKCS1_PSS_PADDING, SALT_UNSET };
    struct world world = world_begin(true, "", NO_RAW "C_SignInit 1 2 CKR_MECHANISM_PARAM_INVALID");
    size_t first = 0;

    (void)state;
    if (!long_salt_by_default())
        skip();
    for (unsigned n = 0; n < 2; n++) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        EVP_PKEY_CTX *pctx = NULL;
        unsigned char sig[512], der[256];
        size_t len = sizeof(sig);

        assert_int_equal(
            EVP_DigestSignInit_ex(ctx, &pctx, "SHA256", world.libctx, NULL, world.key, NULL), 1);
        assert_true(choose(pctx, &unset));
        if (n == 0)
            first = algorithm(pctx, der, sizeof(der));
        else
            assert_true(algorithm(pctx, der, sizeof(der)) < first); /* 222 takes a byte more */
        assert_int_equal(EVP_DigestSign(ctx, sig, &len, message, sizeof(message)) == 1, n == 1);
        if (n == 1)
            assert_true(verifies(&world, &unset, RSA_PSS_SALTLEN_DIGEST, sig, len));
        EVP_MD_CTX_free(ctx);
    }
    ERR_clear_error();
    fault("");
    world_end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lacks_pss),
        cmocka_unit_test(test_lacks_pkcs1_digest),
        cmocka_unit_test(test_lacks_is_remembered),
        cmocka_unit_test(test_lacks_since_the_start),
        cmocka_unit_test(test_lacks_is_not_a_failure),
        cmocka_unit_test(test_lacks_raw_as_well),
        cmocka_unit_test(test_lacks_long_salt),
        cmocka_unit_test(test_lacks_long_salt_and_told),
    };
    const struct CMUnitTest any_token[] = {
        cmocka_unit_test(test_lacks_pss),
        cmocka_unit_test(test_lacks_pkcs1_digest),
    };

    memset(message, 'm', sizeof(message));
    return getenv("BRIDGE_TOKEN_URI") != NULL ? cmocka_run_group_tests(any_token, NULL, NULL)
                                              : cmocka_run_group_tests(tests, NULL, NULL);
}
