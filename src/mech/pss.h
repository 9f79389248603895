/* The padding of PSS, for tokens that lack a variant of it and sign raw. */
#ifndef BRIDGE_PSS_H
#define BRIDGE_PSS_H

#include <stdbool.h>

#include <openssl/evp.h>

#include "der/der.h"

/* EMSA-PSS-ENCODE, RFC 8017 §9.1.1. hash: of the message, as long as md's. bits: of the modulus.
 * block: what is signed raw, as many bytes as the modulus has. False when the modulus is too short
 * for hash and salt, or libcrypto fails. */
bool pss_encode(const EVP_MD *md, const EVP_MD *mgf1, struct view hash, struct view salt,
                unsigned bits, uint8_t *block);

#endif
