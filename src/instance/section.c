#include "instance/section.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

#include <openssl/conf.h>
#include <openssl/err.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "base/secret.h"

#define FILE_MAX (256UL * 1024)

/* openssl.cnf, in memory for secrets. */
struct file {
    char data[FILE_MAX];
};

static void file_scoped(struct file **file)
{
    secret_memory_free(*file);
}

static void conf_scoped(CONF **conf)
{
    NCONF_free(*conf);
}

/* config(5): "1.name" is name. */
static const char *bare(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot != NULL ? dot + 1 : name;
}

/* config(5), and the keys of a provider's section that are libcrypto's. */
static bool is_known(const char *key)
{
    static const char *const others[] = { "module", "activate", "soft_load", "identity" };

    for (size_t i = 0; i < COUNT(others); i++)
        if (strcmp(others[i], bare(key)) == 0)
            return true;
    for (size_t i = 0; config_key(i) != NULL; i++)
        if (strcmp(config_key(i), key) == 0)
            return true;
    return false;
}

static const char *section_of(const CONF *conf, const char *name)
{
    const char *init = NCONF_get_string(conf, NULL, "openssl_conf");
    const char *providers = init != NULL ? NCONF_get_string(conf, init, "providers") : NULL;
    STACK_OF(CONF_VALUE) *all = providers != NULL ? NCONF_get_section(conf, providers) : NULL;

    for (int i = 0; i < sk_CONF_VALUE_num(all); i++) {
        const CONF_VALUE *one = sk_CONF_VALUE_value(all, i);
        const char *identity = NCONF_get_string(conf, one->value, "identity");

        if (strcmp(identity != NULL ? identity : bare(one->name), name) == 0)
            return one->value;
    }
    return NULL;
}

/* A program may have its configuration from elsewhere: then the values are others. */
static bool is_ours(const CONF *conf, const char *section, config_lookup *lookup, void *arg)
{
    for (size_t i = 0; config_key(i) != NULL; i++) {
        const char *here = NCONF_get_string(conf, section, config_key(i));
        const char *there = lookup(arg, config_key(i));

        if ((here == NULL) != (there == NULL) || (here != NULL && strcmp(here, there) != 0))
            return false;
    }
    return true;
}

static void list(STACK_OF(CONF_VALUE) * values, const char *path, char *text, size_t size)
{
    size_t used = 0;

    for (int i = 0; i < sk_CONF_VALUE_num(values) && used < size; i++) {
        const char *key = sk_CONF_VALUE_value(values, i)->name;

        if (!is_known(key))
            used += (size_t)snprintf(text + used, size - used, "%s%s", used != 0 ? ", " : "", key);
    }
    if (used != 0 && used < size)
        (void)snprintf(text + used, size - used, " in %s", path);
}

/* A PIN may be among them. */
static void wipe(STACK_OF(CONF_VALUE) * values)
{
    for (int i = 0; i < sk_CONF_VALUE_num(values); i++) {
        const CONF_VALUE *one = sk_CONF_VALUE_value(values, i);

        if (one->value != NULL)
            OPENSSL_cleanse(one->value, strlen(one->value));
    }
}

/* Not by NCONF_load, which leaves what it reads in memory that is given back. */
static bool load(CONF *conf, const char *path)
{
    _cleanup_(file_scoped) struct file *file = secret_memory(sizeof(*file));
    _cleanup_(bio_scoped) BIO *bio = NULL;
    size_t len = 0;

    if (file == NULL || !secret_read(path, false, file->data, sizeof(file->data), &len))
        return false;
    bio = BIO_new_mem_buf(file->data, (int)len);
    return bio != NULL && NCONF_load_bio(conf, bio, NULL) > 0;
}

static void read_file(const char *path, const char *name, config_lookup *lookup, void *arg,
                      char *text, size_t size)
{
    _cleanup_(conf_scoped) CONF *conf = NCONF_new(NULL);
    const char *section = NULL;

    if (conf != NULL && load(conf, path))
        section = section_of(conf, name);
    if (section == NULL)
        return;
    if (is_ours(conf, section, lookup, arg))
        list(NCONF_get_section(conf, section), path, text, size);
    wipe(NCONF_get_section(conf, section));
}

void section_unknown(const char *name, config_lookup *lookup, void *arg, char *text, size_t size)
{
    _cleanup_(free_scoped) char *path = NULL;

    text[0] = '\0';
    if (name == NULL || getauxval(AT_SECURE) != 0)
        return;
    (void)ERR_set_mark();
    path = CONF_get1_default_config_file();
    if (path != NULL)
        read_file(path, name, lookup, arg, text, size);
    (void)ERR_pop_to_mark();
}
