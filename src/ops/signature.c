/* Signatures with RSA and EC keys (provider-signature(7)). Signing goes to the token, verification
 * is done on the host with the public half. */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

#include "base/scope.h"
#include "key/doubt.h"
#include "module/call.h"
#include "ops/algorithms.h"
#include "ops/context.h"
#include "ops/ops.h"
#include "ops/params.h"
#include "ops/signature.h"

static OSSL_FUNC_signature_newctx_fn signature_newctx;
static OSSL_FUNC_signature_verify_recover_init_fn signature_verify_recover_init;
static OSSL_FUNC_signature_verify_recover_fn signature_verify_recover;
static OSSL_FUNC_signature_settable_ctx_params_fn signature_settable_ctx_params;

/* A message up to this length that arrives whole may be hashed by the token. */
#define TOKEN_HASHES_MAX (64UL * 1024)

static void *signature_newctx(void *provctx, const char *propq)
{
    struct signature *ctx = OPENSSL_zalloc(sizeof(*ctx));

    if (ctx == NULL)
        return NULL;
    ctx->provider = provctx;
    ctx->propq = propq != NULL ? OPENSSL_strdup(propq) : NULL;
    if (propq != NULL && ctx->propq == NULL) {
        OPENSSL_free(ctx);
        return NULL;
    }
    return ctx;
}

void *signature_new_fixed(void *provctx, const char *propq, const char *digest)
{
    struct signature *ctx = signature_newctx(provctx, propq);

    if (ctx != NULL)
        ctx->fixed = digest_find(digest);
    return ctx;
}

#define OWNED(OWN)                                                                                 \
    OWN(held, held)                                                                                \
    OWN(text, propq)                                                                               \
    OWN(key, key) OWN(hash, hash) OWN(bytes, message) OWN(bytes, expected)

CONTEXT_FREE(signature_freectx, struct signature, OWNED)
CONTEXT_DUP(signature_dupctx, signature_freectx, struct signature, OWNED)

/* Gets ready for a new operation; without a key, for one more with the key of the last. */
static int prepare(struct signature *ctx, struct key *key, bool signing)
{
    if (key == NULL && ctx->key == NULL)
        return refuse(ctx->provider, "cannot begin a signature:", "no key is set");
    if (key != NULL) {
        if (!key_take(&ctx->key, key, signing))
            return 0;
        ctx->digest = ctx->fixed;
        ctx->mgf1 = NULL;
    }
    ctx->padding = ctx->key->type == KEY_RSA_PSS ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING;
    ctx->salt = signature_default_salt();
    ctx->salt_free = true;
    ctx->signing = signing;
    md_ctx_release(ctx->hash);
    ctx->hash = NULL;
    bytes_clear(&ctx->message);
    bytes_clear(&ctx->expected);
    ctx->collecting = ctx->of_message = false;
    if (signing && !key_is_private(ctx->key))
        return refuse(ctx->provider, "cannot sign:", "this is a public key");
    return 1;
}

static int begin(struct signature *ctx, struct key *key, const OSSL_PARAM params[], bool signing)
{
    return prepare(ctx, key, signing) && signature_token_set_ctx_params(ctx, params);
}

static int token_sign_init(void *vctx, void *key, const OSSL_PARAM params[])
{
    return begin(vctx, key, params, true);
}

static int token_verify_init(void *vctx, void *key, const OSSL_PARAM params[])
{
    return begin(vctx, key, params, false);
}

static int token_verify_recover_init(void *vctx, void *key, const OSSL_PARAM params[])
{
    struct signature *ctx = vctx;

    ctx->recovers = true;
    return begin(ctx, key, params, false) &&
           (ctx->padding != RSA_PKCS1_PSS_PADDING ||
            refuse(ctx->provider, "nothing is recovered from a signature with", "the padding pss"));
}

/* Answers the question for a signature's size from the key, without the token. */
static bool size_asked(const struct signature *ctx, const unsigned char *sig, size_t *len)
{
    if (sig == NULL)
        *len = key_signature_max(ctx->key);
    return sig == NULL;
}

