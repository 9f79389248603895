/* Reading and writing through libcrypto's BIOs, by the functions that the core handed in. */
#ifndef BRIDGE_COREBIO_H
#define BRIDGE_COREBIO_H

#include "base/bytes.h"
#include "instance/instance.h"

/* The longest DER and PEM that are read, in bytes: more than any URI needs, and too much for the
 * stack of an ASYNC_JOB, in which decoders look at what others decode. */
#define COREBIO_MAX 16384

/* Reads to the end. False on a read error, or when it is longer than COREBIO_MAX. It may be a
 * secret: the caller frees it with bytes_wipe. */
bool corebio_read_all(const struct provider *provider, OSSL_CORE_BIO *bio, struct bytes *out);

/* Reads the next PEM block, to its END line and no further. *out holds its DER when its label is
 * the one given, 0 bytes of it where it is damaged, and NULL when there was no block or another
 * one. Freed with bytes_wipe too. */
bool corebio_read_pem(const struct provider *provider, OSSL_CORE_BIO *bio, const char *label,
                      struct bytes *out);

bool corebio_write(const struct provider *provider, OSSL_CORE_BIO *bio, const void *data,
                   size_t len);
bool corebio_write_pem(const struct provider *provider, OSSL_CORE_BIO *bio, const char *label,
                       const uint8_t *der, size_t len);

#endif
