#include "token/place.h"

#include <string.h>

#include <openssl/crypto.h>

#include "base/scope.h"
#include "module/lock.h"

struct place {
    struct place *next;            /* of the same bucket */
    struct place *older, *younger; /* by their last use */
    struct bytes name;
    size_t hash;
    unsigned changes; /* of the slot */
    struct places places;
};

/* What the names with some 200 bytes each need in PLACES_BYTES_MOST, at four to a bucket. */
#define BUCKETS 4096

/* Under the lock (module/lock.h). */
struct place_table {
    struct place *buckets[BUCKETS];
    struct place *oldest, *youngest;
    size_t used; /* bytes */
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

/* FNV-1a */
static size_t hash_of(const struct bytes *name)
{
    uint64_t hash = 0xcbf29ce484222325U;

    for (size_t i = 0; i < name->len; i++)
        hash = (hash ^ name->data[i]) * 0x100000001b3U;
    return (size_t)(hash ^ hash >> 32);
}

static size_t size_of(const struct place *place)
{
    return sizeof(*place) + place->name.len + 2 * sizeof(size_t); /* as malloc has it */
}

static struct place **bucket_of(struct place_table *table, size_t hash)
{
    return &table->buckets[hash % BUCKETS];
}

/* Where in its bucket the place of that name is, or would be. */
static struct place **find(struct place_table *table, const struct bytes *name, size_t hash)
{
    struct place **position = bucket_of(table, hash);

    while (*position != NULL &&
           ((*position)->hash != hash || !bytes_equal(&(*position)->name, name)))
        position = &(*position)->next;
    return position;
}

static void take_out(struct place_table *table, struct place *place)
{
    struct place **position = bucket_of(table, place->hash);

    while (*position != place)
        position = &(*position)->next;
    *position = place->next;
    *(place->older != NULL ? &place->older->younger : &table->oldest) = place->younger;
    *(place->younger != NULL ? &place->younger->older : &table->youngest) = place->older;
    table->used -= size_of(place);
}

static void put_in(struct place_table *table, struct place *place)
{
    struct place **bucket = bucket_of(table, place->hash);

    place->next = *bucket;
    *bucket = place;
    place->younger = NULL;
    place->older = table->youngest;
    *(place->older != NULL ? &place->older->younger : &table->oldest) = place;
    table->youngest = place;
    table->used += size_of(place);
}

/* Under the lock: takes the place of that name out, if there is one. */
static struct place *unlink_name(struct slot *slot, const struct bytes *name)
{
    struct place *place = slot->places != NULL ? *find(slot->places, name, hash_of(name)) : NULL;

    if (place != NULL)
        take_out(slot->places, place);
    return place;
}

/* Under the lock: what has not been used for longest, where there is more than fits; linked by
 * next. */
static struct place *unlink_superfluous(struct place_table *table)
{
    struct place *list = NULL;

    while (table->used > PLACES_BYTES_MOST - sizeof(*table) && table->oldest != NULL) {
        struct place *place = table->oldest;

        take_out(table, place);
        place->next = list;
        list = place;
    }
    return list;
}

static void free_list(struct place *list)
{
    while (list != NULL) {
        struct place *next = list->next;

        place_free(list);
        list = next;
    }
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
        put_in(slot->places, place);
    lock_release();
    return known;
}

/* False when memory is short. */
static bool table_ready(struct slot *slot)
{
    _cleanup_(free_scoped) struct place_table *fresh = NULL;
    bool ready;

    lock_take();
    ready = slot->places != NULL;
    lock_release();
    if (ready || (fresh = OPENSSL_zalloc(sizeof(*fresh))) == NULL)
        return ready;
    lock_take();
    if (slot->places == NULL)
        slot->places = MOVE(fresh);
    lock_release();
    return true;
}

void place_remember(struct slot *slot, const CK_ATTRIBUTE *name, CK_ULONG count,
                    const struct places *places)
{
    _cleanup_(place_scoped) struct place *fresh = OPENSSL_zalloc(sizeof(*fresh));
    struct place *old, *superfluous;

    if (fresh == NULL || !name_of(name, count, &fresh->name) || !table_ready(slot))
        return;
    fresh->hash = hash_of(&fresh->name);
    fresh->places = *places;
    lock_take();
    old = unlink_name(slot, &fresh->name);
    fresh->changes = atomic_load(&slot->changes);
    put_in(slot->places, MOVE(fresh));
    superfluous = unlink_superfluous(slot->places);
    lock_release();
    place_free(old);
    free_list(superfluous);
}

bool places_unrestricted(const struct places *places)
{
    for (CK_ULONG i = 0; i < places->count; i++)
        if (places->restricts[i])
            return false;
    return true;
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
