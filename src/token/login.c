#include "token/login.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/scope.h"
#include "module/call.h"
#include "module/lock.h"
#include "token/slot.h"

#define HASH_LEN 32

/* PINs that a token refused, until the process ends: not they, but a hash of each with a salt that
 * only this process knows. */
struct refused_pin {
    struct refused_pin *next;
    const struct slot *slot;
    uint8_t hash[HASH_LEN];
};

static struct refused_pin *refused_pins;
static uint8_t salt[HASH_LEN];
static bool salted;

/* Once in a process. Not under the lock while it asks libcrypto, which may ask a token. */
static bool salt_make(OSSL_LIB_CTX *libctx)
{
    uint8_t fresh[HASH_LEN];
    bool done;

    lock_take();
    done = salted;
    lock_release();
    if (done)
        return true;
    if (RAND_priv_bytes_ex(libctx, fresh, sizeof(fresh), 0) != 1)
        return false;
    lock_take();
    if (!salted)
        memcpy(salt, fresh, sizeof(salt));
    salted = true;
    lock_release();
    return true;
}

static bool pin_hash(OSSL_LIB_CTX *libctx, const struct secret *pin, uint8_t *hash)
{
    HOST_WORK;
    size_t len = 0;

    return salt_make(libctx) && EVP_Q_mac(libctx, "HMAC", NULL, "SHA256", NULL, salt, sizeof(salt),
                           (const unsigned char *)secret_data(pin), secret_len(pin), hash,
                           HASH_LEN, &len) != NULL;
}

/* Under the lock */
static bool pin_refused(const struct slot *slot, const uint8_t *hash)
{
    for (struct refused_pin *refused = refused_pins; refused != NULL; refused = refused->next)
        if (refused->slot == slot && CRYPTO_memcmp(refused->hash, hash, HASH_LEN) == 0)
            return true;
    return false;
}

/* Under the lock */
static void pin_refuse(const struct slot *slot, const uint8_t *hash)
{
    struct refused_pin *refused;

    if (pin_refused(slot, hash))
        return;
    refused = OPENSSL_zalloc(sizeof(*refused));
    if (refused == NULL)
        return;
    refused->slot = slot;
    memcpy(refused->hash, hash, HASH_LEN);
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

/* The PIN that the token took: from its file once more, if it came from one. */
static CK_RV pin_known(struct slot *slot, struct secret **out)
{
    _cleanup_(free_scoped) char *path = NULL;

    lock_take();
    if (slot->login.pin_file != NULL)
        path = OPENSSL_strdup(slot->login.pin_file);
    else
        *out = secret_ref(slot->login.pin);
    lock_release();
    return path != NULL ? pin_from_file(path, out) : CKR_OK;
}

/* A PIN and the file that it came from, if it came from one. */
struct pin {
    struct secret *secret;
    const char *file;
};

static void pin_scoped(struct pin *pin)
{
    secret_free(pin->secret);
}

static CK_RV pin_from(const char *file, struct pin *pin)
{
    pin->file = file;
    return pin_from_file(file, &pin->secret);
}

/* The first source that there is. */
static CK_RV pin_find(struct slot *slot, struct pin_source *pins, struct pin *pin)
{
    static struct pin_source none;
    CK_RV rv;

    if (pins == NULL)
        pins = &none;
    if (pins->value == NULL && pins->file != NULL)
        return pin_from(pins->file, pin);
    pin->secret = secret_ref(pins->value);
    rv = pin->secret == NULL ? pin_known(slot, &pin->secret) : CKR_OK;
    if (rv != CKR_OK || pin->secret != NULL)
        return rv;
    if (pins->config == NULL && pins->config_file != NULL)
        return pin_from(pins->config_file, pin);
    pin->secret = secret_ref(pins->config);
    if (pin->secret == NULL && pins->ask != NULL)
        pin->secret = pins->ask(pins->ask_arg, &slot->token.info);
    return pin->secret != NULL ? CKR_OK : RV_PIN_MISSING;
}

static CK_RV pin_check(const struct slot *slot, const uint8_t *hash)
{
    CK_RV rv;

    lock_take();
    rv = pin_refused(slot, hash) ? RV_PIN_REFUSED_BEFORE : CKR_OK;
    lock_release();
    return rv;
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

/* Under the lock: the PIN that the token took, or none, takes the place of the last. */
static void pin_keep(struct slot *slot, const struct pin *pin, struct pin *old)
{
    char *file = pin != NULL && pin->file != NULL ? OPENSSL_strdup(pin->file) : NULL;

    *old = (struct pin){ slot->login.pin, slot->login.pin_file };
    slot->login.pin = pin != NULL ? secret_ref(pin->secret) : NULL;
    slot->login.pin_file = file;
}

static void pin_remember(struct slot *slot, const struct pin *pin, const uint8_t *hash, CK_RV rv)
{
    struct pin old = { NULL, NULL };

    lock_take();
    if (refuses_pin(rv))
        pin_refuse(slot, hash);
    if (accepts_pin(rv) && (slot->login.pin == NULL || !secret_equal(slot->login.pin, pin->secret)))
        pin_keep(slot, pin, &old);
    else if (refuses_pin(rv) && slot->login.pin_file == NULL)
        pin_keep(slot, NULL, &old);
    lock_release();
    secret_free(old.secret);
    OPENSSL_free((char *)(uintptr_t)old.file);
}

/* Shows the token a PIN that it did not refuse before. */
static CK_RV login_as(struct session *session, CK_USER_TYPE user, struct pin_source *pins)
{
    struct slot *slot = session->slot;
    _cleanup_(pin_scoped) struct pin pin = { NULL, NULL };
    uint8_t hash[HASH_LEN];
    CK_RV rv = pin_find(slot, pins, &pin);

    if (rv == CKR_OK && !pin_hash(pins != NULL ? pins->libctx : NULL, pin.secret, hash))
        rv = CKR_HOST_MEMORY;
    if (rv == CKR_OK)
        rv = pin_check(slot, hash);
    if (rv != CKR_OK)
        return rv;
    rv = session_login(session, user, secret_data(pin.secret), secret_len(pin.secret));
    pin_remember(slot, &pin, hash, rv);
    return rv;
}

CK_RV login_context(struct session *session, struct pin_source *pins)
{
    if ((slot_flags(session->slot) & CKF_PROTECTED_AUTHENTICATION_PATH) != 0)
        return session_login(session, CKU_CONTEXT_SPECIFIC, NULL, 0);
    return login_as(session, CKU_CONTEXT_SPECIFIC, pins);
}

CK_RV login_user(struct session *session, struct pin_source *pins, CK_FLAGS flags)
{
    CK_RV rv = lockout_check(flags);

    if (rv != CKR_OK)
        return rv;
    if ((flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0)
        rv = session_login(session, CKU_USER, NULL, 0);
    else
        rv = login_as(session, CKU_USER, pins);
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

void login_forget(struct slot *slot)
{
    lock_take();
    secret_free(MOVE(slot->login.pin));
    OPENSSL_free(MOVE(slot->login.pin_file));
    lock_release();
}
