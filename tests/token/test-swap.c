/* Another token in the slot: what belongs to the token soft is not done with the other one, no PIN
 * is shown to it, and when soft is back in a slot, everything works again.
 *
 *     test-swap             each scenario in a process of its own, with tokens of its own, but for
 *     test-swap threads     those with threads
 *     test-swap list        their names
 *     test-swap NAME        one of them, in tests/token/with-token
 *
 * FAULT_MODULE in the environment says that the module under test has tests/fault beneath it. */
#include "harness.h"
#include "operator.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/store.h>

#include "pkcs11_bridge.h"

#define PIN_OF_SOFT "1234"
#define EC_KEY      "swap"
#define RSA_KEY     "swap-rsa"
#define ELSEWHERE   0x77UL /* a slot that SoftHSM does not have */

enum way {
    BY_SLOTS,   /* the fault module has other tokens in its slots; sessions turn invalid */
    BY_REMOVAL, /* the same, and the next call says CKR_DEVICE_REMOVED */
    BY_RESTART, /* the token's directory is exchanged, and the module finalised by the program */
    BY_FORK     /* the same, and a child goes on, in which SoftHSM begins anew */
};

struct scenario {
    const char *name;
    void (*run)(const struct scenario *scenario);
    enum way way;
    const char *pin, *label; /* of the other token */
};

struct token {
    CK_SLOT_ID slot;
    char serial[17];
    char directory[512]; /* in BRIDGE_DIR/tokens, or out of it */
    const char *pin;
};

static struct token soft, other;
static const char *other_label;
static enum way way;
static OSSL_LIB_CTX *libctx, *plain;
static EVP_PKEY *key, *rsa_key, *public_key, *rsa_public;
static bool fault_beneath; /* the module under test */
static unsigned retry_ms = 100;
static unsigned complaints;

/* All that is wrong is told, not only the first. */
#define COMPLAIN(...) (printf("    " __VA_ARGS__), printf("\n"), complaints++)

static const char *directory(void)
{
    return getenv("BRIDGE_DIR");
}

static void make_path(char *path, size_t size, const char *folder, const char *name)
{
    assert_true(snprintf(path, size, "%s/%s/%s", directory(), folder, name) < (int)size);
}

/* Tokens: made by the operator, before the provider is there. */

static void token_init(const char *label, const char *pin)
{
    CK_UTF8CHAR padded[33], so_pin[] = "12345678";
    CK_SLOT_ID slots[16];
    CK_ULONG count = COUNT_OF(slots);
    CK_SESSION_HANDLE session;

    (void)snprintf((char *)padded, sizeof(padded), "%-32s", label);
    assert_int_equal(p11->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    assert_int_equal(p11->C_InitToken(slots[count - 1], so_pin, 8, padded), CKR_OK);
    assert_int_equal(p11->C_OpenSession(slots[count - 1], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL,
                                        NULL, &session),
                     CKR_OK);
    assert_int_equal(p11->C_Login(session, CKU_SO, so_pin, 8), CKR_OK);
    assert_int_equal(p11->C_InitPIN(session, (CK_UTF8CHAR *)(uintptr_t)pin, strlen(pin)), CKR_OK);
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
}

static void token_describe(struct token *token, CK_SLOT_ID slot, const char *pin)
{
    CK_TOKEN_INFO info;

    assert_int_equal(p11->C_GetTokenInfo(slot, &info), CKR_OK);
    *token = (struct token){ .slot = slot, .pin = pin };
    memcpy(token->serial, info.serialNumber, sizeof(info.serialNumber));
}

static void generate_rsa(CK_SESSION_HANDLE session)
{
    CK_MECHANISM mechanism = { CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0 };
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG bits = 2048;
    CK_BYTE exponent[] = { 1, 0, 1 };
    CK_ATTRIBUTE public[] = { { CKA_TOKEN, &yes, sizeof(yes) },
                              { CKA_LABEL, (void *)(uintptr_t)RSA_KEY, strlen(RSA_KEY) },
                              { CKA_ID, (void *)(uintptr_t)RSA_KEY, strlen(RSA_KEY) },
                              { CKA_MODULUS_BITS, &bits, sizeof(bits) },
                              { CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent) } };
    CK_ATTRIBUTE private[] = { { CKA_TOKEN, &yes, sizeof(yes) },
                               { CKA_PRIVATE, &yes, sizeof(yes) },
                               { CKA_DECRYPT, &yes, sizeof(yes) },
                               { CKA_LABEL, (void *)(uintptr_t)RSA_KEY, strlen(RSA_KEY) },
                               { CKA_ID, (void *)(uintptr_t)RSA_KEY, strlen(RSA_KEY) } };
    CK_OBJECT_HANDLE a, b;

    assert_int_equal(p11->C_GenerateKeyPair(session, &mechanism, public, COUNT_OF(public), private,
                                            COUNT_OF(private), &a, &b),
                     CKR_OK);
}

