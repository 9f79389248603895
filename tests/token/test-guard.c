/* What stands before C_Login: how near the token is to locking, which token a PIN is for, and that
 * no operation shows it twice. */
#include "harness.h"
#include "operator.h"

#include <pthread.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/store.h>

#include "pkcs11_bridge.h"

#define KEY      "pkcs11:token=soft;object=p256;type=private"
#define QUICK    "pkcs11-retry-ms = 200\npkcs11-log = none\n"
#define FLAGS(f) "token-flags " f

static void assert_says(const char *what)
{
    char error[1200];

    if (strstr(last_error(error, sizeof(error)), what) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", what, error);
}

/* Opens uri and gives back whether there was a key. */
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

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static char *temporary(char *path)
{
    close(mkstemp(path));
    return path;
}

/* The flags count that the token has when the PIN is about to be shown, not those of an earlier
 * search. */
static void test_guard_fresh_flags(void **state)
{
    static const struct {
        const char *rule, *says;
        unsigned long logins;
    } cases[] = { { FLAGS("20000"), "one more wrong PIN before it locks", 0 },
                  { FLAGS("40000"), "CKR_PIN_LOCKED", 0 },
                  /* a pad: SoftHSM has none, and does not take NULL */
                  { FLAGS("100"), "C_Login: CKR_ARGUMENTS_BAD", 1 } };

    (void)state;
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        OSSL_LIB_CTX *libctx = libctx_new_faulty("");

        assert_opens(libctx, "pkcs11:token=soft;object=p256;type=public");
        calls_reset();
        fault(cases[c].rule);
        assert_false(opens(libctx, KEY));
        assert_says(cases[c].says);
        assert_int_equal(calls("C_Login"), cases[c].logins);
        fault("");
        assert_opens(libctx, KEY);
        OSSL_LIB_CTX_free(libctx);
    }
}

/* The login before each use of a key that wants one is a login like any other. */
static void test_guard_context(void **state)
{
    static const struct {
        const char *rule, *says;
        unsigned long logins;
    } cases[] = { { FLAGS("20000"), "one more wrong PIN before it locks", 0 },
                  { FLAGS("40000"), "CKR_PIN_LOCKED", 0 },
                  { FLAGS("100"), "C_Login: CKR_ARGUMENTS_BAD", 1 },
                  { "C_Login 1 * CKR_GENERAL_ERROR", "C_Login: CKR_GENERAL_ERROR", 1 },
                  { "C_Login 1 * CKR_DEVICE_ERROR", "C_Login: CKR_DEVICE_ERROR", 1 } };
    OSSL_LIB_CTX *libctx = libctx_new_faulty(QUICK);
    EVP_PKEY *other = key_load_uri(libctx, KEY), *key;

    (void)state;
    assert_non_null(other); /* logged in */
    operator_generate_always();
    key = key_load_uri(libctx, "pkcs11:token=soft;object=always;type=private");
    assert_non_null(key);
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        calls_reset();
        fault(cases[c].rule);
        assert_false(key_signs(libctx, key));
        assert_says(cases[c].says);
        assert_int_equal(calls("C_Login"), cases[c].logins);
        fault("");
        assert_true(key_signs(libctx, key));
    }
    calls_reset(); /* the PIN works, the signature does not: that is tried again as ever */
    fault("C_Sign 1 2 CKR_GENERAL_ERROR");
    assert_true(key_signs(libctx, key));
    assert_int_equal(calls("C_Sign"), 3);
    assert_true(calls("C_Login") >= 3);
    fault("");
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    OSSL_LIB_CTX_free(libctx);
}

/* What an operation that wants a login is, from its beginning to its end. */
static bool operation_open(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    (void)key;
    return opens(libctx, "pkcs11:token=soft;object=p384;type=private");
}

/* A search without a login that finds nothing, and two with one. */
static bool operation_open_in_phases(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    (void)key;
    return opens(libctx, "pkcs11:token=soft;object=nowhere;type=public");
}

