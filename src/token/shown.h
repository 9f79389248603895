/* Which PINs were shown to which token, and what it said: so that none is shown again that it
 * refused, and none twice for one operation (docs/adr/0015-before-each-login.md). For the whole
 * process, until it ends; children of a fork have what their parent had. */
#ifndef BRIDGE_SHOWN_H
#define BRIDGE_SHOWN_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/types.h>

#include "base/secret.h"
#include "module/cryptoki.h"

struct slot;

/* What stands for a PIN here: in bytes, of an HMAC with a key that only this process knows. Zeros
 * for the pad of a token that has one. */
#define SHOWN_HASH_LEN 32

/* hash: SHOWN_HASH_LEN bytes. False where libcrypto has no HMAC or no random numbers. */
bool shown_hash(OSSL_LIB_CTX *libctx, const struct secret *pin, uint8_t *hash);

/* Whether the token in the slot refused it before. */
bool shown_refused(const struct slot *slot, const uint8_t *hash);

/* Whether the token may be shown it in this operation: CKR_OK, RV_PIN_REFUSED_BEFORE, or
 * RV_LOGIN_FAILED, with what C_Login said to the operation before in call_detail. */
CK_RV shown_check(const struct slot *slot, const uint8_t *hash, uint64_t operation);

/* A PIN that went to the only token there was is not for another one that is the only one now:
 * RV_PIN_UNNAMED, with call_detail. */
CK_RV shown_check_alone(const struct slot *slot, const uint8_t *hash);

/* A PIN with the token that it is shown to, in whichever slot that is. Made before C_Login is
 * called, so that its outcome has a place; NULL when memory is short. It is never freed. */
struct shown;
struct shown *shown_make(const struct slot *slot, const uint8_t *hash);

/* C_Login failed with rv. refused: never again. pardoned: the operation may call it once more, if
 * it has not been pardoned before. */
void shown_failed(struct shown *shown, uint64_t operation, CK_RV rv, bool refused, bool pardoned);

#endif
