#include "der/ec_parameters.h"

/* 1.2.840.10045.1.1 */
static const uint8_t prime_field[] = { 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x01, 0x01 };
static const uint8_t one[] = { 1 };

static bool read_version(struct view *in)
{
    struct view version;

    return der_read_unsigned(in, &version) && version.len == 1 && version.data[0] <= 3;
}

static bool read_field(struct view *in, struct view *p)
{
    struct view field, type;

    return der_read(in, DER_SEQUENCE, &field) && der_read(&field, DER_OID, &type) &&
           view_equal(type, VIEW(prime_field)) && der_read_unsigned(&field, p) && field.len == 0;
}

static bool read_curve(struct view *in, struct view *a, struct view *b)
{
    struct view curve, seed;

    return der_read(in, DER_SEQUENCE, &curve) && der_read(&curve, DER_OCTET_STRING, a) &&
           der_read(&curve, DER_OCTET_STRING, b) &&
           (curve.len == 0 || (der_read(&curve, DER_BIT_STRING, &seed) && curve.len == 0));
}

static bool read_cofactor(struct view *in)
{
    struct view cofactor;

    return in->len == 0 ||
           (der_read_unsigned(in, &cofactor) && view_equal(cofactor, VIEW(one)) && in->len == 0);
}

bool ec_parameters_read(struct view der, struct ec_parameters *out)
{
    struct view in;

    return der_read(&der, DER_SEQUENCE, &in) && der.len == 0 && read_version(&in) &&
           read_field(&in, &out->p) && read_curve(&in, &out->a, &out->b) &&
           der_read(&in, DER_OCTET_STRING, &out->base) && der_read_unsigned(&in, &out->order) &&
           read_cofactor(&in);
}
