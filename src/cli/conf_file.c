#include "cli/conf_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <openssl/err.h>

#include "base/scope.h"
#include "cli/say.h"
#include "pkcs11_bridge.h"

const char *conf_bare(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot != NULL ? dot + 1 : name;
}

static const char *get(const struct conf_file *file, const char *section, const char *key)
{
    const char *value = NULL;

    (void)ERR_set_mark();
    if (file->conf != NULL)
        value = NCONF_get_string(file->conf, section, key);
    (void)ERR_pop_to_mark();
    return value;
}

/* Whether a module in this file can be this provider; what it is, the file does not say. */
static bool is_ours(const char *module)
{
    const char *slash = module != NULL ? strrchr(module, '/') : NULL;
    const char *base = slash != NULL ? slash + 1 : module;

    return base != NULL &&
           (strcmp(base, "pkcs11-bridge.so") == 0 || strcmp(base, "pkcs11.so") == 0);
}

/* The provider by the name that everybody gives it, or else by its module. */
static void find_provider(struct conf_file *file)
{
    STACK_OF(CONF_VALUE) *all = NCONF_get_section(file->conf, file->providers);

    for (int i = 0; i < sk_CONF_VALUE_num(all); i++) {
        const CONF_VALUE *one = sk_CONF_VALUE_value(all, i);
        const char *identity = get(file, one->value, "identity");
        const char *name = identity != NULL ? identity : conf_bare(one->name);
        bool named = strcmp(name, PKCS11_BRIDGE_PROVIDER) == 0;

        if (!named && (file->name != NULL || !is_ours(get(file, one->value, "module"))))
            continue;
        file->name = name;
        file->section = one->value;
        if (named)
            return;
    }
}

static void find(struct conf_file *file)
{
    file->init = get(file, NULL, "openssl_conf");
    if (file->init != NULL)
        file->providers = get(file, file->init, "providers");
    (void)ERR_set_mark();
    if (file->providers != NULL)
        find_provider(file);
    (void)ERR_pop_to_mark();
}

bool conf_file_read(OSSL_LIB_CTX *libctx, const char *path, struct conf_file *file, char *why,
                    size_t size)
{
    char detail[256];
    long line = 0;

    *file = (struct conf_file){ .path = OPENSSL_strdup(path) };
    if (access(path, R_OK) != 0) {
        (void)snprintf(why, size, "cannot read %s: %s", path, strerror(errno));
        return errno == ENOENT || errno == ENOTDIR;
    }
    file->conf = NCONF_new_ex(libctx, NULL);
    if (file->conf != NULL && NCONF_load(file->conf, path, &line) > 0) {
        find(file);
        return true;
    }
    NCONF_free(file->conf);
    file->conf = NULL;
    (void)snprintf(why, size, "cannot read %s: line %ld: %s", path, line,
                   error_text("it is no configuration of OpenSSL's", detail, sizeof(detail)));
    return false;
}

bool conf_file_open(OSSL_LIB_CTX *libctx, struct conf_file *file, char *why, size_t size)
{
    _cleanup_(free_scoped) char *path = CONF_get1_default_config_file();

    *file = (struct conf_file){ 0 };
    if (path == NULL || path[0] == '\0')
        return true;
    return conf_file_read(libctx, path, file, why, size);
}

void conf_file_close(struct conf_file *file)
{
    OPENSSL_free(file->path);
    NCONF_free(file->conf);
    *file = (struct conf_file){ 0 };
}

const char *conf_file_lookup(void *vfile, const char *key)
{
    const struct conf_file *file = vfile;

    return file->section != NULL ? get(file, file->section, key) : NULL;
}

bool conf_file_activates(const struct conf_file *file, const char *section)
{
    static const char *const words[] = { "1", "yes", "true", "on" };
    const char *value = get(file, section, "activate");

    if (value == NULL)
        return false;
    for (size_t i = 0; i < COUNT(words); i++)
        if (strcasecmp(words[i], value) == 0)
            return true;
    return OpenSSL_version_num() < 0x30200000UL;
}
