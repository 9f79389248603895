/* The sweep of sweep.h over opening a key, signing, decrypting, deriving and generating. */
#include "harness.h"
#include "sweep.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

#include "pkcs11_bridge.h"

#define SETTINGS "pkcs11-retry-ms = 40\npkcs11-session-wait-ms = 400\npkcs11-log = none\n"

enum path {
    OPEN,
    OPEN_BY_LIBRARY,
    SIGN_RSA,
    SIGN_EC,
    SIGN_LONG,
    DECRYPT,
    DERIVE,
    GENERATE,
    GENERATE_SESSION,
    PATHS
};

static const char *const path_names[PATHS] = {
    "open",    "open by library", "sign RSA",
    "sign EC", "sign in pieces",  "decrypt",
    "derive",  "generate",        "generate for a session"
};

static const struct row rows[] = {
    { OPEN, "C_Initialize",
      "CKR_ARGUMENTS_BAD CKR_CANT_LOCK CKR_CRYPTOKI_ALREADY_INITIALIZED CKR_FUNCTION_FAILED "
      "CKR_GENERAL_ERROR CKR_HOST_MEMORY CKR_NEED_TO_CREATE_THREADS" },
    { OPEN_BY_LIBRARY, "C_GetInfo", MODULE "CKR_ARGUMENTS_BAD" },
    { OPEN, "C_GetSlotList", MODULE "CKR_ARGUMENTS_BAD CKR_BUFFER_TOO_SMALL" },
    { OPEN_BY_LIBRARY, "C_GetSlotInfo",
      MODULE "CKR_ARGUMENTS_BAD CKR_DEVICE_ERROR CKR_SLOT_ID_INVALID" },
    { OPEN, "C_GetTokenInfo",
      DEVICE "CKR_ARGUMENTS_BAD CKR_SLOT_ID_INVALID CKR_TOKEN_NOT_PRESENT "
             "CKR_TOKEN_NOT_RECOGNIZED" },
    { OPEN, "C_OpenSession",
      DEVICE "CKR_ARGUMENTS_BAD CKR_SESSION_COUNT CKR_SESSION_PARALLEL_NOT_SUPPORTED "
             "CKR_SESSION_READ_WRITE_SO_EXISTS CKR_SLOT_ID_INVALID CKR_TOKEN_NOT_PRESENT "
             "CKR_TOKEN_NOT_RECOGNIZED CKR_TOKEN_WRITE_PROTECTED" },
    { OPEN, "C_Login",
      SESSION "CKR_ARGUMENTS_BAD CKR_FUNCTION_CANCELED CKR_OPERATION_NOT_INITIALIZED "
              "CKR_PIN_LOCKED CKR_SESSION_READ_ONLY_EXISTS CKR_USER_ALREADY_LOGGED_IN "
              "CKR_USER_ANOTHER_ALREADY_LOGGED_IN CKR_USER_PIN_NOT_INITIALIZED "
              "CKR_USER_TOO_MANY_TYPES CKR_USER_TYPE_INVALID" },
    { OPEN, "C_FindObjectsInit", FIND },
    { OPEN, "C_FindObjects", SESSION "CKR_ARGUMENTS_BAD CKR_OPERATION_NOT_INITIALIZED" },
    { OPEN, "C_FindObjectsFinal", SESSION "CKR_OPERATION_NOT_INITIALIZED" },
    { OPEN, "C_GetAttributeValue", READ },
    { SIGN_RSA, "C_GetMechanismInfo",
      DEVICE "CKR_ARGUMENTS_BAD CKR_MECHANISM_INVALID CKR_SLOT_ID_INVALID CKR_TOKEN_NOT_PRESENT "
             "CKR_TOKEN_NOT_RECOGNIZED" },
    { SIGN_RSA, "C_SignInit", INIT },
    { SIGN_RSA, "C_Sign", WORK },
    { SIGN_EC, "C_SignInit", INIT },
    { SIGN_EC, "C_Sign", WORK },
    { SIGN_LONG, "C_SignUpdate", WORK },
    { SIGN_LONG, "C_SignFinal", WORK },
    { DECRYPT, "C_DecryptInit", INIT },
    { DECRYPT, "C_Decrypt", WORK "CKR_ENCRYPTED_DATA_INVALID CKR_ENCRYPTED_DATA_LEN_RANGE" },
    { DERIVE, "C_DeriveKey", INIT TEMPLATE },
    { DERIVE, "C_GetAttributeValue", READ },
    { DERIVE, "C_DestroyObject",
      SESSION "CKR_ACTION_PROHIBITED CKR_OBJECT_HANDLE_INVALID CKR_PIN_EXPIRED "
              "CKR_SESSION_READ_ONLY CKR_TOKEN_WRITE_PROTECTED" },
    { GENERATE, "C_FindObjectsInit", FIND },
    { GENERATE, "C_OpenSession", DEVICE "CKR_SESSION_COUNT CKR_TOKEN_WRITE_PROTECTED" },
    { GENERATE, "C_GenerateKeyPair", SESSION TEMPLATE "CKR_CURVE_NOT_SUPPORTED" },
    { GENERATE, "C_GetAttributeValue", READ },
    { GENERATE, "C_SetAttributeValue",
      SESSION "CKR_ACTION_PROHIBITED CKR_ATTRIBUTE_READ_ONLY CKR_ATTRIBUTE_TYPE_INVALID "
              "CKR_ATTRIBUTE_VALUE_INVALID CKR_OBJECT_HANDLE_INVALID CKR_SESSION_READ_ONLY "
              "CKR_TEMPLATE_INCONSISTENT CKR_TOKEN_WRITE_PROTECTED CKR_USER_NOT_LOGGED_IN" },
    { GENERATE_SESSION, "C_GenerateKeyPair", SESSION TEMPLATE "CKR_CURVE_NOT_SUPPORTED" },
    { GENERATE_SESSION, "C_GetAttributeValue", READ },
};

