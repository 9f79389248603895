/* Lines of an audit trail (docs/audit.md) as they are read again. What is in a file may be
 * anything. */
#ifndef BRIDGE_CLI_TRAIL_LINE_H
#define BRIDGE_CLI_TRAIL_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "mech/hmac.h"

struct trail_line {
    struct view text;  /* what its link is about: all before ,"link": */
    struct view chain; /* the chain's name; none where the line has no link */
    uint64_t number;   /* in its chain */
    uint8_t link[HMAC_LEN];
    bool end; /* its operation is "end" */
};

/* False where line, without its newline, is no JSON object (RFC 8259) of texts and numbers, or has
 * a part of a link and not all of it. */
bool trail_line_read(struct view line, struct trail_line *out);

#endif
