/* The translation table for MACs: OpenSSL's digest, CKM_*. */
#ifndef BRIDGE_MECH_MAC_H
#define BRIDGE_MECH_MAC_H

#include "mech/digest.h"

#define MAC_MAX DIGEST_MAX

enum mac_kind { MAC_HMAC, MAC_CMAC };

struct mac_request {
    enum mac_kind kind;
    const struct digest *digest; /* HMAC */
};

#define MAC_NONE CK_UNAVAILABLE_INFORMATION

/* MAC_NONE where PKCS#11 has none. */
CK_MECHANISM_TYPE mac_mechanism(const struct mac_request *request);

/* Bytes: of the MAC, and of a block of the digest or cipher. */
size_t mac_size(const struct mac_request *request);
size_t mac_block_size(const struct mac_request *request);

#endif
