/* On which token a key is made: the one that a URI names, or the first that it fits. */
#ifndef BRIDGE_KEY_WHERE_H
#define BRIDGE_KEY_WHERE_H

#include "instance/instance.h"
#include "token/scan.h"
#include "uri/uri.h"

struct where {
    struct provider *provider;
    const struct uri *uri;
    bool token_object; /* a write-protected token is none for it */
    bool named;        /* somebody gave the URI: one that fits several tokens is an error, unless
                          pkcs11-ambiguous says otherwise */
    CK_RV (*make)(struct slot *slot, void *arg);
    void (*failed)(CK_RV rv, void *arg); /* raises the error for what make came back with */
    void *arg;
};

/* Has make do it on one token after the other, until one is not gone and not write-protected. False
 * with an error raised. */
bool where_make(const struct where *where);

#endif
