/* The crew of a slot: threads that run errands for jobs that are paused meanwhile. They are started
 * when there is work, no more of them than the slot may have sessions, and end when there has been
 * none for some seconds. */
#ifndef BRIDGE_CREW_H
#define BRIDGE_CREW_H

#include <pthread.h>
#include <stdbool.h>

struct slot;

struct errand {
    struct errand *next;
    void (*run)(struct errand *errand); /* on a thread of the crew */
};

/* Under the lock (module/lock.h), part of struct slot; all zeros is an empty one. */
struct crew {
    struct errand *first, *last; /* waiting */
    unsigned waiting;            /* how many */
    unsigned workers, idle;      /* threads, and those of them without work */
    unsigned generation;         /* lock_generation() of the threads, and one more */
    pthread_cond_t work;
};

/* Has errand run by the crew, after those sent before. False when no thread can be had. */
bool crew_send(struct slot *slot, struct errand *errand);

#endif
