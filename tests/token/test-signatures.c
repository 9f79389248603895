/* Every key × digest × padding × way to sign × pkcs11-digest: verified by the default provider with
 * the public half, and by this provider. */
#include "harness.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

static const char *const rsa_keys[] = { "rsa1024", "rsa2048", "rsa3072", "rsa4096" };
static const char *const ec_keys[] = { "p256", "p384", "p521", "k256", "bp256", "bp384", "bp512" };
static const char *const digest_names[] = { "SHA1",     "SHA224",    "SHA256",   "SHA384",
                                            "SHA512",   "SHA3-224",  "SHA3-256", "SHA3-384",
                                            "SHA3-512", "SHA512-256" };
static const char *const digest_settings[] = { "pkcs11-digest = auto\n", "pkcs11-digest = token\n",
                                               "pkcs11-digest = host\n" };

enum way { SIGN_DIGEST, SIGN_WHOLE, SIGN_STREAMED, SIGN_STREAMED_AND_COPIED, WAYS };

struct job {
    OSSL_LIB_CTX *libctx, *plain;
    EVP_PKEY *key, *public;
    const char *digest;
    int padding; /* 0 for ECDSA */
    int salt;
    const char *mgf1;
};

static unsigned char message[200000];

static bool set_padding(EVP_PKEY_CTX *ctx, const struct job *job)
{
    if (job->padding == 0)
        return true;
    return EVP_PKEY_CTX_set_rsa_padding(ctx, job->padding) == 1 &&
           (job->padding != RSA_PKCS1_PSS_PADDING ||
            EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, job->salt) == 1) &&
           (job->mgf1 == NULL || EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, job->mgf1, NULL) == 1);
}

