/* The keepers: sessions that session objects are made on.
 *
 * The first stands beside the pool and stays. Where several threads make objects at once, sessions
 * of the pool are lent, a few of them, and go back when nobody's objects are on them any more. */
#include "token/pool_parts.h"

#include "base/clock.h"
#include "module/call.h"

/* How a keeper is wanted. */
struct making {
    unsigned patience_ms;
    bool again;        /* it was its turn before */
    uint64_t deadline; /* clock_ns; 0: it has not had to wait so far */
};

/* One of so many of the pool's sessions may be lent: of the calls that a session key takes, made
 * and destroyed, one of five is on a keeper. */
#define LENT_OF 5

/* Under the mutex, as all that follows down to keeper_claim. The one beside the pool comes first,
 * and the others in the order in which they were lent, so that the last have the fewest objects. */
static void keeper_add(struct pool *pool, struct session *session, bool apart)
{
    struct session **position = &pool->keepers;

    while (!apart && *position != NULL)
        position = &(*position)->next;
    session->keeper = session->busy = true;
    session->apart = apart;
    session->home = ++pool->homes;
    session->objects = 0;
    session->next = *position;
    *position = session;
}

static void keeper_remove(struct pool *pool, const struct session *keeper)
{
    struct session **position = &pool->keepers;

    while (*position != NULL && *position != keeper)
        position = &(*position)->next;
    if (*position != NULL)
        *position = keeper->next;
    if (keeper->apart)
        pool->apart = false;
    else
        pool->lent--;
}

/* It is a session of the pool like any other from now on. */
static void keeper_dismiss(struct pool *pool, struct session *keeper)
{
    keeper_remove(pool, keeper);
    pool->open += keeper->apart;
    keeper->keeper = keeper->busy = keeper->apart = false;
}

/* Whether nobody is the worse for it when the keeper goes back to the pool. */
static bool keeper_free(const struct pool *pool, const struct session *keeper)
{
    return !keeper->busy && keeper->objects == 0 && pool->makers.first == NULL;
}

static struct session *keeper_idle(const struct pool *pool, bool any)
{
    struct session *keeper = pool->keepers;

    while (keeper != NULL && (keeper->busy || !(any || keeper->apart)))
        keeper = keeper->next;
    return keeper;
}

/* Open sessions of the pool that are not lent, nor on their way out. */
static unsigned own_sessions(const struct pool *pool)
{
    unsigned count = 0;

    for (const struct session *s = pool->members; s != NULL; s = s->peer)
        count += session_current(s) && !s->keeper && !s->remains;
    return count > pool->closing ? count - pool->closing : 0;
}

/* An idle session, or a place to open one. The pool keeps one of its own, that it has: where the
 * token has no more, those who want to use the objects would wait for ever. */
static bool lend(struct pool *pool, struct claim *claim)
{
    unsigned own;

    if (pool->mending || pool->lent >= pool_limit_now(pool) / LENT_OF)
        return false;
    own = own_sessions(pool);
    if (own >= 2 && pool->idle != NULL) {
        claim->session = pool_idle_pop(pool, false);
        keeper_add(pool, claim->session, false);
    } else if (own >= 1 && pool_has_room(pool)) {
        pool_room_take(pool);
    } else {
        return false;
    }
    pool->lent++;
    return true;
}

/* any: not just the one beside the pool. */
static bool keeper_make(struct pool *pool, bool any, struct claim *claim)
{
    *claim = (struct claim){ .session = keeper_idle(pool, any),
                             .epoch = atomic_load(&pool->epoch),
                             .keeper = true };
    if (claim->session == NULL && !pool->apart)
        claim->apart = pool->apart = true;
    else if (claim->session == NULL && !(any && lend(pool, claim)))
        return false;
    if (claim->session != NULL) {
        claim->session->busy = true;
        claim->session->standing = pool->standing;
    }
    pool->taken++;
    return true;
}

