/* SHOWN: der_value writes header and content into the buffer's free part alone
 * BOUND: any buffer, any content (2^46)
 * FILES: src/der/der.c
 * CBMC: --unwind 9
 * BREAK: src/der/der.c s/ || (size_t)(writer->position - writer->start) < bytes.len//
 */
#include "proof.h"

void proof(void)
{
    struct der_writer writer = any_writer(ANY_LENGTH), before = writer;
    enum der_tag tag = (enum der_tag)(nondet_unsigned() & 0xff);
    struct view content = any_view(ANY_LENGTH);

    der_value(&writer, tag, content);
    CHECK(writer_sound(&writer), "the position stays in the buffer");
    CHECK(writer_took(&before, &writer, header_size(content.len) + content.len),
          "header and content, or there was no room");
}
