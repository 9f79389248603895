/* Keys made on the token: used, looked at, and gone when they should be. */
#include "harness.h"
#include "operator.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/store.h>

#include "pkcs11_bridge.h"

static const struct {
    const char *type, *group;
    unsigned bits;
} types[] = { { "RSA", NULL, 2048 }, { "RSA-PSS", NULL, 2048 }, { "EC", "P-256", 0 },
              { "EC", "P-521", 0 },  { "ED25519", NULL, 0 },    { "ED448", NULL, 0 },
              { "X25519", NULL, 0 }, { "X448", NULL, 0 } };

static EVP_PKEY *generate_with(OSSL_LIB_CTX *libctx, size_t type, const char *uri,
                               const char *usage, const char *ephemeral, const char *if_exists)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, types[type].type, "provider=pkcs11");
    EVP_PKEY *key = NULL;
    unsigned bits = types[type].bits;
    OSSL_PARAM params[8];
    size_t n = 0;

    if (uri != NULL)
        params[n++] =
            OSSL_PARAM_construct_utf8_string(PKCS11_BRIDGE_KEYGEN_URI, (char *)(uintptr_t)uri, 0);
    if (usage != NULL)
        params[n++] = OSSL_PARAM_construct_utf8_string(PKCS11_BRIDGE_KEYGEN_USAGE,
                                                       (char *)(uintptr_t)usage, 0);
    if (ephemeral != NULL)
        params[n++] = OSSL_PARAM_construct_utf8_string(PKCS11_BRIDGE_KEYGEN_EPHEMERAL,
                                                       (char *)(uintptr_t)ephemeral, 0);
    if (if_exists != NULL)
        params[n++] = OSSL_PARAM_construct_utf8_string(PKCS11_BRIDGE_KEYGEN_IF_EXISTS,
                                                       (char *)(uintptr_t)if_exists, 0);
    if (types[type].group != NULL)
        params[n++] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME,
                                                       (char *)(uintptr_t)types[type].group, 0);
    if (bits != 0)
        params[n++] = OSSL_PARAM_construct_uint(OSSL_PKEY_PARAM_RSA_BITS, &bits);
    params[n] = OSSL_PARAM_construct_end();
    if (EVP_PKEY_keygen_init(ctx) != 1 || EVP_PKEY_CTX_set_params(ctx, params) != 1 ||
        EVP_PKEY_generate(ctx, &key) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static EVP_PKEY *generate(OSSL_LIB_CTX *libctx, size_t type, const char *uri, const char *usage,
                          const char *ephemeral)
{
    return generate_with(libctx, type, uri, usage, ephemeral, NULL);
}

static bool sign_and_verify(OSSL_LIB_CTX *libctx, OSSL_LIB_CTX *plain, EVP_PKEY *key)
{
    bool raw = EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448");
    EVP_MD_CTX *signer = EVP_MD_CTX_new(), *verifier = EVP_MD_CTX_new();
    EVP_PKEY *public = key_public_copy(key, plain);
    unsigned char sig[512];
    size_t len = sizeof(sig);
    bool ok =
        EVP_DigestSignInit_ex(signer, NULL, raw ? NULL : "SHA256", libctx, NULL, key, NULL) == 1 &&
        EVP_DigestSign(signer, sig, &len, (const unsigned char *)"m", 1) == 1 &&
        EVP_DigestVerifyInit_ex(verifier, NULL, raw ? NULL : "SHA256", plain, NULL, public, NULL) ==
            1 &&
        EVP_DigestVerify(verifier, sig, len, (const unsigned char *)"m", 1) == 1;

    EVP_PKEY_free(public);
    EVP_MD_CTX_free(signer);
    EVP_MD_CTX_free(verifier);
    return ok;
}

static bool agree(OSSL_LIB_CTX *libctx, OSSL_LIB_CTX *plain, EVP_PKEY *key)
{
    EVP_PKEY *peer = EVP_PKEY_Q_keygen(plain, NULL, EVP_PKEY_get0_type_name(key));
    EVP_PKEY *own = key_public_copy(key, plain);
    EVP_PKEY_CTX *a = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    EVP_PKEY_CTX *b = EVP_PKEY_CTX_new_from_pkey(plain, peer, NULL);
    unsigned char x[64], y[64];
    size_t x_len = sizeof(x), y_len = sizeof(y);
    bool ok = EVP_PKEY_derive_init(a) == 1 && EVP_PKEY_derive_set_peer(a, peer) == 1 &&
              EVP_PKEY_derive(a, x, &x_len) == 1 && EVP_PKEY_derive_init(b) == 1 &&
              EVP_PKEY_derive_set_peer(b, own) == 1 && EVP_PKEY_derive(b, y, &y_len) == 1 &&
              x_len == y_len && memcmp(x, y, x_len) == 0;

    EVP_PKEY_CTX_free(a);
    EVP_PKEY_CTX_free(b);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(own);
    return ok;
}

static bool use(OSSL_LIB_CTX *libctx, OSSL_LIB_CTX *plain, EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "X25519") || EVP_PKEY_is_a(key, "X448")
               ? agree(libctx, plain, key)
               : sign_and_verify(libctx, plain, key);
}