void pool_makers_serve(struct pool *pool)
{
    struct waiter *maker;
    bool ready = module_ready(pool_module(pool));

    while (ready && (maker = pool->makers.first) != NULL &&
           keeper_make(pool, true, &maker->claim)) {
        queue_remove(&pool->makers, maker);
        maker->served = true;
        (void)pthread_cond_signal(&maker->turn);
    }
    if (!ready && pool->makers.first != NULL)
        (void)pthread_cond_signal(&pool->makers.first->turn);
}

static CK_RV overdue(const struct pool *pool, unsigned patience_ms)
{
    call_detail_set("other threads have been making keys on the token '%s' for %u ms "
                    "(pkcs11-session-wait-ms and pkcs11-retry-ms)",
                    pool->slot->token.label, patience_ms);
    return RV_SESSIONS_BUSY;
}

/* Waits in the order of arrival; however often, until one deadline. *claimed stays false where the
 * module went down meanwhile. */
static CK_RV keeper_wait(struct pool *pool, struct making *making, struct claim *claim,
                         bool *claimed)
{
    struct waiter self = { .served = false };
    bool in_time = true;

    if (making->deadline == 0)
        making->deadline = clock_ns() + making->patience_ms * NS_PER_MS;
    queue_add(&pool->makers, &self, making->again);
    pool_makers_serve(pool);
    while (!self.served && in_time && module_ready(pool_module(pool)))
        in_time = mutex_wait_until(&pool->mutex, &self.turn, making->deadline) ||
                  clock_ns() < making->deadline;
    if (!self.served) {
        queue_remove(&pool->makers, &self);
        pool_makers_serve(pool);
    }
    (void)pthread_cond_destroy(&self.turn);
    *claim = self.claim;
    *claimed = self.served;
    return self.served || in_time ? CKR_OK : overdue(pool, making->patience_ms);
}

/* Without the mutex, as what follows unless it says otherwise. */
static CK_RV keeper_claim(struct pool *pool, struct making *making, struct claim *claim)
{
    bool any = making->patience_ms != 0, claimed = false;
    CK_RV rv = CKR_OK;

    while (rv == CKR_OK && !claimed) {
        rv = pool_mutex_take_ready(pool);
        if (rv != CKR_OK)
            return rv;
        claimed = !making->again && pool->makers.first == NULL && keeper_make(pool, any, claim);
        if (!claimed)
            rv = any ? keeper_wait(pool, making, claim, &claimed) : overdue(pool, 0);
        pool_release(pool);
    }
    return rv;
}

/* Closes an idle session, but not the last that is not lent: false where none can be spared. */
static bool make_way(struct pool *pool)
{
    struct session *session = NULL;
    bool spared;

    mutex_take(&pool->mutex);
    if (own_sessions(pool) > 1)
        session = pool_idle_pop(pool, false);
    if (session != NULL) {
        pool->taken++;
        session->spoilt = true;
    }
    spared = session != NULL;
    pool_release(pool);
    session_return(&session);
    return spared;
}

/* Under the mutex, as what follows. One that was lent takes the place beside the pool, where the
 * token has no session for it: the first, since nobody stands there. */
static bool lent_stands_in(struct pool *pool)
{
    struct session *keeper = pool->keepers;

    if (keeper == NULL)
        return false;
    keeper->apart = true;
    pool->lent--;
    pool->open--;
    return true;
}

/* The place for a keeper stays empty. Whether there may be another keeper to wait for. */
static bool keeper_withdraw(struct pool *pool, const struct claim *claim, CK_RV rv)
{
    bool current = claim->epoch == atomic_load(&pool->epoch), again = rv == CKR_SESSION_COUNT;

    if (claim->apart) {
        again = again && current && lent_stands_in(pool);
        pool->apart = again || (pool->apart && !current);
    } else if (current) {
        pool->lent--;
        pool_room_leave(pool);
        if (again)
            pool_squeeze(pool);
    }
    pool_untake(pool);
    pool_offer(pool);
    return again;
}

