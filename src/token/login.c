#include "token/login.h"

#include <openssl/crypto.h>

#include "base/clock.h"
#include "base/scope.h"
#include "module/call.h"
#include "module/ckr.h"
#include "module/lock.h"
#include "token/shown.h"
#include "token/slot.h"
#include "token/witness.h"

void login_begin(struct login *login)
{
    login->busy = false;
    condition_init(&login->settled);
}

void login_clear(struct login *login)
{
    secret_free(MOVE(login->pin));
    OPENSSL_free(MOVE(login->pin_file));
}

bool login_refused(const struct slot *slot, const struct pin_source *pins, const struct secret *pin)
{
    uint8_t hash[SHOWN_HASH_LEN];

    return shown_hash(pins->config->libctx, pin, hash) && shown_refused(slot, hash);
}

static bool refuses_pin(CK_RV rv)
{
    return rv == CKR_PIN_INCORRECT || rv == CKR_PIN_INVALID || rv == CKR_PIN_LEN_RANGE;
}

static CK_RV lockout_check(CK_FLAGS flags)
{
    if ((flags & CKF_USER_PIN_LOCKED) != 0)
        return CKR_PIN_LOCKED;
    return (flags & CKF_USER_PIN_FINAL_TRY) != 0 ? RV_PIN_FINAL_TRY : CKR_OK;
}

/* The flags of this moment, if they let a PIN be tried. */
static CK_RV flags_check(struct session *session, const CK_FLAGS *fresh, CK_FLAGS *flags)
{
    CK_RV rv = CKR_OK;

    if (fresh != NULL)
        *flags = *fresh;
    else
        rv = slot_identify(session->slot, session->id, flags);
    return rv == CKR_OK ? lockout_check(*flags) : rv;
}

/* Under the lock: the PIN takes the place of the last, which is left in *old. */
static void pin_keep(struct login *login, struct pin *pin, struct pin *old)
{
    *old = (struct pin){ .secret = login->pin, .file = login->pin_file };
    login->pin = secret_ref(pin->secret);
    login->pin_file = MOVE(pin->file);
    login->pin_listed = pin->listed;
}

/* Under the lock: whether C_Login proved the PIN. Where somebody was logged in already, it is
 * untried, and better than none. */
static bool pin_is_new(const struct login *login, const struct pin *pin, CK_RV rv)
{
    if (login->pin == NULL)
        return rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN;
    return rv == CKR_OK && !secret_equal(login->pin, pin->secret);
}

/* Under the lock: whether it is the PIN that the token took once. One from a file may be corrected
 * there. */
static bool pin_is_void(const struct login *login, const struct pin *pin, CK_RV rv)
{
    return refuses_pin(rv) && login->pin != NULL && login->pin_file == NULL &&
           secret_equal(login->pin, pin->secret);
}

static void pin_remember(struct login *login, struct pin *pin, CK_RV rv)
{
    _cleanup_(pin_scoped) struct pin old = { .secret = NULL }, none = { .secret = NULL };

    lock_take();
    if (pin_is_new(login, pin, rv))
        pin_keep(login, pin, &old);
    else if (pin_is_void(login, pin, rv))
        pin_keep(login, &none, &old);
    lock_release();
}

/* What is shown to a token. */
struct showing {
    struct session *session;
    CK_USER_TYPE user;
    struct pin_source *pins;
    struct pin pin; /* none: the token has a pad */
    uint8_t hash[SHOWN_HASH_LEN];
    struct shown *shown;
    bool lost; /* C_Login failed since the token had lost the session */
};

static void showing_scoped(struct showing *showing)
{
    pin_scoped(&showing->pin);
}

/* Which token, and where a person finds the PIN that is wrong for it. */
static void tell_refusal(const struct showing *showing, const char *before)
{
    const struct pin *pin = &showing->pin;
    const char *label = showing->session->slot->token.label;

    if (pin->secret == NULL)
        call_detail_set("%sit was typed at the token '%s'", before, label);
    else if (pin->file != NULL)
        call_detail_set("%sit was for the token '%s' and came from the file %s (%s): correct it "
                        "there",
                        before, label, pin->file, pin->source);
    else
        call_detail_set("%sit was for the token '%s' and came from %s: correct it there", before,
                        label, pin->source);
}

