/* One loaded instance of the provider: a library context's configuration and what was made from it.
 */
#ifndef BRIDGE_INSTANCE_H
#define BRIDGE_INSTANCE_H

#include <openssl/core_dispatch.h>

#include "base/jobs.h"
#include "instance/config.h"
#include "instance/error.h"
#include "instance/host.h"
#include "module/module.h"
#include "token/pins.h"

struct used_module;

/* The tables of algorithms that there are (ops/offer.h). */
#define OFFER_TABLES 18

struct provider {
    struct provider *next; /* under the lock (module/lock.h): all that are loaded */
    struct core core;
    struct jobs jobs;
    struct config config;
    struct pin_config pins;                /* what config has of them */
    char *misconfigured;                   /* why the configuration cannot be used; or NULL */
    OSSL_ALGORITHM *offered[OFFER_TABLES]; /* in the place of the tables; NULL: they themselves */
    struct audit audit;
    struct witness metrics;
    struct host host;
    struct used_module *modules;    /* under the lock (module/lock.h) */
    unsigned held, held_generation; /* under the lock as well: provider_hold */
    OSSL_FUNC_provider_up_ref_fn *up_ref;
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

/* Where PINs come from that the configuration has, for a new operation. */
static inline struct pin_source provider_pins(const struct provider *provider)
{
    return (struct pin_source){ .config = &provider->pins };
}

/* For OSSL_provider_init: takes the core's functions, reads the configuration. False when nothing
 * can be done with either; provider_free is due all the same. */
bool provider_begin(struct provider *provider, const OSSL_CORE_HANDLE *handle,
                    const OSSL_DISPATCH *in);
void provider_free(struct provider *provider);

/* It is in use, or no longer: providers_stay concerns those that are. */
void provider_list(struct provider *provider);
void provider_unlist(const struct provider *provider);

/* The process ends. libcrypto would tear a provider down with the last object that is made of it,
 * whenever a program lets go of that. After OPENSSL_cleanup that is too late, also for libcrypto
 * itself, which takes back reason strings then. So every provider holds itself, and stays. */
void providers_stay(void);

/* Something that may outlive its caller (an operation in a job that was given up) uses the
 * provider's keys and PINs until it lets go. What provider_hold returns goes to provider_let_go:
 * what is held in another process (the parent of a fork) does not count. */
unsigned provider_hold(struct provider *provider);
void provider_let_go(struct provider *provider, unsigned generation);

/* Waits until all have let go, but no longer than wait_ms; true when they all have. */
bool provider_drain(const struct provider *provider, unsigned wait_ms);

#endif
