/* The audit trail of a provider: a witness that writes a line for each use of a private or secret
 * key, each login, each key that is made or deleted. docs/audit.md describes the lines. Nothing
 * that is signed, decrypted or agreed on, and no PIN, comes here. */
#ifndef BRIDGE_AUDIT_H
#define BRIDGE_AUDIT_H

#include "audit/trail.h"
#include "token/witness.h"

struct audit {
    struct witness witness;
    struct trail *trail;
    bool required; /* what is not recorded is not done: a line before it and one behind it */
};

struct audit_config {
    char *where; /* NULL: there is none */
    bool chained, required;
    unsigned wait_ms;
};

/* False when memory is short. */
bool audit_begin(struct audit *audit, const struct audit_config *config);

/* NULL where there is none. */
static inline struct witness *audit_witness(struct audit *audit)
{
    return audit->trail != NULL ? &audit->witness : NULL;
}

#endif
