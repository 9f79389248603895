#include "token/session.h"

#include <openssl/crypto.h>

#include "base/scope.h"
#include "module/call.h"
#include "module/lock.h"
#include "module/retry.h"

struct session *sessions_join(struct session *head, struct session *tail)
{
    struct session *last = head;

    if (head == NULL)
        return tail;
    while (last->next != NULL)
        last = last->next;
    last->next = tail;
    return head;
}

void sessions_close(struct module *module, struct session *list, bool keepers)
{
    CK_RV rv = CKR_OK;

    for (; list != NULL && (rv == CKR_OK || rv == CKR_SESSION_HANDLE_INVALID); list = list->next)
        if (keepers || !list->keeper)
            rv = P11_CALL(module, C_CloseSession, list->handle);
}

void sessions_free(struct session *list)
{
    while (list != NULL) {
        struct session *next = list->next;

        OPENSSL_free(list);
        list = next;
    }
}

/* Under the lock: one session of epoch less; whoever waits may open another. */
static void slot_release_place(struct slot *slot, unsigned long epoch)
{
    if (epoch != slot->epoch)
        return; /* slot_forget has settled that account */
    slot->open--;
    slot_wake(slot);
}

/* Opens the session for which a place is reserved. On CKR_SESSION_COUNT the limit of the token is
 * learnt: no more sessions than are open now. */
static CK_RV session_open(struct slot *slot, unsigned long epoch, bool write, struct session **out)
{
    CK_FLAGS flags = CKF_SERIAL_SESSION | (write ? CKF_RW_SESSION : 0);
    struct session *session = OPENSSL_zalloc(sizeof(*session));
    CK_RV rv = CKR_HOST_MEMORY;

    if (session != NULL)
        rv = P11_CALL(slot->module, C_OpenSession, slot_id(slot), flags, NULL, NULL,
                      &session->handle);
    if (rv == CKR_OK) {
        session->slot = slot;
        session->epoch = epoch;
        session->write = write;
        *out = session;
        return CKR_OK;
    }
    OPENSSL_free(session);
    lock_take();
    slot_release_place(slot, epoch);
    if (rv == CKR_SESSION_COUNT && slot->open > 0)
        slot->limit = slot->open;
    lock_release();
    return rv;
}

/* Under the lock: takes one off the list of idle sessions, if there is one that may write where
 * that is wanted. */
static struct session *idle_pop(struct slot *slot, bool write)
{
    struct session **position = &slot->idle;
    struct session *session;

    while (*position != NULL && write && !(*position)->write)
        position = &(*position)->next;
    session = *position;
    if (session == NULL)
        return NULL;
    *position = session->next;
    slot->idle_count--;
    return session;
}

/* Under the lock */
static void idle_push(struct slot *slot, struct session *session)
{
    session->next = slot->idle;
    slot->idle = session;
    slot->idle_count++;
    slot_wake(slot);
}

/* Under the lock: whether a session can be had now: an idle one, or a place to open one. */
static bool slot_can_serve(const struct slot *slot)
{
    return !slot->mending && (slot->idle != NULL || slot->open < slot->limit);
}

static void waiter_append(struct slot *slot, struct waiter *waiter)
{
    struct waiter **end = &slot->waiters;

    while (*end != NULL)
        end = &(*end)->next;
    *end = waiter;
}

static void waiter_remove(struct slot *slot, const struct waiter *waiter)
{
    struct waiter **position = &slot->waiters;

    while (*position != NULL && *position != waiter)
        position = &(*position)->next;
    if (*position != NULL)
        *position = waiter->next;
}

/* Under the lock: waits in the order of arrival until a session can be had. */
static CK_RV slot_queue(struct slot *slot)
{
    uint64_t deadline = clock_ms() + slot->wait_ms;
    struct waiter self = { .next = NULL };
    bool in_time = true;

    if (slot->waiters == NULL && slot_can_serve(slot))
        return CKR_OK;
    condition_init(&self.turn);
    waiter_append(slot, &self);
    while (in_time && (slot->waiters != &self || !slot_can_serve(slot)))
        in_time = lock_wait_until(&self.turn, deadline);
    waiter_remove(slot, &self);
    (void)pthread_cond_destroy(&self.turn);
    if (slot_can_serve(slot))
        slot_wake(slot);
    if (in_time)
        return CKR_OK;
    if (slot->mending)
        call_detail_set("the token '%s' failed and does not answer; nobody waits for it longer "
                        "than %u ms (pkcs11-session-wait-ms)",
                        slot->label, slot->wait_ms);
    else
        call_detail_set("all %u sessions with the token '%s' were busy for %u ms; raise "
                        "pkcs11-sessions-max, or pkcs11-session-wait-ms",
                        slot->open, slot->label, slot->wait_ms);
    return RV_SESSIONS_BUSY;
}