static unsigned object_count(OSSL_LIB_CTX *libctx, const char *uri)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    unsigned count = 0;

    while (!OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        count += info != NULL;
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    ERR_clear_error();
    return count;
}

static void test_generate_use_and_load_again(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();

    (void)state;
    for (size_t t = 0; t < COUNT_OF(types); t++) {
        char uri[128], error[512];
        EVP_PKEY *key, *again;

        snprintf(uri, sizeof(uri), "pkcs11:token=soft;object=made-%zu", t);
        ERR_clear_error();
        key = generate(libctx, t, uri, NULL, NULL);
        if (key == NULL)
            fail_msg("%s: %s", types[t].type, last_error(error, sizeof(error)));
        if (!use(libctx, plain, key))
            fail_msg("%s: %s", types[t].type, last_error(error, sizeof(error)));
        assert_int_equal(object_count(libctx, uri), 2);
        strcat(uri, ";type=private");
        again = key_load_uri(libctx, uri);
        assert_non_null(again);
        assert_int_equal(EVP_PKEY_eq(key, again), 1);
        assert_true(use(libctx, plain, again));
        EVP_PKEY_free(key);
        EVP_PKEY_free(again);
    }
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

static void test_generate_refuses_what_is_taken(void **state)
{
    static const struct {
        const char *uri, *what;
    } cases[] = {
        { "pkcs11:token=soft;object=p256", "label" },
        { "pkcs11:token=soft;object=p256-new;id=%05", "id" },
        { "pkcs11:token=soft;id=%05", "id" },
    };
    OSSL_LIB_CTX *libctx = libctx_new("");
    unsigned before = object_count(libctx, "pkcs11:token=soft");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char error[512];

        ERR_clear_error();
        assert_null(generate(libctx, 1, cases[i].uri, NULL, NULL));
        (void)last_error(error, sizeof(error));
        assert_non_null(strstr(error, cases[i].what));
        assert_non_null(strstr(error, "already"));
        assert_non_null(strstr(error, "pkcs11_if_exists:add"));
    }
    assert_int_equal(object_count(libctx, "pkcs11:token=soft"), before);
    OSSL_LIB_CTX_free(libctx);
}

