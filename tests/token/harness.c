#include "harness.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <openssl/x509.h>

static const char *environment(const char *name)
{
    const char *value = getenv(name);

    if (value == NULL)
        fail_msg("%s is not set: run this through tests/token/with-token", name);
    return value;
}

/* The PIN, and what else the token of this run needs. */
static const char *default_settings(void)
{
    const char *text = getenv("BRIDGE_SETTINGS");

    return text != NULL ? text : "pkcs11-module-token-pin = 1234\n";
}

/* What was built here may lie in folders of anybody's. */
static const char *path_settings(const char *module)
{
    static const char *const built[] = { "BRIDGE_FAULT", "BRIDGE_TOKEN32" };

    for (size_t i = 0; i < COUNT_OF(built); i++)
        if (getenv(built[i]) != NULL && strcmp(module, getenv(built[i])) == 0)
            return "pkcs11-module-insecure-path = yes\n";
    return "";
}

#define DEFAULT_SECTION "default = default_section\n"
#define PKCS11_SECTION  "pkcs11 = pkcs11_section\n"

static OSSL_LIB_CTX *libctx_configured(const char *order, const char *module, const char *settings)
{
    char path[] = "/tmp/bridge-conf-XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();

    assert_non_null(file);
    fprintf(
        file,
        "openssl_conf = init\n[init]\nproviders = "
        "providers\n[providers]\n%s[default_section]\nactivate = 1\n[pkcs11_section]\nmodule = %s\n"
        "pkcs11-module-path = %s\n%s%s%sactivate = 1\n",
        order, environment("BRIDGE_PROVIDER"), module, path_settings(module),
        strstr(settings, "token-pin") == NULL ? default_settings() : "", settings);
    fclose(file);
    if (OSSL_LIB_CTX_load_config(libctx, path) != 1) {
        ERR_print_errors_fp(stderr);
        OSSL_LIB_CTX_free(libctx);
        libctx = NULL;
    }
    unlink(path);
    return libctx;
}

OSSL_LIB_CTX *libctx_new(const char *settings)
{
    return libctx_configured(DEFAULT_SECTION PKCS11_SECTION, environment("PKCS11_MODULE"),
                             settings);
}

OSSL_LIB_CTX *libctx_new_first(const char *settings)
{
    return libctx_configured(PKCS11_SECTION DEFAULT_SECTION, environment("PKCS11_MODULE"),
                             settings);
}

OSSL_LIB_CTX *libctx_new_faulty(const char *settings)
{
    setenv("FAULT_MODULE", environment("PKCS11_MODULE"), 1);
    return libctx_configured(DEFAULT_SECTION PKCS11_SECTION, environment("BRIDGE_FAULT"), settings);
}

OSSL_LIB_CTX *libctx_new_plain(void)
{
    return OSSL_LIB_CTX_new(); /* it loads the default provider when it finds none */
}

EVP_PKEY *key_load_uri(OSSL_LIB_CTX *libctx, const char *uri)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    EVP_PKEY *key = NULL;

    while (store != NULL && key == NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info == NULL)
            break;
        key = OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY
                  ? OSSL_STORE_INFO_get1_PKEY(info)
                  : OSSL_STORE_INFO_get1_PUBKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return key;
}

EVP_PKEY *key_load(OSSL_LIB_CTX *libctx, const char *label, const char *kind)
{
    char uri[256];

    const char *token = getenv("BRIDGE_TOKEN_URI");

    snprintf(uri, sizeof(uri), "%s;object=%s;type=%s", token != NULL ? token : "pkcs11:token=soft",
             label, kind);
    return key_load_uri(libctx, uri);
}

bool key_lacking(const char *label)
{
    const char *lacking = getenv("BRIDGE_LACKS");
    char word[32];

    snprintf(word, sizeof(word), " %s ", label);
    return lacking != NULL && strstr(lacking, word) != NULL;
}

EVP_PKEY *key_public_copy(EVP_PKEY *key, OSSL_LIB_CTX *libctx)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    const unsigned char *p = der;
    EVP_PKEY *copy = len > 0 ? d2i_PUBKEY_ex(NULL, &p, len, libctx, NULL) : NULL;

    OPENSSL_free(der);
    return copy;
}

bool key_decrypts(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const unsigned char *encrypted,
                  const char *text)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    unsigned char out[256];
    size_t len = sizeof(out);
    bool ok = EVP_PKEY_decrypt_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
              EVP_PKEY_decrypt(ctx, out, &len, encrypted, 256) == 1 && len == strlen(text) &&
              memcmp(out, text, len) == 0;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

bool key_derives(OSSL_LIB_CTX *libctx, EVP_PKEY *key, EVP_PKEY *peer, unsigned char *out)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    size_t len = 32;
    bool ok = EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, peer) == 1 &&
              EVP_PKEY_derive(ctx, out, &len) == 1 && len == 32;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* Whether an entry comes from this provider's sources. Its library number does not tell: libcrypto
 * has about a hundred for providers, and starts over in a process that loads more. */
