/* Logging in, and what is done so that no token gets locked. */
#ifndef BRIDGE_LOGIN_H
#define BRIDGE_LOGIN_H

#include <pthread.h>
#include <stdbool.h>

#include "token/pins.h"

struct session;

/* A slot's login; under the lock (module/lock.h). Whether anybody is logged in, the pool knows. */
struct login {
    bool busy;              /* a thread is about to call C_Login, and the others wait */
    pthread_cond_t settled; /* not busy any more */
    struct secret *pin;     /* the one that the token took */
    char *pin_file;         /* where it came from, or NULL */
    bool pin_listed;        /* it stood in the file of pkcs11-token-pins */
};

/* For a new slot, and in the child of a fork. The PIN stays. */
void login_begin(struct login *login);

/* Whether the token refused this PIN before. False when it cannot be told. */
bool login_refused(const struct slot *slot, const struct pin_source *pins,
                   const struct secret *pin);

/* Under the lock: forgets the PIN. */
void login_clear(struct login *login);

/* Logs the user in on session. flags: the token's, asked for just before, by who saw that it is the
 * slot's token.
 *
 * What C_Login said, RV_LOGIN_FAILED where it failed before in this operation, RV_PIN_MISSING,
 * RV_PIN_SOURCE, RV_PIN_UNNAMED, RV_PIN_REFUSED_BEFORE, RV_PIN_FINAL_TRY. */
CK_RV login_user(struct session *session, struct pin_source *pins, const CK_FLAGS *flags);

/* CKU_CONTEXT_SPECIFIC, for a key with CKA_ALWAYS_AUTHENTICATE, after C_SignInit or C_DecryptInit
 * (PKCS#11 v3.1 §4.9). Also what C_GetTokenInfo said. */
CK_RV login_context(struct session *session, struct pin_source *pins);

/* Where a search found nothing: whether the login that it needs is still there. Private objects are
 * not seen without it, and no call fails. CKR_USER_NOT_LOGGED_IN where it is not. */
CK_RV login_confirm(struct session *session);

/* RV_SESSIONS_BUSY, and call_detail says that another thread has been logging in for that long. */
CK_RV login_overdue(const struct slot *slot, unsigned patience_ms);

#endif