static void test_generate_adds_to_what_is_taken(void **state)
{
    static const char *const uris[] = { "pkcs11:token=soft;object=taken",
                                        "pkcs11:token=soft;object=taken;id=%74" };
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();
    char error[512];

    (void)state;
    for (size_t i = 0; i < 2 * COUNT_OF(uris); i++) {
        EVP_PKEY *key = generate_with(libctx, 2, uris[i / 2], NULL, NULL, "add");

        assert_non_null(key);
        assert_true(use(libctx, plain, key));
        assert_int_equal(object_count(libctx, "pkcs11:token=soft;object=taken"), 2 * (i + 1));
        EVP_PKEY_free(key);
    }
    ERR_clear_error();
    assert_null(generate_with(libctx, 2, uris[0], NULL, NULL, "error"));
    assert_non_null(strstr(last_error(error, sizeof(error)), "label already"));
    assert_null(generate_with(libctx, 2, uris[0], NULL, NULL, "replace"));
    assert_non_null(strstr(last_error(error, sizeof(error)), "may be error or add, not replace"));
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* Without token=, on the first token that can be written to: whichever of two that says so, or
 * finds it out. */
static void test_generate_on_the_first_to_write_to(void **state)
{
    static const struct {
        const char *rules, *token;
    } cases[] = {
        { "token-flags 2 soft", "second" }, /* CKF_WRITE_PROTECTED */
        { "token-flags 2 second", "soft" },
        { "C_OpenSession 1 * CKR_TOKEN_WRITE_PROTECTED token=soft", "second" },
        { "C_OpenSession 1 * CKR_TOKEN_WRITE_PROTECTED token=second", "soft" },
    };
    char error[512];

    (void)state;
    operator_open();
    assert_int_equal(p11->C_Initialize(NULL), CKR_OK);
    (void)operator_init_token("second", "1234");
    assert_int_equal(p11->C_Finalize(NULL), CKR_OK);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-pin-scope = any\n"
                                                 "pkcs11-ambiguous = first\n");
        char uri[64];
        EVP_PKEY *key;

        fault(cases[i].rules);
        snprintf(uri, sizeof(uri), "pkcs11:object=first-%zu", i);
        ERR_clear_error();
        key = generate(libctx, 2, uri, NULL, NULL);
        if (key == NULL)
            fail_msg("%s: %s", cases[i].rules, last_error(error, sizeof(error)));
        EVP_PKEY_free(key);
        fault("");
        snprintf(uri, sizeof(uri), "pkcs11:token=%s;object=first-%zu", cases[i].token, i);
        assert_int_equal(object_count(libctx, uri), 2);
        OSSL_LIB_CTX_free(libctx);
    }
}

static void test_generate_where_nothing_can_be_written(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    char error[512];

    (void)state;
    fault("token-flags 2");
    calls_reset();
    ERR_clear_error();
    assert_null(generate(libctx, 2, "pkcs11:token=soft;object=protected", NULL, NULL));
    assert_non_null(strstr(last_error(error, sizeof(error)), "CKR_TOKEN_WRITE_PROTECTED"));
    assert_int_equal(calls("C_Login"), 0);
    fault("");
    OSSL_LIB_CTX_free(libctx);
}

/* As the program that reads -pkeyopt names it, also where it sets parameters by itself. */
/* A module that shows no token, and then cannot say which slots it has, when it is asked again. */
static void test_generate_where_slots_cannot_be_listed(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-retry-ms = 40\npkcs11-log = none\n");
    char error[512];

    (void)state;
    fault("C_GetSlotList 1 1 - count=0; C_GetSlotList 2 * CKR_FUNCTION_NOT_SUPPORTED");
    ERR_clear_error();
    assert_null(generate(libctx, 2, "pkcs11:token=soft;object=unlisted", NULL, NULL));
    assert_non_null(strstr(last_error(error, sizeof(error)), "token"));
    fault("");
    OSSL_LIB_CTX_free(libctx);
}

static void test_generate_paramgen_curve(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "EC", "provider=pkcs11");
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string("ec_paramgen_curve",
                                                                   (char *)(uintptr_t) "P-384", 0),
                                  OSSL_PARAM_construct_end() };
    EVP_PKEY *key = NULL;

    (void)state;
    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_non_null(OSSL_PARAM_locate_const(EVP_PKEY_CTX_settable_params(ctx), params[0].key));
    assert_int_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
    assert_int_equal(EVP_PKEY_generate(ctx, &key), 1);
    assert_int_equal(EVP_PKEY_get_bits(key), 384);
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(ctx);
    OSSL_LIB_CTX_free(libctx);
}

