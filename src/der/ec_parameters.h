/* Explicit parameters of an elliptic curve, RFC 3279 §2.3.5: ECParameters. */
#ifndef BRIDGE_EC_PARAMETERS_H
#define BRIDGE_EC_PARAMETERS_H

#include "der/der.h"

/* Numbers are big-endian, a and b with the zeros that they were written with. */
struct ec_parameters {
    struct view p, a, b;
    struct view base; /* the encoded point */
    struct view order;
};

/* Reads der, which must be this structure, over a prime field and with cofactor 1, and nothing
 * more. The seed of a verifiably random curve is left aside. What is read belongs to der. */
bool ec_parameters_read(struct view der, struct ec_parameters *out);

#endif