static CK_SESSION_HANDLE token_session(const struct token *token)
{
    CK_SESSION_HANDLE session = operator_session_on(token->slot, false);
    CK_RV rv =
        p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)(uintptr_t)token->pin, strlen(token->pin));

    assert_true(rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN);
    return session;
}

static void token_fill(const struct token *token)
{
    CK_SESSION_HANDLE session = token_session(token);

    operator_generate(session, EC_KEY);
    generate_rsa(session);
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
}

/* The tokens soft and another one, both with keys of the same names and ids. */
static void tokens_make(const char *label, const char *pin)
{
    CK_SLOT_ID slots[2], first;

    assert_int_equal(p11->C_Initialize(NULL), CKR_OK);
    assert_int_equal(operator_slots("soft", &first, 1), 1);
    token_init(label, pin);
    assert_int_equal(p11->C_Finalize(NULL), CKR_OK);
    assert_int_equal(p11->C_Initialize(NULL), CKR_OK); /* the new token is in its own slot now */
    token_describe(&soft, first, PIN_OF_SOFT);
    if (operator_slots(label, slots, 2) == 2 && slots[0] == first)
        slots[0] = slots[1];
    assert_int_not_equal(slots[0], first);
    token_describe(&other, slots[0], pin);
    token_fill(&soft);
    token_fill(&other);
    assert_int_equal(p11->C_Finalize(NULL), CKR_OK);
}

/* What SoftHSM has on disk. */

static size_t file_read(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "r");
    size_t len = file != NULL ? fread(text, 1, size, file) : 0;

    if (file != NULL)
        fclose(file);
    return len;
}

/* The place of the serial number in a token's file, or NULL. */
static char *find_serial(char *text, size_t len, const char *serial)
{
    for (size_t i = 0; i + 16 <= len; i++)
        if (memcmp(text + i, serial, 16) == 0)
            return text + i;
    return NULL;
}

static void token_find_directory(struct token *token)
{
    char path[512], text[4096];
    struct dirent *entry;
    DIR *all;

    make_path(path, sizeof(path), "tokens", ".");
    all = opendir(path);
    assert_non_null(all);
    while ((entry = readdir(all)) != NULL) {
        char file[600];

        make_path(path, sizeof(path), "tokens", entry->d_name);
        (void)snprintf(file, sizeof(file), "%s/token.object", path);
        if (find_serial(text, file_read(file, text, sizeof(text)), token->serial) != NULL)
            memcpy(token->directory, path, sizeof(path));
    }
    closedir(all);
    assert_true(token->directory[0] != '\0');
}

/* SoftHSM makes the slot's number of the second half of the serial number: with soft's second half
 * the other token gets soft's slot. */
