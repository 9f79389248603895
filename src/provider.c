#include <pthread.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>

#include "base/scope.h"
#include "instance/instance.h"
#include "module/call.h"
#include "metrics/metrics.h"
#include "module/ending.h"
#include "ops/algorithms.h"
#include "ops/offer.h"
#include "pkcs11_bridge.h"

__attribute__((visibility("default"))) OSSL_provider_init_fn OSSL_provider_init;

/* The longest wait for an operation that a job has given up; then it keeps what it uses for ever.
 */
#define DRAIN_MS 10000

static void end(struct provider *provider)
{
    offer_end(provider);
    provider_free(provider);
}

static void teardown(void *provctx)
{
    KEEP_ERRNO;
    provider_unlist(provctx);
    if (provider_drain(provctx, ending_begun() ? 0 : DRAIN_MS))
        end(provctx);
}

static const OSSL_PARAM *gettable_params(void *provctx)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_DEFN(OSSL_PROV_PARAM_NAME, OSSL_PARAM_UTF8_PTR, NULL, 0),
        OSSL_PARAM_DEFN(OSSL_PROV_PARAM_VERSION, OSSL_PARAM_UTF8_PTR, NULL, 0),
        OSSL_PARAM_DEFN(OSSL_PROV_PARAM_BUILDINFO, OSSL_PARAM_UTF8_PTR, NULL, 0),
        OSSL_PARAM_DEFN(OSSL_PROV_PARAM_STATUS, OSSL_PARAM_INTEGER, NULL, 0),
        OSSL_PARAM_utf8_string(PKCS11_BRIDGE_PARAM_METRICS, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return params;
}

/* Of this process; whoever asks with no room is told how much it takes, or some more. */
static bool get_metrics(OSSL_PARAM *p)
{
    _cleanup_(free_scoped) char *text = p != NULL ? metrics_here() : NULL;

    return p == NULL || OSSL_PARAM_set_utf8_string(p, text != NULL ? text : "");
}

static int get_params(void *provctx, OSSL_PARAM params[])
{
    static const struct {
        const char *key, *value;
    } texts[] = {
        { OSSL_PROV_PARAM_NAME, "pkcs11-bridge: keys on PKCS#11 tokens" },
        { OSSL_PROV_PARAM_VERSION, BRIDGE_VERSION },
        { OSSL_PROV_PARAM_BUILDINFO, BRIDGE_VERSION " for " OPENSSL_VERSION_TEXT },
    };
    OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_STATUS);

    (void)provctx;
    if (p != NULL && !OSSL_PARAM_set_int(p, 1))
        return 0;
    for (size_t i = 0; i < COUNT(texts); i++) {
        p = OSSL_PARAM_locate(params, texts[i].key);
        if (p != NULL && !OSSL_PARAM_set_utf8_ptr(p, texts[i].value))
            return 0;
    }
    return get_metrics(OSSL_PARAM_locate(params, PKCS11_BRIDGE_PARAM_METRICS));
}

/* A module that uses libcrypto must not be led back here from inside a C_* call: for that time,
 * nothing is offered, and libcrypto is told not to remember it. Nothing but random numbers, which a
 * program may have chosen for all who draw any, and which come from the host then. */
static const OSSL_ALGORITHM *query_operation(void *provctx, int operation, int *no_cache)
{
    const struct provider *provider = provctx;
    bool closed = call_inside() && operation != OSSL_OP_RAND;

    *no_cache = closed;
    if (closed || (provider->config.blocked >> operation & 1) != 0)
        return NULL;
    return offer_of(provider, operation);
}

static const OSSL_ITEM *get_reason_strings(void *provctx)
{
    (void)provctx;
    return error_reasons();
}

static const OSSL_DISPATCH provider_functions[] = {
    { OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void))teardown },
    { OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, (void (*)(void))gettable_params },
    { OSSL_FUNC_PROVIDER_GET_PARAMS, (void (*)(void))get_params },
    { OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))capabilities_get },
    { OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query_operation },
    { OSSL_FUNC_PROVIDER_GET_REASON_STRINGS, (void (*)(void))get_reason_strings },
    { 0, NULL },
};

static void watch(void)
{
    ending_watch(providers_stay);
}

int OSSL_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                       const OSSL_DISPATCH **out, void **provctx)
{
    KEEP_ERRNO;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct provider *provider = ending_begun() ? NULL : OPENSSL_zalloc(sizeof(*provider));

    if (provider == NULL)
        return 0;
    (void)pthread_once(&once, watch);
    if (!provider_begin(provider, handle, in) || !offer_begin(provider)) {
        end(provider);
        return 0;
    }
    provider_list(provider);
    *out = provider_functions;
    *provctx = provider;
    return 1;
}