static bool operation_list(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex("pkcs11:token=soft;object=p384", libctx, NULL, NULL,
                                               NULL, NULL, NULL, NULL);
    unsigned found = 0;

    (void)key;
    while (store != NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info == NULL)
            break;
        found += OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY;
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return found != 0; /* beside the public half */
}

static bool operation_sign(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    return key_signs(libctx, key);
}

static EVP_PKEY *generate(OSSL_LIB_CTX *libctx, const char *uri)
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
    return key;
}

static bool operation_generate(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    static unsigned made;
    EVP_PKEY *fresh;
    char uri[64];

    (void)key;
    snprintf(uri, sizeof(uri), "pkcs11:token=soft;object=guard-%u", made++);
    fresh = generate(libctx, uri);
    EVP_PKEY_free(fresh);
    return fresh != NULL;
}

static bool operation_delete(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    (void)key;
#if OPENSSL_VERSION_NUMBER >= 0x30200000L
    return OSSL_STORE_delete("pkcs11:token=soft;object=no-such-object", libctx, NULL, NULL, NULL,
                             NULL) == 1;
#else
    return opens(libctx, "pkcs11:token=soft;object=no-such-object");
#endif
}

static const char *const values[] = {
    "CKR_GENERAL_ERROR",    "CKR_FUNCTION_FAILED",        "CKR_DEVICE_ERROR",
    "CKR_DEVICE_MEMORY",    "CKR_DEVICE_REMOVED",         "CKR_HOST_MEMORY",
    "CKR_SESSION_CLOSED",   "CKR_SESSION_HANDLE_INVALID", "CKR_TOKEN_NOT_PRESENT",
    "CKR_OPERATION_ACTIVE", "CKR_USER_NOT_LOGGED_IN",     "CKR_CRYPTOKI_NOT_INITIALIZED",
    "CKR_ARGUMENTS_BAD",    "CKR_FUNCTION_CANCELED",
};

/* One operation shows a PIN once, whatever the token says to it, and the error is what it said. The
 * next operation shows it again, and works. */
static void test_guard_once_in_an_operation(void **state)
{
    static const struct {
        const char *name;
        bool (*run)(OSSL_LIB_CTX *libctx, EVP_PKEY *key);
        bool succeeds; /* where nothing fails */
    } operations[] = {
        { "open", operation_open, true },
        { "open in phases", operation_open_in_phases, false },
        { "list", operation_list, true },
        { "sign", operation_sign, true },
        { "generate", operation_generate, true },
        { "delete", operation_delete, false },
    };

    (void)state;
    for (size_t o = 0; o < COUNT_OF(operations); o++)
        for (size_t v = 0; v < COUNT_OF(values); v++) {
            OSSL_LIB_CTX *libctx = libctx_new_faulty(QUICK);
            EVP_PKEY *key = key_load_uri(libctx, KEY);
            char rules[128], says[64];

            assert_non_null(key);
            snprintf(rules, sizeof(rules), "C_SignInit 1 1 - logout; C_Login 1 * %s", values[v]);
            snprintf(says, sizeof(says), "C_Login: %s", values[v]);
            if (operations[o].run != operation_sign) { /* a process of its own, as it were */
                EVP_PKEY_free(key);
                key = NULL;
                OSSL_LIB_CTX_free(libctx);
                libctx = libctx_new_faulty(QUICK);
            }
            calls_reset();
            fault(rules);
            if (operations[o].run != operation_list)
                assert_false(operations[o].run(libctx, key));
            else
                (void)operations[o].run(libctx,
                                        key); /* the public half and the certificate are there */
            if (calls("C_Login") != 1)
                fail_msg("%s, %s: %lu logins", operations[o].name, values[v], calls("C_Login"));
            if (operations[o].run != operation_list)
                assert_says(says);
            fault("");
            ERR_clear_error();
            if (operations[o].run(libctx, key) != operations[o].succeeds)
                fail_msg("%s after %s", operations[o].name, values[v]);
            if (calls("C_Login") != 2)
                fail_msg("%s after %s: %lu logins", operations[o].name, values[v],
                         calls("C_Login"));
            ERR_clear_error();
            EVP_PKEY_free(key);
            OSSL_LIB_CTX_free(libctx);
            (void)p11->C_Finalize(NULL); /* it was said not to be initialised, and was */
        }
}

