#include "token/slot.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/scope.h"
#include "module/lock.h"
#include "token/tokens.h"

CK_FLAGS slot_flags(struct slot *slot)
{
    return atomic_load(&slot->flags);
}

CK_SLOT_ID slot_id(struct slot *slot)
{
    CK_SLOT_ID id;

    lock_take();
    id = slot->id;
    lock_release();
    return id;
}

/* Under the lock */
static struct slot *slot_new(struct module *module, CK_SLOT_ID id, const CK_TOKEN_INFO *token)
{
    struct slot *slot = aligned_alloc(_Alignof(struct slot), sizeof(*slot)); /* never freed */

    if (slot == NULL)
        return NULL;
    memset(slot, 0, sizeof(*slot));
    slot->module = module;
    slot->id = id;
    slot->token = token_of(token);
    pool_begin(&slot->pool, slot);
    login_begin(&slot->login);
    slot->next = module->slots;
    module->slots = slot;
    return slot;
}

void slot_allow(struct slot *slot, const struct pool_limits *limits)
{
    pool_allow(&slot->pool, limits, slot->token.info.ulMaxSessionCount);
    if (limits->retry_ms > atomic_load(&slot->retry_ms))
        atomic_store(&slot->retry_ms, limits->retry_ms);
}

/* Under the lock: the slot of that token, wherever it was before. Without a serial number it is
 * taken for the same only where it was. */
static struct slot *slot_find(struct module *module, CK_SLOT_ID id, const CK_TOKEN_INFO *token)
{
    struct slot *elsewhere = NULL;

    for (struct slot *slot = module->slots; slot != NULL; slot = slot->next) {
        if (!token_is(&slot->token, token))
            continue;
        if (slot->id == id)
            return slot;
        if (token_has_serial(&slot->token))
            elsewhere = slot;
    }
    return elsewhere;
}

/* Under the lock: the token is in the slot with this id. */
static void slot_settle(struct slot *slot, CK_SLOT_ID id, const CK_TOKEN_INFO *token)
{
    slot->id = id;
    slot->lost = false;
    atomic_store(&slot->flags, token->flags);
}

bool slot_absent(CK_RV rv)
{
    return rv == CKR_TOKEN_NOT_PRESENT || rv == CKR_TOKEN_NOT_RECOGNIZED ||
           rv == CKR_SLOT_ID_INVALID;
}

CK_RV slots_list(struct module *module, CK_SLOT_ID **ids, CK_ULONG *count)
{
    CK_RV rv = module_slots(module, ids, count);

    if (rv == CKR_OK)
        tokens_listed(module, *ids, *count);
    return rv;
}

CK_RV slot_at(struct module *module, CK_SLOT_ID id, const struct pool_limits *limits,
              struct slot **out)
{
    CK_TOKEN_INFO token = { 0 };
    struct slot *slot;
    CK_RV rv = tokens_ask(module, id, &token);

    *out = NULL;
    if (slot_absent(rv)) /* though C_GetSlotList has it: it may be just back */
        rv = tokens_ask(module, id, &token);
    if (slot_absent(rv))
        return CKR_OK;
    if (rv != CKR_OK)
        return rv;
    lock_take();
    slot = slot_find(module, id, &token);
    if (slot == NULL)
        slot = slot_new(module, id, &token);
    if (slot != NULL)
        slot_settle(slot, id, &token);
    lock_release();
    if (slot == NULL)
        return CKR_HOST_MEMORY;
    slot_allow(slot, limits);
    *out = slot;
    return CKR_OK;
}

static struct mechanism_seen *mechanism_find(const struct slot *slot, CK_MECHANISM_TYPE type)
{
    struct mechanism_seen *seen = atomic_load(&slot->mechanisms);

    while (seen != NULL && seen->type != type)
        seen = seen->next;
    return seen;
}

