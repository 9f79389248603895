/* Keys as libcrypto gives them out, through this provider. */
#ifndef BRIDGE_CLI_KEY_H
#define BRIDGE_CLI_KEY_H

#include <openssl/evp.h>

#include "cli/context.h"

/* The private key that the URI names, as a program gets it that wants one. NULL with the error on
 * OpenSSL's stack; the caller frees it (pkey_release). */
EVP_PKEY *key_open(struct context *context, const char *uri);

/* Calls visit for one private key after the other, until it returns false. Where there is none, the
 * error is on OpenSSL's stack. */
void key_visit(struct context *context, bool (*visit)(EVP_PKEY *pkey, void *arg), void *arg);

/* The URI of a private key of ours (key_name), to be freed with OPENSSL_free. NULL with an error
 * raised. */
char *key_uri(struct context *context, EVP_PKEY *pkey);

/* The digest for signatures with the key: wanted, or SHA256 where that is NULL; NULL for keys that
 * hash by themselves. */
const char *key_digest(EVP_PKEY *pkey, const char *wanted);

/* Signatures with one key, one after the other. key_signer_end in any case. False with the error on
 * OpenSSL's stack. */
struct key_signer {
    struct context *context;
    EVP_PKEY *pkey;
    EVP_MD_CTX *ctx;
    unsigned char signature[4096];
    size_t len;
};
bool key_signer_begin(struct key_signer *signer, struct context *context, EVP_PKEY *pkey);
bool key_signer_sign(struct key_signer *signer, const unsigned char *message, size_t len);
bool key_signer_verify(struct key_signer *signer, const unsigned char *message, size_t len);
void key_signer_end(struct key_signer *signer);

/* One signature, of a message that is new each time, and whether the public half verifies it.
 * *sign_ns and *verify_ns: how long it took. False with the error on OpenSSL's stack. */
bool key_prove(struct context *context, EVP_PKEY *pkey, unsigned long long *sign_ns,
               unsigned long long *verify_ns);

#endif
