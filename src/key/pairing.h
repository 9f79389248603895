/* A private key whose public half the token keeps elsewhere, and the public keys there that may be
 * it: objects or certificates with the same CKA_ID. They are told apart by their labels; where that
 * leaves a doubt, the private key is asked. */
#ifndef BRIDGE_KEY_PAIRING_H
#define BRIDGE_KEY_PAIRING_H

#include "key/key.h"

#define HALVES_MOST 64

/* How a public key's label speaks for it. */
enum bond { BOND_OTHER_LABEL, BOND_NO_LABEL, BOND_SAME_LABEL };

struct candidate {
    struct key *key;
    enum bond bond;
    bool contested; /* it speaks as much for another private key */
};

struct pairing {
    struct session *session;
    struct handle handle;                   /* of the private key */
    const struct attributes *attributes;    /* read of it */
    const struct key *key;                  /* its type and curve */
    const struct attributes *const *rivals; /* other private keys with the same CKA_ID, as far as */
    size_t rival_count;                     /* they are known */
    struct candidate halves[HALVES_MOST];   /* all different: */
    size_t rejected;                        /* so many are not it, */
    size_t count;                           /* the others up to here, the best bond first */
    bool doubt;                             /* nothing is taken unasked */
    bool crowded;                           /* there are more than HALVES_MOST */
    bool asked;                             /* the one that was chosen is proved */
};

/* An empty key for pairing_add; NULL when memory is short. */
struct key *pairing_new_half(const struct pairing *pairing);

/* Takes half, and frees it with the others, unless it cannot be the private key's: label is that of
 * its object, or NULL. There is no use in adding more to a pairing that is crowded. */
void pairing_add(struct pairing *pairing, struct key *half, const CK_ATTRIBUTE *label);

/* The one that is the other half, still the pairing's. CKR_OK with *half NULL: there is none, or
 * which one it is cannot be told; *unusable then says so, unless there was none to choose from.
 * *ambiguous: the latter. */
CK_RV pairing_choose(struct pairing *pairing, const struct key **half, bool *ambiguous,
                     const char **unusable);

/* None of those there are is it. Others that are added are to be doubted then. */
void pairing_reject(struct pairing *pairing);

/* For _cleanup_(pairing_end). */
void pairing_end(struct pairing *pairing);

#endif
