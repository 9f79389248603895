/* SHOWN: pem_uri_read reads nothing outside its input, and the URI lies in it
 * BOUND: any input below 2^32 bytes
 * FILES: src/der/pem_uri.c tests/proofs/stubs/der.c
 * CBMC: --unwind 5
 * BREAK: src/der/pem_uri.c s/ber_read(&content, DER_UTF8_STRING, uri)/ber_read(\&content, DER_UTF8_STRING, \&text)/
 */
#include "proof.h"

#include "der/pem_uri.h"
#include "stubs/der.h"

void proof(void)
{
    struct view der = any_input(), uri;

    if (pem_uri_read(der, &uri))
        CHECK(lies_in(uri, der), "the URI lies in the input");
}
