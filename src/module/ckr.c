#include "module/ckr.h"

#include <stddef.h>
#include <string.h>

#include "base/scope.h"

#define ROW(value, repair, advice)                                                                 \
    {                                                                                              \
        value, #value, repair, advice, false, #value                                               \
    }
#define OWN(value, repair, advice)                                                                 \
    {                                                                                              \
        value, NULL, repair, advice, false, #value                                                 \
    }
/* C_Login's: call_detail says which token and where the PIN came from. */
#define OF_PIN(value, advice)                                                                      \
    {                                                                                              \
        value, #value, REPAIR_NOTHING, advice, true, #value                                        \
    }
#define DETAILED(value, advice)                                                                    \
    {                                                                                              \
        value, NULL, REPAIR_NOTHING, advice, true, #value                                          \
    }

/* PKCS#11 v3.1 §5.1 */
static const struct ckr ckrs[] = {
    ROW(CKR_OK, REPAIR_NOTHING, NULL),
    ROW(CKR_CANCEL, REPAIR_NOTHING, "the operation was cancelled at the token"),
    ROW(CKR_HOST_MEMORY, REPAIR_SESSION, "the module is out of memory"),
    ROW(CKR_SLOT_ID_INVALID, REPAIR_TOKEN, "the slot is gone"),
    ROW(CKR_GENERAL_ERROR, REPAIR_DOUBT, "the module's own log may say more"),
    ROW(CKR_FUNCTION_FAILED, REPAIR_DOUBT, "the module's own log may say more"),
    ROW(CKR_ARGUMENTS_BAD, REPAIR_NOTHING,
        "the module does not accept these arguments; where it is C_Initialize, see "
        "pkcs11-module-init-args"),
    ROW(CKR_NEED_TO_CREATE_THREADS, REPAIR_NOTHING, NULL),
    ROW(CKR_CANT_LOCK, REPAIR_NOTHING, NULL),
    ROW(CKR_ATTRIBUTE_READ_ONLY, REPAIR_NOTHING, NULL),
    ROW(CKR_ATTRIBUTE_SENSITIVE, REPAIR_NOTHING, "the token does not give out this value"),
    ROW(CKR_ATTRIBUTE_TYPE_INVALID, REPAIR_NOTHING, NULL),
    ROW(CKR_ATTRIBUTE_VALUE_INVALID, REPAIR_NOTHING, NULL),
    ROW(CKR_ACTION_PROHIBITED, REPAIR_NOTHING, "the object's attributes forbid it"),
    ROW(CKR_DATA_INVALID, REPAIR_NOTHING, "the token rejects the data"),
    ROW(CKR_DATA_LEN_RANGE, REPAIR_NOTHING, "the data is too long for this key and mechanism"),
    ROW(CKR_DEVICE_ERROR, REPAIR_TOKEN, "the token or the way to it failed"),
    ROW(CKR_DEVICE_MEMORY, REPAIR_SESSION, "the token is out of memory"),
    ROW(CKR_DEVICE_REMOVED, REPAIR_TOKEN, "the token was removed"),
    ROW(CKR_ENCRYPTED_DATA_INVALID, REPAIR_NOTHING, NULL),
    ROW(CKR_ENCRYPTED_DATA_LEN_RANGE, REPAIR_NOTHING, NULL),
    ROW(CKR_FUNCTION_CANCELED, REPAIR_NOTHING, "the operation was cancelled at the token"),
    ROW(CKR_FUNCTION_NOT_PARALLEL, REPAIR_NOTHING, NULL),
    ROW(CKR_FUNCTION_NOT_SUPPORTED, REPAIR_NOTHING, "the module does not have this function"),
    ROW(CKR_KEY_HANDLE_INVALID, REPAIR_HANDLE, "the key is no longer there"),
    ROW(CKR_KEY_SIZE_RANGE, REPAIR_NOTHING, "the mechanism does not take a key of this size"),
    ROW(CKR_KEY_TYPE_INCONSISTENT, REPAIR_NOTHING, "the mechanism does not take this type of key"),
    ROW(CKR_KEY_NOT_NEEDED, REPAIR_NOTHING, NULL),
    ROW(CKR_KEY_CHANGED, REPAIR_NOTHING, NULL),
    ROW(CKR_KEY_NEEDED, REPAIR_NOTHING, NULL),
    ROW(CKR_KEY_INDIGESTIBLE, REPAIR_NOTHING, NULL),
    ROW(CKR_KEY_FUNCTION_NOT_PERMITTED, REPAIR_NOTHING,
        "the key's usage attribute (CKA_SIGN, CKA_DECRYPT, CKA_DERIVE, CKA_WRAP, ...) is off"),
    ROW(CKR_KEY_NOT_WRAPPABLE, REPAIR_NOTHING, "the token does not wrap this key so"),
    ROW(CKR_KEY_UNEXTRACTABLE, REPAIR_NOTHING, "the key's CKA_EXTRACTABLE is off"),
    ROW(CKR_MECHANISM_INVALID, REPAIR_NOTHING, "the token does not have the mechanism"),
    ROW(CKR_MECHANISM_PARAM_INVALID, REPAIR_NOTHING,
        "the token does not have the mechanism with these parameters"),
    ROW(CKR_OBJECT_HANDLE_INVALID, REPAIR_HANDLE, "the object is no longer there"),
    ROW(CKR_OPERATION_ACTIVE, REPAIR_SESSION, "an operation was left behind on the session"),
    ROW(CKR_OPERATION_NOT_INITIALIZED, REPAIR_SESSION, "the session lost its operation"),
    OF_PIN(CKR_PIN_INCORRECT, "the token refused the PIN"),
    OF_PIN(CKR_PIN_INVALID, "the PIN has characters that the token does not take"),
    OF_PIN(CKR_PIN_LEN_RANGE, "the PIN is too short or too long for the token"),
    ROW(CKR_PIN_EXPIRED, REPAIR_NOTHING, "set a new PIN with the token's own tool"),
    ROW(CKR_PIN_LOCKED, REPAIR_NOTHING,
        "too many wrong PINs were tried; unlock it with the security officer's PIN"),
    ROW(CKR_SESSION_CLOSED, REPAIR_TOKEN, NULL),
    ROW(CKR_SESSION_COUNT, REPAIR_WAIT,
        "the token has no session left; lower pkcs11-sessions-max, also in other processes"),
    ROW(CKR_SESSION_HANDLE_INVALID, REPAIR_TOKEN, "the token lost the session"),
    ROW(CKR_SESSION_PARALLEL_NOT_SUPPORTED, REPAIR_NOTHING, NULL),
    ROW(CKR_SESSION_READ_ONLY, REPAIR_NOTHING, NULL),
    ROW(CKR_SESSION_EXISTS, REPAIR_NOTHING, NULL),
    ROW(CKR_SESSION_READ_ONLY_EXISTS, REPAIR_NOTHING, NULL),
    ROW(CKR_SESSION_READ_WRITE_SO_EXISTS, REPAIR_NOTHING,
        "the program is logged in as security officer"),
    ROW(CKR_SIGNATURE_INVALID, REPAIR_NOTHING, NULL),
    ROW(CKR_SIGNATURE_LEN_RANGE, REPAIR_NOTHING, NULL),
    ROW(CKR_TEMPLATE_INCOMPLETE, REPAIR_NOTHING, NULL),
    ROW(CKR_TEMPLATE_INCONSISTENT, REPAIR_NOTHING, NULL),
    ROW(CKR_TOKEN_NOT_PRESENT, REPAIR_TOKEN, "the token is not in its slot"),
    ROW(CKR_TOKEN_NOT_RECOGNIZED, REPAIR_NOTHING, "the module does not know this token"),
    ROW(CKR_TOKEN_WRITE_PROTECTED, REPAIR_NOTHING, "the token is write-protected"),
    ROW(CKR_USER_ALREADY_LOGGED_IN, REPAIR_NOTHING, NULL),
    ROW(CKR_USER_NOT_LOGGED_IN, REPAIR_LOGIN, "the token wants a login"),
    ROW(CKR_USER_PIN_NOT_INITIALIZED, REPAIR_NOTHING,
        "the token has no user PIN yet; set one with the token's own tool"),
    ROW(CKR_USER_TYPE_INVALID, REPAIR_NOTHING, NULL),
    ROW(CKR_USER_ANOTHER_ALREADY_LOGGED_IN, REPAIR_NOTHING,
        "the program is logged in as another user"),
    ROW(CKR_USER_TOO_MANY_TYPES, REPAIR_NOTHING, NULL),
    ROW(CKR_WRAPPED_KEY_INVALID, REPAIR_NOTHING, "the token does not take the ciphertext"),
    ROW(CKR_WRAPPED_KEY_LEN_RANGE, REPAIR_NOTHING, "the token does not take the ciphertext"),
    ROW(CKR_WRAPPING_KEY_HANDLE_INVALID, REPAIR_HANDLE, "the wrapping key is no longer there"),
    ROW(CKR_WRAPPING_KEY_SIZE_RANGE, REPAIR_NOTHING,
        "the wrapping key is too short, or of a size that the mechanism does not take"),
    ROW(CKR_WRAPPING_KEY_TYPE_INCONSISTENT, REPAIR_NOTHING,
        "the mechanism does not take this type of wrapping key"),
    ROW(CKR_UNWRAPPING_KEY_HANDLE_INVALID, REPAIR_HANDLE, "the wrapping key is no longer there"),
    ROW(CKR_UNWRAPPING_KEY_SIZE_RANGE, REPAIR_NOTHING,
        "the mechanism does not take a wrapping key of this size"),
    ROW(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT, REPAIR_NOTHING,
        "the mechanism does not take this type of wrapping key"),
    ROW(CKR_RANDOM_SEED_NOT_SUPPORTED, REPAIR_NOTHING, NULL),
    ROW(CKR_RANDOM_NO_RNG, REPAIR_NOTHING, "the token has no random number generator"),
    ROW(CKR_DOMAIN_PARAMS_INVALID, REPAIR_NOTHING, "the token does not have this curve"),
    ROW(CKR_CURVE_NOT_SUPPORTED, REPAIR_NOTHING, "the token does not have this curve"),
    ROW(CKR_BUFFER_TOO_SMALL, REPAIR_NOTHING, NULL),
    ROW(CKR_SAVED_STATE_INVALID, REPAIR_NOTHING, NULL),
    ROW(CKR_INFORMATION_SENSITIVE, REPAIR_NOTHING, NULL),
    ROW(CKR_STATE_UNSAVEABLE, REPAIR_NOTHING, NULL),
    ROW(CKR_CRYPTOKI_NOT_INITIALIZED, REPAIR_MODULE, "the module was finalised by the program"),
    ROW(CKR_CRYPTOKI_ALREADY_INITIALIZED, REPAIR_NOTHING, NULL),
    ROW(CKR_MUTEX_BAD, REPAIR_NOTHING, NULL),
    ROW(CKR_MUTEX_NOT_LOCKED, REPAIR_NOTHING, NULL),
    ROW(CKR_FIPS_SELF_TEST_FAILED, REPAIR_NOTHING, "the module failed its self-test"),
    ROW(CKR_LIBRARY_LOAD_FAILED, REPAIR_NOTHING, "the module could not load a library it needs"),
    ROW(CKR_PUBLIC_KEY_INVALID, REPAIR_NOTHING, "the token rejects the public key"),
    ROW(CKR_FUNCTION_REJECTED, REPAIR_NOTHING, "the operation was rejected at the token"),
    ROW(CKR_TOKEN_RESOURCE_EXCEEDED, REPAIR_SESSION, "the token is short of resources"),
    ROW(CKR_OPERATION_CANCEL_FAILED, REPAIR_SESSION, NULL),
    ROW(CKR_KEY_EXHAUSTED, REPAIR_NOTHING, "the key has been used as often as it may be"),

    ROW(CKR_PENDING, REPAIR_NOTHING, NULL),
    ROW(CKR_SESSION_ASYNC_NOT_SUPPORTED, REPAIR_NOTHING, NULL),
    ROW(CKR_SEED_RANDOM_REQUIRED, REPAIR_NOTHING,
        "the token's random number generator has no seed"),
    ROW(CKR_OPERATION_NOT_VALIDATED, REPAIR_NOTHING,
        "the token is in a validated mode (FIPS 140), which does not have this"),
    ROW(CKR_TOKEN_NOT_INITIALIZED, REPAIR_NOTHING,
        "the token is not initialised: give it a label and PINs with its own tool"),
    ROW(CKR_PARAMETER_SET_NOT_SUPPORTED, REPAIR_NOTHING,
        "the token does not have this parameter set"),

    OWN(RV_PIN_MISSING, REPAIR_NOTHING,
        "the token needs a PIN and none was given: set pkcs11-module-token-pin or "
        "pkcs11-token-pins, or put pin-source=file:/path in the URI"),
    DETAILED(RV_PIN_REFUSED_BEFORE, "the token refused this PIN before, and it is not tried again"),
    OWN(RV_PIN_FINAL_TRY, REPAIR_NOTHING,
        "the token allows one more wrong PIN before it locks, so no PIN is tried; "
        "log in once with the token's own tool to clear this"),
    DETAILED(RV_PIN_SOURCE, "the PIN could not be read"),
    DETAILED(RV_PIN_UNNAMED,
             "the configured PIN is shown to no token, since nothing names one alone"),
    DETAILED(RV_LOGIN_FAILED, "C_Login failed, and no PIN is shown twice for one operation"),
    OWN(RV_KEY_REPLACED, REPAIR_NOTHING,
        "the key was replaced: the token now has another key there; load it again "
        "if that is intended"),
    OWN(RV_KEY_GONE, REPAIR_NOTHING, "the key is no longer on the token"),
    OWN(RV_SESSION_KEY_GONE, REPAIR_NOTHING,
        "the key is no longer on the token: a session key lives as long as the session that it was "
        "made on, and that was lost; load or generate it again"),
    OWN(RV_TOKEN_GONE, REPAIR_TOKEN, "the token is no longer in any slot"),
    OWN(RV_TOKEN_MOVED, REPAIR_TOKEN, "another token is in its slot"),
    OWN(RV_TOKEN_UNINITIALIZED, REPAIR_NOTHING,
        "the token is not initialised: give it a label and PINs with its own "
        "tool (softhsm2-util --init-token, pkcs11-tool --init-token)"),
    OWN(RV_NO_PUBLIC_HALF, REPAIR_NOTHING,
        "the public half of the new key cannot be read: where it comes from elsewhere, give it as "
        "well"),
    OWN(RV_OTHER_HALF, REPAIR_NOTHING,
        "the public key that came with it is another key's; nothing is left of it on the token"),
    OWN(RV_REFUSED, REPAIR_NOTHING, "refused before the token was asked for it"),
    OWN(RV_STALE, REPAIR_STALE, "the token was lost in the middle of it"),
    DETAILED(RV_START_OVERDUE, "the PKCS#11 module is being initialised for too long"),
    OWN(RV_HOST_LACKS, REPAIR_NOTHING,
        "no other provider that is active has what is done on the host (random numbers, SHA-256, "
        "HMAC): activate default, or fips, beside pkcs11 in openssl.cnf"),
    DETAILED(RV_UNRECORDED, "it cannot be recorded, as pkcs11-audit-required wants it"),
    DETAILED(RV_LENGTH, "the module returned what cannot be"),
    DETAILED(RV_SESSIONS_BUSY, "all sessions with the token were busy for too long"),
    OWN(RV_RECURSION, REPAIR_NOTHING, "the PKCS#11 module called back into this provider"),
    OWN(RV_PROCESS_ENDS, REPAIR_NOTHING,
        "the process is ending and no PKCS#11 module is called any more; what an exit "
        "handler does with a key must be registered after the key's first use"),
};

