#include "unit.h"

#include <stdlib.h>
#include <unistd.h>

#include <openssl/core_dispatch.h>

#include "instance/config.h"
#include "pkcs11_bridge.h"

struct pair {
    const char *key, *value;
};

/* The section: pairs, ended by a key of NULL. */
static const char *lookup(void *arg, const char *key)
{
    for (const struct pair *pair = arg; pair->key != NULL; pair++)
        if (strcmp(pair->key, key) == 0)
            return pair->value;
    return NULL;
}

static bool load(struct pair *pairs, struct config *config, char *why, size_t size)
{
    return config_load(lookup, pairs, config, why, size);
}

static void test_config_defaults(void **state)
{
    struct pair none[] = { { NULL, NULL } };
    struct config config;
    char why[512];

    (void)state;
    assert_true(load(none, &config, why, sizeof(why)));
    assert_non_null(strstr(config.module_path, "p11-kit-proxy"));
    assert_null(config.init_args);
    assert_null(config.pin);
    assert_null(config.pin_file);
    assert_null(config.token_pins);
    assert_false(config.pin_for_any);
    assert_int_equal(config.login, LOGIN_AUTO);
    assert_false(config.load_early);
    assert_int_equal(config.limits.sessions_max, 8);
    assert_int_equal(config.limits.sessions_idle, 8);
    assert_true(config.allow_export);
    assert_int_equal(config.blocked, 0);
    assert_false(config.no_deinit);
    assert_int_equal(config.digest, DIGEST_AUTO);
    assert_false(config.allow_uri_module);
    assert_false(config.insecure_path);
    assert_null(config.module_sha256);
    assert_true(config.random);
    assert_true(config.gcm_limit == 4294967296);
    assert_null(config.gcm_state);
    assert_false(config.gcm_caller_iv);
    config_clear(&config);
}

static void test_config_every_key(void **state)
{
    struct pair pairs[] = {
        { "pkcs11-module-path", "/lib/m.so" },
        { "pkcs11-module-init-args", "configdir='x'" },
        { "pkcs11-module-token-pin", "12 34" },
        { "pkcs11-module-login-behavior", "never" },
        { "pkcs11-module-load-behavior", "early" },
        { "pkcs11-module-cache-sessions", "0" },
        { "pkcs11-module-allow-export", "1" },
        { "pkcs11-module-block-operations", "digest, store signature" },
        { "pkcs11-module-quirks", "no-operation-state no-deinit luna-non-standard-cku-user" },
        { "pkcs11-module-assume-fips", "true" },
        { "pkcs11-module-default-slot-id", "0x10" },
        { "pkcs11-module-cache-pins", "cache" },
        { "pkcs11-max-pin-length", "32" },
        { "pkcs11-module-encode-provider-uri-to-pem", "false" },
        { "pkcs11-digest", "host" },
        { "pkcs11-sessions-max", "1024" },
        { "pkcs11-allow-uri-module", "yes" },
        { "pkcs11-random", "yes" },
        { "pkcs11-ephemeral", "token" },
        { "pkcs11-gcm-limit", "4294967295" },
        { "pkcs11-gcm-state", "/var/lib/gcm" },
        { "pkcs11-module-insecure-path", "yes" },
        { "pkcs11-module-sha256",
          "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF" },
        { NULL, NULL },
    };
    struct config config;
    char why[512] = "";

    (void)state;
    if (!load(pairs, &config, why, sizeof(why)))
        fail_msg("%s", why);
    assert_string_equal(config.module_path, "/lib/m.so");
    assert_string_equal(config.init_args, "configdir='x'");
    assert_string_equal(secret_data(config.pin), "12 34");
    assert_int_equal(config.login, LOGIN_NEVER);
    assert_true(config.load_early);
    assert_int_equal(config.limits.sessions_idle, 0);
    assert_int_equal(config.limits.sessions_max, 1024);
    assert_false(config.allow_export);
    assert_int_equal(config.blocked,
                     1UL << OSSL_OP_DIGEST | 1UL << OSSL_OP_STORE | 1UL << OSSL_OP_SIGNATURE);
    assert_true(config.no_deinit);
    assert_true(config.luna_user);
    assert_true(config.assume_fips);
    assert_int_equal(config.default_slot, 16);
    assert_int_equal(config.pin_most, 32);
    assert_false(config.uri_in_pem);
    assert_string_equal(config.warnings, "");
    assert_int_equal(config.digest, DIGEST_HOST);
    assert_true(config.allow_uri_module);
    assert_true(config.ephemeral_on_token);
    assert_int_equal(config.gcm_limit, 4294967295);
    assert_string_equal(config.gcm_state, "/var/lib/gcm");
    assert_true(config.insecure_path);
    assert_int_equal(strlen(config.module_sha256), 64);
    config_clear(&config);
}

