/* What a URI may mean, as text for the person who is to say which. */
#ifndef BRIDGE_KEY_CANDIDATES_H
#define BRIDGE_KEY_CANDIDATES_H

#include "key/key.h"
#include "token/slot.h"

/* So many are shown; the text of an error has room for about a thousand bytes in all. */
#define CANDIDATES_SHOWN    10
#define CANDIDATES_TEXT_MAX 600

struct candidates {
    unsigned count;
    char text[CANDIDATES_TEXT_MAX]; /* "a, b and others", or "" */
};

/* A private key by its URI, cut to token, id and object; a token by label and serial number. */
void candidates_add_key(struct candidates *candidates, const struct key *key);
void candidates_add_token(struct candidates *candidates, struct slot *slot);

#endif
