/* SubjectPublicKeyInfo, RFC 5280 §4.1.2.7. */
#ifndef BRIDGE_SPKI_H
#define BRIDGE_SPKI_H

#include "der/der.h"

/* Room for the headers around the key's own bytes, and for a curve's OID. */
#define SPKI_OVERHEAD 64

/* rsaEncryption, RFC 3279 §2.3.1, or id-RSASSA-PSS without parameters, RFC 4055 §1.2. n, e:
 * big-endian. der: size bytes, n.len + e.len + SPKI_OVERHEAD are enough. The length written, 0 when
 * size is too small. */
size_t spki_write_rsa(struct view n, struct view e, bool pss, uint8_t *der, size_t size);

/* RSAPublicKey, RFC 8017 appendix A.1.1; n.len + e.len + SPKI_OVERHEAD bytes are enough. */
size_t pkcs1_write(struct view n, struct view e, uint8_t *der, size_t size);

/* id-ecPublicKey with a named curve, RFC 5480 §2.1. curve: the content of the curve's OID; point:
 * the ECPoint (0x04 X Y). der: point.len + curve.len + SPKI_OVERHEAD bytes are enough. */
size_t spki_write_ec(struct view curve, struct view point, uint8_t *der, size_t size);

/* Ed25519, Ed448, X25519, X448: the algorithm's OID and the key as it is, RFC 8410 §4. */
size_t spki_write_raw(struct view algorithm, struct view key, uint8_t *der, size_t size);

#endif