static void test_generate_bad_parameters(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    char error[512];

    (void)state;
    ERR_clear_error();
    assert_null(generate(libctx, 1, "pkcs11:token=hard;object=x", NULL, NULL));
    assert_non_null(strstr(last_error(error, sizeof(error)), "the tokens there are: 'soft'"));
    assert_null(generate(libctx, 1, "pkcs11:token=soft;id=%0", NULL, NULL));
    assert_non_null(strstr(last_error(error, sizeof(error)), "id=%0 is malformed"));
    assert_null(generate(libctx, 1, "pkcs11:token=soft;object=x", "everything", NULL));
    assert_non_null(strstr(last_error(error, sizeof(error)), "everything"));
    OSSL_LIB_CTX_free(libctx);
}

/* An error names the mechanism that was asked for, or would have been. */
static void test_generate_error_names_mechanism(void **state)
{
    static const struct {
        size_t type;
        const char *mechanism;
    } cases[] = { { 0, "CKM_RSA_PKCS_KEY_PAIR_GEN" },
                  { 2, "CKM_EC_KEY_PAIR_GEN" },
                  { 4, "CKM_EC_EDWARDS_KEY_PAIR_GEN" } };
    static const char *const rules[] = { "C_OpenSession 1 * CKR_DEVICE_MEMORY",
                                         "C_GenerateKeyPair 1 * CKR_GENERAL_ERROR" };
    char error[1024];

    (void)state;
    for (size_t r = 0; r < COUNT_OF(rules); r++)
        for (size_t i = 0; i < COUNT_OF(cases); i++) {
            OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-retry-ms = 0\npkcs11-log = none\n");

            fault(rules[r]);
            ERR_clear_error();
            assert_null(
                generate(libctx, cases[i].type, "pkcs11:token=soft;object=none", NULL, NULL));
            fault("");
            if (strstr(last_error(error, sizeof(error)), cases[i].mechanism) == NULL)
                fail_msg("%s: %s", rules[r], error);
            OSSL_LIB_CTX_free(libctx);
        }
}

/* A URI that can match nothing leads nowhere: not to the first token that there is, which would be
 * shown the PIN. */
static void test_generate_impossible_uri(void **state)
{
    static const char *const uris[] = {
        "pkcs11:tokn=soft;object=misspelt", "pkcs11:token=soft;object=misspelt;lable=x",
        "pkcs11:token=soft;obejct=misspelt?pin-value=1234",
        "pkcs11:serial=0123456789abcdef0123456789abcdef;object=misspelt", /* longer than any */
    };
    static const char *const ephemeral[] = { NULL, "yes" };
    OSSL_LIB_CTX *libctx = libctx_new("");
    unsigned before = object_count(libctx, "pkcs11:");
    char error[1024];

    (void)state;
    OSSL_LIB_CTX_free(libctx);
    libctx = libctx_new_faulty("");
    calls_reset();
    for (size_t i = 0; i < 2 * COUNT_OF(uris) * COUNT_OF(types); i++) {
        const char *uri = uris[i / 2 / COUNT_OF(types)];

        ERR_clear_error();
        if (generate(libctx, i / 2 % COUNT_OF(types), uri, NULL, ephemeral[i % 2]) != NULL)
            fail_msg("a key for %s", uri);
        assert_non_null(strstr(last_error(error, sizeof(error)), "nothing can match pkcs11_uri"));
        assert_null(key_load_uri(libctx, uri));
    }
    assert_int_equal(calls(NULL), calls("C_Initialize")); /* above all: no C_Login */
    OSSL_LIB_CTX_free(libctx);
    libctx = libctx_new("");
    assert_int_equal(object_count(libctx, "pkcs11:"), before);
    OSSL_LIB_CTX_free(libctx);
}

/* A provider whose configuration makes no sense does nothing with what is left of it. */
static void test_generate_misconfigured(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-module-login-behavior = sometimes\n");
    char error[1024];

    (void)state;
    calls_reset();
    ERR_clear_error();
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        assert_null(generate(libctx, i, "pkcs11:token=soft;object=misconfigured", NULL, NULL));
        assert_null(generate(libctx, i, NULL, NULL, NULL));
        assert_non_null(strstr(last_error(error, sizeof(error)), "login-behavior"));
    }
    assert_int_equal(calls(NULL), calls("C_Initialize"));
    OSSL_LIB_CTX_free(libctx);
}

