/* Signature algorithms by their own names, RSA-SHA2-256 and the like, for programs that fetch them
 * (EVP_SIGNATURE_fetch(3), provider-signature(7) of OpenSSL 3.4): the functions of signature.c with
 * the digest fixed. A row of the table is all that an algorithm takes. */
#include <openssl/core_names.h>

#include "ops/algorithms.h"
#include "ops/ops.h"
#include "ops/params.h"
#include "ops/signature.h"

static OSSL_FUNC_signature_sign_init_fn sign_init;
static OSSL_FUNC_signature_verify_init_fn verify_init;
static OSSL_FUNC_signature_sign_init_fn sign_message_init;
static OSSL_FUNC_signature_verify_init_fn verify_message_init;
static OSSL_FUNC_signature_sign_fn sign_message;
static OSSL_FUNC_signature_verify_fn verify_message;
static OSSL_FUNC_signature_set_ctx_params_fn set_ctx_params;

/* name, type of key, digest, OpenSSL's names */
#define SIGALGS(ROW)                                                                               \
    ROW(rsa_sha1, rsa, "SHA1", "RSA-SHA1:RSA-SHA-1:sha1WithRSAEncryption:1.2.840.113549.1.1.5")    \
    ROW(rsa_sha224, rsa, "SHA2-224",                                                               \
        "RSA-SHA2-224:RSA-SHA224:sha224WithRSAEncryption:1.2.840.113549.1.1.14")                   \
    ROW(rsa_sha256, rsa, "SHA2-256",                                                               \
        "RSA-SHA2-256:RSA-SHA256:sha256WithRSAEncryption:1.2.840.113549.1.1.11")                   \
    ROW(rsa_sha384, rsa, "SHA2-384",                                                               \
        "RSA-SHA2-384:RSA-SHA384:sha384WithRSAEncryption:1.2.840.113549.1.1.12")                   \
    ROW(rsa_sha512, rsa, "SHA2-512",                                                               \
        "RSA-SHA2-512:RSA-SHA512:sha512WithRSAEncryption:1.2.840.113549.1.1.13")                   \
    ROW(rsa_sha512_224, rsa, "SHA2-512/224",                                                       \
        "RSA-SHA2-512/224:RSA-SHA512-224:sha512-224WithRSAEncryption:1.2.840.113549.1.1.15")       \
    ROW(rsa_sha512_256, rsa, "SHA2-512/256",                                                       \
        "RSA-SHA2-512/256:RSA-SHA512-256:sha512-256WithRSAEncryption:1.2.840.113549.1.1.16")       \
    ROW(rsa_sha3_224, rsa, "SHA3-224",                                                             \
        "RSA-SHA3-224:id-rsassa-pkcs1-v1_5-with-sha3-224:2.16.840.1.101.3.4.3.13")                 \
    ROW(rsa_sha3_256, rsa, "SHA3-256",                                                             \
        "RSA-SHA3-256:id-rsassa-pkcs1-v1_5-with-sha3-256:2.16.840.1.101.3.4.3.14")                 \
    ROW(rsa_sha3_384, rsa, "SHA3-384",                                                             \
        "RSA-SHA3-384:id-rsassa-pkcs1-v1_5-with-sha3-384:2.16.840.1.101.3.4.3.15")                 \
    ROW(rsa_sha3_512, rsa, "SHA3-512",                                                             \
        "RSA-SHA3-512:id-rsassa-pkcs1-v1_5-with-sha3-512:2.16.840.1.101.3.4.3.16")                 \
    ROW(ecdsa_sha1, ec, "SHA1", "ECDSA-SHA1:ECDSA-SHA-1:ecdsa-with-SHA1:1.2.840.10045.4.1")        \
    ROW(ecdsa_sha224, ec, "SHA2-224",                                                              \
        "ECDSA-SHA2-224:ECDSA-SHA224:ecdsa-with-SHA224:1.2.840.10045.4.3.1")                       \
    ROW(ecdsa_sha256, ec, "SHA2-256",                                                              \
        "ECDSA-SHA2-256:ECDSA-SHA256:ecdsa-with-SHA256:1.2.840.10045.4.3.2")                       \
    ROW(ecdsa_sha384, ec, "SHA2-384",                                                              \
        "ECDSA-SHA2-384:ECDSA-SHA384:ecdsa-with-SHA384:1.2.840.10045.4.3.3")                       \
    ROW(ecdsa_sha512, ec, "SHA2-512",                                                              \
        "ECDSA-SHA2-512:ECDSA-SHA512:ecdsa-with-SHA512:1.2.840.10045.4.3.4")                       \
    ROW(ecdsa_sha3_224, ec, "SHA3-224",                                                            \
        "ECDSA-SHA3-224:ecdsa_with_SHA3-224:id-ecdsa-with-sha3-224:2.16.840.1.101.3.4.3.9")        \
    ROW(ecdsa_sha3_256, ec, "SHA3-256",                                                            \
        "ECDSA-SHA3-256:ecdsa_with_SHA3-256:id-ecdsa-with-sha3-256:2.16.840.1.101.3.4.3.10")       \
    ROW(ecdsa_sha3_384, ec, "SHA3-384",                                                            \
        "ECDSA-SHA3-384:ecdsa_with_SHA3-384:id-ecdsa-with-sha3-384:2.16.840.1.101.3.4.3.11")       \
    ROW(ecdsa_sha3_512, ec, "SHA3-512",                                                            \
        "ECDSA-SHA3-512:ecdsa_with_SHA3-512:id-ecdsa-with-sha3-512:2.16.840.1.101.3.4.3.12")

