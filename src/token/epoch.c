/* The ends of a token's epochs, and what becomes of its sessions then. */
#include "token/pool_parts.h"

#include "base/scope.h"
#include "token/slot.h"

void pool_epoch_begin(struct pool *pool)
{
    pool->left = 0;
    atomic_store_explicit(&pool->epoch, epoch_next(), memory_order_release);
}

struct session *pool_epoch_end(struct pool *pool)
{
    struct session *list = pool->idle;

    for (struct session *keeper = pool->keepers, *next; keeper != NULL; keeper = next) {
        next = keeper->next;
        if (keeper->busy)
            continue; /* it is freed by who has it */
        keeper->next = list;
        list = keeper;
    }
    pool->keepers = NULL;
    pool->lent = 0;
    pool->apart = false;
    pool->idle = NULL;
    pool->idle_count = pool->open = pool->closing = pool->opening = 0;
    pool->standing = STRANGER;
    pool_epoch_begin(pool);
    (void)pthread_cond_broadcast(&pool->changed);
    return list;
}

void pool_last_leaves(struct pool *pool, struct session *session)
{
    unsigned long epoch = atomic_load(&pool->epoch);

    pool_members_free(pool, pool_epoch_end(pool));
    pool->left = epoch;
    session->epoch = atomic_load(&pool->epoch);
    pool->open = 1;
}

static void free_list(struct pool *pool, struct session *list)
{
    mutex_take(&pool->mutex);
    pool_members_free(pool, list);
    pool_release(pool);
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
        list = pool_epoch_end(pool);
        pool->mending = true;
    }
    pool_release(pool);
    if (close)
        pool_close_list(pool, list, false);
    else
        free_list(pool, list);
    return first;
}

void pool_mended(struct pool *pool)
{
    mutex_take(&pool->mutex);
    pool->mending = false;
    pool_serve(pool);
    pool_release(pool);
}

/* Under the mutex: sessions that nobody has go on into the next epoch. */
static void idle_go_on(struct pool *pool)
{
    unsigned long epoch = atomic_load(&pool->epoch);

    pool_keepers_go_on(pool);
    for (struct session *session = pool->idle; session != NULL; session = session->next)
        session->epoch = epoch;
    pool->open = pool->idle_count;
    pool->closing = pool->opening = 0;
}

void pool_logged_out(struct pool *pool, unsigned long epoch)
{
    mutex_take(&pool->mutex);
    if (epoch == atomic_load(&pool->epoch) && pool->standing == LOGGED_IN) {
        pool->standing = IDENTIFIED;
        pool_epoch_begin(pool);
        idle_go_on(pool);
        pool_serve(pool);
    }
    pool_release(pool);
}

void pool_forget(struct pool *pool)
{
    mutex_take(&pool->mutex);
    pool_members_free(pool, pool_epoch_end(pool));
    pool_members_free(pool, MOVE(pool->remains));
    atomic_store(&pool->untidy, false);
    pool_serve(pool);
    pool_release(pool);
}

void pool_disown(struct pool *pool)
{
    condition_init(&pool->changed);
    queue_begin(&pool->waiters);
    queue_begin(&pool->makers);
    pool->mending = pool->admitting = pool->awaited = false;
    pool_forget(pool);
    pool->members = NULL; /* those that the parent's threads have */
    pool->taken = pool->squeezed = 0;
}

void pool_leave(struct pool *pool, bool close)
{
    struct session *list;

    mutex_take(&pool->mutex);
    list = pool_epoch_end(pool);
    pool_release(pool);
    if (close)
        pool_close_list(pool, list, true);
    else
        free_list(pool, list);
    if (close)
        pool_tidy(pool);
}