/* Here and in exception_of the whole table is gone through, whichever row it is: what C_Decrypt
 * said of a padding is looked up as well, and is not to be seen in the work (docs/timing.md). */
const struct ckr *ckr_describe(CK_RV rv)
{
    static const struct ckr unknown = { .repair = REPAIR_NOTHING };
    const struct ckr *found = &unknown;

    for (size_t i = 0; i < COUNT(ckrs); i++)
        found = ckrs[i].rv == rv ? &ckrs[i] : found;
    return found;
}

/* A secret that is asked for with CKA_EXTRACTABLE on and CKA_SENSITIVE off. */
#define SECRET_REFUSED                                                                             \
    "the token seems to be one that does not give out secrets: see its policy for "                \
    "CKA_EXTRACTABLE "                                                                             \
    "and CKA_SENSITIVE, or agree on keys with one in software"

const char *ckr_advice(const char *call, CK_RV rv)
{
    static const char *const calls[] = { "C_DecapsulateKey", "C_EncapsulateKey", "C_DeriveKey" };

    for (size_t i = 0; rv == CKR_TEMPLATE_INCONSISTENT && i < COUNT(calls); i++)
        if (strcmp(calls[i], call) == 0)
            return SECRET_REFUSED;
    return ckr_describe(rv)->advice;
}

