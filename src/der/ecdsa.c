#include "der/ecdsa.h"

size_t ecdsa_sig_to_der(struct view rs, uint8_t *der, size_t size)
{
    struct der_writer writer = der_begin(der, size);
    const uint8_t *end = der_mark(&writer);
    size_t half = rs.len / 2;

    if (rs.len == 0 || rs.len % 2 != 0)
        return 0;
    der_unsigned(&writer, (struct view){ rs.data + half, half });
    der_unsigned(&writer, (struct view){ rs.data, half });
    der_wrap(&writer, DER_SEQUENCE, end);
    return der_done(&writer);
}
