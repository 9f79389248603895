/* Secret keys on tokens: what an EVP_SKEY of this provider holds, a struct key of type KEY_SECRET.
 * There is no public half by which to know one again: a key that is found again must have the type,
 * the length and, where the token shows it, the check value. */
#ifndef BRIDGE_KEY_SECRET_H
#define BRIDGE_KEY_SECRET_H

#include "key/key.h"
#include "mech/secret.h"

/* Makes a key of the object at handle, of class CKO_SECRET_KEY. The caller frees *out. */
CK_RV secret_key_read(struct provider *provider, struct session *session, struct handle handle,
                      struct key **out);

/* The key that the URI names, which stays where it is. One that fits several is an error, unless
 * pkcs11-ambiguous says otherwise. NULL with an error raised; the caller frees it. */
struct key *secret_key_open(struct provider *provider, const struct secret_kind *kind,
                            const char *uri);

struct secret_order {
    struct provider *provider;
    const struct secret_kind *kind;
    struct view value; /* the key as bytes; none: the token makes it, */
    size_t len;        /* of so many */
    const char *uri;   /* the token, and the label and id to give; NULL: a session key */
    struct key *base;  /* what it is derived from, on the same token; or NULL */
    CK_MECHANISM *derive;
    const struct making_way *way; /* it is made so, and its length is the token's to say; or NULL */
    bool extractable;
    bool add; /* also where a secret key has the label or the id already */
};

/* Makes the key: private, sensitive and, unless order says so, not extractable; on the token or,
 * without a URI, for as long as somebody holds it. NULL with an error raised; the caller frees it.
 */
struct key *secret_key_make(const struct secret_order *order);

/* Its URI, without the token's details, as in the PEM files of private keys (key_name). Belongs to
 * key; NULL when memory is short. */
const char *secret_key_uri(struct key *key);

/* Its bytes, where the token gives them out (CKA_EXTRACTABLE, and not CKA_SENSITIVE). They belong
 * to key, in locked memory. False with an error raised. */
bool secret_key_export(struct key *key, struct view *out);

#endif
