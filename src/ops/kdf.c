/* HKDF with secret keys of a token (provider-kdf(7)), under a name of its own as the ciphers have.
 */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "base/scope.h"
#include "key/hkdf.h"
#include "ops/algorithms.h"
#include "ops/params.h"
#include "ops/skey.h"
#include "pkcs11_bridge.h"

static OSSL_FUNC_kdf_newctx_fn kdf_newctx;
static OSSL_FUNC_kdf_freectx_fn kdf_freectx;
static OSSL_FUNC_kdf_reset_fn kdf_reset;
static OSSL_FUNC_kdf_dupctx_fn kdf_dupctx;
static OSSL_FUNC_kdf_derive_fn kdf_derive;
static OSSL_FUNC_kdf_set_ctx_params_fn kdf_set_ctx_params;
static OSSL_FUNC_kdf_settable_ctx_params_fn kdf_settable_ctx_params;
static OSSL_FUNC_kdf_get_ctx_params_fn kdf_get_ctx_params;
static OSSL_FUNC_kdf_gettable_ctx_params_fn kdf_gettable_ctx_params;
static OSSL_FUNC_kdf_set_skey_fn kdf_set_skey;
static OSSL_FUNC_kdf_derive_skey_fn kdf_derive_skey;

struct kdf {
    struct provider *provider;
    struct key *key;
    const struct digest *digest;
    int mode;
    struct bytes salt, info;
};

static void *kdf_newctx(void *provctx)
{
    struct kdf *ctx = OPENSSL_zalloc(sizeof(*ctx));

    if (ctx != NULL)
        ctx->provider = provctx;
    return ctx;
}

static void kdf_reset(void *vctx)
{
    KEEP_ERRNO;
    struct kdf *ctx = vctx;

    key_free(ctx->key);
    bytes_wipe(&ctx->salt);
    bytes_wipe(&ctx->info);
    *ctx = (struct kdf){ .provider = ctx->provider };
}

static void kdf_freectx(void *ctx)
{
    if (ctx != NULL)
        kdf_reset(ctx);
    OPENSSL_free(ctx);
}

static void kdf_scoped(struct kdf **ctx)
{
    kdf_freectx(*ctx);
}

static void *kdf_dupctx(void *vctx)
{
    const struct kdf *ctx = vctx;
    _cleanup_(kdf_scoped) struct kdf *copy = OPENSSL_memdup(ctx, sizeof(*ctx));

    if (copy == NULL)
        return NULL;
    copy->salt = copy->info = (struct bytes){ NULL, 0 };
    copy->key = ctx->key != NULL ? key_ref(ctx->key) : NULL;
    return bytes_copy(&copy->salt, &ctx->salt) && bytes_copy(&copy->info, &ctx->info) ? MOVE(copy)
                                                                                      : NULL;
}

static int no(const struct kdf *ctx, const char *why)
{
    return refuse(ctx->provider, "cannot derive:", why);
}

static int kdf_set_skey(void *vctx, void *key, const char *name)
{
    KEEP_ERRNO;
    struct kdf *ctx = vctx;

    if (key == NULL || strcmp(name, OSSL_KDF_PARAM_KEY) != 0)
        return no(ctx, "a key of a token is the key, and not another parameter");
    key_free(ctx->key);
    ctx->key = key_ref(key);
    return 1;
}

/* What an extraction gives is as long as the digest. */
static int request_make(struct kdf *ctx, size_t len, const OSSL_PARAM params[],
                        struct hkdf_request *request)
{
    if (!kdf_set_ctx_params(ctx, params))
        return 0;
    if (ctx->key == NULL)
        return no(ctx, "no key of a token is set (EVP_KDF_CTX_set_SKEY)");
    if (ctx->digest == NULL)
        return no(ctx, "no digest is set");
    *request = (struct hkdf_request){ .digest = ctx->digest,
                                      .extract = ctx->mode != EVP_KDF_HKDF_MODE_EXPAND_ONLY,
                                      .expand = ctx->mode != EVP_KDF_HKDF_MODE_EXTRACT_ONLY,
                                      .salt = view_bytes(&ctx->salt),
                                      .info = view_bytes(&ctx->info) };
    return len != 0 && (request->expand || len == ctx->digest->size)
               ? 1
               : no(ctx, "an extraction is as long as the digest");
}

static int kdf_derive(void *vctx, unsigned char *out, size_t len, const OSSL_PARAM params[])
{
    KEEP_ERRNO;
    struct kdf *ctx = vctx;
    struct hkdf_request request;

    return request_make(ctx, len, params, &request) && key_hkdf(ctx->key, &request, out, len);
}

/* For another provider's key management: as bytes, where the token gives them. */
static void *derive_for(struct kdf *ctx, const struct hkdf_request *request, size_t len,
                        void *provctx, OSSL_FUNC_skeymgmt_import_fn *import)
{
    _cleanup_(bytes_wipe) struct bytes bytes = { NULL, 0 };

    return bytes_make(&bytes, len) && key_hkdf(ctx->key, request, bytes.data, len)
               ? skey_import_bytes(import, provctx, view_bytes(&bytes))
               : NULL;
}

