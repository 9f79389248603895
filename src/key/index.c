#include "key/index.h"

#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "key/reading.h"

/* Objects that are read while a session is held. */
#define PIECE 32

/* Objects to each key of the listing, above which it is cheaper to search for each. */
#define OBJECTS_PER_KEY 4

static const CK_OBJECT_CLASS classes[INDEX_PARTS] = {
    [INDEX_PUBLIC] = CKO_PUBLIC_KEY,
    [INDEX_CERTIFICATE] = CKO_CERTIFICATE,
    [INDEX_PRIVATE] = CKO_PRIVATE_KEY,
};

static void objects_clear(struct index_objects *objects)
{
    for (CK_ULONG i = 0; i < objects->count; i++)
        OPENSSL_free(objects->list[i].attributes);
    OPENSSL_free(objects->list);
    OPENSSL_free(objects->by_id);
    OPENSSL_free(objects->by_label);
    handles_clear(&objects->handles);
    *objects = (struct index_objects){ .wanted = objects->wanted };
}

/* What is in it is void; what was wanted is so still. */
static void index_reset(struct index *index, unsigned long epoch)
{
    for (size_t i = 0; i < INDEX_PARTS; i++)
        objects_clear(&index->parts[i]);
    index->used = 0;
    index->epoch = epoch;
}

void index_clear(struct index *index)
{
    index_reset(index, 0);
    for (size_t i = 0; i < INDEX_PARTS; i++)
        index->parts[i].wanted = 0;
}

static void objects_give_up(struct index_objects *objects)
{
    objects_clear(objects);
    objects->state = INDEX_USELESS;
}

void index_want(struct index *index, enum index_part part)
{
    if (index != NULL)
        index->parts[part].wanted++;
}

static bool is_due(const struct index_objects *objects)
{
    return objects->state == INDEX_READING ||
           (objects->state == INDEX_UNREAD && objects->wanted >= INDEX_AFTER);
}

bool index_due(const struct index *index)
{
    for (size_t i = 0; i < INDEX_PARTS; i++)
        if (is_due(&index->parts[i]))
            return true;
    return false;
}

static int compare_handles(const void *a, const void *b)
{
    CK_OBJECT_HANDLE x = ((const struct indexed *)a)->handle.ck;
    CK_OBJECT_HANDLE y = ((const struct indexed *)b)->handle.ck;

    return x < y ? -1 : x > y;
}

/* An object without the attribute comes before all others. */
static int compare_values(const CK_ATTRIBUTE *a, const CK_ATTRIBUTE *b)
{
    if (a == NULL || b == NULL)
        return (a != NULL) - (b != NULL);
    if (a->ulValueLen != b->ulValueLen)
        return a->ulValueLen < b->ulValueLen ? -1 : 1;
    return memcmp(a->pValue, b->pValue, a->ulValueLen);
}

static int compare_by(const void *a, const void *b, CK_ATTRIBUTE_TYPE type)
{
    return compare_values(attribute((*(const struct indexed *const *)a)->attributes, type),
                          attribute((*(const struct indexed *const *)b)->attributes, type));
}

static int compare_ids(const void *a, const void *b)
{
    return compare_by(a, b, CKA_ID);
}

static int compare_labels(const void *a, const void *b)
{
    return compare_by(a, b, CKA_LABEL);
}

static const struct indexed **sort_by(const struct index_objects *objects,
                                      int (*compare)(const void *a, const void *b))
{
    const struct indexed **sorted =
        OPENSSL_malloc((objects->count + 1) * sizeof(const struct indexed *));

    if (sorted == NULL)
        return NULL;
    for (CK_ULONG i = 0; i < objects->count; i++)
        sorted[i] = &objects->list[i];
    qsort(sorted, objects->count, sizeof(const struct indexed *), compare);
    return sorted;
}

