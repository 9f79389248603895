/* SHOWN: der_done stays in the buffer and says at most its size
 * BOUND: any buffer (2^46)
 * FILES: src/der/der.c
 * CBMC: --unwind 2
 * BREAK: src/der/der.c s/memmove(writer->start, writer->position, len)/memmove(writer->start + 1, writer->position, len)/
 */
#include "proof.h"

void proof(void)
{
    struct der_writer writer = any_writer(ANY_LENGTH), before = writer;
    size_t len = der_done(&writer);

    CHECK(len <= (size_t)(before.end - before.start), "no longer than the buffer");
    CHECK(before.failed ? len == 0 : len == (size_t)(before.end - before.position),
          "as long as what was written");
}
