/* RSA keys for PSS alone (RFC 4055's id-RSASSA-PSS): those whose CKA_ALLOWED_MECHANISMS has nothing
 * else, or whose other half says so. */
#ifndef BRIDGE_KEY_RESTRICTED_H
#define BRIDGE_KEY_RESTRICTED_H

#include "key/public.h"

bool restricts(const struct attributes *attributes);

/* Whether the other half of an RSA key that says nothing of its mechanisms restricts it to PSS: the
 * two are one key, and of one type. */
CK_RV restricted_elsewhere(const struct provider *provider, struct session *session,
                           CK_OBJECT_CLASS class, const struct attributes *attributes,
                           const struct twins *twins, bool *restricted);

#endif
