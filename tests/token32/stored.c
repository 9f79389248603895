/* Objects: made, found, looked at. */
#include "token32.h"

#include <stdlib.h>
#include <string.h>

static bool is_visible(const struct object *object)
{
    return is_logged_in() || !object_is(object, CKA_PRIVATE);
}

struct object *visible(ck_object_handle_t handle)
{
    struct object *object = object_by_handle(handle);

    return object != NULL && is_visible(object) ? object : NULL;
}

/* What an object is unless its template says otherwise, by class. */
static const struct {
    ck_object_class_t class;
    ck_attribute_type_t type;
    bool value;
} defaults[] = {
    { CKO_PRIVATE_KEY, CKA_PRIVATE, true },
    { CKO_PRIVATE_KEY, CKA_SENSITIVE, true },
    { CKO_PRIVATE_KEY, CKA_EXTRACTABLE, false },
    { CKO_PRIVATE_KEY, CKA_ALWAYS_AUTHENTICATE, false },
    { CKO_SECRET_KEY, CKA_PRIVATE, true },
    { CKO_SECRET_KEY, CKA_SENSITIVE, true },
    { CKO_SECRET_KEY, CKA_EXTRACTABLE, false },
};

/* What a key can be used for unless its template says otherwise. */
static const struct {
    ck_object_class_t class;
    ck_key_type_t type;
    ck_attribute_type_t use;
} uses[] = {
    { CKO_PRIVATE_KEY, CKK_EC, CKA_SIGN },
    { CKO_PUBLIC_KEY, CKK_EC, CKA_VERIFY },
    { CKO_PRIVATE_KEY, CKK_ML_DSA, CKA_SIGN },
    { CKO_PUBLIC_KEY, CKK_ML_DSA, CKA_VERIFY },
    { CKO_PRIVATE_KEY, CKK_SLH_DSA, CKA_SIGN },
    { CKO_PUBLIC_KEY, CKK_SLH_DSA, CKA_VERIFY },
    { CKO_PRIVATE_KEY, CKK_ML_KEM, CKA_DECAPSULATE },
    { CKO_PUBLIC_KEY, CKK_ML_KEM, CKA_ENCAPSULATE },
};

static void set_missing(struct object *object, ck_attribute_type_t type, bool value)
{
    if (object_get(object, type) == NULL)
        object_set_bool(object, type, value);
}

void set_defaults(struct object *object)
{
    const ck_object_class_t class = object_ulong(object, CKA_CLASS);

    set_missing(object, CKA_TOKEN, false);
    set_missing(object, CKA_PRIVATE, class == CKO_PRIVATE_KEY || class == CKO_SECRET_KEY);
    for (size_t i = 0; i < COUNT_OF(defaults); i++)
        if (defaults[i].class == class)
            set_missing(object, defaults[i].type, defaults[i].value);
    for (size_t i = 0; i < COUNT_OF(uses); i++)
        if (uses[i].class == class && uses[i].type == object_ulong(object, CKA_KEY_TYPE))
            set_missing(object, uses[i].use, true);
}

ck_rv_t may_make(const struct session *session, const struct object *object)
{
    if (object_is(object, CKA_TOKEN) && !session->writes)
        return CKR_SESSION_READ_ONLY;
    return is_visible(object) ? CKR_OK : CKR_USER_NOT_LOGGED_IN;
}

ck_rv_t keep(const struct session *session, struct object *object, ck_object_handle_t *handle)
{
    ck_rv_t rv = may_make(session, object);

    if (rv != CKR_OK) {
        object_free(object);
        return rv;
    }
    rv = object_add(object, object_is(object, CKA_TOKEN) ? 0 : session->handle);
    *handle = object->handle;
    return rv;
}

bool is_asymmetric(const struct object *object)
{
    const ck_object_class_t class = object_ulong(object, CKA_CLASS);

    return class == CKO_PRIVATE_KEY || class == CKO_PUBLIC_KEY;
}

ck_rv_t C_CreateObject(ck_session_handle_t handle, struct ck_attribute *templ, unsigned long count,
                       ck_object_handle_t *created)
{
    struct object *object;

    ENTER_SESSION(session, handle);
    object = object_new();
    object_set_all(object, templ, count);
    set_defaults(object);
    if (is_asymmetric(object) && object_pkey(object) == NULL) {
        object_free(object);
        return CKR_TEMPLATE_INCONSISTENT;
    }
    if (is_asymmetric(object))
        object_set_public_key_info(object);
    return keep(session, object, created);
}

ck_rv_t C_CopyObject(ck_session_handle_t handle, ck_object_handle_t from,
                     struct ck_attribute *templ, unsigned long count, ck_object_handle_t *copied)
{
    struct object *original, *object;

