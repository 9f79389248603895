/* PINs: how often the token sees one, where they come from, what happens when they change. */
#include "harness.h"
#include "operator.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>

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

    operator_set_pin(session, old, new);
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
    operator_generate_always();
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

#define LEFT_PIN "leftover-4711-08152"

/* libcrypto's memory, with the length in front: what this provider gives back is looked through. */
struct block {
    size_t len;
    _Alignas(max_align_t) unsigned char data[]; /* as malloc's */
};

static atomic_uint pins_left;        /* by this provider */
static atomic_uint pins_left_by_all; /* by libcrypto too */

static void *block_malloc(size_t len, const char *file, int line)
{
    struct block *block = calloc(1, sizeof(*block) + len);

    (void)file, (void)line;
    if (block == NULL)
        return NULL;
    block->len = len;
    return block->data;
}

static void block_free(void *data, const char *file, int line)
{
    struct block *block;

    if (data == NULL)
        return;
    block = (struct block *)((char *)data - offsetof(struct block, data));
    if (memmem(data, block->len, LEFT_PIN, strlen(LEFT_PIN)) != NULL) {
        pins_left_by_all++;
        if (file != NULL && strncmp(file, "src/", 4) == 0) {
            printf("%s:%d: a PIN is left in memory\n", file, line);
            pins_left++;
        }
    }
    free(block);
}

static void *block_realloc(void *data, size_t len, const char *file, int line)
{
    void *moved = len != 0 ? block_malloc(len, file, line) : NULL;
    struct block *block =
        data != NULL ? (struct block *)((char *)data - offsetof(struct block, data)) : NULL;

    if (data != NULL && moved != NULL)
        memcpy(moved, data, block->len < len ? block->len : len);
    if (moved != NULL || len == 0)
        block_free(data, file, line);
    return moved;
}

static EVP_PKEY *key_made(OSSL_LIB_CTX *libctx, const char *uri)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "EC", "provider=pkcs11");
    EVP_PKEY *key = NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)(uintptr_t) "P-256",
                                         0),
        OSSL_PARAM_construct_utf8_string("pkcs11_uri", (char *)(uintptr_t)uri, 0),
        OSSL_PARAM_construct_end(),
    };

    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
    assert_int_equal(EVP_PKEY_CTX_set_params(ctx, params), 1); /* what replaces is replaced */
    (void)EVP_PKEY_generate(ctx, &key);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* The URI in PEM, as docs/configuration.md has it. */
static BIO *pem_of(const char *uri)
{
    static const char before[] = "\x1a\x19PKCS#11 Provider URI v1.0\x0c\x81";
    unsigned char der[512] = "\x30\x81";
    size_t len = 3 + sizeof(before) + strlen(uri);
    BIO *pem = BIO_new(BIO_s_mem());

    assert_true(strlen(uri) >= 128 && len < sizeof(der) && len - 3 < 256);
    der[2] = (unsigned char)(len - 3);
    memcpy(der + 3, before, sizeof(before) - 1);
    der[2 + sizeof(before)] = (unsigned char)strlen(uri);
    memcpy(der + 3 + sizeof(before), uri, strlen(uri));
    assert_true(PEM_write_bio(pem, "PKCS#11 PROVIDER URI", "", der, (long)len) > 0);
    return pem;
}

static EVP_PKEY *key_of_pem(OSSL_LIB_CTX *libctx, const char *uri)
{
    BIO *pem = pem_of(uri);
    EVP_PKEY *key = PEM_read_bio_PrivateKey_ex(pem, NULL, NULL, NULL, libctx, NULL);

    BIO_free(pem);
    return key;
}

/* A URI with a PIN in it leaves none in the heap: as an argument, in PEM, for a new key, and where
 * it is malformed. */
