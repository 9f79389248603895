/* Software keys made session keys of a token (pkcs11-module-import = session). */
#ifndef BRIDGE_KEY_IMPORT_H
#define BRIDGE_KEY_IMPORT_H

#include "key/key.h"
#include "key/making.h"

#define IMPORT_VALUES_MOST 6

/* The private values of a key, in memory of their own that is locked, left out of core dumps, and
 * wiped at the end. */
struct import {
    CK_ATTRIBUTE values[IMPORT_VALUES_MOST];
    CK_ULONG count;
    uint8_t *memory;
    size_t used;
};

/* Adds an attribute of len bytes, which the caller writes to what comes back; NULL when memory is
 * short or there are too many. */
uint8_t *import_add(struct import *import, CK_ATTRIBUTE_TYPE type, size_t len);

/* For _cleanup_(import_end). */
void import_end(struct import *import);

/* Where it goes. */
struct import_order {
    const char *uri; /* the token, and the label and id to give; NULL: a session key of the token
                        that one without a URI is made on */
    const struct making_way *way; /* it comes so, not by its values; or NULL */
    bool add, extractable;        /* as struct generation has them */
};

/* Gives key, which has a public half and none private, these values for one: private, sensitive and
 * not extractable, as order says. A session key is destroyed with the last holder of key. With a
 * way, import is NULL, and an RSA key may be without a public half: it gets the one that the token
 * shows. False with an error raised. */
bool key_import(struct key *key, const struct import *import, const struct import_order *order);

#endif