static void token_take_slot(struct token *token, const struct token *from)
{
    char path[600], text[4096], *serial;
    size_t len;
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/token.object", token->directory);
    len = file_read(path, text, sizeof(text));
    serial = find_serial(text, len, token->serial);
    assert_non_null(serial);
    memcpy(serial + 8, from->serial + 8, 8);
    memcpy(token->serial + 8, from->serial + 8, 8);
    token->slot = from->slot;
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void token_move(struct token *token, const char *folder)
{
    char path[512];

    make_path(path, sizeof(path), folder, strrchr(token->directory, '/') + 1);
    assert_int_equal(rename(token->directory, path), 0);
    memcpy(token->directory, path, sizeof(path));
}

static void directories_begin(void)
{
    char path[512];

    make_path(path, sizeof(path), "out", ".");
    *strrchr(path, '/') = '\0';
    assert_int_equal(mkdir(path, 0700), 0);
    token_find_directory(&soft);
    token_find_directory(&other);
    token_take_slot(&other, &soft);
    token_move(&other, "out");
}

static void softhsm_configure(const char *line)
{
    FILE *file = fopen(getenv("SOFTHSM2_CONF"), "a");

    assert_non_null(file);
    fprintf(file, "%s\n", line);
    assert_int_equal(fclose(file), 0);
}

/* The exchange. */

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

static void slots_rule(char *rule, size_t size, unsigned first, const char *slots)
{
    const char *answer = way == BY_REMOVAL ? "; * 2 1 CKR_DEVICE_REMOVED" : "";

    (void)snprintf(rule, size, "* %u 1 - slots=%s%s", first, slots, answer);
}

static void set_slots(const char *slots)
{
    char rule[200];

    slots_rule(rule, sizeof(rule), 1, slots);
    fault(rule);
    poke();
}

/* id:real of soft's slot with this token in it */
static const char *with_token(const struct token *token, CK_SLOT_ID slot)
{
    static char text[2][64];
    static unsigned n;

    n = 1 - n;
    (void)snprintf(text[n], sizeof(text[n]), "%lx:%lx", slot, token->slot);
    return text[n];
}

/* The parent ends as the child does. */
static void go_on_in_child(void)
{
    pid_t child;
    int status;

    (void)fflush(NULL);
    child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0)
        return;
    assert_int_equal(waitpid(child, &status, 0), child);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static void put_in(struct token *in, struct token *out)
{
    if (way == BY_SLOTS || way == BY_REMOVAL) {
        set_slots(with_token(in, soft.slot));
        return;
    }
    token_move(out, "out");
    token_move(in, "tokens");
    if (way == BY_RESTART)
        (void)p11->C_Finalize(NULL);
    else
        go_on_in_child();
}

static bool slots_move(void)
{
    return way == BY_SLOTS || way == BY_REMOVAL;
}

/* What is looked at. */

static unsigned logins(const struct token *token)
{
    char path[512], line[64];
    unsigned n = 0;
    FILE *file;

    make_path(path, sizeof(path), ".", "logins");
    file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        n += strncmp(line, token->serial, 16) == 0;
    if (file != NULL)
        fclose(file);
    return n;
}

/* Whether the module has to be finalised again. */
static bool operator_begin(void)
{
    CK_INFO info;

    return p11->C_GetInfo(&info) == CKR_CRYPTOKI_NOT_INITIALIZED &&
           p11->C_Initialize(NULL) == CKR_OK;
}

static void operator_end(bool begun)
{
    if (begun)
        (void)p11->C_Finalize(NULL);
}

/* Where the other token is in. */
static void check_untouched(const char *when)
{
    static unsigned told;
    unsigned n = logins(&other);
    CK_TOKEN_INFO info = { .flags = 0 };
    bool begun = operator_begin();

    assert_int_equal(p11->C_GetTokenInfo(other.slot, &info), CKR_OK);
    operator_end(begun);
    if (n > told)
        COMPLAIN("%s: %u C_Login reached the other token, '%s'", when, n - told, other_label);
    told = n;
    if ((info.flags & (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED)) != 0)
        COMPLAIN("%s: the other token was shown a wrong PIN and counts it, flags %lx", when,
                 info.flags);
}

static unsigned objects(const struct token *token, const char *label)
{
    bool begun = operator_begin();
    CK_SESSION_HANDLE session = token_session(token);
    CK_OBJECT_HANDLE found[8];
    CK_ULONG count = operator_find(session, label, found, COUNT_OF(found));

    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    operator_end(begun);
    return (unsigned)count;
}

enum made { NOTHING, BY_SOFT, BY_ANOTHER };

static bool verifies(EVP_PKEY *with, const unsigned char *sig, size_t len, const char *message)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", plain, NULL, with, NULL) == 1 &&
              EVP_DigestVerify(ctx, sig, len, (const unsigned char *)message, strlen(message)) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

/* Signs; BY_SOFT where soft's public key says so. */
static enum made sign(EVP_PKEY *with, const char *message)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char sig[512];
    size_t len = sizeof(sig);
    bool made =
        EVP_DigestSignInit_ex(ctx, NULL, "SHA256", libctx, NULL, with, NULL) == 1 &&
        EVP_DigestSign(ctx, sig, &len, (const unsigned char *)message, strlen(message)) == 1;

    EVP_MD_CTX_free(ctx);
    if (!made)
        return NOTHING;
    return verifies(public_key, sig, len, message) ? BY_SOFT : BY_ANOTHER;
}

