#include "token/pool.h"

#include <openssl/crypto.h>

#include "base/clock.h"
#include "base/scope.h"
#include "module/call.h"
#include "module/ending.h"
#include "token/slot.h"

/* For so long after those who waited were served, whoever comes takes what is there. With a quick
 * token, most sessions then change hands between threads that run; a hand-over to one that sleeps
 * costs two context switches. */
#define TURN_NS 100000

/* What a taker is given: an idle session, or a place to open one, with what must be closed first to
 * make that place. */
struct claim {
    struct session *session, *in_the_way;
    unsigned long epoch;
};

/* A thread that waits for a session. */
struct waiter {
    struct waiter *next;
    pthread_cond_t turn;
    bool write;
    bool served;
    struct claim claim;
};

static struct module *module_of(const struct pool *pool)
{
    return pool->slot->module;
}

static void epoch_begin(struct pool *pool)
{
    pool->left = 0;
    atomic_store_explicit(&pool->epoch, epoch_next(), memory_order_release);
}

void pool_begin(struct pool *pool, struct slot *slot)
{
    pool->slot = slot;
    pool->waiters_end = &pool->waiters;
    mutex_begin(&pool->mutex);
    condition_init(&pool->changed);
    epoch_begin(pool);
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
    mutex_release(&pool->mutex);
}

/* Under the mutex, as all that follows down to pool_take unless it says otherwise. */
static void member_add(struct pool *pool, struct session *session)
{
    session->peer = pool->members;
    pool->members = session;
}

static void member_free(struct pool *pool, struct session *session)
{
    struct session **position = &pool->members;

    while (*position != NULL && *position != session)
        position = &(*position)->peer;
    if (*position != NULL)
        *position = session->peer;
    pool->squeezed = 0;
    OPENSSL_free(session);
}

static void members_free(struct pool *pool, struct session *list)
{
    while (list != NULL) {
        struct session *next = list->next;

        member_free(pool, list);
        list = next;
    }
}

/* Takes one off the list of idle sessions, if there is one that may write where that is wanted. */
static struct session *idle_pop(struct pool *pool, bool write)
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

static void idle_push(struct pool *pool, struct session *session)
{
    session->next = pool->idle;
    pool->idle = session;
    pool->idle_count++;
}

/* A new epoch: what was known of the token and its sessions is void. The list of those that nobody
 * has, the keeper first. */
static struct session *epoch_end(struct pool *pool)
{
    struct session *list = pool->idle;

    if (pool->keeper != NULL && !pool->keeper_busy) {
        pool->keeper->next = list;
        list = pool->keeper;
    }
    pool->keeper = NULL; /* a busy one is freed by who has it */
    pool->idle = NULL;
    pool->idle_count = pool->open = pool->closing = 0;
    pool->standing = STRANGER;
    epoch_begin(pool);
    (void)pthread_cond_broadcast(&pool->changed);
    return list;
}

/* Whether no other session will be left when one is closed. The token then logs out, and handles of
 * private objects die (PKCS#11 v3.1 §5.6.2). */
static bool is_last(const struct pool *pool)
{
    return pool->open - pool->closing == 1 && pool->keeper == NULL;
}

/* The end of the epoch by the closing of its last session, which is the first of the next. */
static void last_leaves(struct pool *pool, struct session *session)
{
    unsigned long epoch = atomic_load(&pool->epoch);

    members_free(pool, epoch_end(pool));
    pool->left = epoch;
    session->epoch = atomic_load(&pool->epoch);
    pool->open = 1;
}

static bool has_room(const struct pool *pool)
{
    return pool->open < pool->limit && (pool->squeezed == 0 || pool->open < pool->squeezed);
}

/* Whether a session can be had now: an idle one, or a place to open one. */
static bool can_serve(const struct pool *pool)
{
    return !pool->mending && (pool->idle != NULL || has_room(pool)) &&
           module_ready(module_of(pool));
}

