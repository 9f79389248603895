/* SHOWN: a half of r||s, as an INTEGER and back, is what it was
 * BOUND: all halves of 32 bytes, whatever zeros they begin with
 * FILES: src/der/der.c
 * LOOPS: unwound
 * CC: -Dmemcpy=copy_bytes -Dmemset=set_bytes
 * CBMC: --unwind 36
 * BREAK: src/der/ecdsa.c s/out + size - number.len, number.data/out, number.data/
 */
#include "proof.h"

#include "bytewise.h"
#include "der/ecdsa.c"

#define HALF 32

void proof(void)
{
    uint8_t half[HALF], back[HALF], der[HALF + 3];
    uint8_t *end = integer_write(der, view_strip(VIEW(half)));
    struct view in = { der, (size_t)(end - der) }, number;

    CHECK(der_read_unsigned(&in, &number) && in.len == 0, "it is an INTEGER");
    CHECK(number_place(number, HALF, back), "it fits");
    for (size_t i = 0; i < HALF; i++)
        CHECK(back[i] == half[i], "it is the same");
}
