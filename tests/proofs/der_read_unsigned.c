/* SHOWN: der_read_unsigned reads nothing outside its input, gives a number without leading zeros that lies in it
 * BOUND: any input (2^46 bytes)
 * FILES: src/der/der.c
 * CBMC: --unwind 5
 * BREAK: src/der/der.c s/ || content.len == 0 ||/ ||/
 * BREAK: src/der/der.c s/content.len > 1 && content.data.0. == 0/content.data[0] == 0/
 */
#include "proof.h"

void proof(void)
{
    struct view whole = any_view(ANY_LENGTH), in = whole, number;

    if (der_read_unsigned(&in, &number)) {
        CHECK(lies_in(number, whole), "the number lies in the input");
        CHECK(lies_in(in, whole), "the rest lies in the input");
        CHECK(number.len == 0 || number.data[0] != 0, "no leading zero");
        CHECK(number.data + number.len == in.data, "the rest follows the number");
    } else {
        CHECK(in.data == whole.data && in.len == whole.len, "the input is as it was");
    }
}
