/* A session with a token, the handles it gives out, and the C_* calls that need one.
 *
 * Handles and sessions are numbers that a module may use again for something else. What tells an
 * old one from a new one is its epoch: a number that no two lives of a token share in a process
 * (token/pool.h). Every call here takes the session and, where it needs one, the handle, and is
 * refused (RV_STALE) before the module is asked when either belongs to another epoch than the one
 * that the token is in now. Nobody else compares epochs.
 *
 * What the module writes is checked here against the room it was given: RV_LENGTH, and call_detail
 * says what was wrong. */
#ifndef BRIDGE_MODULE_SESSION_H
#define BRIDGE_MODULE_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "module/module.h"

struct slot;

/* An object of a token; {0, 0} is none, and no session takes it. */
struct handle {
    CK_OBJECT_HANDLE ck;
    unsigned long epoch;
};

/* What is known of the token that the sessions of an epoch are with. */
enum standing {
    STRANGER,   /* nothing: it may be another than the one meant */
    IDENTIFIED, /* it is the one */
    LOGGED_IN,  /* and the user is logged in */
};

struct session {
    struct session *next;
    struct slot *slot; /* token/slot.h */
    struct module *module;
    CK_SLOT_ID id; /* where it was opened, wherever the token is by now */
    CK_SESSION_HANDLE ck;
    unsigned long epoch;
    const atomic_ulong *now; /* the epoch of its token at this time */
    unsigned long life;      /* of the module, when it was opened */

    /* token/pool.h */
    struct session *peer; /* among all of its pool */
    bool write;           /* opened with CKF_RW_SESSION */
    bool keeper;          /* session objects are made on it */
    bool apart;           /* a keeper that stands beside the pool */
    bool busy;            /* a keeper that a thread has */
    unsigned objects;     /* on a keeper, as far as somebody still has them */
    unsigned long home;   /* the keeper's number, of its own for each */
    bool spoilt;          /* not to be used again */
    CK_FLAGS pending; /* operations left active (CKF_SIGN, ...), where that is all that is wrong */
    bool remains;     /* nobody has it, and it is still open in the token */
    bool committed;   /* token/run.h */
    enum standing standing; /* of its pool, when the session was taken */
};

/* Never 0 and never the same again. */
unsigned long epoch_next(void);

static inline bool handle_none(struct handle handle)
{
    return handle.epoch == 0;
}

/* Whether the session belongs to the token's present life; whether a handle is of the same. */
static inline bool session_current(const struct session *session)
{
    return atomic_load_explicit(session->now, memory_order_acquire) == session->epoch;
}

static inline bool handle_fits(struct handle handle, const struct session *session)
{
    return handle.epoch == session->epoch && handle.epoch != 0;
}

/* A handle that threads read without a lock, and write under one. */
struct handle_cell {
    atomic_ulong epoch;
    _Atomic(CK_OBJECT_HANDLE) ck;
};

struct handle handle_load(const struct handle_cell *cell);
void handle_store(struct handle_cell *cell, struct handle handle);

/* Room for what a call writes, and how much it wrote. exact: all of size, or it is RV_LENGTH. */
struct room {
    uint8_t *data;
    CK_ULONG size;
    bool exact;
    CK_ULONG len;
};

/* C_OpenSession into session->ck, C_CloseSession, C_GetSessionInfo, C_Login (pin may be NULL).
 * session_close_stale closes one of an epoch that is over, but not where the module has been
 * started anew since; only for who knows that its number has not been given out again. */
CK_RV session_open(struct session *session, CK_SLOT_ID slot, CK_FLAGS flags);
CK_RV session_close(struct session *session);
CK_RV session_close_stale(struct session *session);

/* C_SessionCancel: none of these operations (CKF_SIGN, ...) is active any more. They must be: NSS
 * softokn fails where one is not. CKR_FUNCTION_NOT_SUPPORTED, and no call, where the module has no
 * such function or has said so before. */
CK_RV session_cancel(struct session *session, CK_FLAGS operations);
CK_RV session_info(struct session *session, CK_SESSION_INFO *info);
CK_RV session_login(struct session *session, CK_USER_TYPE user, const char *pin, size_t len);

/* C_SetPIN, of the user. */
CK_RV session_set_pin(struct session *session, struct view old, struct view new);

