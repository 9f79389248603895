#include "token/admit.h"

#include "base/scope.h"
#include "module/call.h"

static enum standing standing_wanted(struct slot *slot, bool login)
{
    return login && (slot_flags(slot) & CKF_LOGIN_REQUIRED) != 0 ? LOGGED_IN : IDENTIFIED;
}

/* What this thread was chosen to do while the others wait: *reached is as far as it got. */
static CK_RV raise_standing(struct session *session, bool login, struct pin_source *pins,
                            enum standing *reached)
{
    struct slot *slot = session->slot;
    CK_FLAGS flags = 0;
    CK_RV rv = slot_identify(slot, session->id, &flags);

    *reached = session->standing;
    if (rv != CKR_OK)
        return rv;
    if (*reached == STRANGER)
        *reached = IDENTIFIED;
    if (standing_wanted(slot, login) == LOGGED_IN)
        rv = login_user(session, pins, &flags);
    if (rv == CKR_OK)
        *reached = standing_wanted(slot, login);
    return rv;
}

static CK_RV admit(struct session *session, bool login, struct pin_source *pins)
{
    struct slot *slot = session->slot;
    enum standing wanted = standing_wanted(slot, login), reached;
    bool claimed;
    CK_RV rv;

    if (session->standing >= wanted)
        return CKR_OK;
    rv = pool_admit(session, wanted, slot_patience_ms(slot), &claimed);
    if (rv != CKR_OK || !claimed)
        return rv;
    rv = raise_standing(session, login, pins, &reached);
    session->spoilt = session->spoilt || reached == STRANGER;
    pool_admitted(session, reached);
    return rv;
}

CK_RV session_take(struct slot *slot, enum purpose purpose, bool login, struct pin_source *pins,
                   struct session **out)
{
    _cleanup_(session_return) struct session *session = NULL;
    CK_RV rv;

    if (purpose == TO_KEEP || purpose == TRY_TO_KEEP)
        rv = pool_take_keeper(&slot->pool, purpose == TO_KEEP ? slot_patience_ms(slot) : 0,
                              &session);
    else
        rv = pool_take(&slot->pool, purpose == TO_WRITE, &session);
    if (rv == CKR_OK)
        rv = admit(session, login, pins);
    if (rv == CKR_OK)
        *out = MOVE(session);
    return rv;
}

bool session_sees_private(const struct session *session)
{
    return session->standing >= standing_wanted(session->slot, true);
}
