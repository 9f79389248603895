/* Elliptic curves: OpenSSL's names, the OIDs of CKA_EC_PARAMS, sizes. */
#ifndef BRIDGE_CURVE_H
#define BRIDGE_CURVE_H

#include "mech/digest.h"

/* The longest uncompressed point: 0x04 X Y of P-521. */
#define EC_POINT_MAX (1 + 2 * 66)

struct curve {
    const char *names;   /* OpenSSL's group name first, other names after colons */
    struct view oid;     /* the OID's content */
    unsigned field_bits; /* of a coordinate */
    unsigned order_bits;
};

const struct curve *curve_by_name(const char *name);
const struct curve *curve_by_oid(struct view oid);

/* CKA_EC_PARAMS: a DER OID (PKCS#11 v3.1 §6.3.3); NULL for explicit parameters and unknown curves.
 */
const struct curve *curve_by_params(struct view params);

const char *curve_name(const struct curve *curve, char *buf, size_t size);
size_t curve_field_bytes(const struct curve *curve);
size_t curve_order_bytes(const struct curve *curve);
unsigned curve_security_bits(const struct curve *curve);

/* The longest DER signature, as EVP_PKEY_get_size gives it for software keys. */
size_t curve_signature_max(const struct curve *curve);

/* Whether point is an uncompressed point's encoding of the right length. Not: whether it is on the
 * curve. */
bool curve_point_fits(const struct curve *curve, struct view point);

#endif
