/* The sweep of sweep.h over what PKCS#11 3.2 has, on the token of tests/token32: ML-DSA signatures,
 * their verification and keys, ML-KEM in both directions. */
#include "harness.h"
#include "module.h"
#include "sweep.h"

#include <openssl/err.h>
#include <openssl/params.h>

#include "pkcs11_bridge.h"

#define SETTINGS                                                                                   \
    "pkcs11-retry-ms = 40\npkcs11-session-wait-ms = 400\npkcs11-log = none\n"                      \
    "pkcs11-public-operations = token\n"

enum path { OPEN, SIGN, VERIFY, GENERATE, DECAPSULATE, ENCAPSULATE, PATHS };

static const char *const path_names[PATHS] = { "open",     "sign",        "verify",
                                               "generate", "decapsulate", "encapsulate" };

#define SECRET                                                                                     \
    "CKR_ACTION_PROHIBITED CKR_OBJECT_HANDLE_INVALID CKR_PIN_EXPIRED CKR_SESSION_READ_ONLY "       \
    "CKR_TOKEN_WRITE_PROTECTED "

static const struct row rows[] = {
    { OPEN, "C_GetAttributeValue", READ },
    { SIGN, "C_SignInit", INIT },
    { SIGN, "C_Sign", WORK },
    { VERIFY, "C_VerifyInit", INIT },
    { VERIFY, "C_Verify", WORK },
    { GENERATE, "C_GenerateKeyPair", SESSION TEMPLATE },
    { GENERATE, "C_GetAttributeValue", READ },
    { DECAPSULATE, "C_DecapsulateKey",
      INIT TEMPLATE "CKR_WRAPPED_KEY_INVALID CKR_WRAPPED_KEY_LEN_RANGE " },
    { DECAPSULATE, "C_GetAttributeValue", READ },
    { DECAPSULATE, "C_DestroyObject", SESSION SECRET },
    { ENCAPSULATE, "C_EncapsulateKey", INIT TEMPLATE "CKR_BUFFER_TOO_SMALL " },
    { ENCAPSULATE, "C_GetAttributeValue", READ },
    { ENCAPSULATE, "C_DestroyObject", SESSION SECRET },
};

static struct {
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *dsa, *kem;
    unsigned char signature[2420], ciphertext[1088], secret[32];
} world;

static unsigned char message[100];

static bool sign(EVP_PKEY *key, unsigned char *signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = sizeof(world.signature);
    bool ok = EVP_DigestSignInit_ex(ctx, NULL, NULL, world.libctx, NULL, key, NULL) == 1 &&
              EVP_DigestSign(ctx, signature, &len, message, sizeof(message)) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool verify(void)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit_ex(ctx, NULL, NULL, world.libctx, NULL, world.dsa, NULL) == 1 &&
              EVP_DigestVerify(ctx, world.signature, sizeof(world.signature), message,
                               sizeof(message)) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool generate(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(world.libctx, "ML-DSA-44", "provider=pkcs11");
    unsigned char signature[2420];
    EVP_PKEY *key = NULL;
    bool ok =
        EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_generate(ctx, &key) == 1 && sign(key, signature);

    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool decapsulate(unsigned char *secret)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(world.libctx, world.kem, NULL);
    size_t len = sizeof(world.secret);
    bool ok =
        EVP_PKEY_decapsulate_init(ctx, NULL) == 1 &&
        EVP_PKEY_decapsulate(ctx, secret, &len, world.ciphertext, sizeof(world.ciphertext)) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool encapsulate(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(world.libctx, world.kem, NULL);
    size_t len = sizeof(world.ciphertext), secret_len = sizeof(world.secret);
    bool ok = EVP_PKEY_encapsulate_init(ctx, NULL) == 1 &&
              EVP_PKEY_encapsulate(ctx, world.ciphertext, &len, world.secret, &secret_len) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool decapsulates_the_same(void)
{
    unsigned char secret[32];

    if (!decapsulate(secret))
        return false;
    assert_memory_equal(secret, world.secret, sizeof(secret));
    return true;
}

static bool opens(void)
{
    EVP_PKEY *key = key_load(world.libctx, "dsa", "private");

    EVP_PKEY_free(key);
    return key != NULL;
}

static bool walk(unsigned path)
{
    unsigned char signature[2420];

    switch (path) {
    case OPEN:
        return opens();
    case SIGN:
        return sign(world.dsa, signature);
    case VERIFY:
        return verify();
    case GENERATE:
        return generate();
    case DECAPSULATE:
        return decapsulates_the_same();
    default:
        return encapsulate();
    }
}

/* The keys are open already; for opening one, everything is new. */
static void world_begin(unsigned path)
{
    fault("");
    world.libctx = libctx_new_faulty(SETTINGS);
    if (path == OPEN)
        return;
    world.dsa = key_load(world.libctx, "dsa", "private");
    world.kem = key_load(world.libctx, "kem", "private");
    assert_non_null(world.dsa);
    assert_non_null(world.kem);
    assert_true(sign(world.dsa, world.signature));
    assert_true(encapsulate());
}

/* No secret has stayed on the token. */
static void world_end(void)
{
    const ck_session_handle_t session = session_login();

    fault("");
    assert_int_equal(object_count(session, CKO_SECRET_KEY), 0);
    OK(v2->C_CloseSession(session));
    EVP_PKEY_free(world.dsa);
    EVP_PKEY_free(world.kem);
    OSSL_LIB_CTX_free(world.libctx);
    memset(&world, 0, sizeof(world));
}

static const struct paths paths = { path_names, world_begin, walk, world_end };

static void test_sweep32_once(void **state)
{
    (void)state;
    NEEDS("ML-KEM-768");
    sweep(&paths, rows, COUNT_OF(rows), true);
}

static void test_sweep32_for_ever(void **state)
{
    (void)state;
    NEEDS("ML-KEM-768");
    sweep(&paths, rows, COUNT_OF(rows), false);
}

/* The token's own use ends before the provider begins, which is to initialise the module itself. */
static int keys_make(void **state)
{
    ck_session_handle_t session;

    (void)state;
    if (!is_known("ML-KEM-768"))
        return 0;
    module_open();
    OK(v2->C_Initialize(NULL));
    session = session_login();
    object_generate(session, "ML-DSA-44", "dsa");
    object_generate(session, "ML-KEM-768", "kem");
    OK(v2->C_Finalize(NULL));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sweep32_once),
        cmocka_unit_test(test_sweep32_for_ever),
    };

    limit(550); /* nothing hangs */
    return cmocka_run_group_tests(tests, keys_make, NULL);
}
