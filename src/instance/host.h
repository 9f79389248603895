/* What runs in software on the host: digests of messages, and public-key work. It goes to the
 * application's own providers, through a child of its library context (OSSL_LIB_CTX_new_child(3));
 * docs/adr/0004-host-work-in-a-child-context.md has the reasons. */
#ifndef BRIDGE_HOST_H
#define BRIDGE_HOST_H

#include <stdatomic.h>

#include <openssl/core.h>
#include <openssl/evp.h>

#include "base/libcrypto.h"
#include "mech/digest.h"

/* For fetches that must not lead back here. */
#define HOST_PROPERTIES "provider!=pkcs11"

struct core;
/* For the one that shall. */
#define OUR_PROPERTIES "provider=pkcs11"

struct host {
    const struct core *core;
    OSSL_LIB_CTX *libctx;
    _Atomic(EVP_MD *) md[DIGESTS];
    _Atomic(EVP_MD_CTX *) spare[DIGESTS]; /* at the beginning of a message, for the next one */
};

/* For OSSL_provider_init: a provider can have one child context only, and this is the one moment
 * that cannot be in two threads. False with OpenSSL's errors raised. */
bool host_begin(struct host *host, const struct core *core, const OSSL_DISPATCH *in);
void host_end(struct host *host);

/* The implementation of digest that the application's properties and propq (may be NULL) choose.
 * The caller frees it. NULL with an error raised when there is none. */
EVP_MD *host_md(struct host *host, const struct digest *digest, const char *propq);

/* A new context with it, for a message in pieces. NULL when libcrypto fails. */
EVP_MD_CTX *host_hash_begin(struct host *host, const struct digest *digest, const char *propq);

/* The digest of a message that is there whole. out: digest->size bytes. False when libcrypto fails.
 */
bool host_hash(struct host *host, const struct digest *digest, const char *propq,
               struct view message, uint8_t *out);

/* Whether a program that asks for a key management ("EC", ...) of no provider in particular gets
 * this one although the host has another: it is listed first, or the default properties prefer it.
 * A host in FIPS mode may have no other (X25519, with the fips provider of OpenSSL 3.6). */
bool host_leads_here(struct host *host, const char *keymgmt);

#endif
