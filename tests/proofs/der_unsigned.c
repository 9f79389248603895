/* SHOWN: der_unsigned writes a number and its header into the buffer's free part alone
 * BOUND: buffers and numbers of up to 65535 bytes; what is copied is der_bytes'
 * FILES: src/der/der.c tests/proofs/stubs/openssl.c
 * CC: -Dmemcpy=copied
 * CBMC: --unwind 9
 * BREAK: src/der/der.c s/ || (size_t)(writer->position - writer->start) < bytes.len//
 * BREAK: src/der/der.c s/zeros < bytes.len \&\& bytes.data/bytes.data/
 */
#include "proof.h"

void proof(void)
{
    struct der_writer writer = any_writer(0xffff), before = writer;
    struct view number = any_view(0xffff);
    size_t most = number.len;

    der_unsigned(&writer, number);
    CHECK(writer_sound(&writer), "the position stays in the buffer");
    CHECK(!before.failed || writer.failed, "what failed stays failed");
    CHECK(before.position - writer.position <= (ptrdiff_t)(header_size(most + 1) + most + 1),
          "number, header and a zero before it at most");
    if (!before.failed &&
        (size_t)(before.position - before.start) >= header_size(most + 1) + most + 1)
        CHECK(!writer.failed, "which is room enough");
}