bool ckr_is_blind(const char *call, CK_RV rv)
{
    static const char *const calls[] = { "C_Initialize", "C_GetInfo", "C_GetSlotList",
                                         "C_GetSlotInfo", "C_GetTokenInfo" };
    bool vague = rv == CKR_GENERAL_ERROR || rv == CKR_FUNCTION_FAILED;

    for (size_t i = 0; vague && i < COUNT(calls); i++)
        if (strcmp(calls[i], call) == 0)
            return true;
    return false;
}

bool ckr_is_unread(const char *call, CK_RV rv)
{
    return (rv == CKR_USER_PIN_NOT_INITIALIZED && strcmp(call, "C_Login") == 0) ||
           (rv == CKR_TOKEN_NOT_RECOGNIZED && strcmp(call, "C_OpenSession") == 0);
}

bool ckr_is_lasting(CK_RV rv)
{
    const struct ckr *ckr = ckr_describe(rv);

    if (ckr->name == NULL)
        return ckr->advice != NULL;
    return strncmp(ckr->name, "CKR_PIN_", 8) == 0 ||
           (ckr->repair != REPAIR_NOTHING && ckr->repair != REPAIR_DOUBT);
}

/* Where the value means another thing, or asks for another answer, because of the call that gave
 * it: what C_Decrypt says once C_DecryptInit took key and mechanism. */