static void *open_once(void *libctx)
{
    (void)opens(libctx, KEY);
    ERR_clear_error();
    return NULL;
}

/* A session that the token lost between C_OpenSession and C_Login has compared no PIN: it is shown
 * on another one, once in an operation. */
static void test_guard_lost_session(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty(QUICK);
    EVP_PKEY *key = key_load_uri(libctx, KEY);

    (void)state;
    assert_non_null(key);
    calls_reset();
    fault("C_SignInit 1 1 - logout; C_Login 1 1 - drop-sessions");
    assert_true(key_signs(libctx, key));
    assert_int_equal(calls("C_Login"), 2);
    calls_reset();
    fault("C_SignInit 1 1 - logout; C_Login 1 * - drop-sessions");
    assert_false(key_signs(libctx, key));
    assert_says("C_Login: CKR_SESSION_HANDLE_INVALID");
    assert_int_equal(calls("C_Login"), 2);
    fault("");
    assert_true(key_signs(libctx, key));
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* Threads that fail at the same time do not lead each other to try again. */
static void test_guard_threads(void **state)
{
    static const char *const rules[] = { "C_Login 1 * CKR_GENERAL_ERROR delay=5",
                                         "C_Login 1 * CKR_DEVICE_ERROR delay=5" };

    (void)state;
    for (size_t r = 0; r < COUNT_OF(rules); r++) {
        OSSL_LIB_CTX *libctx = libctx_new_faulty(QUICK);
        pthread_t threads[24];

        calls_reset();
        fault(rules[r]);
        for (size_t t = 0; t < COUNT_OF(threads); t++)
            assert_int_equal(pthread_create(&threads[t], NULL, open_once, libctx), 0);
        for (size_t t = 0; t < COUNT_OF(threads); t++)
            pthread_join(threads[t], NULL);
        if (calls("C_Login") > COUNT_OF(threads))
            fail_msg("%s: %lu logins by %zu operations", rules[r], calls("C_Login"),
                     COUNT_OF(threads));
        fault("");
        assert_opens(libctx, KEY);
        OSSL_LIB_CTX_free(libctx);
    }
}

/* A PIN that the token did not look at, because somebody was logged in, does not take the place of
 * the one that it took. */
static void test_guard_untried(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-retry-ms = 0\npkcs11-log = none\n");
    EVP_PKEY *key = key_load_uri(libctx, KEY);
    CK_SESSION_HANDLE session = operator_session(false); /* the token stays logged in with it */

    (void)state;
    assert_non_null(key);
    fault("C_SignInit 1 * CKR_USER_NOT_LOGGED_IN"); /* that is not so, but believed */
    assert_false(key_signs(libctx, key));
    fault("");
    ERR_clear_error();
    calls_reset();
    assert_opens(libctx, KEY "?pin-value=untried");
    assert_int_equal(calls("C_Login"), 1);
    fault("C_SignInit 1 1 - logout");
    assert_true(key_signs(libctx, key));
    assert_int_equal(calls("C_Login"), 2);
    fault("");
    (void)p11->C_CloseSession(session);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* Where somebody is logged in already and no PIN is known, the one that is given is the best there
 * is. */
static void test_guard_logged_in_already(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    CK_SESSION_HANDLE session;
    EVP_PKEY *key;

    (void)state;
    assert_opens(libctx, "pkcs11:token=soft;object=p256;type=public"); /* the module is up */
    session = operator_session(true);
    key = key_load_uri(libctx, KEY);
    assert_non_null(key);
    fault("C_SignInit 1 1 - logout");
    assert_true(key_signs(libctx, key));
    fault("");
    (void)p11->C_CloseSession(session);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static EVP_RAND_CTX *random_ctx;
static pthread_t random_thread;

static void random_new(OSSL_LIB_CTX *libctx)
{
    EVP_RAND *rand = EVP_RAND_fetch(libctx, "PKCS11-RAND", "provider=pkcs11");

    random_ctx = EVP_RAND_CTX_new(rand, NULL);
    assert_int_equal(EVP_RAND_instantiate(random_ctx, 128, 0, NULL, 0, NULL), 1);
    EVP_RAND_free(rand);
}

static void *random_get(void *arg)
{
    unsigned char out[16];

    return EVP_RAND_generate(arg, out, sizeof(out), 128, 0, NULL, 0) == 1 ? arg : NULL;
}

/* Returns once the thread has called function. */
static void random_begin(const char *function)
{
    calls_reset();
    assert_int_equal(pthread_create(&random_thread, NULL, random_get, random_ctx), 0);
    for (unsigned ms = 0; ms < 1000 && calls(function) == 0; ms++)
        usleep(1000);
}

static void random_end(void)
{
    void *got = NULL;

    pthread_join(random_thread, &got);
    assert_non_null(got);
}

struct signing {
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;
};

static void *sign_slowly(void *arg)
{
    const struct signing *signing = arg;

    return key_signs(signing->libctx, signing->key) ? arg : NULL;
}

/* Leaves as many sessions in the pool as there are threads. */
static void sign_at_once(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    struct signing signing = { libctx, key };
    pthread_t threads[4];

    fault("C_Sign 1 * - delay=200");
    for (size_t t = 0; t < COUNT_OF(threads); t++)
        assert_int_equal(pthread_create(&threads[t], NULL, sign_slowly, &signing), 0);
    for (size_t t = 0; t < COUNT_OF(threads); t++) {
        void *signs = NULL;

        pthread_join(threads[t], &signs);
        assert_non_null(signs);
    }
}

static void random_looks_for_token(void)
{
    random_begin("C_GetSlotList");
}

/* Where the epoch ends between the token's flags and C_Login, that is not called, and so has not
 * failed: the operation logs in on the token that is found again. */
static void test_guard_not_asked(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-log = none\n");
    EVP_PKEY *key = key_load_uri(libctx, KEY);
    char error[1200];

    (void)state;
    assert_non_null(key);
    random_new(libctx);
    assert_non_null(random_get(random_ctx));
    sign_at_once(libctx, key);
    fault_callback(random_looks_for_token);
    fault("C_SignInit 1 1 - logout; C_GetTokenInfo 1 1 - callback; "
          "C_GenerateRandom 1 1 CKR_DEVICE_REMOVED");
    if (!key_signs(libctx, key))
        fail_msg("%s", last_error(error, sizeof(error)));
    random_end();
    fault("");
    EVP_RAND_CTX_free(random_ctx);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* A module that says what this library alone says is not believed: the PIN is shown once. */
static void test_guard_impersonated(void **state)
{
    (void)state;
    for (unsigned long own = 0xd0313100; own < 0xd0313115; own++) { /* enum own_rv */
        OSSL_LIB_CTX *libctx = libctx_new_faulty(QUICK);
        char rule[80];

        snprintf(rule, sizeof(rule), "C_Login 1 * 0x%lx", own);
        calls_reset();
        fault(rule);
        assert_false(opens(libctx, KEY));
        assert_says("C_Login: CKR 0x80000000");
        assert_int_equal(calls("C_Login"), 1);
        fault("");
        OSSL_LIB_CTX_free(libctx);
    }
}

/* From here on there is another token than 'soft'. It is made in a free slot, and is in another one
 * when the module is initialised again. */
static void test_guard_same_token_in_another_slot(void **state)
{
    static const char *const uri = "pkcs11:token=second;object=p256;type=private?pin-value=bad-one";
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    CK_SLOT_ID slot, after;

    (void)state;
    assert_opens(libctx, KEY);
    slot = operator_init_token("second", "5678");
    calls_reset();
    assert_false(opens(libctx, uri));
    assert_says("C_Login: CKR_PIN_INCORRECT");
    assert_int_equal(calls("C_Login"), 1);
    OSSL_LIB_CTX_free(libctx);

    libctx = libctx_new_faulty("");
    calls_reset();
    assert_false(opens(libctx, uri));
    assert_says("refused this PIN before");
    assert_int_equal(calls("C_Login"), 0);
    assert_int_equal(operator_slots("second", &after, 1), 1);
    assert_int_not_equal(slot, after);
    OSSL_LIB_CTX_free(libctx);
}

static bool has_key(CK_SLOT_ID slot, const char *label)
{
    CK_SESSION_HANDLE session = operator_session_on(slot, false);
    CK_OBJECT_HANDLE object;
    bool has = operator_find(session, label, &object, 1) == 1;

    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    return has;
}

static void make_key_on(CK_SLOT_ID slot, const char *pin, const char *label)
{
    CK_SESSION_HANDLE session = operator_session_on(slot, false);

    assert_int_equal(p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)(uintptr_t)pin, strlen(pin)),
                     CKR_OK);
    operator_generate(session, label);
    assert_int_equal(p11->C_Logout(session), CKR_OK);
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
}

/* Sees to it that a token 'second' has a key 'mine'; for each test that needs it. */
static void second_token(void)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    CK_SLOT_ID slots[2], slot;
    CK_ULONG count;

    assert_opens(libctx, "pkcs11:token=soft;object=p256;type=public"); /* the module is up */
    count = operator_slots("second", slots, 2);
    slot = count == 0 ? operator_init_token("second", "5678") : slots[0];
    if (count < 2 && !has_key(slot, "mine"))
        make_key_on(slot, "5678", "mine");
    OSSL_LIB_CTX_free(libctx);
}

/* Once more, with a token of the same label and another PIN. */
static void third_token(void)
{
    OSSL_LIB_CTX *libctx;
    CK_SLOT_ID slots[2];

    second_token();
    libctx = libctx_new_faulty("");
    assert_opens(libctx, "pkcs11:token=soft;object=p256;type=public");
    if (operator_slots("second", slots, 2) == 1)
        (void)operator_init_token("second", "9012");
    OSSL_LIB_CTX_free(libctx);
}

/* The serial number of the nth token with this label. */
static const char *serial_of(const char *label, CK_ULONG n, char serial[17])
{
    CK_SLOT_ID slots[4];
    CK_TOKEN_INFO info;

    assert_true(operator_slots(label, slots, 4) > n);
    assert_int_equal(p11->C_GetTokenInfo(slots[n], &info), CKR_OK);
    memcpy(serial, info.serialNumber, 16);
    serial[16] = '\0';
    return serial;
}

/* With two tokens that want a PIN, that of the configuration is for the one that the URI names. */
static void test_guard_one_pin_for_one_token(void **state)
{
    OSSL_LIB_CTX *libctx;
    char serial[17], uri[160];
    static const char *const unnamed[] = { "pkcs11:object=nowhere;type=private",
                                           "pkcs11:object=p256;type=private",
                                           "pkcs11:model=SoftHSM%20v2;object=p256;type=private",
                                           "pkcs11:slot-manufacturer=SoftHSM%20project;object=p256;"
                                           "type=private" };

    (void)state;
    second_token();
    libctx = libctx_new_faulty("");
    for (size_t i = 0; i < COUNT_OF(unnamed); i++) {
        calls_reset();
        assert_false(opens(libctx, unnamed[i]));
        assert_int_equal(calls("C_Login"), 0);
    }
    assert_false(opens(libctx, unnamed[0]));
    assert_says("'soft' (serial ");
    assert_false(opens(libctx, unnamed[0]));
    assert_says("'second' (serial ");
    assert_false(opens(libctx, unnamed[0]));
    assert_says(serial_of("second", 0, serial));
    assert_false(opens(libctx, unnamed[0]));
    assert_says("pkcs11-token-pins");
    assert_false(opens(libctx, unnamed[0]));
    assert_says("pkcs11-pin-scope");
    assert_null(generate(libctx, "pkcs11:object=no-token-named"));
    assert_null(generate(libctx, "pkcs11:")); /* nor for a session key */
    assert_int_equal(calls("C_Login"), 0);
    assert_says("'second' (serial ");

    snprintf(uri, sizeof(uri), "pkcs11:serial=%s;object=p256;type=private",
             serial_of("soft", 0, serial));
    assert_opens(libctx, uri);
    assert_int_equal(calls("C_Login"), 1);
    assert_opens(libctx, unnamed[1]); /* logged in by now: found without a PIN */
    assert_int_equal(calls("C_Login"), 1);
    OSSL_LIB_CTX_free(libctx);

    libctx = libctx_new_faulty("");
    calls_reset();
    assert_opens(libctx, KEY);
    assert_int_equal(calls("C_Login"), 1);
    OSSL_LIB_CTX_free(libctx);

    libctx = libctx_new_faulty("pkcs11-pin-scope = any\n");
    calls_reset();
    assert_false(opens(libctx, unnamed[0]));
    assert_int_equal(calls("C_Login"), 2);
    ERR_clear_error();
    OSSL_LIB_CTX_free(libctx);
}

/* A PIN that comes with the URI is for whatever the URI means. */
static void test_guard_pin_of_the_uri(void **state)
{
    OSSL_LIB_CTX *libctx;

    (void)state;
    second_token();
    libctx = libctx_new_faulty("");
    calls_reset();
    assert_opens(libctx, "pkcs11:object=p256;type=private?pin-value=1234");
    assert_true(calls("C_Login") >= 1);
    ERR_clear_error();
    OSSL_LIB_CTX_free(libctx);
}

static OSSL_LIB_CTX *libctx_with_pins(const char *path, const char *more)
{
    char settings[256];

    snprintf(settings, sizeof(settings), "pkcs11-token-pins = file:%s\n%s", path, more);
    return libctx_new_faulty(settings);
}

/* Each token with its own PIN, by a file of the configuration. */
static void test_guard_token_pins(void **state)
{
    char path[] = "/tmp/bridge-pins-XXXXXX", pin[] = "/tmp/bridge-pin-XXXXXX", text[512];
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;

    (void)state;
    second_token();
    write_file(temporary(pin), "5678\n");
    snprintf(text, sizeof(text),
             "# the tokens of this machine\n\n"
             "  pkcs11:token=soft \t 1234\n"
             "pkcs11:token=second   file:%s\n"
             "pkcs11:token=elsewhere 0000 ",
             pin);
    write_file(temporary(path), text);
    libctx = libctx_with_pins(path, "");
    calls_reset();
    assert_opens(libctx, "pkcs11:object=p256;type=private"); /* on soft, whichever comes first */
    key = key_load_uri(libctx, "pkcs11:object=mine;type=private");
    assert_non_null(key);
    assert_int_equal(calls("C_Login"), 2);
    fault("C_SignInit 1 1 - logout");
    assert_true(key_signs(libctx, key));
    fault("");
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);

    /* and before the PIN that is for the token which the URI names */
    libctx = libctx_with_pins(path, "pkcs11-module-token-pin = 1234\n");
    calls_reset();
    assert_opens(libctx, "pkcs11:token=second;object=mine;type=private");
    assert_opens(libctx, KEY);
    assert_int_equal(calls("C_Login"), 2);
    OSSL_LIB_CTX_free(libctx);

    /* as a pin-source says it, and in Windows' lines */
    snprintf(text, sizeof(text), "pkcs11:token=second %s\r\n", pin);
    write_file(path, text);
    libctx = libctx_with_pins(path, "");
    assert_opens(libctx, "pkcs11:object=mine;type=private");
    OSSL_LIB_CTX_free(libctx);
    unlink(path);
    unlink(pin);
}

