/* Taking the padding off a decrypted RSA block, in time that depends on its length only: no branch
 * and no index depends on what is in it. tests/unit/constant-time.c has valgrind look at that.
 *
 * A block is as long as the modulus, at most UNPAD_MAX bytes. */
#ifndef BRIDGE_UNPAD_H
#define BRIDGE_UNPAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

#include "der/der.h"
#include "mech/hmac.h"

#define UNPAD_MAX     2048
#define PREMASTER_LEN 48

/* All ones or all zeros, for whether something holds. */
typedef uint32_t ct_mask;

/* A number that a token cut to len bytes, its leading zeros off, as the block that it was: size
 * bytes. Nobody sees len either, which is at most size. */
void unpad_lengthen(uint8_t *block, size_t size, size_t len);

/* Whether a block of size bytes has room for a message of len and a right padding: what a token
 * took out of one must be no longer. */
ct_mask unpad_pkcs1_fits(size_t len, size_t size);

/* PKCS#1 v1.5 (RFC 8017 §7.2.2). out: as long as the block; the message is at its start, *len is
 * its length, and what follows it is not cleared. Returns whether the padding was right. */
ct_mask unpad_pkcs1(struct view block, uint8_t *out, size_t *len);

/* Puts the message substitute in place of out and *len where good is not set (implicit rejection).
 * substitute, substitute_len: what unpad_substitute made. size: bytes of both buffers. */
void unpad_choose(ct_mask good, uint8_t *out, size_t *len, const uint8_t *substitute,
                  size_t substitute_len, size_t size);

/* The message that stands for a ciphertext with wrong padding: as random as HMAC-SHA-256, always
 * the same for the same secret and ciphertext (draft-irtf-cfrg-rsa-guidance). out: size bytes,
 * the modulus' length. */
void unpad_substitute(const struct hmac_key *secret, struct view ciphertext, uint8_t *out,
                      size_t *len, size_t size);

/* The premaster secret of TLS with RSA key exchange (RFC 5246 §7.4.7.1). premaster holds
 * PREMASTER_LEN random bytes before; they stay where padding, length or version (client_version, or
 * alt_version where that is not 0) are wrong. */
void unpad_tls(struct view block, unsigned client_version, unsigned alt_version,
               uint8_t *premaster);

/* OAEP (RFC 8017 §7.1.2). out: as long as the block. good tells whether all was right; *len and out
 * are meaningful then only. False when libcrypto fails or the block is too short for the digest. */
bool unpad_oaep(struct view block, const EVP_MD *md, const EVP_MD *mgf1, struct view label,
                uint8_t *out, size_t *len, ct_mask *good);

#endif
