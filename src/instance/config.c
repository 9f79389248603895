#include "instance/config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>

#include "base/environment.h"
#include "base/scope.h"
#include "pkcs11_bridge.h"

#define SESSIONS_DEFAULT   8
#define SESSIONS_MOST      1024
#define MILLISECONDS_MOST  (60UL * 60 * 1000)
#define WAIT_DEFAULT       10000
#define RETRY_DEFAULT      3000
#define AUDIT_WAIT_DEFAULT 1000
#define COLLECT_DEFAULT    67108864
#define COLLECT_MOST       (1UL << 30)
#define PIN_DEFAULT        1024
#define GCM_LIMIT_MOST     (1ULL << 32) /* SP 800-38D §8.3 */
#define IDLE_UNSET         ((unsigned)-1)

#ifndef OSSL_OP_SKEYMGMT
#define OSSL_OP_SKEYMGMT 15
#endif

#define DIGITS_OF(number) #number
#define TEXT_OF(number)   DIGITS_OF(number)

_Static_assert(PIN_DEFAULT == SECRET_MAX, "docs/configuration.md has the number");

static bool copy(const char *value, char **out)
{
    OPENSSL_free(*out);
    *out = OPENSSL_strdup(value);
    return *out != NULL;
}

static bool set_module_path(const char *value, struct config *config)
{
    return copy(value, &config->module_path);
}

#define SHA256_DIGITS 64

static bool set_sha256(const char *value, struct config *config)
{
    return strlen(value) == SHA256_DIGITS &&
           strspn(value, "0123456789abcdefABCDEF") == SHA256_DIGITS &&
           copy(value, &config->module_sha256);
}

static bool set_init_args(const char *value, struct config *config)
{
    return copy(value, &config->init_args);
}

static bool file(const char *value, char **path)
{
    return strncmp(value, "file:/", 6) == 0 && copy(value + 5, path);
}

/* A path without file: would be tried as a PIN, and cost a try. */
static bool set_pin(const char *value, struct config *config)
{
    char why[256];

    if (strncmp(value, "file:", 5) == 0)
        return file(value, &config->pin_file);
    if (strncmp(value, "env:", 4) == 0) {
        config->pin = secret_from_variable(value + 4, why, sizeof(why));
        return config->pin != NULL;
    }
    if (value[0] == '\0' || value[0] == '/')
        return false;
    config->pin = secret_new(value, strlen(value));
    return config->pin != NULL;
}

static bool set_token_pins(const char *value, struct config *config)
{
    return file(value, &config->token_pins);
}

/* The position of value among the NULL-terminated words, or -1. */
static int word(const char *value, const char *const *words)
{
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], value) == 0)
            return i;
    return -1;
}

static bool set_pin_scope(const char *value, struct config *config)
{
    static const char *const words[] = { "one", "any", NULL };
    int i = word(value, words);

    config->pin_for_any = i == 1;
    return i >= 0;
}

static bool set_login(const char *value, struct config *config)
{
    static const char *const words[] = { "auto", "always", "never", NULL };
    int i = word(value, words);

    config->login = (enum login_behavior)(i < 0 ? 0 : i);
    return i >= 0;
}

static bool number(const char *value, unsigned long least, unsigned long most, unsigned *out)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10);

    if (value[0] < '0' || value[0] > '9' || *end != '\0' || n < least || n > most)
        return false;
    *out = (unsigned)n;
    return true;
}

static bool set_sessions_max(const char *value, struct config *config)
{
    return number(value, 1, SESSIONS_MOST, &config->limits.sessions_max);
}

static bool set_sessions_idle(const char *value, struct config *config)
{
    return number(value, 0, SESSIONS_MOST, &config->limits.sessions_idle);
}

/* 1 forbids: provider-pkcs11(7) has it this way round. */
static bool set_allow_export(const char *value, struct config *config)
{
    static const char *const words[] = { "0", "1", NULL };
    int i = word(value, words);

    config->allow_export = i == 0;
    return i >= 0;
}

