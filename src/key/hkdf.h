/* Keys and bytes that a token derives from a secret key with HKDF. */
#ifndef BRIDGE_KEY_HKDF_H
#define BRIDGE_KEY_HKDF_H

#include "key/secret.h"
#include "mech/hkdf.h"

/* out: len bytes. False with an error raised. */
bool key_hkdf(struct key *key, const struct hkdf_request *request, uint8_t *out, size_t len);

/* The same as a session key of that kind, on the token of key. NULL with an error raised; the
 * caller frees it. */
struct key *key_hkdf_key(struct key *key, const struct hkdf_request *request,
                         const struct secret_kind *kind, size_t len);

#endif
