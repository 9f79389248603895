#include "module/lock.h"

#include <time.h>

#include "meter/meter.h"
#include "base/clock.h"
#include "base/secret.h"
#include "module/call.h"

/* A C_* call that takes longer does not hold up a fork. */
#define FORK_WAIT_MS 2000

/* Held for some hundred instructions at a time: whoever finds it taken spins a little before it
 * sleeps. */
static const pthread_mutex_t fresh = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
static pthread_mutex_t lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
static struct mutex *mutexes; /* under the lock */
static unsigned generation;

void lock_take(void)
{
    (void)pthread_mutex_lock(&lock);
}

bool lock_take_within(unsigned wait_ms)
{
    uint64_t deadline = clock_ms() + wait_ms;

    while (pthread_mutex_trylock(&lock) != 0) {
        if (clock_ms() >= deadline)
            return false;
        clock_rest();
    }
    return true;
}

void lock_release(void)
{
    (void)pthread_mutex_unlock(&lock);
}

unsigned lock_generation(void)
{
    return generation;
}

bool lock_wait_until(pthread_cond_t *condition, uint64_t deadline)
{
    const struct timespec time = { (time_t)(deadline / 1000), (long)(deadline % 1000) * 1000000 };

    return pthread_cond_timedwait(condition, &lock, &time) == 0;
}

void mutex_begin(struct mutex *mutex)
{
    mutex->mutex = fresh;
    mutex->next = mutexes;
    mutexes = mutex;
}

void mutex_take(struct mutex *mutex)
{
    (void)pthread_mutex_lock(&mutex->mutex);
}

void mutex_release(struct mutex *mutex)
{
    (void)pthread_mutex_unlock(&mutex->mutex);
}

bool mutex_wait_until(struct mutex *mutex, pthread_cond_t *condition, uint64_t deadline)
{
    const struct timespec time = { (time_t)(deadline / NS_PER_S), (long)(deadline % NS_PER_S) };

    return pthread_cond_timedwait(condition, &mutex->mutex, &time) == 0;
}

void condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(condition, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

/* No thread is in the middle of a call while the process forks, so that the child finds no lock of
 * a module taken by a thread that it does not have; and the forking thread holds all locks, so that
 * the child finds every list whole. */
static void before_fork(void)
{
    (void)gate_close(FORK_WAIT_MS);
    lock_take();
    for (struct mutex *mutex = mutexes; mutex != NULL; mutex = mutex->next)
        mutex_take(mutex);
    secrets_before_fork();
}

static void parent_after_fork(void)
{
    secrets_after_fork();
    for (struct mutex *mutex = mutexes; mutex != NULL; mutex = mutex->next)
        mutex_release(mutex);
    lock_release();
    gate_open();
}

static void child_after_fork(void)
{
    for (struct mutex *mutex = mutexes; mutex != NULL; mutex = mutex->next)
        mutex->mutex = fresh;
    lock = fresh;
    gate_reset();
    meter_forked();
    secrets_forked();
    generation++;
}

__attribute__((constructor)) static void register_fork_handlers(void)
{
    (void)pthread_atfork(before_fork, parent_after_fork, child_after_fork);
}