struct world {
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *rsa, *ec, *peer;
    unsigned char encrypted[256];
};

static unsigned char message[200000];

static EVP_PKEY *open_key(const struct world *world, const char *uri)
{
    return key_load_uri(world->libctx, uri);
}

static bool sign(const struct world *world, EVP_PKEY *key, size_t len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char sig[256];
    size_t sig_len = sizeof(sig);
    bool ok = EVP_DigestSignInit_ex(ctx, NULL, "SHA256", world->libctx, NULL, key, NULL) == 1 &&
              EVP_DigestSign(ctx, sig, &sig_len, message, len) == 1 && sig_len > 0;

    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool decrypt(const struct world *world)
{
    return key_decrypts(world->libctx, world->rsa, world->encrypted, "secret");
}

static bool derive(const struct world *world)
{
    unsigned char out[32];

    return key_derives(world->libctx, world->ec, world->peer, out);
}

static bool generate(const struct world *world, const char *uri)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(world->libctx, "EC", "provider=pkcs11");
    EVP_PKEY *key = NULL;
    OSSL_PARAM params[3], *p = params;
    bool ok;

    *p++ = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)"P-256", 0);
    if (uri != NULL)
        *p++ =
            OSSL_PARAM_construct_utf8_string(PKCS11_BRIDGE_KEYGEN_URI, (char *)(uintptr_t)uri, 0);
    *p = OSSL_PARAM_construct_end();
    ok = EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_CTX_set_params(ctx, params) == 1 &&
         EVP_PKEY_generate(ctx, &key) == 1 && sign(world, key, 100);
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* Every key that is generated on the token has a label of its own, so that nothing may be left. */
static unsigned made;