/* Without the mutex, as what follows. */
static CK_RV keeper_open(struct pool *pool, const struct claim *claim, struct session **out,
                         bool *again)
{
    CK_RV rv = pool_open_new(pool, claim, false, out);

    if (rv == CKR_SESSION_COUNT && claim->apart && make_way(pool))
        rv = pool_open_new(pool, claim, false, out);
    mutex_take(&pool->mutex);
    *again = rv != CKR_OK && keeper_withdraw(pool, claim, rv);
    if (rv == CKR_OK && session_current(*out))
        keeper_add(pool, *out, claim->apart);
    pool_release(pool);
    return rv;
}

CK_RV pool_take_keeper(struct pool *pool, unsigned patience_ms, struct session **out)
{
    struct making making = { .patience_ms = patience_ms };
    struct claim claim;
    bool again;
    CK_RV rv;

    if (call_inside())
        return RV_RECURSION;
    do {
        rv = keeper_claim(pool, &making, &claim);
        if (rv != CKR_OK)
            return rv;
        *out = claim.session;
        if (*out != NULL)
            return CKR_OK;
        rv = keeper_open(pool, &claim, out, &again);
        making.again = true;
    } while (again);
    return rv;
}

/* Under the mutex: one that is given up is not closed yet while there are objects on it: other
 * threads may be in the middle of a call with one. True when it is to be closed now. */
static bool keeper_give_up(struct pool *pool, struct session *keeper)
{
    bool current = session_current(keeper);

    if (current && keeper->objects == 0) {
        keeper_dismiss(pool, keeper);
        return true;
    }
    if (current) {
        keeper_remove(pool, keeper);
        pool->open -= !keeper->apart;
    }
    pool_dispose(pool, keeper, false);
    return false;
}

void pool_keeper_return(struct pool *pool, struct session *keeper)
{
    bool back = false;

    mutex_take(&pool->mutex);
    keeper->busy = false;
    if (keeper->spoilt || !session_current(keeper))
        back = keeper_give_up(pool, keeper);
    else if (!keeper->apart && keeper_free(pool, keeper)) {
        keeper_dismiss(pool, keeper);
        back = true;
    }
    if (!back) {
        pool_untake(pool);
        pool_makers_serve(pool);
    }
    pool_release(pool);
    if (back)
        session_return(&keeper);
}

unsigned long pool_home(struct session *keeper)
{
    struct pool *pool = &keeper->slot->pool;

    mutex_take(&pool->mutex);
    keeper->objects++;
    pool_release(pool);
    return keeper->home;
}

void pool_unhome(struct pool *pool, unsigned long home)
{
    struct session *keeper, *back = NULL;

    if (home == 0 || !module_ready(pool_module(pool)))
        return;
    mutex_take(&pool->mutex);
    keeper = pool->keepers;
    while (keeper != NULL && keeper->home != home)
        keeper = keeper->next;
    if (keeper != NULL && --keeper->objects == 0 && !keeper->apart && keeper_free(pool, keeper)) {
        keeper_dismiss(pool, keeper);
        pool->taken++;
        back = keeper;
    }
    pool_release(pool);
    session_return(&back);
}

void pool_keepers_go_on(struct pool *pool)
{
    struct session *keeper = pool->keepers;

    pool->keepers = NULL;
    pool->lent = 0;
    pool->apart = false;
    for (struct session *next; keeper != NULL; keeper = next) {
        next = keeper->next;
        if (keeper->busy)
            continue;
        keeper->keeper = keeper->apart = false;
        pool_idle_push(pool, keeper);
    }
}

void pool_keeper_spare(struct pool *pool)
{
    struct session *keeper = pool->keepers;

    if (keeper == NULL || !keeper->apart || !keeper_free(pool, keeper))
        return;
    keeper_dismiss(pool, keeper);
    pool_idle_push(pool, keeper);
}
