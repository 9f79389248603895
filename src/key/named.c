#include "key/named.h"

#include <string.h>

#include "base/scope.h"
#include "key/public.h"
#include "key/reading.h"
#include "key/restricted.h"
#include "token/login.h"

/* The objects of the name, and what was read of them. */
struct objects {
    struct places places; /* a class of NO_CLASS is not known yet */
    bool recalled;        /* they are remembered, and so is what restricts */
    struct attributes *read[PLACE_OBJECTS_MOST];
};

#define NO_CLASS CK_UNAVAILABLE_INFORMATION

static void objects_clear(struct objects *objects)
{
    for (CK_ULONG i = 0; i < objects->places.count; i++)
        OPENSSL_free(objects->read[i]);
}

static bool has(const struct attributes *attributes, const CK_ATTRIBUTE *wanted)
{
    const CK_ATTRIBUTE *one = wanted != NULL ? attribute(attributes, wanted->type) : NULL;

    return wanted == NULL || (one != NULL && one->ulValueLen == wanted->ulValueLen &&
                              memcmp(one->pValue, wanted->pValue, wanted->ulValueLen) == 0);
}

/* Reads an object, if that has not been done. CKR_OBJECT_HANDLE_INVALID also for one that is not
 * what was remembered. */
static CK_RV read_one(struct named *named, struct session *session, struct objects *objects,
                      CK_ULONG i)
{
    struct attributes *attributes = objects->read[i];
    CK_OBJECT_CLASS *class = &objects->places.classes[i], found;
    CK_RV rv;

    if (attributes != NULL)
        return CKR_OK;
    attributes = objects->read[i] = OPENSSL_malloc(sizeof(*attributes));
    if (attributes == NULL)
        return CKR_HOST_MEMORY;
    rv = reading_any(named->provider, session, objects->places.handles[i], attributes);
    if (rv != CKR_OK)
        return rv;
    found = attribute_ulong(attributes, CKA_CLASS, NO_CLASS);
    if (found == NO_CLASS)
        named->unusable = "the token does not show its CKA_CLASS";
    if (*class == NO_CLASS)
        *class = found;
    else if (*class != found || !has(attributes, uri_id(named->uri)) ||
             !has(attributes, uri_label(named->uri)))
        return CKR_OBJECT_HANDLE_INVALID;
    return CKR_OK;
}

/* Whether public is the public half of private: the same CKA_ID, or the same label where there is
 * no id. */
static bool belongs(const struct attributes *public, const struct attributes *private)
{
    const CK_ATTRIBUTE *name = attribute(private, CKA_ID);

    if (name == NULL)
        name = attribute(private, CKA_LABEL);
    return name != NULL && has(public, name) && has(public, attribute(private, CKA_KEY_TYPE));
}

/* The public objects beside private, and the other private ones that may want them, among these
 * objects. A remembered one is only read where it has something to say. */
static CK_RV find_twins(struct named *named, struct session *session, struct objects *objects,
                        const struct attributes *private, struct twins *twins)
{
    CK_RV rv = CKR_OK;

    for (CK_ULONG i = 0; rv == CKR_OK && i < objects->places.count; i++) {
        CK_OBJECT_CLASS class = objects->places.classes[i];

        if (class == CKO_PUBLIC_KEY &&
            (!reading_shows_half(private) || objects->places.restricts[i]))
            rv = read_one(named, session, objects, i);
        if (rv != CKR_OK || objects->read[i] == NULL || objects->read[i] == private ||
            !belongs(objects->read[i], private))
            continue;
        if (class == CKO_PUBLIC_KEY)
            twins->list[twins->count++] = objects->read[i];
        if (class == CKO_PRIVATE_KEY)
            twins->rivals[twins->rival_count++] = objects->read[i];
    }
    return rv;
}

