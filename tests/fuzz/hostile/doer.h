/* What is done with the provider beside the hostile token: hostile.c has what any libcrypto does,
 * newer.c what newer ones than the oldest do besides. */
#ifndef BRIDGE_HOSTILE_DOER_H
#define BRIDGE_HOSTILE_DOER_H

#include <openssl/core.h>
#include <openssl/evp.h>

#include "../fuzz.h"

/* What one thread has. */
struct doer {
    EVP_PKEY *key;
    EVP_PKEY *peer;
    void *secret; /* a secret key of the provider's */
};

struct doing {
    const char *name;
    void (*work)(struct doer *doer, unsigned how);
    enum { NO_KEY, A_KEY, A_SECRET } with;
};

/* Of the input under way. */
extern OSSL_LIB_CTX *libctx;
extern OSSL_PROVIDER *loaded;

/* Reads all that was written, so that what was not is noticed. */
void touch(const void *data, size_t len, size_t most);

/* A secret of len bytes that the provider gave is as long as the token said, if it said anything
 * since secret_ask. */
void secret_ask(void);
void secret_hold(size_t len);
void secret_hold_part(size_t len); /* or that it has more */

/* newer.c: what OpenSSL 3.6 does. */
extern const struct doing newer_doings[];
extern const size_t newer_doing_count;

void newer_free(struct doer *doer);

/* Whether the provider takes this libcrypto for OpenSSL 3.6, from now on. */
void newer_pretend(bool newer);

/* Reads all of the lists of functions that are found in a module, where its C_GetInterface lies: no
 * more of one is taken for there than is. */
void newer_interfaces_look(const char *path);

/* The provider's init, for a library context of which it thinks so. */
extern OSSL_provider_init_fn newer_init;

#endif
