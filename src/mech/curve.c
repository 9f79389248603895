#include "mech/curve.h"

#include <stdio.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/objects.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "der/ec_parameters.h"
#include "der/ecdsa.h"
#include "module/call.h"

#define FIELD_MAX 66 /* bytes of P-521 */

#define OID(...)                                                                                   \
    {                                                                                              \
        (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })                 \
    }
/* RFC 5639 §4.1: 1.3.36.3.3.2.8.1.1.n */
#define BRAINPOOL(n) OID(0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, (n))

/* RFC 8410 §3: 1.3.101.n */
#define RFC8410(n) OID(0x2b, 0x65, (n))

/* An INTEGER of ECDSA's, with the zero that keeps it positive, and the SEQUENCE of two. */
#define INTEGER_MAX(bits) (2 + (bits) / 8 + 1)
#define ECDSA_MAX(bits)   (2 * INTEGER_MAX(bits) + (2 * INTEGER_MAX(bits) < 0x80 ? 2 : 3))

#define WEIERSTRASS(names, oid, bits)                                                              \
    {                                                                                              \
        (names), oid, (bits), (bits), ECDSA_MAX(bits), CURVE_EC, NULL,                             \
        {                                                                                          \
            NULL, 0                                                                                \
        }                                                                                          \
    }

static const struct curve curves[] = {
    /* RFC 8410 */
    { "ED25519", RFC8410(0x70), 256, 256, 64, CURVE_ED25519, "edwards25519:Ed25519",
      OID(0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01) },
    { "ED448", RFC8410(0x71), 456, 456, 114, CURVE_ED448, "edwards448:Ed448", { NULL, 0 } },
    { "X25519", RFC8410(0x6e), 256, 253, 32, CURVE_X25519, "curve25519:X25519",
      OID(0x2b, 0x06, 0x01, 0x04, 0x01, 0x97, 0x55, 0x01, 0x05, 0x01) },
    { "X448", RFC8410(0x6f), 448, 448, 56, CURVE_X448, "curve448:X448", { NULL, 0 } },

    /* RFC 5480 §2.1.1.1, SEC 2, RFC 5639 */
    WEIERSTRASS("prime192v1:P-192:secp192r1", OID(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x01),
                192),
    WEIERSTRASS("secp224r1:P-224", OID(0x2b, 0x81, 0x04, 0x00, 0x21), 224),
    WEIERSTRASS("prime256v1:P-256:secp256r1", OID(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07),
                256),
    WEIERSTRASS("secp384r1:P-384", OID(0x2b, 0x81, 0x04, 0x00, 0x22), 384),
    WEIERSTRASS("secp521r1:P-521", OID(0x2b, 0x81, 0x04, 0x00, 0x23), 521),
    WEIERSTRASS("secp256k1", OID(0x2b, 0x81, 0x04, 0x00, 0x0a), 256),
    WEIERSTRASS("brainpoolP192r1", BRAINPOOL(3), 192),
    WEIERSTRASS("brainpoolP224r1", BRAINPOOL(5), 224),
    WEIERSTRASS("brainpoolP256r1", BRAINPOOL(7), 256),
    WEIERSTRASS("brainpoolP256t1", BRAINPOOL(8), 256),
    WEIERSTRASS("brainpoolP320r1", BRAINPOOL(9), 320),
    WEIERSTRASS("brainpoolP320t1", BRAINPOOL(10), 320),
    WEIERSTRASS("brainpoolP384r1", BRAINPOOL(11), 384),
    WEIERSTRASS("brainpoolP384t1", BRAINPOOL(12), 384),
    WEIERSTRASS("brainpoolP512r1", BRAINPOOL(13), 512),
    WEIERSTRASS("brainpoolP512t1", BRAINPOOL(14), 512),
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
        if (view_equal(curves[i].oid, oid) || (oid.len != 0 && view_equal(curves[i].old_oid, oid)))
            return &curves[i];
    return NULL;
}

