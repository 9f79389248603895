/* Objects on a token: finding them, reading their attributes, keeping hold of one. */
#ifndef BRIDGE_OBJECT_H
#define BRIDGE_OBJECT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "token/slot.h"
#include "token/witness.h"

#define TEMPLATE_MAX 8

/* What C_GetAttributeValue said of one object. Too large for the stack of an ASYNC_JOB, which has
 * 32 KiB: allocate it. */
struct attributes {
    CK_ATTRIBUTE list[ATTRIBUTES_MOST];
    CK_ULONG count;
    size_t used;
    uint8_t store[13440];
};

/* Reads the attributes of types (at most ATTRIBUTES_MOST) in one call. One that the object does not
 * have, or does not show, is absent afterwards and no error. */
CK_RV attributes_read(struct session *session, struct handle handle, const CK_ATTRIBUTE_TYPE *types,
                      CK_ULONG count, struct attributes *out);

/* The same of more attributes of the object, beside what was read of it. */
CK_RV attributes_read_more(struct session *session, struct handle handle,
                           const CK_ATTRIBUTE_TYPE *types, CK_ULONG count, struct attributes *out);

/* The whole value of one attribute of any length, for what may be longer than struct attributes
 * holds. CKR_OK with *out none where it is absent. */
CK_RV attribute_value(struct session *session, struct handle handle, CK_ATTRIBUTE_TYPE type,
                      struct bytes *out);

/* A copy that is no larger than its values, for who keeps many: to be read only, and freed with
 * OPENSSL_free. *size: its bytes. NULL when memory is short. */
struct attributes *attributes_pack(const struct attributes *from, size_t *size);

/* The value, or NULL where it is absent or empty. */
const CK_ATTRIBUTE *attribute(const struct attributes *attributes, CK_ATTRIBUTE_TYPE type);

/* Its value; none where one is NULL. */
static inline struct view attribute_view(const CK_ATTRIBUTE *one)
{
    return one != NULL ? (struct view){ one->pValue, one->ulValueLen } : (struct view){ NULL, 0 };
}

static inline struct view view_attribute(const struct attributes *attributes,
                                         CK_ATTRIBUTE_TYPE type)
{
    return attribute_view(attribute(attributes, type));
}

/* The value of a CK_ULONG or CK_BBOOL attribute, or otherwise where it is absent. */
CK_ULONG attribute_ulong(const struct attributes *attributes, CK_ATTRIBUTE_TYPE type,
                         CK_ULONG otherwise);
bool attribute_bool(const struct attributes *attributes, CK_ATTRIBUTE_TYPE type, bool otherwise);

/* Whether a key is copied to a session object when it is used over and over
 * (pkcs11-module-cache-keys): tokens in software look at a file for each use of the original. */
enum copying { COPY_NEVER, COPY_AUTO, COPY_ALWAYS };

struct copy {
    struct handle_cell handle; /* none: there is none */
    unsigned long home;        /* of its keeper (token/pool.h); under the lock */
    atomic_ullong checked;     /* clock_ms_coarse when the original was used last */
    atomic_uint changes;       /* of the slot at that time */
    atomic_uint losses;        /* copies of this object that went stale */
};

/* An object that is used over and over. Its handle may go stale; its identity stays. */
struct object {
    struct slot *slot;
    CK_OBJECT_CLASS class;
    CK_KEY_TYPE type;
    struct bytes id;          /* CKA_ID as read; may be none */
    struct bytes label;       /* CKA_LABEL as read; may be none */
    bool private;             /* seen after login only */
    bool always_authenticate; /* CKA_ALWAYS_AUTHENTICATE: a login for each use */

    bool may_sign, may_encrypt, may_decrypt, may_derive,
        may_decapsulate;  /* CKA_SIGN, CKA_ENCRYPT, ...; true where absent */
    struct bytes allowed; /* CKA_ALLOWED_MECHANISMS; none: all */

    bool session_object;         /* destroyed with this struct; cannot be found again */
    struct handle public_handle; /* of its public half, a session object as well */
    unsigned long home;          /* of the keeper that they were made on (token/pool.h) */

    /* Whether the object at handle is still what it was, asked after it was found again: CKR_OK,
     * RV_KEY_REPLACED, or the failure of a call. */
    CK_RV (*confirm)(struct session *session, struct handle handle, void *arg);
    void *confirm_arg;

    enum copying copying; /* set before others can see the object */
    atomic_uint uses;     /* since the handle was found, as far as they count (token/copy.h) */

    struct handle_cell handle; /* written under the lock (module/lock.h) */
    struct copy copy;
};

/* Sets from attributes what they say of the object: its name and what it may be used for. False
 * when memory is short. */
bool object_fill(struct object *object, const struct attributes *attributes);

static inline struct names object_names(const struct object *object)
{
    return (struct names){ view_bytes(&object->label), view_bytes(&object->id) };
}

/* The object's handle or its copy's, found again on session where it went stale. RV_KEY_GONE,
 * RV_SESSION_KEY_GONE, RV_KEY_REPLACED. */
CK_RV object_handle(struct object *object, struct session *session, struct handle *handle);

/* This handle of the object, or of its copy, went stale. */
void object_lost(struct object *object, struct handle handle);

/* Whether CKA_ALLOWED_MECHANISMS has mechanism, or is not there at all. */
bool object_allows(const struct object *object, CK_MECHANISM_TYPE mechanism);

/* The object is a session object of ours, and so is its public half: object_clear destroys both,
 * and lets go of their keeper. */
void object_own(struct object *object, struct handle public_handle, unsigned long home);

/* Destroys session objects of ours. Nothing to do when the token forgot them with their session, or
 * when they are an ancestor's. */
void object_destroy_session_object(struct slot *slot, struct handle handle);

/* Frees what the identity holds, not the struct itself. */
void object_clear(struct object *object);

#endif
