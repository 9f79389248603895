/* Signatures by algorithms of parameter sets, ML-DSA first of all (provider-signature(7),
 * EVP_SIGNATURE-ML-DSA(7)): the message goes to the token whole, with what libcrypto's parameters
 * say of it.
 *
 * A token may not look at the context string, or that the message was hashed before: a signature
 * with either is verified before it leaves. */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "der/algorithm.h"
#include "key/doubt.h"
#include "key/software.h"
#include "module/call.h"
#include "ops/algorithms.h"
#include "ops/context.h"
#include "ops/held.h"
#include "ops/ops.h"
#include "ops/params.h"
#include "ops/signature.h"

static OSSL_FUNC_signature_newctx_fn set_newctx;
static OSSL_FUNC_signature_freectx_fn set_freectx;
static OSSL_FUNC_signature_dupctx_fn set_dupctx;
static OSSL_FUNC_signature_digest_sign_init_fn set_sign_init;
static OSSL_FUNC_signature_digest_sign_fn set_sign;
static OSSL_FUNC_signature_digest_verify_init_fn set_verify_init;
static OSSL_FUNC_signature_digest_verify_fn set_verify;
static OSSL_FUNC_signature_sign_fn set_sign_message;
static OSSL_FUNC_signature_verify_fn set_verify_message;
static OSSL_FUNC_signature_digest_sign_update_fn set_update;
static OSSL_FUNC_signature_digest_sign_final_fn set_sign_final;
static OSSL_FUNC_signature_get_ctx_params_fn set_get_ctx_params;
static OSSL_FUNC_signature_gettable_ctx_params_fn set_gettable_ctx_params;
static OSSL_FUNC_signature_set_ctx_params_fn set_set_ctx_params;
static OSSL_FUNC_signature_settable_ctx_params_fn set_settable_ctx_params;

#define CONTEXT_MAX 255

/* OSSL_SIGNATURE_PARAM_CONTEXT_STRING of OpenSSL 3.2, the others of 3.5 */
#define PARAM_CONTEXT_STRING   "context-string"
#define PARAM_DETERMINISTIC    "deterministic"
#define PARAM_MESSAGE_ENCODING "message-encoding"
#define PARAM_MU               "mu"

/* Values of PARAM_MESSAGE_ENCODING: the message is encoded already (FIPS 204 algorithm 2, line 10),
 * or not. */
enum { ENCODING_RAW, ENCODING_PURE };

struct set_signature {
    struct held held;
    struct provider *provider;
    struct key *key;
    uint8_t context[CONTEXT_MAX];
    size_t context_len;
    enum hedge hedge;
    int encoding;
    int mu;                /* the message is its mu (FIPS 204 §6.2) */
    struct bytes message;  /* so far */
    struct bytes expected; /* what a verification that is fed compares with; or none */
};

static void *set_newctx(void *provctx, const char *propq)
{
    struct set_signature *ctx = OPENSSL_zalloc(sizeof(*ctx));

    (void)propq;
    if (ctx != NULL)
        ctx->provider = provctx;
    return ctx;
}

#define OWNED(OWN) OWN(held, held) OWN(key, key) OWN(bytes, message) OWN(bytes, expected)

CONTEXT_FREE(set_freectx, struct set_signature, OWNED)
CONTEXT_DUP(set_dupctx, set_freectx, struct set_signature, OWNED)

static int set_context(void *vctx, const OSSL_PARAM *p)
{
    struct set_signature *ctx = vctx;
    void *context = ctx->context;

    return OSSL_PARAM_get_octet_string(p, &context, sizeof(ctx->context), &ctx->context_len) ||
           refuse(ctx->provider, "the context string is longer than", "255 bytes");
}

static int set_deterministic(void *vctx, const OSSL_PARAM *p)
{
    struct set_signature *ctx = vctx;
    int yes = 0;

    if (!OSSL_PARAM_get_int(p, &yes))
        return 0;
    ctx->hedge = yes != 0 ? HEDGE_DETERMINISTIC : HEDGE_REQUIRED;
    return 1;
}

static int set_encoding(void *vctx, const OSSL_PARAM *p)
{
    struct set_signature *ctx = vctx;
    int encoding = 0;

    if (!OSSL_PARAM_get_int(p, &encoding) ||
        (encoding != ENCODING_RAW && encoding != ENCODING_PURE))
        return refuse(ctx->provider, "the encoding of the message is", "0 (raw) or 1 (pure)");
    ctx->encoding = encoding;
    return 1;
}

