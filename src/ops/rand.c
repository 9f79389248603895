/* Random numbers from the token (provider-rand(7)), for who asks for them by name: as the generator
 * of a program ("random = PKCS11-RAND" in openssl.cnf), or as what seeds it ("seed = PKCS11-SEED").
 *
 * libcrypto makes generators with a lock of its own held, and a module may draw from libcrypto in
 * any C_* call, the first of them too. So nothing is asked of the module before a number is
 * wanted, and a module that is led back here gets one from libcrypto's default generator. */
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "base/scope.h"
#include "key/open.h"
#include "module/call.h"
#include "ops/algorithms.h"
#include "ops/ops.h"
#include "ops/params.h"
#include "token/run.h"
#include "token/scan.h"

static OSSL_FUNC_rand_newctx_fn rand_newctx;
static OSSL_FUNC_rand_freectx_fn rand_freectx;
static OSSL_FUNC_rand_instantiate_fn rand_instantiate;
static OSSL_FUNC_rand_uninstantiate_fn rand_uninstantiate;
static OSSL_FUNC_rand_generate_fn rand_generate;
static OSSL_FUNC_rand_get_seed_fn rand_get_seed;
static OSSL_FUNC_rand_clear_seed_fn rand_clear_seed;
static OSSL_FUNC_rand_enable_locking_fn rand_enable_locking;
static OSSL_FUNC_rand_lock_fn rand_lock;
static OSSL_FUNC_rand_unlock_fn rand_unlock;
static OSSL_FUNC_rand_get_ctx_params_fn rand_get_ctx_params;
static OSSL_FUNC_rand_gettable_ctx_params_fn rand_gettable_ctx_params;

#define STRENGTH    256
#define REQUEST_MAX (64UL * 1024)

struct random {
    struct provider *provider;
    struct slot *_Atomic slot; /* the token, once it was needed */
    int state;
};

static void *rand_newctx(void *provctx, void *parent, const OSSL_DISPATCH *parent_calls)
{
    struct random *ctx = OPENSSL_zalloc(sizeof(*ctx));

    (void)parent;
    (void)parent_calls;
    if (ctx != NULL) {
        ctx->provider = provctx;
        ctx->state = EVP_RAND_STATE_UNINITIALISED;
    }
    return ctx;
}

static void rand_freectx(void *ctx)
{
    OPENSSL_free(ctx);
}

static struct slot *find_slot(struct provider *provider)
{
    _cleanup_(uri_clear) struct uri uri = { 0 };
    struct pin_source pins;
    struct scan scan = { 0 };
    struct module *module = NULL;
    struct slot *slot = NULL;
    CK_RV rv = CKR_OK;

    if (open_default(provider, "pkcs11:", "the token for random numbers", &uri, &pins))
        module = provider_module(provider, NULL);
    if (module == NULL)
        return NULL;
    scan_begin(&scan, module, &uri, &provider->config.limits);
    rv = scan_next(&scan, &slot);
    scan_end(&scan);
    if (rv != CKR_OK)
        error_raise_ckr(&provider->core, REASON_TOKEN_FAILED, rv,
                        "find a token for random numbers");
    else if (slot == NULL)
        error_raise(&provider->core, REASON_TOKEN, "there is no token for random numbers");
    return slot;
}

static int rand_instantiate(void *vctx, unsigned strength, int prediction_resistance,
                            const unsigned char *personalization, size_t personalization_len,
                            const OSSL_PARAM params[])
{
    struct random *ctx = vctx;
    bool ready = strength <= STRENGTH;

    (void)prediction_resistance;
    (void)personalization;
    (void)personalization_len;
    (void)params;
    ctx->state = ready ? EVP_RAND_STATE_READY : EVP_RAND_STATE_ERROR;
    return ready;
}

static int rand_uninstantiate(void *vctx)
{
    struct random *ctx = vctx;

    ctx->state = EVP_RAND_STATE_UNINITIALISED;
    return 1;
}

struct random_task {
    unsigned char *out;
    size_t len;
};

static CK_RV generate(struct session *session, void *arg)
{
    struct random_task *task = arg;

    return session_random(session, task->out, task->len);
}

static bool draw_on_host(struct random *ctx, unsigned char *out, size_t len)
{
    HOST_WORK;

    return RAND_bytes_ex(ctx->provider->host.libctx, out, len, 0) == 1;
}

