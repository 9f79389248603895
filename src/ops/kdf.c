/* HKDF, and TLS 1.3's (RFC 8446 §7.1), with secret keys of a token (provider-kdf(7)), under names
 * of their own as the ciphers have. */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "base/scope.h"
#include "key/hkdf.h"
#include "module/call.h"
#include "ops/algorithms.h"
#include "ops/context.h"
#include "ops/params.h"
#include "ops/skey.h"
#include "pkcs11_bridge.h"

static OSSL_FUNC_kdf_newctx_fn hkdf_newctx;
static OSSL_FUNC_kdf_newctx_fn tls13_newctx;
static OSSL_FUNC_kdf_freectx_fn kdf_freectx;
static OSSL_FUNC_kdf_reset_fn kdf_reset;
static OSSL_FUNC_kdf_dupctx_fn kdf_dupctx;
static OSSL_FUNC_kdf_derive_fn kdf_derive;
static OSSL_FUNC_kdf_set_ctx_params_fn kdf_set_ctx_params;
static OSSL_FUNC_kdf_settable_ctx_params_fn hkdf_settable_ctx_params;
static OSSL_FUNC_kdf_settable_ctx_params_fn tls13_settable_ctx_params;
static OSSL_FUNC_kdf_get_ctx_params_fn kdf_get_ctx_params;
static OSSL_FUNC_kdf_gettable_ctx_params_fn kdf_gettable_ctx_params;
static OSSL_FUNC_kdf_set_skey_fn kdf_set_skey;
static OSSL_FUNC_kdf_derive_skey_fn kdf_derive_skey;

struct kdf {
    struct provider *provider;
    struct key *key;
    const struct digest *digest;
    bool tls13;
    int mode;
    struct bytes salt, info;
    struct bytes prefix, label, data; /* of TLS 1.3, of which info is made */
    struct bytes expanded;            /* the salt, likewise */
};

static void *kdf_newctx(void *provctx, bool tls13)
{
    struct kdf *ctx = OPENSSL_zalloc(sizeof(*ctx));

    if (ctx != NULL)
        *ctx = (struct kdf){ .provider = provctx, .tls13 = tls13 };
    return ctx;
}

static void *hkdf_newctx(void *provctx)
{
    return kdf_newctx(provctx, false);
}

static void *tls13_newctx(void *provctx)
{
    return kdf_newctx(provctx, true);
}

#define SECRETS(OWN) OWN(secret, salt) OWN(secret, info) OWN(secret, expanded)
#define LABEL(OWN)   OWN(bytes, prefix) OWN(bytes, label) OWN(bytes, data)
#define OWNED(OWN)   OWN(key, key) SECRETS(OWN) LABEL(OWN)

CONTEXT_FREE(kdf_freectx, struct kdf, OWNED)
CONTEXT_DUP(kdf_dupctx, kdf_freectx, struct kdf, OWNED)

static void kdf_reset(void *vctx)
{
    struct kdf *ctx = vctx;

    OWNED(CONTEXT_END)
    *ctx = (struct kdf){ .provider = ctx->provider, .tls13 = ctx->tls13 };
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

/* HkdfLabel, with what the parameters say and this for its context. */
static int label_make(struct kdf *ctx, size_t len, struct view context)
{
    bytes_clear(&ctx->info);
    return hkdf_label(&ctx->info, len, view_bytes(&ctx->prefix), view_bytes(&ctx->label),
                      context) ||
           no(ctx, "prefix and label, or the data, are longer than 255 bytes, or what is derived "
                   "than 65535");
}

/* HKDF-Expand to as many bytes as the digest has, on the host. */
static bool host_expand(struct kdf *ctx, struct view key, struct view info, uint8_t *out)
{
    HOST_WORK;
    _cleanup_(kdf_scoped) EVP_KDF *hkdf =
        EVP_KDF_fetch(ctx->provider->host.libctx, OSSL_KDF_NAME_HKDF, HOST_PROPERTIES);
    _cleanup_(kdf_ctx_scoped) EVP_KDF_CTX *host = hkdf != NULL ? EVP_KDF_CTX_new(hkdf) : NULL;
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    char name[32];
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(
            OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)digest_name(ctx->digest, name, sizeof(name)),
            0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)key.data, key.len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info.data,
                                          info.len),
        OSSL_PARAM_construct_end(),
    };

    return host != NULL && EVP_KDF_derive(host, out, ctx->digest->size, params) == 1;
}

/* The salt of an extraction is what the secret before it, which came as bytes, expands to with the
 * label and the hash of nothing; there is none before the first. */
static int salt_make(struct kdf *ctx)
{
    const struct view none = { NULL, 0 };
    const size_t size = ctx->digest->size;
    uint8_t hash[DIGEST_MAX];

    bytes_wipe(&ctx->expanded);
    if (ctx->salt.len == 0)
        return 1;
    return (host_hash(&ctx->provider->host, ctx->digest, NULL, none, hash) &&
            label_make(ctx, size, (struct view){ hash, size }) &&
            bytes_make(&ctx->expanded, size) &&
            host_expand(ctx, view_bytes(&ctx->salt), view_bytes(&ctx->info), ctx->expanded.data)) ||
           no(ctx, "the salt could not be expanded");
}

