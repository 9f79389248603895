/* Reading keys off a token: their public halves, from wherever the token keeps them. */
#ifndef BRIDGE_PUBLIC_H
#define BRIDGE_PUBLIC_H

#include "key/key.h"

/* Makes a key of the object at handle, which is of class CKO_PRIVATE_KEY or CKO_PUBLIC_KEY. The
 * public half of a private key comes from CKA_PUBLIC_KEY_INFO, its other attributes, the public object with
 * the same CKA_ID, or the certificate with the same CKA_ID, in this order.
 *
 * CKR_OK with *out NULL: it is no key for OpenSSL, and *unusable says why. The caller frees *out.
 */
CK_RV public_read_key(struct provider *provider, struct session *session, struct handle handle,
                      CK_OBJECT_CLASS class, struct key **out, const char **unusable);

/* The same in two steps, for a private key. First what public_make_private wants to know of an object,
 * and its class, in one call; whether that has the public half in it; and then the key, with the public
 * half from twin, the attributes of the public object, where there is one. */
CK_RV public_read_any(struct provider *provider, struct session *session, struct handle handle,
                      struct attributes *out);
bool public_shown(const struct attributes *attributes);
CK_RV public_make_private(struct provider *provider, struct session *session,
                          struct handle handle, const struct attributes *attributes,
                          const struct attributes *twin, struct key **out, const char **unusable);

/* Lets go of the private half. Only for a key that nobody else holds. */
void key_make_public(struct key *key);

#endif