/* Under the lock: an idle session, or NULL with a place reserved to open one, after waiting.
 * *in_the_way is one that only reads and must be closed first, to make that place. */
static CK_RV slot_wait(struct slot *slot, bool write, struct session **out,
                       struct session **in_the_way)
{
    CK_RV rv = slot_queue(slot);

    *in_the_way = NULL;
    if (rv != CKR_OK)
        return rv;
    *out = idle_pop(slot, write);
    if (*out != NULL) {
        (*out)->logged_in = slot->login == LOGIN_IN;
        return CKR_OK;
    }
    if (slot->open < slot->limit) {
        slot->open++;
        return CKR_OK;
    }
    *in_the_way = idle_pop(slot, false);
    if (slot->open == 1 && slot->keeper == NULL) { /* closing it logs out */
        sessions_free(slot_forget(slot));
        slot->open = 1;
    }
    return CKR_OK;
}

static void close_in_the_way(struct session *session)
{
    if (session == NULL)
        return;
    (void)P11_CALL(session->slot->module, C_CloseSession, session->handle);
    OPENSSL_free(session);
}

static bool limit_learnt(struct slot *slot)
{
    bool learnt;

    lock_take();
    learnt = slot->open > 0;
    lock_release();
    return learnt;
}

/* Takes the lock with the module ready; without the lock when that fails. */
static CK_RV lock_take_ready(struct module *module)
{
    lock_take();
    while (!module_ready(module)) {
        CK_RV rv;

        lock_release();
        rv = module_start(module);
        if (rv != CKR_OK)
            return rv;
        lock_take();
    }
    return CKR_OK;
}

/* Under the lock: the module may have been lost while this thread waited for a session. What
 * slot_wait gave goes back then. */
static bool hold_if_ready(struct slot *slot, struct session *session, struct session *in_the_way)
{
    if (module_ready(slot->module)) {
        module_hold(slot->module);
        return true;
    }
    if (session != NULL || in_the_way != NULL)
        idle_push(slot, session != NULL ? session : in_the_way);
    else
        slot_release_place(slot, slot->epoch);
    return false;
}

/* An idle session in *out, or room for a new one, with the module held for it. */
static CK_RV session_claim(struct slot *slot, bool write, struct session **out,
                           struct session **in_the_way, unsigned long *epoch)
{
    bool held = false;

    while (!held) {
        CK_RV rv = lock_take_ready(slot->module);

        if (rv != CKR_OK)
            return rv;
        rv = slot_wait(slot, write, out, in_the_way);
        held = rv == CKR_OK && hold_if_ready(slot, *out, *in_the_way);
        *epoch = slot->epoch;
        lock_release();
        if (rv != CKR_OK)
            return rv;
    }
    return CKR_OK;
}

static void let_go(struct module *module)
{
    lock_take();
    module_release(module);
    lock_release();
}

/* An idle or new session, not logged in by this function. */
static CK_RV session_get(struct slot *slot, bool write, struct session **out)
{
    struct session *in_the_way;
    unsigned long epoch;
    CK_RV rv;

    do {
        *out = NULL;
        rv = session_claim(slot, write, out, &in_the_way, &epoch);
        if (rv != CKR_OK || *out != NULL)
            return rv;
        close_in_the_way(in_the_way);
        rv = session_open(slot, epoch, write, out);
        if (rv != CKR_OK)
            let_go(slot->module);
    } while (rv == CKR_SESSION_COUNT && limit_learnt(slot));
    return rv;
}

static CK_RV take(struct slot *slot, bool write, bool login, const struct pin_source *pins,
                  struct session **out)
{
    _cleanup_(session_return) struct session *session = NULL;
    CK_RV rv;

    if (call_inside())
        return RV_RECURSION;
    rv = session_get(slot, write, &session);
    if (rv == CKR_OK && login && !session->logged_in)
        rv = login_ensure(session, pins);
    if (rv == CKR_OK)
        *out = MOVE(session);
    return rv;
}

CK_RV session_take(struct slot *slot, bool login, const struct pin_source *pins,
                   struct session **out)
{
    return take(slot, false, login, pins, out);
}

CK_RV session_take_writing(struct slot *slot, const struct pin_source *pins, struct session **out)
{
    return take(slot, true, true, pins, out);
}

/* Under the lock: waits for the keeper; *out is NULL when it has to be opened. */
static CK_RV keeper_claim(struct slot *slot, unsigned patience, struct session **out)
{
    uint64_t deadline = clock_ms() + patience;

    while (slot->keeper_busy)
        if (!lock_wait_until(&slot->changed, deadline) && slot->keeper_busy) {
            call_detail_set("another thread has been making a key on the token '%s' for %u ms "
                            "(pkcs11-session-wait-ms and pkcs11-retry-ms)",
                            slot->label, patience);
            return RV_SESSIONS_BUSY;
        }
    slot->keeper_busy = true;
    module_hold(slot->module);
    *out = slot->keeper;
    return CKR_OK;
}

