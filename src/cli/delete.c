/* pkcs11-bridge delete: one object, for ever. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/inventory.h"
#include "cli/json.h"
#include "cli/say.h"
#include "key/delete.h"

enum { YES };
static const struct option_row options[] = {
    [YES] = { "yes", NULL, "do not ask" },
    { NULL, NULL, NULL },
};

/* What the question names: the one object, by its own URI, or the URI as it came where a login
 * failed and the deletion, with a PIN of its own, may see another. NULL where it is not one, which
 * the deletion itself then says. The caller frees it with free(). */
static char *only_one(struct call *call)
{
    struct inventory inventory;
    char *uri = NULL;
    CK_ULONG found = 0;
    bool hidden = false;

    if (inventory_begin(&inventory, &call->context, call->operands[0], false) &&
        inventory.uri.names_object)
        while (inventory_next(&inventory)) {
            hidden |= inventory.no_login;
            for (CK_ULONG i = 0; i < inventory.count; i++)
                if (found++ == 0)
                    uri = item_uri(&inventory.items[i], call->context.provider, inventory.slot);
        }
    if (found != 1) {
        free(uri);
        uri = hidden ? strdup(inventory.uri.text) : NULL;
    }
    inventory_end(&inventory);
    return uri;
}

static bool is_agreed(struct call *call)
{
    char *uri = call_option(call, YES) == NULL ? only_one(call) : NULL;
    char question[2048];
    bool agreed = true;

    if (uri != NULL) {
        (void)snprintf(question, sizeof(question), "delete %s for ever?", uri);
        agreed = confirmed(question, options[YES].name);
    }
    free(uri);
    return agreed;
}

static void report(const struct call *call, const struct load *load)
{
    struct json json = { .out = stdout };

    if (!call->json) {
        (void)printf("deleted %s\n", load->uri.text);
        return;
    }
    json_object(&json, NULL);
    json_text(&json, "deleted", load->uri.text);
    json_end(&json);
}

static enum status delete_one(struct call *call)
{
    struct load load;
    bool ok = load_begin(&load, call->context.provider, call->operands[0]);

    context_ask(&load.pins);
    ok = ok && delete_object(&load);
    if (ok)
        report(call, &load);
    else
        complain_openssl("it could not be deleted");
    load_end(&load);
    return ok ? STATUS_DONE : STATUS_FAILED;
}

static enum status delete_asked(struct call *call)
{
    return is_agreed(call) ? delete_one(call) : STATUS_DECLINED;
}

const struct subcommand delete_subcommand = {
    .name = "delete",
    .operands = "URI",
    .least = 1,
    .most = 1,
    .summary = "Deletes one object from its token, for ever",
    .options = options,
    .run = delete_asked,
};
