/* SHOWN: ecdsa_sig_from_der reads nothing outside its input and writes 2 * half bytes at most
 * BOUND: any input below 2^32 bytes, half up to 66
 * FILES: src/der/ecdsa.c tests/proofs/stubs/der.c
 * CBMC: --unwind 5
 * BREAK: src/der/ecdsa.c /number.len > size/,+1d
 */
#include "proof.h"

#include "der/ecdsa.h"
#include "stubs/der.h"

void proof(void)
{
    struct view der = any_input();
    size_t half = any_size(66);

    (void)ecdsa_sig_from_der(der, half, any_memory(2 * half));
}