static bool set_digest(const char *value, struct config *config)
{
    static const char *const words[] = { "auto", "token", "host", NULL };
    int i = word(value, words);

    config->digest = (enum digest_where)(i < 0 ? 0 : i);
    return i >= 0;
}

static bool yes_or_no(const char *value, bool *out)
{
    static const char *const words[] = { "no", "yes", NULL };
    int i = word(value, words);

    *out = i == 1;
    return i >= 0;
}

static bool set_allow_uri_module(const char *value, struct config *config)
{
    return yes_or_no(value, &config->allow_uri_module);
}

static bool set_insecure_path(const char *value, struct config *config)
{
    return yes_or_no(value, &config->insecure_path);
}

static bool set_random(const char *value, struct config *config)
{
    return yes_or_no(value, &config->random);
}

/* pkcs11-provider takes true for one, and all else for the other. */
static bool truth(const char *value, bool *out)
{
    static const char *const words[] = { "false", "true", "no", "yes", "0", "1", NULL };
    int i = word(value, words);

    *out = i % 2 == 1;
    return i >= 0;
}

static bool set_assume_fips(const char *value, struct config *config)
{
    return truth(value, &config->assume_fips);
}

static bool set_uri_in_pem(const char *value, struct config *config)
{
    return truth(value, &config->uri_in_pem);
}

static bool set_default_slot(const char *value, struct config *config)
{
    char *end;

    errno = 0;
    config->default_slot = strtoul(value, &end, 0);
    return value[0] >= '0' && value[0] <= '9' && *end == '\0' && errno == 0;
}

static bool set_pin_most(const char *value, struct config *config)
{
    return number(value, 1, SECRET_MAX, &config->pin_most);
}

static bool set_session_wait(const char *value, struct config *config)
{
    return number(value, 0, MILLISECONDS_MOST, &config->limits.wait_ms);
}

static bool set_retry(const char *value, struct config *config)
{
    return number(value, 0, MILLISECONDS_MOST, &config->limits.retry_ms);
}

static bool set_log(const char *value, struct config *config)
{
    static const char *const words[] = { [LOG_TO_ANYBODY] = "auto",
                                         [LOG_TO_STDERR] = "stderr",
                                         [LOG_TO_SYSLOG] = "syslog",
                                         [LOG_TO_NOBODY] = "none",
                                         NULL };
    int i = word(value, words);

    config->log = (enum log_where)(i < 0 ? 0 : i);
    return i >= 0;
}

/* A folder of the program's is nothing to write to. */
static bool set_debug(const char *value, struct config *config)
{
    return (strncmp(value, "file:/", 6) == 0 || strncmp(value, "level:", 6) == 0) &&
           strstr(value, ",file:") == NULL && copy(value, &config->debug);
}

static bool set_async(const char *value, struct config *config)
{
    static const char *const words[] = { "off", "auto", NULL };
    int i = word(value, words);

    config->async = i == 1;
    return i >= 0;
}

static bool set_pem_uri(const char *value, struct config *config)
{
    static const char *const words[] = { "least", "full", NULL };
    int i = word(value, words);

    config->pem_uri_full = i == 1;
    return i >= 0;
}

static bool set_public_operations(const char *value, struct config *config)
{
    static const char *const words[] = { "host", "token", NULL };
    int i = word(value, words);

    config->public_on_token = i == 1;
    return i >= 0;
}

static bool set_ambiguous(const char *value, struct config *config)
{
    static const char *const words[] = { "error", "first", NULL };
    int i = word(value, words);

    config->ambiguous_first = i == 1;
    return i >= 0;
}

static bool set_ephemeral(const char *value, struct config *config)
{
    static const char *const words[] = { "software", "token", NULL };
    int i = word(value, words);

    config->ephemeral_on_token = i == 1;
    return i >= 0;
}

static bool set_import(const char *value, struct config *config)
{
    static const char *const words[] = { "software", "session", NULL };
    int i = word(value, words);

    config->import_session = i == 1;
    return i >= 0;
}