static int sign_request(struct signature *ctx, const struct sign_request *request,
                        enum sign_column column, struct view data, unsigned char *sig,
                        size_t *sig_len, size_t sig_size)
{
    if (sig_size < key_signature_max(ctx->key))
        return refuse(ctx->provider, "cannot sign:", "the buffer for the signature is too small");
    return key_sign(ctx->key, request, column, data, sig, sig_len);
}

static int sign_data(struct signature *ctx, enum sign_column column, struct view data,
                     unsigned char *sig, size_t *sig_len, size_t sig_size)
{
    struct sign_request request;

    return signature_request(ctx, &request) &&
           sign_request(ctx, &request, column, data, sig, sig_len, sig_size);
}

static int token_sign(void *vctx, unsigned char *sig, size_t *sig_len, size_t sig_size,
                      const unsigned char *tbs, size_t tbs_len)
{
    struct signature *ctx = vctx;

    if (size_asked(ctx, sig, sig_len))
        return 1;
    if (ctx->digest != NULL && tbs_len != ctx->digest->size)
        return refuse(ctx->provider,
                      "cannot sign:", "the data does not have the length of the digest");
    if (ctx->padding == RSA_NO_PADDING && key_type_is_rsa(ctx->key->type) &&
        tbs_len != key_signature_max(ctx->key))
        return refuse(ctx->provider,
                      "cannot sign:", "without padding the data must be as long as the modulus");
    return sign_data(ctx, SIGN_HASHED_BEFORE, (struct view){ tbs, tbs_len }, sig, sig_len,
                     sig_size);
}

/* Whether the token shall hash a message of len bytes that is known whole, or of unknown length. */
static bool token_shall_hash(const struct signature *ctx, const struct sign_request *request,
                             bool whole, size_t len)
{
    enum digest_where where = ctx->provider->config.digest;

    if (!ctx->signing || where == DIGEST_HOST)
        return false;
    if (where == DIGEST_AUTO && (!whole || len > TOKEN_HASHES_MAX) &&
        key_takes_hash(ctx->key, request))
        return false;
    return key_token_hashes(ctx->key, request);
}

/* The parameters come first: the digest that is named has the last word. */
static int digest_begin(struct signature *ctx, const char *name, struct key *key,
                        const OSSL_PARAM params[], bool signing)
{
    const struct digest *digest;

    if (!prepare(ctx, key, signing) ||
        (params != NULL && !signature_token_set_ctx_params(ctx, params)))
        return 0;
    if (name == NULL || name[0] == '\0')
        name = key_digest_name(ctx->key);
    digest = digest_find(name);
    if (digest == NULL)
        return refuse(ctx->provider, "the digest is not supported for signatures:", name);
    if ((key == NULL || params != NULL) && !signature_choose_digest(ctx, digest))
        return 0;
    ctx->digest = digest;
    ctx->digest_stays = true;
    return 1;
}

static int token_digest_sign_init(void *vctx, const char *name, void *key,
                                  const OSSL_PARAM params[])
{
    return digest_begin(vctx, name, key, params, true);
}

static int token_digest_verify_init(void *vctx, const char *name, void *key,
                                    const OSSL_PARAM params[])
{
    return digest_begin(vctx, name, key, params, false);
}

static bool hash_begin(struct signature *ctx)
{
    HOST_WORK;

    ctx->hash = host_hash_begin(&ctx->provider->host, ctx->digest, ctx->propq);
    return ctx->hash != NULL;
}

static int token_digest_update(void *vctx, const unsigned char *data, size_t len)
{
    struct signature *ctx = vctx;
    struct sign_request request;

    if (len == 0)
        return 1;
    if (ctx->hash == NULL && !ctx->collecting) {
        ctx->collecting = /* what cannot be signed is told at the end */
            signature_request_quiet(ctx, &request) && token_shall_hash(ctx, &request, false, 0);
        if (!ctx->collecting && !hash_begin(ctx))
            return 0;
    }
    return ctx->collecting ? bytes_add(&ctx->message, data, len)
                           : EVP_DigestUpdate(ctx->hash, data, len) == 1;
}

