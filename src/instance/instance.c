#include "instance/instance.h"

#include <string.h>
#include <time.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "module/ending.h"
#include "module/lock.h"
#include "module/trace.h"
#include "base/clock.h"
#include "base/scope.h"
#include "base/user.h"
#include "instance/section.h"
#include "meter/meter.h"
#include "metrics/metrics.h"
#include "token/slot.h"

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
        error_raise(&provider->core, REASON_MEMORY, "out of memory");
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

static struct module_source source_of(const struct provider *provider, const char *path)
{
    const struct config *config = &provider->config;

    return (struct module_source){ .path = path,
                                   .init_args = config->init_args,
                                   .trust = { .insecure_path = config->insecure_path,
                                              .sha256 = config->module_sha256 } };
}

struct module *provider_module(struct provider *provider, const char *path)
{
    struct module_source source;
    struct module *module;
    char why[1024];

    if (path == NULL)
        path = provider->config.module_path;
    lock_take();
    module = used_find(provider, path);
    lock_release();
    if (module != NULL)
        return module;
    source = source_of(provider, path);
    if (!module_open(&source, &slots_tenant, &module, why, sizeof(why))) {
        error_raise(&provider->core, REASON_MODULE, "%s", why);
        return NULL;
    }
    if (provider->config.no_deinit)
        module_stay(module);
    if (provider->config.luna_user)
        module_login_as(module, CKU_LUNA_CU);
    return used_add(provider, path, module);
}

static struct provider *providers;

/* The end of the process does not wait longer for a thread that has the lock. */
#define END_WAIT_MS 1000

void providers_stay(void)
{
    if (!lock_take_within(END_WAIT_MS))
        return;
    for (struct provider *provider = providers; provider != NULL; provider = provider->next)
        (void)provider->up_ref(provider->core.handle, 0);
    lock_release();
}

void provider_list(struct provider *provider)
{
    lock_take();
    provider->next = providers;
    providers = provider;
    lock_release();
}

void provider_unlist(const struct provider *provider)
{
    struct provider **position = &providers;

    lock_take();
    while (*position != NULL && *position != provider)
        position = &(*position)->next;
    if (*position != NULL)
        *position = provider->next;
    lock_release();
}

void provider_free(struct provider *provider)
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
        case OSSL_FUNC_PROVIDER_UP_REF:
            provider->up_ref = OSSL_FUNC_provider_up_ref(in);
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

#define CONFIG_KEYS_MAX 64

/* The values that the core gave for the keys of config_key, in their order. */
static const char *section_lookup(void *arg, const char *key)
{
    char *const *values = arg;

    for (size_t i = 0; config_key(i) != NULL; i++)
        if (strcmp(config_key(i), key) == 0)
            return values[i];
    return NULL;
}

/* What is not understood, and done without. */
static void warn(struct provider *provider, const char *name, char **values)
{
    struct core *core = &provider->core;

    section_unknown(name, section_lookup, values, core->unknown, sizeof(core->unknown));
    if (core->unknown[0] != '\0')
        log_line("nobody knows this, and it is ignored: %s", core->unknown);
    if (provider->config.warnings[0] != '\0')
        log_line("%s", provider->config.warnings);
}

/* A directory that cannot be written to keeps nobody from their keys. */
static bool counts(const struct provider *provider)
{
    char why[4600];

    if (provider->config.metrics == NULL)
        return false;
    if (!meter_begin(provider->config.metrics, why, sizeof(why)))
        log_line("%s", why);
    if (meter_is_on())
        trace_count();
    return meter_is_on();
}

static struct witness *witness_of(struct provider *provider)
{
    struct witness *trail = audit_witness(&provider->audit);

    if (!counts(provider))
        return trail;
    metrics_begin(&provider->metrics, trail);
    return &provider->metrics;
}

static struct pin_config pins_of(struct provider *provider)
{
    const struct config *config = &provider->config;

    return (struct pin_config){ .libctx = provider->host.libctx,
                                .table = config->token_pins,
                                .pin = config->pin,
                                .file = config->pin_file,
                                .for_any = config->pin_for_any,
                                .most = config->pin_most,
                                .witness = witness_of(provider) };
}

/* "3.5.1" as a number, without the patch; the library's own where it says nothing. */
static unsigned long version_number(const char *text)
{
    unsigned long major, minor;
    char *end = NULL;

    if (text == NULL)
        return OpenSSL_version_num();
    major = strtoul(text, &end, 10);
    minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
    return major << 28 | minor << 20;
}

static bool configure(struct provider *provider, OSSL_FUNC_core_get_params_fn *get)
{
    char *values[CONFIG_KEYS_MAX] = { NULL }, *name = NULL, *version = NULL;
    OSSL_PARAM params[CONFIG_KEYS_MAX + 3];
    char why[512] = "out of memory";
    size_t count = 0;

    for (; config_key(count) != NULL && count < CONFIG_KEYS_MAX; count++)
        params[count] = OSSL_PARAM_construct_utf8_ptr(config_key(count), &values[count], 0);
    params[count++] = OSSL_PARAM_construct_utf8_ptr(OSSL_PROV_PARAM_CORE_PROV_NAME, &name, 0);
    params[count++] = OSSL_PARAM_construct_utf8_ptr(OSSL_PROV_PARAM_CORE_VERSION, &version, 0);
    params[count] = OSSL_PARAM_construct_end();
    if (get(provider->core.handle, params) != 1)
        return false;
    provider->core.version = version_number(version);
    if (config_load(section_lookup, values, &provider->config, why, sizeof(why))) {
        log_to(provider->config.log);
        warn(provider, name, values);
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

bool provider_begin(struct provider *provider, const OSSL_CORE_HANDLE *handle,
                    const OSSL_DISPATCH *in)
{
    OSSL_FUNC_core_get_params_fn *get = take_upcalls(provider, in);
    const struct core *core = &provider->core;

    user_begin();
    provider->core.handle = handle;
    provider->jobs = jobs_of(in->function);
    if (get == NULL || core->new_error == NULL || core->set_error_debug == NULL ||
        core->vset_error == NULL || provider->up_ref == NULL || provider->bio_read == NULL ||
        provider->bio_write == NULL || provider->bio_gets == NULL)
        return false;
    if (!host_begin(&provider->host, core, in) || !configure(provider, get))
        return false;
    if (!audit_begin(&provider->audit, &provider->config.audit))
        return false;
    provider->pins = pins_of(provider);
    trace_begin(provider->config.debug); /* pkcs11-log is known */
    if (provider->config.load_early)
        load_early(provider);
    return true;
}

unsigned provider_hold(struct provider *provider)
{
    unsigned generation;

    lock_take();
    generation = lock_generation();
    if (provider->held_generation != generation)
        provider->held = 0;
    provider->held_generation = generation;
    provider->held++;
    lock_release();
    return generation;
}

void provider_let_go(struct provider *provider, unsigned generation)
{
    lock_take();
    if (generation == provider->held_generation)
        provider->held--;
    lock_release();
}

static bool drained(const struct provider *provider)
{
    bool none;

    lock_take();
    none = provider->held == 0 || provider->held_generation != lock_generation();
    lock_release();
    return none;
}

bool provider_drain(const struct provider *provider, unsigned wait_ms)
{
    uint64_t deadline = clock_ms() + wait_ms;
    const struct timespec pause = { 0, 1000000 };

    while (!drained(provider) && clock_ms() < deadline)
        (void)nanosleep(&pause, NULL);
    return drained(provider);
}