static bool decrypts(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(plain, rsa_public, NULL);
    unsigned char encrypted[256];
    size_t len = sizeof(encrypted);

    assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING), 1);
    assert_int_equal(EVP_PKEY_encrypt(ctx, encrypted, &len, (const unsigned char *)"secret", 6), 1);
    EVP_PKEY_CTX_free(ctx);
    return key_decrypts(libctx, rsa_key, encrypted, "secret");
}

/* A failure is told, and names the token. */
static void check_error(const char *when, const char *what)
{
    char error[600];

    if (strstr(last_error(error, sizeof(error)), "soft") == NULL)
        COMPLAIN("%s: %s failed with \"%s\", which does not name the token", when, what, error);
}

static void tell_error(void)
{
    char error[600];

    if (last_error(error, sizeof(error))[0] != '\0')
        printf("        %s\n", error);
}

static void check_signature(EVP_PKEY *with, bool works, const char *when, const char *what)
{
    enum made made;

    ERR_clear_error();
    made = sign(with, when);
    if (made == BY_ANOTHER)
        COMPLAIN("%s: %s: signed with another key than soft's", when, what);
    if (works && made == NOTHING) {
        COMPLAIN("%s: %s: does not sign", when, what);
        tell_error();
    }
    if (!works && made == BY_SOFT)
        COMPLAIN("%s: %s: signs without its token, the test proves nothing", when, what);
    if (!works && made == NOTHING)
        check_error(when, "a signature");
}

static void check_held(bool works, const char *when)
{
    unsigned before = complaints;
    bool decrypted;

    for (int n = 0; n < 4 && complaints == before; n++) /* the third use makes a copy */
        check_signature(key, works, when, "the EVP_PKEY that is held");
    ERR_clear_error();
    decrypted = decrypts();
    if (decrypted != works)
        COMPLAIN("%s: the EVP_PKEY that is held %s", when,
                 works ? "does not decrypt"
                       : "decrypts without its token, the test proves nothing");
    if (works && !decrypted)
        tell_error();
}

static void check_open(const char *uri, bool works, const char *when)
{
    EVP_PKEY *opened;

    ERR_clear_error();
    opened = key_load_uri(libctx, uri);
    if (opened != NULL && !works)
        COMPLAIN("%s: %s gave a key, which %s", when, uri,
                 sign(opened, when) == NOTHING ? "does not sign" : "signs");
    if (opened == NULL && works) {
        COMPLAIN("%s: %s gave no key", when, uri);
        tell_error();
    }
    if (opened == NULL && !works)
        check_error(when, uri);
    if (opened != NULL && works)
        check_signature(opened, true, when, uri);
    EVP_PKEY_free(opened);
    ERR_clear_error();
}

/* The fixture. */

#define URI "pkcs11:token=soft;object=" EC_KEY ";type=private"