/* A search: the objects that match template, at most max of them. No search is left active. */
CK_RV session_find(struct session *session, CK_ATTRIBUTE *template, CK_ULONG count,
                   struct handle *handles, CK_ULONG max, CK_ULONG *found);

struct handles {
    struct handle *list;
    CK_ULONG count, room;
};

/* For _cleanup_(handles_clear). */
void handles_clear(struct handles *handles);

/* When a search is over: PKCS#11 v3.1 §5.7.8 has the module say so by giving no objects, which is
 * a call more; nearly all give as many as they are asked for while they have them. */
enum search_end { END_WHEN_FEWER, END_WHEN_NONE };

/* The same for all objects that match. RV_LENGTH for a search that goes round in circles, or gives
 * more than OBJECTS_MOST. The caller clears *out in any case. */
#define OBJECTS_MOST (1UL << 20)
CK_RV session_find_all(struct session *session, CK_ATTRIBUTE *template, CK_ULONG count,
                       enum search_end end, struct handles *out);

/* Attributes that one call reads at most. */
#define ATTRIBUTES_MOST 16

/* C_GetAttributeValue */
CK_RV session_get(struct session *session, struct handle object, CK_ATTRIBUTE *list,
                  CK_ULONG count);
/* The value of one attribute into out. */
CK_RV session_get_value(struct session *session, struct handle object, CK_ATTRIBUTE_TYPE type,
                        struct room *out);
CK_RV session_set(struct session *session, struct handle object, CK_ATTRIBUTE *list,
                  CK_ULONG count);
CK_RV session_create(struct session *session, CK_ATTRIBUTE *list, CK_ULONG count,
                     struct handle *created);
CK_RV session_copy(struct session *session, struct handle object, CK_ATTRIBUTE *list,
                   CK_ULONG count, struct handle *copy);
CK_RV session_destroy(struct session *session, struct handle object);

CK_RV session_generate_key(struct session *session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *list,
                           CK_ULONG count, struct handle *key);
CK_RV session_generate_pair(struct session *session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public,
                            CK_ULONG public_count, CK_ATTRIBUTE *private, CK_ULONG private_count,
                            struct handle *public_key, struct handle *private_key);
CK_RV session_derive(struct session *session, CK_MECHANISM *mechanism, struct handle base,
                     CK_ATTRIBUTE *list, CK_ULONG count, struct handle *derived);

/* key, encrypted with wrapper; and what that gave made a key again. */
CK_RV session_wrap(struct session *session, CK_MECHANISM *mechanism, struct handle wrapper,
                   struct handle key, struct room *out);
CK_RV session_unwrap(struct session *session, CK_MECHANISM *mechanism, struct handle wrapper,
                     struct view in, CK_ATTRIBUTE *list, CK_ULONG count, struct handle *key);

/* PKCS#11 v3.2 §5.18. CKR_FUNCTION_NOT_SUPPORTED, and no call, on older modules. */
CK_RV session_encapsulate(struct session *session, CK_MECHANISM *mechanism, struct handle key,
                          CK_ATTRIBUTE *list, CK_ULONG count, struct room *ciphertext,
                          struct handle *secret);
CK_RV session_decapsulate(struct session *session, CK_MECHANISM *mechanism, struct handle key,
                          CK_ATTRIBUTE *list, CK_ULONG count, struct view ciphertext,
                          struct handle *secret);

CK_RV session_sign_init(struct session *session, CK_MECHANISM *mechanism, struct handle key);
CK_RV session_sign(struct session *session, struct view in, struct room *out);
CK_RV session_sign_update(struct session *session, struct view in);
CK_RV session_sign_final(struct session *session, struct room *out);
CK_RV session_verify_init(struct session *session, CK_MECHANISM *mechanism, struct handle key);
CK_RV session_verify(struct session *session, struct view in, struct view signature);
CK_RV session_encrypt_init(struct session *session, CK_MECHANISM *mechanism, struct handle key);
CK_RV session_encrypt(struct session *session, struct view in, struct room *out);
CK_RV session_decrypt_init(struct session *session, CK_MECHANISM *mechanism, struct handle key);
CK_RV session_decrypt(struct session *session, struct view in, struct room *out);

CK_RV session_random(struct session *session, uint8_t *out, CK_ULONG len);

#endif
