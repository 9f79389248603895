/* SHOWN: der_unsigned and der_small write a number and its header into the buffer's free part alone
 * BOUND: any buffer, any number (2^46)
 * FILES: src/der/der.c
 * CBMC: --unwind 9
 * BREAK: src/der/der.c s/ || (size_t)(writer->position - writer->start) < bytes.len//
 * BREAK: src/der/der.c s/zeros < bytes.len \&\& bytes.data/bytes.data/
 */
#include "proof.h"

void proof(void)
{
    struct der_writer writer = any_writer(ANY_LENGTH), before = writer;
    struct view number = any_view(ANY_LENGTH);
    size_t most = nondet_bool() ? number.len : sizeof(unsigned);

    if (most == number.len)
        der_unsigned(&writer, number);
    else
        der_small(&writer, nondet_unsigned());
    CHECK(writer_sound(&writer), "the position stays in the buffer");
    CHECK(!before.failed || writer.failed, "what failed stays failed");
    CHECK(before.position - writer.position <= (ptrdiff_t)(header_size(most + 1) + most + 1),
          "number, header and a zero before it at most");
    if (!before.failed &&
        (size_t)(before.position - before.start) >= header_size(most + 1) + most + 1)
        CHECK(!writer.failed, "which is room enough");
}