static void begin(const struct scenario *scenario)
{
    char settings[64];
    char path[512];

    (void)snprintf(settings, sizeof(settings), "pkcs11-retry-ms = %u\npkcs11-log = none\n",
                   retry_ms);
    way = scenario->way;
    other_label = scenario->label;
    make_path(path, sizeof(path), ".", "logins");
    assert_int_equal(setenv("FAULT_LOGINS", path, 1), 0);
    if (way == BY_FORK)
        softhsm_configure("library.reset_on_fork = true");
    tokens_make(scenario->label, scenario->pin);
    if (slots_move()) {
        set_slots(with_token(&soft, soft.slot));
        fault(""); /* this was no removal */
    } else
        directories_begin();
    libctx = fault_beneath ? libctx_new(settings) : libctx_new_faulty(settings);
    plain = libctx_new_plain();
    assert_non_null(libctx);
    key = key_load_uri(libctx, URI);
    rsa_key = key_load_uri(libctx, "pkcs11:token=soft;object=" RSA_KEY ";type=private");
    assert_non_null(key);
    assert_non_null(rsa_key);
    public_key = key_public_copy(key, plain);
    rsa_public = key_public_copy(rsa_key, plain);
}

static void end(void)
{
    EVP_PKEY_free(key);
    EVP_PKEY_free(rsa_key);
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(rsa_public);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
    assert_int_equal(complaints, 0);
}

/* Soft is in another slot, while the other token is in soft's. */
static const char *crossed(void)
{
    static char text[200];

    (void)snprintf(text, sizeof(text), "%s,%s", with_token(&other, soft.slot),
                   with_token(&soft, ELSEWHERE));
    return text;
}

/* Calls check as soft comes and goes. */
static void visit(void (*check)(bool works, const char *when))
{
    check(true, "soft is in");
    if (slots_move()) {
        set_slots(crossed());
        check(true, "the other token is in soft's slot, and soft in another one");
        check_untouched("the other token is in soft's slot, and soft in another one");
        set_slots(with_token(&soft, soft.slot));
        check(true, "soft is in its slot again");
    }
    put_in(&other, &soft);
    check(false, "soft is out and the other token in its slot");
    check_untouched("soft is out and the other token in its slot");
    if (slots_move()) {
        set_slots(with_token(&soft, ELSEWHERE));
        check(true, "soft is back in another slot");
        set_slots(with_token(&other, soft.slot));
        check(false, "soft is out again");
        check_untouched("soft is out again");
    }
    put_in(&soft, &other);
    check(true, "soft is back");
}

/* The scenarios. */

static void check_open_soft(bool works, const char *when)
{
    check_open(URI, works, when);
}

static void run_open(const struct scenario *scenario)
{
    begin(scenario);
    visit(check_open_soft);
    end();
}

static void run_held(const struct scenario *scenario)
{
    begin(scenario);
    visit(check_held);
    end();
}

static EVP_PKEY *generate(const char *label)
{
    char uri[128], group[] = "P-256";
    OSSL_PARAM params[3] = { OSSL_PARAM_construct_utf8_string("group", group, 0) };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "EC", "provider=pkcs11");
    EVP_PKEY *made = NULL;

    (void)snprintf(uri, sizeof(uri), "pkcs11:token=soft;object=%s", label);
    params[1] = OSSL_PARAM_construct_utf8_string(PKCS11_BRIDGE_KEYGEN_URI, uri, 0);
    params[2] = OSSL_PARAM_construct_end();
    if (EVP_PKEY_keygen_init(ctx) != 1 || EVP_PKEY_CTX_set_params(ctx, params) != 1 ||
        EVP_PKEY_generate(ctx, &made) != 1)
        made = NULL;
    EVP_PKEY_CTX_free(ctx);
    return made;
}

static void run_generate(const struct scenario *scenario)
{
    const char *out = "soft is out and the other token in its slot", *back = "soft is back";
    EVP_PKEY *made;

    begin(scenario);
    put_in(&other, &soft);
    ERR_clear_error();
    made = generate("made-out");
    if (made != NULL)
        COMPLAIN("%s: a key was made", out);
    else
        check_error(out, "the making of a key");
    EVP_PKEY_free(made);
    made = generate("made-out-again");
    EVP_PKEY_free(made);
    check_untouched(out);
    if (objects(&other, "made-out") + objects(&other, "made-out-again") != 0)
        COMPLAIN("%s: there is a new key on the other token", out);
    put_in(&soft, &other);
    made = generate("made-back");
    if (made == NULL) {
        COMPLAIN("%s: no key can be made", back);
        tell_error();
    } else if (objects(&soft, "made-back") != 2)
        COMPLAIN("%s: the key is not on soft", back);
    EVP_PKEY_free(made);
    ERR_clear_error();
    end();
}