/* The digest of the message so far, which may go on: the final of a TLS 1.2 transcript works on it.
 */
static bool hash_final(struct signature *ctx, uint8_t *digest)
{
    unsigned len = 0;

    return (ctx->hash != NULL || hash_begin(ctx)) &&
           EVP_DigestFinal_ex(ctx->hash, digest, &len) == 1 && len == ctx->digest->size;
}

static int token_digest_sign_final(void *vctx, unsigned char *sig, size_t *sig_len, size_t sig_size)
{
    struct signature *ctx = vctx;
    uint8_t digest[DIGEST_MAX];

    if (size_asked(ctx, sig, sig_len))
        return 1;
    if (ctx->collecting)
        return sign_data(ctx, SIGN_TOKEN_HASHES, view_bytes(&ctx->message), sig, sig_len, sig_size);
    return hash_final(ctx, digest) &&
           sign_data(ctx, SIGN_HASHED_BEFORE, (struct view){ digest, ctx->digest->size }, sig,
                     sig_len, sig_size);
}

/* A message that is there whole: no context of a hash is begun for it. */
static int sign_whole(struct signature *ctx, struct view message, unsigned char *sig,
                      size_t *sig_len, size_t sig_size)
{
    struct sign_request request;
    enum sign_column column = SIGN_TOKEN_HASHES;
    uint8_t digest[DIGEST_MAX];

    if (!signature_request(ctx, &request))
        return 0;
    if (!token_shall_hash(ctx, &request, true, message.len)) {
        if (!host_hash(&ctx->provider->host, ctx->digest, ctx->propq, message, digest))
            return 0;
        message = (struct view){ digest, ctx->digest->size };
        column = SIGN_HASHED_BEFORE;
    }
    return sign_request(ctx, &request, column, message, sig, sig_len, sig_size);
}

static int token_digest_sign(void *vctx, unsigned char *sig, size_t *sig_len, size_t sig_size,
                             const unsigned char *tbs, size_t tbs_len)
{
    struct signature *ctx = vctx;

    if (size_asked(ctx, sig, sig_len))
        return 1;
    return ctx->hash == NULL && !ctx->collecting
               ? sign_whole(ctx, (struct view){ tbs, tbs_len }, sig, sig_len, sig_size)
               : token_digest_update(ctx, tbs, tbs_len) &&
                     token_digest_sign_final(ctx, sig, sig_len, sig_size);
}

/* Gives the host's context for the same key the same parameters. */
static bool host_params(const struct signature *ctx, EVP_PKEY_CTX *host)
{
    char digest[32], mgf1[32];
    int padding = ctx->padding;
    int salt = ctx->salt == SALT_AUTO_DIGEST_MAX ? RSA_PSS_SALTLEN_AUTO : ctx->salt;
    OSSL_PARAM params[5];
    size_t count = 0;

    if (ctx->digest != NULL)
        params[count++] = OSSL_PARAM_construct_utf8_string(
            OSSL_SIGNATURE_PARAM_DIGEST,
            (char *)(uintptr_t)digest_name(ctx->digest, digest, sizeof(digest)), 0);
    if (key_type_is_rsa(ctx->key->type))
        params[count++] = OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_PAD_MODE, &padding);
    if (key_type_is_rsa(ctx->key->type) && padding == RSA_PKCS1_PSS_PADDING) {
        params[count++] = OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, &salt);
        if (ctx->mgf1 != NULL)
            params[count++] = OSSL_PARAM_construct_utf8_string(
                OSSL_SIGNATURE_PARAM_MGF1_DIGEST,
                (char *)(uintptr_t)digest_name(ctx->mgf1, mgf1, sizeof(mgf1)), 0);
    }
    params[count] = OSSL_PARAM_construct_end();
    return EVP_PKEY_CTX_set_params(host, params) == 1;
}

