/* Sessions that are with the right token, and logged in where that is wanted: what all work on a
 * token begins with.
 *
 * The first session of an epoch asks whose token is in the slot before anything is searched for and
 * before any PIN is shown: it may have been exchanged for another. */
#ifndef BRIDGE_ADMIT_H
#define BRIDGE_ADMIT_H

#include "token/slot.h"

enum purpose {
    TO_READ,
    TO_WRITE,   /* may write to the token */
    TO_KEEP,    /* the session that session objects are made on: one thread at a time */
    TRY_TO_KEEP /* the same unless another thread has it: then RV_SESSIONS_BUSY at once */
};

/* A session for that purpose. login: with the user logged in, if the token wants it; one thread
 * calls C_Login, the others wait for its outcome. RV_TOKEN_MOVED where another token is in the
 * slot, RV_SESSIONS_BUSY, what login_user says, or the failure of a call. The caller gives it back
 * with session_return. */
CK_RV session_take(struct slot *slot, enum purpose purpose, bool login, struct pin_source *pins,
                   struct session **out);

/* Whether private objects are seen on session. */
bool session_sees_private(const struct session *session);

#endif