/* OSSL_STORE_delete is of OpenSSL 3.2, and does this. */
static bool delete_object(const char *uri)
{
#ifndef OSSL_FUNC_STORE_DELETE
#define OSSL_FUNC_STORE_DELETE 9
#endif
    typedef int delete_function(void *provctx, const char *uri, const OSSL_PARAM params[],
                                OSSL_PASSPHRASE_CALLBACK *callback, void *arg);
    OSSL_PROVIDER *provider = OSSL_PROVIDER_load(libctx, "pkcs11");
    int no_cache;
    const OSSL_ALGORITHM *store = OSSL_PROVIDER_query_operation(provider, OSSL_OP_STORE, &no_cache);
    const OSSL_DISPATCH *function = store->implementation;
    int done;

    while (function->function_id != 0 && function->function_id != OSSL_FUNC_STORE_DELETE)
        function++;
    assert_int_equal(function->function_id, OSSL_FUNC_STORE_DELETE);
    done = ((delete_function *)function->function)(OSSL_PROVIDER_get0_provider_ctx(provider), uri,
                                                   NULL, NULL, NULL);
    OSSL_PROVIDER_unload(provider);
    return done == 1;
}

static void run_delete(const struct scenario *scenario)
{
    static const char *const uris[] = { "pkcs11:token=soft;object=" EC_KEY ";type=public",
                                        "pkcs11:token=soft;object=" EC_KEY ";type=private",
                                        "pkcs11:token=soft;object=" RSA_KEY };
    const char *out = "soft is out and the other token in its slot", *back = "soft is back";

    begin(scenario);
    put_in(&other, &soft);
    for (size_t i = 0; i < COUNT_OF(uris); i++) {
        ERR_clear_error();
        if (delete_object(uris[i]))
            COMPLAIN("%s: %s is deleted, it says", out, uris[i]);
        else
            check_error(out, "the deletion");
    }
    check_untouched(out);
    if (objects(&other, EC_KEY) != 2 || objects(&other, RSA_KEY) != 2)
        COMPLAIN("%s: keys of the other token were deleted", out);
    put_in(&soft, &other);
    if (objects(&soft, EC_KEY) != 2)
        COMPLAIN("%s: its key is gone", back);
    ERR_clear_error();
    for (size_t i = 0; i < COUNT_OF(uris); i++)
        if (!delete_object(uris[i]) && i < 2) {
            COMPLAIN("%s: %s is not deleted", back, uris[i]);
            tell_error();
        }
    if (objects(&soft, EC_KEY) != 0)
        COMPLAIN("%s: its key was not deleted", back);
    ERR_clear_error();
    end();
}

static void check_alike(bool works, const char *when)
{
    char uri[128];

    check_held(works, when);
    (void)snprintf(uri, sizeof(uri), "pkcs11:token=soft;serial=%s;object=%s;type=private",
                   soft.serial, EC_KEY);
    check_open(uri, works, when);
}

/* Another token with soft's label: only the serial number tells them apart. */
static void run_alike(const struct scenario *scenario)
{
    begin(scenario);
    visit(check_alike);
    end();
}

/* Tokens come and go under threads. */

#define THREADS  8
#define ROUNDS   20
#define PATIENCE 30 /* attempts in vain of one thread, each of which tries for pkcs11-retry-ms */

struct signer {
    pthread_t thread;
    atomic_uint good, bad, wrong;
};

static struct signer signers[THREADS];
static atomic_bool stop;

static void *sign_on(void *arg)
{
    struct signer *self = arg;

    for (unsigned n = 0; !atomic_load(&stop); n++) {
        char message[64];

        (void)snprintf(message, sizeof(message), "%p %u", arg, n);
        switch (sign(key, message)) {
        case BY_SOFT:
            atomic_fetch_add(&self->good, 1);
            break;
        case BY_ANOTHER:
            atomic_fetch_add(&self->wrong, 1);
            break;
        default:
            atomic_fetch_add(&self->bad, 1);
        }
        ERR_clear_error();
    }
    return NULL;
}

