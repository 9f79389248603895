#include "key/where.h"

#include "key/open.h"
#include "module/call.h"

/* The next token that the URI may name, also behind those that were known and are gone. */
static CK_RV next_slot(struct scan *scan, struct slot **slot)
{
    CK_RV rv = scan_next(scan, slot);

    return rv == CKR_OK && *slot == NULL && scan_widen(scan) ? scan_next(scan, slot) : rv;
}

/* The tokens that the URI fits, so that it is seen whether it names one. */
struct choice {
    struct slot *slot; /* the first on which the key can be made, if there is one */
    unsigned count;    /* of those */
    char tokens[CALL_DETAIL_MAX / 2];
};

static bool can_be_made(const struct where *where, struct slot *slot)
{
    return !where->token_object || (slot_flags(slot) & CKF_WRITE_PROTECTED) == 0;
}

static void choice_add(struct choice *choice, const struct where *where, struct slot *slot)
{
    bool possible = can_be_made(where, slot);

    if (choice->slot == NULL || (possible && choice->count == 0))
        choice->slot = slot;
    if (!possible)
        return;
    choice->count++;
    token_tell(&slot->token.info, slot_id(slot), choice->tokens, sizeof(choice->tokens));
}

/* Asks every slot once. One that does not answer is not waited for where another token fits. */
static CK_RV choose(const struct where *where, struct scan *scan, struct choice *choice)
{
    struct slot *slot;
    CK_RV rv;

    scan_all(scan);
    do {
        rv = scan_next(scan, &slot);
        if (rv == CKR_OK && slot != NULL)
            choice_add(choice, where, slot);
    } while (rv == CKR_OK && slot != NULL && !scan_went_round(scan));
    return rv;
}

/* Nothing is asked of a token that says it cannot be written to. */
static CK_RV try_on(const struct where *where, struct slot *slot)
{
    if (can_be_made(where, slot))
        return where->make(slot, where->arg);
    call_named("C_GetTokenInfo");
    return CKR_TOKEN_WRITE_PROTECTED;
}

/* On slot or, where that is NULL, its token gone or write-protected, on the next token that the URI
 * fits. */
static CK_RV make_somewhere(const struct where *where, struct scan *scan, struct slot *slot)
{
    CK_RV passed = CKR_OK, rv = slot == NULL ? next_slot(scan, &slot) : CKR_OK;
    const char *failed_call = call_name();

    while (rv == CKR_OK && slot != NULL) {
        rv = passed = try_on(where, slot);
        failed_call = call_name();
        if (rv != RV_TOKEN_GONE && rv != CKR_TOKEN_WRITE_PROTECTED &&
            !scan_again(scan, rv, failed_call))
            return rv;
        rv = next_slot(scan, &slot);
        if (rv == CKR_OK && slot == NULL && scan_again(scan, passed, failed_call))
            rv = next_slot(scan, &slot);
    }
    if (rv == CKR_OK)
        call_named(failed_call);
    return rv == CKR_OK ? passed : rv;
}

static bool ambiguous(const struct where *where, const struct choice *choice)
{
    error_raise(&where->provider->core, REASON_TOKEN,
                "cannot generate a key for %s: it fits %u tokens: %s: name one of them in "
                "pkcs11_uri (;serial= or ;slot-id=), or set pkcs11-ambiguous = first",
                where->uri->text, choice->count, choice->tokens);
    return false;
}

/* Whether the URI has to name one token. */
static bool must_name_one(const struct where *where)
{
    return where->named && !where->provider->config.ambiguous_first;
}

bool where_make(const struct where *where)
{
    struct provider *provider = where->provider;
    struct module *module = provider_module(provider, where->uri->module_path);
    struct choice choice = { .slot = NULL };
    struct scan scan;
    CK_RV rv = CKR_OK;

    if (module == NULL)
        return false;
    scan_begin(&scan, module, where->uri, &provider->config.limits);
    if (must_name_one(where))
        rv = choose(where, &scan, &choice);
    if (rv == CKR_OK && choice.count <= 1)
        rv = make_somewhere(where, &scan, choice.slot);
    scan_end(&scan);
    if (choice.count > 1)
        return ambiguous(where, &choice);
    if (rv != CKR_OK)
        where->failed(rv, where->arg);
    else if (scan.matched == 0)
        open_raise_no_token(provider, where->uri, &scan);
    return rv == CKR_OK && scan.matched != 0;
}
