/* Mistakes that operators make with PINs, and tokens that fail or go: what no error may say, and
 * what still has to work. */
#include "harness.h"
#include "operator.h"

#include <errno.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/store.h>

#include "pkcs11_bridge.h"

#define KEY   "pkcs11:token=soft;object=p256;type=private"
#define QUICK "pkcs11-retry-ms = 200\npkcs11-log = none\n"

static unsigned bad;

static bool opens(OSSL_LIB_CTX *libctx, const char *uri)
{
    EVP_PKEY *key = key_load_uri(libctx, uri);

    EVP_PKEY_free(key);
    return key != NULL;
}

static void assert_opens(OSSL_LIB_CTX *libctx, const char *uri)
{
    char error[1200];

    if (!opens(libctx, uri))
        fail_msg("%s: %s", uri, last_error(error, sizeof(error)));
}

/* A file with this text; path ends in XXXXXX. */
static void make_file(char *path, const char *text, size_t len)
{
    int fd = mkstemp(path);

    assert_int_equal(write(fd, text, len), len);
    close(fd);
}

/* A PIN that stands where none may: the URI is refused, and not a piece of it is told. */
static void test_mistakes_uri(void **state)
{
    static const char *const uris[] = {
        KEY "?pin-value:471108152",
        KEY "?pin-value=4711&08152",
        KEY ";pin-value=4711;08152",
        KEY ";pin-value=4711;08152=x",
        KEY "?pin-source=471108152",
        KEY "&pin-value=471108152",
        KEY ",pin-value=471108152",
        KEY "?pin-source=file:471108152",
        KEY "?pin-source=file:/nowhere;pin-value=471108152",
        "pkcs11:token=soft;object=p256?pin-source=/nowhere?pin-value=471108152",
        KEY ";471108152",
        KEY "?471108152",
        "pkcs11:token=soft&pin-value=471108152",
        "pkcs11:token=soft%26pin-value=471108152",
        "pkcs11:token=soft;type=private&pin-value=471108152",
    };
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    char error[1200];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(uris); i++) {
        calls_reset();
        assert_false(opens(libctx, uris[i]));
        assert_int_equal(calls("C_Login"), 0);
        (void)last_error(error, sizeof(error));
        if (strstr(error, "4711") != NULL || strstr(error, "8152") != NULL || error[0] == '\0')
            fail_msg("%s: %s", uris[i], error);
    }
    OSSL_LIB_CTX_free(libctx);
}

/* The same in the configuration. */
static void test_mistakes_configuration(void **state)
{
    static const char *const settings[] = {
        "pkcs11-token-pins = 471108152\n",
        "pkcs11-token-pins = pkcs11:token=soft 471108152\n",
        "pkcs11-module-token-pin = /471108152\n",
        "pkcs11-module-token-pin = file:471108152\n",
    };
    char error[1200];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        OSSL_LIB_CTX *libctx = libctx_new_faulty(settings[i]);

        assert_false(opens(libctx, KEY));
        (void)last_error(error, sizeof(error));
        if (strstr(error, "4711") != NULL || error[0] == '\0')
            fail_msg("%s: %s", settings[i], error);
        OSSL_LIB_CTX_free(libctx);
    }
}

/* What is no text is no PIN: nothing of it is shown to a token, which would count it. */
static void test_mistakes_pin_file(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } cases[] = {
        { "1\0002\0003\0004\000", 8 }, /* UTF-16 */
        { "\xff\xfe"
          "1\0002\0003\0004\000\n\000",
          12 },
        { "\xfe\xff\0001\0002\0003\0004", 10 },
        { "12\00034\n", 6 },
        { "\xef\xbb\xbf"
          "1234\n",
          8 },
    };
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char path[] = "/tmp/bridge-pin-XXXXXX", uri[160];

        make_file(path, cases[i].text, cases[i].len);
        snprintf(uri, sizeof(uri), KEY "?pin-source=file:%s", path);
        calls_reset();
        assert_false(opens(libctx, uri));
        if (calls("C_Login") != 0)
            fail_msg("case %zu was shown", i);
        ERR_clear_error();
        unlink(path);
    }
    OSSL_LIB_CTX_free(libctx);
}

