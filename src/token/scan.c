#include "token/scan.h"

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/clock.h"
#include "base/scope.h"
#include "module/call.h"
#include "module/ckr.h"
#include "module/lock.h"

/* Mends what a call outside a session needs: the module, or time. */
static bool mend(struct scan *scan, struct retry *retry, unsigned long life, CK_RV rv)
{
    const char *name = call_name();

    struct verdict verdict = ckr_verdict(name, rv);

    if (!verdict_try_again(&verdict, retry->tries))
        return false;
    if (verdict.repair == REPAIR_MODULE) {
        lock_take();
        module_lost(scan->module, life);
        lock_release();
    }
    if (!retry_pause(retry))
        return false;
    (void)module_start(scan->module);
    call_named(name);
    return true;
}

/* call, again and again while that may help. */
#define RETRYING(scan, call)                                                                       \
    __extension__({                                                                                \
        struct retry retry_ = { .budget_ms = (scan)->limits->retry_ms };                           \
        unsigned long life_;                                                                       \
        CK_RV rv_;                                                                                 \
                                                                                                   \
        do {                                                                                       \
            life_ = atomic_load(&(scan)->module->life);                                            \
            rv_ = (call);                                                                          \
        } while (rv_ != CKR_OK && mend(scan, &retry_, life_, rv_));                                \
        rv_;                                                                                       \
    })

void scan_begin(struct scan *scan, struct module *module, const struct uri *uri,
                const struct pool_limits *limits)
{
    *scan = (struct scan){
        .module = module, .uri = uri, .limits = limits, .looks = { .budget_ms = limits->retry_ms }
    };
    module_allow(module, limits->wait_ms + limits->retry_ms);
}

void scan_all(struct scan *scan)
{
    scan->all = true;
}

bool scan_went_round(const struct scan *scan)
{
    return scan->again || scan->next == scan->count;
}

static CK_RV library_info(struct module *module, CK_INFO *info)
{
    bool known;
    CK_RV rv = CKR_OK;

    lock_take();
    known = module->has_info;
    *info = module->info;
    lock_release();
    if (known)
        return CKR_OK;
    rv = module_info(module, info);
    if (rv != CKR_OK)
        return rv;
    lock_take();
    module->info = *info;
    module->has_info = true;
    lock_release();
    return CKR_OK;
}

static void note_seen(struct scan *scan, struct slot *slot)
{
    size_t used = strlen(scan->seen);

    if (scan->seen_count++ == 0)
        scan->seen_first = slot;
    scan->shown = scan->shown || slot->token.label[0] != '\0';
    (void)snprintf(scan->seen + used, sizeof(scan->seen) - used, "%s'%s'", used != 0 ? ", " : "",
                   slot->token.label);
}

static CK_RV slot_fits(struct scan *scan, struct slot *slot, bool *fits)
{
    CK_SLOT_INFO info;
    CK_RV rv;

    *fits = uri_matches_token(scan->uri, slot_id(slot), &slot->token.info);
    if (!*fits || !scan->uri->names_slot)
        return CKR_OK;
    rv = RETRYING(scan, slot_info(slot, &info));
    *fits = rv == CKR_OK && uri_matches_slot(scan->uri, &info);
    return rv;
}

/* Whether slot is one to give out. */
static CK_RV scan_consider(struct scan *scan, struct slot *slot, bool *fits)
{
    bool initialized = (slot_flags(slot) & CKF_TOKEN_INITIALIZED) != 0;
    CK_RV rv = slot_fits(scan, slot, fits);

    if (initialized)
        note_seen(scan, slot);
    else if (*fits)
        scan->uninitialized = true;
    *fits = *fits && initialized;
    scan->matched += *fits;
    return rv;
}

static struct slot *known_next(struct scan *scan)
{
    struct slot *slot = scan->known;

    if (slot != NULL) {
        scan->known = slot->next;
        slot_allow(slot, scan->limits);
    }
    return slot;
}