static bool sign_digest(const struct job *job, size_t len, unsigned char *sig, size_t *sig_len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(job->libctx, job->key, NULL);
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t digest_len = 0;
    EVP_MD *md = EVP_MD_fetch(job->plain, job->digest, NULL);
    bool ok = EVP_Q_digest(job->plain, job->digest, NULL, message, len, digest, &digest_len) == 1 &&
              EVP_PKEY_sign_init(ctx) == 1 && set_padding(ctx, job) &&
              EVP_PKEY_CTX_set_signature_md(ctx, md) == 1 &&
              EVP_PKEY_sign(ctx, sig, sig_len, digest, digest_len) == 1;

    EVP_MD_free(md);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool sign_streamed(EVP_MD_CTX **ctx, size_t len, bool copy, unsigned char *sig,
                          size_t *sig_len)
{
    size_t half = len / 2;

    if (EVP_DigestSignUpdate(*ctx, message, half) != 1)
        return false;
    if (copy) { /* as TLS 1.2, CMS and openssl req do */
        EVP_MD_CTX *other = EVP_MD_CTX_new();

        if (EVP_MD_CTX_copy_ex(other, *ctx) != 1 ||
            EVP_DigestSignUpdate(*ctx, (const unsigned char *)"elsewhere", 9) != 1)
            return false;
        EVP_MD_CTX_free(*ctx);
        *ctx = other;
    }
    return EVP_DigestSignUpdate(*ctx, message + half, len - half) == 1 &&
           EVP_DigestSignFinal(*ctx, sig, sig_len) == 1;
}

static bool sign(const struct job *job, enum way way, size_t len, unsigned char *sig,
                 size_t *sig_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    bool ok;

    if (way == SIGN_DIGEST) {
        EVP_MD_CTX_free(ctx);
        return sign_digest(job, len, sig, sig_len);
    }
    ok = EVP_DigestSignInit_ex(ctx, &pctx, job->digest, job->libctx, NULL, job->key, NULL) == 1 &&
         set_padding(pctx, job);
    if (ok && way == SIGN_WHOLE)
        ok = EVP_DigestSign(ctx, sig, sig_len, message, len) == 1;
    else if (ok)
        ok = sign_streamed(&ctx, len, way == SIGN_STREAMED_AND_COPIED, sig, sig_len);
    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool verify(const struct job *job, OSSL_LIB_CTX *libctx, EVP_PKEY *key, size_t len,
                   const unsigned char *sig, size_t sig_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    bool ok = EVP_DigestVerifyInit_ex(ctx, &pctx, job->digest, libctx, NULL, key, NULL) == 1 &&
              set_padding(pctx, job) && EVP_DigestVerify(ctx, sig, sig_len, message, len) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

/* Signs in every way and verifies in two; a changed signature must not verify. */
static void check_job(const struct job *job, const char *name)
{
    static const size_t lengths[WAYS] = { 1000, 1000, 1000, 70000 };

    for (enum way way = 0; way < WAYS; way++) {
        unsigned char sig[1024];
        size_t sig_len = sizeof(sig);
        char error[512];

        ERR_clear_error();
        if (!sign(job, way, lengths[way], sig, &sig_len))
            fail_msg("%s %s padding %d way %u: %s", name, job->digest, job->padding, way,
                     last_error(error, sizeof(error)));
        if (!verify(job, job->plain, job->public, lengths[way], sig, sig_len))
            fail_msg("%s %s padding %d way %u: not verified", name, job->digest, job->padding, way);
        if (!verify(job, job->libctx, job->key, lengths[way], sig, sig_len))
            fail_msg("%s %s padding %d way %u: not verified here", name, job->digest, job->padding,
                     way);
        sig[sig_len / 2] ^= 1;
        if (verify(job, job->libctx, job->key, lengths[way], sig, sig_len))
            fail_msg("%s %s way %u: a changed signature verifies", name, job->digest, way);
    }
}

static struct job job_new(const char *settings, const char *label)
{
    struct job job = { .libctx = libctx_new(settings), .plain = libctx_new_plain() };

    job.key = key_load(job.libctx, label, "private");
    if (job.key == NULL && !key_lacking(label) && strcmp(label, "none") != 0)
        fail_msg("no key %s", label);
    if (job.key == NULL)
        return job; /* not every token has every type of key */
    job.public = key_public_copy(job.key, job.plain);
    assert_non_null(job.public);
    return job;
}

static void job_free(struct job *job)
{
    EVP_PKEY_free(job->key);
    EVP_PKEY_free(job->public);
    OSSL_LIB_CTX_free(job->libctx);
    OSSL_LIB_CTX_free(job->plain);
}

static void test_signatures_ecdsa(void **state)
{
    (void)state;
    for (size_t s = 0; s < COUNT_OF(digest_settings); s++)
        for (size_t k = 0; k < COUNT_OF(ec_keys); k++) {
            struct job job = job_new(digest_settings[s], ec_keys[k]);

            for (size_t d = 0; job.key != NULL && d < COUNT_OF(digest_names); d++) {
                job.digest = digest_names[d];
                check_job(&job, ec_keys[k]);
            }
            job_free(&job);
        }
}

/* EdDSA takes messages whole, of any length, and no digest. */
static void check_eddsa(const char *settings, const char *label, const char *type)
{
    static const size_t lengths[] = { 0, 1, 1000, sizeof(message) };
    struct job job = job_new(settings, label);

    if (job.key == NULL && type != NULL) { /* the token of the tests has none: a session key */
        job.key = EVP_PKEY_Q_keygen(job.libctx, "provider=pkcs11", type);
        assert_non_null(job.key);
        job.public = key_public_copy(job.key, job.plain);
    }
    if (job.key == NULL) {
        job_free(&job);
        skip();
    }
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        EVP_MD_CTX *signer = EVP_MD_CTX_new(), *verifier = EVP_MD_CTX_new();
        unsigned char sig[114];
        size_t len = sizeof(sig);

        assert_int_equal(EVP_DigestSignInit_ex(signer, NULL, NULL, job.libctx, NULL, job.key, NULL),
                         1);
        assert_int_equal(EVP_DigestSign(signer, sig, &len, message, lengths[i]), 1);
        assert_int_equal(
            EVP_DigestVerifyInit_ex(verifier, NULL, NULL, job.plain, NULL, job.public, NULL), 1);
        assert_int_equal(EVP_DigestVerify(verifier, sig, len, message, lengths[i]), 1);
        EVP_MD_CTX_reset(verifier);
        assert_int_equal(
            EVP_DigestVerifyInit_ex(verifier, NULL, NULL, job.libctx, NULL, job.key, NULL), 1);
        assert_int_equal(EVP_DigestVerify(verifier, sig, len, message, lengths[i]), 1);
        sig[0] ^= 1;
        assert_int_not_equal(EVP_DigestVerify(verifier, sig, len, message, lengths[i]), 1);
        EVP_MD_CTX_reset(signer);
        assert_int_not_equal(
            EVP_DigestSignInit_ex(signer, NULL, "SHA256", job.libctx, NULL, job.key, NULL), 1);
        EVP_MD_CTX_free(signer);
        EVP_MD_CTX_free(verifier);
    }
    ERR_clear_error();
    job_free(&job);
}

static void test_signatures_ed25519(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNT_OF(digest_settings); n++)
        check_eddsa(digest_settings[n], "ed25519", NULL);
}

static void test_signatures_ed448(void **state)
{
    (void)state;
    if (key_lacking("ed25519"))
        skip(); /* NSS has no Edwards keys here */
    for (size_t n = 0; n < COUNT_OF(digest_settings); n++)
        check_eddsa(digest_settings[n], "none", "ED448");
}

/* Verified by the token as well, in both senses. */
static void test_signatures_public_on_token(void **state)
{
    static const char settings[] = "pkcs11-public-operations = token\n";
    static const struct {
        const char *key;
        int padding, salt;
    } cases[] = {
        { "rsa2048", RSA_PKCS1_PADDING, 0 },
        { "rsa2048", RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_DIGEST },
        { "rsa2048", RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_MAX },
        { "rsa2048", RSA_PKCS1_PSS_PADDING, RSA_PSS_SALTLEN_AUTO },
        { "rsa2048", RSA_PKCS1_PSS_PADDING, 17 },
        { "p256", 0, 0 },
        { "p384", 0, 0 },
        { "p521", 0, 0 },
    };

    (void)state;
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        struct job job = job_new(settings, cases[c].key);

        job.padding = cases[c].padding;
        job.salt = cases[c].salt;
        for (size_t d = 0; d < 5; d++) {
            job.digest = digest_names[d];
            check_job(&job, cases[c].key);
        }
        job_free(&job);
    }
    check_eddsa(settings, "ed25519", NULL);
}

