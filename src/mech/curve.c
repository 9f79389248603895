#include "mech/curve.h"

#include <stdio.h>
#include <string.h>

#include "der/ecdsa.h"
#include "scope.h"

#define OID(...)                                                                                   \
    {                                                                                              \
        (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })                 \
    }
/* RFC 5639 §4.1: 1.3.36.3.3.2.8.1.1.n */
#define BRAINPOOL(n) OID(0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, (n))

/* RFC 5480 §2.1.1.1, SEC 2, RFC 5639 */
static const struct curve curves[] = {
    { "prime192v1:P-192:secp192r1", OID(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x01), 192, 192 },
    { "secp224r1:P-224", OID(0x2b, 0x81, 0x04, 0x00, 0x21), 224, 224 },
    { "prime256v1:P-256:secp256r1", OID(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07), 256, 256 },
    { "secp384r1:P-384", OID(0x2b, 0x81, 0x04, 0x00, 0x22), 384, 384 },
    { "secp521r1:P-521", OID(0x2b, 0x81, 0x04, 0x00, 0x23), 521, 521 },
    { "secp256k1", OID(0x2b, 0x81, 0x04, 0x00, 0x0a), 256, 256 },
    { "brainpoolP192r1", BRAINPOOL(3), 192, 192 },
    { "brainpoolP224r1", BRAINPOOL(5), 224, 224 },
    { "brainpoolP256r1", BRAINPOOL(7), 256, 256 },
    { "brainpoolP256t1", BRAINPOOL(8), 256, 256 },
    { "brainpoolP320r1", BRAINPOOL(9), 320, 320 },
    { "brainpoolP320t1", BRAINPOOL(10), 320, 320 },
    { "brainpoolP384r1", BRAINPOOL(11), 384, 384 },
    { "brainpoolP384t1", BRAINPOOL(12), 384, 384 },
    { "brainpoolP512r1", BRAINPOOL(13), 512, 512 },
    { "brainpoolP512t1", BRAINPOOL(14), 512, 512 },
};

const struct curve *curve_by_name(const char *name)
{
    for (size_t i = 0; i < COUNT(curves); i++)
        if (names_have(curves[i].names, name))
            return &curves[i];
    return NULL;
}

const struct curve *curve_by_oid(struct view oid)
{
    for (size_t i = 0; i < COUNT(curves); i++)
        if (view_equal(curves[i].oid, oid))
            return &curves[i];
    return NULL;
}

const struct curve *curve_by_params(struct view params)
{
    struct view oid;

    return der_read(&params, DER_OID, &oid) && params.len == 0 ? curve_by_oid(oid) : NULL;
}

const char *curve_name(const struct curve *curve, char *buf, size_t size)
{
    (void)snprintf(buf, size, "%.*s", (int)strcspn(curve->names, ":"), curve->names);
    return buf;
}

size_t curve_field_bytes(const struct curve *curve)
{
    return (curve->field_bits + 7) / 8;
}

size_t curve_order_bytes(const struct curve *curve)
{
    return (curve->order_bits + 7) / 8;
}

/* SP 800-57 part 1, table 2, in OpenSSL's steps. */
unsigned curve_security_bits(const struct curve *curve)
{
    static const struct {
        unsigned order_bits, security_bits;
    } steps[] = { { 512, 256 }, { 384, 192 }, { 256, 128 }, { 224, 112 }, { 160, 80 } };

    for (size_t i = 0; i < COUNT(steps); i++)
        if (curve->order_bits >= steps[i].order_bits)
            return steps[i].security_bits;
    return curve->order_bits / 2;
}

size_t curve_signature_max(const struct curve *curve)
{
    size_t integer = curve->order_bits / 8 + 1; /* with the zero that keeps it positive */
    size_t content = 2 * (2 + integer);

    return content + (content < 0x80 ? 2 : 3);
}

bool curve_point_fits(const struct curve *curve, struct view point)
{
    return point.len == 1 + 2 * curve_field_bytes(curve) && point.data[0] == 0x04;
}