static void test_pins_leave_no_trace(void **state)
{
    static const char *const ways[] = { "", ";object=%4", ";tokn=x" };
    static const char filler[] = "&x-filler=01234567890123456789012345678901234567890123456789"
                                 "0123456789012345678901234567890123456789";
    OSSL_LIB_CTX *libctx = libctx_new("pkcs11-module-token-pin = file:/nowhere\n");
    char error[512];

    (void)state;
    assert_null(key_load_uri(libctx, KEY)); /* which initialises the module */
    (void)operator_init_token("leftover", LEFT_PIN);
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        char uri[300];
        EVP_PKEY *keys[3];
        bool works = ways[i][0] == '\0';

        snprintf(uri, sizeof(uri), "pkcs11:token=leftover;id=%%01%s?pin-value=" LEFT_PIN "%s",
                 ways[i], filler);
        ERR_clear_error();
        keys[0] = key_made(libctx, uri);
        keys[1] = key_of_pem(libctx, uri);
        keys[2] = key_load_uri(libctx, uri);
        for (size_t k = 0; k < COUNT_OF(keys); k++) {
            if ((keys[k] != NULL) != works)
                fail_msg("%s, %zu: %s", uri, k, last_error(error, sizeof(error)));
            EVP_PKEY_free(keys[k]);
        }
    }
    OSSL_LIB_CTX_free(libctx);
    assert_int_equal(pins_left, 0);
}

/* Nor does one in PEM whose text is damaged: at its end, where the PIN was decoded already, or
 * anywhere else. */
static void test_pins_leave_no_trace_of_bad_pem(void **state)
{
    static const char uri[] = "pkcs11:token=leftover;id=%01?pin-value=" LEFT_PIN
                              "&x-filler=0123456789012345678901234567890123456789012345678901234567"
                              "890123456789012345678901234567890123456789";
    static const char damage[] = "!-\n";
    OSSL_LIB_CTX *libctx = libctx_new("pkcs11-module-token-pin = file:/nowhere\n");
    BIO *whole = pem_of(uri);
    char *text;
    long len = BIO_get_mem_data(whole, &text);

    (void)state;
    for (long at = 0; at < len; at++)
        for (size_t d = 0; d < strlen(damage); d++) {
            BIO *pem = BIO_new(BIO_s_mem());

            assert_int_equal(BIO_write(pem, text, (int)at), at);
            assert_int_equal(BIO_write(pem, &damage[d], 1), 1);
            assert_int_equal(BIO_write(pem, text + at + 1, (int)(len - at - 1)), len - at - 1);
            EVP_PKEY_free(PEM_read_bio_PrivateKey_ex(pem, NULL, NULL, NULL, libctx, NULL));
            ERR_clear_error();
            BIO_free(pem);
        }
    BIO_free(whole);
    OSSL_LIB_CTX_free(libctx);
    assert_int_equal(pins_left, 0);
}

/* How many copies of the PIN are left in memory when a configuration with it is loaded. */
static unsigned left_by_configuration(const char *path)
{
    unsigned before = pins_left_by_all;
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();

    assert_int_equal(OSSL_LIB_CTX_load_config(libctx, path), 1);
    OSSL_LIB_CTX_free(libctx);
    return pins_left_by_all - before;
}

/* The section is read once more for keys that nobody knows: that leaves no more of the PIN than
 * libcrypto does by itself. */
static void test_pins_leave_no_trace_of_section(void **state)
{
    char path[] = "/tmp/bridge-conf-XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");
    unsigned alone;

    (void)state;
    fprintf(file,
            "openssl_conf = init\n[init]\nproviders = providers\n[providers]\npkcs11 = section\n"
            "[section]\nmodule = %s\npkcs11-module-path = %s\npkcs11-module-token-pin = %s\n"
            "pkcs11-log = none\nactivate = 1\n",
            getenv("BRIDGE_PROVIDER"), getenv("PKCS11_MODULE"), LEFT_PIN);
    fclose(file);
    setenv("OPENSSL_CONF", "/dev/null", 1);
    alone = left_by_configuration(path);
    setenv("OPENSSL_CONF", path, 1);
    assert_int_equal(left_by_configuration(path), alone);
    unsetenv("OPENSSL_CONF");
    unlink(path);
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
        cmocka_unit_test(test_pins_leave_no_trace_of_section),
        cmocka_unit_test(test_pins_leave_no_trace),
        cmocka_unit_test(test_pins_leave_no_trace_of_bad_pem),
    };

    if (CRYPTO_set_mem_functions(block_malloc, block_realloc, block_free) != 1)
        return 1;

    operator_open();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
