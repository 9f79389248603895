/* DigestInfo (RFC 8017 §9.2) and the AlgorithmIdentifiers of signatures. OIDs are given by content.
 */
#ifndef BRIDGE_ALGORITHM_H
#define BRIDGE_ALGORITHM_H

#include "der/der.h"

/* The longest DigestInfo and the longest AlgorithmIdentifier that are written here, in bytes. */
#define DIGEST_INFO_MAX          (64 + 20)
#define ALGORITHM_IDENTIFIER_MAX 96

/* DigestInfo around a digest. The length written, 0 when it does not fit. */
size_t digest_info_write(struct view digest_oid, struct view digest, uint8_t *der, size_t size);

/* SEQUENCE { oid } as ECDSA has it (RFC 5758 §3.2), or with the NULL of RSA PKCS#1 v1.5
 * (RFC 4055 §5). */
size_t algorithm_write(struct view oid, bool with_null, uint8_t *der, size_t size);

/* id-RSASSA-PSS with its parameters; those that have their default value (SHA-1, 20) are left out,
 * as DER wants it (RFC 4055 §3.1). */
size_t algorithm_write_pss(struct view digest_oid, struct view mgf1_oid, unsigned salt_len,
                           uint8_t *der, size_t size);

#endif