static bool walk(const struct world *world, enum path path)
{
    char uri[64];
    EVP_PKEY *key;

    switch (path) {
    case OPEN:
    case OPEN_BY_LIBRARY:
        key = open_key(world,
                       path == OPEN
                           ? "pkcs11:token=soft;object=p256;type=private"
                           : "pkcs11:token=soft;object=p256;type=private;"
                             "library-manufacturer=SoftHSM;slot-manufacturer=SoftHSM%20project");
        EVP_PKEY_free(key);
        return key != NULL;
    case SIGN_RSA:
        return sign(world, world->rsa, 100);
    case SIGN_EC:
        return sign(world, world->ec, 100);
    case SIGN_LONG:
        return sign(world, world->rsa, sizeof(message));
    case DECRYPT:
        return decrypt(world);
    case DERIVE:
        return derive(world);
    case GENERATE:
        snprintf(uri, sizeof(uri), "pkcs11:token=soft;object=sweep-%u", made++);
        return generate(world, uri);
    default:
        return generate(world, NULL);
    }
}

static void encrypt(struct world *world)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(world->libctx, world->rsa, NULL);
    size_t len = sizeof(world->encrypted);

    assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    assert_int_equal(
        EVP_PKEY_encrypt(ctx, world->encrypted, &len, (const unsigned char *)"secret", 6), 1);
    EVP_PKEY_CTX_free(ctx);
}

/* The keys that the paths use are open already; for opening one, everything is new. */
static void world_begin(struct world *world, enum path path, const char *settings)
{
    fault("");
    *world = (struct world){ .libctx = libctx_new_faulty(settings) };
    if (path == OPEN || path == OPEN_BY_LIBRARY)
        return;
    world->rsa = open_key(world, "pkcs11:token=soft;object=rsa2048;type=private");
    world->ec = open_key(world, "pkcs11:token=soft;object=p256;type=private");
    world->peer = EVP_PKEY_Q_keygen(world->libctx, NULL, "EC", "P-256");
    assert_non_null(world->rsa);
    assert_non_null(world->ec);
    assert_non_null(world->peer);
    encrypt(world);
}

static void world_end(struct world *world)
{
    fault("");
    EVP_PKEY_free(world->rsa);
    EVP_PKEY_free(world->ec);
    EVP_PKEY_free(world->peer);
    OSSL_LIB_CTX_free(world->libctx);
}

static unsigned object_count(const struct world *world)
{
    unsigned count = 0;
    char uri[64];

    (void)world;
    for (unsigned n = 0; n < made; n++) {
        EVP_PKEY *key;

        snprintf(uri, sizeof(uri), "pkcs11:token=soft;object=sweep-%u", n);
        key = open_key(world, uri);
        count += key != NULL;
        EVP_PKEY_free(key);
    }
    ERR_clear_error();
    return count;
}

static struct world swept;

static void sweep_begin(unsigned path)
{
    world_begin(&swept, path, path == SIGN_LONG ? SETTINGS "pkcs11-digest = token\n" : SETTINGS);
}

static bool sweep_walk(unsigned path)
{
    return walk(&swept, path);
}

static void sweep_end(void)
{
    world_end(&swept);
}

static const struct paths paths = { path_names, sweep_begin, sweep_walk, sweep_end };

static void test_sweep_once(void **state)
{
    (void)state;
    sweep(&paths, rows, COUNT_OF(rows), true);
}

static void test_sweep_for_ever(void **state)
{
    (void)state;
    sweep(&paths, rows, COUNT_OF(rows), false);
}

/* Every generation that failed left nothing: the keys that are there are those that were made. */
static void test_sweep_nothing_left(void **state)
{
    struct world world;
    unsigned before, failed = 0;
    static const char *const rules[] = { "C_SetAttributeValue 1 * CKR_DEVICE_ERROR",
                                         "C_SetAttributeValue 2 * CKR_GENERAL_ERROR",
                                         "C_GenerateKeyPair 1 * CKR_DEVICE_ERROR after",
                                         "C_SetAttributeValue 2 * CKR_DEVICE_ERROR drop-sessions",
                                         "C_GetAttributeValue 2 * CKR_FUNCTION_FAILED" };

    (void)state;
    world_begin(&world, GENERATE, SETTINGS);
    before = object_count(&world);
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        fault(rules[i]);
        failed += !walk(&world, GENERATE);
    }
    fault("");
    assert_int_equal(failed, COUNT_OF(rules));
    assert_int_equal(object_count(&world), before);
    world_end(&world);
}

