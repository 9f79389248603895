/* pkcs11-bridge pin: another PIN for the user of a token, and for the file that has it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "base/terminal.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/replace.h"
#include "cli/say.h"
#include "cli/token.h"
#include "key/open.h"
#include "module/call.h"
#include "token/run.h"

enum { NEW, IN };
static const struct option_row options[] = {
    [NEW] = { "new", "FILE", "the new PIN is in its first line; a person is asked without" },
    [IN] = { "in", "FILE", "the file that has the PIN, where openssl.cnf and URI name another" },
    { NULL, NULL, NULL },
};

struct change {
    struct call *call;
    struct uri uri;
    struct pin_source pins;
    struct slot *slot;
    struct pin old; /* with the file that it came from */
    struct secret *new;
    struct replacement file; /* begun where there is one */
    bool called;             /* C_SetPIN */
};

static struct view view_secret(const struct secret *secret)
{
    return (struct view){ (const uint8_t *)secret_data(secret), secret_len(secret) };
}

/* The user is logged in: it is the right one. */
static CK_RV find_old(struct session *session, void *arg)
{
    struct change *change = arg;

    return change->old.secret != NULL ? CKR_OK
                                      : pins_find(session->slot, &change->pins, &change->old);
}

static CK_RV set(struct session *session, void *arg)
{
    struct change *change = arg;

    session->committed = true;
    change->called = true;
    return session_set_pin(session, view_secret(change->old.secret), view_secret(change->new));
}

static CK_RV run_on(struct change *change, enum purpose purpose, session_task *task)
{
    struct deed deed = { .what = "set-pin" };
    struct run run = { .slot = change->slot,
                       .purpose = purpose,
                       .login = true,
                       .pins = &change->pins,
                       .task = task,
                       .arg = change,
                       .deed = task == set ? &deed : NULL };

    return run_task(&run);
}

static struct secret *ask_twice(const struct slot *slot)
{
    char prompt[96];
    struct secret *first, *second;

    (void)snprintf(prompt, sizeof(prompt), "New PIN of the token %s: ", slot->token.label);
    first = terminal_ask(prompt);
    second = first != NULL ? terminal_ask("The same once more: ") : NULL;
    if (first == NULL)
        complain("nobody is there to be asked for the new PIN: --new names a file with it");
    else if (second == NULL || !secret_equal(first, second))
        complain("these are two PINs; nothing was done");
    if (second == NULL || !secret_equal(first, second))
        secret_free(MOVE(first));
    secret_free(second);
    return first;
}

static struct secret *read_new(const char *path)
{
    struct secret *new = secret_from_file(path);

    if (new == NULL)
        complain("cannot read the new PIN from %s: %s", path, strerror(errno));
    return new;
}

static bool is_fit(const struct change *change)
{
    const CK_TOKEN_INFO *info = &change->slot->token.info;
    size_t len = secret_len(change->new);

    if (secret_equal(change->new, change->old.secret))
        complain("that is the PIN which the token has; nothing was done");
    else if (len < info->ulMinPinLen || (info->ulMaxPinLen != 0 && len > info->ulMaxPinLen))
        complain("the token %s takes PINs of %lu to %lu bytes; nothing was done",
                 change->slot->token.label, (unsigned long)info->ulMinPinLen,
                 (unsigned long)info->ulMaxPinLen);
    else
        return true;
    return false;
}

/* Beside the file that has the PIN lies one with the new PIN, before the token is asked. */
static bool stage(struct change *change)
{
    const char *path = call_option(change->call, IN);

    if (path == NULL)
        path = change->old.file;
    return path == NULL || replacement_begin(&change->file, path, view_secret(change->old.secret),
                                             view_secret(change->new));
}

static bool prepare(struct change *change)
{
    const char *from = call_option(change->call, NEW);
    CK_RV rv = run_on(change, TO_READ, find_old);

    if (rv != CKR_OK) {
        error_raise_ckr(&change->call->context.provider->core, REASON_PIN, rv,
                        "change the PIN of %s", change->uri.text);
        complain_openssl("the PIN cannot be changed");
        return false;
    }
    change->new = from != NULL ? read_new(from) : ask_twice(change->slot);
    return change->new != NULL &&is_fit(change) && stage(change);
}

/* Whether C_SetPIN, which failed so, may have done it all the same. */
static bool is_in_doubt(const struct change *change, CK_RV rv)
{
    struct verdict verdict = ckr_verdict("C_SetPIN", rv);

    return change->called && verdict.repair != REPAIR_NOTHING && verdict.begun;
}

static enum status give_up(struct change *change, CK_RV rv)
{
    bool in_doubt = is_in_doubt(change, rv);

    error_raise_ckr(&change->call->context.provider->core, REASON_PIN, rv, "change the PIN of %s",
                    change->uri.text);
    complain_openssl("the PIN could not be changed");
    if (in_doubt && change->file.path != NULL)
        complain("the token may have the new PIN all the same: it is in %s, the old one in %s",
                 change->file.new_path, change->file.path);
    else if (in_doubt)
        complain("the token may have the new PIN all the same");
    else
        replacement_drop(&change->file);
    return STATUS_FAILED;
}

static void report(const struct change *change)
{
    struct json json = { .out = stdout };

    if (change->call->json) {
        json_object(&json, NULL);
        json_text(&json, "token", change->slot->token.label);
        json_text(&json, "file", change->file.path);
        json_end(&json);
    } else if (change->file.path != NULL) {
        (void)printf("the token %s has the new PIN, and so has %s\n", change->slot->token.label,
                     change->file.path);
    } else {
        (void)printf("the token %s has the new PIN; it came from %s, and no file was changed\n",
                     change->slot->token.label, change->old.source);
    }
}

static enum status change_it(struct change *change)
{
    CK_RV rv;

    if (!prepare(change))
        return STATUS_FAILED;
    rv = run_on(change, TO_WRITE, set);
    if (rv != CKR_OK)
        return give_up(change, rv);
    if (!replacement_finish(&change->file))
        return STATUS_FAILED;
    report(change);
    return STATUS_DONE;
}

static enum status pin(struct call *call)
{
    struct change change = { .call = call };
    enum status status = STATUS_FAILED;
    bool found =
        open_uri(call->context.provider, call->operands[0], "the URI", &change.uri, &change.pins) &&
        token_find(&call->context, &change.uri, "change the PIN of", &change.slot);

    context_ask(&change.pins);
    if (found)
        status = change_it(&change);
    else
        complain_openssl("there is no token");
    replacement_end(&change.file);
    pin_scoped(&change.old);
    secret_free(change.new);
    uri_clear(&change.uri);
    return status;
}

const struct subcommand pin_subcommand = {
    .name = "pin",
    .operands = "URI",
    .least = 1,
    .most = 1,
    .summary = "Changes the PIN of a token's user, and the file that has it",
    .options = options,
    .run = pin,
};
