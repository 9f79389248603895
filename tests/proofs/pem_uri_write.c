/* SHOWN: pem_uri_write stays in its buffer, writes at most the URI and PEM_URI_OVERHEAD, and all of it where there is that room
 * BOUND: any URI (below 2^30), any room (2^46)
 * FILES: src/der/pem_uri.c tests/proofs/stubs/der.c
 * CBMC: --unwind 9 --conversion-check
 * BREAK: src/der/pem_uri.h s/OVERHEAD    48/OVERHEAD    32/
 */
#include "proof.h"

#include "der/pem_uri.h"

void proof(void)
{
    struct view uri = any_view((size_t)1 << 30);
    size_t size = any_size(ANY_LENGTH), len = pem_uri_write(uri, any_memory(size), size);

    CHECK(len <= size, "no longer than the room");
    CHECK(len <= uri.len + PEM_URI_OVERHEAD, "no longer than promised");
    CHECK(len != 0 || size < uri.len + PEM_URI_OVERHEAD, "what is promised is enough");
}