static void claim_make(struct pool *pool, bool write, struct claim *claim)
{
    *claim = (struct claim){ .session = idle_pop(pool, write) };
    pool->taken++;
    if (claim->session != NULL) {
        claim->session->standing = pool->standing;
    } else if (has_room(pool)) {
        pool->open++;
    } else {
        claim->in_the_way = idle_pop(pool, false);
        if (is_last(pool))
            last_leaves(pool, claim->in_the_way);
    }
    claim->epoch = atomic_load(&pool->epoch);
}

/* Gives those who wait what there is. The first of those who are left wakes as well, to come back
 * when it is its turn. */
static void serve(struct pool *pool)
{
    bool any = false;

    while (pool->waiters != NULL && can_serve(pool)) {
        struct waiter *waiter = pool->waiters;

        pool->waiters = waiter->next;
        claim_make(pool, waiter->write, &waiter->claim);
        waiter->served = any = true;
        (void)pthread_cond_signal(&waiter->turn);
    }
    if (any)
        pool->turn = clock_ns() + TURN_NS;
    if (pool->waiters == NULL)
        pool->waiters_end = &pool->waiters;
    else
        (void)pthread_cond_signal(&pool->waiters->turn);
}

/* A session came back, or there is room for one. */
static void offer(struct pool *pool)
{
    if (pool->waiters != NULL && clock_ns() >= pool->turn)
        serve(pool);
}

static void waiter_append(struct pool *pool, struct waiter *waiter)
{
    condition_init(&waiter->turn);
    *pool->waiters_end = waiter;
    pool->waiters_end = &waiter->next;
}

static void waiter_remove(struct pool *pool, const struct waiter *waiter)
{
    struct waiter **position = &pool->waiters;

    while (*position != NULL && *position != waiter)
        position = &(*position)->next;
    if (*position == waiter)
        *position = waiter->next;
    if (*position == NULL)
        pool->waiters_end = position;
    serve(pool);
}

/* When the waiter shall look again if nobody wakes it. */
static uint64_t next_look(const struct pool *pool, const struct waiter *waiter, uint64_t deadline)
{
    bool first = pool->waiters == waiter;

    return first && pool->turn > clock_ns() && pool->turn < deadline ? pool->turn : deadline;
}

static CK_RV busy(const struct pool *pool)
{
    if (pool->mending)
        call_detail_set("the token '%s' failed and does not answer; nobody waits for it longer "
                        "than %u ms (pkcs11-session-wait-ms)",
                        pool->slot->token.label, pool->wait_ms);
    else
        call_detail_set("all %u sessions with the token '%s' were busy for %u ms; raise "
                        "pkcs11-sessions-max, or pkcs11-session-wait-ms",
                        pool->open, pool->slot->token.label, pool->wait_ms);
    return RV_SESSIONS_BUSY;
}

/* Waits in the order of arrival. *served stays false where the module went down meanwhile. */
static CK_RV queue(struct pool *pool, bool write, struct claim *claim, bool *served)
{
    uint64_t deadline = clock_ns() + pool->wait_ms * NS_PER_MS;
    struct waiter self = { .write = write };
    bool in_time = true;

    waiter_append(pool, &self);
    offer(pool);
    while (!self.served && in_time && module_ready(module_of(pool))) {
        (void)mutex_wait_until(&pool->mutex, &self.turn, next_look(pool, &self, deadline));
        offer(pool);
        in_time = clock_ns() < deadline;
    }
    if (!self.served)
        waiter_remove(pool, &self);
    (void)pthread_cond_destroy(&self.turn);
    *claim = self.claim;
    *served = self.served;
    return self.served || in_time ? CKR_OK : busy(pool);
}

/* With the mutex held and the module ready; without the mutex when that fails. */
static CK_RV mutex_take_ready(struct pool *pool)
{
    mutex_take(&pool->mutex);
    while (!module_ready(module_of(pool))) {
        CK_RV rv;

        mutex_release(&pool->mutex);
        rv = module_start(module_of(pool));
        if (rv != CKR_OK)
            return rv;
        mutex_take(&pool->mutex);
    }
    return CKR_OK;
}