/* Whether the token may be shown the PIN: what is known of it now. */
static CK_RV showing_check(const struct showing *showing)
{
    CK_RV rv = shown_check(showing->session->slot, showing->hash, showing->pins->operation);

    if (rv == RV_PIN_REFUSED_BEFORE)
        tell_refusal(showing, "the token refused this PIN before, and it is not tried again so "
                              "that the token does not lock; ");
    return rv;
}

static CK_RV showing_find(struct showing *showing)
{
    struct pin_source *pins = showing->pins;
    struct slot *slot = showing->session->slot;
    CK_RV rv = pins_find(slot, pins, &showing->pin), refused;

    if (showing->pin.secret == NULL)
        return rv;
    if (!shown_hash(pins->config->libctx, showing->pin.secret, showing->hash))
        return RV_HOST_LACKS;
    refused = showing_check(showing);
    if (rv == CKR_OK && refused == CKR_OK && showing->pin.alone)
        rv = shown_check_alone(slot, showing->hash);
    return refused != CKR_OK ? refused : rv;
}

/* What another login mends, once in an operation: the session was lost; or nobody is logged in at
 * all, so that there is nobody to log in once more. */
static bool is_pardoned(const struct showing *showing, CK_RV rv)
{
    return showing->lost || (showing->user == CKU_CONTEXT_SPECIFIC && rv == CKR_USER_NOT_LOGGED_IN);
}

static void showing_remember(struct showing *showing, CK_RV rv)
{
    if (rv != CKR_OK && rv != CKR_USER_ALREADY_LOGGED_IN)
        shown_failed(showing->shown, showing->pins->operation, rv,
                     showing->pin.secret != NULL && refuses_pin(rv), is_pardoned(showing, rv));
}

