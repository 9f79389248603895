#include "token/lock.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned generation;

void lock_take(void)
{
    (void)pthread_mutex_lock(&lock);
}

void lock_release(void)
{
    (void)pthread_mutex_unlock(&lock);
}

void lock_wait(pthread_cond_t *condition)
{
    (void)pthread_cond_wait(condition, &lock);
}

unsigned lock_generation(void)
{
    return generation;
}

/* The forking thread holds the lock across fork, so that the child finds every list whole. */
static void child_after_fork(void)
{
    (void)pthread_mutex_init(&lock, NULL);
    generation++;
}

__attribute__((constructor)) static void register_fork_handlers(void)
{
    (void)pthread_atfork(lock_take, lock_release, child_after_fork);
}