/* Without the mutex, as all that follows. */
static CK_RV claim_get(struct pool *pool, bool write, struct claim *claim)
{
    bool served = false;
    CK_RV rv = CKR_OK;

    while (rv == CKR_OK && !served) {
        rv = mutex_take_ready(pool);
        if (rv != CKR_OK)
            return rv;
        served = can_serve(pool) && (pool->waiters == NULL || clock_ns() < pool->turn);
        if (served)
            claim_make(pool, write, claim);
        else
            rv = queue(pool, write, claim, &served);
        mutex_release(&pool->mutex);
    }
    return rv;
}

/* Under the mutex: somebody has one session less. */
static void untake(struct pool *pool)
{
    if (--pool->taken == 0 && pool->awaited)
        (void)pthread_cond_broadcast(&pool->changed);
}

/* Whether what C_CloseSession said leaves no session in the token. */
static bool is_closed(CK_RV rv)
{
    return rv == CKR_OK || rv == CKR_SESSION_HANDLE_INVALID || rv == CKR_SESSION_CLOSED ||
           rv == RV_STALE;
}

/* Under the mutex: the end of one that nobody has, or what remains of it. */
static void dispose(struct pool *pool, struct session *session, bool closed)
{
    if (closed || session->life != atomic_load(&session->module->life)) {
        member_free(pool, session);
        return;
    }
    if (!session->keeper)
        session->epoch = 0; /* not open in the present one, which it may have begun */
    session->remains = true;
    session->next = pool->remains;
    pool->remains = session;
    atomic_store(&pool->untidy, true);
}

static void close_and_free(struct pool *pool, struct session *session)
{
    bool closed = is_closed(session_close_stale(session));

    mutex_take(&pool->mutex);
    dispose(pool, session, closed);
    mutex_release(&pool->mutex);
}

/* Closes those that nobody has; those that it may not close, and those after one that the token did
 * not answer for, remain: each call might take its time. */
static void close_list(struct pool *pool, struct session *list, bool keepers)
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
        dispose(pool, session, closed);
        offer(pool);
        mutex_release(&pool->mutex);
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

/* The token works again. */
static void tidy(struct pool *pool)
{
    struct session *list;

    mutex_take(&pool->mutex);
    list = remains_take(pool);
    mutex_release(&pool->mutex);
    close_list(pool, list, true);
}

/* Under the mutex: whether sessions of before are still with somebody. */
static bool has_outdated(const struct pool *pool)
{
    const struct session *session = pool->members;

    while (session != NULL && session_current(session))
        session = session->peer;
    return session != NULL;
}

/* Under the mutex: the token has no more sessions than are open now, for good or until one of
 * before comes back. */
static void limit_learn(struct pool *pool)
{
    if (has_outdated(pool))
        pool->squeezed = pool->open;
    else
        pool->limit = pool->open;
}

/* The place is free again. On CKR_SESSION_COUNT the limit of the token is learnt. True when there
 * are sessions to wait for. */
static bool place_release(struct pool *pool, unsigned long epoch, CK_RV rv)
{
    bool learnt;

    mutex_take(&pool->mutex);
    if (epoch == atomic_load(&pool->epoch))
        pool->open--;
    learnt = rv == CKR_SESSION_COUNT && pool->open > 0;
    if (learnt)
        limit_learn(pool);
    untake(pool);
    offer(pool);
    mutex_release(&pool->mutex);
    if (rv == CKR_SESSION_COUNT && atomic_load(&pool->untidy))
        tidy(pool);
    return learnt;
}

static struct session *session_new(struct pool *pool, unsigned long epoch, bool write)
{
    struct session *session = OPENSSL_zalloc(sizeof(*session));

