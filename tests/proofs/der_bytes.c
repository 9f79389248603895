/* SHOWN: der_bytes writes into the buffer's free part alone, all of the bytes or none
 * BOUND: any buffer, any bytes (2^46)
 * FILES: src/der/der.c
 * CBMC: --unwind 2
 * BREAK: src/der/der.c s/ || (size_t)(writer->position - writer->start) < bytes.len//
 */
#include "proof.h"

void proof(void)
{
    struct der_writer writer = any_writer(ANY_LENGTH), before = writer;
    struct view bytes = any_view(ANY_LENGTH);

    der_bytes(&writer, bytes);
    CHECK(writer_sound(&writer), "the position stays in the buffer");
    CHECK(writer.failed || before.position - writer.position == (ptrdiff_t)bytes.len,
          "as many bytes as there were");
    CHECK(!before.failed || writer.failed, "what failed stays failed");
    CHECK(!writer.failed || writer.position == before.position, "nothing is written after that");
}
