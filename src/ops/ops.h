/* What the operations share. */
#ifndef BRIDGE_OPS_H
#define BRIDGE_OPS_H

#include <openssl/core.h>
#include <openssl/core_dispatch.h>

#include "key/key.h"
#include "uri/uri.h"

/* The names of the key types, by enum key_type. */
struct key_names {
    const char *type; /* as the keymgmt and EVP_PKEY_is_a have it */
    /* the operations that the keymgmt leads to; NULL where there is none */
    const char *signature;
    const char *asym_cipher;
    const char *keyexch;
    const char *kem;
};

extern const struct key_names key_names[KEY_TYPES];

/* Gives the key to libcrypto as an object reference (provider-object(7)). The reference holds no
 * count of its own: keymgmt's load takes one. What object_cb returns. */
int object_give(struct key *key, OSSL_CALLBACK *object_cb, void *object_arg);

/* The key that a reference from object_give means; NULL for anything else. */
struct key *object_key(const void *reference, size_t size);

/* Whether this thread is giving the key to libcrypto. */
bool object_is_given(const struct key *key);

/* Hands the public half of key to callback as parameters (provider-keymgmt(7), export). 0 when
 * selection asks for a private half, quietly: callers try that first. A key on the host is handed
 * over as selection says. */
int key_export(const struct key *key, int selection, OSSL_CALLBACK *callback, void *arg);

/* The digest to use where the caller names none: SHA256 unless the key forbids it. */
const char *key_digest_name(const struct key *key);

/* Hands a key that was just loaded to another provider's keymgmt, where libcrypto would rather have
 * it: all of it, or nothing. A key whose public operations are the token's stays. */
int object_export(const struct key *key, OSSL_CALLBACK *callback, void *arg);

/* Asks for a PIN through a passphrase callback, or at the terminal where the application has none:
 * an ask function of struct pin_source, arg is a struct passphrase. */
struct passphrase {
    OSSL_PASSPHRASE_CALLBACK *callback;
    void *arg;
};

struct secret *passphrase_ask(void *arg, const CK_TOKEN_INFO *token);

#endif
