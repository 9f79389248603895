/* PINs: how often the token sees one, where they come from, what happens when they change. */
#include "harness.h"
#include "operator.h"

#include <pthread.h>
#include <unistd.h>

#include <openssl/err.h>

#define KEY "pkcs11:token=soft;object=p256;type=private"

static void *load_often(void *libctx)
{
    for (int n = 0; n < 100; n++) {
        EVP_PKEY *key = key_load_uri(libctx, KEY);

        assert_null(key);
        EVP_PKEY_free(key);
    }
    ERR_clear_error();
    return NULL;
}

/* 100 tries by each of 8 threads cost the token one. */
static void test_pins_wrong_one(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-module-token-pin = wrong-one\n");
    pthread_t threads[8];
    char error[512];

    (void)state;
    calls_reset();
    for (size_t t = 0; t < COUNT_OF(threads); t++)
        assert_int_equal(pthread_create(&threads[t], NULL, load_often, libctx), 0);
    for (size_t t = 0; t < COUNT_OF(threads); t++)
        pthread_join(threads[t], NULL);
    assert_int_equal(calls("C_Login"), 1);
    assert_null(key_load_uri(libctx, KEY));
    assert_non_null(strstr(last_error(error, sizeof(error)), "refused this PIN before"));
    assert_null(strstr(error, "wrong-one"));
    OSSL_LIB_CTX_free(libctx);
}

/* Another configuration of the process does not try it again either; the right one works. */
static void test_pins_remembered_in_the_process(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-module-token-pin = wrong-one\n");
    EVP_PKEY *key;

    (void)state;
    calls_reset();
    assert_null(key_load_uri(libctx, KEY));
    assert_int_equal(calls("C_Login"), 0);
    ERR_clear_error();
    OSSL_LIB_CTX_free(libctx);
    libctx = libctx_new_faulty("");
    key = key_load_uri(libctx, KEY);
    assert_non_null(key);
    assert_int_equal(calls("C_Login"), 1);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static void test_pins_near_locking(void **state)
{
    static const struct {
        const char *rule, *says;
    } cases[] = { { "token-flags 20000", "one more wrong PIN before it locks" },
                  { "token-flags 40000", "CKR_PIN_LOCKED" } };

    (void)state;
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        OSSL_LIB_CTX *libctx = libctx_new_faulty("");
        EVP_PKEY *key;
        char error[512];

        calls_reset();
        fault(cases[c].rule);
        assert_null(key_load_uri(libctx, KEY));
        assert_non_null(strstr(last_error(error, sizeof(error)), cases[c].says));
        assert_int_equal(calls("C_Login"), 0);
        fault(""); /* somebody logged in with the token's own tool */
        key = key_load_uri(libctx, KEY);
        assert_non_null(key);
        EVP_PKEY_free(key);
        OSSL_LIB_CTX_free(libctx);
    }
}

/* A token with a PIN pad gets no PIN from here, and none is asked for. */
static void test_pins_pad(void **state)
{
    const char *before = getenv("BRIDGE_SETTINGS");
    OSSL_LIB_CTX *libctx;

    (void)state;
    assert_null(before);
    setenv("BRIDGE_SETTINGS", "", 1);
    libctx = libctx_new_faulty("");
    unsetenv("BRIDGE_SETTINGS");
    calls_reset();
    assert_null(key_load_uri(libctx, KEY));
    assert_int_equal(calls("C_Login"), 0);  /* no PIN, no login */
    fault("token-flags 100");               /* CKF_PROTECTED_AUTHENTICATION_PATH */
    assert_null(key_load_uri(libctx, KEY)); /* SoftHSM has no pad, and does not take NULL */
    assert_int_equal(calls("C_Login"), 1);
    fault("");
    ERR_clear_error();
    OSSL_LIB_CTX_free(libctx);
}

static void write_pin(const char *path, const char *pin)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fprintf(file, "%s\n", pin);
    fclose(file);
}

static void change_pin(const char *old, const char *new)
{
    CK_SESSION_HANDLE session = operator_session(false);

    assert_int_equal(p11->C_SetPIN(session, (CK_UTF8CHAR *)(uintptr_t)old, strlen(old),
                                   (CK_UTF8CHAR *)(uintptr_t) new, strlen(new)),
                     CKR_OK);
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
}

