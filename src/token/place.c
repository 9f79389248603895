#include "token/place.h"

#include <string.h>

#include <openssl/crypto.h>

#include "base/scope.h"
#include "module/lock.h"

struct place {
    struct place *next; /* the one remembered before */
    struct bytes name;
    unsigned changes; /* of the slot */
    struct places places;
};

static void place_free(struct place *place)
{
    if (place == NULL)
        return;
    bytes_clear(&place->name);
    OPENSSL_free(place);
}

static void place_scoped(struct place **place)
{
    place_free(*place);
}

/* The attributes in a row, each with its type and length before it. */
static bool name_of(const CK_ATTRIBUTE *name, CK_ULONG count, struct bytes *out)
{
    size_t len = 0, at = 0;

    for (CK_ULONG i = 0; i < count; i++)
        len += sizeof(name[i].type) + sizeof(name[i].ulValueLen) + name[i].ulValueLen;
    out->data = OPENSSL_malloc(len);
    out->len = len;
    if (out->data == NULL)
        return false;
    for (CK_ULONG i = 0; i < count; i++) {
        memcpy(out->data + at, &name[i].type, sizeof(name[i].type));
        at += sizeof(name[i].type);
        memcpy(out->data + at, &name[i].ulValueLen, sizeof(name[i].ulValueLen));
        at += sizeof(name[i].ulValueLen);
        memcpy(out->data + at, name[i].pValue, name[i].ulValueLen);
        at += name[i].ulValueLen;
    }
    return true;
}

/* Under the lock: takes the place of that name off the list. */
static struct place *unlink_name(struct slot *slot, const struct bytes *name)
{
    struct place **position = &slot->places;
    struct place *place;

    while (*position != NULL && !bytes_equal(&(*position)->name, name))
        position = &(*position)->next;
    place = *position;
    if (place != NULL)
        *position = place->next;
    return place;
}

/* Under the lock: takes what has not been used for longest off a list that is too long. */
static struct place *unlink_superfluous(struct slot *slot)
{
    struct place **position = &slot->places;
    struct place *place;

    for (unsigned n = 0; n < PLACES_MOST && *position != NULL; n++)
        position = &(*position)->next;
    place = *position;
    *position = NULL;
    return place;
}

/* Under the lock */
static void push(struct slot *slot, struct place *place)
{
    place->next = slot->places;
    slot->places = place;
}

bool place_recall(struct slot *slot, const CK_ATTRIBUTE *name, CK_ULONG count, struct places *out)
{
    _cleanup_(bytes_clear) struct bytes key = { NULL, 0 };
    struct place *place;
    bool known;

    if (!name_of(name, count, &key))
        return false;
    lock_take();
    place = unlink_name(slot, &key);
    known = place != NULL && place->changes == atomic_load(&slot->changes);
    if (known)
        *out = place->places;
    if (place != NULL)
        push(slot, place);
    lock_release();
    return known;
}

void place_remember(struct slot *slot, const CK_ATTRIBUTE *name, CK_ULONG count,
                    const struct places *places)
{
    _cleanup_(place_scoped) struct place *fresh = OPENSSL_zalloc(sizeof(*fresh));
    struct place *old, *superfluous;

    if (fresh == NULL || !name_of(name, count, &fresh->name))
        return;
    fresh->places = *places;
    lock_take();
    old = unlink_name(slot, &fresh->name);
    fresh->changes = atomic_load(&slot->changes);
    push(slot, MOVE(fresh));
    superfluous = unlink_superfluous(slot);
    lock_release();
    place_free(old);
    place_free(superfluous);
}

void place_forget(struct slot *slot, const CK_ATTRIBUTE *name, CK_ULONG count)
{
    _cleanup_(bytes_clear) struct bytes key = { NULL, 0 };
    struct place *place;

    if (!name_of(name, count, &key))
        return;
    lock_take();
    place = unlink_name(slot, &key);
    lock_release();
    place_free(place);
}