static unsigned attempts(void)
{
    unsigned n = 0;

    for (size_t t = 0; t < THREADS; t++)
        n += atomic_load(&signers[t].good) + atomic_load(&signers[t].bad);
    return n;
}

static void wait_for_attempts(unsigned more)
{
    unsigned before = attempts();

    while (attempts() - before < more)
        usleep(1000);
}

/* Until each thread signed, or tried often enough. */
static void check_signers(void)
{
    unsigned good[THREADS], bad[THREADS];

    for (size_t t = 0; t < THREADS; t++) {
        good[t] = atomic_load(&signers[t].good);
        bad[t] = atomic_load(&signers[t].bad);
    }
    for (size_t t = 0; t < THREADS; t++) {
        while (atomic_load(&signers[t].good) - good[t] < 3 &&
               atomic_load(&signers[t].bad) - bad[t] < PATIENCE)
            usleep(1000);
        if (atomic_load(&signers[t].good) - good[t] < 3)
            COMPLAIN("soft is back: thread %zu does not sign", t);
    }
}

static void run_threads(const struct scenario *scenario)
{
    unsigned wrong = 0;
    char rule[200];

    retry_ms = 200; /* nobody has to wait for a token that is out */
    begin(scenario);
    for (size_t t = 0; t < THREADS; t++)
        assert_int_equal(pthread_create(&signers[t].thread, NULL, sign_on, &signers[t]), 0);
    wait_for_attempts(5 * THREADS);
    for (unsigned n = 0; n < ROUNDS; n++) {
        const char *slots = n % 4 == 3 ? crossed() : with_token(&other, soft.slot);

        slots_rule(rule, sizeof(rule), 1 + n, slots); /* not always before the same call */
        fault(rule);
        wait_for_attempts(THREADS);
        set_slots(with_token(&soft, n % 5 == 4 ? ELSEWHERE : soft.slot));
        wait_for_attempts(THREADS);
    }
    set_slots(with_token(&soft, soft.slot));
    check_signers();
    atomic_store(&stop, true);
    for (size_t t = 0; t < THREADS; t++) {
        pthread_join(signers[t].thread, NULL);
        wrong += atomic_load(&signers[t].wrong);
    }
    if (wrong != 0)
        COMPLAIN("%u signatures are not soft's", wrong);
    check_untouched("tokens came and went under threads");
    end();
}

#define SWEEP_MOST 400

/* The exchange before each of the calls that a session, a login, a search, a copy are made of. */
static void run_sweep(const struct scenario *scenario)
{
    bool reached = true;
    unsigned n;

    begin(scenario);
    for (n = 1; reached && n < SWEEP_MOST && complaints < 5; n++) {
        char rule[200], when[64];

        fault("* 1 1 - drop-sessions"); /* so that all that is done anew */
        poke();
        slots_rule(rule, sizeof(rule), n, with_token(&other, soft.slot));
        fault(rule);
        calls_reset();
        (void)snprintf(when, sizeof(when), "exchanged before call %u", n);
        for (int i = 0; i < 4; i++)
            if (sign(key, when) == BY_ANOTHER)
                COMPLAIN("%s: signed with another key than soft's", when);
        EVP_PKEY_free(key_load_uri(libctx, URI));
        (void)decrypts();
        reached = calls(NULL) >= n;
        check_untouched(when);
        set_slots(with_token(&soft, soft.slot));
        check_signature(key, true, when, "soft is back");
        ERR_clear_error();
    }
    printf("    %u calls\n", n - 2);
    if (n < 20 && complaints == 0)
        COMPLAIN("only %u calls: the test proves nothing", n - 2);
    end();
}

#define PINS(name, run, way, label)                                                                \
    { name ", same PIN", run, way, PIN_OF_SOFT, label },                                           \
    {                                                                                              \
        name ", other PIN", run, way, "567890", label                                              \
    }

