#include "token/object.h"

#include <string.h>

#include <openssl/crypto.h>

#include "base/rare.h"
#include "base/scope.h"
#include "module/call.h"
#include "module/lock.h"
#include "token/admit.h"
#include "token/copy.h"

/* How large the values can get, in bytes: 16384-bit RSA, any curve, ids and labels as PKCS#11 tools
 * make them. What they are made of: a length that is there is a multiple of it. */
static const struct {
    CK_ATTRIBUTE_TYPE type;
    size_t size, unit;
} attribute_sizes[] = {
    { CKA_CLASS, sizeof(CK_OBJECT_CLASS), sizeof(CK_OBJECT_CLASS) },
    { CKA_KEY_TYPE, sizeof(CK_KEY_TYPE), sizeof(CK_KEY_TYPE) },
    { CKA_ID, 512, 1 },
    { CKA_LABEL, 512, 1 },
    { CKA_MODULUS, 2048, 1 },
    { CKA_PUBLIC_EXPONENT, 1024, 1 },
    { CKA_EC_PARAMS, 512, 1 },
    { CKA_EC_POINT, 512, 1 },
    { CKA_ALWAYS_AUTHENTICATE, sizeof(CK_BBOOL), sizeof(CK_BBOOL) },
    { CKA_PUBLIC_KEY_INFO, 2640, 1 },
    { CKA_SIGN, sizeof(CK_BBOOL), sizeof(CK_BBOOL) },
    { CKA_DECRYPT, sizeof(CK_BBOOL), sizeof(CK_BBOOL) },
    { CKA_DERIVE, sizeof(CK_BBOOL), sizeof(CK_BBOOL) },
    { CKA_ALLOWED_MECHANISMS, 128 * sizeof(CK_MECHANISM_TYPE), sizeof(CK_MECHANISM_TYPE) },
    { CKA_MODULUS_BITS, sizeof(CK_ULONG), sizeof(CK_ULONG) },
    { CKA_VALUE_LEN, sizeof(CK_ULONG), sizeof(CK_ULONG) },
    { CKA_PRIVATE, sizeof(CK_BBOOL), sizeof(CK_BBOOL) },
    { CKA_SENSITIVE, sizeof(CK_BBOOL), sizeof(CK_BBOOL) },
    { CKA_EXTRACTABLE, sizeof(CK_BBOOL), sizeof(CK_BBOOL) },
    { CKA_LOCAL, sizeof(CK_BBOOL), sizeof(CK_BBOOL) },
    { CKA_MODIFIABLE, sizeof(CK_BBOOL), sizeof(CK_BBOOL) },
    { CKA_VERIFY, sizeof(CK_BBOOL), sizeof(CK_BBOOL) },
    { CKA_ENCRYPT, sizeof(CK_BBOOL), sizeof(CK_BBOOL) },
    { CKA_WRAP, sizeof(CK_BBOOL), sizeof(CK_BBOOL) },
    { CKA_UNWRAP, sizeof(CK_BBOOL), sizeof(CK_BBOOL) },
    { CKA_TRUSTED, sizeof(CK_BBOOL), sizeof(CK_BBOOL) },
    { CKA_WRAP_WITH_TRUSTED, sizeof(CK_BBOOL), sizeof(CK_BBOOL) },
    { CKA_VALUE, 4096, 1 }, /* of a certificate; attribute_value reads longer ones */
    { CKA_DECAPSULATE, sizeof(CK_BBOOL), sizeof(CK_BBOOL) },
    { CKA_PARAMETER_SET, sizeof(CK_ULONG), sizeof(CK_ULONG) },
    { CKA_CHECK_VALUE, 16, 1 },
};

static size_t attribute_size(CK_ATTRIBUTE_TYPE type)
{
    for (size_t i = 0; i < COUNT(attribute_sizes); i++)
        if (attribute_sizes[i].type == type)
            return attribute_sizes[i].size;
    return 0;
}

/* What stands in the room for a value before it is read: no CK_BBOOL and no CK_ULONG that means
 * something. */
#define BLANK 0xff

