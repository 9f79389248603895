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

/* How the value of a key is read: one row of keys below. */
struct row {
    const char *key;
    /* Into the field. False where the value is not allowed. */
    bool (*read)(const struct row *row, const char *value, struct config *config);
    size_t field;          /* offset in struct config, of the type that read is for */
    const char *allowed;   /* in words; for read_first, read_second and read_choice, the words */
    const char *otherwise; /* what counts without it, for people */
    unsigned long long least, most;  /* of a number */
    bool (*fits)(const char *value); /* of a text; NULL: any does */
    /* Of each word of a list; false where it is not known. */
    bool (*word)(const char *word, struct config *config);
    bool owned;              /* the field is a text of the configuration's own */
    bool secret;             /* it may be a PIN */
    const char *environment; /* the variable that overrides the section */
};

static void *field_of(const struct row *row, struct config *config)
{
    return (char *)config + row->field;
}

static bool copy(const char *value, char **out)
{
    OPENSSL_free(*out);
    *out = OPENSSL_strdup(value);
    return *out != NULL;
}

/* char * */
static bool read_text(const struct row *row, const char *value, struct config *config)
{
    return (row->fits == NULL || row->fits(value)) && copy(value, field_of(row, config));
}

static bool is_absolute(const char *value)
{
    return value[0] == '/';
}

#define SHA256_DIGITS 64

static bool is_sha256(const char *value)
{
    return strlen(value) == SHA256_DIGITS &&
           strspn(value, "0123456789abcdefABCDEF") == SHA256_DIGITS;
}

/* A folder of the program's is nothing to write to. */
static bool is_debug(const char *value)
{
    return (strncmp(value, "file:/", 6) == 0 || strncmp(value, "level:", 6) == 0) &&
           strstr(value, ",file:") == NULL;
}

static bool is_audit_place(const char *value)
{
    return is_absolute(value) || strcmp(value, "syslog") == 0 || strcmp(value, "journald") == 0;
}

static bool file(const char *value, char **path)
{
    return strncmp(value, "file:/", 6) == 0 && copy(value + 5, path);
}

/* char * */
static bool read_file(const struct row *row, const char *value, struct config *config)
{
    return file(value, field_of(row, config));
}

