/* How many encryptions a key has behind it, in a file that outlives processes and that they share
 * (pkcs11-gcm-state). Numbers are reserved there before they are used, in blocks: what a process
 * does not use before it ends is wasted, and none is given out twice.
 * docs/adr/0030-aes-gcm-counted.md has the reasons. */
#ifndef BRIDGE_KEY_GCM_STATE_H
#define BRIDGE_KEY_GCM_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

#define GCM_ID_LEN     32U
#define GCM_MOST       (UINT64_C(1) << 32) /* encryptions with a key: SP 800-38D §8.3 */
#define GCM_BLOCK_MOST 4096U               /* numbers that one fsync is for */

/* What the file has: text of GCM_RECORD_LEN bytes in one form alone. */
struct gcm_record {
    uint8_t id[GCM_ID_LEN]; /* which key: its file is named for it */
    uint64_t base;          /* random, drawn with the file: the counters of IVs begin there */
    uint64_t reserved;      /* numbers below this are given out, or wasted */
};

#define GCM_RECORD_LEN (22U + 69 + 22 + 30 + 15)

/* text: GCM_RECORD_LEN bytes and a NUL. */
void gcm_record_write(const struct gcm_record *record, char *text);

/* False where text is not, byte for byte, what gcm_record_write makes of a record. */
bool gcm_record_read(struct view text, struct gcm_record *out);

/* How many numbers to reserve, of those from reserved to limit: less towards the end, so that none
 * of several processes has all that are left. 0: there are no more. */
uint64_t gcm_block_size(uint64_t reserved, uint64_t limit);

struct gcm_reservation {
    /* asked */
    const char *dir;
    const uint8_t *id;    /* GCM_ID_LEN bytes */
    uint64_t base;        /* for a file that is not there yet */
    uint64_t limit, seen; /* seen: the end of what this process got last; 0: nothing */
    /* answered */
    uint64_t first, end; /* the numbers from first to before end; none where the limit is reached */
    char why[512];       /* a sentence, where it failed */
};

/* Reserves a block and sets first, end and base, which is the file's. False with why set: the file
 * is damaged, gone, older than what was seen, or cannot be written; then nothing may be encrypted.
 * Waits for other processes, for no longer than 10 seconds. Nobody's locks may be held. */
bool gcm_state_reserve(struct gcm_reservation *reservation);

#endif
