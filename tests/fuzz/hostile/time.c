/* Time passes by being waited for, so that pauses and deadlines cost none of the fuzzer's: the
 * linker puts these in the place of the functions of libc (--wrap). */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#define NS_PER_S 1000000000LL

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                  const struct timespec *deadline);
int __real_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                  const struct timespec *deadline);

static atomic_llong passed;

static int64_t nanoseconds(const struct timespec *time)
{
    return time->tv_sec * NS_PER_S + time->tv_nsec;
}

static struct timespec timespec_of(int64_t ns)
{
    return (struct timespec){ ns / NS_PER_S, ns % NS_PER_S };
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
    int rc = __real_clock_gettime(clock, time);

    *time = timespec_of(nanoseconds(time) + passed);
    return rc;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    (void)left;
    passed += nanoseconds(time);
    (void)sched_yield();
    return 0;
}

/* Another thread has a moment to do what is waited for. */
#define MOMENT_NS 200000

int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                  const struct timespec *deadline)
{
    struct timespec now, moment;
    int64_t left;

    (void)__wrap_clock_gettime(CLOCK_MONOTONIC, &now);
    left = nanoseconds(deadline) - nanoseconds(&now);
    if (left <= 0)
        return ETIMEDOUT;
    (void)__real_clock_gettime(CLOCK_MONOTONIC, &moment);
    moment = timespec_of(nanoseconds(&moment) + (left < MOMENT_NS ? left : MOMENT_NS));
    if (__real_pthread_cond_timedwait(condition, mutex, &moment) == 0)
        return 0;
    passed += left;
    return ETIMEDOUT;
}
