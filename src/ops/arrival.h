/* The parameters of a key that is brought to a token, wrapped or not: pkcs11_uri, pkcs11_wrapped
 * and their kin (include/pkcs11_bridge.h). */
#ifndef BRIDGE_OPS_ARRIVAL_H
#define BRIDGE_OPS_ARRIVAL_H

#include <openssl/core.h>

#include "key/wrap.h"

struct arrival {
    struct provider *provider;
    char *uri, *with; /* secret_text: there may be a PIN in them */
    bool add, extractable;
    struct view wrapped;
    const struct wrap_way *by;

    struct unwrap_order order;
    struct unwrapping unwrapping;
    struct making_way way; /* arrival_way's */
};

/* Reads what is there. False with an error raised where it makes no sense. arrival_clear in any
 * case. */
bool arrival_read(struct arrival *arrival, struct provider *provider, const OSSL_PARAM params[]);
void arrival_clear(struct arrival *arrival);

/* How the wrapped key is made. NULL with an error raised. */
const struct making_way *arrival_way(struct arrival *arrival);

#endif
