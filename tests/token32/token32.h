/* What the C_* functions of token32 share: sessions, the mutex that each holds, objects as a
 * session may see them. */
#ifndef BRIDGE_TOKEN32_TOKEN32_H
#define BRIDGE_TOKEN32_TOKEN32_H

#include "crypto.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#define TRY(call)                                                                                  \
    do {                                                                                           \
        const ck_rv_t try_rv = (call);                                                             \
        if (try_rv != CKR_OK)                                                                      \
            return try_rv;                                                                         \
    } while (0)

/* What a session may have under way, each beside the others. */
enum work { SIGN, VERIFY, VERIFY_SIGNATURE, MESSAGE_SIGN, MESSAGE_VERIFY, WORKS };

struct operation {
    EVP_PKEY *pkey; /* owned; NULL: none under way */
    struct signing signing;
    bool begun;                /* a message, by parts */
    uint8_t *data, *signature; /* owned */
    size_t len, signature_len;
};

struct session {
    struct session *next;
    ck_session_handle_t handle;
    bool writes;
    bool finding;
    ck_object_handle_t *found; /* owned */
    size_t found_count, found_given;
    struct operation operations[WORKS];
};

/* Ends what is under way; frees what it has. */
void operation_end(struct operation *operation);

/* Every function holds the mutex from ENTER to its end, and leaves libcrypto's error stack as it
 * was. */
struct guard {
    ck_rv_t rv; /* why the function cannot go on */
};

struct guard enter(void);
void leave(const struct guard *guard);

#define ENTER                                                                                      \
    __attribute__((cleanup(leave))) struct guard guard = enter();                                  \
    TRY(guard.rv)

struct session *session_find(ck_session_handle_t handle);

/* The session of this handle in a variable of this name. */
#define ENTER_SESSION(name, handle)                                                                \
    ENTER;                                                                                         \
    struct session *name = session_find(handle);                                                   \
    if (name == NULL)                                                                              \
    return CKR_SESSION_HANDLE_INVALID

/* Whether the user is logged in. */
bool is_logged_in(void);

/* The object of this handle, where who is logged in may see it; NULL. */
struct object *visible(ck_object_handle_t handle);

/* Sets what an object is and what a key is for, unless its template said so. */
void set_defaults(struct object *object);

/* Whether this session may make such an object. */
ck_rv_t may_make(const struct session *session, const struct object *object);

/* Takes an object that is complete, or frees it. */
ck_rv_t keep(const struct session *session, struct object *object, ck_object_handle_t *handle);

/* Whether an attribute of the object is not given out. */
bool is_hidden(const struct object *object, ck_attribute_type_t type);

bool is_asymmetric(const struct object *object);

/* The mechanism, where the token has it for this use and libcrypto can do it; NULL. */
const struct mechanism *mechanism_for(const struct ck_mechanism *given, ck_flags_t flag);

/* An object as a key of this mechanism. */
ck_rv_t key_for(const struct mechanism *mechanism, ck_object_handle_t handle,
                ck_attribute_type_t use, EVP_PKEY **pkey);

#endif
