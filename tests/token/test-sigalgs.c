/* Signature algorithms fetched by their own names (RSA-SHA2-256, ...), as libcrypto has them from
 * 3.4 on, and the instances of EdDSA, from 3.2 on. The functions are looked up at run time: this
 * program is built with older headers. */
#include "harness.h"

#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

typedef int init_fn(EVP_PKEY_CTX *ctx, EVP_SIGNATURE *signature, const OSSL_PARAM params[]);
typedef int update_fn(EVP_PKEY_CTX *ctx, const unsigned char *in, size_t len);
typedef int sign_final_fn(EVP_PKEY_CTX *ctx, unsigned char *sig, size_t *len);
typedef int verify_final_fn(EVP_PKEY_CTX *ctx);

static init_fn *sign_init, *sign_message_init, *verify_init, *verify_message_init;
static update_fn *sign_update, *verify_update, *set_signature;
static sign_final_fn *sign_final;
static verify_final_fn *verify_final;

static const struct newer functions[] = {
    { "EVP_PKEY_sign_init_ex2", &sign_init },
    { "EVP_PKEY_sign_message_init", &sign_message_init },
    { "EVP_PKEY_sign_message_update", &sign_update },
    { "EVP_PKEY_sign_message_final", &sign_final },
    { "EVP_PKEY_verify_init_ex2", &verify_init },
    { "EVP_PKEY_verify_message_init", &verify_message_init },
    { "EVP_PKEY_verify_message_update", &verify_update },
    { "EVP_PKEY_verify_message_final", &verify_final },
    { "EVP_PKEY_CTX_set_signature", &set_signature },
};

struct job {
    OSSL_LIB_CTX *libctx, *plain;
    EVP_PKEY *key, *public;
    EVP_SIGNATURE *ours, *theirs; /* the same algorithm */
};

static unsigned char message[100000];

static struct job job_new(const char *settings, const char *label, const char *algorithm)
{
    struct job job = { .libctx = libctx_new(settings), .plain = libctx_new_plain() };

    job.key = key_load(job.libctx, label, "private");
    if (job.key == NULL)
        return job;
    job.public = key_public_copy(job.key, job.plain);
    job.ours = EVP_SIGNATURE_fetch(job.libctx, algorithm, "provider=pkcs11");
    job.theirs = EVP_SIGNATURE_fetch(job.plain, algorithm, NULL);
    if (job.ours == NULL || job.theirs == NULL)
        fail_msg("no %s", algorithm);
    return job;
}

/* The same with a software key that this provider was brought. */
static struct job job_on_host(const char *type, const char *algorithm)
{
    struct job job = { .libctx = libctx_new_faulty(""), .plain = libctx_new_plain() };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(job.libctx, type, "provider=pkcs11");
    OSSL_PARAM *params = NULL;

    job.public = strcmp(type, "RSA") == 0  ? EVP_PKEY_Q_keygen(job.plain, NULL, type, (size_t)2048)
                 : strcmp(type, "EC") == 0 ? EVP_PKEY_Q_keygen(job.plain, NULL, type, "P-256")
                                           : EVP_PKEY_Q_keygen(job.plain, NULL, type);
    assert_int_equal(EVP_PKEY_todata(job.public, EVP_PKEY_KEYPAIR, &params), 1);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &job.key, EVP_PKEY_KEYPAIR, params), 1);
    job.ours = EVP_SIGNATURE_fetch(job.libctx, algorithm, "provider=pkcs11");
    job.theirs = EVP_SIGNATURE_fetch(job.plain, algorithm, NULL);
    assert_non_null(job.ours);
    assert_non_null(job.theirs);
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    return job;
}

static void job_free(struct job *job)
{
    EVP_SIGNATURE_free(job->ours);
    EVP_SIGNATURE_free(job->theirs);
    EVP_PKEY_free(job->key);
    EVP_PKEY_free(job->public);
    OSSL_LIB_CTX_free(job->libctx);
    OSSL_LIB_CTX_free(job->plain);
}

/* The message whole, in pieces, or hashed before. */
enum way { WHOLE, STREAMED, HASHED, WAYS };

