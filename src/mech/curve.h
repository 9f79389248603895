/* Elliptic curves, Edwards and Montgomery ones included: OpenSSL's names, what CKA_EC_PARAMS calls
 * them, sizes. */
#ifndef BRIDGE_CURVE_H
#define BRIDGE_CURVE_H

#include "mech/digest.h"

/* The longest uncompressed point: 0x04 X Y of P-521. */
#define EC_POINT_MAX (1 + 2 * 66)

enum curve_kind { CURVE_EC, CURVE_ED25519, CURVE_ED448, CURVE_X25519, CURVE_X448 };

struct curve {
    const char *names;   /* OpenSSL's group or type name first, other names after colons */
    struct view oid;     /* the OID's content */
    unsigned field_bits; /* of a coordinate, or of the encoded point where that is one number */
    unsigned order_bits; /* what EVP_PKEY_get_bits says */
    size_t
        signature_max; /* what EVP_PKEY_get_size gives for software keys: bytes of the longest DER
                         signature of ECDSA, of EdDSA's, of the shared secret of X25519, X448 */
    enum curve_kind kind;
    const char *printable; /* CKA_EC_PARAMS as a PrintableString, PKCS#11 v3.1 §6.3.8; or NULL */
    struct view old_oid;   /* an OID that was used before RFC 8410; or none */
};

const struct curve *curve_by_name(const char *name);
const struct curve *curve_by_oid(struct view oid);

/* CKA_EC_PARAMS: a DER OID (PKCS#11 v3.1 §6.3.3), a curve's name as PrintableString, or explicit
 * parameters that are a known curve's; NULL for unknown curves. */
const struct curve *curve_by_params(struct view params);

const char *curve_name(const struct curve *curve, char *buf, size_t size);
size_t curve_field_bytes(const struct curve *curve);
size_t curve_order_bytes(const struct curve *curve);
unsigned curve_security_bits(const struct curve *curve);

/* The length of an encoded point, uncompressed on EC curves. */
size_t curve_point_bytes(const struct curve *curve);

/* Whether point is an encoded point of the right length. Not: whether it is on the curve. */
bool curve_point_fits(const struct curve *curve, struct view point);

#endif
