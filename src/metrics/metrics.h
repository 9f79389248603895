/* pkcs11-metrics: what this process counts (meter/meter.h), and how it is told. docs/metrics.md has
 * the names. */
#ifndef BRIDGE_METRICS_H
#define BRIDGE_METRICS_H

#include <stdio.h>

#include "meter/sum.h"
#include "token/witness.h"

/* Counts operations, those of witness->next after it. */
void metrics_begin(struct witness *witness, struct witness *next);

/* OpenMetrics 1.0 text. False where out cannot be written to, or memory is short. */
bool metrics_write(const struct sum *sum, FILE *out);

/* That of this process alone; NULL where nothing is counted or memory is short. OPENSSL_free. */
char *metrics_here(void);

#endif
