/* An audit trail: lines that a thread of its own writes, so that whoever has one to write waits for
 * a file system that hangs no longer than it was told to. Contexts that agree on where and how
 * share one; it exists until the process ends. The child of a fork goes on with a thread and, where
 * lines are chained, a chain of its own. */
#ifndef BRIDGE_TRAIL_H
#define BRIDGE_TRAIL_H

#include <stdbool.h>
#include <stddef.h>

struct trail;

/* The longest line, without what a chain adds. */
#define TRAIL_LINE_MAX 2048

/* where: an absolute path, "syslog" or "journald". NULL when memory is short. */
struct trail *trail_get(const char *where, bool chained, unsigned wait_ms);

/* Writes a JSON object, which has everything but its closing brace, and waits until it is written,
 * but no longer than wait_ms: nobody waits while an earlier line is overdue. False when it is not
 * written by then; it may be, later. */
bool trail_write(struct trail *trail, const char *line, size_t len);

/* For messages. */
const char *trail_where(const struct trail *trail);

#endif
