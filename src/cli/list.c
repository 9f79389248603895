/* pkcs11-bridge list: tokens, and what is on them. */
#include <stdlib.h>

#include "base/scope.h"
#include "cli/cli.h"
#include "cli/inventory.h"
#include "cli/json.h"
#include "cli/say.h"

static char *uri_of(const struct item *item, const struct inventory *inventory)
{
    return item_uri(item, inventory->context->provider, inventory->slot);
}

static void print_token(const struct inventory *inventory)
{
    const struct token *token = &inventory->slot->token;
    char serial[TOKEN_SERIAL_MAX];

    token_serial(token, serial);
    (void)printf("%sToken '%s'%s, serial number %s, slot %lu\n", colour(stdout, BOLD), token->label,
                 colour(stdout, PLAIN), serial, (unsigned long)slot_id(inventory->slot));
    for (CK_ULONG i = 0; i < inventory->count; i++) {
        const struct item *item = &inventory->items[i];
        char type[64], label[128];
        char *uri = uri_of(item, inventory);

        (void)printf("  %-11s  %-15s  %-20s  %s\n", item_class(item),
                     item_type(item, type, sizeof(type)), item_label(item, label, sizeof(label)),
                     uri != NULL ? uri : "");
        free(uri);
    }
    if (inventory->count == 0)
        (void)printf("  nothing that can be seen\n");
}

static void print_json(struct json *json, const struct inventory *inventory)
{
    const struct token *token = &inventory->slot->token;
    char serial[TOKEN_SERIAL_MAX];

    token_serial(token, serial);
    json_object(json, NULL);
    json_text(json, "label", token->label);
    json_text(json, "serial", serial);
    json_number(json, "slot", slot_id(inventory->slot));
    json_text(json, "login", inventory->no_login ? inventory->reason : NULL);
    json_array(json, "objects");
    for (CK_ULONG i = 0; i < inventory->count; i++) {
        json_object(json, NULL);
        item_json(json, &inventory->items[i], inventory);
        json_end(json);
    }
    json_end(json);
    json_end(json);
}

static void list_all(struct call *call, struct inventory *inventory, struct json *json)
{
    while (inventory_next(inventory)) {
        if (call->json)
            print_json(json, inventory);
        else
            print_token(inventory);
        if (inventory->no_login && !call->json)
            complain("private objects are not shown: %s", inventory->reason);
    }
}

static enum status list(struct call *call)
{
    struct inventory inventory;
    struct json json = { .out = stdout };
    const char *uri = call->operands[0] != NULL ? call->operands[0] : "pkcs11:";

    if (call->json) {
        json_object(&json, NULL);
        json_array(&json, "tokens");
    }
    if (inventory_begin(&inventory, &call->context, uri, false))
        list_all(call, &inventory, &json);
    inventory_end(&inventory);
    if (call->json) {
        json_end(&json);
        json_end(&json);
    }
    return inventory.failed ? STATUS_FAILED : STATUS_DONE;
}

const struct subcommand list_subcommand = {
    .name = "list",
    .operands = "[URI]",
    .most = 1,
    .summary = "Lists tokens, and the keys and certificates on them",
    .run = list,
};
