/* SHOWN: spki_write_ec and spki_write_raw stay in their buffer, and key, OID and SPKI_OVERHEAD are enough
 * BOUND: key and OID of up to 2048 bytes into up to 65535
 * FILES: src/der/spki.c tests/proofs/stubs/der.c
 * CBMC: --unwind 9
 * BREAK: src/der/spki.h s/OVERHEAD 64/OVERHEAD 16/
 */
#include "proof.h"

#include "der/spki.h"

void proof(void)
{
    struct view oid = any_view(2048), key = any_view(2048);
    size_t promise = key.len + oid.len + SPKI_OVERHEAD, size = any_size(0xffff);
    uint8_t *der = any_memory(size);
    size_t len =
        nondet_bool() ? spki_write_ec(oid, key, der, size) : spki_write_raw(oid, key, der, size);

    CHECK(len <= size && len <= promise, "no longer than room and promise");
    CHECK(len != 0 || size < promise, "what is promised is enough");
}
