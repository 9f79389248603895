#include "token/pins.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/scope.h"
#include "module/call.h"
#include "module/lock.h"
#include "token/pin_file.h"
#include "token/slot.h"
#include "token/tokens.h"
#include "uri/uri.h"

void pins_number(struct pin_source *pins)
{
    static atomic_uint_fast64_t last;

    if (pins->operation == 0)
        pins->operation = atomic_fetch_add(&last, 1) + 1;
}

void pin_scoped(struct pin *pin)
{
    secret_free(pin->secret);
    OPENSSL_free(pin->file);
}

static CK_RV pin_from_file(const char *path, struct pin *pin)
{
    pin->secret = secret_from_file(path);
    if (pin->secret == NULL) {
        call_detail_set("cannot read the PIN from %s: %s", path,
                        errno == ENODATA     ? "its first line is empty"
                        : errno == ETIMEDOUT ? "nobody wrote one to it in time"
                        : errno == EILSEQ
                            ? "it is no text: there is a NUL or a byte order mark in it"
                            : strerror(errno));
        return RV_PIN_SOURCE;
    }
    pin->file = OPENSSL_strdup(path);
    return pin->file != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

/* The PIN that the token took: from its file once more, if it came from one. One that is listed in
 * pkcs11-token-pins is looked for there. */
static CK_RV pin_known(struct slot *slot, struct pin_source *pins, struct pin *pin)
{
    _cleanup_(free_scoped) char *path = NULL;

    pin->source = "the PIN that the token took before";
    lock_take();
    if (slot->login.pin_file != NULL)
        path = OPENSSL_strdup(slot->login.pin_file);
    else if (!slot->login.pin_listed || pins->config->table == NULL)
        pin->secret = secret_ref(slot->login.pin);
    lock_release();
    return path != NULL ? pin_from_file(path, pin) : CKR_OK;
}

/* Which tokens there are, asked for once and only where it matters. */
struct scope {
    struct slot *slot;
    struct pin_source *pins;
    struct token_list *there;
    bool complete;
    bool asked;   /* a slot was */
    bool unclear; /* a line of the table is for several tokens, and this is one */
    CK_RV rv;
};

static void scope_clear(struct scope *scope)
{
    OPENSSL_free(scope->there);
}

static bool scope_look(struct scope *scope, bool all)
{
    if (scope->rv == CKR_OK && (scope->there == NULL || (all && !scope->complete))) {
        OPENSSL_free(MOVE(scope->there));
        scope->rv = tokens_there(scope->slot, all, &scope->there, &scope->asked);
        scope->complete = all;
    }
    return scope->rv == CKR_OK;
}

static CK_ULONG count_there(const struct scope *scope, const struct uri *uri)
{
    CK_ULONG count = 0;

    for (CK_ULONG i = 0; i < scope->there->count; i++) {
        const struct seen_token *seen = &scope->there->seen[i];

        count += seen->state == TOKEN_PRESENT && uri_matches_token(uri, seen->id, &seen->info);
    }
    return count;
}

/* Whether the URI names the token and no other. A serial number or a slot does, unless another
 * token with it is known. */
static bool is_named(struct scope *scope, const struct uri *uri)
{
    if (!uri->names_token ||
        !uri_matches_token(uri, slot_id(scope->slot), &scope->slot->token.info))
        return false;
    return scope_look(scope, !uri_names_one_token(uri)) && count_there(scope, uri) == 1;
}

static bool wants_pin(const struct seen_token *seen)
{
    const CK_FLAGS relevant =
        CKF_LOGIN_REQUIRED | CKF_TOKEN_INITIALIZED | CKF_PROTECTED_AUTHENTICATION_PATH;

    return seen->state == TOKEN_PRESENT &&
           (seen->info.flags & relevant) == (CKF_LOGIN_REQUIRED | CKF_TOKEN_INITIALIZED);
}

/* Whether no token but this one wants a PIN. */
static bool is_only(struct scope *scope)
{
    CK_ULONG others = 0;

    if (!scope_look(scope, true))
        return false;
    for (CK_ULONG i = 0; i < scope->there->count; i++)
        others +=
            wants_pin(&scope->there->seen[i]) && scope->there->seen[i].id != slot_id(scope->slot);
    return others == 0;
}

static bool fits_line(void *arg, const struct uri *uri)
{
    struct scope *scope = arg;
    bool named = is_named(scope, uri);

    if (!named && uri_matches_token(uri, slot_id(scope->slot), &scope->slot->token.info))
        scope->unclear = true;
    return named;
}

/* What pkcs11-token-pins has for the token: nothing in pin where it has nothing. */
static CK_RV pin_of_table(struct scope *scope, struct pin *pin)
{
    _cleanup_(free_scoped) char *path = NULL;
    char why[CALL_DETAIL_MAX];

    pin->source = "pkcs11-token-pins";
    if (!pin_file_find(scope->pins->config->table, fits_line, scope, pin, why, sizeof(why))) {
        call_detail_set("%s", why);
        return RV_PIN_SOURCE;
    }
    pin->listed = pin->secret != NULL;
    path = MOVE(pin->file);
    if (scope->rv != CKR_OK || path == NULL)
        return scope->rv;
    return pin_from_file(path, pin);
}

/* Lists the tokens, for a person who is to say which of them is meant. */
static CK_RV unnamed(struct scope *scope)
{
    char tokens[CALL_DETAIL_MAX / 2] = "";

    if (!scope_look(scope, true))
        return scope->rv;
    for (CK_ULONG i = 0; i < scope->there->count; i++)
        if (wants_pin(&scope->there->seen[i]))
            token_tell(&scope->there->seen[i].info, scope->there->seen[i].id, tokens,
                       sizeof(tokens));
    call_detail_set("the configured PIN is shown to no token, since nothing names one alone: put "
                    "token= or serial= in the URI, set pkcs11-token-pins = file:/path (on each "
                    "line: token URI, blank, PIN source), or pkcs11-pin-scope = any; tokens that "
                    "want a PIN: %s",
                    tokens);
    return RV_PIN_UNNAMED;
}

static CK_RV pin_of_config(struct scope *scope, struct pin *pin)
{
    struct pin_source *pins = scope->pins;
    CK_RV rv = CKR_OK;

    if (pins->config->pin == NULL && pins->config->file == NULL)
        return scope->unclear ? unnamed(scope) : CKR_OK;
    pin->source = "pkcs11-module-token-pin";
    pin->secret = secret_ref(pins->config->pin);
    if (pin->secret == NULL)
        rv = pin_from_file(pins->config->file, pin);
    if (rv != CKR_OK || pins->config->for_any || (pins->uri != NULL && is_named(scope, pins->uri)))
        return rv;
    pin->alone = is_only(scope);
    return pin->alone ? CKR_OK : unnamed(scope);
}

/* What the configuration has for the token: nothing in pin where it has nothing. */
static CK_RV pin_configured(struct slot *slot, struct pin_source *pins, struct pin *pin)
{
    _cleanup_(scope_clear) struct scope scope = { .slot = slot, .pins = pins };
    CK_RV rv = pins->config->table != NULL ? pin_of_table(&scope, pin) : CKR_OK;

    if (rv == CKR_OK && pin->secret == NULL)
        rv = pin_of_config(&scope, pin);
    pin->asked = scope.asked;
    return rv;
}

static CK_RV pin_asked(struct slot *slot, struct pin_source *pins, struct pin *pin)
{
    if (pins->ask != NULL && pins->asked != slot) {
        pins->asked = slot;
        pin->source = "the program, or the person, that was asked";
        pin->secret = pins->ask(pins->ask_arg, &slot->token.info);
        pin->asked = true;
    }
    return pin->secret != NULL ? CKR_OK : RV_PIN_MISSING;
}

static CK_RV pin_of_uri(struct slot *slot, struct pin_source *pins, struct pin *pin)
{
    (void)slot;
    pin->source = pins->value != NULL ? "the URI" : "pin-source of the URI";
    if (pins->value == NULL && pins->file != NULL)
        return pin_from_file(pins->file, pin);
    pin->secret = secret_ref(pins->value);
    return CKR_OK;
}

/* Whether the PIN that was known, from a file, is there no more or was refused. */
static bool is_outdated(struct slot *slot, const struct pin_source *pins, const struct pin *known,
                        CK_RV rv)
{
    return rv != CKR_OK || (known->file != NULL && login_refused(slot, pins, known->secret));
}

static CK_RV pin_other(struct slot *slot, struct pin_source *pins, struct pin *pin)
{
    CK_RV rv = pin_configured(slot, pins, pin);

    return rv == CKR_OK && pin->secret == NULL ? pin_asked(slot, pins, pin) : rv;
}

static void pin_move(struct pin *to, struct pin *from)
{
    *to = *from;
    *from = (struct pin){ .secret = NULL };
}

/* An outdated PIN does not hide the others. Where there are none, it says why. */
static CK_RV find(struct slot *slot, struct pin_source *pins, struct pin *pin)
{
    _cleanup_(pin_scoped) struct pin known = { .secret = NULL };
    CK_RV rv = pin_of_uri(slot, pins, pin), of_known;

    if (rv != CKR_OK || pin->secret != NULL)
        return rv;
    of_known = pin_known(slot, pins, &known);
    if (known.secret == NULL || is_outdated(slot, pins, &known, of_known))
        rv = pin_other(slot, pins, pin);
    if (pin->secret != NULL || (known.secret == NULL && of_known == CKR_OK))
        return rv;
    pin_move(pin, &known);
    return of_known;
}

CK_RV pins_find(struct slot *slot, struct pin_source *pins, struct pin *pin)
{
    CK_RV rv = find(slot, pins, pin);

    if (pin->secret == NULL || pins->config->most == 0 ||
        secret_len(pin->secret) <= pins->config->most)
        return rv;
    call_detail_set("the PIN for the token '%s' is longer than pkcs11-max-pin-length allows (%zu), "
                    "and is not shown",
                    slot->token.label, pins->config->most);
    return RV_PIN_SOURCE;
}
