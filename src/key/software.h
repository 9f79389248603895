/* Keys on the host: the EVP_PKEY of the host's other providers is all that there is of them, and
 * every use of them is the host's (ops/held.h).
 *
 * Software keys that libcrypto brings to this provider because it is preferred, and key pairs that
 * nobody asked a token for: libssl's for one handshake. docs/adr/0007-imports-stay-on-the-host.md,
 * docs/adr/0022-ephemeral-keys.md. */
#ifndef BRIDGE_KEY_SOFTWARE_H
#define BRIDGE_KEY_SOFTWARE_H

#include "key/key.h"

/* A key pair for key agreement, of a type on curve or, without one, of a type that says all. NULL
 * with an error raised. */
struct key *software_generate(struct provider *provider, enum key_type type,
                              const struct curve *curve);

/* Makes key, which others do not see yet, one on the host, of this kind: type is OpenSSL's name of
 * its type, params are its values (provider-keymgmt(7), import). False where no other provider
 * takes them. */
bool software_import(struct key *key, const char *type, enum software kind,
                     const OSSL_PARAM params[]);

/* For a key on the host, as keymgmt_match and keymgmt_validate are asked. */
bool software_matches(struct key *a, struct key *b, int selection);
bool software_validates(struct key *key, int selection, bool quick);

/* Whether sig is one of message by key, any key: params are of provider-signature(7), or NULL. */
bool software_verifies(struct key *key, const OSSL_PARAM params[], struct view message,
                       struct view sig);

/* What key_encapsulate does on the host, with any key. */
bool software_encapsulate(struct key *key, uint8_t *ciphertext, uint8_t *secret);

/* Whether a new key of the host's on the same curve agrees on a secret with peer, which has a point
 * of small order otherwise. */
bool software_agrees(struct key *peer);

#endif
