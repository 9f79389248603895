/* HKDF (RFC 5869) as PKCS#11 v3.0 §2.62 has it. */
#ifndef BRIDGE_MECH_HKDF_H
#define BRIDGE_MECH_HKDF_H

#include "mech/digest.h"

struct hkdf_request {
    const struct digest *digest;
    bool extract, expand;
    struct view salt, info; /* may be empty */
};

/* A CK_MECHANISM with room for its parameters; it points into itself, and to what the request
 * points to, and must not be copied. */
struct hkdf_mechanism {
    CK_MECHANISM ck;
    struct hkdf_params params;
};

void hkdf_mechanism(const struct hkdf_request *request, struct hkdf_mechanism *out);

/* HkdfLabel of RFC 8446 §7.1, for len bytes, to out, which holds nothing. False where a part is
 * longer than its length field can say, and when memory is short. */
bool hkdf_label(struct bytes *out, size_t len, struct view prefix, struct view label,
                struct view context);

#endif