static CK_RV next_known(struct scan *scan, struct slot **out)
{
    bool fits = false;
    CK_RV rv = CKR_OK;

    do {
        *out = known_next(scan);
        if (*out != NULL)
            rv = scan_consider(scan, *out, &fits);
    } while (rv == CKR_OK && *out != NULL && !fits);
    return rv;
}

/* A slot that cannot be looked at must not hide the others. */
static void note_failure(struct scan *scan, CK_RV rv)
{
    if (rv == CKR_OK || scan->failure != CKR_OK)
        return;
    scan->failure = rv;
    scan->failed_call = call_name();
}

/* Those that failed come again, once all others had their turn: a dead token shall not hold up
 * those who look for another. */
static bool begin_again(struct scan *scan)
{
    if (scan->again || scan->failed == 0)
        return false;
    scan->again = true;
    scan->count = scan->failed;
    scan->next = 0;
    return true;
}

static CK_RV look_at(struct scan *scan, CK_SLOT_ID id, struct slot **slot)
{
    *slot = NULL;
    if (scan->again)
        return RETRYING(scan, slot_at(scan->module, id, scan->limits, slot));
    return slot_at(scan->module, id, scan->limits, slot);
}

static struct slot *next_listed(struct scan *scan)
{
    while (scan->next < scan->count || begin_again(scan)) {
        struct slot *slot;
        bool fits = false;
        CK_SLOT_ID id = scan->ids[scan->next++];
        CK_RV rv = look_at(scan, id, &slot);

        if (rv == CKR_OK && slot != NULL)
            rv = scan_consider(scan, slot, &fits);
        if (rv == CKR_OK && fits)
            return slot;
        if (rv != CKR_OK && !scan->again)
            scan->ids[scan->failed++] = id;
        else
            note_failure(scan, rv);
    }
    return NULL;
}

static CK_RV list(struct scan *scan)
{
    CK_RV rv;

    scan_end(scan);
    scan->count = scan->next = scan->failed = 0;
    scan->matched = 0;
    scan->again = scan->uninitialized = scan->shown = false;
    scan->stage = SCAN_LISTED;
    scan->seen[0] = '\0';
    scan->seen_count = 0;
    scan->life = atomic_load(&scan->module->life);
    rv = RETRYING(scan, slots_list(scan->module, &scan->ids, &scan->count));
    if (rv != CKR_OK)
        return rv;
    lock_take();
    scan->module->listed = true;
    lock_release();
    return CKR_OK;
}

static bool library_fits(struct scan *scan, CK_RV *rv)
{
    CK_INFO info;

    *rv = CKR_OK;
    if (!scan->uri->names_library)
        return true;
    *rv = RETRYING(scan, library_info(scan->module, &info));
    return *rv == CKR_OK && uri_matches_library(scan->uri, &info);
}

static CK_RV begin(struct scan *scan)
{
    bool listed;
    CK_RV rv = RETRYING(scan, module_start(scan->module));

    if (rv != CKR_OK)
        return rv;
    if (!library_fits(scan, &rv)) {
        scan->other_library = rv == CKR_OK;
        scan->stage = SCAN_DONE;
        return rv;
    }
    lock_take();
    /* a listing wants every token */
    listed = scan->module->listed && scan->uri->names_object && !scan->all;
    scan->known = scan->module->slots;
    lock_release();
    scan->stage = SCAN_KNOWN;
    return listed ? CKR_OK : list(scan);
}

static bool list_anew(struct scan *scan)
{
    scan->failure = CKR_OK;
    return RETRYING(scan, module_start(scan->module)) == CKR_OK && list(scan) == CKR_OK;
}

/* Once in a scan; true when the module is in another life, by this thread's doing or another's, and
 * its slots are listed. */
