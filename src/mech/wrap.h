/* The translation table for wrapping: what a way to wrap keys is called, CKM_* and its parameters.
 */
#ifndef BRIDGE_MECH_WRAP_H
#define BRIDGE_MECH_WRAP_H

#include <stdbool.h>

#include "mech/digest.h"

enum wrap_form {
    WRAP_PLAIN, /* no parameters */
    WRAP_OAEP,
    WRAP_RSA_AES, /* an AES key by OAEP, and by that AES key the key: one mechanism, or two */
};

struct wrap_way {
    const char *name;
    CK_MECHANISM_TYPE mechanism;
    CK_KEY_TYPE with; /* of the wrapping key */
    enum wrap_form form;
    enum digest_row digest; /* OAEP */
    bool takes_private;     /* also private keys: PKCS#8, of any length (PKCS#11 v3.1 §5.18.3) */
};

/* Those that the wrapping keys of a type can be used for, the one to be preferred first; NULL after
 * the last. The first where previous is NULL. */
const struct wrap_way *wrap_next(CK_KEY_TYPE with, const struct wrap_way *previous);

/* By its name; NULL where there is none. All names, divided by blanks, are WRAP_NAMES. */
const struct wrap_way *wrap_find(const char *name);
#define WRAP_NAMES                                                                                 \
    "aes-kwp, aes-kw-pad, aes-kw, rsa-aes-kwp-sha256, rsa-aes-kwp-sha1, rsa-oaep-sha256, "         \
    "rsa-oaep-sha1"

/* The AES key in the middle of WRAP_RSA_AES, in bytes, and the mechanisms that wrap with it where
 * the token does not do both: the one of the standard first. */
#define WRAP_MIDDLE_LEN 32
#define WRAP_INNER_WAYS 2
extern const CK_MECHANISM_TYPE wrap_inner[WRAP_INNER_WAYS];

/* A CK_MECHANISM with room for its parameters; it points into itself and must not be copied. */
struct wrap_mechanism {
    CK_MECHANISM ck;
    CK_RSA_PKCS_OAEP_PARAMS oaep;
    struct rsa_aes_params rsa_aes;
};

/* The way's own mechanism; and, of WRAP_RSA_AES, the one for the AES key in the middle. */
void wrap_mechanism(const struct wrap_way *way, struct wrap_mechanism *out);
void wrap_mechanism_outer(const struct wrap_way *way, struct wrap_mechanism *out);

#endif
