/* The door to a token's work: takes a session, runs a task on it, and when the task fails mends
 * what the CKR says is broken (module/ckr.h) and runs it again, until pkcs11-retry-ms are over. Where
 * that does not help, the module is finalised and initialised again. */
#ifndef BRIDGE_RUN_H
#define BRIDGE_RUN_H

#include "token/object.h"
#include "token/session.h"

/* One piece of work: C_* calls on one session that may be made again from the start. A task that
 * fails may leave an operation active: its session is not used again, unless the
 * token refused to begin it. */
typedef CK_RV session_task(struct session *session, void *arg);
typedef CK_RV object_task(struct session *session, CK_OBJECT_HANDLE handle, void *arg);

CK_RV run_on_slot(struct slot *slot, bool login, const struct pin_source *pins, session_task *task,
                  void *arg);

/* With the handle of object, which is found again first where it went stale, on the same session.
 */
CK_RV run_on_object(struct object *object, const struct pin_source *pins, object_task *task,
                    void *arg);

/* The same on a session that may write to the token, or on the one that keeps session objects alive.
 * A task whose failure must not be tried again sets session->final. */
CK_RV run_writing(struct slot *slot, const struct pin_source *pins, session_task *task, void *arg);
CK_RV run_on_keeper(struct slot *slot, const struct pin_source *pins, session_task *task,
                    void *arg);

#endif