static bool draw(struct random *ctx, unsigned char *out, size_t len)
{
    KEEP_ERRNO;
    struct random_task task = { out, len };
    struct run run = { .slot = ctx->slot, .task = generate, .arg = &task };
    CK_RV rv;

    if (call_inside())
        return draw_on_host(ctx, out, len);
    if (run.slot == NULL)
        run.slot = find_slot(ctx->provider);
    if (run.slot == NULL)
        return false;
    ctx->slot = run.slot;
    rv = run_task(&run);
    if (rv == CKR_OK)
        return true;
    error_raise_ckr(&ctx->provider->core, REASON_OPERATION, rv,
                    "get random numbers from the token %s", run.slot->token.label);
    return false;
}

static int rand_generate(void *vctx, unsigned char *out, size_t len, unsigned strength,
                         int prediction_resistance, const unsigned char *additional,
                         size_t additional_len)
{
    struct random *ctx = vctx;

    (void)prediction_resistance;
    (void)additional;
    (void)additional_len;
    return ctx->state == EVP_RAND_STATE_READY && strength <= STRENGTH && len <= REQUEST_MAX &&
           draw(ctx, out, len);
}

/* For a generator that has this one for its parent. */
static size_t rand_get_seed(void *vctx, unsigned char **out, int entropy, size_t min_len,
                            size_t max_len, int prediction_resistance,
                            const unsigned char *additional, size_t additional_len)
{
    size_t len = entropy > 0 ? ((size_t)entropy + 7) / 8 : 0;

    (void)prediction_resistance;
    (void)additional;
    (void)additional_len;
    len = len < min_len ? min_len : len;
    if (len == 0 || len > max_len || len > REQUEST_MAX || (*out = OPENSSL_malloc(len)) == NULL)
        return 0;
    if (draw(vctx, *out, len))
        return len;
    OPENSSL_clear_free(MOVE(*out), len);
    return 0;
}

static void rand_clear_seed(void *ctx, unsigned char *seed, size_t len)
{
    (void)ctx;
    OPENSSL_clear_free(seed, len);
}

/* Each call has a session of its own: there is nothing to lock. */
static int rand_enable_locking(void *ctx)
{
    (void)ctx;
    return 1;
}

static int rand_lock(void *ctx)
{
    (void)ctx;
    return 1;
}

static void rand_unlock(void *ctx)
{
    (void)ctx;
}

static int get_strength(const void *ctx, OSSL_PARAM *p)
{
    (void)ctx;
    return OSSL_PARAM_set_uint(p, STRENGTH);
}

static int get_max_request(const void *ctx, OSSL_PARAM *p)
{
    (void)ctx;
    return OSSL_PARAM_set_size_t(p, REQUEST_MAX);
}

#define GETTABLE(ROW)                                                                              \
    ROW(OSSL_RAND_PARAM_STATE, int, param_get_int, FIELD(struct random, state, int))               \
    ROW(OSSL_RAND_PARAM_STRENGTH, uint, get_strength, WHOLE)                                       \
    ROW(OSSL_RAND_PARAM_MAX_REQUEST, size_t, get_max_request, WHOLE)

PARAMS_GET(rand, GETTABLE)

static const OSSL_DISPATCH rand_functions[] = {
    { OSSL_FUNC_RAND_NEWCTX, (void (*)(void))rand_newctx },
    { OSSL_FUNC_RAND_FREECTX, (void (*)(void))rand_freectx },
    { OSSL_FUNC_RAND_INSTANTIATE, (void (*)(void))rand_instantiate },
    { OSSL_FUNC_RAND_UNINSTANTIATE, (void (*)(void))rand_uninstantiate },
    { OSSL_FUNC_RAND_GENERATE, (void (*)(void))rand_generate },
    { OSSL_FUNC_RAND_GET_SEED, (void (*)(void))rand_get_seed },
    { OSSL_FUNC_RAND_CLEAR_SEED, (void (*)(void))rand_clear_seed },
    { OSSL_FUNC_RAND_ENABLE_LOCKING, (void (*)(void))rand_enable_locking },
    { OSSL_FUNC_RAND_LOCK, (void (*)(void))rand_lock },
    { OSSL_FUNC_RAND_UNLOCK, (void (*)(void))rand_unlock },
    { OSSL_FUNC_RAND_GET_CTX_PARAMS, (void (*)(void))rand_get_ctx_params },
    { OSSL_FUNC_RAND_GETTABLE_CTX_PARAMS, (void (*)(void))rand_gettable_ctx_params },
    { 0, NULL },
};

const OSSL_ALGORITHM rand_algorithms[] = {
    { "PKCS11-RAND:PKCS11-SEED", PROPERTIES, rand_functions, "random numbers of a token" },
    { NULL, NULL, NULL, NULL },
};
