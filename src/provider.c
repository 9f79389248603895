#include "provider.h"

#include <pthread.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "key/operation.h"
#include "scope.h"
#include "token/call.h"
#include "token/ending.h"
#include "token/lock.h"

__attribute__((visibility("default"))) OSSL_provider_init_fn OSSL_provider_init;

struct used_module {
    struct used_module *next;
    char *path;
    struct module *module;
};

static struct module *used_find(const struct provider *provider, const char *path)
{
    struct used_module *used = provider->modules;

    while (used != NULL && strcmp(used->path, path) != 0)
        used = used->next;
    return used != NULL ? used->module : NULL;
}

static void used_free(struct used_module *used)
{
    OPENSSL_free(used->path);
    OPENSSL_free(used);
}

/* Remembers module as in use; the one that another thread remembered meanwhile comes first. */
static struct module *used_add(struct provider *provider, const char *path, struct module *module)
{
    struct used_module *used = OPENSSL_zalloc(sizeof(*used));
    struct module *before;

    if (used == NULL || (used->path = OPENSSL_strdup(path)) == NULL) {
        OPENSSL_free(used);
        module_close(module, false);
        return NULL;
    }
    lock_take();
    before = used_find(provider, path);
    if (before == NULL) {
        used->module = module;
        used->next = provider->modules;
        provider->modules = MOVE(used);
    }
    lock_release();
    if (before == NULL)
        return module;
    used_free(used);
    module_close(module, false);
    return before;
}

struct module *provider_module(struct provider *provider, const char *path)
{
    struct module *module;
    char why[512];

    if (path == NULL)
        path = provider->config.module_path;
    lock_take();
    module = used_find(provider, path);
    lock_release();
    if (module != NULL)
        return module;
    if (!module_open(path, provider->config.init_args, &module, why, sizeof(why))) {
        error_raise(&provider->core, REASON_MODULE, "%s", why);
        return NULL;
    }
    if (provider->config.no_deinit)
        module_stay(module);
    return used_add(provider, path, module);
}

static void provider_free(struct provider *provider)
{
    bool touch = !ending_begun();
    struct used_module *used = provider->modules;

    while (used != NULL) {
        struct used_module *next = used->next;

        module_close(used->module, touch);
        used_free(used);
        used = next;
    }
    host_end(&provider->host);
    config_clear(&provider->config);
    OPENSSL_free(provider->misconfigured);
    OPENSSL_free(provider);
}

/* The longest wait for an operation that a job has given up; then it keeps what it uses for ever.
 */
#define DRAIN_MS 10000

static void teardown(void *provctx)
{
    if (operations_drain(provctx, ending_begun() ? 0 : DRAIN_MS))
        provider_free(provctx);
}

static const OSSL_PARAM *gettable_params(void *provctx)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_DEFN(OSSL_PROV_PARAM_NAME, OSSL_PARAM_UTF8_PTR, NULL, 0),
        OSSL_PARAM_DEFN(OSSL_PROV_PARAM_VERSION, OSSL_PARAM_UTF8_PTR, NULL, 0),
        OSSL_PARAM_DEFN(OSSL_PROV_PARAM_BUILDINFO, OSSL_PARAM_UTF8_PTR, NULL, 0),
        OSSL_PARAM_DEFN(OSSL_PROV_PARAM_STATUS, OSSL_PARAM_INTEGER, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return params;
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
    return 1;
}

/* A module that uses libcrypto must not be led back here from inside a C_* call: for that time,
 * nothing is offered, and libcrypto is told not to remember it. */