static EVP_PKEY_CTX *host_context(const struct signature *ctx)
{
    EVP_PKEY *host = key_host(ctx->key);

    return host != NULL
               ? EVP_PKEY_CTX_new_from_pkey(ctx->provider->host.libctx, host, HOST_PROPERTIES)
               : NULL;
}

/* A PSS signature whose salt may have any length: PKCS#11 wants to know it, so the usual ones are
 * tried. */
static bool verify_any_salt(const struct signature *ctx, struct sign_request *request,
                            struct view tbs, struct view sig)
{
    static const int lengths[] = { RSA_PSS_SALTLEN_DIGEST, RSA_PSS_SALTLEN_MAX };
    struct signature guess = *ctx;

    for (size_t i = 0; i < COUNT(lengths); i++) {
        guess.salt = lengths[i];
        if (signature_salt_length(&guess, &request->salt_len) &&
            key_verify(ctx->key, request, SIGN_HASHED_BEFORE, tbs, sig))
            return true;
    }
    return false;
}

static int verify_on_token(const struct signature *ctx, struct view tbs, struct view sig)
{
    bool any_salt = ctx->salt == RSA_PSS_SALTLEN_AUTO || ctx->salt == SALT_AUTO_DIGEST_MAX;
    struct sign_request request;

    if (!signature_request(ctx, &request))
        return false;
    return request.scheme == SIGN_RSA_PSS && any_salt
               ? verify_any_salt(ctx, &request, tbs, sig)
               : key_verify(ctx->key, &request, SIGN_HASHED_BEFORE, tbs, sig);
}

/* As the host answers: 1, 0, or less than 0 where it is no signature at all. */
static int verify_on_host(const struct signature *ctx, struct view tbs, struct view sig)
{
    HOST_WORK;
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *host = host_context(ctx);
    bool ready = host != NULL && EVP_PKEY_verify_init(host) == 1 && host_params(ctx, host);

    return ready ? EVP_PKEY_verify(host, sig.data, sig.len, tbs.data, tbs.len) : 0;
}

static int token_verify(void *vctx, const unsigned char *sig, size_t sig_len,
                        const unsigned char *tbs, size_t tbs_len)
{
    const struct signature *ctx = vctx;

    if (ctx->padding == RSA_PKCS1_PSS_PADDING && ctx->digest == NULL)
        return signature_wants_digest(ctx);
    return (key_public_on_token(ctx->key) ? verify_on_token : verify_on_host)(
        ctx, (struct view){ tbs, tbs_len }, (struct view){ sig, sig_len });
}

/* Not right into the buffer, of which libcrypto believes that it is as long as the modulus. */
static int token_verify_recover(void *vctx, unsigned char *out, size_t *out_len, size_t out_size,
                                const unsigned char *sig, size_t sig_len)
{
    HOST_WORK;
    const struct signature *ctx = vctx;
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *host = host_context(ctx);
    _cleanup_(bytes_clear) struct bytes recovered = { NULL, 0 };
    size_t len = key_signature_max(ctx->key);

    if (host == NULL || EVP_PKEY_verify_recover_init(host) != 1 || !host_params(ctx, host) ||
        !bytes_make(&recovered, len) ||
        EVP_PKEY_verify_recover(host, out != NULL ? recovered.data : NULL, &len, sig, sig_len) != 1)
        return 0;
    if (out != NULL && len > out_size)
        return refuse(ctx->provider, "cannot recover:", "the buffer is too small");
    if (out != NULL)
        memcpy(out, recovered.data, len);
    *out_len = len;
    return 1;
}

static int token_digest_verify_final(void *vctx, const unsigned char *sig, size_t sig_len)
{
    struct signature *ctx = vctx;
    uint8_t digest[DIGEST_MAX];

    return hash_final(ctx, digest) ? token_verify(ctx, sig, sig_len, digest, ctx->digest->size) : 0;
}