/* Of several places for a PIN, the error names the file that could not be read, and no other. */
static void test_mistakes_missing_file(void **state)
{
    static const struct {
        const char *settings, *query, *file;
    } cases[] = {
        { "pkcs11-module-token-pin = file:/none/conf\n", "", "/none/conf" },
        { "pkcs11-module-token-pin = file:/none/conf\n", "?pin-source=file:/none/uri",
          "/none/uri" },
        { "pkcs11-module-token-pin = 1234\n", "?pin-source=file:/none/uri", "/none/uri" },
    };
    char error[1200], uri[160];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        OSSL_LIB_CTX *libctx = libctx_new(cases[i].settings);

        snprintf(uri, sizeof(uri), "%s%s", KEY, cases[i].query);
        ERR_clear_error();
        assert_false(opens(libctx, uri));
        (void)last_error(error, sizeof(error));
        snprintf(uri, sizeof(uri), "cannot read the PIN from %s: ", cases[i].file);
        if (strstr(error, uri) == NULL)
            fail_msg("case %zu: %s", i, error);
        OSSL_LIB_CTX_free(libctx);
    }
}

/* A PIN file that somebody left with a PIN that is wrong does not stand before the one that is
 * configured, in any library context of the process. */
static void test_mistakes_stale_file(void **state)
{
    char wrong[] = "/tmp/bridge-pin-XXXXXX", uri[160];
    OSSL_LIB_CTX *libctx = libctx_new_faulty(QUICK);
    CK_SESSION_HANDLE session;

    (void)state;
    make_file(wrong, "0815\n", 5);
    snprintf(uri, sizeof(uri), KEY "?pin-source=file:%s", wrong);
    assert_opens(libctx, "pkcs11:token=soft;object=p256;type=public"); /* the module is up */
    session = operator_session(true);
    assert_opens(libctx, uri); /* somebody is logged in: it is not tried */
    fault("C_SignInit 1 1 - logout");
    {
        EVP_PKEY *key = key_load_uri(libctx, KEY);

        (void)key_signs(libctx, key); /* now it is, and refused */
        ERR_clear_error();
        fault("");
        calls_reset();
        if (!key_signs(libctx, key)) {
            char error[1200];

            fail_msg("%s", last_error(error, sizeof(error)));
        }
        EVP_PKEY_free(key);
    }
    (void)p11->C_CloseSession(session);
    unlink(wrong);
    OSSL_LIB_CTX_free(libctx);
}

/* The PIN was changed on the token, and then where pkcs11-token-pins has it: the old one is not
 * shown any more. */
static void test_mistakes_listed_pin_changed(void **state)
{
    char path[] = "/tmp/bridge-pins-XXXXXX", settings[160];
    OSSL_LIB_CTX *libctx;
    CK_SESSION_HANDLE session;
    EVP_PKEY *key;
    FILE *file;

    (void)state;
    make_file(path, "pkcs11:token=soft 1234\n", 23);
    snprintf(settings, sizeof(settings), "pkcs11-token-pins = file:%s\n%s", path, QUICK);
    libctx = libctx_new_faulty(settings);
    key = key_load_uri(libctx, KEY);
    assert_non_null(key);
    session = operator_session(false);
    operator_set_pin(session, "1234", "8642");
    file = fopen(path, "w");
    assert_non_null(file);
    fputs("pkcs11:token=soft 8642\n", file);
    fclose(file);
    calls_reset();
    fault("C_SignInit 1 1 - logout");
    if (!key_signs(libctx, key) || calls("C_Login") != 1) {
        char error[1200];

        fail_msg("%lu logins, %s", calls("C_Login"), last_error(error, sizeof(error)));
    }
    fault("");
    operator_set_pin(session, "8642", "1234");
    (void)p11->C_CloseSession(session);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
    unlink(path);
}

/* A call, so that a rule is followed now. */
static void poke(void)
{
    CK_C_GetFunctionList get;
    CK_FUNCTION_LIST *faulty;
    CK_INFO info;

    *(void **)&get = fault_symbol("C_GetFunctionList");
    assert_int_equal(get(&faulty), CKR_OK);
    (void)faulty->C_GetInfo(&info);
}

/* One slot, with the token that has this label; NULL: as it was. */
static void set_token(const char *label)
{
    CK_SLOT_ID soft, real;
    char rule[120];

    assert_int_equal(operator_slots("soft", &soft, 1), 1);
    if (label == NULL) {
        fault("* 1 1 - slots=");
    } else {
        assert_int_equal(operator_slots(label, &real, 1), 1);
        snprintf(rule, sizeof(rule), "* 1 1 - slots=%lx:%lx", soft, real);
        fault(rule);
    }
    poke();
    fault("");
}