static bool set_audit(const char *value, struct config *config)
{
    static const char *const words[] = { "syslog", "journald", NULL };

    return (value[0] == '/' || word(value, words) >= 0) && copy(value, &config->audit.where);
}

static bool set_audit_chain(const char *value, struct config *config)
{
    return yes_or_no(value, &config->audit.chained);
}

static bool set_audit_required(const char *value, struct config *config)
{
    return yes_or_no(value, &config->audit.required);
}

static bool set_audit_wait(const char *value, struct config *config)
{
    return number(value, 1, MILLISECONDS_MOST, &config->audit.wait_ms);
}

static bool set_metrics(const char *value, struct config *config)
{
    return value[0] == '/' && copy(value, &config->metrics);
}

static bool set_collect_max(const char *value, struct config *config)
{
    return number(value, 0, COLLECT_MOST, &config->collect_max);
}

static bool set_gcm_caller_iv(const char *value, struct config *config)
{
    return yes_or_no(value, &config->gcm_caller_iv);
}

static bool set_gcm_limit(const char *value, struct config *config)
{
    char *end;
    unsigned long long n = strtoull(value, &end, 10);

    config->gcm_limit = n;
    return value[0] >= '0' && value[0] <= '9' && *end == '\0' && n >= 1 && n <= GCM_LIMIT_MOST;
}

static bool set_gcm_state(const char *value, struct config *config)
{
    return value[0] == '/' && copy(value, &config->gcm_state);
}

