/* The session that session objects are made on. */
#include "token/pool_parts.h"

#include "base/clock.h"
#include "module/call.h"
#include "token/slot.h"

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
    *claimed = module_ready(pool_module(pool));
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
        session = pool_idle_pop(pool, false);
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
    CK_RV rv = pool_open_new(pool, epoch, false, out);

    if (rv == CKR_SESSION_COUNT && make_way(pool))
        rv = pool_open_new(pool, epoch, false, out);
    mutex_take(&pool->mutex);
    if (rv == CKR_OK) {
        (*out)->keeper = true;
        if (session_current(*out))
            pool->keeper = *out;
    } else {
        pool->keeper_busy = false;
        pool_untake(pool);
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
        rv = pool_mutex_take_ready(pool);
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
void pool_keeper_return(struct pool *pool, struct session *keeper)
{
    bool current = session_current(keeper);

    mutex_take(&pool->mutex);
    if (current && keeper->spoilt)
        pool->keeper = NULL;
    if (pool->keeper != keeper)
        pool_dispose(pool, keeper, false);
    pool->keeper_busy = false;
    pool_untake(pool);
    (void)pthread_cond_broadcast(&pool->changed);
    mutex_release(&pool->mutex);
}
