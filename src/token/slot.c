#include "token/slot.h"

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/scope.h"
#include "module/call.h"
#include "module/lock.h"
#include "token/session.h"

/* PKCS#11 pads its texts with blanks, PKCS#11 v3.1 §3.2; some modules end them with NUL. */
static void copy_padded(char *out, const CK_UTF8CHAR *text, size_t len)
{
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\0'))
        len--;
    memcpy(out, text, len);
    out[len] = '\0';
}

static bool same_token(const CK_TOKEN_INFO *a, const CK_TOKEN_INFO *b)
{
    return memcmp(a->label, b->label, sizeof(a->label)) == 0 &&
           memcmp(a->manufacturerID, b->manufacturerID, sizeof(a->manufacturerID)) == 0 &&
           memcmp(a->model, b->model, sizeof(a->model)) == 0 &&
           memcmp(a->serialNumber, b->serialNumber, sizeof(a->serialNumber)) == 0;
}

CK_FLAGS slot_flags(struct slot *slot)
{
    CK_FLAGS flags;

    lock_take();
    flags = slot->flags;
    lock_release();
    return flags;
}

CK_SLOT_ID slot_id(struct slot *slot)
{
    CK_SLOT_ID id;

    lock_take();
    id = slot->id;
    lock_release();
    return id;
}

static unsigned at_most(unsigned wanted, CK_ULONG allowed)
{
    if (allowed == CK_UNAVAILABLE_INFORMATION || allowed == CK_EFFECTIVELY_INFINITE)
        return wanted;
    return allowed < wanted ? (unsigned)allowed : wanted;
}

static struct slot *slot_new(struct module *module, CK_SLOT_ID id, const CK_TOKEN_INFO *token)
{
    struct slot *slot = OPENSSL_zalloc(sizeof(*slot));

    if (slot == NULL)
        return NULL;
    slot->module = module;
    slot->id = id;
    slot->token = *token;
    slot->flags = token->flags;
    copy_padded(slot->label, token->label, sizeof(token->label));
    condition_init(&slot->changed);
    return slot;
}

void slot_allow(struct slot *slot, const struct pool_limits *limits)
{
    unsigned limit = at_most(limits->sessions_max, slot->token.ulMaxSessionCount);

    if (limit > slot->limit)
        slot->limit = limit;
    if (limits->sessions_idle > slot->keep_idle)
        slot->keep_idle = limits->sessions_idle;
    if (limits->wait_ms > slot->wait_ms)
        slot->wait_ms = limits->wait_ms;
    if (limits->retry_ms > slot->retry_ms)
        slot->retry_ms = limits->retry_ms;
}

/* Under the lock */
static struct slot *slot_find(struct module *module, CK_SLOT_ID id, const CK_TOKEN_INFO *token)
{
    for (struct slot *slot = module->slots; slot != NULL; slot = slot->next)
        if (slot->id == id && same_token(&slot->token, token))
            return slot;
    return NULL;
}

static bool absent(CK_RV rv)
{
    return rv == CKR_TOKEN_NOT_PRESENT || rv == CKR_TOKEN_NOT_RECOGNIZED ||
           rv == CKR_SLOT_ID_INVALID;
}

CK_RV slot_at(struct module *module, CK_SLOT_ID id, const struct pool_limits *limits,
              struct slot **out)
{
    CK_TOKEN_INFO token = { 0 };
    struct slot *slot;
    CK_RV rv = P11_CALL(module, C_GetTokenInfo, id, &token);