static void *kdf_derive_skey(void *vctx, const char *type, void *provctx,
                             OSSL_FUNC_skeymgmt_import_fn *import, size_t len,
                             const OSSL_PARAM params[])
{
    KEEP_ERRNO;
    struct kdf *ctx = vctx;
    struct hkdf_request request;

    if (!request_make(ctx, len, params, &request))
        return NULL;
    if (provctx != ctx->provider)
        return derive_for(ctx, &request, len, provctx, import);
    return key_hkdf_key(ctx->key, &request, skey_kind(type), len);
}

static int set_digest(void *vctx, const OSSL_PARAM *p)
{
    struct kdf *ctx = vctx;

    ctx->digest = digest_param_get(ctx->provider, p, "HKDF");
    return ctx->digest != NULL;
}

static int set_mode(void *vctx, const OSSL_PARAM *p)
{
    static const struct named_number modes[] = {
        { "EXTRACT_AND_EXPAND", EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND },
        { "EXTRACT_ONLY", EVP_KDF_HKDF_MODE_EXTRACT_ONLY },
        { "EXPAND_ONLY", EVP_KDF_HKDF_MODE_EXPAND_ONLY },
        { NULL, 0 },
    };
    struct kdf *ctx = vctx;

    return (named_number_get(p, modes, &ctx->mode) &&
            named_number_name(modes, ctx->mode) != NULL) ||
           no(ctx, "the mode of HKDF is not known");
}

static int set_key(void *ctx, const OSSL_PARAM *p)
{
    (void)p;
    return no(ctx, "this is for keys of a token (EVP_KDF_CTX_set_SKEY)");
}

static int get_size(const void *vctx, OSSL_PARAM *p)
{
    const struct kdf *ctx = vctx;

    return OSSL_PARAM_set_size_t(
        p, ctx->mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY && ctx->digest != NULL ? ctx->digest->size
                                                                              : SIZE_MAX);
}

#define SETTABLE(ROW)                                                                              \
    ROW(OSSL_KDF_PARAM_DIGEST, utf8_string, set_digest, WHOLE)                                     \
    ROW(OSSL_KDF_PARAM_MODE, int, set_mode, WHOLE)                                                 \
    ROW(OSSL_KDF_PARAM_SALT, octet_string, param_set_octets,                                       \
        FIELD(struct kdf, salt, struct bytes))                                                     \
    ROW(OSSL_KDF_PARAM_INFO, octet_string, param_set_octets,                                       \
        FIELD(struct kdf, info, struct bytes))                                                     \
    ROW(OSSL_KDF_PARAM_KEY, octet_string, set_key, WHOLE)

#define GETTABLE(ROW) ROW(OSSL_KDF_PARAM_SIZE, size_t, get_size, WHOLE)

PARAM_SETTERS(setters, SETTABLE);
PARAM_GETTERS(getters, GETTABLE);
PARAM_LIST(settable, SETTABLE);
PARAM_LIST(gettable, GETTABLE);

static int kdf_set_ctx_params(void *ctx, const OSSL_PARAM params[])
{
    return params_set(setters, ctx, params);
}

static int kdf_get_ctx_params(void *ctx, OSSL_PARAM params[])
{
    return params_get(getters, ctx, params);
}

static const OSSL_PARAM *kdf_settable_ctx_params(void *ctx, void *provctx)
{
    (void)ctx;
    (void)provctx;
    return settable;
}

static const OSSL_PARAM *kdf_gettable_ctx_params(void *ctx, void *provctx)
{
    (void)ctx;
    (void)provctx;
    return gettable;
}

static const OSSL_DISPATCH hkdf_functions[] = {
    { OSSL_FUNC_KDF_NEWCTX, (void (*)(void))kdf_newctx },
    { OSSL_FUNC_KDF_FREECTX, (void (*)(void))kdf_freectx },
    { OSSL_FUNC_KDF_RESET, (void (*)(void))kdf_reset },
    { OSSL_FUNC_KDF_DUPCTX, (void (*)(void))kdf_dupctx },
    { OSSL_FUNC_KDF_DERIVE, (void (*)(void))kdf_derive },
    { OSSL_FUNC_KDF_SET_SKEY, (void (*)(void))kdf_set_skey },
    { OSSL_FUNC_KDF_DERIVE_SKEY, (void (*)(void))kdf_derive_skey },
    { OSSL_FUNC_KDF_SET_CTX_PARAMS, (void (*)(void))kdf_set_ctx_params },
    { OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, (void (*)(void))kdf_settable_ctx_params },
    { OSSL_FUNC_KDF_GET_CTX_PARAMS, (void (*)(void))kdf_get_ctx_params },
    { OSSL_FUNC_KDF_GETTABLE_CTX_PARAMS, (void (*)(void))kdf_gettable_ctx_params },
    { 0, NULL },
};

const OSSL_ALGORITHM kdf_algorithms[] = {
    { PKCS11_BRIDGE_CIPHER_PREFIX "HKDF", PROPERTIES, hkdf_functions, "HKDF with keys of a token" },
    { NULL, NULL, NULL, NULL },
};
