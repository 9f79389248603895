#include "der/ecdsa.h"

#include <string.h>

#define HALF_MAX 66 /* P-521 */

/* A number without leading zeros as an INTEGER, and what is behind it. */
static uint8_t *integer_write(uint8_t *out, struct view number)
{
    size_t sign = number.len == 0 || (number.data[0] & 0x80) != 0;

    out[0] = DER_INTEGER;
    out[1] = (uint8_t)(sign + number.len);
    out[2] = 0;
    if (number.len != 0)
        memcpy(out + 2 + sign, number.data, number.len);
    return out + 2 + sign + number.len;
}

/* Forwards, because that is shorter where nothing is deeper than this: X.690 §8.1.3, §8.9. */
size_t ecdsa_sig_to_der(struct view rs, uint8_t *der, size_t size)
{
    size_t half = rs.len / 2, len, head;
    uint8_t content[2 * (HALF_MAX + 3)];
    uint8_t *end;

    if (rs.len == 0 || rs.len % 2 != 0 || half > HALF_MAX)
        return 0;
    end = integer_write(content, view_strip((struct view){ rs.data, half }));
    end = integer_write(end, view_strip((struct view){ rs.data + half, half }));
    len = (size_t)(end - content);
    head = len < 0x80 ? 2 : 3;
    if (head + len > size)
        return 0;
    der[0] = DER_SEQUENCE;
    der[1] = 0x81;
    der[head - 1] = (uint8_t)len;
    memcpy(der + head, content, len);
    return head + len;
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
