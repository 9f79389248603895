/* openssl.cnf as libcrypto reads it: which file that is, and where in it this provider stands. */
#ifndef BRIDGE_CLI_CONF_FILE_H
#define BRIDGE_CLI_CONF_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/conf.h>

/* What leads to a provider's section, config(5); NULL from the first that is missing on. */
struct conf_file {
    char *path;            /* NULL where OPENSSL_CONF is empty, which means none */
    CONF *conf;            /* NULL where there is no such file, or it cannot be read */
    const char *init;      /* the section that openssl_conf names */
    const char *providers; /* the section that providers names there */
    const char *name;      /* what the provider is called there */
    const char *section;   /* its own */
};

/* Reads the file of OPENSSL_CONF or, without one, of libcrypto's installation. False with a
 * sentence in why (size bytes) where it is there, but cannot be read; conf_file_close in any case.
 */
bool conf_file_open(OSSL_LIB_CTX *libctx, struct conf_file *file, char *why, size_t size);
void conf_file_close(struct conf_file *file);

/* The same file by its path. */
bool conf_file_read(OSSL_LIB_CTX *libctx, const char *path, struct conf_file *file, char *why,
                    size_t size);

/* The value of key in the provider's section, or NULL. For config_load, with a struct conf_file. */
const char *conf_file_lookup(void *file, const char *key);

/* Whether the section of a provider says that it is activated: OpenSSL 3.0 takes anything for a
 * yes, later ones yes, true, on and 1. */
bool conf_file_activates(const struct conf_file *file, const char *section);

/* config(5): "1.name" is name. */
const char *conf_bare(const char *name);

#endif