/* From here on there is another token than 'soft', with a PIN of its own. */
static void second_token(void)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    CK_SLOT_ID slot;

    assert_opens(libctx, "pkcs11:token=soft;object=p256;type=public"); /* the module is up */
    if (operator_slots("second", &slot, 1) == 0)
        (void)operator_init_token("second", "5678");
    OSSL_LIB_CTX_free(libctx);
    libctx = libctx_new_faulty("");
    assert_opens(libctx, "pkcs11:token=soft;object=p256;type=public");
    OSSL_LIB_CTX_free(libctx);
}

/* Where the PIN files of two tokens are missing, the error is about the first, with its file. */
static void test_mistakes_first_missing_file(void **state)
{
    char path[] = "/tmp/bridge-pins-XXXXXX", settings[120], error[1200];
    const char *lines =
        "pkcs11:token=soft file:/none/soft\npkcs11:token=second file:/none/second\n";
    CK_SLOT_ID soft, second, slots[16];
    CK_ULONG count = COUNT_OF(slots), i = 0;
    OSSL_LIB_CTX *libctx;

    (void)state;
    second_token();
    make_file(path, lines, strlen(lines));
    snprintf(settings, sizeof(settings), "pkcs11-token-pins = file:%s\n", path);
    libctx = libctx_new(settings);
    assert_opens(libctx, "pkcs11:token=soft;object=p256;type=public"); /* the module is up */
    assert_int_equal(operator_slots("soft", &soft, 1), 1);
    assert_int_equal(operator_slots("second", &second, 1), 1);
    assert_int_equal(p11->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    OSSL_LIB_CTX_free(libctx);
    libctx = libctx_new(settings);
    ERR_clear_error();
    assert_false(opens(libctx, "pkcs11:type=private"));
    (void)last_error(error, sizeof(error));
    while (slots[i] != soft && slots[i] != second)
        i++;
    if (strstr(error, slots[i] == soft ? "from /none/soft: " : "from /none/second: ") == NULL)
        fail_msg("%s", error);
    OSSL_LIB_CTX_free(libctx);
    unlink(path);
}

/* The PIN of the configuration has gone to the only token there was. Where another one is the only
 * one now, it is not for that. */
static void test_mistakes_other_token_alone(void **state)
{
    static const char *const uri = "pkcs11:object=p256;type=private";
    OSSL_LIB_CTX *libctx;

    (void)state;
    second_token();
    libctx = libctx_new_faulty(QUICK);
    assert_opens(libctx, "pkcs11:token=soft;object=p256;type=public");
    set_token("soft");
    (void)opens(libctx, uri); /* its session is lost */
    assert_opens(libctx, uri);
    set_token("second");
    calls_reset();
    assert_false(opens(libctx, uri));
    assert_false(opens(libctx, uri));
    assert_int_equal(calls("C_Login"), 0);
    ERR_clear_error();
    set_token(NULL);
    OSSL_LIB_CTX_free(libctx);
}

static bool decrypts(OSSL_LIB_CTX *libctx, EVP_PKEY *key, int padding)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    unsigned char in[256] = { 1 }, out[256];
    size_t len = sizeof(out);
    bool ok = EVP_PKEY_decrypt_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, padding) == 1 &&
              EVP_PKEY_decrypt(ctx, out, &len, in, sizeof(in)) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* What C_Login says is not taken for what the token says of the mechanism. */
