/* Time, by a clock that nobody sets. */
#ifndef BRIDGE_CLOCK_H
#define BRIDGE_CLOCK_H

#include <stdint.h>

#define NS_PER_MS 1000000ULL
#define NS_PER_S  1000000000ULL

uint64_t clock_ms(void);
uint64_t clock_ns(void);

/* Milliseconds, some of them behind, at a fifth of the cost. */
uint64_t clock_ms_coarse(void);

/* Sleeps so long, whatever signals come. */
void clock_sleep_ms(uint64_t ms);

/* Sleeps for a fifth of a millisecond, for those who look again and again. */
void clock_rest(void);

#endif
