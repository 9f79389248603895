#include "token/shown.h"

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "base/scope.h"
#include "module/call.h"
#include "module/ckr.h"
#include "module/lock.h"
#include "token/slot.h"

#define FAILURES 32

/* An operation to which C_Login failed. */
struct failure {
    uint64_t operation;
    CK_RV rv;
    bool pardoned; /* it may call C_Login once more, and only once */
};

struct shown {
    struct shown *next;
    struct token token;
    const struct module *module;
    uint8_t hash[SHOWN_HASH_LEN];
    bool refused; /* never again */
    struct failure failures[FAILURES], *last;
    uint64_t forgotten; /* operations up to this one may have failed and be in failures no more */
};

static struct shown *all_shown;
static struct secret *salt;

/* Once in a process. Not under the lock while it asks libcrypto, which may ask a token. */
static bool salt_make(OSSL_LIB_CTX *libctx)
{
    _cleanup_(secret_scoped) struct secret *fresh = NULL;
    uint8_t bytes[SHOWN_HASH_LEN];
    bool done;

    lock_take();
    done = salt != NULL;
    lock_release();
    if (done)
        return true;
    if (RAND_priv_bytes_ex(libctx, bytes, sizeof(bytes), 0) == 1)
        fresh = secret_new(bytes, sizeof(bytes));
    OPENSSL_cleanse(bytes, sizeof(bytes));
    lock_take();
    if (salt == NULL)
        salt = MOVE(fresh);
    done = salt != NULL;
    lock_release();
    return done;
}

bool shown_hash(OSSL_LIB_CTX *libctx, const struct secret *pin, uint8_t *hash)
{
    HOST_WORK;
    size_t len = 0;

    return salt_make(libctx) && EVP_Q_mac(libctx, "HMAC", NULL, "SHA256", NULL, secret_data(salt),
                                          secret_len(salt), (const unsigned char *)secret_data(pin),
                                          secret_len(pin), hash, SHOWN_HASH_LEN, &len) != NULL;
}

static bool is_hash(const struct shown *shown, const uint8_t *hash)
{
    return CRYPTO_memcmp(shown->hash, hash, SHOWN_HASH_LEN) == 0;
}

/* Under the lock */
static struct shown *find(const struct slot *slot, const uint8_t *hash)
{
    struct shown *shown = all_shown;

    while (shown != NULL && !(token_is(&shown->token, &slot->token.info) && is_hash(shown, hash)))
        shown = shown->next;
    return shown;
}

static struct shown *make(const struct slot *slot, const uint8_t *hash)
{
    struct shown *shown = OPENSSL_zalloc(sizeof(*shown));

    if (shown == NULL)
        return NULL;
    shown->token = slot->token;
    shown->module = slot->module;
    memcpy(shown->hash, hash, SHOWN_HASH_LEN);
    shown->last = shown->failures;
    shown->next = all_shown;
    return all_shown = shown;
}

struct shown *shown_make(const struct slot *slot, const uint8_t *hash)
{
    struct shown *shown;

    lock_take();
    shown = find(slot, hash);
    if (shown == NULL)
        shown = make(slot, hash);
    lock_release();
    return shown;
}

static struct failure *failure_find(struct shown *shown, uint64_t operation)
{
    for (size_t i = 0; i < FAILURES; i++)
        if (shown->failures[i].operation == operation)
            return &shown->failures[i];
    return NULL;
}

/* Takes the place of the oldest, of which is kept only that it was there. */
static struct failure *failure_make(struct shown *shown, uint64_t operation)
{
    struct failure *failure = shown->last + 1;

    if (failure == shown->failures + FAILURES)
        failure = shown->failures;
    if (failure->operation > shown->forgotten)
        shown->forgotten = failure->operation;
    *failure = (struct failure){ .operation = operation };
    return shown->last = failure;
}

/* Under the lock */
static void failure_note(struct shown *shown, uint64_t operation, CK_RV rv, bool pardoned)
{
    struct failure *failure = failure_find(shown, operation);
    bool first = failure == NULL;

    if (first)
        failure = failure_make(shown, operation);
    failure->rv = rv;
    failure->pardoned = first && pardoned;
}

void shown_failed(struct shown *shown, uint64_t operation, CK_RV rv, bool refused, bool pardoned)
{
    lock_take();
    shown->refused = shown->refused || refused;
    failure_note(shown, operation, rv, pardoned);
    lock_release();
}

/* Under the lock: what C_Login said to the operation before, or CKR_OK. Where that is forgotten, it
 * is taken to have failed. */
static CK_RV failure_of(struct shown *shown, uint64_t operation)
{
    const struct failure *failure = failure_find(shown, operation);

    if (failure == NULL && operation <= shown->forgotten)
        failure = shown->last;
    return failure == NULL || failure->pardoned ? CKR_OK : failure->rv;
}

static CK_RV tell_failure(CK_RV rv)
{
    const struct ckr *ckr = ckr_describe(rv);
    char unknown[32];

    (void)snprintf(unknown, sizeof(unknown), "CKR 0x%08lx", (unsigned long)rv);
    call_detail_set("C_Login: %s%s%s; no PIN is shown twice for one operation",
                    ckr->name != NULL ? ckr->name : unknown, ckr->advice != NULL ? ": " : "",
                    ckr->advice != NULL ? ckr->advice : "");
    return RV_LOGIN_FAILED;
}

CK_RV shown_check(const struct slot *slot, const uint8_t *hash, uint64_t operation)
{
    CK_RV failure = CKR_OK;
    bool refused = false;
    struct shown *shown;

    lock_take();
    shown = find(slot, hash);
    if (shown != NULL) {
        refused = shown->refused;
        failure = failure_of(shown, operation);
    }
    lock_release();
    if (refused)
        return RV_PIN_REFUSED_BEFORE;
    return failure != CKR_OK ? tell_failure(failure) : CKR_OK;
}

bool shown_refused(const struct slot *slot, const uint8_t *hash)
{
    const struct shown *shown;
    bool refused;

    lock_take();
    shown = find(slot, hash);
    refused = shown != NULL && shown->refused;
    lock_release();
    return refused;
}

static bool is_of_another(const struct shown *shown, const struct slot *slot, const uint8_t *hash)
{
    return shown->module == slot->module && !token_is(&shown->token, &slot->token.info) &&
           is_hash(shown, hash);
}

CK_RV shown_check_alone(const struct slot *slot, const uint8_t *hash)
{
    const struct shown *shown;

    lock_take();
    shown = all_shown;
    while (shown != NULL && !is_of_another(shown, slot, hash))
        shown = shown->next;
    lock_release();
    if (shown == NULL)
        return CKR_OK;
    call_detail_set("the configured PIN is not shown to the token '%s', since another token was "
                    "shown it before, and nothing names this one: put token= or serial= in the "
                    "URI, or set pkcs11-token-pins, or pkcs11-pin-scope = any",
                    slot->token.label);
    return RV_PIN_UNNAMED;
}