    ENTER_SESSION(session, handle);
    original = visible(from);
    if (original == NULL)
        return CKR_OBJECT_HANDLE_INVALID;
    object = object_new();
    object_set_all(object, original->attributes, original->count);
    object_set_all(object, templ, count);
    return keep(session, object, copied);
}

ck_rv_t C_DestroyObject(ck_session_handle_t handle, ck_object_handle_t which)
{
    struct object *object;

    ENTER_SESSION(session, handle);
    object = visible(which);
    if (object == NULL)
        return CKR_OBJECT_HANDLE_INVALID;
    TRY(may_make(session, object));
    object_destroy(object);
    return CKR_OK;
}

bool is_hidden(const struct object *object, ck_attribute_type_t type)
{
    const ck_object_class_t class = object_ulong(object, CKA_CLASS);

    return (type == CKA_VALUE || type == CKA_SEED) &&
           (class == CKO_PRIVATE_KEY || class == CKO_SECRET_KEY) &&
           (object_is(object, CKA_SENSITIVE) || !object_is(object, CKA_EXTRACTABLE));
}

static ck_rv_t attribute_give(const struct object *object, struct ck_attribute *attribute)
{
    const struct ck_attribute *found = object_get(object, attribute->type);
    const unsigned long room = attribute->value_len;

    attribute->value_len = CK_UNAVAILABLE_INFORMATION;
    if (is_hidden(object, attribute->type))
        return CKR_ATTRIBUTE_SENSITIVE;
    if (found == NULL)
        return CKR_ATTRIBUTE_TYPE_INVALID;
    if (attribute->value != NULL && room < found->value_len)
        return CKR_BUFFER_TOO_SMALL;
    attribute->value_len = found->value_len;
    if (attribute->value != NULL)
        memcpy(attribute->value, found->value, found->value_len);
    return CKR_OK;
}

ck_rv_t C_GetAttributeValue(ck_session_handle_t handle, ck_object_handle_t which,
                            struct ck_attribute *templ, unsigned long count)
{
    const struct object *object;
    ck_rv_t rv = CKR_OK;

    ENTER_SESSION(session, handle);
    object = visible(which);
    if (object == NULL)
        return CKR_OBJECT_HANDLE_INVALID;
    for (unsigned long i = 0; i < count; i++) {
        const ck_rv_t one = attribute_give(object, &templ[i]);

        rv = one != CKR_OK ? one : rv;
    }
    return rv;
}

ck_rv_t C_SetAttributeValue(ck_session_handle_t handle, ck_object_handle_t which,
                            struct ck_attribute *templ, unsigned long count)
{
    struct object *object;

    ENTER_SESSION(session, handle);
    object = visible(which);
    if (object == NULL)
        return CKR_OBJECT_HANDLE_INVALID;
    TRY(may_make(session, object));
    for (unsigned long i = 0; i < count; i++)
        if (templ[i].type != CKA_LABEL && templ[i].type != CKA_ID)
            return CKR_ATTRIBUTE_READ_ONLY;
    object_set_all(object, templ, count);
    return object->session == 0 ? object_save(object) : CKR_OK;
}

static void find_add(struct session *session, ck_object_handle_t handle)
{
    session->found = realloc(session->found, (session->found_count + 1) * sizeof(*session->found));
    if (session->found == NULL)
        abort();
    session->found[session->found_count++] = handle;
}

ck_rv_t C_FindObjectsInit(ck_session_handle_t handle, struct ck_attribute *templ,
                          unsigned long count)
{
    ENTER_SESSION(session, handle);
    if (session->finding)
        return CKR_OPERATION_ACTIVE;
    objects_scan();
    session->finding = true;
    session->found_count = session->found_given = 0;
    for (const struct object *object = object_first(); object != NULL; object = object->next)
        if (is_visible(object) && object_matches(object, templ, count))
            find_add(session, object->handle);
    return CKR_OK;
}

ck_rv_t C_FindObjects(ck_session_handle_t handle, ck_object_handle_t *objects, unsigned long most,
                      unsigned long *count)
{
    ENTER_SESSION(session, handle);
    if (!session->finding)
        return CKR_OPERATION_NOT_INITIALIZED;
    for (*count = 0; *count < most && session->found_given < session->found_count; (*count)++)
        objects[*count] = session->found[session->found_given++];
    return CKR_OK;
}

ck_rv_t C_FindObjectsFinal(ck_session_handle_t handle)
{
    ENTER_SESSION(session, handle);
    if (!session->finding)
        return CKR_OPERATION_NOT_INITIALIZED;
    session->finding = false;
    return CKR_OK;
}
