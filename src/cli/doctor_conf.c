/* The doctor's steps that look at openssl.cnf. */
#include <dlfcn.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/conf.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "base/environment.h"
#include "base/libcrypto.h"
#include "base/scope.h"
#include "cli/child.h"
#include "cli/doctor.h"
#include "cli/say.h"
#include "instance/instance.h"
#include "pkcs11_bridge.h"

#define STEP_FILE     "openssl.cnf"
#define STEP_SECTION  "section"
#define STEP_NAMES    "names"
#define STEP_HOST     "host"
#define STEP_PROVIDER "provider"
#define STEP_VALUES   "values"

static const char *get(const struct doctor *doctor, const char *section, const char *key)
{
    const char *value;

    (void)ERR_set_mark();
    value = NCONF_get_string(doctor->file.conf, section, key);
    (void)ERR_pop_to_mark();
    return value;
}

static STACK_OF(CONF_VALUE) * section_values(const struct doctor *doctor, const char *section)
{
    STACK_OF(CONF_VALUE) * values;

    (void)ERR_set_mark();
    values = NCONF_get_section(doctor->file.conf, section);
    (void)ERR_pop_to_mark();
    return values;
}

/* The file that OpenSSL would read without OPENSSL_CONF. */
static void installed_path(char *path, size_t size)
{
    (void)snprintf(path, size, "%s/openssl.cnf", OPENSSL_info(OPENSSL_INFO_CONFIG_DIR));
}

/* Whether the file of the installation has the provider, and another one is read. */
static bool installed_has_it(const struct doctor *doctor)
{
    char path[4096], why[512];
    struct conf_file file;
    bool has;

    installed_path(path, sizeof(path));
    if (environment("OPENSSL_CONF") == NULL ||
        (doctor->file.path != NULL && strcmp(path, doctor->file.path) == 0))
        return false;
    has = conf_file_read(NULL, path, &file, why, sizeof(why)) && file.section != NULL;
    conf_file_close(&file);
    return has;
}

/* A file in the same folder, whose name is nearest to the one that is not there. */
static bool find_sibling(const char *wanted, char *path, size_t size)
{
    const char *slash = strrchr(wanted, '/'), *names[64];
    char pattern[4096];
    glob_t all = { 0 };
    size_t count = 0;
    int near;

    (void)snprintf(pattern, sizeof(pattern), "%.*s/*", slash != NULL ? (int)(slash - wanted) : 1,
                   slash != NULL ? wanted : ".");
    (void)glob(pattern, 0, NULL, &all);
    for (; count < all.gl_pathc && count < COUNT(names); count++)
        names[count] = strrchr(all.gl_pathv[count], '/') + 1;
    near = nearest(slash != NULL ? slash + 1 : wanted, names, count);
    if (near >= 0)
        (void)snprintf(path, size, "%s", all.gl_pathv[near]);
    globfree(&all);
    return near >= 0;
}

static bool no_file(struct doctor *doctor, const char *why)
{
    const char *variable = environment("OPENSSL_CONF");
    char path[4096];

    if (variable[0] == '\0' || !find_sibling(variable, path, sizeof(path)))
        installed_path(path, sizeof(path));
    found(doctor, SICK, STEP_FILE, "OPENSSL_CONF=%s: %s", variable, why);
    if (installed_has_it(doctor))
        advise_run(doctor, "unset OPENSSL_CONF");
    else
        advise_run(doctor, "export OPENSSL_CONF='%s'", path);
    return false;
}

bool doctor_file(struct doctor *doctor)
{
    const char *variable = environment("OPENSSL_CONF");
    char why[512] = "";

    if (!conf_file_open(NULL, &doctor->file, why, sizeof(why)) && errno == EACCES) {
        found_no_access(doctor, STEP_FILE, "the configuration", doctor->file.path, R_OK);
        return false;
    }
    if (doctor->file.conf == NULL && variable != NULL && (why[0] == '\0' || errno == ENOENT))
        return no_file(doctor, why[0] != '\0' ? "it is not there"
                                              : "it is set, and empty: no file is read");
    if (doctor->file.conf == NULL) {
        found(doctor, SICK, STEP_FILE, "%s", why);
        advise(doctor, "correct that line: OpenSSL reads nothing of a file with a mistake in it");
        return false;
    }
    found(doctor, WELL, STEP_FILE, "%s (%s)", doctor->file.path,
          variable != NULL ? "OPENSSL_CONF" : "of the installation; OPENSSL_CONF is not set");
    return true;
}

