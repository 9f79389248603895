/* ML-KEM on the token of tests/token32: both directions, what it costs, what becomes of the secret,
 * and tokens that do not give it out. */
#include "harness.h"
#include "module.h"

#include <openssl/err.h>

#define SECRET         32
#define CIPHERTEXT_MAX 1568

static const struct kem {
    const char *name, *label;
    size_t ciphertext;
} kems[] = {
    { "ML-KEM-512", "kem512", 768 },
    { "ML-KEM-768", "kem768", 1088 },
    { "ML-KEM-1024", "kem1024", 1568 },
};

static bool encapsulate(OSSL_LIB_CTX *libctx, EVP_PKEY *key, unsigned char *ciphertext,
                        unsigned char *secret)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    size_t len = CIPHERTEXT_MAX, secret_len = SECRET;
    const bool ok = EVP_PKEY_encapsulate_init(ctx, NULL) == 1 &&
                    EVP_PKEY_encapsulate(ctx, ciphertext, &len, secret, &secret_len) == 1 &&
                    secret_len == SECRET;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool decapsulate(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const unsigned char *ciphertext,
                        size_t len, unsigned char *secret)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    size_t secret_len = SECRET;
    const bool ok = EVP_PKEY_decapsulate_init(ctx, NULL) == 1 &&
                    EVP_PKEY_decapsulate(ctx, secret, &secret_len, ciphertext, len) == 1 &&
                    secret_len == SECRET;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* The provider's key, and a software one of its public half. */
struct world {
    OSSL_LIB_CTX *libctx, *plain;
    EVP_PKEY *key, *public;
};

static struct world world_new(const char *settings, const char *label)
{
    struct world world = { .libctx = libctx_new_faulty(settings), .plain = libctx_new_plain() };

    fault("");
    world.key = key_load(world.libctx, label, "private");
    assert_non_null(world.key);
    world.public = key_public_copy(world.key, world.plain);
    assert_non_null(world.public);
    return world;
}

static void world_free(struct world *world)
{
    fault("");
    unsetenv("TOKEN32_SECRETS");
    ERR_clear_error();
    EVP_PKEY_free(world->key);
    EVP_PKEY_free(world->public);
    OSSL_LIB_CTX_free(world->libctx);
    OSSL_LIB_CTX_free(world->plain);
}

static void check_both_ways(const char *settings, const struct kem *kem)
{
    struct world world = world_new(settings, kem->label);
    unsigned char ciphertext[CIPHERTEXT_MAX], ours[SECRET], theirs[SECRET];

    assert_true(encapsulate(world.plain, world.public, ciphertext, theirs));
    assert_true(decapsulate(world.libctx, world.key, ciphertext, kem->ciphertext, ours));
    assert_memory_equal(ours, theirs, SECRET);
    assert_true(encapsulate(world.libctx, world.key, ciphertext, theirs));
    assert_true(decapsulate(world.libctx, world.key, ciphertext, kem->ciphertext, ours));
    assert_memory_equal(ours, theirs, SECRET);
    world_free(&world);
}

static void test_kem_both_ways(void **state)
{
    (void)state;
    NEEDS("ML-KEM-512");
    for (size_t i = 0; i < COUNT_OF(kems); i++)
        check_both_ways("", &kems[i]);
}

static void test_kem_encapsulates_on_the_token(void **state)
{
    (void)state;
    NEEDS("ML-KEM-512");
    for (size_t i = 0; i < COUNT_OF(kems); i++) {
        check_both_ways("pkcs11-public-operations = token\n", &kems[i]);
        assert_true(calls("C_EncapsulateKey") > 0);
    }
}

/* Nobody is logged in when a public key alone is loaded; the token wants it for the secret. */
static void test_kem_logs_in_to_encapsulate(void **state)
{
    static const char settings[] = "pkcs11-public-operations = token\n";
    unsigned char ciphertext[CIPHERTEXT_MAX], ours[SECRET], theirs[SECRET];
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *public, *private;

    (void)state;
    NEEDS("ML-KEM-512");
    libctx = libctx_new_faulty(settings);
    fault("");
    calls_reset();
    public = key_load(libctx, "kem512", "public");
    assert_non_null(public);
    assert_int_equal(calls("C_Login"), 0);
    assert_true(encapsulate(libctx, public, ciphertext, theirs));
    assert_int_equal(calls("C_Login"), 1);
    assert_int_equal(calls("C_EncapsulateKey"), 2);
    assert_true(encapsulate(libctx, public, ciphertext, theirs));
    assert_int_equal(calls("C_EncapsulateKey"), 3);
    private = key_load(libctx, "kem512", "private");
    assert_true(decapsulate(libctx, private, ciphertext, 768, ours));
    assert_memory_equal(ours, theirs, SECRET);
    EVP_PKEY_free(private);
    EVP_PKEY_free(public);
    OSSL_LIB_CTX_free(libctx);
}

