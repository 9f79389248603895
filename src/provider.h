/* One loaded instance of the provider: a library context's configuration and what was made from it.
 */
#ifndef BRIDGE_PROVIDER_H
#define BRIDGE_PROVIDER_H

#include <openssl/core_dispatch.h>

#include "config.h"
#include "error.h"
#include "host.h"
#include "token/module.h"

struct used_module;

struct provider {
    struct core core;
    struct config config;
    char *misconfigured; /* why the configuration cannot be used; or NULL */
    struct host host;
    struct used_module *modules; /* under the lock (token/lock.h) */
    /* under the lock as well: operations in jobs, which may have been given up, of the process with
     * that lock_generation() (key/operation.h) */
    unsigned operations, operations_generation;
    OSSL_FUNC_BIO_read_ex_fn *bio_read;
    OSSL_FUNC_BIO_write_ex_fn *bio_write;
    OSSL_FUNC_BIO_gets_fn *bio_gets;
};

/* False with an error raised when the configuration makes no sense. libcrypto says nothing when a
 * provider of openssl.cnf does not load, so this one loads, and its first use tells. */
bool provider_usable(const struct provider *provider);

/* The module at path, or the configured one where path is NULL; loaded at the first use and kept
 * until the provider is unloaded. NULL with an error raised when it cannot be loaded. */
struct module *provider_module(struct provider *provider, const char *path);

/* The tables of algorithms, one for each operation: src/ops/. */
extern const OSSL_ALGORITHM store_algorithms[];
extern const OSSL_ALGORITHM decoder_algorithms[];
extern const OSSL_ALGORITHM encoder_algorithms[];
extern const OSSL_ALGORITHM keymgmt_algorithms[];
extern const OSSL_ALGORITHM signature_algorithms[];
extern const OSSL_ALGORITHM sigalg_algorithms[]; /* with signature_algorithms in them */
extern const OSSL_ALGORITHM asym_cipher_algorithms[];
extern const OSSL_ALGORITHM keyexch_algorithms[];
extern const OSSL_ALGORITHM rand_algorithms[]; /* with pkcs11-random = yes only */

/* src/ops/capabilities.c */
extern OSSL_FUNC_provider_get_capabilities_fn capabilities_get;

#define PROPERTIES "provider=pkcs11"

#endif
