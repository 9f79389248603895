#include "der/spki.h"

static const uint8_t rsa_encryption[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01 };
static const uint8_t rsassa_pss[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a };
static const uint8_t ec_public_key[] = { 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01 };

/* A BIT STRING with no unused bits around what was written since mark. */
static void wrap_bit_string(struct der_writer *writer, const uint8_t *mark)
{
    static const uint8_t unused[] = { 0 };

    der_bytes(writer, VIEW(unused));
    der_wrap(writer, DER_BIT_STRING, mark);
}

static void write_pkcs1(struct der_writer *writer, struct view n, struct view e)
{
    const uint8_t *end = der_mark(writer);

    der_unsigned(writer, e);
    der_unsigned(writer, n);
    der_wrap(writer, DER_SEQUENCE, end);
}

size_t pkcs1_write(struct view n, struct view e, uint8_t *der, size_t size)
{
    struct der_writer writer = der_begin(der, size);

    write_pkcs1(&writer, n, e);
    return der_done(&writer);
}

size_t spki_write_rsa(struct view n, struct view e, bool pss, uint8_t *der, size_t size)
{
    struct der_writer writer = der_begin(der, size);
    const uint8_t *end = der_mark(&writer);
    const uint8_t *algorithm;

    write_pkcs1(&writer, n, e);
    wrap_bit_string(&writer, end);
    algorithm = der_mark(&writer);
    if (!pss)
        der_value(&writer, DER_NULL, (struct view){ NULL, 0 });
    der_value(&writer, DER_OID, pss ? VIEW(rsassa_pss) : VIEW(rsa_encryption));
    der_wrap(&writer, DER_SEQUENCE, algorithm);
    der_wrap(&writer, DER_SEQUENCE, end);
    return der_done(&writer);
}

/* SEQUENCE { SEQUENCE { algorithm, curve }, BIT STRING key }; a curve that is none is left out. */
static size_t write_spki(struct view algorithm, struct view curve, struct view key, uint8_t *der,
                         size_t size)
{
    struct der_writer writer = der_begin(der, size);
    const uint8_t *end = der_mark(&writer);
    const uint8_t *identifier;

    der_bytes(&writer, key);
    wrap_bit_string(&writer, end);
    identifier = der_mark(&writer);
    if (curve.data != NULL)
        der_value(&writer, DER_OID, curve);
    der_value(&writer, DER_OID, algorithm);
    der_wrap(&writer, DER_SEQUENCE, identifier);
    der_wrap(&writer, DER_SEQUENCE, end);
    return der_done(&writer);
}

size_t spki_write_ec(struct view curve, struct view point, uint8_t *der, size_t size)
{
    return write_spki(VIEW(ec_public_key), curve, point, der, size);
}

size_t spki_write_raw(struct view algorithm, struct view key, uint8_t *der, size_t size)
{
    return write_spki(algorithm, (struct view){ NULL, 0 }, key, der, size);
}
