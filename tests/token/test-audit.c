/* The audit trail of each context, on a token. What becomes of its file, and how many lines there
 * are, is tested in tests/audit/run. */
#include "harness.h"
#include "operator.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/rsa.h>

/* With what is in the file already. */
static OSSL_LIB_CTX *begin_beside(const char *name, const char *more)
{
    char settings[4096], folder[2048];

    assert_non_null(getcwd(folder, sizeof(folder)));
    (void)snprintf(settings, sizeof(settings),
                   "pkcs11-log = none\npkcs11-retry-ms = 200\npkcs11-audit = %s/%s\n%s", folder,
                   name, more);
    return libctx_new_faulty(settings);
}

static OSSL_LIB_CTX *begin(const char *name, const char *more)
{
    (void)unlink(name);
    return begin_beside(name, more);
}

static void derive_one(OSSL_LIB_CTX *libctx)
{
    EVP_PKEY *key = key_load(libctx, "p256", "private"),
             *peer = EVP_PKEY_Q_keygen(libctx, "?provider=default", "EC", "P-256");
    unsigned char secret[32];

    assert_true(key_derives(libctx, key, peer, secret));
    EVP_PKEY_free(peer);
    EVP_PKEY_free(key);
}

static void generate_one(OSSL_LIB_CTX *libctx)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "EC", "provider=pkcs11");
    EVP_PKEY *key = NULL;

    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_group_name(ctx, "P-256"), 1);
    assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
    EVP_PKEY_free(key);
    EVP_PKEY_CTX_free(ctx);
}

static void decrypt_one(OSSL_LIB_CTX *libctx)
{
    EVP_PKEY *key = key_load(libctx, "rsa2048", "private");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    unsigned char encrypted[256];
    size_t len = sizeof(encrypted);

    assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    assert_int_equal(
        EVP_PKEY_encrypt(ctx, encrypted, &len, (const unsigned char *)"a plaintext", 11), 1);
    assert_true(key_decrypts(libctx, key, encrypted, "a plaintext"));
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
}

static void test_audit_each_use(void **state)
{
    static const struct {
        const char *operation, *mechanism;
    } uses[] = {
        { "\"operation\":\"login\"", "" },
        { "\"operation\":\"derive\"", "\"mechanism\":\"CKM_ECDH1_DERIVE\"" },
        { "\"operation\":\"generate\"", "\"mechanism\":\"CKM_EC_KEY_PAIR_GEN\"" },
        { "\"operation\":\"decrypt\"", "\"label\":\"rsa2048\"" },
    };
    OSSL_LIB_CTX *libctx = begin("trail", "");

    (void)state;
    derive_one(libctx);
    generate_one(libctx);
    decrypt_one(libctx);
    for (size_t i = 0; i < COUNT_OF(uses); i++) {
        unsigned count = lines_with("trail", uses[i].operation);

        assert_true(count == 1 || count == 2);
        assert_true(lines_with("trail", uses[i].mechanism) >= 1);
    }
    assert_int_equal(lines_with("trail", "a plaintext"), 0);
    OSSL_LIB_CTX_free(libctx);
}

/* The login that a key wants for each use is told apart, and the use is told as well. */
static void test_audit_login_again(void **state)
{
    OSSL_LIB_CTX *libctx = begin("trail", "");
    EVP_PKEY *first = key_load(libctx, "p256", "private"), *key;

    (void)state;
    operator_generate_always();
    key = key_load(libctx, "always", "private");
    for (int i = 0; i < 2; i++)
        assert_true(key_signs(libctx, key));
    assert_int_equal(lines_with("trail", "\"operation\":\"login\""), 1);
    assert_int_equal(lines_with("trail", "\"operation\":\"login-again\""), 2);
    assert_int_equal(lines_with("trail", "\"operation\":\"sign\""), 2);
    assert_int_equal(lines_with("trail", "\"label\":\"always\""), 2);
    EVP_PKEY_free(first);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* A key of the host that goes to the token, and the uses of it there. */
static void test_audit_import(void **state)
{
    OSSL_LIB_CTX *libctx = begin("trail", "pkcs11-module-import = session\n");
    EVP_PKEY *key = EVP_PKEY_Q_keygen(libctx, "provider=default", "EC", "P-256");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, "provider=pkcs11");
    unsigned char signature[128], digest[32] = { 1 };
    size_t len = sizeof(signature);

    (void)state;
    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    assert_int_equal(EVP_PKEY_sign(ctx, signature, &len, digest, sizeof(digest)), 1);
    assert_int_equal(lines_with("trail", "\"operation\":\"import\""), 1);
    assert_int_equal(lines_with("trail", "\"operation\":\"sign\""), 1);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static void test_audit_each_context(void **state)
{
    OSSL_LIB_CTX *one = begin("trail-one", ""), *other = begin("trail-other", "");
    OSSL_LIB_CTX *none = libctx_new_faulty("");
    OSSL_LIB_CTX *all[] = { one, other, other, none };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        EVP_PKEY *key = key_load(all[i], "p256", "private");

        assert_true(key_signs(all[i], key));
        EVP_PKEY_free(key);
    }
    assert_int_equal(lines_with("trail-one", "\"operation\":\"sign\""), 1);
    assert_int_equal(lines_with("trail-other", "\"operation\":\"sign\""), 2);
    OSSL_LIB_CTX_free(one);
    OSSL_LIB_CTX_free(other);
    OSSL_LIB_CTX_free(none);
}

