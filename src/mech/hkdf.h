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

#endif