/* The first section that says yes to the question. */
static const char *section_where(const struct doctor *doctor,
                                 bool (*is)(const struct doctor *doctor, const char *section))
{
    STACK_OF(OPENSSL_CSTRING) *names = NCONF_get_section_names(doctor->file.conf);
    const char *found_one = NULL;

    for (int i = 0; found_one == NULL && i < sk_OPENSSL_CSTRING_num(names); i++) {
        const char *name = sk_OPENSSL_CSTRING_value(names, i);

        if (strcmp(name, "default") != 0 && is(doctor, name))
            found_one = name;
    }
    sk_OPENSSL_CSTRING_free(names);
    return found_one;
}

static bool is_init(const struct doctor *doctor, const char *section)
{
    const char *providers = NULL;
    STACK_OF(CONF_VALUE) *values = section_values(doctor, section);

    for (int i = 0; i < sk_CONF_VALUE_num(values); i++)
        if (strcmp(sk_CONF_VALUE_value(values, i)->name, "providers") == 0)
            providers = sk_CONF_VALUE_value(values, i)->value;
    return providers != NULL;
}

static bool has_misplaced(const struct doctor *doctor, const char *section)
{
    STACK_OF(CONF_VALUE) *values = section_values(doctor, section);

    for (int i = 0; i < sk_CONF_VALUE_num(values); i++)
        if (strcmp(sk_CONF_VALUE_value(values, i)->name, "openssl_conf") == 0)
            return true;
    return false;
}

/* The provider's own: it has a key that only it can have. */
static bool is_own(const struct doctor *doctor, const char *section)
{
    STACK_OF(CONF_VALUE) *values = section_values(doctor, section);

    for (int i = 0; i < sk_CONF_VALUE_num(values); i++)
        if (strncmp(sk_CONF_VALUE_value(values, i)->name, "pkcs11-", 7) == 0)
            return true;
    return false;
}

/* A section that lists providers: one of its values names a section with activate or module. */
static bool is_list(const struct doctor *doctor, const char *section)
{
    STACK_OF(CONF_VALUE) *values = section_values(doctor, section);

    for (int i = 0; i < sk_CONF_VALUE_num(values); i++) {
        const char *value = sk_CONF_VALUE_value(values, i)->value;

        if (section_values(doctor, value) != NULL && strcmp(value, section) != 0 &&
            !is_init(doctor, section) &&
            (is_own(doctor, value) || get(doctor, value, "activate") != NULL))
            return true;
    }
    return false;
}

static bool no_way(struct doctor *doctor)
{
    const char *misplaced = section_where(doctor, has_misplaced);
    const char *init = section_where(doctor, is_init);

    if (misplaced != NULL) {
        init = get(doctor, misplaced, "openssl_conf");
        found(doctor, SICK, STEP_SECTION,
              "openssl_conf stands in the section [%s], and is not looked for there", misplaced);
        advise_set(doctor, misplaced, "openssl_conf", NULL);
    } else {
        found(doctor, SICK, STEP_SECTION,
              "there is no openssl_conf at the top: OpenSSL does not look at any section");
    }
    advise_set(doctor, "", "openssl_conf", init != NULL ? init : "openssl_init");
    return false;
}

#define NAME_MOST 128

/* Whether openssl_conf stands at the top with another value, before the one that counts, by which
 * there are providers; that one in name (NAME_MOST bytes). */
static bool has_overridden(const struct doctor *doctor, char *name)
{
    _cleanup_(stream_scoped) FILE *file = fopen(doctor->file.path, "re");
    char line[1024];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL &&
           line[strspn(line, " \t")] != '[')
        if (sscanf(line, " openssl_conf = %127[^ \t\r\n#]", name) == 1 &&
            strcmp(name, doctor->file.init) != 0 && get(doctor, name, "providers") != NULL)
            return true;
    return false;
}

