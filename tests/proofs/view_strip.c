/* SHOWN: view_strip reads nothing outside its input, and gives its end, without a leading zero
 * BOUND: any input (2^46 bytes)
 * FILES: src/der/der.c
 * CBMC: --unwind 2
 * BREAK: src/der/der.c s/zeros < bytes.len \&\& bytes.data/bytes.data/
 */
#include "proof.h"

void proof(void)
{
    struct view whole = any_view(ANY_LENGTH), bytes = view_strip(whole);

    CHECK(lies_in(bytes, whole), "it lies in the input");
    CHECK(bytes.data + bytes.len == whole.data + whole.len, "at its end");
    CHECK(bytes.len == 0 || bytes.data[0] != 0, "no leading zero");
}