/* A 1024-bit key has no room for the DigestInfo of every digest, nor for every salt. */
static bool pkcs1_fits(EVP_PKEY *key, const char *digest)
{
    EVP_MD *md = EVP_MD_fetch(NULL, digest, NULL);
    bool fits = EVP_PKEY_get_size(key) >= EVP_MD_get_size(md) + 19 + 11;

    EVP_MD_free(md);
    return fits;
}

static void test_signatures_rsa_pkcs1(void **state)
{
    (void)state;
    for (size_t s = 0; s < COUNT_OF(digest_settings); s++)
        for (size_t k = 0; k < COUNT_OF(rsa_keys); k++) {
            struct job job = job_new(digest_settings[s], rsa_keys[k]);

            job.padding = RSA_PKCS1_PADDING;
            for (size_t d = 0; job.key != NULL && d < COUNT_OF(digest_names); d++) {
                job.digest = digest_names[d];
                if (pkcs1_fits(job.key, job.digest))
                    check_job(&job, rsa_keys[k]);
            }
            job_free(&job);
        }
}

/* SoftHSM 2.6 has PSS with SHA-1 and SHA-2 and with an MGF1 of the same hash. */
static void test_signatures_rsa_pss(void **state)
{
    static const int salts[] = { RSA_PSS_SALTLEN_DIGEST, RSA_PSS_SALTLEN_MAX, RSA_PSS_SALTLEN_AUTO,
                                 0, 17 };

    (void)state;
    for (size_t s = 0; s < COUNT_OF(digest_settings); s++)
        for (size_t k = 1; k < 3; k++) {
            struct job job = job_new(digest_settings[s], rsa_keys[k]);

            job.padding = RSA_PKCS1_PSS_PADDING;
            for (size_t d = 0; d < 5; d++)
                for (size_t n = 0; n < COUNT_OF(salts); n++) {
                    job.digest = digest_names[d];
                    job.salt = salts[n];
                    check_job(&job, rsa_keys[k]);
                }
            job_free(&job);
        }
}

/* -1 to -4, as numbers, as digits and as libcrypto's own functions bring them: what a software key
 * takes, with the same answer to the question for it. */
static int salt_of(OSSL_LIB_CTX *libctx, EVP_PKEY *key, int salt, bool digits, bool *taken)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    char text[16];
    int back = -100;

    snprintf(text, sizeof(text), "%d", salt);
    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING), 1);
    *taken = (digits ? EVP_PKEY_CTX_ctrl_str(ctx, "rsa_pss_saltlen", text)
                     : EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, salt)) == 1;
    if (*taken)
        assert_true(EVP_PKEY_CTX_get_rsa_pss_saltlen(ctx, &back) > 0);
    ERR_clear_error();
    EVP_PKEY_CTX_free(ctx);
    return back;
}