static bool is_overridden(struct doctor *doctor, const char *name)
{
    found(
        doctor, SICK, STEP_SECTION,
        "openssl_conf stands at the top more than once, and the last counts: [%s], which does not "
        "lead to the provider, in the place of [%s]",
        doctor->file.init, name);
    advise_set(doctor, "", "openssl_conf", name);
    return false;
}

static const char *or_else(const char *text, const char *otherwise)
{
    return text != NULL ? text : otherwise;
}

static bool no_providers(struct doctor *doctor)
{
    const char *list = section_where(doctor, is_list);

    found(doctor, SICK, STEP_SECTION,
          "openssl_conf names the section [%s], and there is no providers in it%s",
          doctor->file.init,
          section_values(doctor, doctor->file.init) == NULL ? ": it is not there" : "");
    advise_set(doctor, doctor->file.init, "providers", or_else(list, "provider_sect"));
    return false;
}

/* All that is to be there, where nothing is. */
static bool no_entry(struct doctor *doctor)
{
    const char *own = section_where(doctor, is_own);
    const char *list = doctor->file.providers;

    found(doctor, SICK, STEP_SECTION, "[%s] does not list the provider pkcs11%s", list,
          section_values(doctor, list) == NULL ? ": it is not there" : "");
    if (own == NULL && installed_has_it(doctor)) {
        advise_run(doctor, "unset OPENSSL_CONF");
        return false;
    }
    advise_set(doctor, list, PKCS11_BRIDGE_PROVIDER, or_else(own, "pkcs11_sect"));
    if (own != NULL)
        return false;
    advise_set(doctor, "pkcs11_sect", "module", "pkcs11-bridge.so");
    advise_set(doctor, "pkcs11_sect", "activate", "1");
    return false;
}

static bool no_own(struct doctor *doctor)
{
    const char *own = section_where(doctor, is_own);

    found(doctor, SICK, STEP_SECTION,
          "[%s] says that the provider's section is [%s], and that is not there",
          doctor->file.providers, doctor->file.section);
    if (own != NULL)
        advise_set(doctor, doctor->file.providers, doctor->file.name, own);
    else
        advise_set(doctor, doctor->file.section, "activate", "1");
    return false;
}

/* Nobody but who wrote it knows what another file was meant to have. */
static bool elsewhere(struct doctor *doctor)
{
    char path[4096];

    installed_path(path, sizeof(path));
    found(doctor, SICK, STEP_SECTION, "%s has no section for the provider, but %s has one",
          doctor->file.path, path);
    advise_run(doctor, "unset OPENSSL_CONF");
    return false;
}

bool doctor_section(struct doctor *doctor)
{
    const struct conf_file *file = &doctor->file;
    char name[NAME_MOST];

    if (file->section == NULL && section_where(doctor, is_own) == NULL && installed_has_it(doctor))
        return elsewhere(doctor);
    if (file->init == NULL)
        return no_way(doctor);
    if (file->section == NULL && has_overridden(doctor, name))
        return is_overridden(doctor, name);
    if (file->providers == NULL)
        return no_providers(doctor);
    if (file->section == NULL)
        return no_entry(doctor);
    if (section_values(doctor, file->section) == NULL)
        return no_own(doctor);
    if (!conf_file_activates(file, file->section)) {
        found(doctor, SICK, STEP_SECTION,
              "[%s] is there, but not activated: programs do without it", file->section);
        advise_set(doctor, file->section, "activate", "1");
        return false;
    }
    found(doctor, WELL, STEP_SECTION, "[%s], the provider '%s', is activated", file->section,
          file->name);
    return true;
}

#define KNOWN_MOST 64

/* What may stand in the section. */
static size_t known_keys(const char **known)
{
    static const char *const others[] = { "module", "activate", "soft_load", "identity" };
    size_t count = 0;

    for (; count < COUNT(others); count++)
        known[count] = others[count];
    for (size_t i = 0; config_key(i) != NULL && count < KNOWN_MOST; i++)
        known[count++] = config_key(i);
    return count;
}

