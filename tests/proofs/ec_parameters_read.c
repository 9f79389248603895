/* SHOWN: ec_parameters_read reads nothing outside its input, and what it gives lies in it
 * BOUND: any input below 2^32 bytes
 * FILES: src/der/ec_parameters.c tests/proofs/stubs/der.c
 * CBMC: --unwind 9
 * BREAK: src/der/ec_parameters.c s/version.len == 1 \&\& //
 * BREAK: src/der/ec_parameters.c s/der_read_unsigned(&in, &out->order)/der_read_unsigned(\&in, \&out->p)/
 */
#include "proof.h"

#include "der/ec_parameters.h"
#include "stubs/der.h"

void proof(void)
{
    struct view der = any_input();
    struct ec_parameters out;

    if (ec_parameters_read(der, &out)) {
        CHECK(lies_in(out.p, der), "p lies in the input");
        CHECK(lies_in(out.a, der) && lies_in(out.b, der), "a and b lie in the input");
        CHECK(lies_in(out.base, der), "the base point lies in the input");
        CHECK(lies_in(out.order, der), "the order lies in the input");
    }
}
