/* Which public key is the other half of a private key, asked of the private key itself: by one
 * signature, or by one key agreement where it may not sign, or by what is encapsulated for each. */
#ifndef BRIDGE_KEY_PROOF_H
#define BRIDGE_KEY_PROOF_H

#include "key/key.h"

enum proof {
    PROOF_FOUND,
    PROOF_NONE,       /* none of them is */
    PROOF_IMPOSSIBLE, /* the key may do neither, or not without a login for each use */
};

/* Asks the private key at handle, of which attributes were read, about the public keys halves,
 * which are of its type and curve. PROOF_FOUND: *which is the one. RSA keys are not asked: their
 * modulus tells. */
CK_RV proof_ask(struct session *session, struct handle handle, const struct attributes *attributes,
                struct key *const *halves, size_t count, enum proof *proof, size_t *which);

#endif
