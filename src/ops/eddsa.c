/* Ed25519 and Ed448 signatures (provider-signature(7)): the message goes to the token whole. */
#include <openssl/core_names.h>
#include <openssl/params.h>

#include "der/algorithm.h"
#include "ops/ops.h"
#include "ops/params.h"
#include "scope.h"

static OSSL_FUNC_signature_newctx_fn eddsa_newctx;
static OSSL_FUNC_signature_freectx_fn eddsa_freectx;
static OSSL_FUNC_signature_dupctx_fn eddsa_dupctx;
static OSSL_FUNC_signature_digest_sign_init_fn eddsa_sign_init;
static OSSL_FUNC_signature_digest_sign_fn eddsa_sign;
static OSSL_FUNC_signature_digest_verify_init_fn eddsa_verify_init;
static OSSL_FUNC_signature_digest_verify_fn eddsa_verify;
static OSSL_FUNC_signature_get_ctx_params_fn eddsa_get_ctx_params;
static OSSL_FUNC_signature_gettable_ctx_params_fn eddsa_gettable_ctx_params;

struct eddsa {
    struct provider *provider;
    struct key *key;
};

static void *eddsa_newctx(void *provctx, const char *propq)
{
    struct eddsa *ctx = OPENSSL_zalloc(sizeof(*ctx));

    (void)propq;
    if (ctx != NULL)
        ctx->provider = provctx;
    return ctx;
}

static void eddsa_freectx(void *vctx)
{
    struct eddsa *ctx = vctx;

    if (ctx == NULL)
        return;
    key_free(ctx->key);
    OPENSSL_free(ctx);
}

static void *eddsa_dupctx(void *vctx)
{
    const struct eddsa *ctx = vctx;
    struct eddsa *copy = eddsa_newctx(ctx->provider, NULL);

    if (copy != NULL && ctx->key != NULL)
        copy->key = key_ref(ctx->key);
    return copy;
}

static int begin(struct eddsa *ctx, const char *digest, struct key *key)
{
    if (digest != NULL && digest[0] != '\0')
        return refuse(ctx->provider, "EdDSA takes no digest:", "it hashes the message itself");
    if (key == NULL)
        return ctx->key != NULL ||
               refuse(ctx->provider, "cannot begin a signature:", "no key is set");
    key_free(ctx->key);
    ctx->key = key_ref(key);
    return 1;
}

static int eddsa_sign_init(void *vctx, const char *digest, void *key, const OSSL_PARAM params[])
{
    struct eddsa *ctx = vctx;

    (void)params;
    if (!begin(ctx, digest, key))
        return 0;
    return key_is_private(ctx->key) ||
           refuse(ctx->provider, "cannot sign:", "this is a public key");
}

static int eddsa_verify_init(void *vctx, const char *digest, void *key, const OSSL_PARAM params[])
{
    (void)params;
    return begin(vctx, digest, key);
}

static int eddsa_sign(void *vctx, unsigned char *sig, size_t *sig_len, size_t sig_size,
                      const unsigned char *message, size_t message_len)
{
    static const struct sign_request request = { .scheme = SIGN_EDDSA };
    const struct eddsa *ctx = vctx;
    size_t size = key_signature_max(ctx->key);

    if (sig == NULL) {
        *sig_len = size;
        return 1;
    }
    if (sig_size < size)
        return refuse(ctx->provider, "cannot sign:", "the buffer for the signature is too small");
    return key_sign(ctx->key, &request, SIGN_TOKEN_HASHES, (struct view){ message, message_len },
                    sig, sig_len);
}

static void md_ctx_scoped(EVP_MD_CTX **ctx)
{
    EVP_MD_CTX_free(*ctx);
}

static int eddsa_verify(void *vctx, const unsigned char *sig, size_t sig_len,
                        const unsigned char *message, size_t message_len)
{
    const struct eddsa *ctx = vctx;
    _cleanup_(md_ctx_scoped) EVP_MD_CTX *host = EVP_MD_CTX_new();
    EVP_PKEY *key = key_host(ctx->key);

    return host != NULL && key != NULL &&
           EVP_DigestVerifyInit_ex(host, NULL, NULL, ctx->provider->host.libctx, HOST_PROPERTIES,
                                   key, NULL) == 1 &&
           EVP_DigestVerify(host, sig, sig_len, message, message_len) == 1;
}

static int eddsa_get_ctx_params(void *vctx, OSSL_PARAM params[])
{
    const struct eddsa *ctx = vctx;
    OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID);
    uint8_t der[ALGORITHM_IDENTIFIER_MAX];
    size_t len;

    if (p == NULL)
        return 1;
    len = ctx->key != NULL ? algorithm_write(ctx->key->curve->oid, false, der, sizeof(der)) : 0;
    return len != 0 && OSSL_PARAM_set_octet_string(p, der, len);
}

static const OSSL_PARAM *eddsa_gettable_ctx_params(void *vctx, void *provctx)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)vctx;
    (void)provctx;
    return params;
}

const OSSL_DISPATCH eddsa_functions[] = {
    { OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))eddsa_newctx },
    { OSSL_FUNC_SIGNATURE_FREECTX, (void (*)(void))eddsa_freectx },
    { OSSL_FUNC_SIGNATURE_DUPCTX, (void (*)(void))eddsa_dupctx },
    { OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (void (*)(void))eddsa_sign_init },
    { OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (void (*)(void))eddsa_sign },
    { OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_INIT, (void (*)(void))eddsa_verify_init },
    { OSSL_FUNC_SIGNATURE_DIGEST_VERIFY, (void (*)(void))eddsa_verify },
    { OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, (void (*)(void))eddsa_get_ctx_params },
    { OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, (void (*)(void))eddsa_gettable_ctx_params },
    { 0, NULL },
};
