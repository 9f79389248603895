#include "der/algorithm.h"

static const uint8_t rsassa_pss[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a };
static const uint8_t mgf1[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08 };
static const uint8_t sha1[] = { 0x2b, 0x0e, 0x03, 0x02, 0x1a };

#define PSS_DEFAULT_SALT 20

static void write_algorithm(struct der_writer *writer, struct view oid, bool with_null)
{
    const uint8_t *end = der_mark(writer);

    if (with_null)
        der_value(writer, DER_NULL, (struct view){ NULL, 0 });
    der_value(writer, DER_OID, oid);
    der_wrap(writer, DER_SEQUENCE, end);
}

size_t digest_info_write(struct view digest_oid, struct view digest, uint8_t *der, size_t size)
{
    struct der_writer writer = der_begin(der, size);
    const uint8_t *end = der_mark(&writer);

    der_value(&writer, DER_OCTET_STRING, digest);
    write_algorithm(&writer, digest_oid, true);
    der_wrap(&writer, DER_SEQUENCE, end);
    return der_done(&writer);
}

size_t algorithm_write(struct view oid, bool with_null, uint8_t *der, size_t size)
{
    struct der_writer writer = der_begin(der, size);

    write_algorithm(&writer, oid, with_null);
    return der_done(&writer);
}

static void write_mgf1(struct der_writer *writer, struct view digest_oid)
{
    const uint8_t *end = der_mark(writer);

    write_algorithm(writer, digest_oid, true);
    der_value(writer, DER_OID, VIEW(mgf1));
    der_wrap(writer, DER_SEQUENCE, end);
    der_wrap(writer, DER_CONTEXT + 1, end);
}

static void write_pss_parameters(struct der_writer *writer, struct view digest_oid,
                                 struct view mgf1_oid, unsigned salt_len)
{
    const uint8_t *end = der_mark(writer);

    if (salt_len != PSS_DEFAULT_SALT) {
        der_small(writer, salt_len);
        der_wrap(writer, DER_CONTEXT + 2, end);
    }
    if (!view_equal(mgf1_oid, VIEW(sha1)))
        write_mgf1(writer, mgf1_oid);
    if (!view_equal(digest_oid, VIEW(sha1))) {
        const uint8_t *digest = der_mark(writer);

        write_algorithm(writer, digest_oid, true);
        der_wrap(writer, DER_CONTEXT + 0, digest);
    }
    der_wrap(writer, DER_SEQUENCE, end);
}

size_t algorithm_write_pss(struct view digest_oid, struct view mgf1_oid, unsigned salt_len,
                           uint8_t *der, size_t size)
{
    struct der_writer writer = der_begin(der, size);
    const uint8_t *end = der_mark(&writer);

    write_pss_parameters(&writer, digest_oid, mgf1_oid, salt_len);
    der_value(&writer, DER_OID, VIEW(rsassa_pss));
    der_wrap(&writer, DER_SEQUENCE, end);
    return der_done(&writer);
}