static bool is_among(const char *text, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(texts[i], text) == 0)
            return true;
    return false;
}

bool doctor_names(struct doctor *doctor)
{
    const char *section = doctor->file.section, *known[KNOWN_MOST];
    STACK_OF(CONF_VALUE) *values = section_values(doctor, section);
    size_t count = known_keys(known);
    unsigned before = doctor->sick;

    for (int i = 0; i < sk_CONF_VALUE_num(values); i++) {
        const char *key = sk_CONF_VALUE_value(values, i)->name;
        int meant;

        if (is_among(conf_bare(key), known, count))
            continue;
        meant = nearest(key, known, count);
        found(doctor, SICK, STEP_NAMES,
              strcmp(key, "openssl_conf") == 0
                  ? "%s, which is for the top of the file, is in [%s]: the section was put above "
                    "it, and OpenSSL takes what follows for a part of the section"
                  : "nobody knows %s in [%s]: it is ignored in silence",
              key, section);
        if (meant >= 0)
            advise_rename(doctor, section, key, known[meant]);
        else
            advise_set(doctor, section, key, NULL);
    }
    if (doctor->sick == before)
        found(doctor, WELL, STEP_NAMES, "all keys of [%s] are known", section);
    return true;
}

/* Whether a provider that hashes and verifies is active beside ours. */
static bool has_host(const struct doctor *doctor)
{
    STACK_OF(CONF_VALUE) *all = section_values(doctor, doctor->file.providers);

    for (int i = 0; i < sk_CONF_VALUE_num(all); i++) {
        const CONF_VALUE *one = sk_CONF_VALUE_value(all, i);
        const char *name = conf_bare(one->name);

        if ((strcmp(name, "default") == 0 || strcmp(name, "fips") == 0) &&
            conf_file_activates(&doctor->file, one->value))
            return true;
    }
    return false;
}

bool doctor_host(struct doctor *doctor)
{
    const char *section = get(doctor, doctor->file.providers, "default");

    if (has_host(doctor)) {
        found(doctor, WELL, STEP_HOST, "OpenSSL's own algorithms are active as well");
        return true;
    }
    found(
        doctor, SICK, STEP_HOST,
        "neither default nor fips is active beside the provider: once a provider is listed, "
        "OpenSSL "
        "no longer loads its own by itself, and programs have no hashes, ciphers or software keys");
    if (section == NULL)
        advise_set(doctor, doctor->file.providers, "default", "default_sect");
    advise_set(doctor, section != NULL ? section : "default_sect", "activate", "1");
    return false;
}

/* The file that libcrypto looks for, as the section names it. */
static void find_provider_file(const struct doctor *doctor, char *path, size_t size)
{
    const char *module = get(doctor, doctor->file.section, "module");
    const char *folder = environment("OPENSSL_MODULES");

    if (folder == NULL)
        folder = OPENSSL_info(OPENSSL_INFO_MODULES_DIR);
    if (module == NULL)
        (void)snprintf(path, size, "%s/%s.so", folder, doctor->file.name);
    else if (module[0] == '/')
        (void)snprintf(path, size, "%s", module);
    else
        (void)snprintf(path, size, "%s/%s", folder, module);
}

/* What the dynamic linker says of that file, or NULL: OpenSSL keeps it to itself. */
static const char *linker_reason(const struct doctor *doctor)
{
    char path[4096];
    void *library;

    find_provider_file(doctor, path, sizeof(path));
    (void)dlerror();
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library != NULL)
        (void)dlsym(library, "OSSL_provider_init");
    return dlerror();
}

/* In the child: whether libcrypto, by this file alone, has the provider in the end, and its name or
 * the reason to fd. */
