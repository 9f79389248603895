#include "token/copy.h"

#include "base/scope.h"
#include "module/call.h"
#include "module/ckr.h"
#include "module/lock.h"
#include "module/retry.h"

/* The use after which a key is copied. */
#define COPY_AT_USE 3

/* Of copies that go stale: then the token does not keep what is copied. */
#define LOSSES_MOST 8

bool copy_serves(struct object *object)
{
    struct copy *copy = &object->copy;
    unsigned changes = object->slot->changes;
    uint64_t now;

    if (copy->handle == CK_INVALID_HANDLE || copy->epoch != object->epoch)
        return false;
    now = clock_ms_coarse();
    if (now - copy->checked < COPY_TRUSTED_MS && copy->changes == changes)
        return true;
    copy->checked = now;
    copy->changes = changes;
    return false;
}

bool copy_is_due(struct object *object)
{
    return object->copying != COPY_NEVER && atomic_load(&object->uses) < COPY_AT_USE &&
           atomic_fetch_add(&object->uses, 1) + 1 == COPY_AT_USE;
}

void copy_count_anew(struct object *object)
{
    atomic_store(&object->uses, 0);
}

void copy_lost(struct object *object)
{
    object->copy.losses += object->copy.handle != CK_INVALID_HANDLE;
    object->copy.handle = CK_INVALID_HANDLE;
}

/* A session can be spared for the copy, and the token has kept those there were. */
static bool copy_can_be_kept(struct object *object)
{
    bool kept;

    lock_take();
    kept = object->slot->limit > 1 && object->copy.losses < LOSSES_MOST;
    lock_release();
    return kept;
}

/* auto: where the slot does not say that it is hardware. */
static bool copy_pays(struct object *object)
{
    CK_SLOT_INFO info;

    return object->copying == COPY_ALWAYS ||
           (slot_info(object->slot, &info) == CKR_OK && (info.flags & CKF_HW_SLOT) == 0);
}

/* The handle of the original, if it is of the keeper's epoch. */
static CK_OBJECT_HANDLE original(struct object *object, const struct session *keeper)
{
    CK_OBJECT_HANDLE handle;

    lock_take();
    handle = object->epoch == keeper->epoch ? object->handle : CK_INVALID_HANDLE;
    lock_release();
    return handle;
}

static void copy_adopt(struct object *object, CK_OBJECT_HANDLE handle, unsigned long epoch)
{
    struct copy *copy = &object->copy;

    lock_take();
    copy->handle = handle;
    copy->epoch = epoch;
    copy->checked = clock_ms_coarse();
    copy->changes = object->slot->changes;
    lock_release();
}

void copy_make(struct object *object, const struct pin_source *pins)
{
    _cleanup_(session_return) struct session *keeper = NULL;
    CK_BBOOL no = CK_FALSE;
    uint8_t none = 0; /* without a name it is not found in the original's place */
    CK_ATTRIBUTE template[] = { { CKA_TOKEN, &no, sizeof(no) },
                                { CKA_ID, &none, 0 },
                                { CKA_LABEL, &none, 0 } };
    CK_OBJECT_HANDLE handle, copy = CK_INVALID_HANDLE;
    CK_RV rv;

    if (object->session_object || !copy_can_be_kept(object) || !copy_pays(object))
        return;
    rv = session_try_keeper(object->slot, pins, &keeper);
    if (rv == RV_SESSIONS_BUSY)
        copy_count_anew(object); /* for another try later */
    if (rv != CKR_OK)
        return;
    handle = original(object, keeper);
    if (handle != CK_INVALID_HANDLE && P11_CALL(object->slot->module, C_CopyObject, keeper->handle,
                                                handle, template, COUNT(template), &copy) == CKR_OK)
        copy_adopt(object, copy, keeper->epoch);
}
