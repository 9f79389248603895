/* Sessions for those who want one: an idle one, a new one, or the turn in a queue. */
#include "token/pool_parts.h"

#include <openssl/crypto.h>

#include "base/clock.h"
#include "base/rare.h"
#include "module/call.h"
#include "module/ending.h"
#include "token/slot.h"

/* For so long after those who waited were served, whoever comes takes what is there. With a quick
 * token, most sessions then change hands between threads that run; a hand-over to one that sleeps
 * costs two context switches. */
#define TURN_NS 100000

/* The token had no more sessions, because other processes have them, or those of before a failure.
 * After so long one more is tried; the pause doubles each time that there is none. */
#define PROBE_FIRST_MS 250
#define PROBE_MOST_MS  8000

/* How a session is wanted. */
struct taking {
    bool write;
    bool again;        /* it was its turn before */
    uint64_t deadline; /* clock_ns; 0: it has not had to wait so far */
};

/* Under the mutex, as all that follows down to claim_get. */
unsigned pool_limit_now(const struct pool *pool)
{
    return pool->squeezed != 0 && pool->squeezed < pool->limit ? pool->squeezed : pool->limit;
}

/* Whether one more than the token had last is to be tried. */
static bool probe_due(const struct pool *pool)
{
    return pool->squeezed != 0 && pool->open < pool->limit && clock_ns() >= pool->probe;
}

static void probe_later(struct pool *pool, unsigned ms)
{
    pool->probe_ms = ms;
    pool->probe = clock_ns() + ms * NS_PER_MS;
}

void pool_squeeze(struct pool *pool)
{
    bool probed = pool->squeezed != 0 && pool->open >= pool->squeezed;
    unsigned twice = pool->probe_ms < PROBE_MOST_MS / 2 ? pool->probe_ms * 2 : PROBE_MOST_MS;

    pool->squeezed = pool->open != 0 ? pool->open : 1;
    probe_later(pool, probed ? twice : PROBE_FIRST_MS);
}

/* It has those that are open now, and perhaps more. */
static void stretch(struct pool *pool)
{
    if (pool->squeezed == 0 || pool->open <= pool->squeezed)
        return;
    pool->squeezed = pool->open;
    pool->probe_ms = PROBE_FIRST_MS;
    pool->probe = 0;
}

bool pool_has_room(const struct pool *pool)
{
    return pool->open < pool_limit_now(pool) || probe_due(pool);
}

/* A place to open a session; by one thread at a time where it is beyond what the token had. */
void pool_room_take(struct pool *pool)
{
    pool->open++;
    pool->opening++;
    if (pool->squeezed != 0 && pool->open > pool->squeezed)
        probe_later(pool, pool->probe_ms);
}

void pool_room_leave(struct pool *pool)
{
    pool->open--;
    pool->opening--;
}

/* Whether a session can be had now of a module that is ready: an idle one, or a place to open one.
 */
static bool has_session(const struct pool *pool)
{
    return !pool->mending && (pool->idle != NULL || pool_has_room(pool));
}

static bool can_serve(const struct pool *pool)
{
    return has_session(pool) && module_ready(pool_module(pool));
}

/* An idle session that may write where that is wanted; or NULL. */
static struct session *idle_take(struct pool *pool, bool write)
{
    struct session *session = pool_idle_pop(pool, write);

    if (session == NULL)
        return NULL;
    session->standing = pool->standing;
    pool->taken++;
    return session;
}

static void claim_make(struct pool *pool, bool write, struct claim *claim)
{
    *claim =
        (struct claim){ .session = idle_take(pool, write), .epoch = atomic_load(&pool->epoch) };
    if (claim->session != NULL)
        return;
    pool->taken++;
    if (pool_has_room(pool)) {
        pool_room_take(pool);
    } else {
        claim->in_the_way = pool_idle_pop(pool, false);
        if (pool_is_last(pool))
            pool_last_leaves(pool, claim->in_the_way);
        pool->opening++; /* in its place */
        claim->epoch = atomic_load(&pool->epoch);
    }
}