static bool renew(struct scan *scan, bool for_none)
{
    if (scan->renewed)
        return false;
    scan->renewed = true;
    if (for_none)
        module_renew(scan->module);
    else
        (void)module_restart(scan->module, NULL);
    return scan->life != atomic_load(&scan->module->life) && list_anew(scan);
}

/* What is looked for may be nowhere: that is waited for no longer than this, and not so long where
 * the module shows other tokens. */
#define NONE_SHOWN_MS   1000U
#define OTHERS_SHOWN_MS 250U

static unsigned lesser(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static bool look_again(struct scan *scan, bool failed)
{
    unsigned most = scan->limits->retry_ms;

    if (scan->looks.tries == 0)
        scan->looked = clock_ms();
    if (!failed)
        most = lesser(most, scan->shown ? OTHERS_SHOWN_MS : NONE_SHOWN_MS);
    return module_look_again(scan->module, NULL, &scan->looks, most) && list_anew(scan);
}

bool scan_again(struct scan *scan, CK_RV rv, const char *call)
{
    /* and not about the PIN, of which its flags tell */
    bool unclear =
        ckr_describe(rv)->repair != REPAIR_NOTHING && strcmp(call, "C_GetTokenInfo") == 0;

    if (scan->stage != SCAN_KNOWN && scan->stage != SCAN_LISTED)
        return false;
    if ((unclear || rv == RV_TOKEN_GONE) && look_again(scan, true))
        return true;
    return unclear && renew(scan, false);
}

const char *scan_tell_waited(const struct scan *scan, char *buf)
{
    buf[0] = '\0';
    if (scan->looks.tries != 0)
        (void)snprintf(buf, SCAN_WAITED_MAX, " (looked for again for %lu ms)",
                       (unsigned long)(clock_ms() - scan->looked));
    return buf;
}

/* Where no token fits. */
static bool look_for_more(struct scan *scan)
{
    bool failed = scan->failure != CKR_OK;

    if (scan->stage != SCAN_LISTED || scan->matched != 0)
        return false;
    return look_again(scan, failed) || (!failed && renew(scan, true));
}

CK_RV scan_next(struct scan *scan, struct slot **out)
{
    CK_RV rv = CKR_OK;

    *out = NULL;
    if (scan->stage == SCAN_BEGIN)
        rv = begin(scan);
    if (rv == CKR_OK && scan->stage == SCAN_KNOWN) {
        rv = next_known(scan, out);
        if (rv == CKR_OK && *out == NULL && scan->matched == 0)
            rv = list(scan);
    }
    if (rv == CKR_OK && *out == NULL && scan->stage == SCAN_LISTED)
        *out = next_listed(scan);
    while (rv == CKR_OK && *out == NULL && look_for_more(scan))
        *out = next_listed(scan);
    return rv;
}

bool scan_widen(struct scan *scan)
{
    if (scan->stage != SCAN_KNOWN)
        return false;
    return list(scan) == CKR_OK;
}

static bool is_other(const struct scan *scan, struct slot *slot, const struct seen_token *seen)
{
    return seen->state == TOKEN_PRESENT && seen->id != slot_id(slot) &&
           uri_matches_token(scan->uri, seen->id, &seen->info);
}

struct slot *scan_other(struct scan *scan, struct slot *slot, struct token_list **list,
                        CK_ULONG *at)
{
    bool asked, fits = false;

    if (uri_names_one_token(scan->uri) ||
        (*list == NULL && tokens_there(slot, true, list, &asked) != CKR_OK))
        return NULL;
    while (*at < (*list)->count) {
        const struct seen_token *seen = &(*list)->seen[(*at)++];
        struct slot *other = NULL;

        if (is_other(scan, slot, seen) &&
            slot_at(scan->module, seen->id, scan->limits, &other) == CKR_OK && other != NULL &&
            other != slot && scan_consider(scan, other, &fits) == CKR_OK && fits)
            return other;
    }
    return NULL;
}

void scan_end(struct scan *scan)
{
    OPENSSL_free(scan->ids);
    scan->ids = NULL;
}
