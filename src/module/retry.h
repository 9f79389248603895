/* How long, and how often, something that failed is tried again. */
#ifndef BRIDGE_RETRY_H
#define BRIDGE_RETRY_H

#include <stdbool.h>
#include <stdint.h>

struct retry {
    unsigned budget_ms; /* from the first failure on */
    unsigned tries;     /* failures so far */
    uint64_t deadline;  /* clock_ms, once there was a failure */
};

/* After a failure: pauses and says true, or says false when the time is over. The first retry comes
 * at once, whatever the budget, since most failures are mended by then; later ones after pauses
 * that double, up to a quarter of a second, and differ from thread to thread. */
bool retry_pause(struct retry *retry);

#endif
