/* What the proofs of src/der/der.c have shown of its functions, in their place: for the proofs of those that call
 * them. Each makes sure that what it is given is there. */
#include "proof.h"

#include "stubs/der.h"

#define READABLE(view) ((view).len == 0 || __CPROVER_r_ok((view).data, (view).len))

static struct view input;

struct view any_input(void)
{
    size_t len = nondet_uint32();

    return input = (struct view){ any_memory(len), len };
}

/* A part of the input, which is known from here on: so a proof need not go through all reads before one. */
static struct view part_of_input(size_t from, size_t len)
{
    struct view part = { input.data + from, len };

    CHECK(from + len <= input.len, "what is read lies in the input");
    ASSUME(from + len <= input.len);
    return part;
}

bool der_read(struct view *in, enum der_tag tag, struct view *content)
{
    size_t from = (size_t)(in->data - input.data), end = from + in->len;
    size_t at = nondet_uint32(), len = nondet_uint32(), rest = at + len, left = nondet_uint32();

    (void)tag;
    CHECK(__CPROVER_same_object(in->data, input.data) && end <= input.len, "the input is there");
    if (nondet_bool() || in->len < 2)
        return false;
    ASSUME(at >= from + 2 && at <= from + 6 && rest + left == end);
    *content = part_of_input(at, len);
    *in = part_of_input(rest, left);
    return true;
}

bool ber_read(struct view *in, enum der_tag tag, struct view *content)
{
    return der_read(in, tag, content);
}

bool der_read_unsigned(struct view *in, struct view *bytes)
{
    struct view rest = *in, content;

    if (!der_read(&rest, DER_INTEGER, &content))
        return false;
    *bytes = view_strip(content);
    *in = rest;
    return true;
}

bool view_equal(struct view a, struct view b)
{
    CHECK(READABLE(a) && READABLE(b), "both are there");
    return a.len == b.len && nondet_bool();
}

struct view view_strip(struct view bytes)
{
    size_t zeros = any_size(bytes.len);

    CHECK(READABLE(bytes), "the number is there");
    bytes = (struct view){ bytes.data + zeros, bytes.len - zeros };
    ASSUME(bytes.len == 0 || bytes.data[0] != 0);
    return bytes;
}

/* A writer whose position, and with it a mark, is the number of bytes written as an address: no more of it is asked
 * here than that, and lengths are easier to reason about than pointers are. */
static size_t written(const uint8_t *position)
{
    return (size_t)position;
}

struct der_writer der_begin(uint8_t *buf, size_t size)
{
    CHECK(__CPROVER_w_ok(buf, size), "the buffer is there");
    return (struct der_writer){ buf, NULL, (uint8_t *)size, false };
}

uint8_t *der_mark(const struct der_writer *writer)
{
    return writer->position;
}

static void take(struct der_writer *writer, size_t size)
{
    size_t sum = written(writer->position) + size;

    if (writer->failed || sum > written(writer->end))
        writer->failed = true;
    else
        writer->position = (uint8_t *)sum;
}

void der_bytes(struct der_writer *writer, struct view bytes)
{
    CHECK(READABLE(bytes), "the bytes are there");
    take(writer, bytes.len);
}

void der_wrap(struct der_writer *writer, enum der_tag tag, const uint8_t *mark)
{
    size_t len = written(writer->position) - written(mark);

    (void)tag;
    CHECK(written(mark) <= written(writer->position), "the mark is in what is written");
    take(writer, header_size(len));
}

void der_value(struct der_writer *writer, enum der_tag tag, struct view content)
{
    (void)tag;
    CHECK(READABLE(content), "the content is there");
    take(writer, header_size(content.len) + content.len);
}

/* The zeros of the number are left out, and one is put before a first bit that is set. */
void der_unsigned(struct der_writer *writer, struct view bytes)
{
    size_t len = nondet_ushort();

    CHECK(READABLE(bytes), "the number is there");
    CHECK(bytes.len < 0xffff, "its length is one that is thought of here");
    ASSUME(len >= 1 && len <= bytes.len + 1);
    take(writer, header_size(len) + len);
}

void der_small(struct der_writer *writer, unsigned value)
{
    const uint8_t bytes[] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                              (uint8_t)value };

    der_unsigned(writer, VIEW(bytes));
}

size_t der_done(struct der_writer *writer)
{
    return writer->failed ? 0 : written(writer->position);
}