/* Room for the attributes of types, behind those that are there. */
static void attributes_prepare(struct attributes *out, const CK_ATTRIBUTE_TYPE *types,
                               CK_ULONG count)
{
    for (CK_ULONG i = 0; i < count; i++) {
        size_t size = attribute_size(types[i]);

        out->list[out->count++] = (CK_ATTRIBUTE){ types[i], out->store + out->used, size };
        memset(out->store + out->used, BLANK, size);
        out->used += (size + 7) / 8 * 8;
    }
}

static bool partial(CK_RV rv)
{
    return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE ||
           rv == CKR_BUFFER_TOO_SMALL;
}

/* For modules that stop at the first attribute that they do not know. */
static CK_RV attributes_read_singly(struct session *session, struct handle handle,
                                    struct attributes *out, CK_ULONG from)
{
    for (CK_ULONG i = from; i < out->count; i++) {
        CK_RV rv;

        out->list[i].ulValueLen = attribute_size(out->list[i].type);
        rv = session_get(session, handle, &out->list[i], 1);
        if (partial(rv))
            out->list[i].ulValueLen = CK_UNAVAILABLE_INFORMATION;
        else if (rv != CKR_OK)
            return rv;
    }
    return CKR_OK;
}

/* Whether an attribute of a partial answer is as it was asked: neither its length was set nor,
 * where that is the only one it can have, its value. */
static bool is_untouched(const CK_ATTRIBUTE *one)
{
    const uint8_t *value = one->pValue;
    size_t size = attribute_size(one->type), i = 0;

    if (one->ulValueLen != size || size > sizeof(CK_ULONG))
        return one->ulValueLen == size;
    while (i < size && value[i] == BLANK)
        i++;
    return i == size;
}

static bool attributes_untouched(const struct attributes *attributes, CK_ULONG from)
{
    CK_ULONG i = from;

    while (i < attributes->count && !is_untouched(&attributes->list[i]))
        i++;
    return i < attributes->count;
}

/* Whether what is there has a length that its type can have. */
static CK_RV attributes_check(const struct attributes *attributes)
{
    for (size_t i = 0; i < COUNT(attribute_sizes); i++) {
        const CK_ATTRIBUTE *one = attribute(attributes, attribute_sizes[i].type);

        if (one == NULL || one->ulValueLen % attribute_sizes[i].unit == 0)
            continue;
        call_detail_set("%s returned %lu bytes for the attribute 0x%lx, where a multiple of %zu is "
                        "right",
                        call_name(), (unsigned long)one->ulValueLen, (unsigned long)one->type,
                        attribute_sizes[i].unit);
        return RV_LENGTH;
    }
    return CKR_OK;
}

CK_RV attributes_read_more(struct session *session, struct handle handle,
                           const CK_ATTRIBUTE_TYPE *types, CK_ULONG count, struct attributes *out)
{
    CK_ULONG from = out->count;
    CK_RV rv;

    attributes_prepare(out, types, count);
    rv = session_get(session, handle, &out->list[from], count);
    if (partial(rv) && attributes_untouched(out, from))
        rv = attributes_read_singly(session, handle, out, from);
    return rv == CKR_OK || partial(rv) ? attributes_check(out) : rv;
}

CK_RV attributes_read(struct session *session, struct handle handle, const CK_ATTRIBUTE_TYPE *types,
                      CK_ULONG count, struct attributes *out)
{
    memset(out, 0, sizeof(*out));
    return attributes_read_more(session, handle, types, count, out);
}

struct attributes *attributes_pack(const struct attributes *from, size_t *size)
{
    struct attributes *to;

    *size = offsetof(struct attributes, store);
    for (CK_ULONG i = 0; i < from->count; i++)
        if (attribute(from, from->list[i].type) != NULL)
            *size += (from->list[i].ulValueLen + 7) / 8 * 8;
    to = OPENSSL_malloc(*size);
    if (to == NULL)
        return NULL;
    to->count = 0;
    to->used = 0;
    for (CK_ULONG i = 0; i < from->count; i++) {
        const CK_ATTRIBUTE *one = attribute(from, from->list[i].type);

        if (one == NULL)
            continue;
        to->list[to->count++] = (CK_ATTRIBUTE){ one->type, to->store + to->used, one->ulValueLen };
        memcpy(to->store + to->used, one->pValue, one->ulValueLen);
        to->used += (one->ulValueLen + 7) / 8 * 8;
    }
    return to;
}

