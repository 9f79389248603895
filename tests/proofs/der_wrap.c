/* SHOWN: der_wrap writes into the buffer's free part alone, at most 10 bytes
 * BOUND: any buffer, any mark (2^46)
 * FILES: src/der/der.c
 * CBMC: --unwind 9 --conversion-check
 * BREAK: src/der/der.c s/ && writer->position - writer->start >= 2//
 * BREAK: src/der/der.c s/ || writer->position == writer->start//
 */
#include "proof.h"

void proof(void)
{
    struct der_writer writer = any_writer(ANY_LENGTH), before = writer;
    enum der_tag tag = (enum der_tag)(nondet_unsigned() & 0xff);
    const uint8_t *mark = writer.position + any_size((size_t)(writer.end - writer.position));

    der_wrap(&writer, tag, mark);
    CHECK(writer_sound(&writer), "the position stays in the buffer");
    CHECK(before.position - writer.position <= 10, "a header has at most 10 bytes");
    CHECK(!before.failed || writer.failed, "what failed stays failed");
    CHECK(writer.failed || writer.position[0] == (uint8_t)tag, "the tag is in front");
}