static CK_RV make_one(struct named *named, struct session *session, struct objects *objects,
                      CK_ULONG i)
{
    const struct attributes *private = objects->read[i];
    struct twins twins = { .unrestricted =
                               objects->recalled && places_unrestricted(&objects->places) };
    struct key *key = NULL;
    CK_RV rv = find_twins(named, session, objects, private, &twins);

    if (rv == CKR_OK)
        rv = public_make_private(named->provider, session, objects->places.handles[i], private,
                                 &twins, &key, &named->unusable);
    if (key != NULL)
        named->keys[named->count++] = key;
    return rv;
}

/* Reads what may be a private key, and makes keys of those that are. */
static CK_RV make_all(struct named *named, struct session *session, struct objects *objects)
{
    const struct places *places = &objects->places;
    CK_RV rv = CKR_OK;

    for (CK_ULONG i = 0; rv == CKR_OK && i < places->count; i++)
        if (places->classes[i] == NO_CLASS || places->classes[i] == CKO_PRIVATE_KEY)
            rv = read_one(named, session, objects, i);
    for (CK_ULONG i = 0; rv == CKR_OK && i < places->count; i++)
        if (places->classes[i] == CKO_PRIVATE_KEY)
            rv = make_one(named, session, objects, i);
    return rv;
}

static void drop(struct named *named)
{
    while (named->count != 0)
        key_free(named->keys[--named->count]);
}

/* Where the objects were the last time; found nothing there: no keys, and CKR_OK. */
static CK_RV try_places(struct named *named, struct session *session, const CK_ATTRIBUTE *name,
                        CK_ULONG count)
{
    _cleanup_(objects_clear) struct objects objects = { .recalled = true };
    CK_RV rv;

    if (!place_recall(session->slot, name, count, &objects.places))
        return CKR_OK;
    rv = make_all(named, session, &objects);
    if (rv == CKR_OK && named->count != 0)
        return CKR_OK;
    drop(named);
    place_forget(session->slot, name, count);
    return rv == CKR_OBJECT_HANDLE_INVALID || rv == RV_STALE ? CKR_OK : rv;
}

/* Notes which of the objects restrict the others' type. False: an object of another name does. */
static bool note_restrictions(const struct named *named, struct objects *objects)
{
    struct places *places = &objects->places;
    bool restricted = false;

    for (CK_ULONG i = 0; i < places->count; i++)
        places->restricts[i] = restricts(objects->read[i]);
    for (CK_ULONG i = 0; i < named->count; i++)
        restricted |= named->keys[i]->type == KEY_RSA_PSS;
    return !restricted || !places_unrestricted(places);
}

static CK_RV search(struct named *named, struct session *session, CK_ATTRIBUTE *name,
                    CK_ULONG count)
{
    _cleanup_(objects_clear) struct objects objects = { .recalled = false };
    struct places *places = &objects.places;
    struct handle handles[PLACE_OBJECTS_MOST + 1];
    CK_ULONG found = 0;
    CK_RV rv = session_find(session, name, count, handles, COUNT(handles), &found);

    named->many = found > PLACE_OBJECTS_MOST;
    if (rv != CKR_OK || named->many)
        return rv;
    for (; places->count < found; places->count++) {
        places->handles[places->count] = handles[places->count];
        places->classes[places->count] = NO_CLASS;
    }
    rv = make_all(named, session, &objects);
    if (rv != CKR_OK)
        drop(named);
    else if (named->count == 0)
        rv = login_confirm(session);
    else if (note_restrictions(named, &objects))
        place_remember(session->slot, name, count, places);
    return rv;
}

CK_RV named_find(struct session *session, void *arg)
{
    struct named *named = arg;
    CK_ATTRIBUTE name[TEMPLATE_MAX];
    CK_ULONG count = uri_add_names(named->uri, name, 0);
    CK_RV rv = try_places(named, session, name, count);

    return rv == CKR_OK && named->count == 0 ? search(named, session, name, count) : rv;
}
