/* The pool of sessions on a slot. A session is with one thread at a time. */
#ifndef BRIDGE_SESSION_H
#define BRIDGE_SESSION_H

#include <stdbool.h>

#include "token/login.h"
#include "token/slot.h"

struct session {
    struct session *next;
    struct slot *slot;
    CK_SESSION_HANDLE handle;
    unsigned long epoch; /* of the slot when it was opened */
    bool spoilt;         /* not to be used again */
    bool write;          /* opened with CKF_RW_SESSION */
    bool keeper;         /* the one that session objects are made on */
    bool logged_in;      /* the token was when the session was taken off the list of idle ones */
    bool final;          /* set by a task whose failure must not be tried again */
};

/* Takes an idle session of the slot, opens one, or waits for one to come back, in this order and
 * behind those that wait already, and logs in on it where login is set and the token wants it.
 * RV_SESSIONS_BUSY after pkcs11-session-wait-ms. The caller gives it back with
 * session_return. */
CK_RV session_take(struct slot *slot, bool login, const struct pin_source *pins,
                   struct session **out);

/* The same with a session that may write to the token. */
CK_RV session_take_writing(struct slot *slot, const struct pin_source *pins, struct session **out);

/* The session that session objects are made on: they live as long as it does. It is one for each
 * slot and taken by one thread at a time. */
CK_RV session_take_keeper(struct slot *slot, const struct pin_source *pins, struct session **out);

/* The same unless another thread has it: then RV_SESSIONS_BUSY at once. */
CK_RV session_try_keeper(struct slot *slot, const struct pin_source *pins, struct session **out);

/* Gives it back; a spoilt, outdated or superfluous one is closed. For _cleanup_(session_return). */
void session_return(struct session **session);

/* Lists of sessions that slot_forget gave out. sessions_close stops where the token does not answer:
 * each call might take its time. keepers: also those, whose objects go with them; SoftHSM 2.6 crashes
 * when another thread is in the middle of C_SignInit with one. Else they stay with the token until
 * C_Finalize. */
struct session *sessions_join(struct session *head, struct session *tail);
void sessions_close(struct module *module, struct session *list, bool keepers);
void sessions_free(struct session *list);

#endif