static bool hash(const struct job *job, const char *digest, unsigned char *out, size_t *len)
{
    return EVP_Q_digest(job->plain, digest, NULL, message, sizeof(message), out, len) == 1;
}

static bool sign(const struct job *job, enum way way, const char *digest, unsigned char *sig,
                 size_t *len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(job->libctx, job->key, NULL);
    unsigned char hashed[EVP_MAX_MD_SIZE];
    size_t hashed_len = 0;
    bool ok = false;

    if (way == WHOLE)
        ok = sign_message_init(ctx, job->ours, NULL) == 1 &&
             EVP_PKEY_sign(ctx, sig, len, message, sizeof(message)) == 1;
    else if (way == STREAMED)
        ok = sign_message_init(ctx, job->ours, NULL) == 1 && sign_update(ctx, message, 10) == 1 &&
             sign_update(ctx, message + 10, sizeof(message) - 10) == 1 &&
             sign_final(ctx, sig, len) == 1;
    else
        ok = hash(job, digest, hashed, &hashed_len) && sign_init(ctx, job->ours, NULL) == 1 &&
             EVP_PKEY_sign(ctx, sig, len, hashed, hashed_len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* By who does not have this provider. */
static bool verify_whole(const struct job *job, const OSSL_PARAM *params, const unsigned char *data,
                         size_t data_len, const unsigned char *sig, size_t len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(job->plain, job->public, NULL);
    bool ok = verify_message_init(ctx, job->theirs, params) == 1 &&
              EVP_PKEY_verify(ctx, sig, len, data, data_len) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool verify(OSSL_LIB_CTX *libctx, EVP_PKEY *key, EVP_SIGNATURE *algorithm, enum way way,
                   const struct job *job, const char *digest, const unsigned char *sig, size_t len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    unsigned char hashed[EVP_MAX_MD_SIZE];
    size_t hashed_len = 0;
    bool ok = false;

    if (way == WHOLE)
        ok = verify_message_init(ctx, algorithm, NULL) == 1 &&
             EVP_PKEY_verify(ctx, sig, len, message, sizeof(message)) == 1;
    else if (way == STREAMED)
        ok = verify_message_init(ctx, algorithm, NULL) == 1 && set_signature(ctx, sig, len) == 1 &&
             verify_update(ctx, message, sizeof(message)) == 1 && verify_final(ctx) == 1;
    else
        ok = hash(job, digest, hashed, &hashed_len) && verify_init(ctx, algorithm, NULL) == 1 &&
             EVP_PKEY_verify(ctx, sig, len, hashed, hashed_len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static void check_job(const struct job *job, const char *algorithm, const char *digest)
{
    for (enum way way = 0; way < WAYS; way++) {
        unsigned char sig[1024];
        size_t len = sizeof(sig);
        char error[512];

        ERR_clear_error();
        if (!sign(job, way, digest, sig, &len))
            fail_msg("%s way %u: %s", algorithm, way, last_error(error, sizeof(error)));
        if (!verify(job->plain, job->public, job->theirs, way, job, digest, sig, len))
            fail_msg("%s way %u: not verified", algorithm, way);
        if (!verify(job->libctx, job->key, job->ours, way, job, digest, sig, len))
            fail_msg("%s way %u: not verified here", algorithm, way);
        sig[len / 2] ^= 1;
        if (verify(job->libctx, job->key, job->ours, way, job, digest, sig, len))
            fail_msg("%s way %u: a changed signature verifies", algorithm, way);
    }
}

static void test_sigalgs_rsa_and_ecdsa(void **state)
{
    static const char *const settings[] = { "pkcs11-digest = auto\n", "pkcs11-digest = token\n",
                                            "pkcs11-digest = host\n" };
    static const struct {
        const char *algorithm, *digest;
    } cases[] = {
        { "RSA-SHA1", "SHA1" },
        { "RSA-SHA2-224", "SHA224" },
        { "RSA-SHA256", "SHA256" },
        { "RSA-SHA2-384", "SHA384" },
        { "sha512WithRSAEncryption", "SHA512" },
        { "RSA-SHA2-512/224", "SHA512-224" },
        { "RSA-SHA2-512/256", "SHA512-256" },
        { "RSA-SHA3-224", "SHA3-224" },
        { "RSA-SHA3-256", "SHA3-256" },
        { "RSA-SHA3-384", "SHA3-384" },
        { "RSA-SHA3-512", "SHA3-512" },
        { "ECDSA-SHA1", "SHA1" },
        { "ECDSA-SHA2-224", "SHA224" },
        { "ECDSA-SHA2-256", "SHA256" },
        { "ecdsa-with-SHA384", "SHA384" },
        { "1.2.840.10045.4.3.4", "SHA512" },
        { "ECDSA-SHA3-224", "SHA3-224" },
        { "ECDSA-SHA3-256", "SHA3-256" },
        { "ECDSA-SHA3-384", "SHA3-384" },
        { "ECDSA-SHA3-512", "SHA3-512" },
    };

    (void)state;
    if (!newer_found(functions, COUNT_OF(functions)))
        skip();
    for (size_t s = 0; s < COUNT_OF(settings); s++)
        for (size_t c = 0; c < COUNT_OF(cases); c++) {
            bool rsa = strstr(cases[c].algorithm, "RSA") != NULL;
            struct job job = job_new(settings[s], rsa ? "rsa2048" : "p256", cases[c].algorithm);

            check_job(&job, cases[c].algorithm, cases[c].digest);
            job_free(&job);
        }
}

/* The name has the digest, the padding and the type of key; nothing may contradict it. */
static void test_sigalgs_fixed(void **state)
{
    struct job job;
    EVP_PKEY_CTX *ctx;
    EVP_PKEY *other;

    (void)state;
    if (!newer_found(functions, COUNT_OF(functions)))
        skip();
    job = job_new("", "rsa2048", "RSA-SHA256");
    ctx = EVP_PKEY_CTX_new_from_pkey(job.libctx, job.key, NULL);
    assert_int_equal(sign_message_init(ctx, job.ours, NULL), 1);
    assert_true(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha384()) <= 0);
    assert_true(EVP_PKEY_CTX_set_rsa_padding(ctx, 6) <= 0);
    EVP_PKEY_CTX_free(ctx);
    other = key_load(job.libctx, "p256", "private");
    ctx = EVP_PKEY_CTX_new_from_pkey(job.libctx, other, NULL);
    assert_true(sign_message_init(ctx, job.ours, NULL) <= 0);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(other);
    ERR_clear_error();
    job_free(&job);
}

static int eddsa_sign(const struct job *job, EVP_SIGNATURE *algorithm, const OSSL_PARAM *params,
                      unsigned char *sig, size_t *len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(job->libctx, job->key, NULL);
    int ok = sign_message_init(ctx, algorithm, params) == 1 &&
             EVP_PKEY_sign(ctx, sig, len, message, 1000) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static int eddsa_verify(const struct job *job, const OSSL_PARAM *params, const unsigned char *sig,
                        size_t len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(job->plain, job->public, NULL);
    EVP_PKEY_CTX *own = EVP_PKEY_CTX_new_from_pkey(job->libctx, job->key, NULL);
    int ok = verify_message_init(ctx, job->theirs, params) == 1 &&
             EVP_PKEY_verify(ctx, sig, len, message, 1000) == 1 &&
             verify_message_init(own, job->ours, NULL) == 1 &&
             EVP_PKEY_CTX_set_params(own, params) == 1 &&
             EVP_PKEY_verify(own, sig, len, message, 1000) == 1;

    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_CTX_free(own);
    return ok;
}

/* Keys on the host do all of it there. */
static void test_sigalgs_on_the_host(void **state)
{
    static const struct {
        const char *type, *algorithm, *digest;
    } cases[] = { { "RSA", "RSA-SHA256", "SHA256" }, { "EC", "ECDSA-SHA2-384", "SHA384" } };

    (void)state;
    if (!newer_found(functions, COUNT_OF(functions)))
        skip();
    calls_reset();
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        struct job job = job_on_host(cases[c].type, cases[c].algorithm);

        check_job(&job, cases[c].algorithm, cases[c].digest);
        job_free(&job);
    }
    assert_int_equal(calls(NULL), 0);
}

/* Two messages one after the other, each whole, with one context. */
static void check_again(const struct job *job, const char *algorithm)
{
    EVP_PKEY_CTX *sign = EVP_PKEY_CTX_new_from_pkey(job->libctx, job->key, NULL);
    EVP_PKEY_CTX *verify = EVP_PKEY_CTX_new_from_pkey(job->libctx, job->key, NULL);

    assert_int_equal(sign_message_init(sign, job->ours, NULL), 1);
    assert_int_equal(verify_message_init(verify, job->ours, NULL), 1);
    for (int i = 0; i < 2; i++) {
        unsigned char sig[4000];
        size_t len = sizeof(sig);

        if (EVP_PKEY_sign(sign, sig, &len, message + i, 100) != 1)
            fail_msg("%s: no signature %d", algorithm, i);
        if (!verify_whole(job, NULL, message + i, 100, sig, len))
            fail_msg("%s: signature %d is wrong", algorithm, i);
        if (EVP_PKEY_verify(verify, sig, len, message + i, 100) != 1)
            fail_msg("%s: signature %d is not verified here", algorithm, i);
    }
    EVP_PKEY_CTX_free(sign);
    EVP_PKEY_CTX_free(verify);
}

static void test_sigalgs_on_the_host_again(void **state)
{
    static const struct {
        const char *type, *algorithm;
        unsigned long since;
    } cases[] = { { "RSA", "RSA-SHA256", 0 },
                  { "EC", "ECDSA-SHA2-384", 0 },
                  { "ED25519", "ED25519", 0 },
                  { "ED25519", "ED25519ph", 0 },
                  { "ML-DSA-44", "ML-DSA-44", 0x30500000UL } };

    (void)state;
    if (!newer_found(functions, COUNT_OF(functions)))
        skip();
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        struct job job;

        if (OpenSSL_version_num() < cases[c].since)
            continue;
        job = job_on_host(cases[c].type, cases[c].algorithm);
        check_again(&job, cases[c].algorithm);
        job_free(&job);
    }
}

/* In pieces, of which the last are fed to a copy of the context. */
static void pieces_sign(const struct job *job, const OSSL_PARAM *params, size_t size,
                        unsigned char *sig, size_t *len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(job->libctx, job->key, NULL), *copy;

    assert_int_equal(sign_message_init(ctx, job->ours, params), 1);
    if (size != 0)
        assert_int_equal(sign_update(ctx, message, size / 2), 1);
    copy = EVP_PKEY_CTX_dup(ctx);
    assert_non_null(copy);
    EVP_PKEY_CTX_free(ctx);
    if (size != 0)
        assert_int_equal(sign_update(copy, message + size / 2, size - size / 2), 1);
    assert_int_equal(sign_final(copy, NULL, len), 1);
    assert_int_equal(sign_final(copy, sig, len), 1);
    EVP_PKEY_CTX_free(copy);
}

static int pieces_verify(const struct job *job, const OSSL_PARAM *params, size_t size,
                         const unsigned char *sig, size_t len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(job->libctx, job->key, NULL), *copy;
    int ok;

    assert_int_equal(verify_message_init(ctx, job->ours, params), 1);
    assert_int_equal(set_signature(ctx, sig, len), 1);
    if (size != 0)
        assert_int_equal(verify_update(ctx, message, size), 1);
    copy = EVP_PKEY_CTX_dup(ctx);
    assert_non_null(copy);
    EVP_PKEY_CTX_free(ctx);
    ok = verify_final(copy);
    EVP_PKEY_CTX_free(copy);
    return ok;
}

/* With a context string, which the copies have as well. */
static void test_sigalgs_sets_on_the_host(void **state)
{
    static const size_t sizes[] = { 0, 1000 };
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string("context-string", (char *)(uintptr_t) "a context", 9),
        OSSL_PARAM_construct_end(),
    };
    struct job job;

    (void)state;
    if (!newer_found(functions, COUNT_OF(functions)) || OpenSSL_version_num() < 0x30500000UL)
        skip();
    job = job_on_host("ML-DSA-44", "ML-DSA-44");
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        unsigned char sig[4000];
        size_t len = sizeof(sig);

        pieces_sign(&job, params, sizes[i], sig, &len);
        assert_true(verify_whole(&job, params, message, sizes[i], sig, len));
        assert_int_equal(pieces_verify(&job, params, sizes[i], sig, len), 1);
        assert_int_not_equal(pieces_verify(&job, NULL, sizes[i], sig, len), 1);
    }
    ERR_clear_error();
    job_free(&job);
}

/* Plain Ed25519 works; SoftHSM looks at no parameters and would sign plainly: that is noticed, and
 * no wrong signature comes out. */
static void test_sigalgs_eddsa_of(bool on_host)
{
    static const struct {
        const char *type, *algorithm, *context;
    } cases[] = {
        { "ED25519", "ED25519", NULL },    { "ED25519", "ED25519ctx", "a context" },
        { "ED25519", "ED25519ph", NULL },  { "ED25519", "ED25519ph", "a context" },
        { "ED448", "ED448", "a context" }, { "ED448", "ED448ph", NULL },
    };

    if (!newer_found(functions, COUNT_OF(functions)))
        skip();
    for (size_t c = 0; c < (on_host ? 6 : 4); c++) {
        struct job job = on_host ? job_on_host(cases[c].type, cases[c].algorithm)
                                 : job_new("", "ed25519", cases[c].algorithm);
        const char *context = cases[c].context != NULL ? cases[c].context : "";
        const OSSL_PARAM params[] = {
            OSSL_PARAM_construct_octet_string("context-string", (char *)(uintptr_t)context,
                                              strlen(context)),
            OSSL_PARAM_construct_end(),
        };
        unsigned char sig[114];
        size_t len = sizeof(sig);
        char error[512];

        if (eddsa_sign(&job, job.ours, params, sig, &len))
            assert_true(eddsa_verify(&job, params, sig, len));
        else if (c == 0 || on_host)
            fail_msg("%s: %s", cases[c].algorithm, last_error(error, sizeof(error)));
        else
            assert_non_null(strstr(last_error(error, sizeof(error)), "the token cannot sign with"));
        job_free(&job);
    }
}

static void test_sigalgs_eddsa(void **state)
{
    (void)state;
    test_sigalgs_eddsa_of(false);
}

static void test_sigalgs_eddsa_on_the_host(void **state)
{
    (void)state;
    test_sigalgs_eddsa_of(true);
}

/* A context string where there is none, none where one is needed, another type's instance. */
static void test_sigalgs_eddsa_refused(void **state)
{
    static const struct {
        const char *algorithm, *instance, *context;
    } cases[] = {
        { "ED25519", NULL, "a context" }, { "ED25519ctx", NULL, "" },
        { "ED25519", "Ed448ph", "" },     { "ED25519", "Ed25519ph", "" },
        { "ED25519ph", "nothing", "" },
    };

    (void)state;
    if (!newer_found(functions, COUNT_OF(functions)))
        skip();
    for (size_t c = 0; c < 2 * COUNT_OF(cases); c++) {
        size_t i = c / 2;
        struct job job = c % 2 == 0 ? job_new("", "ed25519", cases[i].algorithm)
                                    : job_on_host("ED25519", cases[i].algorithm);
        OSSL_PARAM params[3], *p = params;
        unsigned char sig[64];
        size_t len = sizeof(sig);

        *p++ = OSSL_PARAM_construct_octet_string(
            "context-string", (char *)(uintptr_t)cases[i].context, strlen(cases[i].context));
        if (cases[i].instance != NULL)
            *p++ = OSSL_PARAM_construct_utf8_string("instance",
                                                    (char *)(uintptr_t)cases[i].instance, 0);
        *p = OSSL_PARAM_construct_end();
        assert_int_equal(eddsa_sign(&job, job.ours, params, sig, &len), 0);
        job_free(&job);
    }
    ERR_clear_error();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sigalgs_rsa_and_ecdsa),
        cmocka_unit_test(test_sigalgs_fixed),
        cmocka_unit_test(test_sigalgs_on_the_host),
        cmocka_unit_test(test_sigalgs_on_the_host_again),
        cmocka_unit_test(test_sigalgs_sets_on_the_host),
        cmocka_unit_test(test_sigalgs_eddsa),
        cmocka_unit_test(test_sigalgs_eddsa_on_the_host),
        cmocka_unit_test(test_sigalgs_eddsa_refused),
    };

    memset(message, 'm', sizeof(message));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
