/* The translation table for decryption: OpenSSL's padding, CKM_* and its parameters. */
#ifndef BRIDGE_MECH_CIPHER_H
#define BRIDGE_MECH_CIPHER_H

#include "mech/digest.h"

enum cipher_padding { CIPHER_PKCS1, CIPHER_TLS, CIPHER_OAEP, CIPHER_RAW };

/* What the application asked for. */
struct cipher_request {
    enum cipher_padding padding;
    const struct digest *digest, *mgf1; /* OAEP */
    struct view label;                  /* OAEP; may be empty */
    unsigned client_version;            /* TLS */
    unsigned alt_version;               /* TLS: the negotiated one, where it is accepted as well */
    bool implicit_rejection;            /* PKCS#1 v1.5 */
};

/* A CK_MECHANISM with room for its parameters; it points into itself and must not be copied. */
struct cipher_mechanism {
    CK_MECHANISM ck;
    CK_RSA_PKCS_OAEP_PARAMS oaep;
};

/* The mechanism with which the token takes the padding off itself. False where PKCS#11 has none (an
 * MGF1 that it cannot name). */
bool cipher_mechanism(const struct cipher_request *request, struct cipher_mechanism *out);

/* The mechanism that leaves the padding on: CKM_RSA_X_509. */
void cipher_mechanism_raw(struct cipher_mechanism *out);

/* A number for this use of OAEP, to remember what a token lacks: different for each digest, MGF1
 * digest and presence of a label, and no mechanism's own. */
CK_MECHANISM_TYPE cipher_oaep_variant(const struct cipher_request *request);

#endif
