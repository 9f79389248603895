/* SHOWN: r||s, to DER and back, is what it was
 * BOUND: all signatures of up to 66 bytes a half
 * FILES: src/der/ecdsa.c src/der/der.c
 * CBMC: --unwind 5
 * BREAK: src/der/ecdsa.c s/out + size - number.len, number.data/out, number.data/
 * BREAK: src/der/ecdsa.c s/ || (number.data.0. & 0x80) != 0//
 */
#include "proof.h"

#include "der/ecdsa.h"

void proof(void)
{
    uint8_t rs[2 * 66], back[2 * 66], der[ECDSA_SIG_DER_MAX(66)];
    size_t half = any_size(66), i = any_size(2 * 66 - 1), len;

    ASSUME(half != 0 && i < 2 * half);
    len = ecdsa_sig_to_der((struct view){ rs, 2 * half }, der, sizeof(der));
    CHECK(len != 0, "it is written");
    CHECK(ecdsa_sig_from_der((struct view){ der, len }, half, back), "it is read");
    CHECK(back[i] == rs[i], "it is the same");
}