/* A decapsulation is three calls, of which the last destroys the secret; an encapsulation on the
 * host none. */
static void test_kem_calls(void **state)
{
    struct world world;
    unsigned char ciphertext[CIPHERTEXT_MAX], secret[SECRET];
    ck_session_handle_t session;

    (void)state;
    NEEDS("ML-KEM-512");
    world = world_new("", "kem768");
    assert_true(encapsulate(world.libctx, world.key, ciphertext, secret));
    assert_true(decapsulate(world.libctx, world.key, ciphertext, 1088, secret));
    calls_reset();
    assert_true(encapsulate(world.libctx, world.key, ciphertext, secret));
    assert_int_equal(calls(NULL), 0);
    assert_true(decapsulate(world.libctx, world.key, ciphertext, 1088, secret));
    assert_int_equal(calls(NULL), 3);
    assert_int_equal(calls("C_DecapsulateKey"), 1);
    assert_int_equal(calls("C_GetAttributeValue"), 1);
    assert_int_equal(calls("C_DestroyObject"), 1);
    session = session_login();
    assert_int_equal(object_count(session, CKO_SECRET_KEY), 0);
    OK(v2->C_CloseSession(session));
    world_free(&world);
}

/* FIPS 203 §6.3: a ciphertext that is nobody's makes a secret that nobody knows, the same each
 * time. */
static void test_kem_rejects_implicitly(void **state)
{
    struct world world;
    unsigned char ciphertext[CIPHERTEXT_MAX], sent[SECRET], first[SECRET], second[SECRET];

    (void)state;
    NEEDS("ML-KEM-512");
    world = world_new("", "kem768");
    assert_true(encapsulate(world.plain, world.public, ciphertext, sent));
    ciphertext[100] ^= 1;
    assert_true(decapsulate(world.libctx, world.key, ciphertext, 1088, first));
    assert_true(decapsulate(world.libctx, world.key, ciphertext, 1088, second));
    assert_memory_equal(first, second, SECRET);
    assert_memory_not_equal(first, sent, SECRET);
    world_free(&world);
}

static void test_kem_lengths(void **state)
{
    static const size_t lengths[] = { 0, 1, 768, 1087, 1089, 1568 };
    struct world world;
    unsigned char ciphertext[CIPHERTEXT_MAX] = { 0 }, secret[SECRET];

    (void)state;
    NEEDS("ML-KEM-512");
    world = world_new("", "kem768");
    calls_reset();
    for (size_t i = 0; i < COUNT_OF(lengths); i++)
        assert_false(decapsulate(world.libctx, world.key, ciphertext, lengths[i], secret));
    assert_int_equal(calls("C_DecapsulateKey"), 0);
    world_free(&world);
}

/* What a token says that keeps secrets to itself: at once, or by an object that cannot be read. */
static void check_kept(const char *how, const char *call, const char *ckr)
{
    struct world world = world_new("", "kem768");
    unsigned char ciphertext[CIPHERTEXT_MAX], secret[SECRET], sent[SECRET];
    ck_session_handle_t session;
    char error[600];

    assert_true(encapsulate(world.plain, world.public, ciphertext, sent));
    setenv("TOKEN32_SECRETS", how, 1);
    calls_reset();
    assert_false(decapsulate(world.libctx, world.key, ciphertext, 1088, secret));
    (void)last_error(error, sizeof(error));
    if (strstr(error, call) == NULL || strstr(error, ckr) == NULL ||
        strstr(error, "does not give out") == NULL)
        fail_msg("%s: %s", how, error);
    assert_int_equal(calls("C_DecapsulateKey"), 1);
    session = session_login();
    assert_int_equal(object_count(session, CKO_SECRET_KEY), 0);
    OK(v2->C_CloseSession(session));
    setenv("TOKEN32_SECRETS", "give", 1);
    assert_true(decapsulate(world.libctx, world.key, ciphertext, 1088, secret));
    assert_memory_equal(secret, sent, SECRET);
    world_free(&world);
}

static void test_kem_secrets_that_stay(void **state)
{
    (void)state;
    NEEDS("ML-KEM-512");
    check_kept("keep", "C_GetAttributeValue", "CKR_ATTRIBUTE_SENSITIVE");
    check_kept("refuse", "C_DecapsulateKey", "CKR_TEMPLATE_INCONSISTENT");
}

