/* ECDH, X25519 and X448 (provider-keyexch(7)): the token derives the shared secret, X9.63's key
 * derivation function runs on the host. */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "base/scope.h"
#include "key/derive.h"
#include "key/doubt.h"
#include "module/call.h"
#include "ops/algorithms.h"
#include "ops/context.h"
#include "ops/held.h"
#include "ops/ops.h"
#include "ops/params.h"
#include "ops/skey.h"

static OSSL_FUNC_keyexch_newctx_fn exchange_newctx;
static OSSL_FUNC_keyexch_freectx_fn exchange_freectx;
static OSSL_FUNC_keyexch_dupctx_fn exchange_dupctx;
static OSSL_FUNC_keyexch_init_fn exchange_init;
static OSSL_FUNC_keyexch_set_peer_fn exchange_set_peer;
static OSSL_FUNC_keyexch_derive_fn exchange_derive;
static OSSL_FUNC_keyexch_derive_skey_fn exchange_derive_skey;
static OSSL_FUNC_keyexch_get_ctx_params_fn exchange_get_ctx_params;
static OSSL_FUNC_keyexch_gettable_ctx_params_fn exchange_gettable_ctx_params;
static OSSL_FUNC_keyexch_set_ctx_params_fn exchange_set_ctx_params;
static OSSL_FUNC_keyexch_settable_ctx_params_fn exchange_settable_ctx_params;

static OSSL_FUNC_keyexch_set_ctx_params_fn token_set_ctx_params;

#define SECRET_LEN_MAX 66

struct exchange {
    struct held held; /* first */
    struct provider *provider;
    struct key *key, *peer;
    int cofactor; /* -1: as the key has it, which is no; 0; 1: the same, since it is 1 */
    bool kdf;     /* X9.63 */
    const struct digest *digest;
    struct bytes ukm;
    size_t out_len;
};

static void *exchange_newctx(void *provctx)
{
    struct exchange *ctx = OPENSSL_zalloc(sizeof(*ctx));

    if (ctx != NULL) {
        ctx->provider = provctx;
        ctx->cofactor = -1;
    }
    return ctx;
}

#define OWNED(OWN) OWN(held, held) OWN(key, key) OWN(key, peer) OWN(bytes, ukm)

CONTEXT_FREE(exchange_freectx, struct exchange, OWNED)
CONTEXT_DUP(exchange_dupctx, exchange_freectx, struct exchange, OWNED)

/* X25519 and X448 have none, and nothing of what follows. */
static bool has_params(const struct exchange *ctx)
{
    return ctx->key != NULL && ctx->key->type == KEY_EC;
}

static int token_init(void *vctx, void *vkey, const OSSL_PARAM params[])
{
    struct exchange *ctx = vctx;
    struct key *key = vkey;

    if (!key_is_private(key))
        return refuse(ctx->provider, "cannot derive:", "this is a public key");
    if (!key_take(&ctx->key, key, true))
        return 0;
    return !has_params(ctx) || token_set_ctx_params(ctx, params);
}

static int token_set_peer(void *vctx, void *vpeer)
{
    struct exchange *ctx = vctx;
    struct key *peer = vpeer;

    if (ctx->key == NULL || peer->curve != ctx->key->curve || !key_has_public(peer))
        return refuse(ctx->provider,
                      "cannot derive:", "the peer's key is on another curve, or none");
    return key_take(&ctx->peer, peer, false);
}

static int set_cofactor(void *vctx, const OSSL_PARAM *p)
{
    struct exchange *ctx = vctx;
    int mode = 0;

    if (!OSSL_PARAM_get_int(p, &mode) || mode < -1 || mode > 1)
        return 0;
    ctx->cofactor = mode;
    return 1;
}

static int set_kdf(void *vctx, const OSSL_PARAM *p)
{
    struct exchange *ctx = vctx;
    const char *name = NULL;
    bool x963;

    if (!text_param_get(p, &name))
        return 0;
    x963 = strcmp(name, OSSL_KDF_NAME_X963KDF) == 0;
    if (!x963 && name[0] != '\0')
        return refuse(ctx->provider, "the KDF is not supported:", name);
    ctx->kdf = x963;
    return 1;
}

static int set_digest(void *vctx, const OSSL_PARAM *p)
{
    struct exchange *ctx = vctx;
    return digest_param_take(ctx->provider, p, "a KDF", &ctx->digest);
}

/* A FIELD of the context */
#define EXCHANGE(member, type) FIELD(struct exchange, member, type)

