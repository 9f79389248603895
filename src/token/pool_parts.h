/* What the files of the pool share, and nobody else includes: pool.c has its lists, claim.c gives
 * sessions out, closing.c takes them back, keeper.c has those of session objects, epoch.c ends
 * epochs. All is under the pool's mutex unless it says otherwise. */
#ifndef BRIDGE_POOL_PARTS_H
#define BRIDGE_POOL_PARTS_H

#include "base/rare.h"
#include "meter/meter.h"
#include "token/pool.h"
#include "token/slot.h"

/* What a taker is given: an idle session, or a place to open one, with what must be closed first to
 * make that place. */
struct claim {
    struct session *session, *in_the_way;
    unsigned long epoch;
    bool keeper; /* for one to make objects on */
    bool apart;  /* beside the pool */
};

/* A thread that waits for a session. */
struct waiter {
    struct waiter *next;
    pthread_cond_t turn;
    bool write;
    bool served;
    struct claim claim;
};

static inline struct module *pool_module(const struct pool *pool)
{
    return pool->slot->module;
}

/* The only way to release the pool's mutex: how many sessions there are goes to pkcs11-metrics. */
static inline void pool_release(struct pool *pool)
{
    if (__builtin_expect(meter_is_on(), 0))
        meter_sessions(pool->slot->token.label, pool->open, pool->taken);
    mutex_release(&pool->mutex);
}

/* pool.c: all sessions that have not been freed, and those that nobody has. */
void pool_member_add(struct pool *pool, struct session *session);
void pool_member_free(struct pool *pool, struct session *session);
void pool_members_free(struct pool *pool, struct session *list);

/* Takes one off the list of idle sessions, if there is one that may write where that is wanted. */
struct session *pool_idle_pop(struct pool *pool, bool write);
void pool_idle_push(struct pool *pool, struct session *session);

/* Sessions of this epoch that are there to stay, so far; without the keeper beside the pool. */
unsigned pool_there(const struct pool *pool);

/* Whether no other session will be left when one is closed. The token then logs out, and handles of
 * private objects die (PKCS#11 v3.1 §5.6.2), whatever is being opened meanwhile. */
bool pool_is_last(const struct pool *pool);

/* claim.c. With the mutex held and the module ready; without the mutex when that fails. */
CK_RV pool_mutex_take_ready(struct pool *pool);

/* Gives those who wait what there is; where a session came back, or there is room for one. */
void pool_serve(struct pool *pool);
void pool_offer(struct pool *pool);

/* Somebody has one session less. */
void pool_untake(struct pool *pool);

/* first: before those that wait. */
void queue_begin(struct queue *queue);
void queue_add(struct queue *queue, struct waiter *waiter, bool first);
void queue_remove(struct queue *queue, const struct waiter *waiter);

/* How many sessions the pool may have now; whether one more can be opened, and its place, which is
 * given back where none was opened. */
unsigned pool_limit_now(const struct pool *pool);
bool pool_has_room(const struct pool *pool);
void pool_room_take(struct pool *pool);
void pool_room_leave(struct pool *pool);

/* The token has no more sessions than are open now, for a while. */
void pool_squeeze(struct pool *pool);

/* Without the mutex: C_OpenSession; a member once it has its number. */
CK_RV pool_open_new(struct pool *pool, const struct claim *claim, bool write, struct session **out);

/* closing.c. The end of one that nobody has, or what remains of it. */
void pool_dispose(struct pool *pool, struct session *session, bool closed);

/* Without the mutex, as the rest of closing.c. Closes those that nobody has; those that it may not
 * close, and those after one that the token did not answer for, remain: each call might take its
 * time. */
void pool_close_and_free(struct pool *pool, struct session *session);
void pool_close_list(struct pool *pool, struct session *list, bool keepers);

/* The token works again: what remained is closed. */
void pool_tidy(struct pool *pool);

/* keeper.c. Gives those who want to make objects a keeper, as far as there are. */
void pool_makers_serve(struct pool *pool);

/* The user was logged out and session objects are gone: keepers that nobody has are idle sessions.
 */
void pool_keepers_go_on(struct pool *pool);

/* The token is short of sessions: so is the keeper beside the pool, where it has no objects. */
void pool_keeper_spare(struct pool *pool);

/* Without the mutex: takes one back. */
RARE void pool_keeper_return(struct pool *pool, struct session *keeper);

/* epoch.c */
void pool_epoch_begin(struct pool *pool);

/* A new epoch: what was known of the token and its sessions is void. The list of those that nobody
 * has, keepers first. */
struct session *pool_epoch_end(struct pool *pool);

/* The end of the epoch by the closing of its last session, which is the first of the next. */
void pool_last_leaves(struct pool *pool, struct session *session);

#endif
