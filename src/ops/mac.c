/* HMAC and CMAC with secret keys of a token (provider-mac(7)), under names of their own as the
 * ciphers have. The message is kept until it is whole, as that of a signature is which the token
 * hashes. */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>

#include "base/scope.h"
#include "key/mac.h"
#include "mech/secret.h"
#include "ops/algorithms.h"
#include "ops/context.h"
#include "ops/params.h"
#include "ops/skey.h"
#include "pkcs11_bridge.h"

static OSSL_FUNC_mac_newctx_fn hmac_newctx;
static OSSL_FUNC_mac_newctx_fn cmac_newctx;
static OSSL_FUNC_mac_freectx_fn mac_freectx;
static OSSL_FUNC_mac_dupctx_fn mac_dupctx;
static OSSL_FUNC_mac_init_fn mac_init;
static OSSL_FUNC_mac_init_skey_fn mac_init_skey;
static OSSL_FUNC_mac_update_fn mac_update;
static OSSL_FUNC_mac_final_fn mac_final;
static OSSL_FUNC_mac_get_ctx_params_fn mac_get_ctx_params;
static OSSL_FUNC_mac_set_ctx_params_fn mac_set_ctx_params;
static OSSL_FUNC_mac_gettable_ctx_params_fn mac_gettable_ctx_params;
static OSSL_FUNC_mac_settable_ctx_params_fn hmac_settable_ctx_params;
static OSSL_FUNC_mac_settable_ctx_params_fn cmac_settable_ctx_params;

struct mac {
    struct provider *provider;
    struct mac_request request;
    struct key *key;
    bool begun;        /* and not finished */
    size_t cipher_len; /* bytes of the key of the cipher that was named for CMAC; or 0 */
    struct pieces message;
};

static void *mac_new(void *provctx, enum mac_kind kind)
{
    struct mac *ctx = OPENSSL_zalloc(sizeof(*ctx));

    if (ctx == NULL)
        return NULL;
    ctx->provider = provctx;
    ctx->request.kind = kind;
    return ctx;
}

static void *hmac_newctx(void *provctx)
{
    return mac_new(provctx, MAC_HMAC);
}

static void *cmac_newctx(void *provctx)
{
    return mac_new(provctx, MAC_CMAC);
}

#define OWNED(OWN) OWN(key, key) OWN(pieces, message)

CONTEXT_FREE(mac_freectx, struct mac, OWNED)
CONTEXT_DUP(mac_dupctx, mac_freectx, struct mac, OWNED)

#define FOR_TOKENS "this is for keys of a token (EVP_MAC_init_SKEY)"

static int no(const struct mac *ctx, const char *why)
{
    return refuse(ctx->provider, "cannot authenticate:", why);
}

static int is_complete(const struct mac *ctx)
{
    if (ctx->key == NULL)
        return no(ctx, "no key is set");
    if (ctx->request.kind == MAC_CMAC && ctx->key->object->type != CKK_AES)
        return no(ctx, "CMAC is with AES keys");
    if (ctx->request.kind == MAC_CMAC)
        return ctx->cipher_len == 0 || ctx->key->secret_len == 0 ||
               ctx->cipher_len == ctx->key->secret_len ||
               no(ctx, "the key has not the length of the cipher's");
    if (ctx->request.digest == NULL)
        return no(ctx, "no digest is set");
    return mac_mechanism(&ctx->request) != MAC_NONE ||
           no(ctx, "PKCS#11 has no HMAC with this digest");
}

static int take_key(struct mac *ctx, struct key *key)
{
    if (key != NULL) {
        key_free(ctx->key);
        ctx->key = key_ref(key);
    }
    return is_complete(ctx) && key_can_mac(ctx->key, &ctx->request);
}

static int mac_init_skey(void *vctx, void *key, const OSSL_PARAM params[])
{
    KEEP_ERRNO;
    struct mac *ctx = vctx;

    pieces_wipe(&ctx->message);
    ctx->begun = mac_set_ctx_params(ctx, params) && take_key(ctx, key);
    if (!ctx->begun && key != NULL)
        key_free(MOVE(ctx->key));
    return ctx->begun;
}

static int is_begun(const struct mac *ctx)
{
    return ctx->begun || no(ctx, "initialise it before each message");
}

/* libcrypto calls it whether it is there or not. Without a key, the message begins anew. */
static int mac_init(void *ctx, const unsigned char *key, size_t len, const OSSL_PARAM params[])
{
    (void)len;
    return key == NULL ? mac_init_skey(ctx, NULL, params) : no(ctx, FOR_TOKENS);
}

static int mac_update(void *vctx, const unsigned char *data, size_t len)
{
    KEEP_ERRNO;
    struct mac *ctx = vctx;
    const unsigned most = ctx->provider->config.collect_max;

    if (!is_begun(ctx))
        return 0;
    ctx->begun = false; /* what is refused is not left out of the message */
    if (len > most || ctx->message.all.len > most - len)
        return no(ctx, "the message is longer than pkcs11-collect-max");
    ctx->begun = len == 0 || pieces_add(&ctx->message, data, len);
    return ctx->begun;
}

static int mac_final(void *vctx, unsigned char *out, size_t *out_len, size_t out_size)
{
    KEEP_ERRNO;
    struct mac *ctx = vctx;

    if (!is_begun(ctx) || !is_complete(ctx))
        return 0;
    *out_len = mac_size(&ctx->request);
    if (out == NULL)
        return 1;
    if (out_size < *out_len)
        return no(ctx, "the buffer is too small");
    ctx->begun = false;
    return key_mac(ctx->key, &ctx->request, view_bytes(&ctx->message.all), out);
}

