#include "token/witness.h"

#include "base/clock.h"
#include "token/slot.h"

static void tell_until(struct witness *first, const struct witness *end, const struct deed *deed,
                       const struct deed_outcome *outcome)
{
    for (struct witness *witness = first; witness != end; witness = witness->next)
        witness->after(witness, deed, outcome);
}

CK_RV witness_before(struct witness *first, struct deed *deed, const struct slot *slot)
{
    deed->slot = slot;
    deed->began = first != NULL ? clock_ns() : 0;
    for (struct witness *witness = first; witness != NULL; witness = witness->next) {
        const struct deed_outcome refused = { .rv = witness->before(witness, deed) };

        if (refused.rv != CKR_OK) {
            tell_until(first, witness, deed, &refused);
            return refused.rv;
        }
    }
    return CKR_OK;
}

void witness_after(struct witness *first, const struct deed *deed,
                   const struct deed_outcome *outcome)
{
    tell_until(first, NULL, deed, outcome);
}

void witness_after_step(struct witness *first, const struct deed *deed,
                        const struct session *session, CK_RV rv)
{
    const struct deed_outcome outcome = {
        .rv = rv, .tries = 1, .session = session->ck, .epoch = session->epoch
    };

    witness_after(first, deed, &outcome);
}
