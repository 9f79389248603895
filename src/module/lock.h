/* The one lock over everything in token/: the modules, their slots, the pools and the logins.
 *
 * It is held for a few instructions at a time and never across a C_* call. One lock instead of many
 * means that a fork can be made safe (see lock.c) and that there is no order to get wrong.
 * docs/adr/0003-one-lock.md has the reasons and the price. */
#ifndef BRIDGE_LOCK_H
#define BRIDGE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

void lock_take(void);
void lock_release(void);

/* False when it stays taken for so long, by a thread that does not go on. */
bool lock_take_within(unsigned wait_ms);

/* Waits on condition with the lock released meanwhile. */
void lock_wait(pthread_cond_t *condition);

/* The same until deadline (clock_ms of module/retry.h); false when that is over. */
bool lock_wait_until(pthread_cond_t *condition, uint64_t deadline);

/* Every condition here is made by this: its clock is that of clock_ms. */
void condition_init(pthread_cond_t *condition);

/* The number of forks between the process that loaded this module and this one. What was set up
 * under another number belongs to an ancestor: it must be left alone and set up anew. Read under
 * the lock. */
unsigned lock_generation(void);

#endif
