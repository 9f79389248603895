/* SHOWN: r||s, to DER and back, is what it was
 * BOUND: all signatures with halves of up to 8 bytes; the code is the same up to 66
 * FILES: src/der/ecdsa.c src/der/der.c
 * LOOPS: unwound
 * CC: -Dmemcpy=copy_bytes -Dmemset=set_bytes
 * CBMC: --unwind 24
 * BREAK: src/der/ecdsa.c s/out + size - number.len, number.data/out, number.data/
 * BREAK: src/der/ecdsa.c s/ || (number.data.0. \& 0x80) != 0//
 */
#include "proof.h"

#include "der/ecdsa.h"

#define HALF 8

/* As the originals; byte by byte is what CBMC is quick with. */
void *copy_bytes(void *to, const void *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    return to;
}

void *set_bytes(void *to, int value, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ((uint8_t *)to)[i] = (uint8_t)value;
    return to;
}

void proof(void)
{
    uint8_t rs[2 * HALF], back[2 * HALF], der[ECDSA_SIG_DER_MAX(HALF)];
    size_t half = any_size(HALF), i = any_size(2 * HALF - 1), len;

    ASSUME(half != 0 && i < 2 * half);
    len = ecdsa_sig_to_der((struct view){ rs, 2 * half }, der, sizeof(der));
    CHECK(len != 0, "it is written");
    CHECK(ecdsa_sig_from_der((struct view){ der, len }, half, back), "it is read");
    CHECK(back[i] == rs[i], "it is the same");
}
