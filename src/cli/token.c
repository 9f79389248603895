#include "cli/token.h"

#include "base/scope.h"
#include "instance/instance.h"
#include "key/open.h"
#include "token/scan.h"

bool token_find(struct context *context, const struct uri *uri, const char *verb, struct slot **out)
{
    struct provider *provider = context->provider;
    struct module *module = provider_module(provider, uri->module_path);
    struct scan scan;
    struct slot *slot = NULL;
    unsigned count = 0;
    char tokens[400] = "";

    if (module == NULL)
        return false;
    scan_begin(&scan, module, uri, &provider->config.limits);
    scan_all(&scan);
    while (scan_next(&scan, &slot) == CKR_OK && slot != NULL) {
        count++;
        *out = slot;
        token_tell(&slot->token.info, slot_id(slot), tokens, sizeof(tokens));
    }
    if (count == 0)
        open_raise_no_token(provider, uri, &scan);
    else if (count > 1)
        error_raise(&provider->core, REASON_TOKEN,
                    "cannot %s %s: it fits %u tokens: %s: name one of them by serial= or slot-id=",
                    verb, uri->text, count, tokens);
    scan_end(&scan);
    return count == 1;
}
