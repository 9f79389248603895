#include "token/login.h"

#include <openssl/crypto.h>

#include "scope.h"
#include "token/call.h"
#include "token/lock.h"
#include "token/session.h"

/* PINs that a token refused, until the process ends. They lie in locked memory. */
struct refused_pin {
    struct refused_pin *next;
    const struct slot *slot;
    struct secret *pin;
};

static struct refused_pin *refused_pins;

/* Under the lock */
static bool pin_refused(const struct slot *slot, const struct secret *pin)
{
    for (struct refused_pin *refused = refused_pins; refused != NULL; refused = refused->next)
        if (refused->slot == slot && secret_equal(refused->pin, pin))
            return true;
    return false;
}

/* Under the lock */
static void pin_refuse(const struct slot *slot, struct secret *pin)
{
    struct refused_pin *refused;

    if (pin_refused(slot, pin))
        return;
    refused = OPENSSL_zalloc(sizeof(*refused));
    if (refused == NULL)
        return;
    refused->slot = slot;
    refused->pin = secret_ref(pin);
    refused->next = refused_pins;
    refused_pins = refused;
}

static CK_RV pin_from_file(const char *path, struct secret **out)
{
    *out = secret_from_file(path);
    return *out != NULL ? CKR_OK : RV_PIN_SOURCE;
}

/* Already logged in, by the program or by an ancestor: the PIN stays untried, and the best there
 * is. */
static bool accepts_pin(CK_RV rv)
{
    return rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN;
}

static struct secret *pin_known(struct slot *slot)
{
    struct secret *pin;

    lock_take();
    pin = secret_ref(slot->pin);
    lock_release();
    return pin;
}

/* The first source that there is. */
static CK_RV pin_find(struct slot *slot, const struct pin_source *pins, struct secret **out)
{
    if (pins != NULL && pins->value != NULL)
        *out = secret_ref(pins->value);
    else if (pins != NULL && pins->file != NULL)
        return pin_from_file(pins->file, out);
    else if ((*out = pin_known(slot)) != NULL)
        return CKR_OK;
    else if (pins != NULL && pins->config != NULL)
        *out = secret_ref(pins->config);
    else if (pins != NULL && pins->config_file != NULL)
        return pin_from_file(pins->config_file, out);
    else if (pins != NULL && pins->ask != NULL)
        *out = pins->ask(pins->ask_arg, &slot->token);
    return *out != NULL ? CKR_OK : RV_PIN_MISSING;
}

static CK_RV pin_check(const struct slot *slot, const struct secret *pin)
{
    CK_RV rv;

    lock_take();
    rv = pin_refused(slot, pin) ? RV_PIN_REFUSED_BEFORE : CKR_OK;
    lock_release();
    return rv;
}

static bool refuses_pin(CK_RV rv)
{
    return rv == CKR_PIN_INCORRECT || rv == CKR_PIN_INVALID || rv == CKR_PIN_LEN_RANGE;
}

/* The token's flags say how near it is to locking. Those of before an earlier C_Login don't count.
 */
static CK_RV flags_refresh(struct slot *slot, CK_FLAGS *flags)
{
    CK_TOKEN_INFO info = { 0 };
    bool fresh;
    CK_RV rv;

    lock_take();
    fresh = slot->flags_fresh;
    slot->flags_fresh = false;
    *flags = slot->flags;
    lock_release();
    if (fresh)
        return CKR_OK;
    rv = P11_CALL(slot->module, C_GetTokenInfo, slot_id(slot), &info);
    *flags = info.flags;
    return rv;
}

static CK_RV lockout_check(CK_FLAGS flags)
{
    if ((flags & CKF_USER_PIN_LOCKED) != 0)
        return CKR_PIN_LOCKED;
    return (flags & CKF_USER_PIN_FINAL_TRY) != 0 ? RV_PIN_FINAL_TRY : CKR_OK;
}

static void pin_remember(struct slot *slot, struct secret *pin, CK_RV rv)
{
    struct secret *old = NULL;

    lock_take();
    if (refuses_pin(rv))
        pin_refuse(slot, pin);
    if (accepts_pin(rv) || refuses_pin(rv)) {
        old = slot->pin;
        slot->pin = accepts_pin(rv) ? secret_ref(pin) : NULL;
    }
    lock_release();
    secret_free(old);
}

static CK_RV login_with_pin(struct session *session, const struct pin_source *pins)
{
    struct slot *slot = session->slot;
    _cleanup_(secret_scoped) struct secret *pin = NULL;
    CK_RV rv = pin_find(slot, pins, &pin);

    if (rv == CKR_OK)
        rv = pin_check(slot, pin);
    if (rv != CKR_OK)
        return rv;
    rv = P11_CALL(slot->module, C_Login, session->handle, CKU_USER,
                  (CK_UTF8CHAR *)(uintptr_t)secret_data(pin), secret_len(pin));
    pin_remember(slot, pin, rv);
    return rv;
}

static CK_RV login_do(struct session *session, const struct pin_source *pins)
{
    struct slot *slot = session->slot;
    CK_FLAGS flags = 0;
    CK_RV rv = flags_refresh(slot, &flags);

    if (rv == CKR_OK)
        rv = lockout_check(flags);
    if (rv != CKR_OK)
        return rv;
    if ((flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0)
        rv = P11_CALL(slot->module, C_Login, session->handle, CKU_USER, NULL, 0);
    else
        rv = login_with_pin(session, pins);
    return rv == CKR_USER_ALREADY_LOGGED_IN ? CKR_OK : rv;
}

/* Under the lock: true when this thread is the one to log in. */
static bool login_claim(struct slot *slot)
{
    while (slot->login == LOGIN_BUSY)
        lock_wait(&slot->changed);
    if (slot->login == LOGIN_IN)
        return false;
    slot->login = LOGIN_BUSY;
    return true;
}

CK_RV login_ensure(struct session *session, const struct pin_source *pins)
{
    struct slot *slot = session->slot;
    bool claimed;
    CK_RV rv;

    if ((slot_flags(slot) & CKF_LOGIN_REQUIRED) == 0)
        return CKR_OK;
    lock_take();
    claimed = login_claim(slot);
    lock_release();
    if (!claimed)
        return CKR_OK;
    rv = login_do(session, pins);
    lock_take();
    if (slot->login == LOGIN_BUSY)
        slot->login = rv == CKR_OK && session->epoch == slot->epoch ? LOGIN_IN : LOGIN_OUT;
    (void)pthread_cond_broadcast(&slot->changed);
    lock_release();
    return rv;
}

CK_RV login_confirm(struct session *session)
{
    CK_SESSION_INFO info = { 0 };
    CK_RV rv;

    if ((slot_flags(session->slot) & CKF_LOGIN_REQUIRED) == 0)
        return CKR_OK;
    rv = P11_CALL(session->slot->module, C_GetSessionInfo, session->handle, &info);
    if (rv != CKR_OK)
        return rv;
    return info.state == CKS_RO_USER_FUNCTIONS || info.state == CKS_RW_USER_FUNCTIONS
               ? CKR_OK
               : CKR_USER_NOT_LOGGED_IN;
}

void login_lost(struct slot *slot)
{
    if (slot->login == LOGIN_IN)
        slot->login = LOGIN_OUT;
}
