/* A digest of any size that libcrypto may have. */
#ifndef BRIDGE_PROOF_OPENSSL_H
#define BRIDGE_PROOF_OPENSSL_H

#include <openssl/evp.h>

struct evp_md_st {
    int size;
};

struct evp_md_ctx_st {
    int nothing;
};

const EVP_MD *any_md(void);

/* The one that contexts are for, in a proof that has such. */
const EVP_MD *any_md_used(void);

/* For memcpy, where no branch and no index depends on what is copied: it looks at the lengths alone. */
void *copied(void *to, const void *from, size_t count);

#endif
