#include "der/der.h"

#include <string.h>

struct der_writer der_begin(uint8_t *buf, size_t size)
{
    return (struct der_writer){ buf, buf + size, buf + size, false };
}

uint8_t *der_mark(const struct der_writer *writer)
{
    return writer->position;
}

void der_bytes(struct der_writer *writer, struct view bytes)
{
    if (writer->failed || (size_t)(writer->position - writer->start) < bytes.len) {
        writer->failed = true;
        return;
    }
    writer->position -= bytes.len;
    if (bytes.len != 0)
        memcpy(writer->position, bytes.data, bytes.len);
}

static void der_byte(struct der_writer *writer, size_t byte)
{
    if (writer->failed || writer->position == writer->start) {
        writer->failed = true;
        return;
    }
    *--writer->position = (uint8_t)byte;
}

/* X.690 §8.1.3, §10.1: the shortest form. */
static void der_length(struct der_writer *writer, size_t len)
{
    size_t bytes = 0;

    if (len < 0x80) {
        der_byte(writer, len);
        return;
    }
    for (; len != 0; len >>= 8, bytes++)
        der_byte(writer, len & 0xff);
    der_byte(writer, 0x80 | bytes);
}

void der_wrap(struct der_writer *writer, enum der_tag tag, const uint8_t *mark)
{
    size_t len = (size_t)(mark - writer->position);

    if (writer->failed)
        return;
    if (len < 0x80 && writer->position - writer->start >= 2) { /* nearly all */
        *--writer->position = (uint8_t)len;
        *--writer->position = (uint8_t)tag;
        return;
    }
    der_length(writer, len);
    der_byte(writer, tag);
}

void der_value(struct der_writer *writer, enum der_tag tag, struct view content)
{
    const uint8_t *mark = der_mark(writer);

    der_bytes(writer, content);
    der_wrap(writer, tag, mark);
}

void der_unsigned(struct der_writer *writer, struct view bytes)
{
    const uint8_t *mark = der_mark(writer);

    bytes = view_strip(bytes);
    der_bytes(writer, bytes);
    if (bytes.len == 0 || (bytes.data[0] & 0x80) != 0)
        der_byte(writer, 0);
    der_wrap(writer, DER_INTEGER, mark);
}

void der_small(struct der_writer *writer, unsigned value)
{
    const uint8_t bytes[] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                              (uint8_t)value };

    der_unsigned(writer, VIEW(bytes));
}

size_t der_done(struct der_writer *writer)
{
    size_t len = (size_t)(writer->end - writer->position);

    if (writer->failed)
        return 0;
    memmove(writer->start, writer->position, len);
    return len;
}

/* The length octets at the front of in, in any definite form (X.690 §8.1.3); shortest: whether
 * they are in the one that DER wants. */
static bool read_length(struct view *in, size_t *len, bool *shortest)
{
    size_t count;

    if (in->len == 0)
        return false;
    *len = *in->data;
    *in = (struct view){ in->data + 1, in->len - 1 };
    *shortest = *len < 0x80;
    if (*shortest)
        return true;
    count = *len & 0x7f;
    if (count == 0 || count > 4 || count > in->len)
        return false;
    *len = 0;
    for (size_t i = 0; i < count; i++)
        *len = *len << 8 | in->data[i];
    *shortest = *len >= 0x80 && in->data[0] != 0;
    *in = (struct view){ in->data + count, in->len - count };
    return true;
}

static bool read_value(struct view *in, enum der_tag tag, bool strict, struct view *content)
{
    struct view rest = *in;
    bool shortest;
    size_t len;

    if (rest.len == 0 || rest.data[0] != (uint8_t)tag)
        return false;
    rest = (struct view){ rest.data + 1, rest.len - 1 };
    if (!read_length(&rest, &len, &shortest) || len > rest.len || (strict && !shortest))
        return false;
    *content = (struct view){ rest.data, len };
    *in = (struct view){ rest.data + len, rest.len - len };
    return true;
}

bool der_read(struct view *in, enum der_tag tag, struct view *content)
{
    return read_value(in, tag, true, content);
}

bool ber_read(struct view *in, enum der_tag tag, struct view *content)
{
    return read_value(in, tag, false, content);
}

bool der_read_unsigned(struct view *in, struct view *bytes)
{
    struct view rest = *in, content;

    if (!der_read(&rest, DER_INTEGER, &content) || content.len == 0 ||
        (content.data[0] & 0x80) != 0)
        return false;
    if (content.len > 1 && content.data[0] == 0 && (content.data[1] & 0x80) == 0)
        return false; /* X.690 §8.3.2 */
    *bytes = view_strip(content);
    *in = rest;
    return true;
}

bool view_equal(struct view a, struct view b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

struct view view_strip(struct view bytes)
{
    size_t zeros = 0;

    while (zeros < bytes.len && bytes.data[zeros] == 0)
        zeros++;
    return zeros == 0 ? bytes : (struct view){ bytes.data + zeros, bytes.len - zeros };
}
