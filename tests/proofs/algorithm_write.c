/* SHOWN: digest_info_write, algorithm_write and algorithm_write_pss stay in their buffer; DIGEST_INFO_MAX and ALGORITHM_IDENTIFIER_MAX are enough for digests of 64 bytes
 * BOUND: digest and OID of up to 2048 bytes into up to 65535; OIDs of up to 9 bytes where the room is to be enough
 * FILES: src/der/algorithm.c tests/proofs/stubs/der.c
 * CBMC: --unwind 9
 * BREAK: src/der/algorithm.h s/(64 + 20)/64/
 * BREAK: src/der/algorithm.h s/IDENTIFIER_MAX 96/IDENTIFIER_MAX 64/
 */
#include "proof.h"

#include "der/algorithm.h"

/* those of SHA-2 and SHA-3 have 9 */
#define OID_MOST 9

void proof(void)
{
    size_t size = any_size(0xffff);
    uint8_t *der = any_memory(size);
    struct view oid = any_view(2048), other = any_view(2048);
    size_t len;

    if (nondet_bool()) {
        len = digest_info_write(oid, other, der, size);
        CHECK(len <= size, "no longer than the room");
        if (oid.len <= OID_MOST && other.len <= 64 && size >= DIGEST_INFO_MAX)
            CHECK(len != 0 && len <= DIGEST_INFO_MAX, "what is promised is enough");
    } else if (nondet_bool()) {
        len = algorithm_write(oid, nondet_bool(), der, size);
        CHECK(len <= size, "no longer than the room");
        if (oid.len <= OID_MOST && size >= ALGORITHM_IDENTIFIER_MAX)
            CHECK(len != 0 && len <= ALGORITHM_IDENTIFIER_MAX, "what is promised is enough");
    } else {
        len = algorithm_write_pss(oid, other, nondet_unsigned(), der, size);
        CHECK(len <= size, "no longer than the room");
        if (oid.len <= OID_MOST && other.len <= OID_MOST && size >= ALGORITHM_IDENTIFIER_MAX)
            CHECK(len != 0 && len <= ALGORITHM_IDENTIFIER_MAX, "what is promised is enough");
    }
}