#define SETTABLE(ROW)                                                                              \
    ROW(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, int, set_cofactor, WHOLE)                       \
    ROW(OSSL_EXCHANGE_PARAM_KDF_TYPE, utf8_string, set_kdf, WHOLE)                                 \
    ROW(OSSL_EXCHANGE_PARAM_KDF_DIGEST, utf8_string, set_digest, WHOLE)                            \
    ROW(OSSL_EXCHANGE_PARAM_KDF_DIGEST_PROPS, utf8_string, param_ignore, WHOLE)                    \
    ROW(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, size_t, param_set_size, EXCHANGE(out_len, size_t))         \
    ROW(OSSL_EXCHANGE_PARAM_KDF_UKM, octet_string, param_set_octets, EXCHANGE(ukm, struct bytes))

PARAM_SETTERS(setters, SETTABLE);
PARAM_LIST(settable, SETTABLE);

static int token_set_ctx_params(void *vctx, const OSSL_PARAM params[])
{
    struct exchange *ctx = vctx;

    return has_params(ctx) ? params_set(setters, ctx, params)
                           : refuse(ctx->provider, "nothing can be set of", "this key agreement");
}

static const OSSL_PARAM *token_settable_ctx_params(void *vctx, void *provctx)
{
    (void)provctx;
    return vctx == NULL || has_params(vctx) ? settable : settable + COUNT(settable) - 1;
}

static int get_cofactor(const void *vctx, OSSL_PARAM *p)
{
    const struct exchange *ctx = vctx;

    return OSSL_PARAM_set_int(p, ctx->cofactor == 1);
}

static int get_kdf(const void *vctx, OSSL_PARAM *p)
{
    const struct exchange *ctx = vctx;

    return OSSL_PARAM_set_utf8_string(p, ctx->kdf ? OSSL_KDF_NAME_X963KDF : "");
}

#define GETTABLE(ROW)                                                                              \
    ROW(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, int, get_cofactor, WHOLE)                       \
    ROW(OSSL_EXCHANGE_PARAM_KDF_TYPE, utf8_string, get_kdf, WHOLE)                                 \
    ROW(OSSL_EXCHANGE_PARAM_KDF_DIGEST, utf8_string, param_get_digest,                             \
        EXCHANGE(digest, const struct digest *))                                                   \
    ROW(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, size_t, param_get_size, EXCHANGE(out_len, size_t))         \
    ROW(OSSL_EXCHANGE_PARAM_KDF_UKM, octet_ptr, param_get_octets, EXCHANGE(ukm, struct bytes))

PARAM_GETTERS(getters, GETTABLE);
PARAM_LIST(gettable, GETTABLE);

static int token_get_ctx_params(void *ctx, OSSL_PARAM params[])
{
    return !has_params(ctx) || params_get(getters, ctx, params);
}

static const OSSL_PARAM *token_gettable_ctx_params(void *vctx, void *provctx)
{
    (void)provctx;
    return vctx == NULL || has_params(vctx) ? gettable : gettable + COUNT(gettable) - 1;
}

/* ANSI X9.63 with SHA-n, SEC 1 §3.6.1 */
static bool kdf(const struct exchange *ctx, uint8_t *secret, size_t secret_len, unsigned char *out)
{
    HOST_WORK;
    _cleanup_(kdf_scoped) EVP_KDF *x963 =
        EVP_KDF_fetch(ctx->provider->host.libctx, OSSL_KDF_NAME_X963KDF, NULL);
    _cleanup_(kdf_ctx_scoped) EVP_KDF_CTX *kdf_ctx = x963 != NULL ? EVP_KDF_CTX_new(x963) : NULL;
    char digest[32];
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(
            OSSL_KDF_PARAM_DIGEST,
            (char *)(uintptr_t)digest_name(ctx->digest, digest, sizeof(digest)), 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, secret, secret_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, ctx->ukm.data, ctx->ukm.len),
        OSSL_PARAM_construct_end(),
    };

    return kdf_ctx != NULL && EVP_KDF_derive(kdf_ctx, out, ctx->out_len, params) == 1;
}

static int token_derive(void *vctx, unsigned char *out, size_t *out_len, size_t out_size)
{
    struct exchange *ctx = vctx;
    uint8_t secret[SECRET_LEN_MAX];
    size_t secret_len = 0, size;
    bool size_of_kdf = out == NULL && ctx->kdf, ok;

    if (ctx->key == NULL || (ctx->peer == NULL && !size_of_kdf))
        return refuse(ctx->provider, "cannot derive:", "no key or no peer is set");
    size = ctx->kdf ? ctx->out_len : curve_field_bytes(ctx->key->curve);
    if (out == NULL) {
        *out_len = size;
        return 1;
    }
    if (ctx->kdf && ctx->digest == NULL)
        return refuse(ctx->provider, "cannot derive:", "the KDF has no digest");
    if (out_size < (ctx->kdf || !has_params(ctx) ? size : 1))
        return refuse(ctx->provider, "cannot derive:", "the buffer is too small");
    if (!key_derive(ctx->key, ctx->peer, secret, &secret_len))
        return 0;
    if (!ctx->kdf) /* of ECDH, a smaller buffer gets the beginning, as from the default provider */
        size = secret_len < out_size ? secret_len : out_size;
    ok = !ctx->kdf || kdf(ctx, secret, secret_len, out);
    if (!ctx->kdf)
        memcpy(out, secret, size);
    OPENSSL_cleanse(secret, sizeof(secret));
    *out_len = size;
    return ok;
}

