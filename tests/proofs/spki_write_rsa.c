/* SHOWN: spki_write_rsa and pkcs1_write stay in their buffer, and n, e and SPKI_OVERHEAD are enough
 * BOUND: numbers of up to 2048 bytes, the longest that are taken, into up to 65535
 * FILES: src/der/spki.c tests/proofs/stubs/der.c
 * CBMC: --unwind 9
 * BREAK: src/der/spki.h s/OVERHEAD 64/OVERHEAD 32/
 */
#include "proof.h"

#include "der/spki.h"

void proof(void)
{
    struct view n = any_view(2048), e = any_view(2048);
    size_t promise = n.len + e.len + SPKI_OVERHEAD, size = any_size(0xffff);
    uint8_t *der = any_memory(size);
    size_t len = nondet_bool() ? pkcs1_write(n, e, der, size)
                               : spki_write_rsa(n, e, nondet_bool(), der, size);

    CHECK(len <= size && len <= promise, "no longer than room and promise");
    CHECK(len != 0 || size < promise, "what is promised is enough");
}