/* The first of those who are left wakes as well, to come back when it is its turn. */
void pool_serve(struct pool *pool)
{
    bool any = false;

    pool_makers_serve(pool);
    while (pool->waiters.first != NULL && can_serve(pool)) {
        struct waiter *waiter = pool->waiters.first;

        queue_remove(&pool->waiters, waiter);
        claim_make(pool, waiter->write, &waiter->claim);
        waiter->served = any = true;
        (void)pthread_cond_signal(&waiter->turn);
    }
    if (any)
        pool->turn = clock_ns() + TURN_NS;
    if (pool->waiters.first != NULL)
        (void)pthread_cond_signal(&pool->waiters.first->turn);
}

void pool_offer(struct pool *pool)
{
    if (pool->makers.first != NULL)
        pool_makers_serve(pool);
    if (pool->waiters.first != NULL && clock_ns() >= pool->turn)
        pool_serve(pool);
}

static uint64_t sooner(uint64_t time, uint64_t deadline)
{
    return time > clock_ns() && time < deadline ? time : deadline;
}

/* When the waiter shall look again if nobody wakes it. */
static uint64_t next_look(const struct pool *pool, const struct waiter *waiter, uint64_t deadline)
{
    if (pool->waiters.first != waiter)
        return deadline;
    if (pool->squeezed != 0 && pool->open < pool->limit)
        deadline = sooner(pool->probe, deadline);
    return sooner(pool->turn, deadline);
}

static CK_RV busy(const struct pool *pool)
{
    if (pool->mending)
        call_detail_set("the token '%s' failed and does not answer; nobody waits for it longer "
                        "than %u ms (pkcs11-session-wait-ms)",
                        pool->slot->token.label, pool->wait_ms);
    else if (pool->squeezed != 0)
        call_detail_set("all %u sessions that the token '%s' had for this process were busy for "
                        "%u ms (pkcs11-session-wait-ms); lower pkcs11-sessions-max in others",
                        pool->open, pool->slot->token.label, pool->wait_ms);
    else
        call_detail_set("all %u sessions with the token '%s' were busy for %u ms; raise "
                        "pkcs11-sessions-max, or pkcs11-session-wait-ms",
                        pool->open, pool->slot->token.label, pool->wait_ms);
    return RV_SESSIONS_BUSY;
}

static void count_wait(const struct pool *pool, uint64_t began, CK_RV rv)
{
    const struct meter_event event = { .family = SERIES_WAIT,
                                       .token = pool->slot->token.label,
                                       .mechanism = SERIES_NOTHING,
                                       .result = rv,
                                       .ns = clock_ns() - began,
                                       .tries = 1 };

    if (meter_is_on())
        meter_count(&event);
}

/* Waits in the order of arrival, but for one that was first before; however often, until one
 * deadline. *served stays false where the module went down meanwhile. */
static CK_RV queue(struct pool *pool, struct taking *taking, struct claim *claim, bool *served)
{
    struct waiter self = { .write = taking->write };
    uint64_t began = clock_ns();
    bool in_time = true;
    CK_RV rv;

    if (taking->deadline == 0)
        taking->deadline = began + pool->wait_ms * NS_PER_MS;
    queue_add(&pool->waiters, &self, taking->again);
    pool_offer(pool);
    while (!self.served && in_time && module_ready(pool_module(pool))) {
        (void)mutex_wait_until(&pool->mutex, &self.turn, next_look(pool, &self, taking->deadline));
        pool_offer(pool);
        in_time = clock_ns() < taking->deadline;
    }
    if (!self.served) {
        queue_remove(&pool->waiters, &self);
        pool_serve(pool);
    }
    (void)pthread_cond_destroy(&self.turn);
    *claim = self.claim;
    *served = self.served;
    rv = self.served || in_time ? CKR_OK : busy(pool);
    count_wait(pool, began, rv);
    return rv;
}

CK_RV pool_mutex_take_ready(struct pool *pool)
{
    mutex_take(&pool->mutex);
    while (!module_ready(pool_module(pool))) {
        CK_RV rv;

        pool_release(pool);
        rv = module_start(pool_module(pool));
        if (rv != CKR_OK)
            return rv;
        mutex_take(&pool->mutex);
    }
    return CKR_OK;
}

