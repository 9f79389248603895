/* RSA decryption: what software encrypted with the public half, and what is no proper ciphertext.
 */
#include "harness.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#ifndef OSSL_ASYM_CIPHER_PARAM_IMPLICIT_REJECTION
#define OSSL_ASYM_CIPHER_PARAM_IMPLICIT_REJECTION "implicit-rejection"
#endif

static const char *const digest_names[] = { "SHA1",   "SHA224",   "SHA256",  "SHA384",
                                            "SHA512", "SHA3-256", "SHA3-512" };
static const char *const labels[] = { "", "a label" };

struct job {
    OSSL_LIB_CTX *libctx, *plain;
    EVP_PKEY *key, *public;
    int padding;
    const char *digest, *mgf1, *label;
};

static struct job job_new_with(const char *settings, const char *label)
{
    struct job job = { .libctx = libctx_new(settings), .plain = libctx_new_plain(), .label = "" };

    char error[512];

    job.key = key_load(job.libctx, label, "private");
    if (job.key == NULL)
        fail_msg("no key %s: %s", label, last_error(error, sizeof(error)));
    job.public = key_public_copy(job.key, job.plain);
    return job;
}

static struct job job_new(const char *label)
{
    return job_new_with("", label);
}

static void job_free(struct job *job)
{
    EVP_PKEY_free(job->key);
    EVP_PKEY_free(job->public);
    OSSL_LIB_CTX_free(job->libctx);
    OSSL_LIB_CTX_free(job->plain);
}

static bool set_padding(EVP_PKEY_CTX *ctx, const struct job *job)
{
    if (EVP_PKEY_CTX_set_rsa_padding(ctx, job->padding) != 1)
        return false;
    if (job->padding != RSA_PKCS1_OAEP_PADDING || job->digest == NULL)
        return true;
    return EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, job->digest, NULL) == 1 &&
           (job->mgf1 == NULL || EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, job->mgf1, NULL) == 1) &&
           (job->label[0] == '\0' ||
            EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, OPENSSL_strdup(job->label),
                                             (int)strlen(job->label)) == 1);
}