#define VALUE_GUESS 4096UL
#define VALUE_MOST  (1UL << 20)

static CK_RV value_read(struct session *session, struct handle handle, CK_ATTRIBUTE_TYPE type,
                        CK_ULONG room, struct bytes *out)
{
    CK_ATTRIBUTE value = { type, OPENSSL_malloc(room), room };
    CK_RV rv = CKR_HOST_MEMORY;

    if (value.pValue != NULL)
        rv = session_get(session, handle, &value, 1);
    if (rv == CKR_OK && value.ulValueLen != CK_UNAVAILABLE_INFORMATION && value.ulValueLen != 0 &&
        !bytes_set(out, value.pValue, value.ulValueLen))
        rv = CKR_HOST_MEMORY;
    OPENSSL_free(value.pValue);
    return rv;
}

CK_RV attribute_value(struct session *session, struct handle handle, CK_ATTRIBUTE_TYPE type,
                      struct bytes *out)
{
    CK_ATTRIBUTE length = { type, NULL, 0 };
    CK_RV rv = value_read(session, handle, type, VALUE_GUESS, out);

    if (rv == CKR_BUFFER_TOO_SMALL) {
        rv = session_get(session, handle, &length, 1);
        if (rv == CKR_OK && length.ulValueLen <= VALUE_MOST)
            rv = value_read(session, handle, type, length.ulValueLen, out);
    }
    return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE ? CKR_OK : rv;
}

const CK_ATTRIBUTE *attribute(const struct attributes *attributes, CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < attributes->count; i++) {
        const CK_ATTRIBUTE *one = &attributes->list[i];

        if (one->type == type)
            return one->ulValueLen != CK_UNAVAILABLE_INFORMATION && one->ulValueLen != 0 ? one
                                                                                         : NULL;
    }
    return NULL;
}

CK_ULONG attribute_ulong(const struct attributes *attributes, CK_ATTRIBUTE_TYPE type,
                         CK_ULONG otherwise)
{
    const CK_ATTRIBUTE *one = attribute(attributes, type);
    CK_ULONG value;

    if (one == NULL || one->ulValueLen != sizeof(value))
        return otherwise;
    memcpy(&value, one->pValue, sizeof(value));
    return value;
}

bool attribute_bool(const struct attributes *attributes, CK_ATTRIBUTE_TYPE type, bool otherwise)
{
    const CK_ATTRIBUTE *one = attribute(attributes, type);

    if (one == NULL || one->ulValueLen != sizeof(CK_BBOOL))
        return otherwise;
    return *(const CK_BBOOL *)one->pValue != CK_FALSE;
}

static bool keep(struct bytes *out, const struct attributes *attributes, CK_ATTRIBUTE_TYPE type)
{
    const CK_ATTRIBUTE *one = attribute(attributes, type);

    return one == NULL || bytes_set(out, one->pValue, one->ulValueLen);
}

bool object_fill(struct object *object, const struct attributes *attributes)
{
    object->may_sign = attribute_bool(attributes, CKA_SIGN, true);
    object->may_encrypt = attribute_bool(attributes, CKA_ENCRYPT, true);
    object->may_decrypt = attribute_bool(attributes, CKA_DECRYPT, true);
    object->may_derive = attribute_bool(attributes, CKA_DERIVE, true);
    object->may_decapsulate = attribute_bool(attributes, CKA_DECAPSULATE, true);
    object->always_authenticate = attribute_bool(attributes, CKA_ALWAYS_AUTHENTICATE, false);
    return keep(&object->allowed, attributes, CKA_ALLOWED_MECHANISMS) &&
           keep(&object->id, attributes, CKA_ID) && keep(&object->label, attributes, CKA_LABEL);
}

