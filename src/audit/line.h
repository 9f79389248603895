/* A line of the audit trail: a JSON object (RFC 8259) that is put together member by member. What
 * comes from a token or a configuration is made printable and cut where it is too long. */
#ifndef BRIDGE_LINE_H
#define BRIDGE_LINE_H

#include <stdint.h>

#include "audit/trail.h"
#include "base/bytes.h"

struct line {
    size_t len;
    char text[TRAIL_LINE_MAX];
};

/* The beginning of each: time, process, thread, program, and what it is about. No member needs a
 * call of libcrypto or a lock of libc. */
void line_begin(struct line *line, const char *operation);

/* key: fixed; NULL and "none" are left out. */
void line_add_text(struct line *line, const char *key, const char *text);
void line_add_view(struct line *line, const char *key, struct view text);
void line_add_hex(struct line *line, const char *key, struct view bytes);
void line_add_number(struct line *line, const char *key, uint64_t number);

#endif
