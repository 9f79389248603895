/* What a listing knows of the objects beside its keys: the public keys and certificates of a token,
 * read once instead of searched for with each private key, and found by CKA_ID or CKA_LABEL. It
 * belongs to one token and one of its epochs. It is read in pieces, so that nobody waits for all of
 * it: neither for the session nor for a fork. */
#ifndef BRIDGE_KEY_INDEX_H
#define BRIDGE_KEY_INDEX_H

#include "instance/instance.h"
#include "token/object.h"

/* Keys that search for themselves before an index is read: who takes the first key of a listing
 * shall not pay for all the others, and who asks for the second makes a list. */
#define INDEX_AFTER 1

/* The bytes of an index at most; where that is not enough, there is none. */
#define INDEX_BYTES_MOST ((size_t)64 << 20)

/* INDEX_PRIVATE has those with CKA_ALLOWED_MECHANISMS only. */
enum index_part { INDEX_PUBLIC, INDEX_CERTIFICATE, INDEX_PRIVATE, INDEX_PARTS };

struct indexed {
    struct handle handle;
    struct attributes *attributes;
};

struct index_objects {
    unsigned wanted; /* by so many keys */
    enum { INDEX_UNREAD, INDEX_READING, INDEX_READY, INDEX_USELESS } state;
    struct handles handles; /* as they were found; from next on still to be read */
    CK_ULONG next;
    bool gaps;            /* some could not be read: what is not found may be there */
    struct indexed *list; /* in the order of their handles */
    CK_ULONG count, room;
    const struct indexed **by_id, **by_label;
};

struct index {
    const struct provider *provider;
    unsigned long epoch;
    CK_ULONG keys; /* in the listing: where there are far more objects than these, each searches */
    size_t used;   /* bytes */
    struct index_objects parts[INDEX_PARTS];
};

/* A key had to search by itself for objects of this kind. index may be NULL, here and below. */
void index_want(struct index *index, enum index_part part);

/* Whether something that was wanted is still to be read: then index_step is due, on the token. */
bool index_due(const struct index *index);

/* Reads the next piece. For run_task, with a struct index. */
CK_RV index_step(struct session *session, void *index);

/* Adds what was read of an object of a part that is not searched for, but is complete as the
 * listing gets there (index_done). */
CK_RV index_add(struct index *index, struct session *session, enum index_part part,
                struct handle handle, const struct attributes *attributes);
void index_done(struct index *index, enum index_part part);

/* Whether the part is complete, and of the session's epoch. */
bool index_knows(const struct index *index, const struct session *session, enum index_part part);

/* The objects with this CKA_ID or CKA_LABEL; their number. */
CK_ULONG index_find(const struct index *index, enum index_part part, const CK_ATTRIBUTE *name,
                    const struct indexed *const **first);

/* What was read of the object, or NULL. */
const struct attributes *index_read(const struct index *index, const struct session *session,
                                    enum index_part part, struct handle handle);

/* Whether the listing's own search for all objects of class has been made for the index: then out,
 * which the caller clears in any case, has what it found, in that order. */
bool index_handles(const struct index *index, const struct session *session, CK_OBJECT_CLASS class,
                   struct handles *out);

/* One of those is not there any more: objects of class are searched for anew. */
void index_forget(struct index *index, CK_OBJECT_CLASS class);

/* What is due could not be read: keys search for themselves. */
void index_abandon(struct index *index);

/* Another token is next, or none. */
void index_clear(struct index *index);

#endif
