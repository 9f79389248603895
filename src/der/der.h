/* DER, ITU-T X.690, as far as keys and signatures need it: written back to front, so that the
 * length of a SEQUENCE is known when its header is due, and read without copying. */
#ifndef BRIDGE_DER_H
#define BRIDGE_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum der_tag {
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_OCTET_STRING = 0x04,
    DER_NULL = 0x05,
    DER_OID = 0x06,
    DER_UTF8_STRING = 0x0c,
    DER_PRINTABLE_STRING = 0x13,
    DER_VISIBLE_STRING = 0x1a,
    DER_SEQUENCE = 0x30,
    DER_CONTEXT = 0xa0, /* [0], explicit; + n for [n] */
};

/* Writes into buf from its end towards its start. When room runs out, failed is set, nothing more
 * is written, and der_done says 0. */
struct der_writer {
    uint8_t *start;
    uint8_t *position; /* the first byte written */
    uint8_t *end;
    bool failed;
};

struct der_writer der_begin(uint8_t *buf, size_t size);

/* What is written, from here on, up to a mark is the content of der_wrap. */
uint8_t *der_mark(const struct der_writer *writer);
void der_wrap(struct der_writer *writer, enum der_tag tag, const uint8_t *mark);

void der_bytes(struct der_writer *writer, struct view bytes);
void der_value(struct der_writer *writer, enum der_tag tag, struct view content);

/* A non-negative INTEGER from its big-endian bytes; leading zeros are dropped, an empty view is 0.
 */
void der_unsigned(struct der_writer *writer, struct view bytes);
void der_small(struct der_writer *writer, unsigned value);

/* Moves the result to the start of the buffer. Its length in bytes, 0 when it did not fit. */
size_t der_done(struct der_writer *writer);

/* Takes one value with this tag off the front of in. False, with in unchanged, when there is none,
 * its length is not DER or it is longer than in. */
bool der_read(struct view *in, enum der_tag tag, struct view *content);

/* The same where the length need not be in the shortest form, for what shell tools write. */
bool ber_read(struct view *in, enum der_tag tag, struct view *content);

/* The same with an INTEGER that is not negative: its bytes without leading zeros. */
bool der_read_unsigned(struct view *in, struct view *bytes);

bool view_equal(struct view a, struct view b);

/* Without its leading zero bytes; an all-zero view becomes empty. */
struct view view_strip(struct view bytes);

#endif
