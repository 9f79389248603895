/* Software keys made session keys of a token (pkcs11-module-import = session). */
#ifndef BRIDGE_KEY_IMPORT_H
#define BRIDGE_KEY_IMPORT_H

#include "key/key.h"

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

/* Gives key, which has a public half and none private, these values for one: as a session object,
 * private, sensitive and not extractable, of the token that a session key without a URI is made on.
 * It is destroyed with the last holder of key. False with an error raised. */
bool key_import(struct key *key, const struct import *import);

#endif
