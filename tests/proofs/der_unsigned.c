/* SHOWN: der_unsigned and der_small write into the buffer's free part alone, at most 7 bytes more
 * than the number has BOUND: any buffer, numbers of up to 2048 bytes FILES: src/der/der.c CBMC:
 * --unwind 9 --unwindset view_strip.0:2049 BREAK: src/der/der.c s/ || (size_t)(writer->position -
 * writer->start) < bytes.len// BREAK: src/der/der.c s/bytes.len > 0 && bytes.data.0. ==
 * 0/bytes.data[0] == 0/
 */
#include "proof.h"

void proof(void)
{
    struct der_writer writer = any_writer(ANY_LENGTH), before = writer;
    struct view number = any_view(2048);
    bool small = nondet_bool();

    if (small)
        der_small(&writer, nondet_unsigned());
    else
        der_unsigned(&writer, number);
    CHECK(writer_sound(&writer), "the position stays in the buffer");
    CHECK(before.position - writer.position <= 7 + (ptrdiff_t)(small ? 4 : number.len),
          "at most 7 bytes more than the number has");
    CHECK(!before.failed || writer.failed, "what failed stays failed");
}