static int set_mu(void *vctx, const OSSL_PARAM *p)
{
    struct set_signature *ctx = vctx;

    return OSSL_PARAM_get_int(p, &ctx->mu);
}

#define EXPECTED(ROW)                                                                              \
    ROW(SIGNATURE_PARAM_SIGNATURE, octet_string, param_set_octets,                                 \
        FIELD(struct set_signature, expected, struct bytes))

#define SETTABLE(ROW)                                                                              \
    ROW(PARAM_CONTEXT_STRING, octet_string, set_context, WHOLE)                                    \
    ROW(PARAM_DETERMINISTIC, int, set_deterministic, WHOLE)                                        \
    ROW(PARAM_MESSAGE_ENCODING, int, set_encoding, WHOLE)                                          \
    ROW(PARAM_MU, int, set_mu, WHOLE)                                                              \
    EXPECTED(ROW)

PARAMS_SET(token, SETTABLE)

/* fixed: the set of an algorithm that a program named; or NULL. */
static int begin(struct set_signature *ctx, const struct set *fixed, struct key *key,
                 const OSSL_PARAM params[], bool signing)
{
    if (key == NULL && ctx->key == NULL)
        return refuse(ctx->provider, "cannot begin a signature:", "no key is set");
    if (key != NULL && !key_take(&ctx->key, key, signing))
        return 0;
    if (!key_has_set(ctx->key) || !key_set(ctx->key)->algorithm->signs ||
        (fixed != NULL && key_set(ctx->key) != fixed))
        return refuse(ctx->provider, "the key is not one for",
                      fixed != NULL ? fixed->name : "such signatures");
    if (signing && !key_is_private(ctx->key))
        return refuse(ctx->provider, "cannot sign:", "this is a public key");
    bytes_clear(&ctx->message);
    if (key != NULL) {
        ctx->context_len = 0;
        ctx->hedge = HEDGE_PREFERRED;
        ctx->encoding = ENCODING_PURE;
        ctx->mu = 0;
    }
    return token_set_ctx_params(ctx, params);
}

static bool is_no_digest(const struct set_signature *ctx, const char *digest)
{
    return digest == NULL || digest[0] == '\0' ||
           refuse(ctx->provider, "no digest can be chosen:", "the algorithm hashes by itself");
}

static int token_sign_init(void *vctx, const char *digest, void *key, const OSSL_PARAM params[])
{
    return is_no_digest(vctx, digest) && begin(vctx, NULL, key, params, true);
}

static int token_verify_init(void *vctx, const char *digest, void *key, const OSSL_PARAM params[])
{
    return is_no_digest(vctx, digest) && begin(vctx, NULL, key, params, false);
}

/* The hash behind its OID, which is all that is signed of a message (FIPS 204 algorithm 4). */
static const struct digest *decode_hash(struct view *message)
{
    struct view oid;

    if (!der_read(message, DER_OID, &oid))
        return NULL;
    for (size_t i = 0; i < DIGESTS; i++)
        if (view_equal(digests[i].oid, oid) && message->len == digests[i].size)
            return &digests[i];
    return NULL;
}

/* Takes an encoded message apart, for tokens that encode by themselves: whether it is a hash, 0 or
 * 1, the length of the context and the context in front of it. */
static bool decode(const struct set_signature *ctx, struct view *message, struct sign_request *out)
{
    size_t len = message->len >= 2 ? message->data[1] : 0;
    const bool hashed = message->len > 0 && message->data[0] == 1;

    if (message->len >= 2 + len && message->data[0] <= 1) {
        out->context = (struct view){ message->data + 2, len };
        *message = (struct view){ message->data + 2 + len, message->len - 2 - len };
        out->digest = hashed ? decode_hash(message) : NULL;
        if (!hashed || out->digest != NULL)
            return true;
    }
    return refuse(ctx->provider, "a token cannot sign this encoded message:",
                  "only one that begins with 0 or 1, the context's length and the context, and "
                  "behind a 1 has a hash that PKCS#11 has a name for");
}

static bool request_make(const struct set_signature *ctx, struct view *message,
                         struct sign_request *out)
{
    *out = (struct sign_request){ .scheme = SIGN_SET,
                                  .set = key_set(ctx->key),
                                  .hedge = ctx->hedge,
                                  .context = { ctx->context, ctx->context_len } };
    if (ctx->mu != 0)
        return refuse(ctx->provider, "cannot work with a mu that was made outside of the token:",
                      "PKCS#11 has no mechanism for it; give the message itself");
    return ctx->encoding == ENCODING_PURE || decode(ctx, message, out);
}

