/* The file of counters of one process, as it is mapped: pkcs11-metrics = DIR, one in DIR for each
 * process that counts. Processes on one machine alone share it: numbers are in its byte order. What
 * comes from a file is checked (meter/sum.h) before it is taken for one. */
#ifndef BRIDGE_PAGE_H
#define BRIDGE_PAGE_H

#include <stdatomic.h>
#include <stdint.h>

#define PAGE_MAGIC   "p11meter"
#define PAGE_VERSION 1
#define PAGE_SERIES  512 /* of a process; what is beyond is counted in the first */
#define PAGE_FILE    64  /* bytes of a file's name, with the NUL behind it */

#define SERIES_TEXT    36 /* bytes of a text, with the NUL behind it */
#define SERIES_NOTHING UINT64_MAX

/* What is counted. */
enum series_family {
    SERIES_OTHER,     /* what has no place any more */
    SERIES_CALL,      /* C_* calls, by function and CKR */
    SERIES_OPERATION, /* uses of keys, logins, ...: by operation, mechanism, token and CKR */
    SERIES_WAIT,      /* for a session, by token and outcome */
    SERIES_RECOVERY,  /* of a token or a module: by token, and the call and CKR that led to it */
    SERIES_SESSIONS,  /* a state, no count: count has those that are open, tries those in use */
    SERIES_FAMILIES
};

/* The upper bounds of a histogram in nanoseconds; the last bucket has what is above them all. */
#define SERIES_BOUNDS  19
#define SERIES_BUCKETS (SERIES_BOUNDS + 1)
#define SERIES_BOUNDS_NS                                                                           \
    {                                                                                              \
        10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000,          \
            25000000, 50000000, 100000000, 250000000, 500000000, 1000000000, 2500000000,           \
            5000000000, 10000000000                                                                \
    }

enum series_state { SERIES_FREE, SERIES_CLAIMED, SERIES_READY };

struct series {
    _Atomic(uint32_t) state;
    uint32_t family;
    char name[SERIES_TEXT];     /* of the function or the operation; "" where there is none */
    char token[SERIES_TEXT];    /* the token's label; "" where there is none */
    uint64_t mechanism, result; /* CKM, CKR; SERIES_NOTHING where there is none */
    _Atomic(uint64_t) count, ns, tries;
    _Atomic(uint64_t) buckets[SERIES_BUCKETS];
};

struct page {
    char magic[8];
    uint32_t version, series_count;
    uint64_t pid, began;    /* when the process began: field 22 of proc(5)'s stat */
    char merged[PAGE_FILE]; /* in the sum of the dead: the file that was added last */
    struct series series[];
};

#endif
