/* For scripts/stress: linked into pkcs11.so where BRIDGE_YIELD is ON, and nowhere else. The linker
 * puts it in front of the door, of the gate and of every lock (--wrap, CMakeLists.txt), so that
 * src has no trace of it: before and after each of them the thread may lose the processor, or sleep
 * for a moment, at random.
 *
 * BRIDGE_YIELD_SEED: a number; what is random follows from it and from how many threads came here
 * before this one. How often and for how long at most follows from it as well, so that a few seeds
 * try both many short stops and few long ones. One is drawn and told where it is not set. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "instance/config.h"
#include "module/door.h"
#include "module/lock.h"

static uint64_t seed;
static unsigned one_in;     /* of so many places is one where the thread stops */
static uint64_t longest_ns; /* of a sleep */

static _Thread_local uint64_t random_state;

static void seed_read(void)
{
    const char *text = getenv("BRIDGE_YIELD_SEED");

    if (text != NULL)
        seed = strtoull(text, NULL, 10);
    else if (getrandom(&seed, 4, 0) == 4)
        (void)fprintf(stderr, "BRIDGE_YIELD_SEED=%llu\n", (unsigned long long)seed);
    one_in = 2U << seed % 5;
    longest_ns = 20000ULL << 2 * (seed / 5 % 4);
}

/* splitmix64 */
static uint64_t random_next(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static atomic_uint threads;
    uint64_t z;

    (void)pthread_once(&once, seed_read);
    if (random_state == 0)
        random_state = (seed << 16 | atomic_fetch_add(&threads, 1)) * 0xd1342543de82ef95 + 1;
    z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void yield(void)
{
    int kept = errno;
    uint64_t number = random_next();

    if (number % one_in == 0) {
        struct timespec rest = { 0, (long)((number >> 16) % longest_ns) };

        (void)((number >> 8 & 3) == 0 ? nanosleep(&rest, NULL) : sched_yield());
    }
    errno = kept;
}

#define BEFORE(type, function, parameters, arguments)                                              \
    type __real_##function parameters;                                                             \
    type __wrap_##function parameters;                                                             \
    type __wrap_##function parameters                                                              \
    {                                                                                              \
        yield();                                                                                   \
        return __real_##function arguments;                                                        \
    }

#define AROUND(type, function, parameters, arguments)                                              \
    type __real_##function parameters;                                                             \
    type __wrap_##function parameters;                                                             \
    type __wrap_##function parameters                                                              \
    {                                                                                              \
        type result;                                                                               \
                                                                                                   \
        yield();                                                                                   \
        result = __real_##function arguments;                                                      \
        yield();                                                                                   \
        return result;                                                                             \
    }

/* All this takes longer than it does elsewhere, and the waits that a person configures must not be
 * over for that. */
#define PATIENCE      8
#define PATIENCE_MOST 60000

static void stretch(unsigned *ms)
{
    if (*ms < PATIENCE_MOST)
        *ms = *ms * PATIENCE < PATIENCE_MOST ? *ms * PATIENCE : PATIENCE_MOST;
}

bool __real_config_load(config_lookup *lookup, void *arg, struct config *out, char *why,
                        size_t size);
bool __wrap_config_load(config_lookup *lookup, void *arg, struct config *out, char *why,
                        size_t size);
bool __wrap_config_load(config_lookup *lookup, void *arg, struct config *out, char *why,
                        size_t size)
{
    bool ok = __real_config_load(lookup, arg, out, why, size);

    stretch(&out->limits.wait_ms);
    stretch(&out->limits.retry_ms);
    return ok;
}

/* the door: before the call, within the gate, after the call */
AROUND(bool, call_enter, (struct module * module, const char *function), (module, function))
AROUND(CK_RV, call_leave, (CK_RV rv), (rv))

/* the gate */
AROUND(unsigned, gate_pass, (void), ())
BEFORE(void, gate_passed, (const unsigned *entered), (entered))
AROUND(bool, gate_close, (unsigned wait_ms), (wait_ms))
BEFORE(void, gate_open, (void), ())

/* every lock */
AROUND(int, pthread_mutex_lock, (pthread_mutex_t * mutex), (mutex))
AROUND(int, pthread_mutex_trylock, (pthread_mutex_t * mutex), (mutex))
AROUND(int, pthread_mutex_unlock, (pthread_mutex_t * mutex), (mutex))
AROUND(int, pthread_cond_timedwait,
       (pthread_cond_t * condition, pthread_mutex_t *mutex, const struct timespec *deadline),
       (condition, mutex, deadline))
AROUND(int, pthread_cond_signal, (pthread_cond_t * condition), (condition))
AROUND(int, pthread_cond_broadcast, (pthread_cond_t * condition), (condition))
