/* ECDSA signatures: r||s of PKCS#11 v3.1 §6.3.1 and Ecdsa-Sig-Value of RFC 3279 §2.2.3. */
#ifndef BRIDGE_ECDSA_H
#define BRIDGE_ECDSA_H

#include "der/der.h"

/* The longest Ecdsa-Sig-Value for an order of n bytes. */
#define ECDSA_SIG_DER_MAX(n) (2 * ((n) + 3) + 4)

/* r||s, as CKM_ECDSA returns it, into der, which has room for ECDSA_SIG_DER_MAX(rs.len / 2) bytes.
 * The length written; 0 if rs.len is odd, none, or more than P-521's. */
size_t ecdsa_sig_to_der(struct view rs, uint8_t *der, size_t size);

/* The other way round: r and s, each in half bytes, into rs. False for what is no Ecdsa-Sig-Value
 * in DER or has longer numbers. */
bool ecdsa_sig_from_der(struct view der, size_t half, uint8_t *rs);

#endif
