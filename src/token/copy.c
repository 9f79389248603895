#include "token/copy.h"

#include "base/scope.h"
#include "module/call.h"
#include "module/ckr.h"
#include "module/lock.h"
#include "base/clock.h"
#include "token/admit.h"

/* The use after which a key is copied. */
#define COPY_AT_USE 3

/* Of copies that go stale: then the token does not keep what is copied. */
#define LOSSES_MOST 8

bool copy_serves(struct object *object, const struct session *session)
{
    struct copy *copy = &object->copy;
    unsigned changes;
    uint64_t now;

    if (!handle_fits(handle_load(&copy->handle), session))
        return false;
    now = clock_ms_coarse();
    changes = atomic_load(&object->slot->changes);
    if (now - atomic_load(&copy->checked) < COPY_TRUSTED_MS &&
        atomic_load(&copy->changes) == changes)
        return true;
    atomic_store(&copy->checked, now);
    atomic_store(&copy->changes, changes);
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

static void home_leave(struct object *object)
{
    unsigned long home;

    lock_take();
    home = object->copy.home;
    object->copy.home = 0;
    lock_release();
    pool_unhome(&object->slot->pool, home);
}

/* Whether the object at handle is one without a name, as copies are, that goes with its session:
 * the token said that the copy is gone, and may have given its number to another. */
static bool is_copy(struct session *session, struct handle handle)
{
    CK_BBOOL token = CK_TRUE;
    uint8_t id, label;
    CK_ATTRIBUTE list[] = { { CKA_TOKEN, &token, sizeof(token) },
                            { CKA_ID, &id, sizeof(id) },
                            { CKA_LABEL, &label, sizeof(label) } };

    return session_get(session, handle, list, COUNT(list)) == CKR_OK && token == CK_FALSE &&
           list[1].ulValueLen == 0 && list[2].ulValueLen == 0;
}

/* Looks and destroys on one session, in the epoch of the handle. */
static void discard(struct slot *slot, struct handle handle)
{
    _cleanup_(session_return) struct session *session = NULL;

    if (pool_knows(&slot->pool, handle) && module_ready(slot->module) &&
        session_take(slot, TO_READ, false, NULL, &session) == CKR_OK && is_copy(session, handle))
        (void)session_destroy(session, handle);
}

void copy_lost(struct object *object, struct handle handle)
{
    atomic_fetch_add(&object->copy.losses, 1);
    copy_count_anew(object);
    discard(object->slot, handle);
    home_leave(object);
}

void copy_clear(struct object *object)
{
    object_destroy_session_object(object->slot, handle_load(&object->copy.handle));
    home_leave(object);
}

/* A session can be spared for the copy, there is none yet, and the token has kept those there were.
 */
static bool copy_can_be_kept(struct object *object)
{
    return !pool_knows(&object->slot->pool, handle_load(&object->copy.handle)) &&
           atomic_load(&object->copy.losses) < LOSSES_MOST && pool_limit(&object->slot->pool) > 1;
}

/* auto: where the slot does not say that it is hardware. */
static bool copy_pays(struct object *object)
{
    CK_SLOT_INFO info;

    return object->copying == COPY_ALWAYS ||
           (slot_info(object->slot, &info) == CKR_OK && (info.flags & CKF_HW_SLOT) == 0);
}

static void copy_adopt(struct object *object, struct handle handle, unsigned long home)
{
    struct copy *copy = &object->copy;

    lock_take();
    handle_store(&copy->handle, handle);
    copy->home = home;
    atomic_store(&copy->checked, clock_ms_coarse());
    atomic_store(&copy->changes, atomic_load(&object->slot->changes));
    lock_release();
}

void copy_make(struct object *object, struct pin_source *pins)
{
    _cleanup_(session_return) struct session *keeper = NULL;
    CK_BBOOL no = CK_FALSE;
    uint8_t none = 0; /* without a name it is not found in the original's place */
    CK_ATTRIBUTE template[] = { { CKA_TOKEN, &no, sizeof(no) },
                                { CKA_ID, &none, 0 },
                                { CKA_LABEL, &none, 0 } };
    struct handle copy;
    CK_RV rv;

    if (object->session_object || !copy_can_be_kept(object) || !copy_pays(object))
        return;
    rv = session_take(object->slot, TRY_TO_KEEP, true, pins, &keeper);
    if (rv == RV_SESSIONS_BUSY)
        copy_count_anew(object); /* for another try later */
    if (rv == CKR_OK && session_copy(keeper, handle_load(&object->handle), template,
                                     COUNT(template), &copy) == CKR_OK)
        copy_adopt(object, copy, pool_home(keeper));
}