static const struct exception {
    const char *call;
    CK_RV rv;
    enum repair repair;
    bool about_data;
} exceptions[] = {
    { "C_Decrypt", CKR_ENCRYPTED_DATA_INVALID, REPAIR_NOTHING, true },
    { "C_Decrypt", CKR_ENCRYPTED_DATA_LEN_RANGE, REPAIR_NOTHING, true },
    { "C_Decrypt", CKR_DATA_INVALID, REPAIR_NOTHING, true },
    { "C_Decrypt", CKR_DATA_LEN_RANGE, REPAIR_NOTHING, true },
    { "C_Decrypt", CKR_ARGUMENTS_BAD, REPAIR_NOTHING, true },
    { "C_Decrypt", CKR_FUNCTION_FAILED, REPAIR_DOUBT, true },
    { "C_Decrypt", CKR_GENERAL_ERROR, REPAIR_DOUBT, true },
    { "C_Decrypt", RV_UNKNOWN, REPAIR_NOTHING, true },
};

static const struct exception *exception_of(const char *call, CK_RV rv)
{
    const struct ckr *ckr = ckr_describe(rv);
    CK_RV known = ckr->name == NULL && ckr->advice == NULL ? RV_UNKNOWN : rv;
    const struct exception *found = NULL;

    for (size_t i = 0; i < COUNT(exceptions); i++)
        if (strcmp(exceptions[i].call, call) == 0)
            found = exceptions[i].rv == known ? &exceptions[i] : found;
    return found;
}