/* A file that cannot be used: nothing is shown, and the error says where to look, but no PIN. */
static void test_guard_bad_token_pins(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        { "pkcs11:token=soft 1234\npkcs11:token=second\n", "line 2" },
        { "\npkcs11:tok=471108151 471108152\n", "line 2" },
        { "pkcs11:token=soft;object=%%% 471108152\n", "line 1" },
        { "pkcs11: 471108152\n", "line 1" },
        { "pkcs11:object=p256 471108152\n", "line 1" },
        { "soft 471108152\n", "line 1" },
        { "pkcs11:token=soft |471108152\n", "line 1" },
        { "pkcs11:token=soft file:471108152\n", "line 1" },
        { "pkcs11:token=soft file:/nowhere/at-all\n", "/nowhere/at-all" },
    };
    char path[] = "/tmp/bridge-pins-XXXXXX", error[1200];
    OSSL_LIB_CTX *libctx;

    (void)state;
    temporary(path);
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        write_file(path, cases[c].text);
        libctx = libctx_with_pins(path, "");
        calls_reset();
        assert_false(opens(libctx, KEY));
        assert_int_equal(calls("C_Login"), 0);
        (void)last_error(error, sizeof(error));
        if (strstr(error, cases[c].says) == NULL || strstr(error, "471108152") != NULL)
            fail_msg("%s: %s", cases[c].text, error);
        OSSL_LIB_CTX_free(libctx);
    }
    unlink(path);
    libctx = libctx_with_pins(path, "");
    assert_false(opens(libctx, KEY));
    assert_says(path);
    OSSL_LIB_CTX_free(libctx);
}

