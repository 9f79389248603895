/* What runs in software on the host: digests of messages, and public-key work. It goes to the
 * application's own providers, through a child of its library context (OSSL_LIB_CTX_new_child(3)), which
 * is made at the first need; docs/adr/0004-host-work-in-a-child-context.md has the reasons. */
#ifndef BRIDGE_HOST_H
#define BRIDGE_HOST_H

#include <stdatomic.h>

#include <openssl/core.h>
#include <openssl/evp.h>

#include "mech/digest.h"

/* For fetches that must not lead back here. */
#define HOST_PROPERTIES "provider!=pkcs11"

struct host {
    const OSSL_CORE_HANDLE *handle;
    OSSL_DISPATCH *upcalls; /* a copy of what OSSL_provider_init got */
    _Atomic(OSSL_LIB_CTX *) libctx;
    _Atomic(EVP_MD *) md[DIGESTS];
};

bool host_begin(struct host *host, const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in);
void host_end(struct host *host);

/* NULL, with OpenSSL's errors raised, when it cannot be made. Belongs to host. */
OSSL_LIB_CTX *host_libctx(struct host *host);

/* The implementation of digest that the application's properties and propq (may be NULL) choose. The
 * caller frees it. */
EVP_MD *host_md(struct host *host, const struct digest *digest, const char *propq);

#endif