static void test_config_pin_file(void **state)
{
    struct pair pairs[] = { { "pkcs11-module-token-pin", "file:/etc/pin" }, { NULL, NULL } };
    struct config config;
    char why[512];

    (void)state;
    assert_true(load(pairs, &config, why, sizeof(why)));
    assert_null(config.pin);
    assert_string_equal(config.pin_file, "/etc/pin");
    config_clear(&config);
}

static void test_config_bad_values(void **state)
{
    static const struct {
        const char *key, *value, *allowed;
    } cases[] = {
        { "pkcs11-module-login-behavior", "sometimes", "auto, always, never" },
        { "pkcs11-module-login-behavior", "", "auto, always, never" },
        { "pkcs11-module-cache-sessions", "-1", "0 to 1024" },
        { "pkcs11-module-cache-sessions", "5x", "0 to 1024" },
        { "pkcs11-sessions-max", "0", "1 to 1024" },
        { "pkcs11-sessions-max", "1025", "1 to 1024" },
        { "pkcs11-sessions-max", "99999999999999999999999", "1 to 1024" },
        { "pkcs11-module-allow-export", "yes", "0 (" },
        { "pkcs11-module-assume-fips", "perhaps", "true, false" },
        { "pkcs11-module-default-slot-id", "-1", "the number of a slot" },
        { "pkcs11-module-default-slot-id", "", "the number of a slot" },
        { "pkcs11-max-pin-length", "1025", "1 to 1024" },
        { "pkcs11-digest", "gpu", "auto, token, host" },
        { "pkcs11-allow-uri-module", "maybe", "yes, no" },
        { "pkcs11-random", "1", "yes, no" },
        { "pkcs11-module-insecure-path", "true", "yes, no" },
        { "pkcs11-module-sha256", "", "64 hexadecimal digits" },
        { "pkcs11-module-sha256", "0x123", "64 hexadecimal digits" },
        { "pkcs11-ephemeral", "none", "software, token" },
        { "pkcs11-gcm-limit", "0", "1 to 4294967296" },
        { "pkcs11-gcm-limit", "4294967297", "1 to 4294967296" },
        { "pkcs11-gcm-limit", "18446744073709551617", "1 to 4294967296" },
        { "pkcs11-gcm-limit", "-1", "1 to 4294967296" },
        { "pkcs11-gcm-limit", "5k", "1 to 4294967296" },
        { "pkcs11-gcm-state", "gcm", "the absolute path" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct pair pairs[] = { { cases[i].key, cases[i].value }, { NULL, NULL } };
        struct config config;
        char why[512] = "";

        check_case(!load(pairs, &config, why, sizeof(why)), cases[i].value);
        check_contains(why, cases[i].key, cases[i].value);
        check_contains(why, cases[i].value, cases[i].value);
        check_contains(why, cases[i].allowed, cases[i].value);
        check_case(config.module_path == NULL && config.pin == NULL, cases[i].value);
    }
}

/* What is not known in a list is told, and done without. */
static void test_config_unknown_words(void **state)
{
    struct pair pairs[] = { { "pkcs11-module-block-operations", "digest everything store" },
                            { "pkcs11-module-quirks", "no-such-quirk, no-deinit" },
                            { "pkcs11-module-cache-pins", "sometimes" },
                            { "pkcs11-module-load-behavior", "late" },
                            { "pkcs11-module-cache-keys", "never" },
                            { NULL, NULL } };
    struct config config;
    char why[512];

    (void)state;
    assert_true(load(pairs, &config, why, sizeof(why)));
    assert_true(config.no_deinit);
    assert_int_equal(config.blocked, 1UL << OSSL_OP_DIGEST | 1UL << OSSL_OP_STORE);
    check_contains(config.warnings, "block-operations: unknown, and ignored: everything;", "block");
    check_contains(config.warnings, "quirks: unknown, and ignored: no-such-quirk;", "quirks");
    check_contains(config.warnings, "cache-pins: unknown, and ignored: sometimes; known is cache",
                   "cache-pins");
    check_contains(config.warnings, "load-behavior: unknown, and ignored: late; known is early",
                   "load-behavior");
    check_contains(config.warnings, "cache-keys: unknown, and ignored: never;", "cache-keys");
    assert_false(config.load_early);
    assert_int_equal(config.copying, COPY_AUTO);
    config_clear(&config);
}

/* The path of a file where the PIN should be is told apart from a PIN, and is not shown. */
static void test_config_bad_pins(void **state)
{
    static const char *const values[] = {
        "",
        "file:pin.txt",
        "file:",
        "/etc/passwd",
        "/etc/no-such-file.pin",
        "/1234",
        "env:",
        "env:1234",
        "env:BRIDGE_TEST_NO_PIN",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        struct pair pairs[] = { { "pkcs11-module-token-pin", values[i] }, { NULL, NULL } };
        struct config config;
        char why[512] = "";

        check_case(!load(pairs, &config, why, sizeof(why)), values[i]);
        check_contains(why, "pkcs11-module-token-pin = (not shown)", values[i]);
        check_contains(why, "file:", values[i]);
        check_case(values[i][0] != '/' || strstr(why, "begins with /") != NULL, values[i]);
        check_case(values[i][0] != '/' || strstr(why, values[i]) == NULL, values[i]);
    }
}

/* As the URI has it: the name is not tried as a PIN. */
static void test_config_pin_in_the_environment(void **state)
{
    struct pair pairs[] = { { "pkcs11-module-token-pin", "env:BRIDGE_TEST_PIN" }, { NULL, NULL } };
    struct config config;
    char why[512];

    (void)state;
    setenv("BRIDGE_TEST_PIN", "76 54", 1);
    assert_true(load(pairs, &config, why, sizeof(why)));
    assert_string_equal(secret_data(config.pin), "76 54");
    config_clear(&config);
}

/* Which token a PIN is for. */
static void test_config_pins_of_tokens(void **state)
{
    struct pair pairs[] = { { "pkcs11-token-pins", "file:/etc/ssl/pins" },
                            { "pkcs11-pin-scope", "any" },
                            { NULL, NULL } };
    static const struct {
        const char *key, *value, *allowed;
    } bad[] = { { "pkcs11-token-pins", "/etc/ssl/pins", "file:/path" },
                { "pkcs11-token-pins", "file:pins", "file:/path" },
                { "pkcs11-token-pins", "", "file:/path" },
                { "pkcs11-pin-scope", "every", "one, any" } };
    struct config config;
    char why[512];

    (void)state;
    assert_true(load(pairs, &config, why, sizeof(why)));
    assert_string_equal(config.token_pins, "/etc/ssl/pins");
    assert_true(config.pin_for_any);
    config_clear(&config);
    pairs[1].value = "one";
    assert_true(load(pairs, &config, why, sizeof(why)));
    assert_false(config.pin_for_any);
    config_clear(&config);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct pair one[] = { { bad[i].key, bad[i].value }, { NULL, NULL } };

        check_case(!load(one, &config, why, sizeof(why)), bad[i].value);
        check_contains(why, bad[i].key, bad[i].value);
        check_contains(why, bad[i].allowed, bad[i].value);
    }
}