/* A token that has the label as well, and comes when the first has taken the PIN, loses no try. */
static void test_guard_namesake_later(void **state)
{
    OSSL_LIB_CTX *libctx;
    CK_SLOT_ID slot;
    CK_TOKEN_INFO info;

    (void)state;
    second_token();
    libctx = libctx_new_faulty("pkcs11-module-token-pin = 5678\n");
    assert_opens(libctx, "pkcs11:token=second;object=mine;type=private");
    slot = operator_init_token("second", "9012");
    assert_false(opens(libctx, "pkcs11:token=second;object=nowhere;type=private"));
    assert_int_equal(p11->C_GetTokenInfo(slot, &info), CKR_OK);
    assert_int_equal(info.flags & CKF_USER_PIN_COUNT_LOW, 0);
    ERR_clear_error();
    OSSL_LIB_CTX_free(libctx);
}

/* Two tokens with one label: a URI, or a line of the file, that fits both names neither. */
static void test_guard_one_label(void **state)
{
    static const char *const uri = "pkcs11:token=second;object=mine;type=private";
    char path[] = "/tmp/bridge-pins-XXXXXX", serials[2][17], text[512];
    CK_SLOT_ID slots[2];
    OSSL_LIB_CTX *libctx;
    unsigned with_key;

    (void)state;
    third_token();
    libctx = libctx_new_faulty("pkcs11-module-token-pin = 5678\n");
    calls_reset();
    assert_false(opens(libctx, uri));
    assert_int_equal(calls("C_Login"), 0);
    assert_says(serial_of("second", 0, serials[0]));
    assert_false(opens(libctx, uri));
    assert_says(serial_of("second", 1, serials[1]));
    assert_int_equal(calls("C_Login"), 0);
    assert_int_equal(operator_slots("second", slots, 2), 2);
    with_key = has_key(slots[0], "mine") ? 0 : 1;
    snprintf(text, sizeof(text), "pkcs11:serial=%s;object=mine;type=private", serials[with_key]);
    assert_opens(libctx, text);
    assert_int_equal(calls("C_Login"), 1);
    OSSL_LIB_CTX_free(libctx);

    snprintf(text, sizeof(text), "pkcs11:token=second;serial=%s 9012\npkcs11:serial=%s 5678\n",
             serials[!with_key], serials[with_key]);
    write_file(temporary(path), text);
    libctx = libctx_with_pins(path, "");
    assert_opens(libctx, uri);
    OSSL_LIB_CTX_free(libctx);

    write_file(path, "pkcs11:token=second 5678\n");
    libctx = libctx_with_pins(path, "");
    calls_reset();
    assert_false(opens(libctx, uri));
    assert_int_equal(calls("C_Login"), 0);
    assert_says(serials[with_key]);
    OSSL_LIB_CTX_free(libctx);
    unlink(path);
}

