/* Keys that are brought to a token: as values, or wrapped. */
#ifndef BRIDGE_CLI_ARRIVE_H
#define BRIDGE_CLI_ARRIVE_H

#include <openssl/evp.h>

#include "cli/context.h"
#include "key/wrap.h"
#include "mech/secret.h"

struct arrival {
    struct context *context;
    const char *uri;  /* the token, and the label and id to give */
    const char *type; /* OpenSSL's name of it: "EC", "AES", ... */
    EVP_PKEY *key;    /* a software key: the pair, or what there is of its public half;
                         NULL for a secret key */
    const struct secret_kind *kind; /* of a secret key */
    struct view value;              /* its bytes, where it is not wrapped */
    bool add, extractable;
    const char *with; /* the URI of the key to unwrap it with; NULL: it is not wrapped */
    const struct wrap_way *way;
    struct view blob;
};

/* Brings it there. The URI of what came of it, to be freed with OPENSSL_free; NULL with the error
 * on OpenSSL's stack. */
char *arrive(const struct arrival *arrival);

/* The kind of secret key of that name, as openssl skeyutl has it; NULL where it is none. */
const struct secret_kind *arrival_kind(const char *type);

#endif