/* A key that may only agree on keys does not sign. */
static void test_generate_usage(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();
    EVP_PKEY *key = generate(libctx, 1, "pkcs11:token=soft;object=agree", "keyAgreement", NULL);
    char error[512];

    (void)state;
    assert_non_null(key);
    ERR_clear_error();
    assert_false(sign_and_verify(libctx, plain, key));
    assert_non_null(strstr(last_error(error, sizeof(error)), "the key's CKA_SIGN is off"));
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* Without a URI, and with pkcs11_ephemeral: a session key, gone with its EVP_PKEY. */
static void test_generate_session_keys(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty(""), *plain = libctx_new_plain();
    unsigned before = object_count(libctx, "pkcs11:token=soft");

    (void)state;
    for (size_t t = 0; t < COUNT_OF(types); t++)
        for (int with_uri = 0; with_uri < 2; with_uri++) {
            EVP_PKEY *key = generate(libctx, t, with_uri ? "pkcs11:token=soft;object=short" : NULL,
                                     NULL, with_uri ? "yes" : NULL);

            assert_non_null(key);
            assert_true(use(libctx, plain, key));
            calls_reset();
            EVP_PKEY_free(key);
            assert_int_equal(calls("C_DestroyObject"), 2);
        }
    assert_int_equal(object_count(libctx, "pkcs11:token=soft"), before);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* A session key has no name to be written with. */
static void test_generate_session_key_written(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *key = generate(libctx, 2, NULL, NULL, NULL);
    BIO *out = BIO_new(BIO_s_mem());
    char error[512], *text = NULL;

    (void)state;
    assert_non_null(key);
    ERR_clear_error();
    assert_int_equal(PEM_write_bio_PrivateKey_ex(out, key, NULL, NULL, 0, NULL, NULL, libctx, NULL),
                     0);
    assert_non_null(strstr(last_error(error, sizeof(error)), "cannot write a session key"));
    assert_int_equal(BIO_get_mem_data(out, &text), 0);
    assert_int_equal(EVP_PKEY_print_private(out, key, 0, NULL), 1);
    assert_int_not_equal(BIO_write(out, "", 1), 0);
    assert_true(BIO_get_mem_data(out, &text) > 0);
    assert_non_null(strstr(text, "Private session key on the token soft"));
    assert_null(strstr(text, "pkcs11:"));
    BIO_free(out);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* A context in which libcrypto comes to this provider for whatever nobody said: it is preferred. */
static OSSL_LIB_CTX *libctx_preferring(const char *settings)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty(settings);

    assert_int_equal(EVP_set_default_properties(libctx, "?provider=pkcs11"), 1);
    return libctx;
}

static const struct {
    const char *type, *group;
} unasked[] = {
    { "EC", "P-256" }, { "EC", "brainpoolP384r1" }, { "X25519", NULL }, { "X448", NULL }
};

static EVP_PKEY *generate_unasked(OSSL_LIB_CTX *libctx, size_t i)
{
    return unasked[i].group != NULL
               ? EVP_PKEY_Q_keygen(libctx, NULL, unasked[i].type, unasked[i].group)
               : EVP_PKEY_Q_keygen(libctx, NULL, unasked[i].type);
}

/* What libssl does with its ephemeral key and its peer's. */
static EVP_PKEY *peer_from(EVP_PKEY *own, EVP_PKEY *other)
{
    EVP_PKEY *peer = EVP_PKEY_new();
    unsigned char *point = NULL;
    size_t len = EVP_PKEY_get1_encoded_public_key(other, &point);

    assert_int_equal(EVP_PKEY_copy_parameters(peer, own), 1);
    assert_int_equal(EVP_PKEY_set1_encoded_public_key(peer, point, len), 1);
    OPENSSL_free(point);
    return peer;
}

static size_t derive(OSSL_LIB_CTX *libctx, EVP_PKEY *key, EVP_PKEY *peer, unsigned char *out)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    size_t len = 0;

    assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(ctx, peer), 1);
    assert_int_equal(EVP_PKEY_derive(ctx, NULL, &len), 1);
    assert_int_equal(EVP_PKEY_derive(ctx, out, &len), 1);
    EVP_PKEY_CTX_free(ctx);
    return len;
}

