/* HMAC-SHA-256 (RFC 2104, FIPS 180-4), of four messages at once where there are so many. It takes
 * no memory, does not fail, and its time depends on the messages' length only.
 * docs/adr/0021-an-hmac-of-our-own.md has the reasons. */
#ifndef BRIDGE_HMAC_H
#define BRIDGE_HMAC_H

#include <stdint.h>

#include "base/bytes.h"

#define HMAC_LANES 4
#define HMAC_LEN   32

/* What the key makes of SHA-256's state: before a message, and before the digest of it. As secret
 * as the key. */
struct hmac_key {
    uint32_t inner[8], outer[8];
};

/* key: HMAC_LEN bytes. */
void hmac_key(const uint8_t *key, struct hmac_key *out);

/* out: HMAC_LEN bytes. */
void hmac(const struct hmac_key *key, struct view message, uint8_t *out);

/* HMAC_LANES messages, each of len bytes. out: one behind the other, HMAC_LEN bytes each. */
void hmac_lanes(const struct hmac_key *key, const uint8_t *const messages[HMAC_LANES], size_t len,
                uint8_t *out);

#endif
