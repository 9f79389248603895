#include "der/ecdsa.h"

#include <string.h>

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

static bool number_place(struct view number, size_t size, uint8_t *out)
{
    if (number.len > size)
        return false;
    memset(out, 0, size - number.len);
    if (number.len != 0)
        memcpy(out + size - number.len, number.data, number.len);
    return true;
}

bool ecdsa_sig_from_der(struct view der, size_t half, uint8_t *rs)
{
    struct view inner, r, s;

    return der_read(&der, DER_SEQUENCE, &inner) && der.len == 0 && der_read_unsigned(&inner, &r) &&
           der_read_unsigned(&inner, &s) && inner.len == 0 && number_place(r, half, rs) &&
           number_place(s, half, rs + half);
}