/* A path where somebody forgot the file: is no PIN. */
static void test_guard_forgotten_file(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("pkcs11-module-token-pin = /nowhere/at-all.pin\n");

    (void)state;
    calls_reset();
    assert_false(opens(libctx, KEY));
    assert_says("file:");
    assert_int_equal(calls("C_Login"), 0);
    OSSL_LIB_CTX_free(libctx);
}

struct signer {
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;
};

static void *sign_once(void *arg)
{
    const struct signer *signer = arg;

    (void)key_signs(signer->libctx, signer->key);
    ERR_clear_error();
    return NULL;
}

/* The PIN was changed: of the threads that want to show the old one, one does. The last test, since
 * that PIN is not shown again in this process. */
static void test_guard_context_threads(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    EVP_PKEY *other = key_load_uri(libctx, KEY);
    CK_SESSION_HANDLE session = operator_session(false);
    struct signer signer = { .libctx = libctx };
    pthread_t threads[8];

    (void)state;
    assert_non_null(other);
    operator_generate_always();
    signer.key = key_load_uri(libctx, "pkcs11:token=soft;object=always;type=private");
    assert_true(key_signs(libctx, signer.key));
    operator_set_pin(session, "1234", "4321");
    calls_reset();
    fault("C_Login 1 * - delay=50");
    for (size_t t = 0; t < COUNT_OF(threads); t++)
        assert_int_equal(pthread_create(&threads[t], NULL, sign_once, &signer), 0);
    for (size_t t = 0; t < COUNT_OF(threads); t++)
        pthread_join(threads[t], NULL);
    fault("");
    assert_int_equal(calls("C_Login"), 1);
    assert_false(key_signs(libctx, signer.key));
    assert_says("refused this PIN before");
    EVP_PKEY_free(signer.key);
    EVP_PKEY_free(other);
    OSSL_LIB_CTX_free(libctx);
}

/* test-guard [NAME]: one test */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guard_forgotten_file),
        cmocka_unit_test(test_guard_fresh_flags),
        cmocka_unit_test(test_guard_context),
        cmocka_unit_test(test_guard_once_in_an_operation),
        cmocka_unit_test(test_guard_lost_session),
        cmocka_unit_test(test_guard_threads),
        cmocka_unit_test(test_guard_untried),
        cmocka_unit_test(test_guard_logged_in_already),
        cmocka_unit_test(test_guard_not_asked),
        cmocka_unit_test(test_guard_impersonated),
        cmocka_unit_test(test_guard_same_token_in_another_slot),
        cmocka_unit_test(test_guard_one_pin_for_one_token),
        cmocka_unit_test(test_guard_pin_of_the_uri),
        cmocka_unit_test(test_guard_token_pins),
        cmocka_unit_test(test_guard_bad_token_pins),
        cmocka_unit_test(test_guard_namesake_later),
        cmocka_unit_test(test_guard_one_label),
        cmocka_unit_test(test_guard_context_threads),
    };

    operator_open();
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
