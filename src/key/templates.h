/* The templates of a key pair: what a token is to make, or what it is given. */
#ifndef BRIDGE_KEY_TEMPLATES_H
#define BRIDGE_KEY_TEMPLATES_H

#include "key/generate.h"
#include "uri/uri.h"

/* They point into themselves, and into what they are made of; they must not be copied. */
struct templates {
    CK_ATTRIBUTE private[24], public[24];
    CK_ULONG private_count, public_count;
    CK_BBOOL yes, no, token, extractable, sign, decrypt, unwrap, derive, decapsulate;
    CK_OBJECT_CLASS private_class, public_class;
    CK_KEY_TYPE type;
    uint8_t point[EC_POINT_MAX + 4];
    CK_ULONG bits, set;
    uint8_t params[64];
    CK_ULONG params_len;
    CK_MECHANISM_TYPE allowed[SIGN_PSS_MECHANISMS];
};

/* What the two are called. */
struct template_names {
    const struct uri *uri; /* NULL: they are session objects */
    const uint8_t *mark;   /* MAKING_ID_LEN bytes, for CKA_ID in the place of the URI's; or NULL */
};

/* For generation, by row. all: with the usages that make no sense for the type turned off. */
void templates_make(const struct generation *generation, const struct generate_row *row, bool all,
                    const struct template_names *names, struct templates *t);

/* Adds the public half of what there is already. */
void templates_half(const struct key *half, const struct generate_row *row, struct templates *t);

#endif