/* Keys for key agreement that nobody asked of the token, nor of this provider: they work, and no
 * call is made for them. */
static void test_generate_unasked(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_preferring(""), *plain = libctx_new_plain();

    (void)state;
    calls_reset();
    for (size_t i = 0; i < COUNT_OF(unasked); i++) {
        EVP_PKEY *key = generate_unasked(libctx, i), *copy = EVP_PKEY_dup(key);
        EVP_PKEY *other = generate_unasked(plain, i);
        EVP_PKEY *peer = peer_from(key, other), *back = peer_from(other, key);
        OSSL_PARAM *params = NULL;
        unsigned char ours[66], theirs[66];
        size_t len = derive(libctx, copy, peer, ours);

        assert_true(EVP_PKEY_is_a(key, unasked[i].type));
        assert_int_equal(derive(plain, other, back, theirs), len);
        assert_memory_equal(ours, theirs, len);
        assert_int_equal(EVP_PKEY_get_bits(peer), EVP_PKEY_get_bits(other));
        assert_int_equal(EVP_PKEY_eq(key, copy), 1);
        if (unasked[i].group != NULL)
            assert_true(sign_and_verify(libctx, plain, key));
        assert_int_equal(EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &params), 1);
        assert_non_null(OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_PRIV_KEY));
        OSSL_PARAM_free(params);
        EVP_PKEY_free(key);
        EVP_PKEY_free(copy);
        EVP_PKEY_free(other);
        EVP_PKEY_free(peer);
        EVP_PKEY_free(back);
    }
    assert_int_equal(calls(NULL), calls("C_Initialize"));
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* Whoever says a word of it gets them on the token. */
static void test_generate_asked_all_the_same(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_preferring(""), *plain = libctx_new_plain();
    OSSL_LIB_CTX *token = libctx_preferring("pkcs11-ephemeral = token\n");
    EVP_PKEY *keys[4] = { NULL };

    (void)state;
    calls_reset();
    keys[0] = generate(libctx, 2, NULL, NULL, "yes");
    keys[1] = generate(libctx, 2, NULL, "keyAgreement,digitalSignature", NULL);
    keys[2] = generate_unasked(token, 0);
    keys[3] = EVP_PKEY_Q_keygen(libctx, NULL, "RSA", (size_t)2048); /* is not for key agreement */
    assert_int_equal(calls("C_GenerateKeyPair"), COUNT_OF(keys));
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        assert_non_null(keys[i]);
        assert_true(use(i == 2 ? token : libctx, plain, keys[i]));
        EVP_PKEY_free(keys[i]);
    }
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(token);
    OSSL_LIB_CTX_free(plain);
}