static int tls13_make(struct kdf *ctx, size_t len)
{
    switch (ctx->mode) {
    case EVP_KDF_HKDF_MODE_EXTRACT_ONLY:
        return salt_make(ctx);
    case EVP_KDF_HKDF_MODE_EXPAND_ONLY:
        return label_make(ctx, len, view_bytes(&ctx->data));
    default:
        return no(ctx, "TLS 1.3 either extracts or expands: EXTRACT_ONLY, EXPAND_ONLY");
    }
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
    if (ctx->tls13 && !tls13_make(ctx, len))
        return 0;
    *request = (struct hkdf_request){ .digest = ctx->digest,
                                      .extract = ctx->mode != EVP_KDF_HKDF_MODE_EXPAND_ONLY,
                                      .expand = ctx->mode != EVP_KDF_HKDF_MODE_EXTRACT_ONLY,
                                      .salt = view_bytes(ctx->tls13 ? &ctx->expanded : &ctx->salt),
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

    return digest_param_take(ctx->provider, p, "HKDF", &ctx->digest);
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

#define COMMON(ROW)                                                                                \
    ROW(OSSL_KDF_PARAM_DIGEST, utf8_string, set_digest, WHOLE)                                     \
    ROW(OSSL_KDF_PARAM_MODE, int, set_mode, WHOLE)                                                 \
    ROW(OSSL_KDF_PARAM_SALT, octet_string, param_set_octets, FIELD(struct kdf, salt, struct bytes))

#define SETTABLE(ROW)                                                                              \
    COMMON(ROW)                                                                                    \
    ROW(OSSL_KDF_PARAM_INFO, octet_string, param_set_octets,                                       \
        FIELD(struct kdf, info, struct bytes))                                                     \
    ROW(OSSL_KDF_PARAM_KEY, octet_string, set_key, WHOLE)

#define TLS13_SETTABLE(ROW)                                                                        \
    COMMON(ROW)                                                                                    \
    ROW(OSSL_KDF_PARAM_PREFIX, octet_string, param_set_octets,                                     \
        FIELD(struct kdf, prefix, struct bytes))                                                   \
    ROW(OSSL_KDF_PARAM_LABEL, octet_string, param_set_octets,                                      \
        FIELD(struct kdf, label, struct bytes))                                                    \
    ROW(OSSL_KDF_PARAM_DATA, octet_string, param_set_octets,                                       \
        FIELD(struct kdf, data, struct bytes))                                                     \
    ROW(OSSL_KDF_PARAM_KEY, octet_string, set_key, WHOLE)

#define GETTABLE(ROW) ROW(OSSL_KDF_PARAM_SIZE, size_t, get_size, WHOLE)

PARAM_SETTERS(setters, SETTABLE);
PARAM_LIST(settable, SETTABLE);
PARAM_SETTERS(tls13_setters, TLS13_SETTABLE);
PARAM_LIST(tls13_settable, TLS13_SETTABLE);
PARAMS_GET(kdf, GETTABLE)

static int kdf_set_ctx_params(void *vctx, const OSSL_PARAM params[])
{
    const struct kdf *ctx = vctx;

    return params_set(ctx->tls13 ? tls13_setters : setters, vctx, params);
}

PARAM_LISTING(hkdf_settable_ctx_params, settable)
PARAM_LISTING(tls13_settable_ctx_params, tls13_settable)

#define FUNCTIONS(newctx, settable)                                                                \
    {                                                                                              \
        { OSSL_FUNC_KDF_NEWCTX, (void (*)(void))newctx },                                          \
            { OSSL_FUNC_KDF_FREECTX, (void (*)(void))kdf_freectx },                                \
            { OSSL_FUNC_KDF_RESET, (void (*)(void))kdf_reset },                                    \
            { OSSL_FUNC_KDF_DUPCTX, (void (*)(void))kdf_dupctx },                                  \
            { OSSL_FUNC_KDF_DERIVE, (void (*)(void))kdf_derive },                                  \
            { OSSL_FUNC_KDF_SET_SKEY, (void (*)(void))kdf_set_skey },                              \
            { OSSL_FUNC_KDF_DERIVE_SKEY, (void (*)(void))kdf_derive_skey },                        \
            { OSSL_FUNC_KDF_SET_CTX_PARAMS, (void (*)(void))kdf_set_ctx_params },                  \
            { OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, (void (*)(void))settable },                       \
            { OSSL_FUNC_KDF_GET_CTX_PARAMS, (void (*)(void))kdf_get_ctx_params },                  \
            { OSSL_FUNC_KDF_GETTABLE_CTX_PARAMS, (void (*)(void))kdf_gettable_ctx_params },        \
            { 0, NULL },                                                                           \
    }

static const OSSL_DISPATCH hkdf_functions[] = FUNCTIONS(hkdf_newctx, hkdf_settable_ctx_params);
static const OSSL_DISPATCH tls13_functions[] = FUNCTIONS(tls13_newctx, tls13_settable_ctx_params);

const OSSL_ALGORITHM kdf_algorithms[] = {
    { PKCS11_BRIDGE_CIPHER_PREFIX "HKDF", PROPERTIES, hkdf_functions, "HKDF with keys of a token" },
    { PKCS11_BRIDGE_CIPHER_PREFIX "TLS13-KDF", PROPERTIES, tls13_functions,
      "TLS 1.3's HKDF with keys of a token" },
    { NULL, NULL, NULL, NULL },
};
