#include "token/crew.h"

#include <signal.h>
#include <stdlib.h>

#include <openssl/err.h>

#include "module/lock.h"
#include "base/clock.h"
#include "token/slot.h"

#define IDLE_MS 5000

/* Under the lock: threads in the middle of an errand, in all slots of this process. */
static unsigned busy;
static unsigned busy_generation; /* lock_generation() of them, and one more */
static pthread_cond_t all_done;

/* At exit, no thread of ours shall be inside a module whose destructors run. */
#define EXIT_WAIT_MS 1000
static bool process_ends;

static void wait_for_crews(void)
{
    uint64_t deadline = clock_ms() + EXIT_WAIT_MS;

    if (!lock_take_within(EXIT_WAIT_MS))
        return;
    process_ends = true;
    while (busy != 0 && busy_generation == lock_generation() + 1 &&
           lock_wait_until(&all_done, deadline))
        ;
    lock_release();
}

/* Registered after the module was loaded, it runs before the module's own. */
static void register_exit(void)
{
    (void)atexit(wait_for_crews);
}

/* Under the lock: the next errand, or NULL when the thread shall end. */
static struct errand *take(struct crew *crew)
{
    uint64_t deadline = clock_ms() + IDLE_MS;
    struct errand *errand;
    bool in_time = true;

    crew->idle++;
    while (crew->first == NULL && in_time)
        in_time = lock_wait_until(&crew->work, deadline);
    crew->idle--;
    errand = process_ends ? NULL : crew->first;
    if (errand == NULL)
        return NULL;
    crew->first = errand->next;
    crew->waiting--;
    busy++;
    return errand;
}

static void *work(void *arg)
{
    struct slot *slot = arg;
    struct errand *errand;

    lock_take();
    while ((errand = take(&slot->crew)) != NULL) {
        lock_release();
        errand->run(errand);
        ERR_clear_error();
        lock_take();
        if (--busy == 0)
            (void)pthread_cond_broadcast(&all_done);
    }
    slot->crew.workers--;
    lock_release();
    return NULL;
}

/* With all signals blocked, which are for the program's own threads. */
static bool start_thread(struct slot *slot)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    bool ok;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    ok = pthread_create(&thread, &attributes, work, slot) == 0;
    (void)pthread_attr_destroy(&attributes);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

/* Under the lock: a process that was forked has no threads, and what waits is its parent's. */
static void crew_begin(struct crew *crew)
{
    unsigned generation = lock_generation() + 1;

    if (crew->generation != generation) {
        *crew = (struct crew){ .generation = generation };
        condition_init(&crew->work);
    }
    if (busy_generation != generation) {
        busy_generation = generation;
        busy = 0;
        condition_init(&all_done);
    }
}

static void append(struct crew *crew, struct errand *errand)
{
    errand->next = NULL;
    if (crew->first == NULL)
        crew->first = errand;
    else
        crew->last->next = errand;
    crew->last = errand;
    crew->waiting++;
}

/* Under the lock: false when errand is not waiting any more. */
static bool withdraw(struct crew *crew, const struct errand *errand)
{
    struct errand **position = &crew->first;

    while (*position != NULL && *position != errand)
        position = &(*position)->next;
    if (*position == NULL)
        return false;
    *position = errand->next;
    crew->waiting--;
    for (crew->last = crew->first; crew->last != NULL && crew->last->next != NULL;)
        crew->last = crew->last->next;
    return true;
}

bool crew_send(struct slot *slot, struct errand *errand)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct crew *crew = &slot->crew;
    bool more, alone, sent = true;

    (void)pthread_once(&once, register_exit);
    lock_take();
    crew_begin(crew);
    append(crew, errand);
    more = crew->waiting > crew->idle && crew->workers < pool_limit(&slot->pool);
    crew->workers += more;
    (void)pthread_cond_signal(&crew->work);
    lock_release();
    if (!more || start_thread(slot))
        return true;
    lock_take();
    alone = --crew->workers == 0;
    if (alone)
        sent = !withdraw(crew, errand);
    lock_release();
    return sent;
}