/* With the same parameters. */
static int verify_on_host(const struct set_signature *ctx, struct view sig, struct view message)
{
    int encoding = ctx->encoding, mu = ctx->mu;
    OSSL_PARAM params[4], *p = params;

    *p++ = OSSL_PARAM_construct_octet_string(PARAM_CONTEXT_STRING, (void *)(uintptr_t)ctx->context,
                                             ctx->context_len);
    *p++ = OSSL_PARAM_construct_int(PARAM_MESSAGE_ENCODING, &encoding);
    if (mu != 0)
        *p++ = OSSL_PARAM_construct_int(PARAM_MU, &mu);
    *p = OSSL_PARAM_construct_end();
    return software_verifies(ctx->key, params, message, sig);
}

/* Whether a token that does not look at its parameters would sign something else. */
static bool is_for_a_purpose(const struct sign_request *request)
{
    return request->context.len != 0 || request->digest != NULL;
}

static int token_sign(void *vctx, unsigned char *sig, size_t *sig_len, size_t sig_size,
                      const unsigned char *data, size_t len)
{
    const struct set_signature *ctx = vctx;
    size_t size = key_signature_max(ctx->key);
    struct view message = { data, len };
    struct sign_request request;

    if (sig == NULL) {
        *sig_len = size;
        return 1;
    }
    if (sig_size < size)
        return refuse(ctx->provider, "cannot sign:", "the buffer for the signature is too small");
    if (!request_make(ctx, &message, &request) ||
        !key_sign(ctx->key, &request, SIGN_TOKEN_HASHES, message, sig, sig_len))
        return 0;
    return !is_for_a_purpose(&request) ||
           verify_on_host(ctx, (struct view){ sig, *sig_len }, (struct view){ data, len }) ||
           refuse(ctx->provider,
                  request.digest != NULL ? "the token cannot sign what was hashed before:"
                                         : "the token cannot sign with a context string:",
                  "what it made is no such signature");
}

static int token_verify(void *vctx, const unsigned char *sig, size_t sig_len,
                        const unsigned char *data, size_t len)
{
    const struct set_signature *ctx = vctx;
    const struct view signature = { sig, sig_len };
    struct view message = { data, len };
    struct sign_request request;

    if (!key_public_on_token(ctx->key))
        return verify_on_host(ctx, signature, message);
    return request_make(ctx, &message, &request) &&
           key_verify(ctx->key, &request, SIGN_TOKEN_HASHES, message, signature);
}

static int get_algorithm(const void *vctx, OSSL_PARAM *p)
{
    const struct set_signature *ctx = vctx;
    uint8_t der[ALGORITHM_IDENTIFIER_MAX];
    size_t len =
        ctx->key != NULL ? algorithm_write(key_set(ctx->key)->oid, false, der, sizeof(der)) : 0;

    return len != 0 && OSSL_PARAM_set_octet_string(p, der, len);
}

#define GETTABLE(ROW) ROW(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, octet_string, get_algorithm, WHOLE)

PARAMS_GET(token, GETTABLE)

/* What a verification that is fed compares with is kept here for the host as well. */
PARAM_SETTERS(expected_setters, EXPECTED);

static int host_set_ctx_params(void *ctx, const OSSL_PARAM params[])
{
    return params_set(expected_setters, ctx, params) && held_set_ctx_params(ctx, params);
}

DOOR(DIGEST_INIT, set_sign_init, held_digest_sign_init, token_sign_init)
DOOR(MAKE, set_sign, held_digest_sign, token_sign)
DOOR(DIGEST_INIT, set_verify_init, held_digest_verify_init, token_verify_init)
DOOR(VERIFY, set_verify, held_digest_verify, token_verify)
DOOR(MAKE, set_sign_message, held_sign_message, token_sign)
DOOR(VERIFY, set_verify_message, held_verify_message, token_verify)
DOOR(GET, set_get_ctx_params, held_get_ctx_params, token_get_ctx_params)
DOOR(SET, set_set_ctx_params, host_set_ctx_params, token_set_ctx_params)
LIST_DOOR(set_gettable_ctx_params, held_gettable_ctx_params, token_gettable_ctx_params)
LIST_DOOR(set_settable_ctx_params, held_settable_ctx_params, token_settable_ctx_params)

