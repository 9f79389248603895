/* The public half of a key, of what a token shows: the attributes of an object, a
 * SubjectPublicKeyInfo, a certificate. */
#ifndef BRIDGE_KEY_HALF_H
#define BRIDGE_KEY_HALF_H

#include "key/key.h"

enum half { HALF_READ, HALF_ABSENT, HALF_UNUSABLE };

/* Fills it from the attributes of a public or private object, which are to be of key's type;
 * *unusable says why they are not. */
enum half half_read(struct key *key, const struct attributes *attributes, const char **unusable);

/* From CKA_PUBLIC_KEY_INFO, a SubjectPublicKeyInfo (PKCS#11 v3.1 §4.7), and from a certificate in
 * DER. False, with no error raised, where it is malformed, or of a key of another type, on another
 * curve or of another set. */
bool half_from_spki(struct key *key, struct view der);
bool half_from_certificate(struct key *key, struct view der);

/* That of CKA_KEY_TYPE and CKA_PARAMETER_SET; or NULL. */
const struct set *half_set(const struct attributes *attributes);

#endif
