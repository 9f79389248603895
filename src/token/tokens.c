#include "token/tokens.h"

#include <string.h>

#include <openssl/crypto.h>

#include "base/scope.h"
#include "module/call.h"
#include "module/lock.h"
#include "token/slot.h"

static size_t list_size(CK_ULONG count)
{
    return sizeof(struct token_list) + count * sizeof(struct seen_token);
}

static struct seen_token *find(struct token_list *list, CK_SLOT_ID id)
{
    for (CK_ULONG i = 0; list != NULL && i < list->count; i++)
        if (list->seen[i].id == id)
            return &list->seen[i];
    return NULL;
}

/* Under the lock: what was heard of slots that are listed again is still known. */
static void list_replace(struct module *module, struct token_list *fresh)
{
    for (CK_ULONG i = 0; i < fresh->count; i++) {
        const struct seen_token *seen = find(module->tokens, fresh->seen[i].id);

        if (seen != NULL)
            fresh->seen[i] = *seen;
    }
    tokens_forget(module);
    module->tokens = fresh;
}

static struct token_list *list_unasked(const CK_SLOT_ID *ids, CK_ULONG count)
{
    struct token_list *list = OPENSSL_zalloc(list_size(count));

    if (list == NULL)
        return NULL;
    list->count = count;
    for (CK_ULONG i = 0; i < count; i++)
        list->seen[i].id = ids[i];
    return list;
}

void tokens_listed(struct module *module, const CK_SLOT_ID *ids, CK_ULONG count)
{
    struct token_list *fresh = list_unasked(ids, count);

    if (fresh == NULL)
        return;
    lock_take();
    list_replace(module, fresh);
    lock_release();
}

static void saw(struct module *module, CK_SLOT_ID id, CK_RV rv, const CK_TOKEN_INFO *info)
{
    struct seen_token *seen;

    lock_take();
    seen = find(module->tokens, id);
    if (seen != NULL) {
        seen->state = rv == CKR_OK ? TOKEN_PRESENT : slot_absent(rv) ? TOKEN_ABSENT : TOKEN_UNASKED;
        seen->info = *info;
    }
    lock_release();
}

CK_RV tokens_ask(struct module *module, CK_SLOT_ID id, CK_TOKEN_INFO *info)
{
    CK_RV rv = module_token_info(module, id, info);

    saw(module, id, rv, info);
    return rv;
}

void tokens_forget(struct module *module)
{
    OPENSSL_free(module->tokens);
    module->tokens = NULL;
}

static struct token_list *list_copy(struct module *module)
{
    struct token_list *copy = NULL;

    lock_take();
    if (module->tokens != NULL)
        copy = OPENSSL_memdup(module->tokens, list_size(module->tokens->count));
    lock_release();
    return copy;
}

static bool has(struct token_list *list, struct slot *slot)
{
    const struct seen_token *seen = find(list, slot_id(slot));

    return seen != NULL && seen->state == TOKEN_PRESENT && token_is(&slot->token, &seen->info);
}

/* Made of C_GetSlotList's answer: another thread may forget the module's list meanwhile. */
static CK_RV list_anew(struct module *module, struct token_list **out)
{
    _cleanup_(free_scoped) CK_SLOT_ID *ids = NULL;
    CK_ULONG count;
    CK_RV rv;

    lock_take();
    tokens_forget(module);
    lock_release();
    rv = slots_list(module, &ids, &count);
    if (rv != CKR_OK)
        return rv;
    OPENSSL_free(*out);
    *out = list_unasked(ids, count);
    return *out != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

/* SoftHSM 2 has one slot more than tokens, the last, for a token that is still to be made: where
 * there is one token, the other slot need not be asked. */
static bool is_spare(const struct token_list *list, CK_ULONG i)
{
    const struct seen_token *first = &list->seen[0];

    return list->count == 2 && i == 1 && first->state == TOKEN_PRESENT &&
           (first->info.flags & CKF_TOKEN_INITIALIZED) != 0 && token_is_softhsm(&first->info);
}

static void ask(struct module *module, struct token_list *list, bool *asked)
{
    for (CK_ULONG i = 0; i < list->count; i++) {
        struct seen_token *seen = &list->seen[i];
        CK_RV rv;

        if (seen->state != TOKEN_UNASKED || is_spare(list, i))
            continue;
        *asked = true;
        rv = tokens_ask(module, seen->id, &seen->info);
        seen->state = rv == CKR_OK ? TOKEN_PRESENT : TOKEN_UNASKED;
    }
}

CK_RV tokens_there(struct slot *slot, bool all, struct token_list **out, bool *asked)
{
    CK_RV rv = CKR_OK;

    *out = list_copy(slot->module);
    if (!has(*out, slot)) {
        rv = list_anew(slot->module, out);
        all = *asked = true;
    }
    if (rv == CKR_OK && all)
        ask(slot->module, *out, asked);
    if (rv == CKR_OK)
        return CKR_OK;
    OPENSSL_free(*out);
    *out = NULL;
    return rv;
}