static void test_mistakes_login_values(void **state)
{
    static const char *const values[] = {
        "CKR_MECHANISM_INVALID",      "CKR_MECHANISM_PARAM_INVALID",
        "CKR_BUFFER_TOO_SMALL",       "CKR_ARGUMENTS_BAD",
        "CKR_KEY_TYPE_INCONSISTENT",  "CKR_DATA_LEN_RANGE",
        "CKR_FUNCTION_NOT_SUPPORTED", "CKR_GENERAL_ERROR"
    };
    static const char *const when[] = {
        "C_DecryptInit 1", /* of the secret of implicit rejection: */
        "C_DecryptInit 2", "C_SignInit 1"
    };

    (void)state;
    for (size_t v = 0; v < COUNT_OF(values); v++)
        for (int use = 0; use < 3; use++) {
            OSSL_LIB_CTX *libctx = libctx_new_faulty(QUICK);
            EVP_PKEY *key = key_load(libctx, "rsa2048", "private");
            char rules[160];
            bool ok;

            assert_non_null(key);
            snprintf(rules, sizeof(rules), "%s 1 - logout; C_Login 1 * %s", when[use], values[v]);
            calls_reset();
            fault(rules);
            ok = use == 0   ? decrypts(libctx, key, RSA_PKCS1_OAEP_PADDING)
                 : use == 1 ? decrypts(libctx, key, RSA_PKCS1_PADDING)
                            : key_signs(libctx, key);
            if (ok || calls("C_Login") != 1)
                print_error("%s, use %d: %s, %lu logins\n", values[v], use, ok ? "done" : "failed",
                            calls("C_Login")),
                    bad++;
            fault("");
            ERR_clear_error();
            EVP_PKEY_free(key);
            OSSL_LIB_CTX_free(libctx);
        }
    assert_int_equal(bad, 0);
}

static bool generates(OSSL_LIB_CTX *libctx, const char *uri)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "EC", "provider=pkcs11");
    EVP_PKEY *key = NULL;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)"P-256", 0),
        OSSL_PARAM_construct_utf8_string(PKCS11_BRIDGE_KEYGEN_URI, (char *)(uintptr_t)uri, 0),
        OSSL_PARAM_construct_end()
    };

    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
    (void)EVP_PKEY_generate(ctx, &key);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    return key != NULL;
}

/* A token that does not answer holds up nobody who looks for another, wherever its slot comes. */
static void test_mistakes_dead_neighbour(void **state)
{
    OSSL_LIB_CTX *libctx;
    unsigned long asked;

    (void)state;
    second_token();
    libctx = libctx_new_faulty("pkcs11-log = none\n");
    fault("C_GetTokenInfo 1 * CKR_DEVICE_ERROR token=second");
    calls_reset();
    assert_opens(libctx, "pkcs11:token=soft;object=p256;type=private");
    asked = calls("C_GetTokenInfo");
    fault("");
    OSSL_LIB_CTX_free(libctx);
    if (asked > 8)
        fail_msg("%lu calls", asked);
}

/* A key is made on the token that is there, though another that fits was used before. */
static void test_mistakes_generate_after_failover(void **state)
{
    OSSL_LIB_CTX *libctx;
    bool made;

    (void)state;
    second_token();
    libctx = libctx_new_faulty(QUICK "pkcs11-module-token-pin = 1234\n");
    assert_opens(libctx, "pkcs11:token=soft;object=p256;type=public"); /* the module is up */
    set_token("soft");
    assert_true(generates(libctx, "pkcs11:model=SoftHSM%20v2;object=over-1?pin-value=1234"));
    set_token("second");
    made = generates(libctx, "pkcs11:model=SoftHSM%20v2;object=over-2?pin-value=5678");
    set_token(NULL);
    OSSL_LIB_CTX_free(libctx);
    if (!made) {
        char error[1200];

        fail_msg("%s", last_error(error, sizeof(error)));
    }
}

/* A new key whose URI fits two tokens is on none of them, and the error tells them apart; also
 * where the first is known already, or both have one label. */