/* Without the mutex. */
static CK_RV claim_get(struct pool *pool, struct taking *taking, struct claim *claim)
{
    bool served = false;
    CK_RV rv = CKR_OK;

    while (rv == CKR_OK && !served) {
        rv = pool_mutex_take_ready(pool);
        if (rv != CKR_OK)
            return rv;
        served = has_session(pool) &&
                 (taking->again || pool->waiters.first == NULL || clock_ns() < pool->turn);
        if (served)
            claim_make(pool, taking->write, claim);
        else
            rv = queue(pool, taking, claim, &served);
        pool_release(pool);
    }
    return rv;
}

void pool_untake(struct pool *pool)
{
    if (--pool->taken == 0 && pool->awaited)
        (void)pthread_cond_broadcast(&pool->changed);
}

/* The place is free again. True when the token has no more than the sessions that there are, to be
 * waited for. */
static bool place_release(struct pool *pool, unsigned long epoch, CK_RV rv)
{
    bool full;

    mutex_take(&pool->mutex);
    if (epoch == atomic_load(&pool->epoch))
        pool_room_leave(pool);
    if (rv == CKR_SESSION_COUNT)
        pool_keeper_spare(pool);
    full = rv == CKR_SESSION_COUNT && pool->open > 0;
    if (full)
        pool_squeeze(pool);
    pool_untake(pool);
    pool_offer(pool);
    pool_release(pool);
    if (rv == CKR_SESSION_COUNT && atomic_load(&pool->untidy))
        pool_tidy(pool);
    return full;
}

static struct session *session_new(struct pool *pool, const struct claim *claim, bool write)
{
    struct session *session = OPENSSL_zalloc(sizeof(*session));

    if (session != NULL)
        *session = (struct session){ .slot = pool->slot,
                                     .module = pool_module(pool),
                                     .epoch = claim->epoch,
                                     .keeper = claim->keeper,
                                     .now = &pool->epoch,
                                     .write = write };
    return session;
}

CK_RV pool_open_new(struct pool *pool, const struct claim *claim, bool write, struct session **out)
{
    CK_FLAGS flags = CKF_SERIAL_SESSION | (write ? CKF_RW_SESSION : 0);
    struct session *session;
    CK_SLOT_ID id = 0;
    CK_RV rv = slot_find_token(pool->slot, &id);

    if (rv != CKR_OK)
        return rv;
    session = session_new(pool, claim, write);
    rv = session != NULL ? session_open(session, id, flags) : CKR_HOST_MEMORY;
    if (rv != CKR_OK) {
        OPENSSL_free(session);
        return rv;
    }
    mutex_take(&pool->mutex);
    pool_member_add(pool, session);
    if (session_current(session)) {
        pool->opening -= !claim->apart;
        stretch(pool);
    }
    pool_offer(pool);
    if (pool->standing == LOGGED_IN && session_current(session))
        session->standing = LOGGED_IN; /* else the token may be another than the one seen first */
    pool_release(pool);
    *out = session;
    return CKR_OK;
}

/* As most do: there is an idle one, and nobody waits for it. */
static struct session *take_at_once(struct pool *pool, bool write)
{
    struct session *session = NULL;

    mutex_take(&pool->mutex);
    if (pool->waiters.first == NULL && !pool->mending && module_ready(pool_module(pool)))
        session = idle_take(pool, write);
    pool_release(pool);
    return session;
}

RARE static CK_RV take_in_turn(struct pool *pool, bool write, struct session **out)
{
    struct taking taking = { .write = write };
    struct claim claim;
    CK_RV rv;

    do {
        rv = claim_get(pool, &taking, &claim);
        taking.again = true;
        if (rv != CKR_OK)
            return rv;
        *out = claim.session;
        if (*out != NULL)
            return CKR_OK;
        if (claim.in_the_way != NULL)
            pool_close_and_free(pool, claim.in_the_way);
        rv = pool_open_new(pool, &claim, write, out);
    } while (rv != CKR_OK && place_release(pool, claim.epoch, rv));
    return rv;
}

CK_RV pool_take(struct pool *pool, bool write, struct session **out)
{
    if (call_inside())
        return RV_RECURSION;
    if (ending_begun()) /* nobody waits for a session then */
        return RV_PROCESS_ENDS;
    *out = take_at_once(pool, write);
    return *out != NULL ? CKR_OK : take_in_turn(pool, write, out);
}
