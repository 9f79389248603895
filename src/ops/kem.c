/* Key encapsulation (provider-kem(7)): ML-KEM. The token decapsulates; what anybody can do with the
 * public key is done on the host, unless pkcs11-public-operations says otherwise. */
#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/scope.h"
#include "key/doubt.h"
#include "ops/algorithms.h"
#include "ops/context.h"
#include "ops/held.h"
#include "ops/ops.h"
#include "ops/params.h"

static OSSL_FUNC_kem_newctx_fn kem_newctx;
static OSSL_FUNC_kem_freectx_fn kem_freectx;
static OSSL_FUNC_kem_dupctx_fn kem_dupctx;
static OSSL_FUNC_kem_encapsulate_init_fn kem_encapsulate_init;
static OSSL_FUNC_kem_encapsulate_fn kem_encapsulate;
static OSSL_FUNC_kem_decapsulate_init_fn kem_decapsulate_init;
static OSSL_FUNC_kem_decapsulate_fn kem_decapsulate;
static OSSL_FUNC_kem_set_ctx_params_fn kem_set_ctx_params;
static OSSL_FUNC_kem_settable_ctx_params_fn kem_settable_ctx_params;

struct kem {
    struct held held;
    struct provider *provider;
    struct key *key;
};

static void *kem_newctx(void *provctx)
{
    struct kem *ctx = OPENSSL_zalloc(sizeof(*ctx));

    if (ctx != NULL)
        ctx->provider = provctx;
    return ctx;
}

#define OWNED(OWN) OWN(held, held) OWN(key, key)

CONTEXT_FREE(kem_freectx, struct kem, OWNED)
CONTEXT_DUP(kem_dupctx, kem_freectx, struct kem, OWNED)

/* There are no parameters. */
static int token_encapsulate_init(void *vctx, void *vkey, const OSSL_PARAM params[])
{
    struct kem *ctx = vctx;
    struct key *key = vkey;

    (void)params;
    if (!key_has_public(key))
        return refuse(ctx->provider, "cannot encapsulate:", "the key has no public half");
    return key_take(&ctx->key, key, false);
}

static int token_decapsulate_init(void *vctx, void *vkey, const OSSL_PARAM params[])
{
    struct kem *ctx = vctx;
    struct key *key = vkey;

    (void)params;
    if (!key_is_private(key))
        return refuse(ctx->provider, "cannot decapsulate:", "this is a public key");
    return key_take(&ctx->key, key, true);
}

/* Whether buffers, of which libcrypto says how long they are where it does, are long enough. */
static bool fits(const size_t *len, size_t needed)
{
    return len == NULL || *len >= needed;
}

static void tell(size_t *len, size_t value)
{
    if (len != NULL)
        *len = value;
}

static int token_encapsulate(void *vctx, unsigned char *out, size_t *out_len, unsigned char *secret,
                             size_t *secret_len)
{
    const struct kem *ctx = vctx;
    size_t size = key_signature_max(ctx->key);

    if (out != NULL) {
        if (secret == NULL || !fits(out_len, size) || !fits(secret_len, KEM_SECRET_LEN))
            return refuse(ctx->provider, "cannot encapsulate:", "a buffer is too small");
        if (!key_encapsulate(ctx->key, out, secret))
            return 0;
    }
    tell(out_len, size);
    tell(secret_len, KEM_SECRET_LEN);
    return 1;
}

static int token_decapsulate(void *vctx, unsigned char *out, size_t *out_len,
                             const unsigned char *in, size_t in_len)
{
    const struct kem *ctx = vctx;

    if (out != NULL) {
        if (!fits(out_len, KEM_SECRET_LEN))
            return refuse(ctx->provider, "cannot decapsulate:", "the buffer is too small");
        if (in_len != key_signature_max(ctx->key))
            return refuse(ctx->provider, "cannot decapsulate:",
                          "the ciphertext has not the length that this type of key has");
        if (!key_decapsulate(ctx->key, (struct view){ in, in_len }, out))
            return 0;
    }
    tell(out_len, KEM_SECRET_LEN);
    return 1;
}

/* What is set for other kinds of keys is passed over, as by the default provider. */
static int token_set_ctx_params(void *ctx, const OSSL_PARAM params[])
{
    (void)ctx;
    (void)params;
    return 1;
}

static const OSSL_PARAM *token_settable_ctx_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM none[] = { OSSL_PARAM_END };

    (void)ctx;
    (void)provctx;
    return none;
}

DOOR(SET, kem_set_ctx_params, held_set_ctx_params, token_set_ctx_params)
LIST_DOOR(kem_settable_ctx_params, held_settable_ctx_params, token_settable_ctx_params)
DOOR(INIT, kem_encapsulate_init, held_encapsulate_init, token_encapsulate_init)
DOOR(ENCAPSULATE, kem_encapsulate, held_encapsulate, token_encapsulate)
DOOR(INIT, kem_decapsulate_init, held_decapsulate_init, token_decapsulate_init)
DOOR(DECAPSULATE, kem_decapsulate, held_decapsulate, token_decapsulate)

static const OSSL_DISPATCH kem_functions[] = {
    { OSSL_FUNC_KEM_NEWCTX, (void (*)(void))kem_newctx },
    { OSSL_FUNC_KEM_FREECTX, (void (*)(void))kem_freectx },
    { OSSL_FUNC_KEM_DUPCTX, (void (*)(void))kem_dupctx },
    { OSSL_FUNC_KEM_ENCAPSULATE_INIT, (void (*)(void))kem_encapsulate_init },
    { OSSL_FUNC_KEM_ENCAPSULATE, (void (*)(void))kem_encapsulate },
    { OSSL_FUNC_KEM_DECAPSULATE_INIT, (void (*)(void))kem_decapsulate_init },
    { OSSL_FUNC_KEM_DECAPSULATE, (void (*)(void))kem_decapsulate },
    { OSSL_FUNC_KEM_SET_CTX_PARAMS, (void (*)(void))kem_set_ctx_params },
    { OSSL_FUNC_KEM_SETTABLE_CTX_PARAMS, (void (*)(void))kem_settable_ctx_params },
    { 0, NULL },
};

const OSSL_ALGORITHM kem_algorithms_3_5[] = {
    { "PKCS11-PQ-KEM", PROPERTIES, kem_functions, "ML-KEM on tokens" },
    { NULL, NULL, NULL, NULL },
};
