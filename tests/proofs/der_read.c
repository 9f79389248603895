/* SHOWN: der_read and ber_read read nothing outside their input and give what lies in it, or leave it as it was
 * BOUND: any input (2^46 bytes)
 * FILES: src/der/der.c
 * CBMC: --unwind 5
 * BREAK: src/der/der.c s/ || len > rest.len//
 * BREAK: src/der/der.c s/ || count > in->len//
 * BREAK: src/der/der.c s/rest.len == 0 || rest.data/rest.data/
 */
#include "proof.h"

void proof(void)
{
    struct view whole = any_view(ANY_LENGTH), in = whole, content;
    enum der_tag tag = (enum der_tag)(nondet_unsigned() & 0xff);
    bool strict = nondet_bool();

    if (strict ? der_read(&in, tag, &content) : ber_read(&in, tag, &content)) {
        CHECK(lies_in(content, whole), "the content lies in the input");
        CHECK(lies_in(in, whole), "the rest lies in the input");
        CHECK(content.data + content.len == in.data, "the rest follows the content");
        CHECK(in.data + in.len == whole.data + whole.len, "the rest ends where the input did");
        CHECK(in.len < whole.len, "something was taken");
        CHECK(whole.data[0] == (uint8_t)tag, "the tag is the one that was asked for");
    } else {
        CHECK(in.data == whole.data && in.len == whole.len, "the input is as it was");
    }
}