static CK_FLAGS mechanism_flags(const struct slot *slot, CK_MECHANISM_TYPE type)
{
    const struct mechanism_seen *seen = mechanism_find(slot, type);

    return seen != NULL ? atomic_load(&seen->flags) : NOT_ASKED;
}

/* Under the lock */
static void mechanism_add(struct slot *slot, CK_MECHANISM_TYPE type, CK_FLAGS flags)
{
    struct mechanism_seen *seen = OPENSSL_zalloc(sizeof(*seen));

    if (seen == NULL)
        return;
    seen->next = atomic_load(&slot->mechanisms);
    seen->type = type;
    atomic_init(&seen->flags, flags);
    atomic_store(&slot->mechanisms, seen);
}

/* Under the lock */
static void mechanism_remember(struct slot *slot, CK_MECHANISM_TYPE type, CK_FLAGS flags)
{
    struct mechanism_seen *seen = mechanism_find(slot, type);

    if (seen != NULL)
        atomic_store(&seen->flags, flags);
    else
        mechanism_add(slot, type, flags);
    atomic_fetch_add(&slot->learnt, 1);
}

/* What modules say of a mechanism that they don't have. */
static bool says_no(CK_RV rv)
{
    return rv == CKR_MECHANISM_INVALID || rv == CKR_MECHANISM_PARAM_INVALID ||
           rv == CKR_ARGUMENTS_BAD || rv == CKR_FUNCTION_NOT_SUPPORTED;
}

/* Of the token that is in the slot where session was opened: it may have moved since. Where all is
 * forgotten, the epoch has ended before, under the same lock. */
static CK_RV mechanism_ask(const struct session *session, CK_MECHANISM_TYPE type, CK_FLAGS *has)
{
    CK_MECHANISM_INFO info = { 0 };
    CK_RV rv = module_mechanism_info(session->module, session->id, type, &info);

    if (rv != CKR_OK && !says_no(rv))
        return rv;
    *has = rv == CKR_OK ? info.flags : 0;
    lock_take();
    if (session_current(session))
        mechanism_remember(session->slot, type, *has);
    lock_release();
    return CKR_OK;
}

bool slot_lacks(const struct slot *slot, CK_MECHANISM_TYPE variant)
{
    return mechanism_flags(slot, variant) != NOT_ASKED;
}

void slot_learn_lack(struct slot *slot, CK_MECHANISM_TYPE variant)
{
    if (slot_lacks(slot, variant))
        return;
    lock_take();
    mechanism_remember(slot, variant, 0);
    lock_release();
}

bool slot_mechanism_known(const struct slot *slot, CK_MECHANISM_TYPE mechanism, CK_FLAGS flags,
                          bool *has)
{
    CK_FLAGS known = mechanism_flags(slot, mechanism);

    *has = known != NOT_ASKED && (known & flags) == flags;
    return known != NOT_ASKED;
}

CK_RV slot_mechanism(const struct session *session, CK_MECHANISM_TYPE mechanism, CK_FLAGS flags,
                     bool *has)
{
    CK_FLAGS all = 0;
    CK_RV rv;

    if (slot_mechanism_known(session->slot, mechanism, flags, has))
        return CKR_OK;
    rv = mechanism_ask(session, mechanism, &all);
    *has = (all & flags) == flags;
    return rv;
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
    rv = module_slot_info(slot->module, slot_id(slot), info);
    if (rv != CKR_OK)
        return rv;
    lock_take();
    slot->info = *info;
    slot->has_info = true;
    lock_release();
    return CKR_OK;
}

void slot_changed(struct slot *slot)
{
    atomic_fetch_add(&slot->changes, 1);
}

CK_RV slot_identify(struct slot *slot, CK_SLOT_ID id, CK_FLAGS *flags)
{
    CK_TOKEN_INFO info = { 0 };
    CK_RV rv = tokens_ask(slot->module, id, &info);

    if (rv != CKR_OK)
        return rv;
    if (!token_is(&slot->token, &info))
        return RV_TOKEN_MOVED;
    atomic_store(&slot->flags, info.flags);
    *flags = info.flags;
    return CKR_OK;
}