static const char **rsa_key_types(void)
{
    static const char *types[] = { "RSA", NULL };

    return types;
}

static const char **ec_key_types(void)
{
    static const char *types[] = { "EC", NULL };

    return types;
}

#define SETTABLE(ROW)                                                                              \
    ROW(SIGNATURE_PARAM_SIGNATURE, octet_string, param_set_octets,                                 \
        FIELD(struct signature, expected, struct bytes))

PARAM_SETTERS(setters, SETTABLE);
PARAM_LIST(settable, SETTABLE);

/* The others have one value that is right: it may be set, and nothing else. */
static int token_set_ctx_params(void *ctx, const OSSL_PARAM params[])
{
    return signature_set_ctx_params(ctx, params) && params_set(setters, ctx, params);
}

static int host_set_ctx_params(void *ctx, const OSSL_PARAM params[])
{
    return params_set(setters, ctx, params);
}

DOOR(SET, set_ctx_params, host_set_ctx_params, token_set_ctx_params)

static const OSSL_PARAM *settable_ctx_params(void *ctx, void *provctx)
{
    (void)ctx;
    (void)provctx;
    return settable;
}

static int token_sign_message_init(void *vctx, void *key, const OSSL_PARAM params[])
{
    struct signature *ctx = vctx;
    int ok = signature_sign_init(ctx, key, params);

    ctx->of_message = true;
    return ok;
}

static int token_verify_message_init(void *vctx, void *key, const OSSL_PARAM params[])
{
    struct signature *ctx = vctx;
    int ok = signature_verify_init(ctx, key, NULL);

    ctx->of_message = true;
    return ok && set_ctx_params(ctx, params);
}

/* Of a digest: the host is told which. */
static int on_host(struct signature *ctx, OSSL_FUNC_signature_sign_init_fn *init, void *key)
{
    char name[32];
    const OSSL_PARAM digest[] = {
        OSSL_PARAM_construct_utf8_string(
            OSSL_SIGNATURE_PARAM_DIGEST,
            (char *)(uintptr_t)digest_name(ctx->fixed, name, sizeof(name)), 0),
        OSSL_PARAM_construct_end(),
    };

    ctx->of_message = false;
    return init(ctx, key, digest);
}

static int on_host_message(struct signature *ctx, OSSL_FUNC_signature_digest_sign_init_fn *init,
                           void *key, const OSSL_PARAM params[])
{
    char name[32];

    ctx->of_message = true;
    return init(ctx, digest_name(ctx->fixed, name, sizeof(name)), key, NULL) &&
           host_set_ctx_params(ctx, params);
}

static int host_sign_init(void *ctx, void *key, const OSSL_PARAM params[])
{
    (void)params;
    return on_host(ctx, held_sign_init, key);
}

static int host_verify_init(void *ctx, void *key, const OSSL_PARAM params[])
{
    (void)params;
    return on_host(ctx, held_verify_init, key);
}

static int host_sign_message_init(void *ctx, void *key, const OSSL_PARAM params[])
{
    return on_host_message(ctx, held_digest_sign_init, key, params);
}

static int host_verify_message_init(void *ctx, void *key, const OSSL_PARAM params[])
{
    return on_host_message(ctx, held_digest_verify_init, key, params);
}

DOOR(INIT, sign_init, host_sign_init, signature_sign_init)
DOOR(INIT, verify_init, host_verify_init, signature_verify_init)
DOOR(INIT, sign_message_init, host_sign_message_init, token_sign_message_init)
DOOR(INIT, verify_message_init, host_verify_message_init, token_verify_message_init)