static void text_add(char *text, size_t size, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

/* Calls each with every blank- or comma-separated word of value. What it does not know is no
 * reason to do without the provider: newer ones have more. */
static bool words_each(const char *value, struct config *config,
                       bool (*each)(const char *word, struct config *config))
{
    _cleanup_(free_scoped) char *list = OPENSSL_strdup(value);
    char *rest = NULL;

    if (list == NULL)
        return false;
    for (char *one = strtok_r(list, " \t,", &rest); one != NULL;
         one = strtok_r(NULL, " \t,", &rest))
        if (!each(one, config))
            text_add(config->unknown, sizeof(config->unknown), " %s", one);
    return true;
}

/* Words that pkcs11-provider does not know mean nothing to it: a section that it takes is not
 * refused. */
static bool early(const char *name, struct config *config)
{
    config->load_early = strcmp(name, "early") == 0;
    return config->load_early;
}

static bool set_load(const char *value, struct config *config)
{
    return words_each(value, config, early);
}

static bool copying(const char *name, struct config *config)
{
    static const char *const words[] = {
        [COPY_NEVER] = "false", [COPY_AUTO] = "auto", [COPY_ALWAYS] = "true", NULL
    };
    int i = word(name, words);

    config->copying = i < 0 ? config->copying : (enum copying)i;
    return i >= 0;
}

static bool set_copying(const char *value, struct config *config)
{
    return words_each(value, config, copying);
}

/* The PIN that a token took is kept in any case, since it is needed again after a failure. */
static bool cache_pins(const char *name, struct config *config)
{
    (void)config;
    return strcmp(name, "cache") == 0;
}

static bool set_cache_pins(const char *value, struct config *config)
{
    return words_each(value, config, cache_pins);
}

static bool block(const char *name, struct config *config)
{
    static const struct {
        const char *name;
        int operation;
    } operations[] = {
        { "digest", OSSL_OP_DIGEST },
        { "cipher", OSSL_OP_CIPHER },
        { "mac", OSSL_OP_MAC },
        { "kdf", OSSL_OP_KDF },
        { "random", OSSL_OP_RAND },
        { "rand", OSSL_OP_RAND },
        { "keymgmt", OSSL_OP_KEYMGMT },
        { "keyexch", OSSL_OP_KEYEXCH },
        { "exchange", OSSL_OP_KEYEXCH },
        { "signature", OSSL_OP_SIGNATURE },
        { "asym-cipher", OSSL_OP_ASYM_CIPHER },
        { "asym_cipher", OSSL_OP_ASYM_CIPHER },
        { "kem", OSSL_OP_KEM },
        { "skeymgmt", OSSL_OP_SKEYMGMT },
        { "encoder", OSSL_OP_ENCODER },
        { "decoder", OSSL_OP_DECODER },
        { "store", OSSL_OP_STORE },
    };

    for (size_t i = 0; i < COUNT(operations); i++)
        if (strcmp(operations[i].name, name) == 0) {
            config->blocked |= 1UL << operations[i].operation;
            return true;
        }
    return false;
}

static bool set_blocked(const char *value, struct config *config)
{
    return words_each(value, config, block);
}

/* The second and third work around calls that are never made here. */
static bool quirk(const char *name, struct config *config)
{
    static const char *const words[] = { "no-deinit",
                                         "no-operation-state",
                                         "no-session-callbacks",
                                         "no-allowed-mechanisms",
                                         "luna-non-standard-cku-user",
                                         NULL };
    int i = word(name, words);

    config->no_deinit = config->no_deinit || i == 0;
    config->no_allowed_mechanisms = config->no_allowed_mechanisms || i == 3;
    config->luna_user = config->luna_user || i == 4;
    return i >= 0;
}

static bool set_quirks(const char *value, struct config *config)
{
    return words_each(value, config, quirk);
}

static const struct {
    const char *key;
    const char *environment; /* overrides the section */
    bool (*set)(const char *value, struct config *config);
    const char *allowed;
    bool secret;
    const char *otherwise; /* what counts without it, for people */
} keys[] = {
    { PKCS11_BRIDGE_CONF_MODULE_PATH, PKCS11_BRIDGE_ENV_MODULE, set_module_path, "an absolute path",
      false, BRIDGE_DEFAULT_MODULE },
    { PKCS11_BRIDGE_CONF_MODULE_SHA256, NULL, set_sha256,
      "the SHA-256 of the module's file, as 64 hexadecimal digits", false, "none" },
    { PKCS11_BRIDGE_CONF_INSECURE_PATH, NULL, set_insecure_path, "yes, no", false, "no" },
    { PKCS11_BRIDGE_CONF_INIT_ARGS, NULL, set_init_args, "a text for the module", false, "none" },
    { PKCS11_BRIDGE_CONF_TOKEN_PIN, NULL, set_pin,
      "the PIN itself, file: and the absolute path of a file that holds it (what begins with / "
      "is "
      "a path, not a PIN), or env: and the name of an environment variable that holds it",
      true, "none" },
    { PKCS11_BRIDGE_CONF_TOKEN_PINS, NULL, set_token_pins,
      "file:/path, of a file that has a PIN for each token", true, "none" },
    { PKCS11_BRIDGE_CONF_PIN_SCOPE, NULL, set_pin_scope, "one, any", false, "one" },
    { PKCS11_BRIDGE_CONF_LOGIN_BEHAVIOR, NULL, set_login, "auto, always, never", false, "auto" },
    { PKCS11_BRIDGE_CONF_DEBUG, NULL, set_debug, "file:/path,level:N or level:N", false, "none" },
    { PKCS11_BRIDGE_CONF_LOAD_BEHAVIOR, NULL, set_load, "early", false, "at the first use" },
    { PKCS11_BRIDGE_CONF_SESSIONS_MAX, NULL, set_sessions_max, "a number from 1 to 1024", false,
      TEXT_OF(SESSIONS_DEFAULT) },
    { PKCS11_BRIDGE_CONF_CACHE_SESSIONS, NULL, set_sessions_idle, "a number from 0 to 1024", false,
      "as pkcs11-sessions-max" },
    { PKCS11_BRIDGE_CONF_CACHE_KEYS, NULL, set_copying, "auto, true, false", false, "auto" },
    { PKCS11_BRIDGE_CONF_SESSION_WAIT, NULL, set_session_wait,
      "a number of milliseconds up to 3600000", false, TEXT_OF(WAIT_DEFAULT) },
    { PKCS11_BRIDGE_CONF_RETRY, NULL, set_retry, "a number of milliseconds up to 3600000", false,
      TEXT_OF(RETRY_DEFAULT) },
    { PKCS11_BRIDGE_CONF_LOG, NULL, set_log, "auto, stderr, syslog, none", false, "auto" },
    { PKCS11_BRIDGE_CONF_ALLOW_EXPORT, NULL, set_allow_export,
      "0 (public keys may be exported), 1 (they may not)", false, "0" },
    { PKCS11_BRIDGE_CONF_BLOCK_OPERATIONS, NULL, set_blocked,
      "any of digest, cipher, mac, kdf, random, keymgmt, keyexch, signature, asym-cipher, kem, "
      "skeymgmt, encoder, decoder, store",
      false, "none" },
    { PKCS11_BRIDGE_CONF_QUIRKS, NULL, set_quirks,
      "any of no-deinit, no-operation-state, no-session-callbacks, no-allowed-mechanisms, "
      "luna-non-standard-cku-user",
      false, "none" },
    { PKCS11_BRIDGE_CONF_ASSUME_FIPS, NULL, set_assume_fips, "true, false", false, "false" },
    { PKCS11_BRIDGE_CONF_DEFAULT_SLOT, NULL, set_default_slot, "the number of a slot", false,
      "the first that fits" },
    { PKCS11_BRIDGE_CONF_CACHE_PINS, NULL, set_cache_pins, "cache", false, "cache" },
    { PKCS11_BRIDGE_CONF_PIN_MOST, NULL, set_pin_most, "a number from 1 to 1024", false,
      TEXT_OF(PIN_DEFAULT) },
    { PKCS11_BRIDGE_CONF_URI_IN_PEM, NULL, set_uri_in_pem, "true, false", false, "true" },
    { PKCS11_BRIDGE_CONF_DIGEST, NULL, set_digest, "auto, token, host", false, "auto" },
    { PKCS11_BRIDGE_CONF_ALLOW_URI_MODULE, NULL, set_allow_uri_module, "yes, no", false, "no" },
    { PKCS11_BRIDGE_CONF_RANDOM, NULL, set_random, "yes, no", false, "yes" },
    { PKCS11_BRIDGE_CONF_ASYNC, NULL, set_async, "auto, off", false, "auto" },
    { PKCS11_BRIDGE_CONF_PUBLIC_OPERATIONS, NULL, set_public_operations, "host, token", false,
      "host" },
    { PKCS11_BRIDGE_CONF_PEM_URI, NULL, set_pem_uri, "least, full", false, "least" },
    { PKCS11_BRIDGE_CONF_AMBIGUOUS, NULL, set_ambiguous, "error, first", false, "error" },
    { PKCS11_BRIDGE_CONF_EPHEMERAL, NULL, set_ephemeral, "software, token", false, "software" },
    { PKCS11_BRIDGE_CONF_IMPORT, NULL, set_import, "software, session", false, "software" },
    { PKCS11_BRIDGE_CONF_COLLECT_MAX, NULL, set_collect_max, "a number of bytes up to 1073741824",
      false, TEXT_OF(COLLECT_DEFAULT) },
    { PKCS11_BRIDGE_CONF_GCM_CALLER_IV, NULL, set_gcm_caller_iv, "yes, no", false, "no" },
    { PKCS11_BRIDGE_CONF_GCM_LIMIT, NULL, set_gcm_limit, "a number from 1 to 4294967296", false,
      "4294967296" },
    { PKCS11_BRIDGE_CONF_GCM_STATE, NULL, set_gcm_state, "the absolute path of a directory", false,
      "none" },
    { PKCS11_BRIDGE_CONF_AUDIT, NULL, set_audit, "an absolute path, syslog, journald", false,
      "none" },
    { PKCS11_BRIDGE_CONF_AUDIT_CHAIN, NULL, set_audit_chain, "yes, no", false, "no" },
    { PKCS11_BRIDGE_CONF_AUDIT_REQUIRED, NULL, set_audit_required, "yes, no", false, "no" },
    { PKCS11_BRIDGE_CONF_AUDIT_WAIT, NULL, set_audit_wait,
      "a number of milliseconds from 1 to 3600000", false, TEXT_OF(AUDIT_WAIT_DEFAULT) },
    { PKCS11_BRIDGE_CONF_METRICS, NULL, set_metrics, "the absolute path of a directory", false,
      "none" },
};

const char *config_key(size_t i)
{
    return i < COUNT(keys) ? keys[i].key : NULL;
}

const char *config_default(size_t i)
{
    return keys[i].otherwise;
}

bool config_is_secret(size_t i)
{
    return keys[i].secret;
}

const char *config_environment(size_t i, const char **name)
{
    const char *value = keys[i].environment != NULL ? environment(keys[i].environment) : NULL;

    *name = value != NULL && value[0] != '\0' ? keys[i].environment : NULL;
    return *name != NULL ? value : NULL;
}

/* What is not known in a list is told, and goes no further. */
static void warn_unknown(size_t i, struct config *config)
{
    if (config->unknown[0] == '\0')
        return;
    text_add(config->warnings, sizeof(config->warnings),
             "%s%s: unknown, and ignored:%s; known is %s", config->warnings[0] != '\0' ? "; " : "",
             keys[i].key, config->unknown, keys[i].allowed);
    config->unknown[0] = '\0';
}

static bool key_load(size_t i, config_lookup *lookup, void *arg, struct config *out, char *why,
                     size_t size)
{
    const char *key;
    const char *value = config_environment(i, &key);

    if (value == NULL) {
        key = keys[i].key;
        value = lookup(arg, key);
    }
    if (value == NULL || keys[i].set(value, out)) {
        warn_unknown(i, out);
        return true;
    }
    (void)snprintf(why, size, "%s = %s: allowed is %s", key, keys[i].secret ? "(not shown)" : value,
                   keys[i].allowed);
    return false;
}

static bool defaults(struct config *config)
{
    *config = (struct config){
        .allow_export = true,
        .copying = COPY_AUTO,
        .async = true,
        .random = true,
        .uri_in_pem = true,
        .default_slot = CK_UNAVAILABLE_INFORMATION,
        .pin_most = PIN_DEFAULT,
        .collect_max = COLLECT_DEFAULT,
        .gcm_limit = GCM_LIMIT_MOST,
        .audit = { .wait_ms = AUDIT_WAIT_DEFAULT },
        .limits = { .sessions_max = SESSIONS_DEFAULT,
                    .sessions_idle = IDLE_UNSET,
                    .wait_ms = WAIT_DEFAULT,
                    .retry_ms = RETRY_DEFAULT },
    };
    return copy(BRIDGE_DEFAULT_MODULE, &config->module_path);
}

bool config_load(config_lookup *lookup, void *arg, struct config *out, char *why, size_t size)
{
    bool ok = defaults(out);

    for (size_t i = 0; ok && i < COUNT(keys); i++)
        ok = key_load(i, lookup, arg, out, why, size);
    if (!ok) {
        config_clear(out);
        return false;
    }
    if (!out->random) /* what is not asked for is not offered */
        out->blocked |= 1UL << OSSL_OP_RAND;
    if (out->limits.sessions_idle == IDLE_UNSET)
        out->limits.sessions_idle = out->limits.sessions_max;
    return true;
}

void config_clear(struct config *config)
{
    OPENSSL_free(config->module_path);
    OPENSSL_free(config->module_sha256);
    OPENSSL_free(config->init_args);
    OPENSSL_free(config->pin_file);
    OPENSSL_free(config->token_pins);
    OPENSSL_free(config->gcm_state);
    OPENSSL_free(config->audit.where);
    OPENSSL_free(config->metrics);
    OPENSSL_free(config->debug);
    secret_free(config->pin);
    *config = (struct config){ 0 };
}