/* Digits in a parameter, which libcrypto does not turn into a name on the way. */
static bool takes_digits(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const char *digits)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN,
                                         (char *)(uintptr_t)digits, 0),
        OSSL_PARAM_construct_end(),
    };
    bool ok;

    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING), 1);
    ok = EVP_PKEY_CTX_set_params(ctx, params) == 1;
    ERR_clear_error();
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static void test_signatures_salt_numbers(void **state)
{
    static const int salts[] = { -1, -2, -3, -4, -5, 0, 20 };
    static const char *const digits[] = { "-1", "-2", "-3", "20" };
    struct job job = job_new("", "rsa2048");
    EVP_PKEY *software = EVP_PKEY_Q_keygen(job.plain, NULL, "RSA", (size_t)2048);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(salts); i++)
        for (int text = 0; text < 2; text++) {
            bool ours, theirs;
            int salt = salt_of(job.libctx, job.key, salts[i], text, &ours);
            int expected = salt_of(job.plain, software, salts[i], text, &theirs);

            if (ours != theirs || salt != expected)
                fail_msg("%d: %d and %d, %d and %d", salts[i], ours, theirs, salt, expected);
        }
    for (size_t i = 0; i < COUNT_OF(digits); i++)
        assert_true(takes_digits(job.libctx, job.key, digits[i]));
    assert_false(takes_digits(job.libctx, job.key, "-5"));
    EVP_PKEY_free(software);
    job_free(&job);
}

/* NULL and 0, as a program has it that never had a message: at once and, but for EdDSA, in two. */
static bool signs_nothing(const struct job *job, bool whole)
{
    EVP_MD_CTX *signer = EVP_MD_CTX_new(), *own = EVP_MD_CTX_new(), *other = EVP_MD_CTX_new();
    unsigned char sig[1024];
    size_t len = sizeof(sig);
    bool ok =
        EVP_DigestSignInit_ex(signer, NULL, job->digest, job->libctx, NULL, job->key, NULL) == 1 &&
        (whole ? EVP_DigestSign(signer, sig, &len, NULL, 0)
               : EVP_DigestSignFinal(signer, sig, &len)) == 1 &&
        EVP_DigestVerifyInit_ex(own, NULL, job->digest, job->libctx, NULL, job->key, NULL) == 1 &&
        EVP_DigestVerify(own, sig, len, NULL, 0) == 1 &&
        EVP_DigestVerifyInit_ex(other, NULL, job->digest, job->plain, NULL, job->public, NULL) ==
            1 &&
        EVP_DigestVerify(other, sig, len, (const unsigned char *)"", 0) == 1;

    EVP_MD_CTX_free(signer);
    EVP_MD_CTX_free(own);
    EVP_MD_CTX_free(other);
    return ok;
}

static void test_signatures_of_nothing(void **state)
{
    static const char *const settings[] = { "pkcs11-digest = auto\n", "pkcs11-digest = token\n",
                                            "pkcs11-digest = host\n",
                                            "pkcs11-public-operations = token\n" };
    static const struct {
        const char *label, *digest;
    } cases[] = { { "rsa2048", "SHA256" }, { "p256", "SHA256" }, { "ed25519", NULL } };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(settings) * COUNT_OF(cases); i++) {
        const char *label = cases[i % COUNT_OF(cases)].label;
        struct job job = job_new(settings[i / COUNT_OF(cases)], label);
        char error[512];

        job.digest = cases[i % COUNT_OF(cases)].digest;
        ERR_clear_error();
        if (job.key != NULL &&
            (!signs_nothing(&job, true) || (job.digest != NULL && !signs_nothing(&job, false))))
            fail_msg("%s: %s", label, last_error(error, sizeof(error)));
        job_free(&job);
    }
}

static void test_signatures_rsa_no_digest(void **state)
{
    struct job job = job_new("", "rsa2048");
    static const struct {
        int padding;
        size_t len;
        bool works;
    } cases[] = {
        { RSA_PKCS1_PADDING, 0, false },  { RSA_PKCS1_PADDING, 51, true },
        { RSA_PKCS1_PADDING, 245, true }, { RSA_PKCS1_PADDING, 246, false },
        { RSA_NO_PADDING, 256, true },    { RSA_NO_PADDING, 255, false },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(job.libctx, job.key, NULL);
        EVP_PKEY_CTX *recover = EVP_PKEY_CTX_new_from_pkey(job.libctx, job.key, NULL);
        unsigned char data[256], sig[256], back[256];
        size_t sig_len = sizeof(sig), back_len = sizeof(back);

        memset(data, 0x11, sizeof(data));
        assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, cases[i].padding), 1);
        assert_int_equal(EVP_PKEY_sign(ctx, sig, &sig_len, data, cases[i].len) == 1,
                         cases[i].works);
        if (cases[i].works) {
            assert_int_equal(EVP_PKEY_verify_recover_init(recover), 1);
            assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(recover, cases[i].padding), 1);
            assert_int_equal(EVP_PKEY_verify_recover(recover, back, &back_len, sig, sig_len), 1);
            assert_int_equal(back_len, cases[i].len);
            assert_memory_equal(back, data, back_len);
        }
        EVP_PKEY_CTX_free(ctx);
        EVP_PKEY_CTX_free(recover);
    }
    job_free(&job);
}

