/* Keys that leave a token wrapped with another key, and come back. docs/adr/0033-wrapping.md. */
#ifndef BRIDGE_KEY_WRAP_H
#define BRIDGE_KEY_WRAP_H

#include "key/making.h"
#include "mech/wrap.h"

/* The longest wrapped key, in bytes: that of an RSA key of 16384 bits has some 10,000. */
#define WRAPPED_MAX 65536

struct wrap_order {
    struct provider *provider;
    const char *key;            /* the URI of what is to be wrapped, a private or secret key, */
    const char *with;           /* and of the key to wrap it with, an AES key or an RSA public key,
                                   on the same token */
    const struct wrap_way *way; /* NULL: the first that the token has for these keys */
    struct secret *(*ask)(void *arg, const CK_TOKEN_INFO *token); /* for a PIN; or NULL */
};

struct wrapped {
    struct bytes blob;
    const struct wrap_way *way;
    CK_OBJECT_CLASS class; /* of the key */
    CK_KEY_TYPE type;
};

/* Wraps the key. One that must not leave the token (CKA_EXTRACTABLE off), or only with a wrapping
 * key that the security officer trusts (CKA_WRAP_WITH_TRUSTED), is refused before the token is
 * asked, as far as the token shows these attributes. False with an error raised; the caller clears
 * *out in any case. */
bool key_wrap(const struct wrap_order *order, struct wrapped *out);
void wrapped_clear(struct wrapped *wrapped);

/* How a wrapped key comes to a token. */
struct unwrap_order {
    struct provider *provider;
    const char *with;           /* the URI of the AES key, or RSA private key, to unwrap it with */
    const struct wrap_way *way; /* NULL: one after the other that the token has for this key */
    struct view blob;
};

struct unwrapping {
    const struct unwrap_order *order;
    struct uri with;
    CK_MECHANISM_TYPE mechanism; /* the last that was tried */
    const char *why;             /* what is wrong with the wrapping key (RV_REFUSED) */
};

/* Makes ready: made.make unwraps the key on a session, for key_generate and secret_key_make. False
 * with an error raised; unwrap_end in any case. order lasts until then. */
bool unwrap_begin(struct unwrapping *unwrapping, const struct unwrap_order *order,
                  struct making_way *way);
void unwrap_end(struct unwrapping *unwrapping);

#endif
