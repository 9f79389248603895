/* What this process counts, for pkcs11-metrics. Counting takes no lock and makes no call of the
 * system: a few additions in a file that is mapped, which is there when the process is killed. */
#ifndef BRIDGE_METER_H
#define BRIDGE_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "meter/page.h"

/* Counts from now on into a file in dir, an absolute path, once in a process: the first that works
 * is it for all contexts. False with a sentence in why (size bytes). */
bool meter_begin(const char *dir, char *why, size_t size);

extern atomic_bool meter_on;
static inline bool meter_is_on(void)
{
    return atomic_load_explicit(&meter_on, memory_order_relaxed);
}

/* In the child of a fork: its first count is to go into a file of its own. Where it cannot make
 * one, it goes on in that of its parent, without the state of sessions. */
void meter_forked(void);

struct meter_event {
    enum series_family family;
    const char *name, *token;   /* kept: they last as long as the process; NULL: none */
    uint64_t mechanism, result; /* or SERIES_NOTHING */
    uint64_t ns;
    unsigned tries;
};

void meter_count(const struct meter_event *event);

/* How many sessions there are with the token, and how many of them are in use. Makes no file, since
 * a lock may be held: in the child of a fork, the first count does. */
void meter_sessions(const char *token, unsigned open, unsigned busy);

/* What was counted; NULL before meter_begin. */
const struct page *meter_page(void);

#endif
