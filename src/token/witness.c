#include "token/witness.h"

static void tell_until(struct witness *first, const struct witness *end, const struct deed *deed,
                       const struct deed_outcome *outcome)
{
    for (struct witness *witness = first; witness != end; witness = witness->next)
        witness->after(witness, deed, outcome);
}

CK_RV witness_before(struct witness *first, struct deed *deed)
{
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
