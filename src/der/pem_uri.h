/* A pkcs11: URI in the clothes of a private key file, as pkcs11-provider writes it: PEM with the
 * label PKCS11_URI_PEM_LABEL around SEQUENCE { VisibleString PKCS11_URI_DESCRIPTION, UTF8String uri
 * }. */
#ifndef BRIDGE_PEM_URI_H
#define BRIDGE_PEM_URI_H

#include "der/der.h"

#define PEM_URI_DESCRIPTION "PKCS#11 Provider URI v1.0"
#define PEM_URI_OVERHEAD    48

/* The length written, 0 when size is too small; uri.len + PEM_URI_OVERHEAD is enough. */
size_t pem_uri_write(struct view uri, uint8_t *der, size_t size);

/* The URI in der, which must be this structure and nothing more; the lengths in it may be longer
 * than DER has them, as pkcs11-provider's shell tool writes them. */
bool pem_uri_read(struct view der, struct view *uri);

#endif
