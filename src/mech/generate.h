/* The translation table for key generation. */
#ifndef BRIDGE_GENERATE_H
#define BRIDGE_GENERATE_H

#include "mech/curve.h"
#include "mech/set.h"

/* What kind of key pair: RSA where neither is set. */
struct generate_kind {
    const struct curve *curve;
    const struct set *set;
};

/* How a token may be asked for a key pair. */
struct generate_row {
    enum { GENERATE_RSA, GENERATE_CURVE, GENERATE_SET } by;
    enum curve_kind kind; /* GENERATE_CURVE */
    CK_MECHANISM_TYPE mechanism;
    CK_KEY_TYPE key_type; /* CKA_KEY_TYPE of what it makes */
    bool printable;       /* CKA_EC_PARAMS as the curve's name, not its OID */
};

/* The row after previous (NULL: the first) for this kind of key; NULL after the last. Tokens differ
 * in which they have, and are asked one after the other. */
const struct generate_row *generate_next(const struct generate_kind *kind,
                                         const struct generate_row *previous);

/* Whether a CKR says that the token does not have this way. */
bool generate_not_supported(CK_RV rv);

/* Whether rv says that the token does not take an attribute of the template. */
bool generate_template_refused(CK_RV rv);

/* CKA_EC_PARAMS for curve; der: 64 bytes. The length. */
size_t generate_params(const struct generate_row *row, const struct curve *curve, uint8_t *der,
                       size_t size);

/* What a key may be used for: CKA_SIGN and so on. */
struct usage {
    bool sign, decrypt, unwrap, derive, decapsulate;
};

/* Reads the names of RFC 5280 §4.2.1.3 (digitalSignature, keyAgreement, ...), divided by blanks or
 * commas. False at one that is unknown. */
bool usage_parse(const char *names, struct usage *out);

#endif
