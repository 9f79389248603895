/* SHOWN: view_equal reads nothing outside the two, and is right
 * BOUND: up to 64 bytes each, which is more than anything that is compared
 * FILES: src/der/der.c
 * CBMC: --unwind 66
 * BREAK: src/der/der.c s/a.len == b.len && //
 */
#include "proof.h"

void proof(void)
{
    struct view a = any_view(64), b = any_view(64);
    bool equal = view_equal(a, b);
    size_t i = nondet_size();

    CHECK(!equal || a.len == b.len, "the same length");
    if (a.len == b.len && i < a.len)
        CHECK(!equal || a.data[i] == b.data[i], "the same bytes");
}