/* A path without file: would be tried as a PIN, and cost a try. */
static bool read_pin(const struct row *row, const char *value, struct config *config)
{
    char why[256];

    (void)row;
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

/* The position of value in words ("one, two, three"), or -1. */
static int position(const char *value, const char *words)
{
    const size_t len = strlen(value);

    for (int i = 0;; i++) {
        size_t here = strcspn(words, ",");

        if (here == len && memcmp(words, value, len) == 0)
            return i;
        if (words[here] == '\0')
            return -1;
        words += here + strlen(", ");
    }
}

/* An enum, which is an unsigned: the position of the word. */
static bool read_choice(const struct row *row, const char *value, struct config *config)
{
    int i = position(value, row->allowed);

    *(unsigned *)field_of(row, config) = i < 0 ? 0 : (unsigned)i;
    return i >= 0;
}

/* bool: whether it is that word of the two */
static bool read_flag(const struct row *row, const char *value, struct config *config, int which)
{
    int i = position(value, row->allowed);

    *(bool *)field_of(row, config) = i == which;
    return i >= 0;
}

static bool read_first(const struct row *row, const char *value, struct config *config)
{
    return read_flag(row, value, config, 0);
}

static bool read_second(const struct row *row, const char *value, struct config *config)
{
    return read_flag(row, value, config, 1);
}

/* bool. pkcs11-provider takes true for one, and all else for the other. */
static bool read_truth(const struct row *row, const char *value, struct config *config)
{
    bool yes = position(value, "true, yes, 1") >= 0;

    *(bool *)field_of(row, config) = yes;
    return yes || position(value, "false, no, 0") >= 0;
}

/* bool. 1 forbids: provider-pkcs11(7) has it this way round. */
static bool read_forbidding(const struct row *row, const char *value, struct config *config)
{
    int i = position(value, "0, 1");

    *(bool *)field_of(row, config) = i == 0;
    return i >= 0;
}

static bool number(const struct row *row, const char *value, unsigned long long *out)
{
    char *end;

    errno = 0;
    *out = strtoull(value, &end, 10);
    return value[0] >= '0' && value[0] <= '9' && *end == '\0' && errno == 0 && *out >= row->least &&
           *out <= row->most;
}

/* unsigned */
static bool read_number(const struct row *row, const char *value, struct config *config)
{
    unsigned long long n;

    if (!number(row, value, &n))
        return false;
    *(unsigned *)field_of(row, config) = (unsigned)n;
    return true;
}

/* unsigned long long */
static bool read_large_number(const struct row *row, const char *value, struct config *config)
{
    return number(row, value, field_of(row, config));
}

/* CK_SLOT_ID, as people and tools write it */
static bool read_slot(const struct row *row, const char *value, struct config *config)
{
    char *end;

    errno = 0;
    *(CK_SLOT_ID *)field_of(row, config) = strtoul(value, &end, 0);
    return value[0] >= '0' && value[0] <= '9' && *end == '\0' && errno == 0;
}

static void text_add(char *text, size_t size, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

/* Every blank- or comma-separated word of value. What is not known is no reason to do without the
 * provider: newer ones have more. */
static bool read_words(const struct row *row, const char *value, struct config *config)
{
    _cleanup_(free_scoped) char *list = OPENSSL_strdup(value);
    char *rest = NULL;

    if (list == NULL)
        return false;
    for (char *one = strtok_r(list, " \t,", &rest); one != NULL;
         one = strtok_r(NULL, " \t,", &rest))
        if (!row->word(one, config))
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

static bool copying(const char *name, struct config *config)
{
    int i = position(name, "false, auto, true"); /* enum copying */

    config->copying = i < 0 ? config->copying : (enum copying)i;
    return i >= 0;
}

/* The PIN that a token took is kept in any case, since it is needed again after a failure. */
static bool cache_pins(const char *name, struct config *config)
{
    (void)config;
    return strcmp(name, "cache") == 0;
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

#define QUIRKS                                                                                     \
    "no-deinit, no-operation-state, no-session-callbacks, no-allowed-mechanisms, "                 \
    "luna-non-standard-cku-user"

/* The second and third work around calls that are never made here. */
static bool quirk(const char *name, struct config *config)
{
    int i = position(name, QUIRKS);

    config->no_deinit = config->no_deinit || i == 0;
    config->no_allowed_mechanisms = config->no_allowed_mechanisms || i == 3;
    config->luna_user = config->luna_user || i == 4;
    return i >= 0;
}

/* What is read into which field: the field's type is the one that the reader writes. */
#define FIELD(type, name)                                                                          \
    .field = offsetof(struct config, name) * _Generic(((struct config *)NULL)->name, type : 1)
#define TEXT(name, check)      .read = read_text, FIELD(char *, name), .owned = true, .fits = (check)
#define FROM_FILE(name)        .read = read_file, FIELD(char *, name), .owned = true
#define PIN(name)              .read = read_pin, FIELD(char *, name), .owned = true
#define FIRST(name)            .read = read_first, FIELD(bool, name)
#define SECOND(name)           .read = read_second, FIELD(bool, name)
#define TRUTH(name)            .read = read_truth, FIELD(bool, name)
#define FORBIDDING(name)       .read = read_forbidding, FIELD(bool, name)
#define CHOICE(name)           .read = read_choice, FIELD(unsigned, name)
#define NUMBER(name, from, to) .read = read_number, FIELD(unsigned, name), RANGE(from, to)
#define LARGE_NUMBER(name, from, to)                                                               \
    .read = read_large_number, FIELD(unsigned long long, name), RANGE(from, to)
#define RANGE(from, to) .least = (from), .most = (to)
#define SLOT(name)      .read = read_slot, FIELD(CK_SLOT_ID, name)
#define WORDS(each)     .read = read_words, .word = (each)

#define ROW(name, permitted, default_, ...)                                                        \
    {                                                                                              \
        .key = PKCS11_BRIDGE_CONF_##name, .allowed = (permitted), .otherwise = (default_),         \
        __VA_ARGS__                                                                                \
    }

#define YES_NO    "yes, no"
#define DIRECTORY "the absolute path of a directory"

static const struct row keys[] = {
    ROW(MODULE_PATH, "an absolute path", BRIDGE_DEFAULT_MODULE, TEXT(module_path, NULL),
        .environment = PKCS11_BRIDGE_ENV_MODULE),
    ROW(MODULE_SHA256, "the SHA-256 of the module's file, as 64 hexadecimal digits", "none",
        TEXT(module_sha256, is_sha256)),
    ROW(INSECURE_PATH, YES_NO, "no", FIRST(insecure_path)),
    ROW(INIT_ARGS, "a text for the module", "none", TEXT(init_args, NULL)),
    ROW(TOKEN_PIN,
        "the PIN itself, file: and the absolute path of a file that holds it (what begins with / "
        "is a path, not a PIN), or env: and the name of an environment variable that holds it",
        "none", PIN(pin_file), .secret = true),
    ROW(TOKEN_PINS, "file:/path, of a file that has a PIN for each token", "none",
        FROM_FILE(token_pins), .secret = true),
    ROW(PIN_SCOPE, "one, any", "one", SECOND(pin_for_any)),
    ROW(LOGIN_BEHAVIOR, "auto, always, never", "auto", CHOICE(login)),
    ROW(DEBUG, "file:/path,level:N or level:N", "none", TEXT(debug, is_debug)),
    ROW(LOAD_BEHAVIOR, "early", "at the first use", WORDS(early)),
    ROW(SESSIONS_MAX, "a number from 1 to 1024", TEXT_OF(SESSIONS_DEFAULT),
        NUMBER(limits.sessions_max, 1, SESSIONS_MOST)),
    ROW(CACHE_SESSIONS, "a number from 0 to 1024", "as pkcs11-sessions-max",
        NUMBER(limits.sessions_idle, 0, SESSIONS_MOST)),
    ROW(CACHE_KEYS, "auto, true, false", "auto", WORDS(copying)),
    ROW(SESSION_WAIT, "a number of milliseconds up to 3600000", TEXT_OF(WAIT_DEFAULT),
        NUMBER(limits.wait_ms, 0, MILLISECONDS_MOST)),
    ROW(RETRY, "a number of milliseconds up to 3600000", TEXT_OF(RETRY_DEFAULT),
        NUMBER(limits.retry_ms, 0, MILLISECONDS_MOST)),
    ROW(LOG, "auto, stderr, syslog, none", "auto", CHOICE(log)),
    ROW(ALLOW_EXPORT, "0 (public keys may be exported), 1 (they may not)", "0",
        FORBIDDING(allow_export)),
    ROW(BLOCK_OPERATIONS,
        "any of digest, cipher, mac, kdf, random, keymgmt, keyexch, signature, asym-cipher, kem, "
        "skeymgmt, encoder, decoder, store",
        "none", WORDS(block)),
    ROW(QUIRKS, "any of " QUIRKS, "none", WORDS(quirk)),
    ROW(ASSUME_FIPS, "true, false", "false", TRUTH(assume_fips)),
    ROW(DEFAULT_SLOT, "the number of a slot", "the first that fits", SLOT(default_slot)),
    ROW(CACHE_PINS, "cache", "cache", WORDS(cache_pins)),
    ROW(PIN_MOST, "a number from 1 to 1024", TEXT_OF(PIN_DEFAULT), NUMBER(pin_most, 1, SECRET_MAX)),
    ROW(URI_IN_PEM, "true, false", "true", TRUTH(uri_in_pem)),
    ROW(DIGEST, "auto, token, host", "auto", CHOICE(digest)),
    ROW(ALLOW_URI_MODULE, YES_NO, "no", FIRST(allow_uri_module)),
    ROW(RANDOM, YES_NO, "yes", FIRST(random)),
    ROW(ASYNC, "auto, off", "auto", FIRST(async)),
    ROW(PUBLIC_OPERATIONS, "host, token", "host", SECOND(public_on_token)),
    ROW(PEM_URI, "least, full", "least", SECOND(pem_uri_full)),
    ROW(AMBIGUOUS, "error, first", "error", SECOND(ambiguous_first)),
    ROW(EPHEMERAL, "software, token", "software", SECOND(ephemeral_on_token)),
    ROW(IMPORT, "software, session", "software", SECOND(import_session)),
    ROW(COLLECT_MAX, "a number of bytes up to 1073741824", TEXT_OF(COLLECT_DEFAULT),
        NUMBER(collect_max, 0, COLLECT_MOST)),
    ROW(GCM_CALLER_IV, YES_NO, "no", FIRST(gcm_caller_iv)),
    ROW(GCM_LIMIT, "a number from 1 to 4294967296", "4294967296",
        LARGE_NUMBER(gcm_limit, 1, GCM_LIMIT_MOST)),
    ROW(GCM_STATE, DIRECTORY, "none", TEXT(gcm_state, is_absolute)),
    ROW(AUDIT, "an absolute path, syslog, journald", "none", TEXT(audit.where, is_audit_place)),
    ROW(AUDIT_CHAIN, YES_NO, "no", FIRST(audit.chained)),
    ROW(AUDIT_REQUIRED, YES_NO, "no", FIRST(audit.required)),
    ROW(AUDIT_WAIT, "a number of milliseconds from 1 to 3600000", TEXT_OF(AUDIT_WAIT_DEFAULT),
        NUMBER(audit.wait_ms, 1, MILLISECONDS_MOST)),
    ROW(METRICS, DIRECTORY, "none", TEXT(metrics, is_absolute)),
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
    if (value == NULL || keys[i].read(&keys[i], value, out)) {
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
    for (size_t i = 0; i < COUNT(keys); i++)
        if (keys[i].owned)
            OPENSSL_free(*(char **)field_of(&keys[i], config));
    secret_free(config->pin);
    *config = (struct config){ 0 };
}