    *out = NULL;
    if (absent(rv)) /* though C_GetSlotList has it: it may be just back */
        rv = P11_CALL(module, C_GetTokenInfo, id, &token);
    if (absent(rv))
        return CKR_OK;
    if (rv != CKR_OK)
        return rv;
    lock_take();
    slot = slot_find(module, id, &token);
    if (slot == NULL && (slot = slot_new(module, id, &token)) != NULL) {
        slot->next = module->slots;
        module->slots = slot;
    }
    if (slot != NULL) {
        slot->flags = token.flags;
        slot->flags_fresh = true;
        slot_allow(slot, limits);
    }
    lock_release();
    *out = slot;
    return slot != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

CK_RV slot_list(struct module *module, CK_SLOT_ID **ids, CK_ULONG *count)
{
    _cleanup_(free_scoped) CK_SLOT_ID *list = NULL;
    CK_ULONG room = 64;
    CK_RV rv;

    do {
        OPENSSL_free(list);
        list = OPENSSL_malloc(room * sizeof(*list));
        if (list == NULL)
            return CKR_HOST_MEMORY;
        *count = room;
        rv = P11_CALL(module, C_GetSlotList, CK_TRUE, list, count);
        room = *count > room ? *count : room * 2;
    } while (rv == CKR_BUFFER_TOO_SMALL && room < 1UL << 20);
    if (rv == CKR_OK)
        *ids = MOVE(list);
    return rv;
}

/* Under the lock */
static const struct mechanism_seen *mechanism_find(const struct slot *slot, CK_MECHANISM_TYPE type)
{
    const struct mechanism_seen *seen = slot->mechanisms;

    while (seen != NULL && seen->type != type)
        seen = seen->next;
    return seen;
}

static void mechanism_remember(struct slot *slot, CK_MECHANISM_TYPE type, CK_FLAGS flags)
{
    struct mechanism_seen *seen = OPENSSL_zalloc(sizeof(*seen));

    if (seen == NULL)
        return;
    seen->type = type;
    seen->flags = flags;
    lock_take();
    seen->next = slot->mechanisms;
    slot->mechanisms = seen;
    lock_release();
}

static CK_FLAGS mechanism_ask(struct slot *slot, CK_MECHANISM_TYPE type)
{
    CK_MECHANISM_INFO info = { 0 };
    CK_RV rv = P11_CALL(slot->module, C_GetMechanismInfo, slot_id(slot), type, &info);

    if (rv == CKR_MECHANISM_INVALID)
        info.flags = 0;
    else if (rv != CKR_OK)
        return 0; /* no answer: ask again next time */
    mechanism_remember(slot, type, info.flags);
    return info.flags;
}

bool slot_lacks(struct slot *slot, CK_MECHANISM_TYPE variant)
{
    bool lacks;

    lock_take();
    lacks = mechanism_find(slot, variant) != NULL;
    lock_release();
    return lacks;
}

void slot_learn_lack(struct slot *slot, CK_MECHANISM_TYPE variant)
{
    if (!slot_lacks(slot, variant))
        mechanism_remember(slot, variant, 0);
}

bool slot_has_mechanism(struct slot *slot, CK_MECHANISM_TYPE mechanism, CK_FLAGS flags)
{
    const struct mechanism_seen *seen;
    CK_FLAGS has = 0;
    bool known;

    lock_take();
    seen = mechanism_find(slot, mechanism);
    known = seen != NULL;
    if (known)
        has = seen->flags;
    lock_release();
    if (!known)
        has = mechanism_ask(slot, mechanism);
    return (has & flags) == flags;
}

void slot_ask_anew(struct slot *slot)
{
    slot->has_info = false;
    while (slot->mechanisms != NULL) {
        struct mechanism_seen *seen = slot->mechanisms;

        slot->mechanisms = seen->next;
        OPENSSL_free(seen);
    }
}

CK_RV slot_info(struct slot *slot, CK_SLOT_INFO *info)
{
    bool known;
    CK_RV rv;

    lock_take();
    known = slot->has_info;
    *info = slot->info;
    lock_release();
    if (known)
        return CKR_OK;
    rv = P11_CALL(slot->module, C_GetSlotInfo, slot_id(slot), info);
    if (rv != CKR_OK)
        return rv;
    lock_take();
    slot->info = *info;
    slot->has_info = true;
    lock_release();
    return CKR_OK;
}

struct session *slot_forget(struct slot *slot)
{
    struct session *idle = slot->idle;

    if (slot->keeper != NULL && !slot->keeper_busy) {
        slot->keeper->next = idle;
        idle = slot->keeper;
    }
    slot->keeper = NULL; /* a busy one is freed by who has it */
    slot->idle = NULL;
    slot->idle_count = 0;
    slot->open = 0;
    slot->closing = 0;
    slot->epoch++;
    if (slot->login == LOGIN_IN)
        slot->login = LOGIN_OUT;
    (void)pthread_cond_broadcast(&slot->changed);
    slot_wake(slot);
    return idle;
}

bool slot_begin_mending(struct slot *slot, unsigned long epoch, struct session **void_sessions)
{
    bool first;

    lock_take();
    first = epoch == slot->epoch && !slot->mending;
    if (first) {
        *void_sessions = slot_forget(slot);
        slot->mending = true;
    }
    lock_release();
    return first;
}

void slot_end_mending(struct slot *slot)
{
    lock_take();
    slot->mending = false;
    slot_wake(slot);
    lock_release();
}

void slot_changed(struct slot *slot)
{
    lock_take();
    slot->changes++;
    lock_release();
}

void slot_wake(struct slot *slot)
{
    if (slot->waiters != NULL)
        (void)pthread_cond_signal(&slot->waiters->turn);
}

/* Whether the token is in the slot id now; then the slot takes that id. */
static CK_RV slot_try(struct slot *slot, CK_SLOT_ID id, bool *found)
{
    CK_TOKEN_INFO token = { 0 };
    CK_RV rv = P11_CALL(slot->module, C_GetTokenInfo, id, &token);

    *found = rv == CKR_OK && same_token(&slot->token, &token);
    if (!*found)
        return rv == CKR_TOKEN_NOT_PRESENT ? CKR_OK : rv;
    lock_take();
    slot->id = id;
    slot->flags = token.flags;
    slot->flags_fresh = true;
    lock_release();
    return CKR_OK;
}

CK_RV slot_locate(struct slot *slot)
{
    _cleanup_(free_scoped) CK_SLOT_ID *ids = NULL;
    CK_ULONG count = 0;
    bool found = false;
    CK_RV rv = slot_list(slot->module, &ids, &count);

    for (CK_ULONG i = 0; rv == CKR_OK && i < count && !found; i++)
        (void)slot_try(slot, ids[i], &found);
    if (rv != CKR_OK)
        return rv;
    return found ? CKR_OK : RV_TOKEN_GONE;
}
