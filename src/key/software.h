/* Key pairs that nobody asked a token for: libssl's for one handshake, where libcrypto takes the
 * key management of this provider because it is listed first or preferred. They are made in
 * software, and the EVP_PKEY on the host has the private half too; docs/adr/0022-ephemeral-keys.md.
 */
#ifndef BRIDGE_KEY_SOFTWARE_H
#define BRIDGE_KEY_SOFTWARE_H

#include "key/key.h"

/* A key pair for key agreement, of a type on curve or, without one, of a type that says all. NULL
 * with an error raised. */
struct key *software_generate(struct provider *provider, enum key_type type,
                              const struct curve *curve);

/* What key_derive and key_sign (ECDSA, of a digest) do with such a key. */
bool software_derive(struct key *key, const struct key *peer, bool cofactor, uint8_t *out,
                     size_t *len);
bool software_decapsulate(struct key *key, struct view ciphertext, uint8_t *secret);
bool software_sign(struct key *key, struct view digest, uint8_t *signature, size_t *len);

/* What key_encapsulate does on the host, with any key. */
bool software_encapsulate(struct key *key, uint8_t *ciphertext, uint8_t *secret);

#endif
