/* Reading keys off a token: their public halves, from wherever the token keeps them. */
#ifndef BRIDGE_PUBLIC_H
#define BRIDGE_PUBLIC_H

#include "key/key.h"
#include "token/place.h"

/* What is known of a key's surroundings: the attributes of public objects with a private key's
 * CKA_ID, and of other private keys with it; and the index of a listing. */
struct twins {
    const struct attributes *list[PLACE_OBJECTS_MOST], *rivals[PLACE_OBJECTS_MOST];
    CK_ULONG count, rival_count;
    bool ask;            /* names are not to be trusted: the key was asked before */
    bool unrestricted;   /* no other half restricts an RSA key to PSS */
    struct index *index; /* or NULL */
    bool *in_doubt;      /* or NULL: set where the other half would tell whether an RSA key is for
                            PSS alone, and is not seen without a login */
};

/* Makes a key of the object at handle, which is of class CKO_PRIVATE_KEY or CKO_PUBLIC_KEY. The
 * public half of a private key comes from CKA_PUBLIC_KEY_INFO, its other attributes, the public
 * object with the same CKA_ID, or the certificate with the same CKA_ID, in this order; where
 * several have it, the one with the same label, or the one that the private key itself shows to be
 * its half. An RSA key whose CKA_ALLOWED_MECHANISMS is absent has the type of its other half.
 *
 * What the index of twins has is not read again. CKR_OK with *out NULL: it is no key for OpenSSL,
 * and *unusable says why. The caller frees *out. */
CK_RV public_read_key(struct provider *provider, struct session *session, struct handle handle,
                      CK_OBJECT_CLASS class, const struct twins *twins, struct key **out,
                      const char **unusable);

/* The same of what reading_any or reading_key has read of a private key. */
CK_RV public_make_private(struct provider *provider, struct session *session, struct handle handle,
                          const struct attributes *attributes, const struct twins *twins,
                          struct key **out, const char **unusable);

/* Lets go of the private half. Only for a key that nobody else holds. */
void key_make_public(struct key *key);

#endif