static int try_provider(const void *arg, int fd)
{
    const struct doctor *doctor = arg;
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();
    struct conf_file file;
    char text[1024] = "", *name = NULL;
    const char *reason;
    OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_ptr(OSSL_PROV_PARAM_NAME, &name, 0),
                            OSSL_PARAM_construct_end() };
    OSSL_PROVIDER *provider;

    if (!conf_file_read(libctx, doctor->file.path, &file, text, sizeof(text)))
        return 1;
    (void)CONF_modules_load(file.conf, NULL, 0);
    if (OSSL_PROVIDER_available(libctx, file.name)) {
        provider = OSSL_PROVIDER_load(libctx, file.name);
        if (provider != NULL && OSSL_PROVIDER_get_params(provider, params) == 1 && name != NULL)
            (void)dprintf(fd, "%s", name);
        return 0;
    }
    reason = linker_reason(doctor);
    (void)dprintf(
        fd, "%s",
        error_text(reason != NULL ? reason : "OpenSSL gives no reason", text, sizeof(text)));
    return 1;
}

/* Where this command has its provider: installed, or in the folder of the build. */
static bool find_own_module(char *path, size_t size)
{
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    (void)snprintf(path, size, "%s/pkcs11-bridge.so", OPENSSL_info(OPENSSL_INFO_MODULES_DIR));
    if (access(path, R_OK) == 0)
        return true;
    self[len > 0 ? len : 0] = '\0';
    slash = strrchr(self, '/');
    if (slash == NULL)
        return false;
    (void)snprintf(path, size, "%.*s/pkcs11.so", (int)(slash - self), self);
    return access(path, R_OK) == 0;
}

bool doctor_provider(struct doctor *doctor)
{
    char text[1024], path[4096], tried[4096];
    const char *module = get(doctor, doctor->file.section, "module");

    if (child_run(try_provider, doctor, text, sizeof(text))) {
        bool ours = strncmp(text, PROGRAM ":", strlen(PROGRAM ":")) == 0;

        found(doctor, ours ? WELL : NOTED, STEP_PROVIDER,
              ours ? "OpenSSL loads %s" : "OpenSSL loads %s, which is another provider: %s",
              module != NULL ? module : "the module of that name", text);
        return true;
    }
    found(doctor, SICK, STEP_PROVIDER, "OpenSSL does not load %s: %s",
          module != NULL ? module : "a module, which the section does not name", text);
    find_provider_file(doctor, tried, sizeof(tried));
    if (has_misplaced(doctor, doctor->file.section))
        advise(doctor, "see to openssl_conf in [%s] first: OpenSSL may go round in circles by it",
               doctor->file.section);
    else if (module != NULL && module[0] == '/' && access(module, F_OK) == 0 &&
             access(module, R_OK) != 0)
        found_no_access(doctor, STEP_PROVIDER, "the provider", module, R_OK);
    else if (find_own_module(path, sizeof(path)) && strcmp(path, tried) != 0)
        advise_set(doctor, doctor->file.section, "module", path);
    else
        advise(
            doctor,
            "install the provider, anew where its file is damaged, or set module to where it is");
    return true;
}

/* What stands in the section makes sense: the provider itself looks. */
bool doctor_values(struct doctor *doctor)
{
    struct call *call = doctor->call;
    const char *pin = get(doctor, doctor->file.section, PKCS11_BRIDGE_CONF_TOKEN_PIN);
    const char *wrong;
    char key[64], path[4096];

    if (!context_open(&call->context)) {
        found(doctor, SICK, STEP_VALUES, "the provider does not begin with this configuration");
        return false;
    }
    wrong = call->context.provider->misconfigured;
    if (call->context.provider->config.warnings[0] != '\0')
        found(doctor, NOTED, STEP_VALUES, "%s", call->context.provider->config.warnings);
    if (wrong == NULL) {
        found(doctor, WELL, STEP_VALUES, "all values make sense (pkcs11-bridge conf shows them)");
        return true;
    }
    found(doctor, SICK, STEP_VALUES, "%s", wrong);
    (void)snprintf(key, sizeof(key), "%.*s", (int)strcspn(wrong, " "), wrong);
    if (strcmp(key, PKCS11_BRIDGE_CONF_TOKEN_PIN) == 0 && pin != NULL && pin[0] == '/') {
        (void)snprintf(path, sizeof(path), "file:%s", pin);
        advise_set(doctor, doctor->file.section, key, path);
    } else {
        advise_set(doctor, doctor->file.section, key, NULL);
    }
    return false;
}