static void test_mistakes_generate_ambiguous(void **state)
{
    static const char *const uris[] = { "pkcs11:object=amb", "pkcs11:model=SoftHSM%20v2;object=amb",
                                        "pkcs11:token=second;object=amb" };
    OSSL_LIB_CTX *libctx;
    CK_SLOT_ID slots[2];
    char error[1200], text[200];

    (void)state;
    second_token();
    libctx = libctx_new_faulty(QUICK "pkcs11-module-token-pin = 1234\n");
    assert_opens(libctx, KEY);
    if (operator_slots("second", slots, 2) == 1)
        (void)operator_init_token("second", "5678");
    assert_int_equal(operator_slots("second", slots, 2), 2);
    calls_reset();
    for (size_t i = 0; i < COUNT_OF(uris); i++) {
        assert_false(generates(libctx, uris[i]));
        (void)last_error(error, sizeof(error));
        for (size_t s = 0; s < 2; s++) {
            snprintf(text, sizeof(text), ", slot %lu)", slots[s]);
            if (strstr(error, text) == NULL || strstr(error, "'second' (serial ") == NULL ||
                strstr(error, ";serial=") == NULL ||
                (strstr(error, "'soft' (serial ") == NULL) != (i == 2))
                fail_msg("%s: %s", uris[i], error);
        }
    }
    assert_int_equal(calls("C_GenerateKeyPair") + calls("C_OpenSession") + calls("C_Login"), 0);
    snprintf(text, sizeof(text), "pkcs11:token=second;slot-id=%lu;object=amb?pin-value=5678",
             slots[1]);
    if (!generates(libctx, text))
        fail_msg("%s", last_error(error, sizeof(error)));
    OSSL_LIB_CTX_free(libctx);

    libctx = libctx_new_faulty(QUICK "pkcs11-ambiguous = first\n");
    assert_true(generates(libctx, "pkcs11:token=second;object=amb-1?pin-value=5678"));
    OSSL_LIB_CTX_free(libctx);

    libctx = libctx_new_faulty(QUICK "pkcs11-module-token-pin = 1234\n");
    fault("token-flags 2 second"); /* CKF_WRITE_PROTECTED */
    if (!generates(libctx, "pkcs11:object=amb-2?pin-value=1234"))
        fail_msg("%s", last_error(error, sizeof(error)));
    assert_opens(libctx, "pkcs11:token=soft;object=amb-2;type=public");
    fault("");
    OSSL_LIB_CTX_free(libctx);
}

/* test-mistakes [NAME]: one test */
/* Which token refused the PIN, and where it came from. */
static void test_mistakes_sources(void **state)
{
    char pin[] = "/tmp/bridge-pin-XXXXXX", pins[] = "/tmp/bridge-pins-XXXXXX";
    char of_file[100], of_table[100], of_uri[200], line[100];
    const struct {
        const char *settings, *uri, *says[2];
    } cases[] = {
        { "pkcs11-module-token-pin = wrong-1\n", KEY, { "pkcs11-module-token-pin", NULL } },
        { of_file, KEY, { "pkcs11-module-token-pin", pin } },
        { of_table, KEY, { "pkcs11-token-pins", NULL } },
        { "", KEY "?pin-value=wrong-4", { "from the URI", NULL } },
        { "", of_uri, { "pin-source of the URI", pin } },
    };

    (void)state;
    make_file(pin, "wrong-2\n", 8);
    snprintf(line, sizeof(line), "pkcs11:token=soft wrong-3\n");
    make_file(pins, line, strlen(line));
    snprintf(of_file, sizeof(of_file), "pkcs11-module-token-pin = file:%s\n", pin);
    snprintf(of_table, sizeof(of_table), "pkcs11-token-pins = file:%s\n", pins);
    snprintf(of_uri, sizeof(of_uri), KEY "?pin-source=file:%s", pin);
    for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) { /* the second time it was refused before */
        OSSL_LIB_CTX *libctx = libctx_new_faulty(cases[i / 2].settings);
        char error[1500];

        assert_false(opens(libctx, cases[i / 2].uri));
        (void)last_error(error, sizeof(error));
        if (strstr(error, "'soft'") == NULL || strstr(error, cases[i / 2].says[0]) == NULL ||
            (cases[i / 2].says[1] != NULL && strstr(error, cases[i / 2].says[1]) == NULL) ||
            strstr(error, "wrong-") != NULL)
            fail_msg("%s", error);
        OSSL_LIB_CTX_free(libctx);
    }
    unlink(pin);
    unlink(pins);
}

