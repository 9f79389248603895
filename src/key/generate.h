/* Making key pairs on a token. */
#ifndef BRIDGE_KEY_GENERATE_H
#define BRIDGE_KEY_GENERATE_H

#include "key/import.h"
#include "key/key.h"
#include "key/making.h"
#include "mech/generate.h"

struct generation {
    struct provider *provider;
    enum key_type type;
    const struct curve *curve;       /* but for RSA and parameter sets */
    unsigned bits;                   /* RSA */
    struct bytes exponent;           /* RSA: big-endian */
    const struct digest *pss_digest; /* KEY_RSA_PSS: the only one; NULL: any */
    const char *uri; /* the token, and the label and id to give; NULL: a session key */
    bool ephemeral;  /* a session key also with a URI */
    bool add;        /* also where a key has the label or the id already */
    bool has_usage;
    struct usage usage;
    bool extractable;             /* wrapped, that is: it is sensitive all the same */
    const struct import *import;  /* the private values of a key that is there already, or */
    const struct making_way *way; /* how the token comes to it; both NULL: it makes the pair */
    const struct key *half;       /* its public half; NULL, with way: as the private key shows it */
};

/* The key is not made by the token: its bytes are here, or wrapped. */
static inline bool generation_is_there(const struct generation *generation)
{
    return generation->import != NULL || generation->way != NULL;
}

/* Makes the pair: not extractable, unless generation says so, sensitive, private; with the CKA_ID
 * of the URI or one derived from the public key, the same on both halves. A URI that fits several
 * tokens is an error, unless pkcs11-ambiguous says otherwise, and so is an id or a label that a key
 * has already, unless generation says add; and a failure leaves nothing behind. NULL with an error
 * raised; the caller frees the key.
 *
 * A session key is destroyed with the last holder of the struct key. */
struct key *key_generate(const struct generation *generation);

#endif