static CK_RV objects_sort(struct index_objects *objects)
{
    if (objects->count != 0)
        qsort(objects->list, objects->count, sizeof(objects->list[0]), compare_handles);
    objects->by_id = sort_by(objects, compare_ids);
    objects->by_label = sort_by(objects, compare_labels);
    if (objects->by_id == NULL || objects->by_label == NULL)
        return CKR_HOST_MEMORY;
    objects->state = INDEX_READY;
    return CKR_OK;
}

static CK_RV objects_grow(struct index_objects *objects)
{
    CK_ULONG room = objects->room == 0 ? PIECE : 2 * objects->room;
    struct indexed *list;

    if (objects->count < objects->room)
        return CKR_OK;
    list = OPENSSL_realloc(objects->list, room * sizeof(*list));
    if (list == NULL)
        return CKR_HOST_MEMORY;
    objects->list = list;
    objects->room = room;
    return CKR_OK;
}

static CK_RV add(struct index *index, enum index_part part, struct handle handle,
                 const struct attributes *attributes)
{
    struct index_objects *objects = &index->parts[part];
    struct attributes *copy;
    size_t size;
    CK_RV rv;

    if (part == INDEX_PRIVATE && attribute(attributes, CKA_ALLOWED_MECHANISMS) == NULL)
        return CKR_OK;
    rv = objects_grow(objects);
    if (rv != CKR_OK)
        return rv;
    copy = attributes_pack(attributes, &size);
    if (copy == NULL)
        return CKR_HOST_MEMORY;
    objects->list[objects->count++] = (struct indexed){ handle, copy };
    index->used +=
        size + sizeof(struct indexed) + sizeof(struct handle) + 2 * sizeof(const struct indexed *);
    return CKR_OK;
}

CK_RV index_add(struct index *index, struct session *session, enum index_part part,
                struct handle handle, const struct attributes *attributes)
{
    if (index == NULL)
        return CKR_OK;
    if (index->epoch != session->epoch)
        index_reset(index, session->epoch);
    if (index->parts[part].state != INDEX_UNREAD || index->used > INDEX_BYTES_MOST)
        return CKR_OK;
    return add(index, part, handle, attributes);
}

void index_done(struct index *index, enum index_part part)
{
    struct index_objects *objects = &index->parts[part];

    if (objects->state == INDEX_UNREAD && objects_sort(objects) != CKR_OK)
        objects_give_up(objects);
}

static CK_RV begin(struct index *index, struct session *session, enum index_part part)
{
    struct index_objects *objects = &index->parts[part];
    CK_OBJECT_CLASS class = classes[part];
    CK_ATTRIBUTE template = { CKA_CLASS, &class, sizeof(class) };
    CK_RV rv;

    objects_clear(objects);
    rv = session_find_all(session, &template, 1, END_WHEN_NONE, &objects->handles);
    if (rv != CKR_OK)
        return rv;
    objects->state = INDEX_READING;
    if (objects->handles.count / OBJECTS_PER_KEY > index->keys)
        objects_give_up(objects);
    return CKR_OK;
}

/* An object that was deleted since it was found is none, and a gap for who knows better. */
static CK_RV read_next(struct index *index, struct session *session, enum index_part part,
                       struct attributes *attributes)
{
    struct index_objects *objects = &index->parts[part];
    struct handle handle = objects->handles.list[objects->next++];
    CK_RV rv = reading_beside(index->provider, session, handle, classes[part], attributes);

    objects->gaps = objects->gaps || rv == CKR_OBJECT_HANDLE_INVALID;
    if (rv == CKR_OBJECT_HANDLE_INVALID)
        return CKR_OK;
    return rv == CKR_OK ? add(index, part, handle, attributes) : rv;
}

static CK_RV read_piece(struct index *index, struct session *session, enum index_part part)
{
    _cleanup_(free_scoped) struct attributes *attributes = OPENSSL_malloc(sizeof(*attributes));
    struct index_objects *objects = &index->parts[part];
    CK_RV rv = attributes != NULL ? CKR_OK : CKR_HOST_MEMORY;

    for (unsigned n = 0; rv == CKR_OK && n < PIECE && objects->next < objects->handles.count; n++)
        rv = read_next(index, session, part, attributes);
    if (rv == CKR_OK && objects->next == objects->handles.count)
        rv = objects_sort(objects);
    if (index->used > INDEX_BYTES_MOST)
        objects_give_up(objects);
    return rv;
}

