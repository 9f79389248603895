/* SHOWN: unpad_pkcs1 stays in its buffers, and a message is 11 bytes shorter than its block
 * BOUND: blocks of 64 to 2048 bytes (RSA_MODULUS_LEAST, UNPAD_MAX), any content
 * FILES: src/mech/unpad.c tests/proofs/stubs/openssl.c tests/proofs/stubs/mask.c
 * CC: -Dmemcpy=copied
 * CBMC: --unwind 5
 * BREAK: src/mech/unpad.c s/i + WORD <= len; i +=/i < len; i +=/
 * BREAK: src/mech/unpad.c s/ \& ~less(zero, 2 + PADDING_MIN)//
 * BREAK: src/mech/unpad.c s/zero |= here \& (uint32_t)i/zero += (uint32_t)i/
 */
#include "proof.h"

#include "mech/unpad.h"

void proof(void)
{
    size_t size = any_size(UNPAD_MAX), len;
    uint8_t *block = any_memory(size), *out = any_memory(size);
    ct_mask good;

    ASSUME(size >= 64);
    good = unpad_pkcs1((struct view){ block, size }, out, &len);
    CHECK(good == 0 || good == ~(ct_mask)0, "all ones or all zeros");
    CHECK(len < size, "no longer than the block");
    CHECK(good == 0 || len <= size - 11, "a right one leaves room for its padding");
    CHECK(good == 0 || unpad_pkcs1_fits(len, size) == ~(ct_mask)0, "which unpad_pkcs1_fits says");
}