static void test_config_environment_overrides(void **state)
{
    struct pair pairs[] = { { "pkcs11-module-path", "/lib/m.so" }, { NULL, NULL } };
    struct config config;
    char why[512];

    (void)state;
    setenv(PKCS11_BRIDGE_ENV_MODULE, "/lib/other.so", 1);
    assert_true(load(pairs, &config, why, sizeof(why)));
    assert_string_equal(config.module_path, "/lib/other.so");
    config_clear(&config);
    setenv(PKCS11_BRIDGE_ENV_MODULE, "", 1);
    assert_true(load(pairs, &config, why, sizeof(why)));
    assert_string_equal(config.module_path, "/lib/m.so");
    config_clear(&config);
    unsetenv(PKCS11_BRIDGE_ENV_MODULE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_defaults),
        cmocka_unit_test(test_config_every_key),
        cmocka_unit_test(test_config_pin_file),
        cmocka_unit_test(test_config_bad_values),
        cmocka_unit_test(test_config_unknown_words),
        cmocka_unit_test(test_config_bad_pins),
        cmocka_unit_test(test_config_pin_in_the_environment),
        cmocka_unit_test(test_config_pins_of_tokens),
        cmocka_unit_test(test_config_environment_overrides),
    };

    unsetenv(PKCS11_BRIDGE_ENV_MODULE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
