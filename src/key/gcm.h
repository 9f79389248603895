/* The IVs of AES-GCM encryptions: a key with which one repeats is lost (SP 800-38D §8). */
#ifndef BRIDGE_KEY_GCM_H
#define BRIDGE_KEY_GCM_H

#include "key/key.h"

#define GCM_IV_LEN 12

/* The IV for the next encryption with key; each is given out for one encryption. False with an
 * error raised where there must not be another. */
bool gcm_iv_next(struct key *key, uint8_t iv[GCM_IV_LEN]);

#endif