    if (session != NULL)
        *session = (struct session){ .slot = pool->slot,
                                     .module = module_of(pool),
                                     .epoch = epoch,
                                     .now = &pool->epoch,
                                     .write = write };
    return session;
}

/* A member once it has its number. */
static CK_RV open_new(struct pool *pool, unsigned long epoch, bool write, struct session **out)
{
    CK_FLAGS flags = CKF_SERIAL_SESSION | (write ? CKF_RW_SESSION : 0);
    struct session *session;
    CK_SLOT_ID id = 0;
    CK_RV rv = slot_find_token(pool->slot, &id);

    if (rv != CKR_OK)
        return rv;
    session = session_new(pool, epoch, write);
    rv = session != NULL ? session_open(session, id, flags) : CKR_HOST_MEMORY;
    if (rv != CKR_OK) {
        OPENSSL_free(session);
        return rv;
    }
    mutex_take(&pool->mutex);
    member_add(pool, session);
    if (pool->standing == LOGGED_IN && session_current(session))
        session->standing = LOGGED_IN; /* else the token may be another than the one seen first */
    mutex_release(&pool->mutex);
    *out = session;
    return CKR_OK;
}

CK_RV pool_take(struct pool *pool, bool write, struct session **out)
{
    struct claim claim;
    CK_RV rv;

    if (call_inside())
        return RV_RECURSION;
    if (ending_begun()) /* nobody waits for a session then */
        return RV_PROCESS_ENDS;
    do {
        rv = claim_get(pool, write, &claim);
        if (rv != CKR_OK)
            return rv;
        *out = claim.session;
        if (*out != NULL)
            return CKR_OK;
        if (claim.in_the_way != NULL)
            close_and_free(pool, claim.in_the_way);
        rv = open_new(pool, claim.epoch, write, out);
    } while (rv != CKR_OK && place_release(pool, claim.epoch, rv));
    return rv;
}

/* Under the mutex: waits for the keeper; claim->session is NULL when it has to be opened. *claimed
 * stays false where the module went down meanwhile. */
static CK_RV keeper_claim(struct pool *pool, unsigned patience_ms, struct claim *claim,
                          bool *claimed)
{
    uint64_t deadline = clock_ns() + patience_ms * NS_PER_MS;

    while (pool->keeper_busy)
        if (!mutex_wait_until(&pool->mutex, &pool->changed, deadline) && pool->keeper_busy) {
            call_detail_set("another thread has been making a key on the token '%s' for %u ms "
                            "(pkcs11-session-wait-ms and pkcs11-retry-ms)",
                            pool->slot->token.label, patience_ms);
            return RV_SESSIONS_BUSY;
        }
    *claimed = module_ready(module_of(pool));
    if (!*claimed)
        return CKR_OK;
    pool->keeper_busy = true;
    pool->taken++;
    *claim = (struct claim){ .session = pool->keeper, .epoch = atomic_load(&pool->epoch) };
    if (pool->keeper != NULL)
        pool->keeper->standing = pool->standing;
    return CKR_OK;
}

/* Closes an idle session, but not the last: false where none can be spared. */
static bool make_way(struct pool *pool)
{
    struct session *session = NULL;
    bool spared;

    mutex_take(&pool->mutex);
    if (pool->open - pool->closing > 1)
        session = idle_pop(pool, false);
    if (session != NULL) {
        pool->taken++;
        session->spoilt = true;
    }
    spared = session != NULL;
    mutex_release(&pool->mutex);
    session_return(&session);
    return spared;
}

/* Beside the pool, not counted in it. */
static CK_RV keeper_open(struct pool *pool, unsigned long epoch, struct session **out)
{
    CK_RV rv = open_new(pool, epoch, false, out);

    if (rv == CKR_SESSION_COUNT && make_way(pool))
        rv = open_new(pool, epoch, false, out);
    mutex_take(&pool->mutex);
    if (rv == CKR_OK) {
        (*out)->keeper = true;
        if (session_current(*out))
            pool->keeper = *out;
    } else {
        pool->keeper_busy = false;
        untake(pool);
        (void)pthread_cond_broadcast(&pool->changed);
    }
    mutex_release(&pool->mutex);
    return rv;
}