static int set_digest(void *vctx, const OSSL_PARAM *p)
{
    struct mac *ctx = vctx;

    return digest_param_take(ctx->provider, p, "HMAC", &ctx->request.digest);
}

/* The key says which cipher it is; one that is named has to be that. */
static int set_cipher(void *vctx, const OSSL_PARAM *p)
{
    static const struct {
        const char *names;
        size_t len;
    } ciphers[] = { { "AES-128-CBC:AES128", 16 },
                    { "AES-192-CBC:AES192", 24 },
                    { "AES-256-CBC:AES256", 32 } };
    struct mac *ctx = vctx;
    const char *name = NULL;

    if (text_param_get(p, &name))
        for (size_t i = 0; i < COUNT(ciphers); i++)
            if (names_have(ciphers[i].names, name)) {
                ctx->cipher_len = ciphers[i].len;
                return 1;
            }
    return no(ctx, "CMAC is with AES keys");
}

static bool knows_size(const struct mac *ctx)
{
    return ctx->request.kind == MAC_CMAC || ctx->request.digest != NULL;
}

static int get_size(const void *vctx, OSSL_PARAM *p)
{
    const struct mac *ctx = vctx;

    return OSSL_PARAM_set_size_t(p, knows_size(ctx) ? mac_size(&ctx->request) : 0);
}

static int get_block_size(const void *vctx, OSSL_PARAM *p)
{
    const struct mac *ctx = vctx;

    return OSSL_PARAM_set_size_t(p, knows_size(ctx) ? mac_block_size(&ctx->request) : 0);
}

static int set_key(void *ctx, const OSSL_PARAM *p)
{
    (void)p;
    return no(ctx, FOR_TOKENS);
}

#define COMMON(ROW)                                                                                \
    ROW(OSSL_MAC_PARAM_PROPERTIES, utf8_string, param_ignore, WHOLE)                               \
    ROW(OSSL_MAC_PARAM_KEY, octet_string, set_key, WHOLE)
#define HMAC_SETTABLE(ROW) ROW(OSSL_MAC_PARAM_DIGEST, utf8_string, set_digest, WHOLE) COMMON(ROW)
#define CMAC_SETTABLE(ROW) ROW(OSSL_MAC_PARAM_CIPHER, utf8_string, set_cipher, WHOLE) COMMON(ROW)
#define GETTABLE(ROW)                                                                              \
    ROW(OSSL_MAC_PARAM_SIZE, size_t, get_size, WHOLE)                                              \
    ROW(OSSL_MAC_PARAM_BLOCK_SIZE, size_t, get_block_size, WHOLE)

PARAM_SETTERS(hmac_setters, HMAC_SETTABLE);
PARAM_SETTERS(cmac_setters, CMAC_SETTABLE);
PARAM_LIST(hmac_settable, HMAC_SETTABLE);
PARAM_LIST(cmac_settable, CMAC_SETTABLE);
PARAMS_GET(mac, GETTABLE)

static int mac_set_ctx_params(void *vctx, const OSSL_PARAM params[])
{
    const struct mac *ctx = vctx;

    return params_set(ctx->request.kind == MAC_HMAC ? hmac_setters : cmac_setters, vctx, params);
}

PARAM_LISTING(hmac_settable_ctx_params, hmac_settable)
PARAM_LISTING(cmac_settable_ctx_params, cmac_settable)

#define FUNCTIONS(newctx, settable_ctx_params)                                                     \
    {                                                                                              \
        { OSSL_FUNC_MAC_NEWCTX, (void (*)(void))newctx },                                          \
            { OSSL_FUNC_MAC_FREECTX, (void (*)(void))mac_freectx },                                \
            { OSSL_FUNC_MAC_DUPCTX, (void (*)(void))mac_dupctx },                                  \
            { OSSL_FUNC_MAC_INIT, (void (*)(void))mac_init },                                      \
            { OSSL_FUNC_MAC_INIT_SKEY, (void (*)(void))mac_init_skey },                            \
            { OSSL_FUNC_MAC_UPDATE, (void (*)(void))mac_update },                                  \
            { OSSL_FUNC_MAC_FINAL, (void (*)(void))mac_final },                                    \
            { OSSL_FUNC_MAC_GET_CTX_PARAMS, (void (*)(void))mac_get_ctx_params },                  \
            { OSSL_FUNC_MAC_GETTABLE_CTX_PARAMS, (void (*)(void))mac_gettable_ctx_params },        \
            { OSSL_FUNC_MAC_SET_CTX_PARAMS, (void (*)(void))mac_set_ctx_params },                  \
            { OSSL_FUNC_MAC_SETTABLE_CTX_PARAMS, (void (*)(void))settable_ctx_params },            \
            { 0, NULL },                                                                           \
    }

static const OSSL_DISPATCH hmac_functions[] = FUNCTIONS(hmac_newctx, hmac_settable_ctx_params);
static const OSSL_DISPATCH cmac_functions[] = FUNCTIONS(cmac_newctx, cmac_settable_ctx_params);

const OSSL_ALGORITHM mac_algorithms[] = {
    { PKCS11_BRIDGE_CIPHER_PREFIX "HMAC", PROPERTIES, hmac_functions, "HMAC with keys of a token" },
    { PKCS11_BRIDGE_CIPHER_PREFIX "CMAC", PROPERTIES, cmac_functions, "CMAC with keys of a token" },
    { NULL, NULL, NULL, NULL },
};
