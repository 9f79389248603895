/* SHOWN: ecdsa_sig_to_der stays in its buffers, writes at most ECDSA_SIG_DER_MAX, and all of it where there is so much room
 * BOUND: any signature, any room (2^46 bytes)
 * FILES: src/der/ecdsa.c tests/proofs/stubs/der.c
 * CBMC: --unwind 2 --conversion-check
 * BREAK: src/der/ecdsa.c s/ || half > HALF_MAX//
 * BREAK: src/der/ecdsa.c s/head + len > size/head + len > size + 1/
 */
#include "proof.h"

#include "der/ecdsa.h"

void proof(void)
{
    struct view rs = any_view(ANY_LENGTH);
    size_t size = any_size(ANY_LENGTH), len = ecdsa_sig_to_der(rs, any_memory(size), size);

    CHECK(len <= size, "no longer than the room");
    CHECK(len <= ECDSA_SIG_DER_MAX(rs.len / 2), "no longer than promised");
    if (rs.len % 2 == 0 && rs.len != 0 && rs.len / 2 <= 66 && size >= ECDSA_SIG_DER_MAX(rs.len / 2))
        CHECK(len != 0, "what is promised is enough");
}