/* A message that comes in pieces is kept: the token gets it whole, and so does the host. */
static int set_update(void *vctx, const unsigned char *data, size_t len)
{
    struct set_signature *ctx = vctx;

    return bytes_add(&ctx->message, data, len);
}

static int set_sign_final(void *vctx, unsigned char *sig, size_t *sig_len, size_t sig_size)
{
    const struct set_signature *ctx = vctx;

    return set_sign(vctx, sig, sig_len, sig_size, ctx->message.data, ctx->message.len);
}

static int set_verify_final(void *vctx)
{
    const struct set_signature *ctx = vctx;

    return set_verify(vctx, ctx->expected.data, ctx->expected.len, ctx->message.data,
                      ctx->message.len);
}

/* Among them what EVP_DigestSignInit(3) and EVP_DigestVerifyInit(3) come to. */
#define SHARED                                                                                     \
    { OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))set_newctx },                                    \
        { OSSL_FUNC_SIGNATURE_FREECTX, (void (*)(void))set_freectx },                              \
        { OSSL_FUNC_SIGNATURE_DUPCTX, (void (*)(void))set_dupctx },                                \
        { OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (void (*)(void))set_sign_init },                   \
        { OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (void (*)(void))set_sign },                             \
        { OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_INIT, (void (*)(void))set_verify_init },               \
        { OSSL_FUNC_SIGNATURE_DIGEST_VERIFY, (void (*)(void))set_verify },                         \
        { OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, (void (*)(void))set_get_ctx_params },                \
        { OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, (void (*)(void))set_gettable_ctx_params },      \
        { OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (void (*)(void))set_set_ctx_params },                \
    {                                                                                              \
        OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (void (*)(void))set_settable_ctx_params           \
    }

const OSSL_DISPATCH set_signature_functions[] = { SHARED, { 0, NULL } };

static int host_sign_init(void *ctx, void *key, const OSSL_PARAM params[])
{
    struct set_signature *signature = ctx;

    bytes_clear(&signature->message);
    return held_digest_sign_init(ctx, NULL, key, NULL) && host_set_ctx_params(ctx, params);
}

static int host_verify_init(void *ctx, void *key, const OSSL_PARAM params[])
{
    struct set_signature *signature = ctx;

    bytes_clear(&signature->message);
    return held_digest_verify_init(ctx, NULL, key, NULL) && host_set_ctx_params(ctx, params);
}

/* By the names of the sets, for programs that fetch them: the same for whole messages, and in
 * pieces. */
#define BY_NAME(id, algorithm, number, name, ...)                                                  \
    static int id##_token_sign_init(void *ctx, void *key, const OSSL_PARAM params[])               \
    {                                                                                              \
        return begin(ctx, &sets[SET_##id], key, params, true);                                     \
    }                                                                                              \
    static int id##_token_verify_init(void *ctx, void *key, const OSSL_PARAM params[])             \
    {                                                                                              \
        return begin(ctx, &sets[SET_##id], key, params, false);                                    \
    }                                                                                              \
    static DOOR(INIT, id##_sign_init, host_sign_init, id##_token_sign_init) static DOOR(           \
        INIT, id##_verify_init, host_verify_init,                                                  \
        id##_token_verify_init) static const char **id##_key_types(void)                           \
    {                                                                                              \
        static const char *types[] = { name, NULL };                                               \
                                                                                                   \
        return types;                                                                              \
    }                                                                                              \
    const OSSL_DISPATCH id##_signature_functions[] = {                                             \
        SHARED,                                                                                    \
        { OSSL_FUNC_SIGNATURE_QUERY_KEY_TYPES, (void (*)(void))id##_key_types },                   \
        { OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_INIT, (void (*)(void))id##_sign_init },                 \
        { OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_UPDATE, (void (*)(void))set_update },                   \
        { OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_FINAL, (void (*)(void))set_sign_final },                \
        { OSSL_FUNC_SIGNATURE_SIGN, (void (*)(void))set_sign_message },                            \
        { OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_INIT, (void (*)(void))id##_verify_init },             \
        { OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_UPDATE, (void (*)(void))set_update },                 \
        { OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_FINAL, (void (*)(void))set_verify_final },            \
        { OSSL_FUNC_SIGNATURE_VERIFY, (void (*)(void))set_verify_message },                        \
        { 0, NULL },                                                                               \
    };

SET_ROWS_SIGN(BY_NAME)
