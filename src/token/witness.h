/* Who is told what is done with private and secret keys: before it is, and what came of it. The
 * provider's audit trail (audit/audit.h) and its metrics (metrics/metrics.h) are such. */
#ifndef BRIDGE_WITNESS_H
#define BRIDGE_WITNESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "module/cryptoki.h"

struct session;
struct slot;

/* Of an object, as the token or its URI has them; may be none. */
struct names {
    struct view label, id;
};

/* What is done; whoever does it fills it, but for the last three, and keeps it until it is over. */
struct deed {
    const char *what;                   /* "sign", "login", ... */
    const CK_MECHANISM_TYPE *mechanism; /* NULL: none is named; it may be filled in between, and be
                                           CK_UNAVAILABLE_INFORMATION until then */
    struct names object;
    struct names with;       /* the key that it is wrapped with, or derived from */
    const struct slot *slot; /* of the token */
    uint64_t began;          /* clock_ns */
    uint64_t number;         /* of the audit trail */
};

/* What came of it. */
struct deed_outcome {
    CK_RV rv;
    unsigned tries;
    CK_SESSION_HANDLE session; /* the last that it had, and the epoch of that */
    unsigned long epoch;
};

struct witness {
    struct witness *next; /* who is told after it; or NULL */
    /* CKR_OK, or why it must not be done: the token is not asked then, and those who were told
     * before have the refusal for its outcome. */
    CK_RV (*before)(struct witness *witness, struct deed *deed);
    void (*after)(struct witness *witness, const struct deed *deed,
                  const struct deed_outcome *outcome);
};

/* False where there is none, yet. */
static inline bool deed_mechanism(const struct deed *deed, CK_MECHANISM_TYPE *mechanism)
{
    *mechanism = deed->mechanism != NULL ? *deed->mechanism : CK_UNAVAILABLE_INFORMATION;
    return *mechanism != CK_UNAVAILABLE_INFORMATION;
}

/* To all from the first on, if there is one: on the slot, where the deed begins now. */
CK_RV witness_before(struct witness *first, struct deed *deed, const struct slot *slot);
void witness_after(struct witness *first, const struct deed *deed,
                   const struct deed_outcome *outcome);

/* What came of a deed that is one step in the middle of a task, on its session, and not tried
 * again by itself. */
void witness_after_step(struct witness *first, const struct deed *deed,
                        const struct session *session, CK_RV rv);

#endif