static void test_signatures_refused_parameters(void **state)
{
    struct job job = job_new("", "rsa2048");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(job.libctx, job.key, NULL);
    unsigned char digest[20] = { 0 }, sig[256];
    size_t len = sizeof(sig);
    char error[512];

    (void)state;
    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    assert_int_not_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_X931_PADDING), 1);
    assert_non_null(strstr(last_error(error, sizeof(error)), "X9.31 padding is not supported"));
    assert_int_not_equal(EVP_PKEY_CTX_ctrl_str(ctx, "rsa_padding_mode", "x931"), 1);
    assert_non_null(strstr(last_error(error, sizeof(error)), "X9.31 padding is not supported"));
    assert_int_not_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    assert_non_null(strstr(last_error(error, sizeof(error)), "padding is not supported"));
    assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()), 1);
    assert_int_not_equal(EVP_PKEY_sign(ctx, sig, &len, digest, sizeof(digest)), 1);
    assert_non_null(strstr(last_error(error, sizeof(error)), "length of the digest"));
    EVP_PKEY_CTX_free(ctx);
    job_free(&job);
}

/* The same AlgorithmIdentifier as the default provider, for every digest. */
static size_t algorithm(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const char *digest, int padding,
                        unsigned char *out, size_t size)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, out, size),
        OSSL_PARAM_construct_end(),
    };

    assert_int_equal(EVP_DigestSignInit_ex(ctx, &pctx, digest, libctx, NULL, key, NULL), 1);
    if (padding != 0)
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(pctx, padding), 1);
    if (EVP_PKEY_CTX_get_params(pctx, params) != 1)
        params[0].return_size = 0;
    EVP_MD_CTX_free(ctx);
    return params[0].return_size;
}

static void test_signatures_algorithm_id(void **state)
{
    static const struct {
        const char *label, *type;
        int padding;
    } cases[] = { { "rsa2048", "RSA", RSA_PKCS1_PADDING },
                  { "rsa2048", "RSA", RSA_PKCS1_PSS_PADDING },
                  { "p256", "EC", 0 } };

    (void)state;
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        struct job job = job_new("", cases[c].label);
        EVP_PKEY *software = strcmp(cases[c].type, "RSA") == 0
                                 ? EVP_PKEY_Q_keygen(job.plain, NULL, "RSA", (size_t)2048)
                                 : EVP_PKEY_Q_keygen(job.plain, NULL, "EC", "P-256");

        for (size_t d = 0; d < COUNT_OF(digest_names); d++) {
            unsigned char ours[256], theirs[256];
            size_t their_len = algorithm(job.plain, software, digest_names[d], cases[c].padding,
                                         theirs, sizeof(theirs));

            if (their_len == 0)
                continue;
            assert_int_equal(algorithm(job.libctx, job.key, digest_names[d], cases[c].padding, ours,
                                       sizeof(ours)),
                             their_len);
            assert_memory_equal(ours, theirs, their_len);
        }
        EVP_PKEY_free(software);
        job_free(&job);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signatures_ecdsa),
        cmocka_unit_test(test_signatures_ed25519),
        cmocka_unit_test(test_signatures_ed448),
        cmocka_unit_test(test_signatures_public_on_token),
        cmocka_unit_test(test_signatures_rsa_pkcs1),
        cmocka_unit_test(test_signatures_rsa_pss),
        cmocka_unit_test(test_signatures_salt_numbers),
        cmocka_unit_test(test_signatures_of_nothing),
        cmocka_unit_test(test_signatures_rsa_no_digest),
        cmocka_unit_test(test_signatures_refused_parameters),
        cmocka_unit_test(test_signatures_algorithm_id),
    };

    memset(message, 'm', sizeof(message));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
