#include "token/run.h"

#include <string.h>

#include "scope.h"
#include "token/call.h"
#include "token/ckr.h"
#include "token/lock.h"

#define ATTEMPTS 4

struct work {
    struct slot *slot;
    bool login;
    const struct pin_source *pins;
    struct object *object; /* NULL: task runs without */
    session_task *on_session;
    object_task *on_object;
    void *arg;
};

/* Under the lock: every session and handle of this epoch is void. */
static void token_restart(struct slot *slot, unsigned long epoch)
{
    if (epoch == slot->epoch)
        sessions_free(slot_forget(slot));
}

/* Under the lock. Nothing is repaired twice: what failed on a session of an earlier epoch is
 * mended. */
static void repair_locked(const struct work *work, enum repair repair, unsigned long epoch)
{
    switch (repair) {
    case REPAIR_MODULE:
        if (epoch == work->slot->epoch)
            module_lost(work->slot->module);
        break;
    case REPAIR_TOKEN:
        token_restart(work->slot, epoch);
        break;
    case REPAIR_LOGIN:
        if (epoch == work->slot->epoch)
            login_lost(work->slot);
        break;
    case REPAIR_HANDLE:
        if (work->object != NULL)
            work->object->handle = CK_INVALID_HANDLE;
        break;
    case REPAIR_SESSION:
    case REPAIR_NOTHING:
        break;
    }
}

static bool repair(const struct work *work, CK_RV rv, unsigned long epoch)
{
    enum repair how = ckr_describe(rv)->repair;

    if (how == REPAIR_NOTHING)
        return false;
    lock_take();
    repair_locked(work, how, epoch);
    lock_release();
    if (how == REPAIR_TOKEN && rv != CKR_SESSION_HANDLE_INVALID)
        (void)slot_locate(work->slot);
    return true;
}

static CK_RV attempt(const struct work *work, struct session *session)
{
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    CK_RV rv;

    if (work->object == NULL)
        return work->on_session(session, work->arg);
    rv = object_handle(work->object, session, &handle);
    return rv == CKR_OK ? work->on_object(session, handle, work->arg) : rv;
}

/* Whether a failed task may have left an operation active: one that was refused at the start did
 * not. */
static bool leaves_operation(CK_RV rv)
{
    const char *name = call_name();
    size_t len = strlen(name);

    return rv != CKR_OK && (ckr_describe(rv)->repair != REPAIR_NOTHING || len < 4 ||
                            strcmp(name + len - 4, "Init") != 0);
}

static CK_RV run(const struct work *work)
{
    CK_RV rv = CKR_OK;

    for (int tries = 0; tries < ATTEMPTS; tries++) {
        _cleanup_(session_return) struct session *session = NULL;
        unsigned long epoch;

        lock_take();
        epoch = work->slot->epoch;
        lock_release();
        rv = session_take(work->slot, work->login, work->pins, &session);
        if (rv == CKR_OK) {
            epoch = session->epoch;
            rv = attempt(work, session);
            session->spoilt = leaves_operation(rv);
        }
        if (rv == CKR_OK || !repair(work, rv, epoch))
            return rv;
    }
    return rv;
}

CK_RV run_on_slot(struct slot *slot, bool login, const struct pin_source *pins, session_task *task,
                  void *arg)
{
    struct work work = {
        .slot = slot, .login = login, .pins = pins, .on_session = task, .arg = arg
    };

    return run(&work);
}

CK_RV run_on_object(struct object *object, const struct pin_source *pins, object_task *task,
                    void *arg)
{
    struct work work = { .slot = object->slot,
                         .login = object->private,
                         .pins = pins,
                         .object = object,
                         .on_object = task,
                         .arg = arg };

    return run(&work);
}

CK_RV run_once_writing(struct slot *slot, const struct pin_source *pins, session_task *task,
                       void *arg)
{
    _cleanup_(session_return) struct session *session = NULL;
    CK_RV rv = session_take_writing(slot, pins, &session);

    if (rv != CKR_OK)
        return rv;
    rv = task(session, arg);
    session->spoilt = leaves_operation(rv);
    return rv;
}

CK_RV run_once_keeping(struct slot *slot, const struct pin_source *pins, session_task *task,
                       void *arg)
{
    _cleanup_(session_return_keeper) struct session *session = NULL;
    CK_RV rv = session_take_keeper(slot, pins, &session);

    if (rv == CKR_OK)
        rv = task(session, arg);
    if (rv != CKR_OK && ckr_describe(rv)->repair == REPAIR_TOKEN) {
        lock_take();
        token_restart(slot, session != NULL ? session->epoch : slot->epoch);
        lock_release();
    }
    return rv;
}
