#include "module/retry.h"

#include "base/clock.h"

#define PAUSE_FIRST 4
#define PAUSE_MOST  250

/* Half of it to all of it: threads that failed together don't come back together. */
static uint64_t jitter(uint64_t ms)
{
    return ms - clock_ns() / 1000 % (ms / 2 + 1);
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
    clock_sleep_ms(pause < retry->deadline - time ? pause : retry->deadline - time);
    return true;
}
