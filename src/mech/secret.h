/* The kinds of secret keys: what OpenSSL calls them, how a token makes one. */
#ifndef BRIDGE_MECH_SECRET_H
#define BRIDGE_MECH_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "module/cryptoki.h"

struct secret_kind {
    const char *name; /* of its key management (OSSL_SKEY_TYPE_*) */
    CK_KEY_TYPE type;
    CK_MECHANISM_TYPE generate;
    size_t default_len; /* bytes, of a key to be made */
    /* what such a key is for, the uses without which it is none first */
    const CK_ATTRIBUTE_TYPE *uses;
    size_t use_count, needed;
};

enum secret_kind_id { SECRET_AES, SECRET_GENERIC, SECRET_KINDS };

extern const struct secret_kind secret_kinds[SECRET_KINDS];

/* Of a CKA_KEY_TYPE: whatever is not AES is a generic secret. */
const struct secret_kind *secret_kind_of(CK_KEY_TYPE type);

/* Whether a key of that kind can have so many bytes. */
bool secret_kind_fits(const struct secret_kind *kind, size_t len);

#endif