DOOR(INIT, signature_sign_init, held_sign_init, token_sign_init)
DOOR(MAKE, signature_sign, held_sign, token_sign)
DOOR(INIT, signature_verify_init, held_verify_init, token_verify_init)
DOOR(VERIFY, signature_verify, held_verify, token_verify)
DOOR(INIT, signature_verify_recover_init, held_verify_recover_init, token_verify_recover_init)
DOOR(MAKE, signature_verify_recover, held_verify_recover, token_verify_recover)
DOOR(DIGEST_INIT, signature_digest_sign_init, held_digest_sign_init, token_digest_sign_init)
DOOR(UPDATE, signature_digest_update, held_digest_update, token_digest_update)
DOOR(FINAL, signature_digest_sign_final, held_digest_sign_final, token_digest_sign_final)
DOOR(MAKE, signature_digest_sign, held_digest_sign, token_digest_sign)
DOOR(DIGEST_INIT, signature_digest_verify_init, held_digest_verify_init, token_digest_verify_init)
DOOR(VERIFY_FINAL, signature_digest_verify_final, held_digest_verify_final,
     token_digest_verify_final)
DOOR(GET, signature_get_ctx_params, held_get_ctx_params, signature_token_get_ctx_params)
DOOR(SET, signature_set_ctx_params, held_set_ctx_params, signature_token_set_ctx_params)
LIST_DOOR(signature_gettable_ctx_params, held_gettable_ctx_params,
          signature_token_gettable_ctx_params)
LIST_DOOR(signature_settable_ctx_params, held_settable_ctx_params,
          signature_token_settable_ctx_params)

#define SHARED                                                                                     \
    { OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))signature_newctx },                              \
        { OSSL_FUNC_SIGNATURE_FREECTX, (void (*)(void))signature_freectx },                        \
        { OSSL_FUNC_SIGNATURE_DUPCTX, (void (*)(void))signature_dupctx },                          \
        { OSSL_FUNC_SIGNATURE_SIGN_INIT, (void (*)(void))signature_sign_init },                    \
        { OSSL_FUNC_SIGNATURE_SIGN, (void (*)(void))signature_sign },                              \
        { OSSL_FUNC_SIGNATURE_VERIFY_INIT, (void (*)(void))signature_verify_init },                \
        { OSSL_FUNC_SIGNATURE_VERIFY, (void (*)(void))signature_verify },                          \
        { OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (void (*)(void))signature_digest_sign_init },      \
        { OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, (void (*)(void))signature_digest_update },       \
        { OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, (void (*)(void))signature_digest_sign_final },    \
        { OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (void (*)(void))signature_digest_sign },                \
        { OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_INIT, (void (*)(void))signature_digest_verify_init },  \
        { OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_UPDATE, (void (*)(void))signature_digest_update },     \
        { OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_FINAL,                                                 \
          (void (*)(void))signature_digest_verify_final },                                         \
        { OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, (void (*)(void))signature_get_ctx_params },          \
        { OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS,                                                 \
          (void (*)(void))signature_gettable_ctx_params },                                         \
        { OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (void (*)(void))signature_set_ctx_params },          \
    {                                                                                              \
        OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (void (*)(void))signature_settable_ctx_params     \
    }

const OSSL_DISPATCH signature_rsa_functions[] = {
    SHARED,
    { OSSL_FUNC_SIGNATURE_VERIFY_RECOVER_INIT, (void (*)(void))signature_verify_recover_init },
    { OSSL_FUNC_SIGNATURE_VERIFY_RECOVER, (void (*)(void))signature_verify_recover },
    { 0, NULL },
};

const OSSL_DISPATCH signature_ec_functions[] = {
    SHARED,
    { 0, NULL },
};

const OSSL_ALGORITHM signature_algorithms[] = { SIGNATURES_BY_KEY, { NULL, NULL, NULL, NULL } };