/* A PIN file that is there no more when a login has to be made again. */
static void test_mistakes_file_gone(void **state)
{
    char pin[] = "/tmp/bridge-pin-XXXXXX", settings[100], error[1500];
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;

    (void)state;
    make_file(pin, "1234\n", 5);
    snprintf(settings, sizeof(settings), QUICK "pkcs11-module-token-pin = file:%s\n", pin);
    libctx = libctx_new_faulty(settings);
    key = key_load_uri(libctx, KEY);
    assert_non_null(key);
    unlink(pin);
    fault("C_SignInit 1 1 - logout");
    assert_false(key_signs(libctx, key));
    (void)last_error(error, sizeof(error));
    if (strstr(error, pin) == NULL || strstr(error, "No such file") == NULL)
        fail_msg("%s", error);
    fault("");
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* Whether one of the errors has this for its reason, which is all that some programs show. */
static bool reason_is(const char *reason)
{
    bool found = false;
    unsigned long error;

    while ((error = ERR_get_error()) != 0)
        found = found || (ERR_reason_error_string(error) != NULL &&
                          strcmp(ERR_reason_error_string(error), reason) == 0);
    return found;
}

static void test_mistakes_reasons(void **state)
{
    static const struct {
        const char *settings, *uri, *reason;
    } cases[] = {
        { "", "pkcs11:token=nowhere;object=p256", "token not found" },
        { "", "pkcs11:token=soft;object=nothing", "object not found" },
        { "", "pkcs11:nonsense", "bad pkcs11 URI" },
        { "", KEY "?pin-source=/nowhere", "PIN missing or refused" },
        { "pkcs11-module-token-pin = wrong-one\n", KEY, "PIN missing or refused" },
        { "pkcs11-max-pin-length = 1\n", KEY, "PIN missing or refused" },
        { "pkcs11-module-path = /nowhere.so\n", KEY, "cannot load the PKCS#11 module" },
        { "pkcs11-log = loud\n", KEY, "mistake in the pkcs11 section of openssl.cnf" },
        { "pkcs11-module-init-args = x\n", KEY, "cannot load the PKCS#11 module" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        OSSL_LIB_CTX *libctx = libctx_new_faulty(cases[i].settings);

        assert_false(opens(libctx, cases[i].uri));
        if (!reason_is(cases[i].reason))
            fail_msg("%s, %s: not \"%s\"", cases[i].settings, cases[i].uri, cases[i].reason);
        OSSL_LIB_CTX_free(libctx);
    }
}

/* Applications look at errno first: what loading a key left there, one would take for the reason.
 */
static void test_mistakes_errno(void **state)
{
    static const struct {
        const char *settings, *uri;
    } cases[] = {
        { "", KEY },
        { "", "pkcs11:token=nowhere;object=p256" },
        { "", "pkcs11:token=soft;object=nothing" },
        { "", KEY "?pin-source=/nowhere" },
        { "pkcs11-module-token-pin = file:/nowhere\n", KEY },
        { "pkcs11-token-pins = file:/nowhere\n", KEY },
        { "pkcs11-module-token-pin = wrong\n", KEY },
        { "pkcs11-module-path = /nowhere.so\n", KEY },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        OSSL_LIB_CTX *libctx = libctx_new_faulty(cases[i].settings);
        OSSL_STORE_CTX *store =
            OSSL_STORE_open_ex(cases[i].uri, libctx, NULL, NULL, NULL, NULL, NULL, NULL);
        OSSL_STORE_INFO *info;
        EVP_PKEY *key;
        int after;

        assert_non_null(store);
        errno = 4711;
        info = OSSL_STORE_load(store);
        after = errno;
        key = info != NULL ? OSSL_STORE_INFO_get1_PKEY(info) : NULL;
        assert_int_equal(key != NULL, i == 0);
        if (after != 4711)
            fail_msg("%s, %s: %s", cases[i].settings, cases[i].uri, strerror(after));
        errno = 4711;
        if (key != NULL)
            assert_true(key_signs(libctx, key));
        assert_int_equal(errno, 4711);
        EVP_PKEY_free(key);
        OSSL_STORE_INFO_free(info);
        OSSL_STORE_close(store);
        ERR_clear_error();
        OSSL_LIB_CTX_free(libctx);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes_uri),
        cmocka_unit_test(test_mistakes_configuration),
        cmocka_unit_test(test_mistakes_pin_file),
        cmocka_unit_test(test_mistakes_reasons),
        cmocka_unit_test(test_mistakes_sources),
        cmocka_unit_test(test_mistakes_file_gone),
        cmocka_unit_test(test_mistakes_errno),
        cmocka_unit_test(test_mistakes_missing_file),
        cmocka_unit_test(test_mistakes_stale_file),
        cmocka_unit_test(test_mistakes_listed_pin_changed),
        cmocka_unit_test(test_mistakes_login_values),
        cmocka_unit_test(test_mistakes_first_missing_file),
        cmocka_unit_test(test_mistakes_other_token_alone),
        cmocka_unit_test(test_mistakes_dead_neighbour),
        cmocka_unit_test(test_mistakes_generate_after_failover),
        cmocka_unit_test(test_mistakes_generate_ambiguous),
    };

    operator_open();
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
