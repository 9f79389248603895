/* A chain of lines: each has an HMAC-SHA-256 of its text, with that of the line before it for the
 * key, so that none can be removed or changed without a gap in what is left. docs/audit.md says how
 * it is verified. */
#ifndef BRIDGE_CHAIN_H
#define BRIDGE_CHAIN_H

#include <stddef.h>
#include <stdint.h>

#include "mech/hmac.h"

struct chain {
    char name[48]; /* of its own in all processes */
    uint64_t next; /* the number of the next line; 0 is its head */
    uint8_t last[HMAC_LEN];
};

/* What it adds to a line at most. */
#define CHAIN_ADDS 160

void chain_begin(struct chain *chain);

/* Closes a line, a JSON object without its closing brace: with its link behind it. text has
 * CHAIN_ADDS bytes more than len. Returns the length. chain itself does not go on. */
size_t chain_add(const struct chain *chain, char *text, size_t len, uint8_t *link);

/* The line that has this link is written. */
void chain_go_on(struct chain *chain, const uint8_t *link);

#endif