/* More session keys at a time than there are sessions. */
static void test_generate_many_session_keys(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("pkcs11-sessions-max = 2\n"), *plain = libctx_new_plain();
    EVP_PKEY *keys[40];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        keys[i] = generate(libctx, 1, NULL, NULL, NULL);
        assert_non_null(keys[i]);
    }
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        assert_true(use(libctx, plain, keys[i]));
        EVP_PKEY_free(keys[i]);
    }
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* With one session only, which has to be one that writes. */
static void test_generate_with_one_session(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("pkcs11-sessions-max = 1\n"), *plain = libctx_new_plain();
    EVP_PKEY *other = key_load(libctx, "p256", "private");
    EVP_PKEY *key = generate(libctx, 1, "pkcs11:token=soft;object=one-session", NULL, NULL);

    (void)state;
    assert_non_null(key);
    assert_true(use(libctx, plain, key));
    assert_true(use(libctx, plain, other));
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* A token that makes a pair and says that it failed: what it left goes before another way is tried,
 * and where it cannot be told from somebody else's, there is no other try. */
static void test_generate_leaves_nothing(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-log = none\n");
    EVP_PKEY *key;
    char error[600];

    (void)state;
    fault("C_GenerateKeyPair 1 1 CKR_GENERAL_ERROR after");
    key = generate(libctx, 4, "pkcs11:token=soft;object=swept", NULL, NULL);
    if (key == NULL)
        fail_msg("%s", last_error(error, sizeof(error)));
    EVP_PKEY_free(key);
    assert_int_equal(object_count(libctx, "pkcs11:token=soft;object=swept"), 2);
    fault("C_GenerateKeyPair 1 1 CKR_GENERAL_ERROR after");
    assert_null(generate(libctx, 4, "pkcs11:token=soft;object=swept-id;id=%AB%CD", NULL, NULL));
    assert_int_equal(object_count(libctx, "pkcs11:token=soft;object=swept-id"), 2);
    fault("C_GenerateKeyPair 1 1 CKR_GENERAL_ERROR");
    key = generate(libctx, 4, "pkcs11:token=soft;object=other-id;id=%AB%CE", NULL, NULL);
    if (key == NULL)
        fail_msg("%s", last_error(error, sizeof(error)));
    fault("");
    EVP_PKEY_free(key);
    ERR_clear_error();
    OSSL_LIB_CTX_free(libctx);
}

/* The URI that a file for the key p256 says. */
static void written_uri(const char *settings, char *uri, size_t size)
{
    OSSL_LIB_CTX *libctx = libctx_new(settings);
    EVP_PKEY *key = key_load(libctx, "p256", "private");
    BIO *out = BIO_new(BIO_s_mem());
    char *name = NULL, *header = NULL;
    unsigned char *der = NULL;
    long len = 0;

    assert_non_null(key);
    assert_int_equal(PEM_write_bio_PrivateKey_ex(out, key, NULL, NULL, 0, NULL, NULL, libctx, NULL),
                     1);
    assert_int_equal(PEM_read_bio(out, &name, &header, &der, &len), 1);
    snprintf(uri, size, "%.*s", (int)len - 31, (const char *)der + 31);
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(der);
    BIO_free(out);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* No more of the token than its label, and what tells it from another with that label. */
static void test_generate_written_uri(void **state)
{
    char uri[512];

    (void)state;
    written_uri("", uri, sizeof(uri));
    assert_non_null(strstr(uri, "token=soft"));
    assert_null(strstr(uri, "serial="));
    assert_null(strstr(uri, "model="));
    written_uri("pkcs11-pem-uri = full\n", uri, sizeof(uri));
    assert_non_null(strstr(uri, "serial="));
    assert_non_null(strstr(uri, "model="));
    operator_open();
    assert_int_equal(p11->C_Initialize(NULL), CKR_OK);
    (void)operator_init_token("soft", "1234");
    assert_int_equal(p11->C_Finalize(NULL), CKR_OK);
    written_uri("pkcs11-pin-scope = any\n", uri, sizeof(uri));
    assert_non_null(strstr(uri, "token=soft"));
    assert_non_null(strstr(uri, "serial="));
    assert_null(strstr(uri, "model="));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generate_use_and_load_again),
        cmocka_unit_test(test_generate_refuses_what_is_taken),
        cmocka_unit_test(test_generate_adds_to_what_is_taken),
        cmocka_unit_test(test_generate_where_nothing_can_be_written),
        cmocka_unit_test(test_generate_where_slots_cannot_be_listed),
        cmocka_unit_test(test_generate_paramgen_curve),
        cmocka_unit_test(test_generate_bad_parameters),
        cmocka_unit_test(test_generate_error_names_mechanism),
        cmocka_unit_test(test_generate_impossible_uri),
        cmocka_unit_test(test_generate_misconfigured),
        cmocka_unit_test(test_generate_usage),
        cmocka_unit_test(test_generate_session_keys),
        cmocka_unit_test(test_generate_session_key_written),
        cmocka_unit_test(test_generate_unasked),
        cmocka_unit_test(test_generate_asked_all_the_same),
        cmocka_unit_test(test_generate_many_session_keys),
        cmocka_unit_test(test_generate_with_one_session),
        cmocka_unit_test(test_generate_leaves_nothing),
        cmocka_unit_test(test_generate_on_the_first_to_write_to), /* leaves a second token */
        cmocka_unit_test(test_generate_written_uri),              /* and a third */
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