static int token_verify_message(void *ctx, const unsigned char *sig, size_t sig_len,
                                const unsigned char *data, size_t len)
{
    return signature_digest_update(ctx, data, len)
               ? signature_digest_verify_final(ctx, sig, sig_len)
               : 0;
}

DOOR(MAKE, sign_message, held_sign_message, signature_digest_sign)
DOOR(VERIFY, verify_message, held_verify_message, token_verify_message)

/* A digest or, after sign_message_init, the whole message. */
static int sign(void *vctx, unsigned char *sig, size_t *sig_len, size_t sig_size,
                const unsigned char *data, size_t len)
{
    const struct signature *ctx = vctx;

    return ctx->of_message ? sign_message(vctx, sig, sig_len, sig_size, data, len)
                           : signature_sign(vctx, sig, sig_len, sig_size, data, len);
}

static int verify(void *vctx, const unsigned char *sig, size_t sig_len, const unsigned char *data,
                  size_t len)
{
    const struct signature *ctx = vctx;

    return ctx->of_message ? verify_message(vctx, sig, sig_len, data, len)
                           : signature_verify(vctx, sig, sig_len, data, len);
}

static int verify_message_final(void *vctx)
{
    const struct signature *ctx = vctx;

    return signature_digest_verify_final(vctx, ctx->expected.data, ctx->expected.len);
}

#define FUNCTIONS(name, type, digest, names)                                                       \
    static void *name##_newctx(void *provctx, const char *propq)                                   \
    {                                                                                              \
        return signature_new_fixed(provctx, propq, digest);                                        \
    }                                                                                              \
    static const OSSL_DISPATCH name##_functions[] = {                                              \
        { OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))name##_newctx },                             \
        { OSSL_FUNC_SIGNATURE_FREECTX, (void (*)(void))signature_freectx },                        \
        { OSSL_FUNC_SIGNATURE_DUPCTX, (void (*)(void))signature_dupctx },                          \
        { OSSL_FUNC_SIGNATURE_QUERY_KEY_TYPES, (void (*)(void))type##_key_types },                 \
        { OSSL_FUNC_SIGNATURE_SIGN_INIT, (void (*)(void))sign_init },                              \
        { OSSL_FUNC_SIGNATURE_SIGN, (void (*)(void))sign },                                        \
        { OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_INIT, (void (*)(void))sign_message_init },              \
        { OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_UPDATE, (void (*)(void))signature_digest_update },      \
        { OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_FINAL, (void (*)(void))signature_digest_sign_final },   \
        { OSSL_FUNC_SIGNATURE_VERIFY_INIT, (void (*)(void))verify_init },                          \
        { OSSL_FUNC_SIGNATURE_VERIFY, (void (*)(void))verify },                                    \
        { OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_INIT, (void (*)(void))verify_message_init },          \
        { OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_UPDATE, (void (*)(void))signature_digest_update },    \
        { OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_FINAL, (void (*)(void))verify_message_final },        \
        { OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, (void (*)(void))signature_get_ctx_params },          \
        { OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS,                                                 \
          (void (*)(void))signature_gettable_ctx_params },                                         \
        { OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (void (*)(void))set_ctx_params },                    \
        { OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (void (*)(void))settable_ctx_params },          \
        { 0, NULL },                                                                               \
    };

SIGALGS(FUNCTIONS)

#define ALGORITHM(name, type, digest, names) { names, PROPERTIES, name##_functions, NULL },

#define SIGNATURES_BY_NAME                                                                         \
    { "ED25519:1.3.101.112", PROPERTIES, ed25519_functions, NULL },                                \
        { "ED25519ctx", PROPERTIES, ed25519ctx_functions, NULL },                                  \
        { "ED25519ph", PROPERTIES, ed25519ph_functions, NULL },                                    \
        { "ED448:1.3.101.113", PROPERTIES, ed448_functions, NULL },                                \
        { "ED448ph", PROPERTIES, ed448ph_functions, NULL }, SIGALGS(ALGORITHM)

#define SET_ALGORITHM(id, algorithm, number, name, others, a, b, ...)                              \
    { SET_NAMES(name, others, a, b), PROPERTIES, id##_signature_functions, NULL },

const OSSL_ALGORITHM sigalg_algorithms[] = {
    SIGNATURES_BY_KEY,
    SIGNATURES_BY_NAME{ NULL, NULL, NULL, NULL },
};

const OSSL_ALGORITHM sigalg_algorithms_3_5[] = {
    SIGNATURES_BY_KEY,
    { "PKCS11-PQ-SIGN", PROPERTIES, set_signature_functions, "ML-DSA on tokens" },
    SIGNATURES_BY_NAME SET_ROWS_SIGN(SET_ALGORITHM){ NULL, NULL, NULL, NULL },
};