static atomic_uint failures;

static void *work(void *arg)
{
    /* a peer of its own: how libcrypto keeps a shared one together, the thread sanitizer cannot see
     */
    struct world own = *(const struct world *)arg, *world = &own;
    static const enum path turns[] = { SIGN_RSA, SIGN_EC, DECRYPT, DERIVE, OPEN };

    own.peer = EVP_PKEY_Q_keygen(own.libctx, NULL, "EC", "P-256");
    for (size_t n = 0; n < 2 * COUNT_OF(turns); n++)
        if (!walk(world, turns[n % COUNT_OF(turns)])) {
            char error[600];

            print_error("%s: %s\n", path_names[turns[n % COUNT_OF(turns)]],
                        last_error(error, sizeof(error)));
            atomic_fetch_add(&failures, 1);
        }
    ERR_clear_error();
    EVP_PKEY_free(own.peer);
    return NULL;
}

/* Eight threads, and a fault that hits some of them. */
static void test_sweep_threads(void **state)
{
    static const char *const rules[] = {
        "C_SignInit 3 4 CKR_SESSION_HANDLE_INVALID",
        "C_Sign 3 4 CKR_DEVICE_ERROR",
        "C_SignInit 3 4 CKR_USER_NOT_LOGGED_IN",
        "C_SignInit 3 4 CKR_KEY_HANDLE_INVALID",
        "C_DecryptInit 3 4 CKR_DEVICE_REMOVED",
        "C_DeriveKey 3 4 CKR_OPERATION_ACTIVE",
        "C_Sign 5 1 - drop-sessions",
        "C_DecryptInit 4 1 - logout",
        "C_SignInit 3 1 CKR_CRYPTOKI_NOT_INITIALIZED",
        "C_OpenSession 4 * CKR_SESSION_COUNT",
        "sessions 1",
        "C_FindObjects 3 3 CKR_SESSION_CLOSED",
        "C_Sign 3 1 CKR_DEVICE_REMOVED remove; C_GetSlotList 2 1 - insert",
        /* the sessions end when the token is back and somebody is about to log in */
        "C_Sign 3 1 CKR_DEVICE_REMOVED remove delay=5; C_GetSlotList 2 1 - insert; "
        "C_Login 1 * - delay=60",
    };
    struct world world;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        pthread_t threads[8];

        world_begin(&world, SIGN_RSA, "pkcs11-retry-ms = 3000\npkcs11-log = none\n");
        fault(rules[i]);
        for (size_t t = 0; t < COUNT_OF(threads); t++)
            assert_int_equal(pthread_create(&threads[t], NULL, work, &world), 0);
        for (size_t t = 0; t < COUNT_OF(threads); t++)
            pthread_join(threads[t], NULL);
        if (atomic_load(&failures) != 0)
            fail_msg("%s: %u operations failed", rules[i], atomic_load(&failures));
        world_end(&world);
    }
}

/* test-sweep, or test-sweep threads */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sweep_once),
        cmocka_unit_test(test_sweep_for_ever),
        cmocka_unit_test(test_sweep_nothing_left),
        cmocka_unit_test(test_sweep_threads),
    };

    memset(message, 'm', sizeof(message));
    if (argc > 1 && strcmp(argv[1], "threads") == 0)
        cmocka_set_test_filter("test_sweep_threads");
    else
        cmocka_set_skip_filter("test_sweep_threads");
    limit(550); /* nothing hangs */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
