#include "module/session.h"

#include <openssl/crypto.h>

#include "module/door.h"

unsigned long epoch_next(void)
{
    static atomic_ulong last;

    return atomic_fetch_add(&last, 1) + 1;
}

/* Read twice: in between, another thread may have begun to write. */
struct handle handle_load(const struct handle_cell *cell)
{
    unsigned long epoch = atomic_load(&cell->epoch);
    CK_OBJECT_HANDLE ck = atomic_load(&cell->ck);

    return epoch == atomic_load(&cell->epoch) ? (struct handle){ ck, epoch }
                                              : (struct handle){ 0, 0 };
}

void handle_store(struct handle_cell *cell, struct handle handle)
{
    atomic_store(&cell->epoch, 0);
    atomic_store(&cell->ck, handle.ck);
    atomic_store(&cell->epoch, handle.epoch);
}

static CK_RV stale(const char *function)
{
    call_named(function);
    return RV_STALE;
}

#define SESSION_CALL(session, function, ...)                                                       \
    (session_current(session)                                                                      \
         ? P11_CALL((session)->module, function, (session)->ck, ##__VA_ARGS__)                     \
         : stale(#function))

#define NEWER_CALL(session, handle, list, function, ...)                                           \
    (handle_fits((handle), (session)) && session_current(session)                                  \
         ? P11_CALL_NEWER((session)->module, list, function, (session)->ck, ##__VA_ARGS__)         \
         : stale(#function))

#define HANDLE_CALL(session, handle, function, ...)                                                \
    (handle_fits((handle), (session)) ? SESSION_CALL(session, function, __VA_ARGS__)               \
                                      : stale(#function))

/* What was written, against the room there is for it. */
static CK_RV room_check(const struct room *out, CK_RV rv)
{
    if (rv != CKR_OK || (out->exact ? out->len == out->size : out->len <= out->size))
        return rv;
    call_detail_set("%s returned %lu bytes, where %s%lu are right", call_name(),
                    (unsigned long)out->len, out->exact ? "" : "at most ",
                    (unsigned long)out->size);
    return RV_LENGTH;
}

static CK_RV count_check(CK_ULONG count, CK_ULONG most, CK_RV rv)
{
    if (rv != CKR_OK || count <= most)
        return rv;
    call_detail_set("%s returned %lu objects, where it was asked for %lu", call_name(),
                    (unsigned long)count, (unsigned long)most);
    return RV_LENGTH;
}

CK_RV session_open(struct session *session, CK_SLOT_ID slot, CK_FLAGS flags)
{
    void *application = NULL;
    CK_NOTIFY notify = NULL;

    session->id = slot;
    session->life = atomic_load(&session->module->life);
    return P11_CALL(session->module, C_OpenSession, slot, flags, application, notify, &session->ck);
}

CK_RV session_close(struct session *session)
{
    return session_current(session) ? P11_CALL(session->module, C_CloseSession, session->ck)
                                    : stale("C_CloseSession");
}

CK_RV session_close_stale(struct session *session)
{
    WITHIN_GATE; /* the module is not started anew between the look and the call */

    return session->life == atomic_load(&session->module->life)
               ? P11_CALL(session->module, C_CloseSession, session->ck)
               : stale("C_CloseSession");
}

CK_RV session_cancel(struct session *session, CK_FLAGS operations)
{
    struct module *module = session->module;
    CK_RV rv;

    if (module->functions.v3_0 == NULL || atomic_load(&module->leaves))
        return CKR_FUNCTION_NOT_SUPPORTED;
    if (!session_current(session))
        return stale("C_SessionCancel");
    rv = P11_CALL_NEWER(module, v3_0, C_SessionCancel, session->ck, operations);
    if (rv == CKR_FUNCTION_NOT_SUPPORTED)
        atomic_store(&module->leaves, true);
    return rv;
}

CK_RV session_info(struct session *session, CK_SESSION_INFO *info)
{
    return SESSION_CALL(session, C_GetSessionInfo, info);
}

CK_RV session_login(struct session *session, CK_USER_TYPE user, const char *pin, size_t len)
{
    return SESSION_CALL(session, C_Login, user, (CK_UTF8CHAR *)(uintptr_t)pin, len);
}

CK_RV session_set_pin(struct session *session, struct view old, struct view new)
{
    return SESSION_CALL(session, C_SetPIN, ck_input(old.data), old.len, ck_input(new.data),
                        new.len);
}

/* Handles that a call gave out; not the one of the object that it was asked about. */
static CK_RV stamp(const struct session *session, struct handle *handles,
                   const CK_OBJECT_HANDLE *list, CK_ULONG count, struct handle but)
{
    for (CK_ULONG i = 0; i < count; i++) {
        if (list[i] == CK_INVALID_HANDLE || list[i] == but.ck) {
            call_detail_set("%s returned the handle %lu, which is no new object's", call_name(),
                            (unsigned long)list[i]);
            return RV_LENGTH;
        }
        handles[i] = (struct handle){ list[i], session->epoch };
    }
    return CKR_OK;
}

static const struct handle none;

/* Objects that one call is asked for. */
#define FIND_BATCH 256

static CK_RV find_some(struct session *session, struct handle *handles, CK_ULONG max,
                       CK_ULONG *found)
{
    CK_OBJECT_HANDLE list[FIND_BATCH] = { CK_INVALID_HANDLE };
    CK_ULONG room = max < FIND_BATCH ? max : FIND_BATCH, count = 0;
    CK_RV rv = SESSION_CALL(session, C_FindObjects, list, room, &count);

    rv = count_check(count, room, rv);
    if (rv == CKR_OK)
        rv = stamp(session, handles, list, count, none);
    *found = rv == CKR_OK ? count : 0;
    return rv;
}

/* Ends the search that gave rv. */
static CK_RV find_final(struct session *session, CK_RV rv)
{
    const char *name = call_name();
    CK_RV final = SESSION_CALL(session, C_FindObjectsFinal);

    if (rv != CKR_OK)
        call_named(name); /* an error message is about what failed first */
    return rv != CKR_OK ? rv : final;
}

CK_RV session_find(struct session *session, CK_ATTRIBUTE *template, CK_ULONG count,
                   struct handle *handles, CK_ULONG max, CK_ULONG *found)
{
    CK_RV rv = SESSION_CALL(session, C_FindObjectsInit, template, count);

    *found = 0;
    if (rv != CKR_OK)
        return rv;
    return find_final(session, find_some(session, handles, max, found));
}

void handles_clear(struct handles *handles)
{
    OPENSSL_free(handles->list);
    *handles = (struct handles){ .list = NULL };
}

static CK_RV handles_grow(struct handles *handles)
{
    CK_ULONG room = handles->room < FIND_BATCH ? FIND_BATCH : 2 * handles->room;
    struct handle *list;

    if (handles->room - handles->count >= FIND_BATCH)
        return CKR_OK;
    list = OPENSSL_realloc(handles->list, room * sizeof(*list));
    if (list == NULL)
        return CKR_HOST_MEMORY;
    handles->list = list;
    handles->room = room;
    return CKR_OK;
}

/* Counts are believed nowhere, and so it may be that a search never ends. */
static CK_RV progress_check(const struct handles *handles, CK_ULONG found)
{
    const struct handle *fresh = &handles->list[handles->count];
    bool circle = found != 0 && handles->count != 0 && fresh->ck == handles->list[0].ck;

    if (!circle && handles->count + found <= OBJECTS_MOST)
        return CKR_OK;
    if (circle)
        call_detail_set("C_FindObjects gave the object %lu twice in one search",
                        (unsigned long)fresh->ck);
    else
        call_detail_set("C_FindObjects gave more than %lu objects", OBJECTS_MOST);
    return RV_LENGTH;
}

static CK_RV find_more(struct session *session, enum search_end end, struct handles *out,
                       bool *done)
{
    CK_ULONG found = 0;
    CK_RV rv = handles_grow(out);

    if (rv == CKR_OK)
        rv = find_some(session, &out->list[out->count], FIND_BATCH, &found);
    if (rv == CKR_OK)
        rv = progress_check(out, found);
    if (rv == CKR_OK)
        out->count += found;
    *done = found == 0 || (end == END_WHEN_FEWER && found < FIND_BATCH);
    return rv;
}

CK_RV session_find_all(struct session *session, CK_ATTRIBUTE *template, CK_ULONG count,
                       enum search_end end, struct handles *out)
{
    bool done = false;
    CK_RV rv;

    out->count = 0;
    rv = SESSION_CALL(session, C_FindObjectsInit, template, count);
    if (rv != CKR_OK)
        return rv;
    while (rv == CKR_OK && !done)
        rv = find_more(session, end, out, &done);
    return find_final(session, rv);
}

/* What the module made of asked, in list. Its type and buffer are ours, whatever it did to them. A
 * call that failed may tell how long a value is that it did not write: then there is none. */
static CK_RV attribute_check(const CK_ATTRIBUTE *asked, CK_ATTRIBUTE *list, CK_RV rv)
{
    CK_ULONG len = list->ulValueLen;

    *list = (CK_ATTRIBUTE){ asked->type, asked->pValue, len };
    if (asked->pValue == NULL || len == CK_UNAVAILABLE_INFORMATION || len <= asked->ulValueLen)
        return rv;
    list->ulValueLen = CK_UNAVAILABLE_INFORMATION;
    if (rv != CKR_OK)
        return rv;
    call_detail_set("%s returned %lu bytes for the attribute 0x%lx, where at most %lu are right",
                    call_name(), (unsigned long)len, (unsigned long)asked->type,
                    (unsigned long)asked->ulValueLen);
    return RV_LENGTH;
}

CK_RV session_get(struct session *session, struct handle object, CK_ATTRIBUTE *list, CK_ULONG count)
{
    CK_ATTRIBUTE asked[ATTRIBUTES_MOST];
    CK_RV rv;

    if (count > ATTRIBUTES_MOST)
        return CKR_ARGUMENTS_BAD;
    for (CK_ULONG i = 0; i < count; i++)
        asked[i] = list[i];
    rv = HANDLE_CALL(session, object, C_GetAttributeValue, object.ck, list, count);
    for (CK_ULONG i = 0; i < count; i++)
        rv = attribute_check(&asked[i], &list[i], rv);
    return rv;
}

CK_RV session_get_value(struct session *session, struct handle object, CK_ATTRIBUTE_TYPE type,
                        struct room *out)
{
    CK_ATTRIBUTE value = { type, out->data, out->size };
    CK_RV rv = HANDLE_CALL(session, object, C_GetAttributeValue, object.ck, &value, 1UL);

    out->len = value.ulValueLen;
    return room_check(out, rv);
}

CK_RV session_set(struct session *session, struct handle object, CK_ATTRIBUTE *list, CK_ULONG count)
{
    return HANDLE_CALL(session, object, C_SetAttributeValue, object.ck, list, count);
}

CK_RV session_create(struct session *session, CK_ATTRIBUTE *list, CK_ULONG count,
                     struct handle *created)
{
    CK_OBJECT_HANDLE ck = CK_INVALID_HANDLE;
    CK_RV rv = SESSION_CALL(session, C_CreateObject, list, count, &ck);

    return rv == CKR_OK ? stamp(session, created, &ck, 1, none) : rv;
}

CK_RV session_copy(struct session *session, struct handle object, CK_ATTRIBUTE *list,
                   CK_ULONG count, struct handle *copy)
{
    CK_OBJECT_HANDLE ck = CK_INVALID_HANDLE;
    CK_RV rv = HANDLE_CALL(session, object, C_CopyObject, object.ck, list, count, &ck);

    return rv == CKR_OK ? stamp(session, copy, &ck, 1, object) : rv;
}

CK_RV session_destroy(struct session *session, struct handle object)
{
    return HANDLE_CALL(session, object, C_DestroyObject, object.ck);
}

CK_RV session_generate_key(struct session *session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *list,
                           CK_ULONG count, struct handle *key)
{
    CK_OBJECT_HANDLE ck = CK_INVALID_HANDLE;
    CK_RV rv = SESSION_CALL(session, C_GenerateKey, mechanism, list, count, &ck);

    return rv == CKR_OK ? stamp(session, key, &ck, 1, none) : rv;
}

CK_RV session_generate_pair(struct session *session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public,
                            CK_ULONG public_count, CK_ATTRIBUTE *private, CK_ULONG private_count,
                            struct handle *public_key, struct handle *private_key)
{
    CK_OBJECT_HANDLE ck_public = CK_INVALID_HANDLE, ck_private = CK_INVALID_HANDLE;
    CK_RV rv = SESSION_CALL(session, C_GenerateKeyPair, mechanism, public, public_count, private,
                            private_count, &ck_public, &ck_private);

    if (rv == CKR_OK)
        rv = stamp(session, public_key, &ck_public, 1, none);
    return rv == CKR_OK ? stamp(session, private_key, &ck_private, 1, *public_key) : rv;
}

CK_RV session_derive(struct session *session, CK_MECHANISM *mechanism, struct handle base,
                     CK_ATTRIBUTE *list, CK_ULONG count, struct handle *derived)
{
    CK_OBJECT_HANDLE ck = CK_INVALID_HANDLE;
    CK_RV rv = HANDLE_CALL(session, base, C_DeriveKey, mechanism, base.ck, list, count, &ck);

    return rv == CKR_OK ? stamp(session, derived, &ck, 1, base) : rv;
}

/* What a call works on. Modules take NULL for a mistake, also where the input is empty. */
static CK_BYTE *input(struct view in)
{
    static const uint8_t empty;

    return ck_input(in.data != NULL ? in.data : &empty);
}

CK_RV session_wrap(struct session *session, CK_MECHANISM *mechanism, struct handle wrapper,
                   struct handle key, struct room *out)
{
    CK_RV rv;

    if (!handle_fits(key, session))
        return stale("C_WrapKey");
    out->len = out->size;
    rv = HANDLE_CALL(session, wrapper, C_WrapKey, mechanism, wrapper.ck, key.ck, out->data,
                     &out->len);
    if (rv == CKR_OK && out->len == 0) {
        call_detail_set("C_WrapKey returned nothing");
        return RV_LENGTH;
    }
    return room_check(out, rv);
}

CK_RV session_unwrap(struct session *session, CK_MECHANISM *mechanism, struct handle wrapper,
                     struct view in, CK_ATTRIBUTE *list, CK_ULONG count, struct handle *key)
{
    CK_OBJECT_HANDLE ck = CK_INVALID_HANDLE;
    CK_RV rv = HANDLE_CALL(session, wrapper, C_UnwrapKey, mechanism, wrapper.ck, input(in), in.len,
                           list, count, &ck);

    return rv == CKR_OK ? stamp(session, key, &ck, 1, wrapper) : rv;
}

CK_RV session_sign_init(struct session *session, CK_MECHANISM *mechanism, struct handle key)
{
    return HANDLE_CALL(session, key, C_SignInit, mechanism, key.ck);
}

CK_RV session_sign(struct session *session, struct view in, struct room *out)
{
    out->len = out->size;
    return room_check(out, SESSION_CALL(session, C_Sign, input(in), in.len, out->data, &out->len));
}

CK_RV session_sign_update(struct session *session, struct view in)
{
    return SESSION_CALL(session, C_SignUpdate, input(in), in.len);
}

CK_RV session_sign_final(struct session *session, struct room *out)
{
    out->len = out->size;
    return room_check(out, SESSION_CALL(session, C_SignFinal, out->data, &out->len));
}

CK_RV session_verify_init(struct session *session, CK_MECHANISM *mechanism, struct handle key)
{
    return HANDLE_CALL(session, key, C_VerifyInit, mechanism, key.ck);
}

CK_RV session_verify(struct session *session, struct view in, struct view signature)
{
    return SESSION_CALL(session, C_Verify, input(in), in.len, input(signature), signature.len);
}

CK_RV session_encrypt_init(struct session *session, CK_MECHANISM *mechanism, struct handle key)
{
    return HANDLE_CALL(session, key, C_EncryptInit, mechanism, key.ck);
}

CK_RV session_encrypt(struct session *session, struct view in, struct room *out)
{
    out->len = out->size;
    return room_check(out,
                      SESSION_CALL(session, C_Encrypt, input(in), in.len, out->data, &out->len));
}

CK_RV session_decrypt_init(struct session *session, CK_MECHANISM *mechanism, struct handle key)
{
    return HANDLE_CALL(session, key, C_DecryptInit, mechanism, key.ck);
}

CK_RV session_decrypt(struct session *session, struct view in, struct room *out)
{
    out->len = out->size;
    return room_check(out,
                      SESSION_CALL(session, C_Decrypt, input(in), in.len, out->data, &out->len));
}

CK_RV session_encapsulate(struct session *session, CK_MECHANISM *mechanism, struct handle key,
                          CK_ATTRIBUTE *list, CK_ULONG count, struct room *ciphertext,
                          struct handle *secret)
{
    CK_OBJECT_HANDLE ck = CK_INVALID_HANDLE;
    CK_RV rv;

    ciphertext->len = ciphertext->size;
    rv = NEWER_CALL(session, key, v3_2, C_EncapsulateKey, mechanism, key.ck, list, count,
                    ciphertext->data, &ciphertext->len, &ck);
    rv = room_check(ciphertext, rv);
    return rv == CKR_OK ? stamp(session, secret, &ck, 1, key) : rv;
}

CK_RV session_decapsulate(struct session *session, CK_MECHANISM *mechanism, struct handle key,
                          CK_ATTRIBUTE *list, CK_ULONG count, struct view ciphertext,
                          struct handle *secret)
{
    CK_OBJECT_HANDLE ck = CK_INVALID_HANDLE;
    CK_RV rv = NEWER_CALL(session, key, v3_2, C_DecapsulateKey, mechanism, key.ck, list, count,
                          input(ciphertext), ciphertext.len, &ck);

    return rv == CKR_OK ? stamp(session, secret, &ck, 1, key) : rv;
}

CK_RV session_random(struct session *session, uint8_t *out, CK_ULONG len)
{
    return SESSION_CALL(session, C_GenerateRandom, out, len);
}
