/* The objects of token32: in memory, and those of the token in a file each of the folder
 * TOKEN32_DIR, where the processes that use it find them. Nothing here locks. */
#ifndef BRIDGE_TOKEN32_OBJECTS_H
#define BRIDGE_TOKEN32_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/types.h>

#include "pkcs11_3.h"

struct object {
    struct object *next;
    ck_object_handle_t handle;
    ck_session_handle_t session; /* that it goes with; 0: none, it is the token's */
    char file[32];               /* of a token object */
    bool seen;                   /* by the scan under way */
    unsigned long count;
    struct ck_attribute *attributes; /* owned, their values too */
    EVP_PKEY *pkey;                  /* made of them when it was needed first; owned */
};

/* A new object without attributes, in the list of all when it is added. object_free: one that never
 * was. */
struct object *object_new(void);
void object_free(struct object *object);

/* Sets an attribute to a copy of value. object_set_all: a template, which may be longer than it is
 * sensible. */
void object_set(struct object *object, ck_attribute_type_t type, const void *value, size_t len);
void object_set_ulong(struct object *object, ck_attribute_type_t type, unsigned long value);
void object_set_bool(struct object *object, ck_attribute_type_t type, bool value);
void object_set_all(struct object *object, const struct ck_attribute *templ, unsigned long count);

/* NULL, 0, false where there is no such attribute, or one of another size. */
const struct ck_attribute *object_get(const struct object *object, ck_attribute_type_t type);
unsigned long object_ulong(const struct object *object, ck_attribute_type_t type);
bool object_is(const struct object *object, ck_attribute_type_t type);

/* Whether it has all these attributes. */
bool object_matches(const struct object *object, const struct ck_attribute *templ,
                    unsigned long count);

/* Adds an object, which from here on belongs to the list: of this session, or of the token (0) and
 * then in a file. */
ck_rv_t object_add(struct object *object, ck_session_handle_t session);

/* Writes a token object's file anew. */
ck_rv_t object_save(const struct object *object);

/* Takes an object from the list, and its file away. */
void object_destroy(struct object *object);

struct object *object_first(void);
struct object *object_by_handle(ck_object_handle_t handle);

/* Reads what other processes made in the folder, and forgets what they destroyed. */
void objects_scan(void);

/* Forgets the session's objects; those of all. Files stay. */
void objects_forget(ck_session_handle_t session);
void objects_forget_all(void);

/* A small file of the folder: what is in it, up to size - 1 bytes, as text; whether there is one.
 */
bool folder_read(const char *name, char *text, size_t size);
bool folder_write(const char *name, const void *data, size_t len);

#endif
