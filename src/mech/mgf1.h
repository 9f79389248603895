/* MGF1, the mask of OAEP and PSS: RFC 8017 appendix B.2.1. */
#ifndef BRIDGE_MGF1_H
#define BRIDGE_MGF1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

/* bytes ^= MGF1(seed), len bytes of it, in time that depends on the lengths only. False when
 * libcrypto fails. */
bool mgf1_mask(const EVP_MD *md, const uint8_t *seed, size_t seed_len, uint8_t *bytes, size_t len);

#endif
