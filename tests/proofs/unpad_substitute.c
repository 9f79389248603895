/* SHOWN: unpad_substitute stays in its buffers, and the message is 11 bytes shorter than its block
 * BOUND: blocks of 64 to 2048 bytes (RSA_MODULUS_LEAST, UNPAD_MAX), ciphertexts of up to 2048
 * FILES: src/mech/unpad.c tests/proofs/stubs/openssl.c tests/proofs/stubs/mask.c
 * CC: -Dmemcpy=copied
 * CBMC: --unwind 19
 * BREAK: src/mech/unpad.c s/size - done < sizeof(hashes) ? size - done : sizeof(hashes)/sizeof(hashes)/
 * BREAK: src/mech/unpad.c s/less(candidate, limit)/less(0, limit)/
 */
#include "proof.h"

#include "mech/unpad.h"

void proof(void)
{
    size_t size = any_size(UNPAD_MAX), len;
    struct hmac_key secret;

    ASSUME(size >= 64);
    unpad_substitute(&secret, any_view(UNPAD_MAX), any_memory(size), &len, size);
    CHECK(len <= size - 11, "it leaves room for a padding");
}