static bool among(CK_RV rv, const CK_RV *values, size_t count)
{
    size_t i = 0;

    while (i < count && values[i] != rv)
        i++;
    return i < count;
}

/* Whether call begins an operation of a session, C_SignInit and its kin, and does nothing else. */
static bool begins(const char *call)
{
    size_t len = strlen(call);

    return len > 4 && strcmp(call + len - 4, "Init") == 0;
}

/* The operation that is active after the call, by what it returned (PKCS#11 v3.1 §5.2). */
static CK_FLAGS left_active(const char *call, CK_RV rv)
{
    static const struct {
        const char *begin;
        CK_FLAGS flag;
    } operations[] = { { "C_Sign", CKF_SIGN },
                       { "C_Verify", CKF_VERIFY },
                       { "C_Encrypt", CKF_ENCRYPT },
                       { "C_Decrypt", CKF_DECRYPT },
                       { "C_FindObjects", CKF_FIND_OBJECTS } };

    if (rv != CKR_OPERATION_ACTIVE && rv != CKR_BUFFER_TOO_SMALL)
        return 0;
    for (size_t i = 0; i < COUNT(operations); i++)
        if (strncmp(call, operations[i].begin, strlen(operations[i].begin)) == 0)
            return operations[i].flag;
    return 0;
}

struct verdict ckr_verdict(const char *call, CK_RV rv)
{
    /* what the call needs to begin was not there: the session, the login, the module, the token */
    static const CK_RV before_anything[] = { CKR_SESSION_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN,
                                             CKR_CRYPTOKI_NOT_INITIALIZED, CKR_TOKEN_NOT_PRESENT,
                                             RV_STALE };
    const struct exception *exception = exception_of(call, rv);
    enum repair repair = exception != NULL ? exception->repair : ckr_describe(rv)->repair;
    bool refused = repair == REPAIR_NOTHING;

    return (struct verdict){
        .repair = repair,
        .begun = !begins(call) && !among(rv, before_anything, COUNT(before_anything)),
        .about_data = exception != NULL && exception->about_data,
        .spoils = !refused || !begins(call),
        .active = rv == CKR_OPERATION_ACTIVE || strcmp(call, "C_FindObjectsFinal") == 0,
        .pending = left_active(call, rv),
    };
}

/* Modules say CKR_GENERAL_ERROR of data that they don't like: whoever sends such data must not keep
 * a thread busy for seconds. */
#define DOUBTS 2

bool verdict_try_again(const struct verdict *verdict, unsigned tries)
{
    return verdict->repair != REPAIR_NOTHING && (verdict->repair != REPAIR_DOUBT || tries < DOUBTS);
}

const char *ckr_label(CK_RV rv)
{
    const char *symbol = ckr_describe(rv)->symbol;

    return symbol != NULL && strncmp(symbol, "RV_", 3) == 0 ? symbol + 3 : symbol;
}