CK_RV pool_take_keeper(struct pool *pool, unsigned patience_ms, struct session **out)
{
    struct claim claim;
    bool claimed = false;
    CK_RV rv = call_inside() ? RV_RECURSION : CKR_OK;

    while (rv == CKR_OK && !claimed) {
        rv = mutex_take_ready(pool);
        if (rv != CKR_OK)
            return rv;
        rv = keeper_claim(pool, patience_ms, &claim, &claimed);
        mutex_release(&pool->mutex);
    }
    if (rv != CKR_OK)
        return rv;
    *out = claim.session;
    return *out != NULL ? CKR_OK : keeper_open(pool, claim.epoch, out);
}

/* A spoilt or outdated one is given up but not closed yet: other threads may be in the middle of a
 * call with an object of it. */
static void keeper_return(struct pool *pool, struct session *keeper)
{
    bool current = session_current(keeper);

    mutex_take(&pool->mutex);
    if (current && keeper->spoilt)
        pool->keeper = NULL;
    if (pool->keeper != keeper)
        dispose(pool, keeper, false);
    pool->keeper_busy = false;
    untake(pool);
    (void)pthread_cond_broadcast(&pool->changed);
    mutex_release(&pool->mutex);
}

/* Under the mutex: keeps the session for the next taker, or says that it must be closed. The last
 * one of a logged-in token stays whatever the settings. */
static bool keep(struct pool *pool, struct session *session)
{
    bool wanted =
        pool->idle_count < pool->keep_idle || (pool->standing == LOGGED_IN && is_last(pool));

    if (session->spoilt || !wanted || pool->open > pool->limit || !session_current(session))
        return false;
    idle_push(pool, session);
    untake(pool);
    offer(pool);
    return true;
}

/* Under the mutex, before the session is closed, so that nobody relies on a login that goes with
 * it.
 */
static bool leave(struct pool *pool, struct session *session)
{
    bool current = session_current(session);

    if (current && is_last(pool))
        last_leaves(pool, session);
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
    dispose(pool, session, closed);
    untake(pool);
    offer(pool);
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

static void pooled_return(struct pool *pool, struct session *session)
{
    bool kept, closed, current = false;

    mutex_take(&pool->mutex);
    kept = keep(pool, session);
    if (!kept)
        current = leave(pool, session);
    mutex_release(&pool->mutex);
    if (kept)
        return;
    closed = close_one(session, current);
    mutex_take(&pool->mutex);
    left(pool, session, closed);
    mutex_release(&pool->mutex);
}

void session_return(struct session **held)
{
    struct session *session = *held;
    const char *name = call_name();

    if (session == NULL)
        return;
    *held = NULL;
    if (!session->spoilt &&
        atomic_load_explicit(&session->slot->pool.untidy, memory_order_relaxed) &&
        session_current(session))
        tidy(&session->slot->pool);
    if (session->keeper)
        keeper_return(&session->slot->pool, session);
    else
        pooled_return(&session->slot->pool, session);
    call_named(name); /* an error message is about the call before this one */
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
        call_detail_set("another thread has been logging in to the token '%s' for %u ms "
                        "(pkcs11-session-wait-ms and pkcs11-retry-ms)",
                        pool->slot->token.label, patience_ms);
        rv = RV_SESSIONS_BUSY;
    } else if (!session_current(session)) {
        rv = RV_STALE;
    } else {
        if (pool->standing == LOGGED_IN)
            session->standing = LOGGED_IN;
        *claimed = pool->admitting = session->standing < wanted;
    }
    mutex_release(&pool->mutex);
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
    mutex_release(&pool->mutex);
}

