/* SHOWN: der_wrap writes into the buffer's free part alone: tag and length in the shortest form
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
    size_t len = any_size((size_t)(writer.end - writer.position));

    der_wrap(&writer, tag, writer.position + len);
    CHECK(writer_sound(&writer), "the position stays in the buffer");
    CHECK(writer_took(&before, &writer, header_size(len)), "a header, or there was no room");
}
