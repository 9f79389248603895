/* Private keys by their id or label, with as few calls as it takes: one search for all objects of
 * that name, whatever their class, and one call to read each; for a name that was looked for
 * before, only the calls to read. */
#ifndef BRIDGE_NAMED_H
#define BRIDGE_NAMED_H

#include "key/key.h"
#include "token/place.h"
#include "uri/uri.h"

struct named {
    struct provider *provider;
    const struct uri *uri; /* names_object */

    struct key *keys[PLACE_OBJECTS_MOST]; /* the caller's, who frees them */
    CK_ULONG count;
    bool many;            /* so many objects have the name that none was read: search by class */
    const char *unusable; /* why a private key that was found is no key for OpenSSL */
};

/* Finds them on the session's token. For run_on_slot, with a struct named. */
CK_RV named_find(struct session *session, void *named);

#endif
