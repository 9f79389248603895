/* Encryption and decryption with secret keys. */
#ifndef BRIDGE_KEY_CRYPT_H
#define BRIDGE_KEY_CRYPT_H

#include "key/gcm.h"
#include "mech/crypt.h"

enum crypt_result {
    CRYPT_DONE,
    CRYPT_FAILED, /* an error is raised */
    CRYPT_WRONG,  /* the ciphertext or its tag, says the token; nothing came of it, and no error */
};

/* Encrypts or decrypts in: one call that begins it and one that does it, on any session, and
 * nothing is left open with the token. Of an AEAD mode the ciphertext has the tag behind it. out:
 * room for size bytes; *len is set. CRYPT_WRONG of a decryption only. permit: for the encryption
 * with the request's IV, where the mode is GCM, and is used up; else it may be NULL. */
enum crypt_result key_crypt(struct key *key, const struct crypt_request *request,
                            struct gcm_permit *permit, struct view in, uint8_t *out, size_t size,
                            size_t *len);

/* Whether the key can be used so: its attributes permit it. False with an error raised. No call. */
bool key_can_crypt(const struct key *key, const struct crypt_row *row, bool encrypt);

#endif