/* Whether the token is in the slot id now; then the slot takes that id. */
static bool slot_try(struct slot *slot, CK_SLOT_ID id)
{
    CK_TOKEN_INFO token = { 0 };

    if (tokens_ask(slot->module, id, &token) != CKR_OK || !token_is(&slot->token, &token))
        return false;
    lock_take();
    slot_settle(slot, id, &token);
    lock_release();
    return true;
}

CK_RV slot_locate(struct slot *slot)
{
    _cleanup_(free_scoped) CK_SLOT_ID *ids = NULL;
    CK_ULONG count = 0;
    bool found = false;
    CK_RV rv = slots_list(slot->module, &ids, &count);

    for (CK_ULONG i = 0; rv == CKR_OK && i < count && !found; i++)
        found = slot_try(slot, ids[i]);
    if (found)
        return CKR_OK;
    lock_take();
    slot->lost = true;
    lock_release();
    return rv != CKR_OK ? rv : RV_TOKEN_GONE;
}

CK_RV slot_find_token(struct slot *slot, CK_SLOT_ID *id)
{
    bool lost;
    CK_RV rv;

    lock_take();
    lost = slot->lost;
    lock_release();
    rv = lost ? slot_locate(slot) : CKR_OK;
    *id = slot_id(slot);
    return rv;
}

/* The list only grows, at its front. */
static struct slot *slots_first(struct module *module)
{
    struct slot *first;

    lock_take();
    first = module->slots;
    lock_release();
    return first;
}

bool slots_have_session(struct module *module, CK_SESSION_HANDLE ck)
{
    struct slot *slot = slots_first(module);

    while (slot != NULL && !pool_has(&slot->pool, ck))
        slot = slot->next;
    return slot != NULL;
}

/* Under the lock: what the token said of itself and its mechanisms is not known any more. */
static void ask_anew(struct slot *slot)
{
    struct mechanism_seen *seen = atomic_load(&slot->mechanisms);

    slot->has_info = false;
    for (; seen != NULL; seen = seen->next)
        atomic_store(&seen->flags, NOT_ASKED);
    atomic_fetch_add(&slot->learnt, 1);
}

static void forget(struct module *module)
{
    tokens_forget(module);
    for (struct slot *slot = module->slots; slot != NULL; slot = slot->next) {
        pool_forget(&slot->pool);
        ask_anew(slot);
    }
}

static void disown(struct module *module)
{
    for (struct slot *slot = module->slots; slot != NULL; slot = slot->next) {
        pool_disown(&slot->pool);
        login_begin(&slot->login);
    }
}

static void leave(struct module *module, bool close)
{
    for (struct slot *slot = slots_first(module); slot != NULL; slot = slot->next)
        pool_leave(&slot->pool, close);
}

static void drop(struct module *module)
{
    for (struct slot *slot = module->slots; slot != NULL; slot = slot->next)
        login_clear(&slot->login);
}

static bool wait_unused(struct module *module, uint64_t deadline)
{
    bool unused = true;

    for (struct slot *slot = slots_first(module); slot != NULL; slot = slot->next)
        unused = pool_wait_unused(&slot->pool, deadline) && unused;
    return unused;
}

/* By asking its token, since a token that nobody has used for a while may have failed as well. */
static bool works(struct slot *slot)
{
    CK_FLAGS flags;

    return pool_in_use(&slot->pool) && slot_identify(slot, slot_id(slot), &flags) == CKR_OK;
}

static bool others_work(struct module *module, const struct slot *but)
{
    struct slot *slot = slots_first(module);

    while (slot != NULL && (slot == but || !works(slot)))
        slot = slot->next;
    return slot != NULL;
}

const struct module_tenant slots_tenant = { .forget = forget,
                                            .disown = disown,
                                            .leave = leave,
                                            .drop = drop,
                                            .wait_unused = wait_unused,
                                            .others_work = others_work };