CK_RV index_step(struct session *session, void *arg)
{
    struct index *index = arg;
    enum index_part part = 0;
    CK_RV rv = CKR_OK;

    if (index->epoch != session->epoch)
        index_reset(index, session->epoch);
    while (part < INDEX_PARTS && !is_due(&index->parts[part]))
        part++;
    if (part == INDEX_PARTS)
        return CKR_OK;
    if (index->parts[part].state == INDEX_UNREAD)
        rv = begin(index, session, part);
    if (rv == CKR_OK && index->parts[part].state == INDEX_READING)
        rv = read_piece(index, session, part);
    if (rv != CKR_OK)
        objects_clear(&index->parts[part]); /* another try begins from the start */
    return rv;
}

bool index_knows(const struct index *index, const struct session *session, enum index_part part)
{
    return index != NULL && index->epoch == session->epoch &&
           index->parts[part].state == INDEX_READY;
}

/* The place of the first in sorted that is not below name. */
static CK_ULONG lower_bound(const struct indexed *const *sorted, CK_ULONG count,
                            const CK_ATTRIBUTE *name)
{
    CK_ULONG first = 0;

    while (count != 0) {
        CK_ULONG half = count / 2;
        bool below =
            compare_values(attribute(sorted[first + half]->attributes, name->type), name) < 0;

        first += below ? half + 1 : 0;
        count = below ? count - half - 1 : half;
    }
    return first;
}

CK_ULONG index_find(const struct index *index, enum index_part part, const CK_ATTRIBUTE *name,
                    const struct indexed *const **first)
{
    const struct index_objects *objects = &index->parts[part];
    const struct indexed *const *sorted = name->type == CKA_ID ? objects->by_id : objects->by_label;
    CK_ULONG at = lower_bound(sorted, objects->count, name), count = 0;

    while (at + count < objects->count &&
           compare_values(attribute(sorted[at + count]->attributes, name->type), name) == 0)
        count++;
    *first = sorted + at;
    return count;
}

const struct attributes *index_read(const struct index *index, const struct session *session,
                                    enum index_part part, struct handle handle)
{
    const struct indexed wanted = { .handle = handle }, *found = NULL;

    if (index_knows(index, session, part) && handle_fits(handle, session) &&
        index->parts[part].count != 0)
        found = bsearch(&wanted, index->parts[part].list, index->parts[part].count, sizeof(wanted),
                        compare_handles);
    return found != NULL ? found->attributes : NULL;
}

/* The part that has all objects of class; INDEX_PARTS where none has. */
static enum index_part part_of(CK_OBJECT_CLASS class)
{
    return class == CKO_PUBLIC_KEY    ? INDEX_PUBLIC
           : class == CKO_CERTIFICATE ? INDEX_CERTIFICATE
                                      : INDEX_PARTS;
}

bool index_handles(const struct index *index, const struct session *session, CK_OBJECT_CLASS class,
                   struct handles *out)
{
    enum index_part part = part_of(class);
    const struct handles *found;
    struct handle *list;

    if (part == INDEX_PARTS || !index_knows(index, session, part) || index->parts[part].gaps)
        return false;
    found = &index->parts[part].handles;
    list = found->count != 0 ? OPENSSL_memdup(found->list, found->count * sizeof(*list)) : NULL;
    if (found->count != 0 && list == NULL)
        return false;
    handles_clear(out);
    *out = (struct handles){ list, found->count, found->count };
    return true;
}

void index_forget(struct index *index, CK_OBJECT_CLASS class)
{
    if (part_of(class) != INDEX_PARTS)
        objects_give_up(&index->parts[part_of(class)]);
}

void index_abandon(struct index *index)
{
    for (size_t i = 0; i < INDEX_PARTS; i++)
        if (is_due(&index->parts[i]))
            objects_give_up(&index->parts[i]);
}