bool pool_knows(const struct pool *pool, struct handle handle)
{
    return !handle_none(handle) && atomic_load(&pool->epoch) == handle.epoch;
}

bool pool_in_use(struct pool *pool)
{
    bool used;

    mutex_take(&pool->mutex);
    used = pool->open != 0 || pool->keeper != NULL;
    mutex_release(&pool->mutex);
    return used;
}

unsigned pool_limit(struct pool *pool)
{
    unsigned limit;

    mutex_take(&pool->mutex);
    limit = pool->limit;
    mutex_release(&pool->mutex);
    return limit;
}

bool pool_has(struct pool *pool, CK_SESSION_HANDLE ck)
{
    struct session *session;

    mutex_take(&pool->mutex);
    session = pool->members;
    while (session != NULL && !(session->ck == ck && session_current(session)))
        session = session->peer;
    mutex_release(&pool->mutex);
    return session != NULL;
}

static void free_list(struct pool *pool, struct session *list)
{
    mutex_take(&pool->mutex);
    members_free(pool, list);
    mutex_release(&pool->mutex);
}

/* Under the mutex: whether a failure in this epoch is still to be mended. The session that failed
 * may have been the last one, which has ended the epoch and mended nothing. */
static bool is_unmended(const struct pool *pool, unsigned long epoch)
{
    return !pool->mending && (epoch == atomic_load(&pool->epoch) || epoch == pool->left);
}

bool pool_mend(struct pool *pool, unsigned long epoch, bool close)
{
    struct session *list = NULL;
    bool first;

    mutex_take(&pool->mutex);
    first = is_unmended(pool, epoch);
    if (first) {
        list = epoch_end(pool);
        pool->mending = true;
    }
    mutex_release(&pool->mutex);
    if (close)
        close_list(pool, list, false);
    else
        free_list(pool, list);
    return first;
}

void pool_mended(struct pool *pool)
{
    mutex_take(&pool->mutex);
    pool->mending = false;
    serve(pool);
    mutex_release(&pool->mutex);
}

/* Under the mutex: sessions that nobody has go on into the next epoch. */
static void idle_go_on(struct pool *pool)
{
    unsigned long epoch = atomic_load(&pool->epoch);

    for (struct session *session = pool->idle; session != NULL; session = session->next)
        session->epoch = epoch;
    pool->open = pool->idle_count;
    pool->closing = 0;
    if (pool->keeper != NULL && !pool->keeper_busy)
        pool->keeper->epoch = epoch;
    else
        pool->keeper = NULL;
}

void pool_logged_out(struct pool *pool, unsigned long epoch)
{
    mutex_take(&pool->mutex);
    if (epoch == atomic_load(&pool->epoch) && pool->standing == LOGGED_IN) {
        pool->standing = IDENTIFIED;
        epoch_begin(pool);
        idle_go_on(pool);
        serve(pool);
    }
    mutex_release(&pool->mutex);
}

void pool_forget(struct pool *pool)
{
    mutex_take(&pool->mutex);
    members_free(pool, epoch_end(pool));
    members_free(pool, MOVE(pool->remains));
    atomic_store(&pool->untidy, false);
    serve(pool);
    mutex_release(&pool->mutex);
}

void pool_disown(struct pool *pool)
{
    condition_init(&pool->changed);
    pool->waiters = NULL;
    pool->waiters_end = &pool->waiters;
    pool->keeper_busy = pool->mending = pool->admitting = pool->awaited = false;
    pool_forget(pool);
    pool->members = NULL; /* those that the parent's threads have */
    pool->taken = pool->squeezed = 0;
}

void pool_leave(struct pool *pool, bool close)
{
    struct session *list;

    mutex_take(&pool->mutex);
    list = epoch_end(pool);
    mutex_release(&pool->mutex);
    if (close)
        close_list(pool, list, true);
    else
        free_list(pool, list);
    if (close)
        tidy(pool);
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
    mutex_release(&pool->mutex);
    return unused;
}