static const OSSL_ALGORITHM *query_operation(void *provctx, int operation, int *no_cache)
{
    /* since: the first version of libcrypto that knows what to do with them */
    static const struct {
        int operation;
        unsigned long since;
        const OSSL_ALGORITHM *algorithms;
    } tables[] = {
        { OSSL_OP_STORE, 0, store_algorithms },
        { OSSL_OP_DECODER, 0, decoder_algorithms },
        { OSSL_OP_ENCODER, 0, encoder_algorithms },
        { OSSL_OP_KEYMGMT, 0, keymgmt_algorithms },
        { OSSL_OP_SIGNATURE, 0x30400000UL, sigalg_algorithms },
        { OSSL_OP_SIGNATURE, 0, signature_algorithms },
        { OSSL_OP_ASYM_CIPHER, 0, asym_cipher_algorithms },
        { OSSL_OP_KEYEXCH, 0, keyexch_algorithms },
        { OSSL_OP_RAND, 0, rand_algorithms },
    };
    const struct provider *provider = provctx;

    *no_cache = call_inside();
    if (call_inside() || (provider->config.blocked >> operation & 1) != 0)
        return NULL;
    for (size_t i = 0; i < COUNT(tables); i++)
        if (tables[i].operation == operation && OpenSSL_version_num() >= tables[i].since)
            return tables[i].algorithms;
    return NULL;
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

static OSSL_FUNC_core_get_params_fn *take_upcalls(struct provider *provider,
                                                  const OSSL_DISPATCH *in)
{
    OSSL_FUNC_core_get_params_fn *get = NULL;

    for (; in->function_id != 0; in++) {
        switch (in->function_id) {
        case OSSL_FUNC_CORE_GET_PARAMS:
            get = OSSL_FUNC_core_get_params(in);
            break;
        case OSSL_FUNC_CORE_NEW_ERROR:
            provider->core.new_error = OSSL_FUNC_core_new_error(in);
            break;
        case OSSL_FUNC_CORE_SET_ERROR_DEBUG:
            provider->core.set_error_debug = OSSL_FUNC_core_set_error_debug(in);
            break;
        case OSSL_FUNC_CORE_VSET_ERROR:
            provider->core.vset_error = OSSL_FUNC_core_vset_error(in);
            break;
        case OSSL_FUNC_BIO_READ_EX:
            provider->bio_read = OSSL_FUNC_BIO_read_ex(in);
            break;
        case OSSL_FUNC_BIO_WRITE_EX:
            provider->bio_write = OSSL_FUNC_BIO_write_ex(in);
            break;
        case OSSL_FUNC_BIO_GETS:
            provider->bio_gets = OSSL_FUNC_BIO_gets(in);
            break;
        default:
            break;
        }
    }
    return get;
}

#define CONFIG_KEYS_MAX 32

/* The values that the core gave for the keys of config_key, in their order. */
static const char *section_lookup(void *arg, const char *key)
{
    char *const *values = arg;

    for (size_t i = 0; config_key(i) != NULL; i++)
        if (strcmp(config_key(i), key) == 0)
            return values[i];
    return NULL;
}

static bool configure(struct provider *provider, OSSL_FUNC_core_get_params_fn *get)
{
    char *values[CONFIG_KEYS_MAX] = { NULL };
    OSSL_PARAM params[CONFIG_KEYS_MAX + 1];
    char why[512] = "out of memory";
    size_t count = 0;

    for (; config_key(count) != NULL && count < CONFIG_KEYS_MAX; count++)
        params[count] = OSSL_PARAM_construct_utf8_ptr(config_key(count), &values[count], 0);
    params[count] = OSSL_PARAM_construct_end();
    if (get(provider->core.handle, params) != 1)
        return false;
    if (config_load(section_lookup, values, &provider->config, why, sizeof(why))) {
        log_to(provider->config.log);
        return true;
    }
    provider->misconfigured = OPENSSL_strdup(why);
    return provider->misconfigured != NULL;
}

bool provider_usable(const struct provider *provider)
{
    if (provider->misconfigured == NULL)
        return true;
    error_raise(&provider->core, REASON_CONFIGURATION, "%s", provider->misconfigured);
    return false;
}

/* What goes wrong here goes wrong again at the first use, which tells. */
static void load_early(struct provider *provider)
{
    struct module *module = NULL;

    (void)ERR_set_mark();
    if (provider_usable(provider))
        module = provider_module(provider, NULL);
    if (module != NULL)
        (void)module_start(module);
    (void)ERR_pop_to_mark();
}

static bool provider_begin(struct provider *provider, const OSSL_DISPATCH *in)
{
    OSSL_FUNC_core_get_params_fn *get = take_upcalls(provider, in);
    const struct core *core = &provider->core;

    if (get == NULL || core->new_error == NULL || core->set_error_debug == NULL ||
        core->vset_error == NULL || provider->bio_read == NULL || provider->bio_write == NULL ||
        provider->bio_gets == NULL)
        return false;
    if (!host_begin(&provider->host, core->handle, in) || !configure(provider, get))
        return false;
    if (provider->config.load_early)
        load_early(provider);
    return true;
}

int OSSL_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                       const OSSL_DISPATCH **out, void **provctx)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct provider *provider = OPENSSL_zalloc(sizeof(*provider));

    if (provider == NULL)
        return 0;
    (void)pthread_once(&once, ending_watch);
    provider->core.handle = handle;
    if (!provider_begin(provider, in)) {
        provider_free(provider);
        return 0;
    }
    *out = provider_functions;
    *provctx = provider;
    return 1;
}