static bool encrypt(const struct job *job, OSSL_LIB_CTX *libctx, EVP_PKEY *key,
                    const unsigned char *in, size_t in_len, unsigned char *out, size_t *out_len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    bool ok = EVP_PKEY_encrypt_init(ctx) == 1 && set_padding(ctx, job) &&
              EVP_PKEY_encrypt(ctx, out, out_len, in, in_len) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool decrypt(const struct job *job, const unsigned char *in, size_t in_len,
                    unsigned char *out, size_t *out_len)
{
    EVP_PKEY_CTX *first = EVP_PKEY_CTX_new_from_pkey(job->libctx, job->key, NULL);
    EVP_PKEY_CTX *ctx = NULL;
    bool ok = EVP_PKEY_decrypt_init(first) == 1 && set_padding(first, job);

    ctx = ok ? EVP_PKEY_CTX_dup(first) : NULL; /* a copy works as well as the first */
    EVP_PKEY_CTX_free(first);
    ok = ctx != NULL && EVP_PKEY_decrypt(ctx, out, out_len, in, in_len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static void round_trip(const struct job *job, size_t len, const char *name)
{
    unsigned char message[512], encrypted[512], out[512];
    size_t encrypted_len, out_len;
    char error[512];

    RAND_bytes(message, sizeof(message));
    if (job->padding == RSA_NO_PADDING)
        message[0] = 0;
    for (int here = 0; here < 2; here++) {
        encrypted_len = sizeof(encrypted);
        out_len = sizeof(out);
        assert_true(encrypt(job, here ? job->libctx : job->plain, here ? job->key : job->public,
                            message, len, encrypted, &encrypted_len));
        ERR_clear_error();
        if (!decrypt(job, encrypted, encrypted_len, out, &out_len))
            fail_msg("%s: %s", name, last_error(error, sizeof(error)));
        assert_int_equal(out_len, len);
        assert_memory_equal(out, message, len);
    }
}

static void test_decrypt_pkcs1_and_raw(void **state)
{
    static const char *const keys[] = { "rsa1024", "rsa2048", "rsa3072" };

    (void)state;
    for (size_t k = 0; k < COUNT_OF(keys); k++) {
        struct job job;
        size_t size;

        if (key_lacking(keys[k]))
            continue;
        job = job_new(keys[k]);
        size = (size_t)EVP_PKEY_get_size(job.key);
        job.padding = RSA_PKCS1_PADDING;
        for (size_t len = 0; len <= size - 11; len += 13)
            round_trip(&job, len, keys[k]);
        round_trip(&job, size - 11, keys[k]);
        job.padding = RSA_NO_PADDING;
        round_trip(&job, size, keys[k]);
        job_free(&job);
    }
}

/* What the token encrypts, with pkcs11-public-operations = token. */
static void test_decrypt_encrypted_on_token(void **state)
{
    struct job job = job_new_with("pkcs11-public-operations = token\n", "rsa2048");

    (void)state;
    job.padding = RSA_PKCS1_PADDING;
    if (!key_lacking("encryption-of-nothing"))
        round_trip(&job, 0, "pkcs1");
    round_trip(&job, 245, "pkcs1");
    job.padding = RSA_NO_PADDING;
    round_trip(&job, 256, "raw");
    job.padding = RSA_PKCS1_OAEP_PADDING;
    job.digest = "SHA1";
    round_trip(&job, 100, "oaep");
    job_free(&job);
}

static void test_decrypt_oaep(void **state)
{
    struct job job = job_new("rsa2048");

    (void)state;
    job.padding = RSA_PKCS1_OAEP_PADDING;
    round_trip(&job, 100, "default digest");
    for (size_t d = 0; d < COUNT_OF(digest_names); d++)
        for (size_t m = 0; m < COUNT_OF(digest_names); m++)
            for (size_t l = 0; l < COUNT_OF(labels); l++) {
                job.digest = digest_names[d];
                job.mgf1 = m == d ? NULL : digest_names[m];
                job.label = labels[l];
                round_trip(&job, 0, digest_names[d]);
                round_trip(&job, 100, digest_names[d]);
            }
    job_free(&job);
}

static void test_decrypt_oaep_wrong(void **state)
{
    struct job job = job_new("rsa2048");
    unsigned char encrypted[256], out[256];
    char error[512];

    (void)state;
    job.padding = RSA_PKCS1_OAEP_PADDING;
    for (size_t d = 0; d < 3; d += 2) { /* SHA-1 on the token, SHA-256 on the host */
        size_t len = sizeof(encrypted), out_len = sizeof(out);

        job.digest = digest_names[d];
        assert_true(encrypt(&job, job.plain, job.public, (const unsigned char *)"message", 7,
                            encrypted, &len));
        encrypted[100] ^= 1;
        ERR_clear_error();
        assert_false(decrypt(&job, encrypted, len, out, &out_len));
        assert_non_null(strstr(last_error(error, sizeof(error)), "the padding is wrong"));
        ERR_clear_error();
        out_len = sizeof(out);
        assert_false(decrypt(&job, encrypted, len - 1, out, &out_len));
        assert_non_null(strstr(last_error(error, sizeof(error)), "255 bytes, the modulus 256"));
    }
    job_free(&job);
}

/* A ciphertext whose padding is wrong: a raw block of the application's making. */
static void wrong_ciphertext(struct job *job, unsigned n, unsigned char *encrypted)
{
    unsigned char block[256] = { 0, (unsigned char)(n % 2 != 0 ? 1 : 2) };
    size_t len = 256;

    memset(block + 2, (int)(n & 0x7f) + 1, 254); /* no zero that ends the padding */
    job->padding = RSA_NO_PADDING;
    assert_true(encrypt(job, job->plain, job->public, block, 256, encrypted, &len));
    job->padding = RSA_PKCS1_PADDING;
}

static void test_decrypt_implicit_rejection(void **state)
{
    struct job job = job_new("rsa2048"), restarted = job_new("rsa2048");
    size_t lengths = 0, last = 9999;

    (void)state;
    restarted.padding = RSA_PKCS1_PADDING;
    for (unsigned n = 0; n < 20; n++) {
        unsigned char encrypted[256], a[256], b[256];
        size_t a_len = sizeof(a), b_len = sizeof(b);

        wrong_ciphertext(&job, n, encrypted);
        assert_true(decrypt(&job, encrypted, 256, a, &a_len));
        assert_true(decrypt(&job, encrypted, 256, b, &b_len));
        assert_int_equal(a_len, b_len);
        assert_memory_equal(a, b, a_len);
        b_len = sizeof(b);
        assert_true(decrypt(&restarted, encrypted, 256, b, &b_len));
        assert_int_equal(a_len, b_len);
        assert_memory_equal(a, b, a_len);
        lengths += a_len != last;
        last = a_len;
    }
    assert_true(lengths >= 10);
    job_free(&job);
    job_free(&restarted);
}

static void test_decrypt_explicit_rejection(void **state)
{
    struct job job = job_new("rsa2048");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(job.libctx, job.key, NULL);
    unsigned char encrypted[256], out[256];
    unsigned off = 0;
    size_t len = sizeof(out);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_uint(OSSL_ASYM_CIPHER_PARAM_IMPLICIT_REJECTION, &off),
        OSSL_PARAM_construct_end(),
    };

    (void)state;
    wrong_ciphertext(&job, 3, encrypted);
    assert_int_equal(EVP_PKEY_decrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
    assert_int_not_equal(EVP_PKEY_decrypt(ctx, out, &len, encrypted, 256), 1);
    EVP_PKEY_CTX_free(ctx);
    job_free(&job);
}

/* TLS with RSA key exchange: a premaster secret of 48 bytes comes out, whatever went in. */
static bool decrypt_tls(struct job *job, const unsigned char *encrypted, unsigned version,
                        unsigned char *out)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(job->libctx, job->key, NULL);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, &version),
        OSSL_PARAM_construct_end(),
    };
    size_t len = 48;
    bool ok = EVP_PKEY_decrypt_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_WITH_TLS_PADDING) == 1 &&
              EVP_PKEY_CTX_set_params(ctx, params) == 1 &&
              EVP_PKEY_decrypt(ctx, out, &len, encrypted, 256) == 1 && len == 48;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static void test_decrypt_tls(void **state)
{
    struct job job = job_new("rsa2048");
    unsigned char secret[48] = { 3, 3, 7, 7, 7 }, encrypted[256], a[48], b[48];
    size_t len = sizeof(encrypted);

    (void)state;
    job.padding = RSA_PKCS1_PADDING;
    assert_true(encrypt(&job, job.plain, job.public, secret, sizeof(secret), encrypted, &len));
    assert_true(decrypt_tls(&job, encrypted, 0x0303, a));
    assert_memory_equal(a, secret, 48);
    assert_true(decrypt_tls(&job, encrypted, 0x0302, a));
    assert_memory_not_equal(a, secret, 48);
    wrong_ciphertext(&job, 5, encrypted);
    assert_true(decrypt_tls(&job, encrypted, 0x0303, a));
    assert_true(decrypt_tls(&job, encrypted, 0x0303, b));
    assert_memory_not_equal(a, b, 48);
    job_free(&job);
}

static void test_decrypt_public_key_cannot(void **state)
{
    /* else libcrypto takes the public key over to the default provider */
    OSSL_LIB_CTX *libctx = libctx_new("pkcs11-module-allow-export = 1\n");
    EVP_PKEY *key = key_load(libctx, "rsa2048", "public");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    char error[512];

    (void)state;
    ERR_clear_error();
    assert_int_not_equal(EVP_PKEY_decrypt_init(ctx), 1);
    assert_non_null(strstr(last_error(error, sizeof(error)), "public key"));
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decrypt_pkcs1_and_raw),
        cmocka_unit_test(test_decrypt_encrypted_on_token),
        cmocka_unit_test(test_decrypt_oaep),
        cmocka_unit_test(test_decrypt_oaep_wrong),
        cmocka_unit_test(test_decrypt_implicit_rejection),
        cmocka_unit_test(test_decrypt_explicit_rejection),
        cmocka_unit_test(test_decrypt_tls),
        cmocka_unit_test(test_decrypt_public_key_cannot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