static const struct curve *curve_by_printable(struct view text)
{
    char name[32];

    if (text.len >= sizeof(name))
        return NULL;
    memcpy(name, text.data, text.len);
    name[text.len] = '\0';
    for (size_t i = 0; i < COUNT(curves); i++)
        if (curves[i].printable != NULL && names_have(curves[i].printable, name))
            return &curves[i];
    return NULL;
}

static bool number_is(const BIGNUM *number, struct view bytes)
{
    uint8_t buf[FIELD_MAX] = { 0 };

    return BN_num_bytes(number) <= (int)sizeof(buf) &&
           view_equal(view_strip(bytes), (struct view){ buf, (size_t)BN_bn2bin(number, buf) });
}

/* In whichever form it was encoded. */
static bool base_is(const EC_GROUP *group, struct view base)
{
    uint8_t buf[EC_POINT_MAX];
    point_conversion_form_t form = base.len != 0 && base.data[0] == POINT_CONVERSION_UNCOMPRESSED
                                       ? POINT_CONVERSION_UNCOMPRESSED
                                       : POINT_CONVERSION_COMPRESSED;
    size_t len =
        EC_POINT_point2oct(group, EC_GROUP_get0_generator(group), form, buf, sizeof(buf), NULL);

    return len != 0 && view_equal(base, (struct view){ buf, len });
}

/* libcrypto knows the numbers; where it was built without the curve, the answer is no. */
static bool has_parameters(const struct curve *curve, const struct ec_parameters *parameters)
{
    HOST_WORK;
    char name[32];
    int nid = OBJ_txt2nid(curve_name(curve, name, sizeof(name)));
    _cleanup_(ec_group_scoped) EC_GROUP *group = EC_GROUP_new_by_curve_name_ex(NULL, NULL, nid);
    _cleanup_(bn_scoped) BIGNUM *p = BN_new(), *a = BN_new(), *b = BN_new();

    return group != NULL && p != NULL && a != NULL && b != NULL &&
           EC_GROUP_get_curve(group, p, a, b, NULL) == 1 && number_is(p, parameters->p) &&
           number_is(a, parameters->a) && number_is(b, parameters->b) &&
           number_is(EC_GROUP_get0_order(group), parameters->order) &&
           base_is(group, parameters->base);
}

static const struct curve *curve_by_parameters(const struct ec_parameters *parameters)
{
    const struct curve *found = NULL;

    (void)ERR_set_mark();
    for (size_t i = 0; found == NULL && i < COUNT(curves); i++)
        if (curves[i].kind == CURVE_EC && curve_field_bytes(&curves[i]) == parameters->p.len &&
            has_parameters(&curves[i], parameters))
            found = &curves[i];
    (void)ERR_pop_to_mark();
    return found;
}

const struct curve *curve_by_params(struct view params)
{
    struct ec_parameters parameters;
    struct view content;

    if (ec_parameters_read(params, &parameters))
        return curve_by_parameters(&parameters);

    if (der_read(&params, DER_OID, &content))
        return params.len == 0 ? curve_by_oid(content) : NULL;
    if (der_read(&params, DER_PRINTABLE_STRING, &content))
        return params.len == 0 ? curve_by_printable(content) : NULL;
    return NULL;
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

size_t curve_point_bytes(const struct curve *curve)
{
    return curve->kind == CURVE_EC ? 1 + 2 * curve_field_bytes(curve) : curve_field_bytes(curve);
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

    if (curve->kind == CURVE_ED25519 || curve->kind == CURVE_X25519)
        return 128;
    if (curve->kind == CURVE_ED448 || curve->kind == CURVE_X448)
        return 224;
    for (size_t i = 0; i < COUNT(steps); i++)
        if (curve->order_bits >= steps[i].order_bits)
            return steps[i].security_bits;
    return curve->order_bits / 2;
}

bool curve_point_fits(const struct curve *curve, struct view point)
{
    return point.len == curve_point_bytes(curve) &&
           (curve->kind != CURVE_EC || point.data[0] == 0x04);
}