/* Opens it beside the pool, not counted in it. */
static CK_RV keeper_open(struct slot *slot, struct session **out)
{
    unsigned long epoch;
    CK_RV rv;

    lock_take();
    epoch = slot->epoch;
    slot->open++;
    lock_release();
    rv = session_open(slot, epoch, false, out);
    if (rv != CKR_OK)
        return rv;
    (*out)->keeper = true;
    lock_take();
    if (epoch == slot->epoch) {
        slot->keeper = *out;
        slot_release_place(slot, epoch);
    }
    lock_release();
    return CKR_OK;
}

static CK_RV keeper_take(struct slot *slot, const struct pin_source *pins, unsigned patience,
                         struct session **out)
{
    CK_RV rv = call_inside() ? RV_RECURSION : module_start(slot->module);

    *out = NULL;
    if (rv != CKR_OK)
        return rv;
    lock_take();
    rv = keeper_claim(slot, patience, out);
    lock_release();
    if (rv != CKR_OK)
        return rv;
    if (*out == NULL)
        rv = keeper_open(slot, out);
    if (rv == CKR_OK)
        rv = login_ensure(*out, pins);
    if (rv == CKR_OK)
        return CKR_OK;
    if (*out != NULL) {
        session_return(out);
        return rv;
    }
    lock_take();
    slot->keeper_busy = false;
    module_release(slot->module);
    (void)pthread_cond_broadcast(&slot->changed);
    lock_release();
    return rv;
}

CK_RV session_take_keeper(struct slot *slot, const struct pin_source *pins, struct session **out)
{
    return keeper_take(slot, pins, slot->wait_ms + slot->retry_ms, out);
}

CK_RV session_try_keeper(struct slot *slot, const struct pin_source *pins, struct session **out)
{
    return keeper_take(slot, pins, 0, out);
}

static void keeper_return(struct session *session)
{
    struct slot *slot = session->slot;
    bool kept;

    lock_take();
    kept = slot->keeper == session;
    slot->keeper_busy = false;
    (void)pthread_cond_broadcast(&slot->changed);
    if (kept)
        module_release(slot->module);
    lock_release();
    if (kept)
        return;
    /* not closed: other threads may be in the middle of a call with an object of it */
    let_go(slot->module);
    OPENSSL_free(session);
}

/* Under the lock: whether no other session will be left when one is closed. The token then logs
 * out, and handles of private objects die (PKCS#11 v3.1 §5.6.2). */
static bool is_last(const struct slot *slot)
{
    return slot->open - slot->closing == 1 && slot->keeper == NULL;
}

/* Under the lock: keeps the session for the next taker, or says that it must be closed. The last
 * one of a logged-in token stays whatever the settings. */
static bool session_keep(struct session *session)
{
    struct slot *slot = session->slot;
    bool wanted = slot->idle_count < slot->keep_idle || (slot->login == LOGIN_IN && is_last(slot));

    if (session->spoilt || session->epoch != slot->epoch || !wanted || slot->open > slot->limit)
        return false;
    idle_push(slot, session);
    return true;
}

/* Under the lock, before the session is closed, so that nobody relies on a login that goes with it.
 */
static void session_leave(struct session *session)
{
    struct slot *slot = session->slot;

    if (session->epoch != slot->epoch)
        return;
    if (is_last(slot)) {
        sessions_free(slot_forget(slot));
        session->epoch = slot->epoch;
        slot->open = 1; /* its place is free when it is closed */
    }
    slot->closing++;
}

/* Under the lock, after that. */
static void session_left(struct session *session)
{
    if (session->epoch == session->slot->epoch)
        session->slot->closing--;
    slot_release_place(session->slot, session->epoch);
}

static void pooled_return(struct session *session)
{
    bool kept;

    lock_take();
    kept = session_keep(session);
    if (kept)
        module_release(session->slot->module);
    else
        session_leave(session);
    lock_release();
    if (kept)
        return;
    (void)P11_CALL(session->slot->module, C_CloseSession, session->handle);
    lock_take();
    session_left(session);
    module_release(session->slot->module);
    lock_release();
    OPENSSL_free(session);
}

void session_return(struct session **held)
{
    struct session *session = *held;
    const char *name = call_name();

    if (session == NULL)
        return;
    *held = NULL;
    if (session->keeper)
        keeper_return(session);
    else
        pooled_return(session);
    call_named(name); /* an error message is about the call before this one */
}
