/* SHOWN: der_bytes writes all of the bytes into the buffer's free part, or none
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
    CHECK(writer_took(&before, &writer, bytes.len), "all, or there was no room");
}
