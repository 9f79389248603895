#include "key/import.h"

#include "base/scope.h"
#include "base/secret.h"
#include "key/generate.h"

/* Of an RSA key of 16384 bits: the private exponent, and five numbers half as long. */
#define MEMORY ((1 + IMPORT_VALUES_MOST) * (size_t)1024)

uint8_t *import_add(struct import *import, CK_ATTRIBUTE_TYPE type, size_t len)
{
    uint8_t *value;

    if (import->memory == NULL)
        import->memory = secret_memory(MEMORY);
    if (import->memory == NULL || import->count == IMPORT_VALUES_MOST ||
        len > MEMORY - import->used)
        return NULL;
    value = import->memory + import->used;
    import->used += len;
    import->values[import->count++] = (CK_ATTRIBUTE){ type, value, len };
    return value;
}

void import_end(struct import *import)
{
    secret_memory_free(import->memory);
    *import = (struct import){ .count = 0 };
}

static struct object *object_move(struct object **from, struct key *to)
{
    struct object *object = MOVE(*from);

    if (object != NULL)
        object->confirm_arg = to;
    return object;
}

bool key_import(struct key *key, const struct import *import, const struct import_order *order)
{
    bool half = key_has_public(key);
    const struct generation generation = { .provider = key->provider,
                                           .type = key->type,
                                           .curve = key->curve,
                                           .half = half ? key : NULL,
                                           .import = import,
                                           .uri = order->uri,
                                           .way = order->way,
                                           .add = order->add,
                                           .extractable = order->extractable };
    _cleanup_(key_scoped) struct key *made = key_generate(&generation);

    if (made == NULL || (!half && !key_set_public(key, made)))
        return false;
    key->object = object_move(&made->object, key);
    key->twin = object_move(&made->twin, key);
    return true;
}