/* Lengths that cannot be: of the secret, of the ciphertext. */
static void test_kem_lies(void **state)
{
    static const char *const rules[] = { "C_GetAttributeValue 1 * - len=31 of=CKA_VALUE",
                                         "C_GetAttributeValue 1 * - len=33 of=CKA_VALUE",
                                         "C_GetAttributeValue 1 * - len=0 of=CKA_VALUE",
                                         "C_GetAttributeValue 1 * - len=none of=CKA_VALUE" };
    static const char *const ciphertexts[] = { "C_EncapsulateKey 1 * - len=1087",
                                               "C_EncapsulateKey 1 * - len=1089",
                                               "C_EncapsulateKey 1 * - len=0" };
    struct world world;
    unsigned char ciphertext[CIPHERTEXT_MAX], secret[SECRET];
    char error[600];

    (void)state;
    NEEDS("ML-KEM-512");
    world = world_new("pkcs11-public-operations = token\npkcs11-retry-ms = 40\n", "kem768");
    assert_true(encapsulate(world.libctx, world.key, ciphertext, secret));
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        fault(rules[i]);
        if (decapsulate(world.libctx, world.key, ciphertext, 1088, secret))
            fail_msg("%s: not noticed", rules[i]);
        assert_non_null(strstr(last_error(error, sizeof(error)), "C_GetAttributeValue"));
    }
    for (size_t i = 0; i < COUNT_OF(ciphertexts); i++) {
        fault(ciphertexts[i]);
        if (encapsulate(world.libctx, world.key, ciphertext, secret))
            fail_msg("%s: not noticed", ciphertexts[i]);
        assert_non_null(strstr(last_error(error, sizeof(error)), "C_EncapsulateKey"));
    }
    fault("");
    assert_true(encapsulate(world.libctx, world.key, ciphertext, secret));
    assert_true(decapsulate(world.libctx, world.key, ciphertext, 1088, secret));
    world_free(&world);
}

/* Without C_DecapsulateKey, or without the mechanism. */
static void test_kem_is_lacking(void **state)
{
    static const struct {
        const char *rule, *told;
    } cases[] = {
        { "lacks C_DecapsulateKey", "C_DecapsulateKey" },
        { "C_DecapsulateKey 1 * CKR_FUNCTION_NOT_SUPPORTED",
          "the module does not have this function" },
        { "C_DecapsulateKey 1 * CKR_MECHANISM_INVALID", "CKM_ML_KEM" },
    };
    struct world world;
    unsigned char ciphertext[CIPHERTEXT_MAX], secret[SECRET];
    char error[600];

    (void)state;
    NEEDS("ML-KEM-512");
    world = world_new("", "kem768");
    assert_true(encapsulate(world.plain, world.public, ciphertext, secret));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fault(cases[i].rule);
        if (decapsulate(world.libctx, world.key, ciphertext, 1088, secret))
            fail_msg("%s: not noticed", cases[i].rule);
        if (strstr(last_error(error, sizeof(error)), cases[i].told) == NULL)
            fail_msg("%s: %s", cases[i].rule, error);
    }
    world_free(&world);
}

/* A token that knows no CKA_DECAPSULATE, and whose C_GetAttributeValue stops there, has not said
 * that the key may not decapsulate. */
static void test_kem_attributes_left_out(void **state)
{
    struct world world;
    unsigned char ciphertext[CIPHERTEXT_MAX], there[SECRET], here[SECRET];
    char error[512];

    (void)state;
    if (!is_known("ML-KEM-512"))
        skip();
    setenv("FAULT_STOPS", "634", 1); /* CKA_DECAPSULATE */
    world = world_new("", kems[0].label);
    assert_true(encapsulate(world.plain, world.public, ciphertext, there));
    if (!decapsulate(world.libctx, world.key, ciphertext, kems[0].ciphertext, here))
        fail_msg("%s", last_error(error, sizeof(error)));
    assert_memory_equal(here, there, SECRET);
    world_free(&world);
    unsetenv("FAULT_STOPS");
}

static int keys_make(void **state)
{
    ck_session_handle_t session;

    (void)state;
    module_open();
    if (!is_known("ML-KEM-512"))
        return 0;
    OK(v2->C_Initialize(NULL));
    session = session_login();
    for (size_t i = 0; i < COUNT_OF(kems); i++)
        object_generate(session, kems[i].name, kems[i].label);
    OK(v2->C_Finalize(NULL));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kem_both_ways),
        cmocka_unit_test(test_kem_encapsulates_on_the_token),
        cmocka_unit_test(test_kem_logs_in_to_encapsulate),
        cmocka_unit_test(test_kem_calls),
        cmocka_unit_test(test_kem_rejects_implicitly),
        cmocka_unit_test(test_kem_lengths),
        cmocka_unit_test(test_kem_secrets_that_stay),
        cmocka_unit_test(test_kem_lies),
        cmocka_unit_test(test_kem_is_lacking),
        cmocka_unit_test(test_kem_attributes_left_out),
    };

    limit(300); /* nothing hangs */
    return cmocka_run_group_tests(tests, keys_make, NULL);
}
