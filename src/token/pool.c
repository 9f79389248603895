#include "token/pool_parts.h"

#include <openssl/crypto.h>

#include "base/clock.h"
#include "token/slot.h"

void pool_begin(struct pool *pool, struct slot *slot)
{
    pool->slot = slot;
    queue_begin(&pool->waiters);
    queue_begin(&pool->makers);
    mutex_begin(&pool->mutex);
    condition_init(&pool->changed);
    pool_epoch_begin(pool);
}

void queue_begin(struct queue *queue)
{
    *queue = (struct queue){ .end = &queue->first };
}

void queue_add(struct queue *queue, struct waiter *waiter, bool first)
{
    struct waiter **position = first ? &queue->first : queue->end;

    condition_init(&waiter->turn);
    waiter->next = *position;
    *position = waiter;
    if (waiter->next == NULL)
        queue->end = &waiter->next;
}

void queue_remove(struct queue *queue, const struct waiter *waiter)
{
    struct waiter **position = &queue->first;

    while (*position != NULL && *position != waiter)
        position = &(*position)->next;
    if (*position != NULL)
        *position = waiter->next;
    if (*position == NULL)
        queue->end = position;
}

static unsigned at_most(unsigned wanted, CK_ULONG allowed)
{
    if (allowed == CK_UNAVAILABLE_INFORMATION || allowed == CK_EFFECTIVELY_INFINITE)
        return wanted;
    return allowed < wanted ? (unsigned)allowed : wanted;
}

static void raise_to(unsigned *value, unsigned wanted)
{
    if (wanted > *value)
        *value = wanted;
}

void pool_allow(struct pool *pool, const struct pool_limits *limits, CK_ULONG token_max)
{
    mutex_take(&pool->mutex);
    raise_to(&pool->limit, at_most(limits->sessions_max, token_max));
    raise_to(&pool->keep_idle, limits->sessions_idle);
    raise_to(&pool->wait_ms, limits->wait_ms);
    pool_release(pool);
}

void pool_member_add(struct pool *pool, struct session *session)
{
    session->peer = pool->members;
    pool->members = session;
}

void pool_member_free(struct pool *pool, struct session *session)
{
    struct session **position = &pool->members;

    while (*position != NULL && *position != session)
        position = &(*position)->peer;
    if (*position != NULL)
        *position = session->peer;
    if (!session_current(session)) /* it was one of those that filled the token */
        pool->squeezed = 0;
    OPENSSL_free(session);
}

void pool_members_free(struct pool *pool, struct session *list)
{
    while (list != NULL) {
        struct session *next = list->next;

        pool_member_free(pool, list);
        list = next;
    }
}

struct session *pool_idle_pop(struct pool *pool, bool write)
{
    struct session **position = &pool->idle;
    struct session *session;

    while (*position != NULL && write && !(*position)->write)
        position = &(*position)->next;
    session = *position;
    if (session == NULL)
        return NULL;
    *position = session->next;
    pool->idle_count--;
    return session;
}

void pool_idle_push(struct pool *pool, struct session *session)
{
    session->next = pool->idle;
    pool->idle = session;
    pool->idle_count++;
}

unsigned pool_there(const struct pool *pool)
{
    return pool->open - pool->closing - pool->opening;
}

bool pool_is_last(const struct pool *pool)
{
    return pool_there(pool) == 1 && (pool->keepers == NULL || !pool->keepers->apart);
}

CK_RV pool_admit(struct session *session, enum standing wanted, unsigned patience_ms, bool *claimed)
{
    struct pool *pool = &session->slot->pool;
    uint64_t deadline = clock_ns() + patience_ms * NS_PER_MS;
    bool in_time = true;
    CK_RV rv = CKR_OK;

    *claimed = false;
    mutex_take(&pool->mutex);
    while (pool->admitting && in_time)
        in_time = mutex_wait_until(&pool->mutex, &pool->changed, deadline);
    if (pool->admitting) {
        rv = login_overdue(pool->slot, patience_ms);
    } else if (!session_current(session)) {
        rv = RV_STALE;
    } else {
        if (pool->standing == LOGGED_IN)
            session->standing = LOGGED_IN;
        *claimed = pool->admitting = session->standing < wanted;
    }
    pool_release(pool);
    return rv;
}

void pool_admitted(struct session *session, enum standing reached)
{
    struct pool *pool = &session->slot->pool;

    mutex_take(&pool->mutex);
    pool->admitting = false;
    if (session_current(session))
        pool->standing = session->standing = reached;
    (void)pthread_cond_broadcast(&pool->changed);
    pool_release(pool);
}

bool pool_knows(const struct pool *pool, struct handle handle)
{
    return !handle_none(handle) && atomic_load(&pool->epoch) == handle.epoch;
}

bool pool_in_use(struct pool *pool)
{
    bool used;

    mutex_take(&pool->mutex);
    used = pool->open != 0 || pool->keepers != NULL;
    pool_release(pool);
    return used;
}

unsigned pool_limit(struct pool *pool)
{
    unsigned limit;

    mutex_take(&pool->mutex);
    limit = pool_limit_now(pool);
    pool_release(pool);
    return limit;
}

bool pool_has(struct pool *pool, CK_SESSION_HANDLE ck)
{
    struct session *session;

    mutex_take(&pool->mutex);
    session = pool->members;
    while (session != NULL && !(session->ck == ck && session_current(session)))
        session = session->peer;
    pool_release(pool);
    return session != NULL;
}

bool pool_wait_unused(struct pool *pool, uint64_t deadline)
{
    bool unused, in_time = true;

    mutex_take(&pool->mutex);
    pool->awaited = true;
    while (pool->taken != 0 && in_time)
        in_time = mutex_wait_until(&pool->mutex, &pool->changed, deadline * NS_PER_MS);
    unused = pool->taken == 0;
    pool->awaited = false;
    pool_release(pool);
    return unused;
}
