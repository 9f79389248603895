/* Where objects of a name were found last, so that a key which is opened again is not searched for.
 * What is remembered is a guess: its user reads the objects and sees whether they still have the
 * name. A further object that gets the name from outside this process is not noticed as long as
 * those remembered have it. */
#ifndef BRIDGE_PLACE_H
#define BRIDGE_PLACE_H

#include "token/object.h"

/* Objects of one name, and bytes for all names of one slot, that are remembered: those that were
 * used last. */
#define PLACE_OBJECTS_MOST 4
#define PLACES_BYTES_MOST  ((size_t)4 << 20)

struct places {
    struct handle handles[PLACE_OBJECTS_MOST];
    CK_OBJECT_CLASS classes[PLACE_OBJECTS_MOST];
    bool restricts[PLACE_OBJECTS_MOST]; /* it says that its other half is for PSS alone, too */
    CK_ULONG count;
};

/* A name is a template of CKA_ID, CKA_LABEL, or both, without values of no length. place_recall:
 * false when nothing of that name was remembered, or objects were made or deleted here since. */
bool place_recall(struct slot *slot, const CK_ATTRIBUTE *name, CK_ULONG count, struct places *out);
void place_remember(struct slot *slot, const CK_ATTRIBUTE *name, CK_ULONG count,
                    const struct places *places);
/* Whether none of the objects says anything of what the others are for. */
bool places_unrestricted(const struct places *places);
void place_forget(struct slot *slot, const CK_ATTRIBUTE *name, CK_ULONG count);

#endif