static void test_audit_tries(void **state)
{
    OSSL_LIB_CTX *libctx = begin("trail", "");
    EVP_PKEY *key = key_load(libctx, "p256", "private");

    (void)state;
    fault("C_Sign 1 1 CKR_DEVICE_ERROR");
    assert_true(key_signs(libctx, key));
    assert_int_equal(lines_with("trail", "\"tries\":2"), 1);
    fault("C_SignInit 1 * CKR_KEY_FUNCTION_NOT_PERMITTED");
    assert_false(key_signs(libctx, key));
    fault("");
    assert_int_equal(lines_with("trail", "\"result\":\"CKR_KEY_FUNCTION_NOT_PERMITTED\",\"call\":"
                                         "\"C_SignInit\""),
                     1);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* No folder: nothing can be recorded. */
static void test_audit_required(void **state)
{
    OSSL_LIB_CTX *libctx = begin("nowhere/trail", "pkcs11-audit-required = yes\n");
    char error[1024];

    (void)state;
    calls_reset();
    assert_null(key_load(libctx, "p256", "private"));
    assert_non_null(strstr(last_error(error, sizeof(error)), "pkcs11-audit-required"));
    assert_int_equal(calls("C_Login"), 0);
    OSSL_LIB_CTX_free(libctx);
}

static bool is_file(int fd, const struct stat *file)
{
    struct stat here;

    return fstat(fd, &here) == 0 && here.st_dev == file->st_dev && here.st_ino == file->st_ino;
}

/* Daemons close what they do not know, and the number is a client's then. */
static void test_audit_descriptor_closed(void **state)
{
    OSSL_LIB_CTX *libctx = begin("trail", "");
    EVP_PKEY *key = key_load(libctx, "p256", "private");
    struct stat file;
    int fd = 3, other;

    (void)state;
    assert_true(key_signs(libctx, key));
    assert_int_equal(stat("trail", &file), 0);
    while (fd < 256 && !is_file(fd, &file))
        fd++;
    assert_int_not_equal(fd, 256);
    other = open("other", O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(dup2(other, fd), fd);
    assert_true(key_signs(libctx, key));
    assert_int_equal(fstat(other, &file), 0);
    assert_int_equal(file.st_size, 0);
    assert_int_equal(lines_with("trail", "\"operation\":\"sign\""), 2);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static unsigned descriptors_of(const struct stat *file)
{
    unsigned count = 0;

    for (int fd = 3; fd < 256; fd++)
        count += is_file(fd, file);
    return count;
}

/* A server that reads its configuration anew has a context after the other. */
static void test_audit_descriptors(void **state)
{
    OSSL_LIB_CTX *first = begin("trail", ""), *libctx;
    struct stat file;

    (void)state;
    assert_int_equal(stat("trail", &file), 0);
    assert_int_equal(descriptors_of(&file), 1);
    for (unsigned i = 0; i < 3; i++) {
        libctx = begin_beside("trail", "");
        OSSL_LIB_CTX_free(libctx);
    }
    assert_int_equal(descriptors_of(&file), 1);
    OSSL_LIB_CTX_free(first);
}

/* More than 2 GiB, of which the file system holds none. */
static void test_audit_large(void **state)
{
    const off_t large = (off_t)INT32_MAX + 1;
    int fd = open("trail", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char line[1024] = "";
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;

    (void)state;
    assert_int_equal(ftruncate(fd, large), 0);
    libctx = begin_beside("trail", "");
    key = key_load(libctx, "p256", "private");
    assert_true(key_signs(libctx, key));
    assert_true(pread(fd, line, sizeof(line) - 1, large) > 0);
    assert_non_null(strstr(line, "\"operation\":\"login\""));
    close(fd);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_audit_each_use),
    cmocka_unit_test(test_audit_login_again),
    cmocka_unit_test(test_audit_import),
    cmocka_unit_test(test_audit_each_context),
    cmocka_unit_test(test_audit_tries),
    cmocka_unit_test(test_audit_required),
    cmocka_unit_test(test_audit_descriptor_closed),
    cmocka_unit_test(test_audit_descriptors),
    cmocka_unit_test(test_audit_large),
};

/* test-audit [NAME]: all, or the one of this name */
int main(int argc, char **argv)
{
    if (chdir(getenv("BRIDGE_DIR")) != 0)
        return 1;
    operator_open();
    return cases_in_children(tests, COUNT_OF(tests), argc > 1 ? argv[1] : NULL) ? 0 : 1;
}
