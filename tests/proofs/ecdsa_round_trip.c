/* SHOWN: r||s, to DER and back, is what it was
 * BOUND: all signatures with halves of 8 bytes; a half of 32 by itself is ecdsa_number
 * FILES: src/der/ecdsa.c src/der/der.c
 * LOOPS: unwound
 * CC: -Dmemcpy=copy_bytes -Dmemset=set_bytes
 * CBMC: --unwind 24
 * BREAK: src/der/ecdsa.c s/out + size - number.len, number.data/out, number.data/
 * BREAK: src/der/ecdsa.c s/ || (number.data.0. \& 0x80) != 0//
 */
#include "proof.h"

#include "bytewise.h"
#include "der/ecdsa.h"

#define HALF 8

void proof(void)
{
    uint8_t rs[2 * HALF], back[2 * HALF], der[ECDSA_SIG_DER_MAX(HALF)];
    size_t len = ecdsa_sig_to_der(VIEW(rs), der, sizeof(der));

    CHECK(len != 0, "it is written");
    CHECK(ecdsa_sig_from_der((struct view){ der, len }, HALF, back), "it is read");
    for (size_t i = 0; i < sizeof(rs); i++)
        CHECK(back[i] == rs[i], "it is the same");
}
