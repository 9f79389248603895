#include "base/clock.h"
#include "meter/meter.h"
#include "metrics/metrics.h"
#include "token/slot.h"

static CK_RV before(struct witness *witness, struct deed *deed)
{
    (void)witness;
    (void)deed;
    return CKR_OK;
}

static void after(struct witness *witness, const struct deed *deed,
                  const struct deed_outcome *outcome)
{
    CK_MECHANISM_TYPE mechanism;
    const bool has = deed_mechanism(deed, &mechanism);
    const struct meter_event event = { .family = SERIES_OPERATION,
                                       .name = deed->what,
                                       .token = deed->slot->token.label,
                                       .mechanism = has ? mechanism : SERIES_NOTHING,
                                       .result = outcome->rv,
                                       .ns = clock_ns() - deed->began,
                                       .tries = outcome->tries };

    (void)witness;
    meter_count(&event);
}

void metrics_begin(struct witness *witness, struct witness *next)
{
    *witness = (struct witness){ .next = next, .before = before, .after = after };
}
