/* What the processes of a directory counted, added up. A process that is over leaves its file
 * behind; it is added to the one file that has the sum of the dead, and removed. Of files nothing
 * is believed: they may be another user's. */
#ifndef BRIDGE_SUM_H
#define BRIDGE_SUM_H

#include <stdbool.h>
#include <stddef.h>

#include "meter/page.h"

#define METER_SUFFIX ".meter"

struct sum {
    struct series *list;
    size_t count, room;
    uint32_t *index; /* where a series is in list, and one more, by its labels; 2 * room of them */
    unsigned processes; /* that live */
};

void sum_clear(struct sum *sum);

/* Adds to sum what is counted under the same labels, or a series that has them. False when memory
 * is short. */
bool sum_add(struct sum *sum, const struct series *series);

/* All that is ready in a page of count series; state: also what is no count. */
bool sum_add_page(struct sum *sum, const struct page *page, size_t count, bool state);

/* Everything in dir. False with a sentence in why (size bytes). */
bool sum_dir(struct sum *sum, const char *dir, char *why, size_t size);

/* Adds the files of processes that are over to the sum of the dead, and removes them; where that
 * is not possible, or another is at it, they stay. At most some at a time. */
void meter_retire(const char *dir);

/* When the process began (proc(5), stat, field 22); 0 where there is none. */
uint64_t process_began(uint64_t pid);

#endif