static CK_ULONG object_template(struct object *object, CK_ATTRIBUTE *template)
{
    CK_ULONG count = 0;

    template[count++] = (CK_ATTRIBUTE){ CKA_CLASS, &object->class, sizeof(object->class) };
    template[count++] = (CK_ATTRIBUTE){ CKA_KEY_TYPE, &object->type, sizeof(object->type) };
    if (object->id.len != 0)
        template[count++] = (CK_ATTRIBUTE){ CKA_ID, object->id.data, object->id.len };
    if (object->label.len != 0)
        template[count++] = (CK_ATTRIBUTE){ CKA_LABEL, object->label.data, object->label.len };
    return count;
}

/* The first of the objects with this identity that is confirmed to be ours. */
RARE static CK_RV object_find_again(struct object *object, struct session *session,
                                    struct handle *handle)
{
    CK_ATTRIBUTE template[TEMPLATE_MAX];
    _cleanup_(handles_clear) struct handles found = { .list = NULL };
    CK_ULONG count = object_template(object, template);
    CK_RV rv = session_find_all(session, template, count, END_WHEN_FEWER, &found);

    if (rv == CKR_OK && found.count == 0 && object->private)
        rv = login_confirm(session);
    if (rv == CKR_OK && found.count == 0)
        rv = RV_KEY_GONE;
    for (CK_ULONG i = 0; rv == CKR_OK && i < found.count; i++) {
        *handle = found.list[i];
        rv = object->confirm(session, found.list[i], object->confirm_arg);
        if (rv == CKR_OK)
            return CKR_OK;
        if (rv == RV_KEY_REPLACED && i + 1 < found.count)
            rv = CKR_OK;
    }
    return rv;
}

/* The handle that there was is none of this session's epoch. */
RARE static CK_RV handle_anew(struct object *object, struct session *session, struct handle *handle)
{
    CK_RV rv;

    if (object->session_object)
        return RV_SESSION_KEY_GONE;
    rv = object_find_again(object, session, handle);
    if (rv != CKR_OK)
        return rv;
    lock_take();
    handle_store(&object->handle, *handle);
    lock_release();
    copy_count_anew(object);
    return CKR_OK;
}

CK_RV object_handle(struct object *object, struct session *session, struct handle *handle)
{
    struct handle original = handle_load(&object->handle);

    if (!handle_fits(original, session))
        return handle_anew(object, session, handle);
    *handle = copy_serves(object, session) ? handle_load(&object->copy.handle) : original;
    return CKR_OK;
}

/* Under the lock: whether the cell held that handle, and holds none now. */
static bool cell_void(struct handle_cell *cell, struct handle handle)
{
    struct handle held = handle_load(cell);
    bool same = held.ck == handle.ck && held.epoch == handle.epoch;

    if (same)
        handle_store(cell, (struct handle){ 0, 0 });
    return same;
}

void object_lost(struct object *object, struct handle handle)
{
    bool copy;

    lock_take();
    copy = !cell_void(&object->handle, handle) && cell_void(&object->copy.handle, handle);
    lock_release();
    if (copy)
        copy_lost(object, handle);
}

bool object_allows(const struct object *object, CK_MECHANISM_TYPE mechanism)
{
    const size_t size = sizeof(mechanism);

    if (object->allowed.data == NULL)
        return true;
    for (size_t i = 0; i + size <= object->allowed.len; i += size)
        if (memcmp(object->allowed.data + i, &mechanism, size) == 0)
            return true;
    return false;
}

void object_own(struct object *object, struct handle public_handle, unsigned long home)
{
    object->session_object = true;
    object->public_handle = public_handle;
    object->home = home;
}

void object_destroy_session_object(struct slot *slot, struct handle handle)
{
    _cleanup_(session_return) struct session *session = NULL;

    if (pool_knows(&slot->pool, handle) && module_ready(slot->module) &&
        session_take(slot, TO_READ, false, NULL, &session) == CKR_OK)
        (void)session_destroy(session, handle);
}

void object_clear(struct object *object)
{
    struct slot *slot = object->slot;

    if (object->session_object) {
        object_destroy_session_object(slot, handle_load(&object->handle));
        object_destroy_session_object(slot, object->public_handle);
        pool_unhome(&slot->pool, object->home);
    }
    if (slot != NULL) /* else memory was short before it had its place */
        copy_clear(object);
    bytes_clear(&object->id);
    bytes_clear(&object->label);
    bytes_clear(&object->allowed);
}
