/* Which attributes are read of keys, and of what lies beside them, in one call each (two for keys
 * of parameter sets, of which older tokens know nothing). */
#ifndef BRIDGE_KEY_READING_H
#define BRIDGE_KEY_READING_H

#include "instance/instance.h"
#include "token/object.h"

/* Of a key of this class: its public half, its names, and what it may be used for. */
CK_RV reading_key(const struct provider *provider, struct session *session, struct handle handle,
                  CK_OBJECT_CLASS class, struct attributes *out);

/* Of an object that may be either: its class as well. */
CK_RV reading_any(const struct provider *provider, struct session *session, struct handle handle,
                  struct attributes *out);

/* Of an object beside a key, of this class: a public key with its half, a certificate with its
 * CKA_VALUE unless that is a long one, and of a private key what may restrict the other half. */
CK_RV reading_beside(const struct provider *provider, struct session *session, struct handle handle,
                     CK_OBJECT_CLASS class, struct attributes *out);

/* Of a public object the half alone. */
CK_RV reading_half(struct session *session, struct handle handle, struct attributes *out);

/* Whether the attributes of a private key have its public half. */
bool reading_shows_half(const struct attributes *attributes);

/* By what the two halves of a key belong together: the CKA_ID, or the label where there is none. */
const CK_ATTRIBUTE *reading_bond(const struct attributes *attributes);

/* Objects of this class with the same bond; type: NULL for any. */
CK_RV reading_search(struct session *session, const struct attributes *attributes,
                     CK_OBJECT_CLASS class, CK_KEY_TYPE *type, struct handles *out);

#endif
