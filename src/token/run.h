/* The way to a token's work: takes a session, runs a task on it, and when the task fails mends what
 * the call and its CKR say is broken (module/ckr.h) and runs it again, until pkcs11-retry-ms are
 * over. Where that does not help, the module is finalised and initialised again. */
#ifndef BRIDGE_RUN_H
#define BRIDGE_RUN_H

#include "token/admit.h"
#include "token/object.h"
#include "token/witness.h"

/* One piece of work: C_* calls on one session that may be made again from the start. A task that
 * fails may leave an operation active: its session is not used again, unless the token refused to
 * begin it. Where a call must not be made twice, the task sets session->committed before it. One
 * that succeeds may set session->spoilt. */
typedef CK_RV session_task(struct session *session, void *arg);
typedef CK_RV object_task(struct session *session, struct handle handle, void *arg);

struct run {
    struct slot *slot;
    enum purpose purpose;
    bool login;
    bool elsewhere; /* that the token is in no slot (RV_TOKEN_GONE) is an answer, not to wait for:
                       what is wanted may be on another */
    bool once;      /* what fails is not tried again: a question that nobody needs an answer to */
    struct pin_source *pins;
    session_task *task;
    void *arg;
    struct deed *deed; /* what the witness of pins is told; NULL: nothing */
};

CK_RV run_task(const struct run *run);

/* Whether the token has mechanism with all of the flags; asked once (slot_mechanism), of the right
 * token. */
CK_RV run_mechanism(struct slot *slot, CK_MECHANISM_TYPE mechanism, CK_FLAGS flags, bool *has);

/* With the handle of object, which is found again first where it went stale, on the same session.
 * deed: what and mechanism, where pins has a witness; NULL where none is told. */
CK_RV run_on_object(struct object *object, struct pin_source *pins, struct deed *deed,
                    object_task *task, void *arg);

#endif