static void *token_derive_skey(struct exchange *ctx, const struct secret_kind *kind, size_t len)
{
    const char *why = NULL;

    if (ctx->key == NULL || ctx->peer == NULL)
        why = "no key or no peer is set";
    else if (ctx->kdf)
        why = "the KDF works on bytes, which do not leave the token: derive without it, and then "
              "with HKDF from what comes of it";
    if (why == NULL)
        return key_derive_key(ctx->key, ctx->peer, kind, len);
    (void)refuse(ctx->provider, "cannot derive a key:", why);
    return NULL;
}

/* For another provider's key management, and of a key on the host: as bytes. */
static void *derive_bytes_for(struct exchange *ctx, void *provctx,
                              OSSL_FUNC_skeymgmt_import_fn *import, size_t len)
{
    _cleanup_(bytes_wipe) struct bytes bytes = { NULL, 0 };
    size_t got = len;

    if (!bytes_make(&bytes, len) || !exchange_derive(ctx, bytes.data, &got, len))
        return NULL;
    if (got == len)
        return skey_import_bytes(import, provctx, view_bytes(&bytes));
    (void)refuse(ctx->provider, "cannot derive a key:", "what is derived has another length");
    return NULL;
}

static void *exchange_derive_skey(void *vctx, const char *type, void *provctx,
                                  OSSL_FUNC_skeymgmt_import_fn *import, size_t len,
                                  const OSSL_PARAM params[])
{
    KEEP_ERRNO;
    struct exchange *ctx = vctx;

    if (params != NULL && !exchange_set_ctx_params(ctx, params))
        return NULL;
    return provctx == ctx->provider && !held_is(ctx) ? token_derive_skey(ctx, skey_kind(type), len)
                                                     : derive_bytes_for(ctx, provctx, import, len);
}

DOOR(INIT, exchange_init, held_derive_init, token_init)
DOOR(PEER, exchange_set_peer, held_set_peer, token_set_peer)
DOOR(FINAL, exchange_derive, held_derive, token_derive)
DOOR(GET, exchange_get_ctx_params, held_get_ctx_params, token_get_ctx_params)
DOOR(SET, exchange_set_ctx_params, held_set_ctx_params, token_set_ctx_params)
LIST_DOOR(exchange_gettable_ctx_params, held_gettable_ctx_params, token_gettable_ctx_params)
LIST_DOOR(exchange_settable_ctx_params, held_settable_ctx_params, token_settable_ctx_params)

static const OSSL_DISPATCH exchange_functions[] = {
    { OSSL_FUNC_KEYEXCH_NEWCTX, (void (*)(void))exchange_newctx },
    { OSSL_FUNC_KEYEXCH_FREECTX, (void (*)(void))exchange_freectx },
    { OSSL_FUNC_KEYEXCH_DUPCTX, (void (*)(void))exchange_dupctx },
    { OSSL_FUNC_KEYEXCH_INIT, (void (*)(void))exchange_init },
    { OSSL_FUNC_KEYEXCH_SET_PEER, (void (*)(void))exchange_set_peer },
    { OSSL_FUNC_KEYEXCH_DERIVE, (void (*)(void))exchange_derive },
    { OSSL_FUNC_KEYEXCH_DERIVE_SKEY, (void (*)(void))exchange_derive_skey },
    { OSSL_FUNC_KEYEXCH_GET_CTX_PARAMS, (void (*)(void))exchange_get_ctx_params },
    { OSSL_FUNC_KEYEXCH_GETTABLE_CTX_PARAMS, (void (*)(void))exchange_gettable_ctx_params },
    { OSSL_FUNC_KEYEXCH_SET_CTX_PARAMS, (void (*)(void))exchange_set_ctx_params },
    { OSSL_FUNC_KEYEXCH_SETTABLE_CTX_PARAMS, (void (*)(void))exchange_settable_ctx_params },
    { 0, NULL },
};

const OSSL_ALGORITHM keyexch_algorithms[] = {
    { "PKCS11-ECDH", PROPERTIES, exchange_functions, "ECDH, X25519 and X448 on tokens" },
    { NULL, NULL, NULL, NULL },
};
