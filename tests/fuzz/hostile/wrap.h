/* Wrapping, which no function of libcrypto leads to: in a file of its own, whose PKCS#11 types are
 * the provider's. */
#ifndef BRIDGE_HOSTILE_WRAP_H
#define BRIDGE_HOSTILE_WRAP_H

#include <stddef.h>

#include <openssl/provider.h>

#define HOSTILE_WRAPPED_MOST 65536

/* What came of it, to be freed with OPENSSL_free; or NULL. */
unsigned char *hostile_wrap(OSSL_PROVIDER *provider, const char *key, unsigned how, size_t *len);

#endif
