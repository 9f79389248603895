/* The provider's configuration: its section of openssl.cnf, then the environment. Read once,
 * checked, every mistake named. docs/configuration.md is the manual. */
#ifndef BRIDGE_CONFIG_H
#define BRIDGE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "audit/audit.h"
#include "base/log.h"
#include "base/secret.h"
#include "token/object.h"

enum login_behavior { LOGIN_AUTO, LOGIN_ALWAYS, LOGIN_NEVER };
enum digest_where { DIGEST_AUTO, DIGEST_TOKEN, DIGEST_HOST };

struct config {
    char *module_path;
    char *module_sha256; /* 64 hexadecimal digits, or NULL */
    bool insecure_path;  /* a module is loaded also from where others can write */
    char *init_args;     /* or NULL */
    struct secret *pin;  /* or NULL */
    char *pin_file;      /* or NULL */
    char *token_pins;    /* the file that has a PIN for each token; or NULL */
    bool pin_for_any;    /* pin and pin_file also go to tokens that nothing names */
    enum login_behavior login;
    bool load_early;
    struct pool_limits limits;
    bool allow_export;
    unsigned long blocked; /* bit n: OSSL_OP n is not offered */
    bool no_deinit;
    bool no_allowed_mechanisms;
    bool luna_user;          /* C_Login as CKU_LUNA_CU */
    bool assume_fips;        /* algorithms carry fips=yes */
    bool uri_in_pem;         /* private keys are written: as their URI */
    CK_SLOT_ID default_slot; /* where nothing names a token; CK_UNAVAILABLE_INFORMATION: none */
    unsigned pin_most;       /* the longest PIN that is shown to a token */
    enum digest_where digest;
    bool allow_uri_module;
    bool random;
    enum log_where log;
    char *debug;                  /* as PKCS11_PROVIDER_DEBUG has it; or NULL */
    enum copying copying;         /* of keys to session objects */
    bool async;                   /* operations in an ASYNC_JOB pause it */
    bool pem_uri_full;            /* all that is known of the token in the URIs that are written */
    bool public_on_token;         /* verify and encrypt there */
    bool ambiguous_first;         /* what a URI does not tell from others is the first of them */
    bool ephemeral_on_token;      /* also keys that nobody asked a token for */
    bool import_session;          /* private keys of other providers become session keys */
    unsigned collect_max;         /* bytes of a message that is kept until it is whole */
    bool gcm_caller_iv;           /* AES-GCM encrypts with the caller's IV */
    unsigned long long gcm_limit; /* encryptions with a key; at most 2^32 */
    char *gcm_state;              /* the directory where they are counted; or NULL */
    struct audit_config audit;
    char *metrics;       /* the directory of the counters; or NULL */
    char unknown[128];   /* words of the list that is being read */
    char warnings[1024]; /* what was not understood, and is done without; or "" */
};

/* Gives the value of a key of the section, or NULL. What it returns belongs to it. */
typedef const char *config_lookup(void *arg, const char *key);

/* Reads all keys. On failure: false with a sentence in why (size bytes) that names the key, the
 * value (but no PIN) and what is allowed; *out then holds nothing. */
bool config_load(config_lookup *lookup, void *arg, struct config *out, char *why, size_t size);

void config_clear(struct config *config);

/* The keys, for a lookup that has to know them beforehand; NULL after the last. */
const char *config_key(size_t i);

/* Of the key with this number: what counts where nobody sets it, in words; whether its value may be
 * a PIN; and the value that the environment has in its place, with the variable's name, or NULL. */
const char *config_default(size_t i);
bool config_is_secret(size_t i);
const char *config_environment(size_t i, const char **name);

#endif