static const struct scenario scenarios[] = {
    PINS("open, by slots", run_open, BY_SLOTS, "second"),
    PINS("open, by removal", run_open, BY_REMOVAL, "second"),
    PINS("open, by restart", run_open, BY_RESTART, "second"),
    PINS("held, by slots", run_held, BY_SLOTS, "second"),
    PINS("held, by removal", run_held, BY_REMOVAL, "second"),
    PINS("held, by restart", run_held, BY_RESTART, "second"),
    PINS("held, by fork", run_held, BY_FORK, "second"),
    PINS("generate, by slots", run_generate, BY_SLOTS, "second"),
    PINS("generate, by restart", run_generate, BY_RESTART, "second"),
    PINS("generate, by fork", run_generate, BY_FORK, "second"),
    PINS("delete, by slots", run_delete, BY_SLOTS, "second"),
    PINS("delete, by restart", run_delete, BY_RESTART, "second"),
    PINS("delete, by fork", run_delete, BY_FORK, "second"),
    PINS("alike, by slots", run_alike, BY_SLOTS, "soft"),
    PINS("alike, by removal", run_alike, BY_REMOVAL, "soft"),
    PINS("alike, by restart", run_alike, BY_RESTART, "soft"),
    PINS("alike, by fork", run_alike, BY_FORK, "soft"),
    PINS("threads, by slots", run_threads, BY_SLOTS, "second"),
    PINS("threads, by removal", run_threads, BY_REMOVAL, "second"),
    PINS("sweep, by slots", run_sweep, BY_SLOTS, "second"),
    PINS("sweep, by removal", run_sweep, BY_REMOVAL, "second"),
};

static void run_scenario(void **state)
{
    const struct scenario *scenario = *state;

    scenario->run(scenario);
}

/* The operator works on the real module, whatever is above it. */
static void operator_open_real(void)
{
    char *above = strdup(getenv("PKCS11_MODULE"));

    fault_beneath = getenv("FAULT_MODULE") != NULL;
    assert_int_equal(setenv("FAULT_MODULE", above, 0), 0);
    assert_int_equal(setenv("PKCS11_MODULE", getenv("FAULT_MODULE"), 1), 0);
    operator_open();
    assert_int_equal(setenv("PKCS11_MODULE", above, 1), 0);
    free(above);
}

static int run_here(const struct scenario *scenario)
{
    const struct CMUnitTest tests[] = { { .name = scenario->name,
                                          .test_func = run_scenario,
                                          .initial_state = (void *)(uintptr_t)scenario } };

    operator_open_real();
    limit(300);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

static void run_in_process(void **state)
{
    const struct scenario *scenario = *state;
    char with_token[512];
    pid_t child;
    int status;

    (void)snprintf(with_token, sizeof(with_token), "%s/tests/token/with-token",
                   getenv("BRIDGE_SOURCE"));
    (void)fflush(NULL);
    child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        char self[512];
        ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

        self[len > 0 ? len : 0] = '\0';
        execl(with_token, with_token, self, scenario->name, NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static int run_all(bool with_threads)
{
    struct CMUnitTest tests[COUNT_OF(scenarios)];
    size_t count = 0;

    for (size_t i = 0; i < COUNT_OF(scenarios); i++)
        if ((scenarios[i].run == run_threads) == with_threads)
            tests[count++] =
                (struct CMUnitTest){ .name = scenarios[i].name,
                                     .test_func = run_in_process,
                                     .initial_state = (void *)(uintptr_t)&scenarios[i] };
    return _cmocka_run_group_tests("swap", tests, count, NULL, NULL);
}

int main(int argc, char **argv)
{
    bool list = argc > 1 && strcmp(argv[1], "list") == 0;

    if (argc == 1 || strcmp(argv[1], "threads") == 0)
        return run_all(argc > 1);
    for (size_t i = 0; i < COUNT_OF(scenarios); i++) {
        if (list)
            printf("%s\n", scenarios[i].name);
        else if (strcmp(argv[1], scenarios[i].name) == 0)
            return run_here(&scenarios[i]);
    }
    return list ? 0 : 2;
}
