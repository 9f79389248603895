#include "token/run.h"

#include <string.h>

#include "base/log.h"
#include "base/scope.h"
#include "module/call.h"
#include "module/ckr.h"
#include "module/lock.h"
#include "module/retry.h"
#include "token/copy.h"

struct work {
    struct slot *slot;
    bool login;
    bool writes; /* on a session with CKF_RW_SESSION */
    bool keeps;  /* on the keeper */
    const struct pin_source *pins;
    struct object *object; /* NULL: task runs without */
    session_task *on_session;
    object_task *on_object;
    void *arg;
};

/* Under the lock. Nothing is repaired twice: what failed on a session of an earlier epoch is
 * mended.
 */
static void repair_locked(const struct work *work, enum repair repair, unsigned long epoch)
{
    bool current = epoch == work->slot->epoch;

    if (repair == REPAIR_MODULE && current)
        module_lost(work->slot->module);
    else if (repair == REPAIR_LOGIN && current)
        login_lost(work->slot);
    else if (repair == REPAIR_HANDLE && work->object != NULL)
        object_lost(work->object);
}

/* Every session and handle of this epoch is void, and the token may be in another slot. One thread
 * mends; nobody gets a session meanwhile. */
static void repair_token(struct slot *slot, CK_RV rv, unsigned long epoch)
{
    const char *name = call_name();
    struct session *void_sessions;

    if (!slot_begin_mending(slot, epoch, &void_sessions))
        return;
    if (rv != CKR_DEVICE_REMOVED && rv != CKR_TOKEN_NOT_PRESENT)
        sessions_close(slot->module, void_sessions, false);
    sessions_free(void_sessions);
    if (rv != CKR_SESSION_HANDLE_INVALID)
        (void)slot_locate(slot);
    slot_end_mending(slot);
    call_named(name); /* an error message is about what failed */
}

static void repair(const struct work *work, CK_RV rv, unsigned long epoch)
{
    enum repair how = ckr_describe(rv)->repair;

    if (how == REPAIR_TOKEN) {
        repair_token(work->slot, rv, epoch);
        return;
    }
    lock_take();
    repair_locked(work, how, epoch);
    lock_release();
}

static CK_RV attempt(const struct work *work, struct session *session)
{
    WITHIN_GATE;
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

static CK_RV take_session(const struct work *work, struct session **out)
{
    if (work->keeps)
        return session_take_keeper(work->slot, work->pins, out);
    if (work->writes)
        return session_take_writing(work->slot, work->pins, out);
    return session_take(work->slot, work->login, work->pins, out);
}

struct
try {
    unsigned long epoch; /* of the session that it had, or wanted */
    bool final;          /* another one is out of the question */
    bool outdated;       /* another thread has closed sessions of that epoch since */
};

static CK_RV try_once(const struct work *work, struct try *try)
{
    _cleanup_(session_return) struct session *session = NULL;
    CK_RV rv;

    *try = (struct try){ .epoch = atomic_load(&work->slot->epoch) };
    rv = take_session(work, &session);
    if (rv != CKR_OK)
        return rv;
    try->epoch = session->epoch;
    session->final = false;
    rv = attempt(work, session);
    session->spoilt = leaves_operation(rv);
    try->final = session->final;
    try->outdated = rv != CKR_OK && atomic_load(&work->slot->epoch) != try->epoch;
    return rv;
}

/* What modules say while another thread closes sessions and their objects vanish can be anything:
 * SoftHSM 2.6 may find that the key's CKA_SIGN is off. */
static bool try_again(const struct try *try, CK_RV rv, unsigned tries)
{
    return !try->final && (try->outdated || ckr_try_again(rv, tries));
}

/* Tells the operator, once, that somebody waits for the token, and once that it works again. */
static void tell(struct slot *slot, bool troubled, CK_RV rv)
{
    bool changes = atomic_exchange(&slot->troubled, troubled) != troubled;

    if (changes && troubled)
        log_line("token '%s': %s: %s; trying again for %u ms", slot->label, call_name(),
                 ckr_describe(rv)->name != NULL ? ckr_describe(rv)->name : ckr_describe(rv)->advice,
                 slot->retry_ms);
    else if (changes)
        log_line("token '%s' works again", slot->label);
}

/* Tries that failed before the module is finalised and initialised again. */
#define TRIES_BEFORE_RESTART 4

static bool restart_helps(CK_RV rv)
{
    enum repair how = ckr_describe(rv)->repair;

    return how == REPAIR_TOKEN || how == REPAIR_SESSION;
}

static CK_RV run(const struct work *work)
{
    struct retry retry = { .budget_ms = work->slot->retry_ms };
    struct try try;
    CK_RV rv;

    while ((rv = try_once(work, &try)) != CKR_OK) {
        if (!try_again(&try, rv, retry.tries))
            return rv;
        repair(work, rv, try.epoch);
        if (retry.tries > 1)
            tell(work->slot, true, rv);
        if (retry.tries >= TRIES_BEFORE_RESTART && restart_helps(rv))
            module_restart(work->slot->module);
        if (!retry_pause(&retry))
            return rv;
    }
    if (atomic_load(&work->slot->troubled))
        tell(work->slot, false, rv);
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
    CK_RV rv;

    rv = run(&work);
    if (rv == CKR_OK && copy_is_due(object))
        copy_make(object, pins);
    return rv;
}

CK_RV run_writing(struct slot *slot, const struct pin_source *pins, session_task *task, void *arg)
{
    struct work work = {
        .slot = slot, .login = true, .writes = true, .pins = pins, .on_session = task, .arg = arg
    };

    return run(&work);
}

CK_RV run_on_keeper(struct slot *slot, const struct pin_source *pins, session_task *task, void *arg)
{
    struct work work = {
        .slot = slot, .login = true, .keeps = true, .pins = pins, .on_session = task, .arg = arg
    };

    return run(&work);
}
