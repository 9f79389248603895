/* A way into a token for keys that are here: an RSA pair of its own, which it makes for that and
 * which goes at the end, wraps them on the host. */
#ifndef BRIDGE_CLI_TRANSPORT_H
#define BRIDGE_CLI_TRANSPORT_H

#include "cli/context.h"
#include "mech/wrap.h"

struct transport {
    struct context *context;
    struct key *pair; /* a session key of the token: no file has its URI */
    char *uri;        /* its own */
};

/* On the token that uri names. False with the error on OpenSSL's stack; transport_end in any case.
 */
bool transport_begin(struct transport *transport, struct context *context, const char *uri);
void transport_end(struct transport *transport);

/* Wraps plain a way that is for RSA keys. False with the error on OpenSSL's stack; the caller frees
 * *out. */
bool transport_wrap(const struct transport *transport, const struct wrap_way *way,
                    struct view plain, struct bytes *out);

#endif
