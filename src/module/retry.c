#include "module/retry.h"

#include <errno.h>
#include <time.h>

#define PAUSE_FIRST 4
#define PAUSE_MOST  250

static struct timespec now(clockid_t clock)
{
    struct timespec time = { 0, 0 };

    (void)clock_gettime(clock, &time);
    return time;
}

static uint64_t milliseconds(struct timespec time)
{
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

uint64_t clock_ms(void)
{
    return milliseconds(now(CLOCK_MONOTONIC));
}

uint64_t clock_ms_coarse(void)
{
    return milliseconds(now(CLOCK_MONOTONIC_COARSE));
}

static void sleep_ms(uint64_t ms)
{
    struct timespec rest = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

    while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
        ;
}

/* Half of it to all of it: threads that failed together don't come back together. */
static uint64_t jitter(uint64_t ms)
{
    return ms - (uint64_t)now(CLOCK_MONOTONIC).tv_nsec / 1000 % (ms / 2 + 1);
}

bool retry_pause(struct retry *retry)
{
    uint64_t time = clock_ms(), pause = PAUSE_FIRST;

    if (retry->tries++ == 0) {
        retry->deadline = time + retry->budget_ms;
        return true;
    }
    if (time >= retry->deadline)
        return false;
    for (unsigned n = 2; n < retry->tries && pause < PAUSE_MOST; n++)
        pause *= 2;
    pause = jitter(pause < PAUSE_MOST ? pause : PAUSE_MOST);
    sleep_ms(pause < retry->deadline - time ? pause : retry->deadline - time);
    return true;
}
