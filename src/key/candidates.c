#include "key/candidates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uri/uri.h"

#define AND_OTHERS " and others"

/* Whole ones only, and room is left for AND_OTHERS. */
static void add(struct candidates *candidates, const char *one)
{
    size_t used = strlen(candidates->text), len = strlen(one) + 2;
    bool first = candidates->count++ == 0, full = candidates->count > CANDIDATES_SHOWN;
    bool over = used >= sizeof(AND_OTHERS) &&
                strcmp(candidates->text + used - sizeof(AND_OTHERS) + 1, AND_OTHERS) == 0;

    if (over)
        return;
    if (full || used + len + sizeof(AND_OTHERS) > sizeof(candidates->text))
        memcpy(candidates->text + used, AND_OTHERS, sizeof(AND_OTHERS));
    else
        (void)snprintf(candidates->text + used, sizeof(candidates->text) - used, "%s%s",
                       first ? "" : ", ", one);
}

void candidates_add_key(struct candidates *candidates, const struct key *key)
{
    const struct object *object = key->object;
    char *uri = uri_format_short(&object->slot->token.info, object->id.data, object->id.len,
                                 object->label.data, object->label.len);

    add(candidates, uri != NULL ? uri : "pkcs11:");
    free(uri);
}

void candidates_add_token(struct candidates *candidates, struct slot *slot)
{
    char name[128] = "";

    token_tell(&slot->token.info, slot_id(slot), name, sizeof(name));
    add(candidates, name);
}