static bool is_ours(const char *file)
{
    return file != NULL && strncmp(file, "src/", 4) == 0;
}

const char *last_error(char *buf, size_t size)
{
    const char *data, *file;
    int flags;

    buf[0] = '\0';
    while (ERR_get_error_all(&file, NULL, NULL, &data, &flags) != 0)
        if (is_ours(file))
            snprintf(buf, size, "%s", data);
    return buf;
}

bool key_signs(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char sig[1024];
    size_t len = sizeof(sig);
    bool ok = EVP_DigestSignInit_ex(ctx, NULL, "SHA256", libctx, NULL, key, NULL) == 1 &&
              EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"message", 7) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

bool under_stress(void)
{
    return getenv("BRIDGE_YIELD_SEED") != NULL;
}

unsigned at_leisure(unsigned time)
{
    if (getenv("BRIDGE_EMULATED") != NULL)
        return 12 * time;
    return under_stress() ? 6 * time : time;
}

void limit(unsigned seconds)
{
    alarm(at_leisure(seconds));
}

#define CHILD_PROVES_NOTHING 77

#if defined(__SANITIZE_ADDRESS__) && defined(__x86_64__)
static void on_first_alarm(int number, siginfo_t *info, void *context)
{
    const ucontext_t *interrupted = context;
    Dl_info where;

    (void)number, (void)info;
    alarm(20); /* with the default action: SA_RESETHAND */
    if (dladdr((void *)interrupted->uc_mcontext.gregs[REG_RIP], &where) != 0 &&
        strstr(where.dli_fname, "libasan") != NULL)
        _exit(CHILD_PROVES_NOTHING);
}

void child_limit(void)
{
    struct sigaction action = { .sa_sigaction = on_first_alarm,
                                .sa_flags = SA_SIGINFO | (int)SA_RESETHAND | SA_NODEFER };

    sigaction(SIGALRM, &action, NULL);
    alarm(10);
}
#else
void child_limit(void)
{
    limit(30);
}
#endif

bool child_proves_nothing(int status)
{
    bool nothing = WIFEXITED(status) && WEXITSTATUS(status) == CHILD_PROVES_NOTHING;

    if (nothing)
        printf("a child stopped in the sanitizer's allocator, another in its place\n");
    return nothing;
}

static int case_run(const struct CMUnitTest *test)
{
    const struct CMUnitTest group[] = { *test };

    limit(90);
    return cmocka_run_group_tests_name(test->name, group, NULL, NULL);
}

/* Whether a process that does this ends well. */
static bool case_in_child(const struct CMUnitTest *test)
{
    int status = -1;
    pid_t pid;

    (void)fflush(NULL);
    pid = fork();
    if (pid == 0)
        exit(case_run(test));
    if (pid == -1 || waitpid(pid, &status, 0) != pid || status != 0)
        printf("%s: status 0x%x\n", test->name, (unsigned)status);
    return status == 0;
}

bool cases_in_children(const struct CMUnitTest *tests, size_t count, const char *name)
{
    bool ok = true;

    for (size_t i = 0; i < count; i++)
        if (name == NULL || strcmp(name, tests[i].name) == 0)
            ok &= case_in_child(&tests[i]);
    return ok;
}

void *fault_symbol(const char *name)
{
    void *library = dlopen(environment("BRIDGE_FAULT"), RTLD_NOW | RTLD_LOCAL);
    void *symbol = library != NULL ? dlsym(library, name) : NULL;

    assert_non_null(symbol);
    return symbol;
}

void fault(const char *rules)
{
    void (*fault_rules)(const char *text);

    *(void **)&fault_rules = fault_symbol("fault_rules");
    fault_rules(rules);
}

void fault_callback(void (*function)(void))
{
    void (*set)(void (*function)(void));

    *(void **)&set = fault_symbol("fault_callback");
    set(function);
}

unsigned long calls(const char *function)
{
    unsigned long (*count_calls)(const char *name);

    *(void **)&count_calls = fault_symbol("count_calls");
    return count_calls(function);
}

void calls_reset(void)
{
    void (*count_reset)(void);

    *(void **)&count_reset = fault_symbol("count_reset");
    count_reset();
}

unsigned long calls_overlapping(void)
{
    unsigned long (*count_overlaps)(void);

    *(void **)&count_overlaps = fault_symbol("count_overlaps");
    return count_overlaps();
}

unsigned long sessions_open(void)
{
    unsigned long (*count_sessions)(void);

    *(void **)&count_sessions = fault_symbol("count_sessions");
    return count_sessions();
}

bool newer_found(const struct newer *functions, size_t count)
{
    bool all = true;

    for (size_t i = 0; i < count; i++) {
        void *function = dlsym(RTLD_DEFAULT, functions[i].name);

        memcpy(functions[i].function, &function, sizeof(function));
        all = all && function != NULL;
    }
    return all;
}

unsigned lines_with(const char *name, const char *text)
{
    FILE *file = fopen(name, "r");
    char line[4096];
    unsigned count = 0;

    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL)
        count += strstr(line, text) != NULL;
    (void)fclose(file);
    return count;
}
