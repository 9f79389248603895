/* The door that AES-GCM encryptions pass: each is counted and has an IV of its own, because a key
 * with which one repeats is lost (SP 800-38D §8).
 *
 * What is counted belongs to the key: every EVP_SKEY, context, library context and thread of the
 * process has the same number and, with pkcs11-gcm-state, every process. It is never forgotten
 * while the process lives, but for session keys, which go with the last who holds them.
 * docs/adr/0030-aes-gcm-counted.md has the reasons. */
#ifndef BRIDGE_KEY_GCM_H
#define BRIDGE_KEY_GCM_H

#include "key/key.h"

#define GCM_IV_LEN 12

/* So many of the IVs that callers brought for a key are remembered, the latest. */
#define GCM_REMEMBERED 4096

/* For one encryption with one IV, in the process that got it. {0}: none. */
struct gcm_permit {
    bool good;
    unsigned generation; /* lock_generation() of that process, */
    uint64_t process;    /* which a fork without handlers (_Fork(3)) leaves as it was */
};

/* Counts an encryption with key and makes its IV: nobody else gets that one. False with an error
 * raised where there must not be another: pkcs11-gcm-limit is reached, or pkcs11-gcm-state cannot
 * be used. */
bool gcm_iv_next(struct key *key, uint8_t iv[GCM_IV_LEN], struct gcm_permit *permit);

/* The same for an IV that the caller brings (pkcs11-gcm-caller-iv). False also where it is
 * remembered, or may be one that is made here. */
bool gcm_iv_take(struct key *key, struct view iv, struct gcm_permit *permit);

/* Uses it up. False with an error raised where it is none, or the parent's of a fork. */
bool gcm_permit_use(const struct key *key, struct view iv, struct gcm_permit *permit);

/* Lets go of a key's counter; NULL is fine. */
void gcm_counter_free(struct gcm_counter *counter);

#endif
