/* Key agreement that makes a key, and in its parts, for those who have a session and a handle. */
#ifndef BRIDGE_KEY_DERIVE_H
#define BRIDGE_KEY_DERIVE_H

#include "key/secret.h"

/* What a secret that is to be read is made by: a session object of size bytes. It points into
 * itself. */
struct secret_template {
    CK_ATTRIBUTE list[6];
    CK_OBJECT_CLASS class;
    CK_KEY_TYPE type;
    CK_BBOOL yes, no;
    CK_ULONG size;
};

#define SECRET_TEMPLATE_COUNT 6

void secret_template_make(struct secret_template *out, CK_ULONG size);

/* Makes the secret of size bytes, a session object, and takes its value, after which it is gone. A
 * token that refuses the first of the two has done nothing. */
CK_RV derive_begin(struct session *session, struct handle handle, CK_MECHANISM *mechanism,
                   CK_ULONG size, struct handle *secret);
CK_RV derive_finish(struct session *session, struct handle secret, struct room *out);

/* What key_derive makes, as a session key of that kind on the token of key, from which it does not
 * come: all of it, len bytes. NULL with an error raised; the caller frees it. */
struct key *key_derive_key(struct key *key, struct key *peer, const struct secret_kind *kind,
                           size_t len);

/* What the mechanism gets of the peer's point; der (EC_POINT_MAX + 4 bytes) may be needed for it.
 */
struct view derive_public_data(struct view point, uint8_t *der, size_t size);

#endif
