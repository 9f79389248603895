/* Sessions that come back: kept, closed, or left to be closed later. */
#include "token/pool_parts.h"

#include "base/rare.h"
#include "module/call.h"
#include "token/slot.h"

/* Whether what C_CloseSession said leaves no session in the token. */
static bool is_closed(CK_RV rv)
{
    return rv == CKR_OK || rv == CKR_SESSION_HANDLE_INVALID || rv == CKR_SESSION_CLOSED ||
           rv == RV_STALE;
}

void pool_dispose(struct pool *pool, struct session *session, bool closed)
{
    if (closed || session->life != atomic_load(&session->module->life)) {
        pool_member_free(pool, session);
        return;
    }
    if (!session->keeper)
        session->epoch = 0; /* not open in the present one, which it may have begun */
    session->remains = true;
    session->next = pool->remains;
    pool->remains = session;
    atomic_store(&pool->untidy, true);
}

void pool_close_and_free(struct pool *pool, struct session *session)
{
    bool closed = is_closed(session_close_stale(session));

    mutex_take(&pool->mutex);
    pool_dispose(pool, session, closed);
    pool_release(pool);
}

void pool_close_list(struct pool *pool, struct session *list, bool keepers)
{
    bool answers = true;

    while (list != NULL) {
        struct session *session = list;
        bool closed = false;

        list = session->next;
        if (answers && (keepers || !session->keeper))
            answers = closed = slots_have_session(session->module, session->ck) ||
                               is_closed(session_close_stale(session));
        mutex_take(&pool->mutex);
        pool_dispose(pool, session, closed);
        pool_offer(pool);
        pool_release(pool);
    }
}

/* Under the mutex: takes what remains of epochs that are over off its list, where nobody has a
 * session of them and with it objects of a keeper (SoftHSM 2.6 crashes when that is closed under
 * C_SignInit). */
static struct session *remains_take(struct pool *pool)
{
    struct session *list = NULL, **position = &pool->remains;

    for (struct session *session = pool->members; session != NULL; session = session->peer)
        if (!session->remains && !session_current(session))
            return NULL;
    while (*position != NULL) {
        struct session *session = *position;

        if (session_current(session)) {
            position = &session->next;
            continue;
        }
        *position = session->next;
        session->remains = false;
        session->next = list;
        list = session;
    }
    atomic_store(&pool->untidy, pool->remains != NULL);
    return list;
}

void pool_tidy(struct pool *pool)
{
    struct session *list;

    mutex_take(&pool->mutex);
    list = remains_take(pool);
    pool_release(pool);
    pool_close_list(pool, list, true);
}

/* Under the mutex: keeps the session for the next taker, or says that it must be closed. The last
 * one of a logged-in token stays whatever the settings, and one beside those lent. */
static bool keep(struct pool *pool, struct session *session)
{
    bool wanted = pool->idle_count < pool->keep_idle ||
                  (pool->standing == LOGGED_IN && pool_is_last(pool)) ||
                  (pool->lent != 0 && pool->idle_count == 0);

    if (session->spoilt || !wanted || pool->open > pool->limit || !session_current(session))
        return false;
    pool_idle_push(pool, session);
    pool_untake(pool);
    pool_offer(pool);
    return true;
}

/* Under the mutex, before the session is closed, so that nobody relies on a login that goes with
 * it.
 */
static bool leave(struct pool *pool, struct session *session)
{
    bool current = session_current(session);

    if (current && pool_is_last(pool))
        pool_last_leaves(pool, session);
    pool->closing += current;
    return current;
}

/* Under the mutex, after that. */
static void left(struct pool *pool, struct session *session, bool closed)
{
    if (session_current(session)) {
        pool->closing--;
        pool->open--;
    }
    pool_dispose(pool, session, closed);
    pool_untake(pool);
    pool_offer(pool);
}

/* Whether it is not open any more. One of an epoch that is over is closed as well, so that the
 * token does not run out of sessions; not where its number has been given out again, or the module
 * was started anew. */
static bool close_one(struct session *session, bool current)
{
    CK_RV rv = current ? session_close(session) : RV_STALE;

    if (rv != RV_STALE)
        return is_closed(rv);
    return module_ready(session->module) && (slots_have_session(session->module, session->ck) ||
                                             is_closed(session_close_stale(session)));
}

/* With the mutex held, and released afterwards. */
RARE static void close_returned(struct pool *pool, struct session *session)
{
    const char *name = call_name();
    bool current = leave(pool, session), closed;

    pool_release(pool);
    closed = close_one(session, current);
    call_named(name); /* an error message is about the call before this one */
    mutex_take(&pool->mutex);
    left(pool, session, closed);
    pool_release(pool);
}

static void pool_session_return(struct pool *pool, struct session *session)
{
    mutex_take(&pool->mutex);
    if (keep(pool, session))
        pool_release(pool);
    else
        close_returned(pool, session);
}

/* What a failure left open in the token is closed, now that it works again. */
RARE static void tidy_after(struct session *session)
{
    const char *name = call_name();

    if (!session->spoilt && session_current(session))
        pool_tidy(&session->slot->pool);
    call_named(name); /* as above */
}

/* Where that is all that is wrong with the session, the operation that is active is cancelled, and
 * the session stays. */
RARE static void mend(struct session *session)
{
    const char *name = call_name();

    session->spoilt = session_cancel(session, session->pending) != CKR_OK;
    call_named(name); /* as above */
}

void session_return(struct session **held)
{
    struct session *session = *held;

    if (session == NULL)
        return;
    *held = NULL;
    if (atomic_load_explicit(&session->slot->pool.untidy, memory_order_relaxed))
        tidy_after(session);
    if (session->spoilt && session->pending != 0)
        mend(session);
    session->pending = 0;
    if (session->keeper)
        pool_keeper_return(&session->slot->pool, session);
    else
        pool_session_return(&session->slot->pool, session);
}
