#include "audit/audit.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

#include "audit/line.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "module/call.h"
#include "module/ckr.h"
#include "module/names.h"
#include "token/slot.h"

static struct audit *audit_of(struct witness *witness)
{
    return (struct audit *)((char *)witness - offsetof(struct audit, witness));
}

/* What is known before. */
static void deed_tell(struct line *line, const struct deed *deed, const char *phase)
{
    char serial[TOKEN_SERIAL_MAX];
    CK_MECHANISM_TYPE mechanism;

    line_begin(line, deed->what);
    line_add_number(line, "number", deed->number);
    line_add_text(line, "phase", phase);
    if (deed_mechanism(deed, &mechanism))
        line_add_text(line, "mechanism", mechanism_name(mechanism));
    token_serial(&deed->slot->token, serial);
    line_add_text(line, "serial", serial);
    line_add_text(line, "token", deed->slot->token.label);
    line_add_view(line, "label", deed->object.label);
    line_add_hex(line, "id", deed->object.id);
    line_add_view(line, "with-label", deed->with.label);
    line_add_hex(line, "with-id", deed->with.id);
}

/* An outcome that is none of the module's has no CKR_ name. */
static void result_tell(struct line *line, CK_RV rv)
{
    const struct ckr *ckr = ckr_describe(rv);
    char unknown[32];

    (void)snprintf(unknown, sizeof(unknown), "CKR 0x%08lx", (unsigned long)rv);
    if (ckr->name != NULL || ckr->advice == NULL)
        line_add_text(line, "result", ckr->name != NULL ? ckr->name : unknown);
    else
        line_add_text(line, "result", "none");
    if (rv != CKR_OK && ckr->name == NULL)
        line_add_text(line, "reason", ckr->advice);
    else if (rv != CKR_OK)
        line_add_text(line, "call", call_name());
}

static void outcome_tell(struct line *line, const struct deed *deed,
                         const struct deed_outcome *outcome)
{
    if (outcome->epoch != 0) {
        line_add_number(line, "session", outcome->session);
        line_add_number(line, "epoch", outcome->epoch);
    }
    result_tell(line, outcome->rv);
    line_add_number(line, "ns", clock_ns() - deed->began);
    line_add_number(line, "tries", outcome->tries);
}

static CK_RV refuse(const struct trail *trail)
{
    call_detail_set("it cannot be recorded in %s within pkcs11-audit-wait-ms, and "
                    "pkcs11-audit-required = yes forbids it then: see to it that there is room and "
                    "that this user may write there",
                    trail_where(trail));
    return RV_UNRECORDED;
}

static CK_RV before(struct witness *witness, struct deed *deed)
{
    static _Atomic(uint64_t) numbers;
    KEEP_ERRNO;
    const struct audit *audit = audit_of(witness);
    struct line line;

    deed->number = atomic_fetch_add(&numbers, 1) + 1;
    if (!audit->required)
        return CKR_OK;
    deed_tell(&line, deed, "begin");
    return trail_write(audit->trail, line.text, line.len) ? CKR_OK : refuse(audit->trail);
}

static void lost(const struct trail *trail)
{
    char text[512];

    (void)snprintf(text, sizeof(text),
                   "what was done with a key could not be recorded in %s within "
                   "pkcs11-audit-wait-ms (pkcs11-audit)",
                   trail_where(trail));
    log_once(text);
}

static void after(struct witness *witness, const struct deed *deed,
                  const struct deed_outcome *outcome)
{
    KEEP_ERRNO;
    const struct audit *audit = audit_of(witness);
    struct line line;

    deed_tell(&line, deed, audit->required ? "end" : NULL);
    outcome_tell(&line, deed, outcome);
    if (!trail_write(audit->trail, line.text, line.len))
        lost(audit->trail);
}

bool audit_begin(struct audit *audit, const struct audit_config *config)
{
    *audit = (struct audit){ .witness = { .before = before, .after = after },
                             .required = config->required };
    if (config->where == NULL)
        return true;
    audit->trail = trail_get(config->where, config->chained, config->wait_ms);
    return audit->trail != NULL;
}
