/* SHOWN: view_strip reads nothing outside its input, and gives its end, without a leading zero
 * BOUND: up to 2048 bytes, the longest number that is taken
 * FILES: src/der/der.c
 * CBMC: --unwind 2050
 * BREAK: src/der/der.c s/bytes.len > 0 && bytes.data.0. == 0/bytes.data[0] == 0/
 */
#include "proof.h"

void proof(void)
{
    struct view whole = any_view(2048), bytes = view_strip(whole);

    CHECK(lies_in(bytes, whole), "it lies in the input");
    CHECK(bytes.data + bytes.len == whole.data + whole.len, "at its end");
    CHECK(bytes.len == 0 || bytes.data[0] != 0, "no leading zero");
}
