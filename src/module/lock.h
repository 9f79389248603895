/* Locks that a fork knows of, and the one over modules and slots.
 *
 * Every lock is held for a few instructions at a time and never across a C_* call. A fork takes
 * them all, so that the child finds every list whole, and makes them new in the child. They are
 * taken in this order: the one lock, then one mutex of a token. docs/adr/0003-one-lock.md has the
 * reasons. */
#ifndef BRIDGE_LOCK_H
#define BRIDGE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* The one lock: the list of modules, their slots, and what is asked of them now and then. */
void lock_take(void);
void lock_release(void);

/* False when it stays taken for so long, by a thread that does not go on. */
bool lock_take_within(unsigned wait_ms);

/* Waits on condition with the lock released meanwhile, until deadline (clock_ms of base/clock.h);
 * false when that is over. */
bool lock_wait_until(pthread_cond_t *condition, uint64_t deadline);

/* A token's own: what every operation passes, so that tokens do not wait for each other. It exists
 * until the process ends. No other is taken while it is held. */
struct mutex {
    pthread_mutex_t mutex;
    struct mutex *next; /* of those that a fork takes */
};

/* Under the lock. */
void mutex_begin(struct mutex *mutex);

void mutex_take(struct mutex *mutex);
void mutex_release(struct mutex *mutex);

/* Waits with the mutex released meanwhile, until deadline (clock_ns of base/clock.h); false when
 * that is over. */
bool mutex_wait_until(struct mutex *mutex, pthread_cond_t *condition, uint64_t deadline);

/* Every condition here is made by this: its clock is that of base/clock.h. */
void condition_init(pthread_cond_t *condition);

/* The number of forks between the process that loaded this module and this one. What was set up
 * under another number belongs to an ancestor: it must be left alone and set up anew. */
unsigned lock_generation(void);

#endif
