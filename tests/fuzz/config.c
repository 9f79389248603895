/* The configuration: the section as libcrypto reads it, its keys, and those that nobody knows. */
#include "fuzz.h"

#include <openssl/bio.h>
#include <openssl/conf.h>
#include <openssl/err.h>

#include "instance/config.h"
#include "instance/section.h"

#define PREFIX "openssl_conf=i\n[i]\nproviders=p\n[p]\npkcs11=s\n[s]\n"

static const char *lookup(void *arg, const char *key)
{
    const CONF *conf = arg;

    return conf != NULL ? NCONF_get_string(conf, "s", key) : NULL;
}

static CONF *section_load(const char *text, size_t len)
{
    BIO *bio = BIO_new_mem_buf(text, (int)len);
    CONF *conf = NCONF_new(NULL);
    long line;

    if (NCONF_load_bio(conf, bio, &line) <= 0) {
        NCONF_free(conf);
        conf = NULL;
    }
    BIO_free(bio);
    return conf;
}

/* Whether the mark is in what is told by right: in any value but that of a PIN. */
static bool marked(const CONF *conf)
{
    for (size_t i = 0; config_key(i) != NULL; i++) {
        const char *value = strstr(config_key(i), "token-pin") == NULL
                                ? NCONF_get_string(conf, "s", config_key(i))
                                : NULL;

        if (value != NULL && strstr(value, PIN_MARK) != NULL)
            return true;
    }
    return false;
}

static void check(const struct config *config)
{
    hold(config->module_path != NULL);
    hold(config->limits.sessions_max >= 1 && config->limits.sessions_max <= 1024);
    hold(config->limits.sessions_idle <= 1024);
    hold(config->limits.wait_ms <= 3600000 && config->limits.retry_ms <= 3600000);
    hold(config->gcm_limit >= 1 && config->gcm_limit <= 1ULL << 32);
    hold(config->gcm_state == NULL || config->gcm_state[0] == '/');
    hold(config->pin_file == NULL || config->pin_file[0] == '/');
    hold(config->token_pins == NULL || config->token_pins[0] == '/');
    hold(strlen(config->warnings) < sizeof(config->warnings));
}

static void load(CONF *conf, size_t size)
{
    char *why = malloc(size);
    struct config config;

    if (config_load(lookup, conf, &config, why, size)) {
        check(&config);
        hold(marked(conf) || strstr(config.warnings, PIN_MARK) == NULL);
    } else {
        hold(strlen(why) < size && (marked(conf) || strstr(why, PIN_MARK) == NULL));
    }
    config_clear(&config);
    free(why);
}

static void unknown(CONF *conf, const char *text, size_t len, size_t size)
{
    char *out = malloc(size);

    hold(setenv("OPENSSL_CONF", fuzz_file(text, len), 1) == 0);
    section_unknown("pkcs11", lookup, conf, out, size);
    hold(strlen(out) < size);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = { data, size };
    bool whole = input_byte(&input) % 4 == 3;
    size_t room = 1 + 2 * (size_t)input_byte(&input), len = input.len;
    uint8_t *rest = input_copy(&input, &len, true);
    char *text = malloc(sizeof(PREFIX) + len);
    CONF *conf;

    /* no other files of this machine */
    if (strstr((char *)rest, "include") == NULL && strlen((char *)rest) == len) {
        (void)sprintf(text, "%s%s", whole ? "" : PREFIX, (char *)rest);
        conf = section_load(text, strlen(text));
        load(conf, room);
        unknown(conf, text, strlen(text), room);
        NCONF_free(conf);
        ERR_clear_error();
    }
    free(text);
    free(rest);
    return 0;
}
