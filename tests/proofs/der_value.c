/* SHOWN: der_value writes into the buffer's free part alone, and der_read reads back what it wrote
 * BOUND: any buffer, any content (below 2^32, which der_read takes)
 * FILES: src/der/der.c
 * CBMC: --unwind 9 --conversion-check
 * BREAK: src/der/der.c s/ || (size_t)(writer->position - writer->start) < bytes.len//
 */
#include "proof.h"

void proof(void)
{
    struct der_writer writer = any_writer(ANY_LENGTH), before = writer;
    enum der_tag tag = (enum der_tag)(nondet_unsigned() & 0xff);
    struct view content = any_view(UINT32_MAX), out, back;

    der_value(&writer, tag, content);
    CHECK(writer_sound(&writer), "the position stays in the buffer");
    CHECK(before.position - writer.position <= 10 + (ptrdiff_t)content.len, "header and content");
    if (writer.failed)
        return;
    out = (struct view){ writer.position, (size_t)(before.position - writer.position) };
    CHECK(der_read(&out, tag, &back), "it is a value with this tag");
    CHECK(back.len == content.len && out.len == 0, "of this length");
}
