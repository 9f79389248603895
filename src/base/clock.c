#include "base/clock.h"

#include <errno.h>
#include <time.h>

#define REST_NS 200000

static struct timespec now(clockid_t clock)
{
    struct timespec time = { 0, 0 };

    (void)clock_gettime(clock, &time);
    return time;
}

static uint64_t nanoseconds(struct timespec time)
{
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

uint64_t clock_ms(void)
{
    return clock_ns() / NS_PER_MS;
}

uint64_t clock_ns(void)
{
    return nanoseconds(now(CLOCK_MONOTONIC));
}

uint64_t clock_ms_coarse(void)
{
    return nanoseconds(now(CLOCK_MONOTONIC_COARSE)) / NS_PER_MS;
}

void clock_sleep_ms(uint64_t ms)
{
    struct timespec rest = { (time_t)(ms / 1000), (long)(ms % 1000) * (long)NS_PER_MS };

    while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
        ;
}

void clock_rest(void)
{
    const struct timespec rest = { 0, REST_NS };

    (void)nanosleep(&rest, NULL);
}