/* The place for the outcome is made before there is one, so that it is never lost. */
static CK_RV showing_prepare(struct showing *showing)
{
    showing->shown = shown_make(showing->session->slot, showing->hash);
    return showing->shown != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

/* Whether it is the session that may have made C_Login fail. */
static bool spoils_session(CK_RV rv)
{
    enum repair repair = ckr_describe(rv)->repair;

    return repair == REPAIR_SESSION || repair == REPAIR_DOUBT;
}

/* Whether the token did not compare the PIN. It was not asked, since its epoch ended in between; or
 * the module does not know what the token's PIN is: it says so or, as SoftHSM where it could not
 * read the token's file, cannot say what token it is either. Then *rv is what it says to that. */
static bool is_unread(const struct session *session, CK_RV *rv)
{
    struct slot *slot = session->slot;
    CK_FLAGS flags;
    CK_RV now;

    if (*rv != CKR_GENERAL_ERROR || !token_is_softhsm(&slot->token.info))
        return *rv == CKR_USER_PIN_NOT_INITIALIZED || rv_is_own(*rv);
    now = slot_identify(slot, session->id, &flags);
    if (now == CKR_OK)
        call_named("C_Login");
    else
        *rv = now;
    return now != CKR_OK;
}

/* Whether the token, before it could compare the PIN, had lost the session: another call has to say
 * so as well. */
static bool is_lost(struct session *session, CK_RV rv)
{
    CK_SESSION_INFO info;
    CK_RV now;

    if (rv != CKR_SESSION_HANDLE_INVALID && rv != CKR_SESSION_CLOSED)
        return false;
    now = session_info(session, &info);
    call_named("C_Login");
    return now == rv || now == RV_STALE;
}

/* The only call of C_Login. */
static CK_RV call(const struct showing *showing)
{
    const struct secret *secret = showing->pin.secret;

    return session_login(showing->session, showing->user,
                         secret != NULL ? secret_data(secret) : NULL,
                         secret != NULL ? secret_len(secret) : 0);
}

/* With what C_Login says in *rv, or that the witness did not let it be called. */
static CK_RV call_witnessed(const struct showing *showing, CK_RV *rv)
{
    const struct session *session = showing->session;
    struct witness *witness = showing->pins->config->witness;
    struct deed deed = { .what = showing->user == CKU_CONTEXT_SPECIFIC ? "login-again" : "login" };
    CK_RV permitted = witness_before(witness, &deed, session->slot);

    if (permitted != CKR_OK)
        return permitted;
    *rv = call(showing);
    witness_after_step(witness, &deed, session, *rv);
    return CKR_OK;
}

static CK_RV show(struct showing *showing)
{
    struct session *session = showing->session;
    struct secret *secret = showing->pin.secret;
    CK_RV rv = CKR_OK, permitted = call_witnessed(showing, &rv);

    if (permitted != CKR_OK)
        return permitted;
    showing->lost = is_lost(session, rv);
    if (!is_unread(session, &rv))
        showing_remember(showing, rv);
    if (refuses_pin(rv))
        tell_refusal(showing, "");
    if (secret != NULL)
        pin_remember(&session->slot->login, &showing->pin, rv);
    session->spoilt = session->spoilt || spoils_session(rv);
    return rv;
}

/* What stands before each C_Login; by one thread for each slot at a time. fresh: the token's flags,
 * where they were asked for just before, or NULL. */
static CK_RV guard(struct session *session, CK_USER_TYPE user, struct pin_source *pins,
                   const CK_FLAGS *fresh)
{
    static const struct pin_config nothing;
    struct pin_source none = { .config = &nothing };
    _cleanup_(showing_scoped) struct showing showing = { .session = session, .user = user };
    CK_FLAGS flags = 0;
    CK_RV rv = flags_check(session, fresh, &flags);

    showing.pins = pins != NULL ? pins : &none;
    pins_number(showing.pins);
    if (rv == CKR_OK && (flags & CKF_PROTECTED_AUTHENTICATION_PATH) == 0)
        rv = showing_find(&showing);
    if (rv == CKR_OK && showing.pin.asked)
        rv = flags_check(session, NULL, &flags);
    if (rv == CKR_OK)
        rv = showing_check(&showing);
    if (rv == CKR_OK)
        rv = showing_prepare(&showing);
    return rv == CKR_OK ? show(&showing) : rv;
}

CK_RV login_overdue(const struct slot *slot, unsigned patience_ms)
{
    call_detail_set("another thread has been logging in to the token '%s' for %u ms "
                    "(pkcs11-session-wait-ms and pkcs11-retry-ms)",
                    slot->token.label, patience_ms);
    return RV_SESSIONS_BUSY;
}

/* Under the lock: waits for the thread that is about to call C_Login, if there is one. */
static CK_RV turn_wait(struct slot *slot)
{
    unsigned patience = slot_patience_ms(slot);
    uint64_t deadline = clock_ms() + patience;

    while (slot->login.busy)
        if (!lock_wait_until(&slot->login.settled, deadline) && slot->login.busy)
            return login_overdue(slot, patience);
    return CKR_OK;
}

/* *waited: flags that were fresh are old now. */
static CK_RV turn_take(struct slot *slot, bool *waited)
{
    CK_RV rv;

    lock_take();
    *waited = slot->login.busy;
    rv = turn_wait(slot);
    if (rv == CKR_OK)
        slot->login.busy = true;
    lock_release();
    return rv;
}

static void turn_end(struct login *login)
{
    lock_take();
    login->busy = false;
    (void)pthread_cond_broadcast(&login->settled);
    lock_release();
}

/* One thread after the other, so that a PIN which was changed costs one try, and not one for each.
 */
static CK_RV guard_in_turn(struct session *session, CK_USER_TYPE user, struct pin_source *pins,
                           const CK_FLAGS *fresh)
{
    struct slot *slot = session->slot;
    bool waited;
    CK_RV rv = turn_take(slot, &waited);

    if (rv != CKR_OK)
        return rv;
    rv = guard(session, user, pins, waited ? NULL : fresh);
    turn_end(&slot->login);
    return rv;
}

CK_RV login_context(struct session *session, struct pin_source *pins)
{
    return guard_in_turn(session, CKU_CONTEXT_SPECIFIC, pins, NULL);
}

CK_RV login_user(struct session *session, struct pin_source *pins, const CK_FLAGS *flags)
{
    CK_RV rv = guard_in_turn(session, atomic_load(&session->module->user), pins, flags);

    if (rv == CKR_OK)
        module_logged_in(session->module);
    return rv == CKR_USER_ALREADY_LOGGED_IN ? CKR_OK : rv;
}

CK_RV login_confirm(struct session *session)
{
    CK_SESSION_INFO info = { 0 };
    CK_RV rv;

    if ((slot_flags(session->slot) & CKF_LOGIN_REQUIRED) == 0)
        return CKR_OK;
    rv = session_info(session, &info);
    if (rv != CKR_OK)
        return rv;
    return info.state == CKS_RO_USER_FUNCTIONS || info.state == CKS_RW_USER_FUNCTIONS
               ? CKR_OK
               : CKR_USER_NOT_LOGGED_IN;
}