/* A PIN is changed under a program that runs: no restart, and no wrong try. */
static void test_pins_rotated(void **state)
{
    char path[] = "/tmp/bridge-pin-XXXXXX", settings[128];
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;

    (void)state;
    close(mkstemp(path));
    write_pin(path, "1234");
    snprintf(settings, sizeof(settings), "pkcs11-module-token-pin = file:%s\n", path);
    libctx = libctx_new_faulty(settings);
    key = key_load_uri(libctx, KEY);
    assert_non_null(key);
    assert_true(key_signs(libctx, key));
    change_pin("1234", "567890");
    write_pin(path, "567890");
    calls_reset();
    fault("C_SignInit 1 1 - logout");
    assert_true(key_signs(libctx, key));
    assert_int_equal(calls("C_Login"), 1);
    change_pin("567890", "1234"); /* now the file comes late: one refusal, then it works */
    fault("C_SignInit 1 1 - logout");
    assert_false(key_signs(libctx, key));
    assert_false(key_signs(libctx, key));
    assert_int_equal(calls("C_Login"), 2);
    write_pin(path, "1234");
    assert_true(key_signs(libctx, key));
    assert_int_equal(calls("C_Login"), 3);
    fault("");
    ERR_clear_error();
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
    unlink(path);
}

static void generate_always(void)
{
    CK_SESSION_HANDLE session = operator_session(false);
    CK_MECHANISM mechanism = { CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0 };
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG bits = 2048;
    CK_BYTE exponent[] = { 1, 0, 1 };
    CK_ATTRIBUTE public[] = { { CKA_TOKEN, &yes, sizeof(yes) },
                              { CKA_LABEL, (void *)(uintptr_t) "always", 6 },
                              { CKA_ID, (void *)(uintptr_t) "always", 6 },
                              { CKA_MODULUS_BITS, &bits, sizeof(bits) },
                              { CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent) } };
    CK_ATTRIBUTE private[] = { { CKA_TOKEN, &yes, sizeof(yes) },
                               { CKA_PRIVATE, &yes, sizeof(yes) },
                               { CKA_SIGN, &yes, sizeof(yes) },
                               { CKA_DECRYPT, &yes, sizeof(yes) },
                               { CKA_LABEL, (void *)(uintptr_t) "always", 6 },
                               { CKA_ID, (void *)(uintptr_t) "always", 6 },
                               { CKA_ALWAYS_AUTHENTICATE, &yes, sizeof(yes) } };
    CK_OBJECT_HANDLE a, b;

    assert_int_equal(p11->C_GenerateKeyPair(session, &mechanism, public, COUNT_OF(public), private,
                                            COUNT_OF(private), &a, &b),
                     CKR_OK);
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
}

static bool decrypt(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    unsigned char encrypted[256], out[256];
    size_t len = sizeof(encrypted), out_len = sizeof(out);
    bool ok = EVP_PKEY_encrypt_init(ctx) == 1 &&
              EVP_PKEY_encrypt(ctx, encrypted, &len, (const unsigned char *)"secret", 6) == 1 &&
              EVP_PKEY_decrypt_init(ctx) == 1 &&
              EVP_PKEY_decrypt(ctx, out, &out_len, encrypted, len) == 1 && out_len == 6 &&
              memcmp(out, "secret", 6) == 0;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* A login before each use of a key that wants that, and none for the others. */
static void test_pins_always_authenticate(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    EVP_PKEY *other = key_load_uri(libctx, KEY), *key;

    (void)state;
    assert_non_null(other);
    generate_always();
    key = key_load_uri(libctx, "pkcs11:token=soft;object=always;type=private");
    assert_non_null(key);
    calls_reset();
    for (int n = 0; n < 5; n++) {
        assert_true(key_signs(libctx, key));
        assert_true(key_signs(libctx, other));
    }
    assert_int_equal(calls("C_Login"), 5);
    calls_reset();
    assert_true(decrypt(libctx, key));
    assert_int_equal(calls("C_Login"), calls("C_DecryptInit"));
    fault("C_Login 1 1 CKR_USER_NOT_LOGGED_IN"); /* it may blink as well */
    assert_true(key_signs(libctx, key));
    fault("");
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    OSSL_LIB_CTX_free(libctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pins_wrong_one),
        cmocka_unit_test(test_pins_remembered_in_the_process),
        cmocka_unit_test(test_pins_near_locking),
        cmocka_unit_test(test_pins_pad),
        cmocka_unit_test(test_pins_rotated),
        cmocka_unit_test(test_pins_always_authenticate),
    };

    operator_open();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
