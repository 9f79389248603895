/* Wrapped keys in files: PEM with what is to be known to unwrap them, or the bytes alone. */
#ifndef BRIDGE_CLI_WRAPPED_H
#define BRIDGE_CLI_WRAPPED_H

#include <openssl/evp.h>

#include "key/wrap.h"

struct wrapped_file {
    struct bytes blob;
    const struct wrap_way *way; /* NULL: it does not say */
    char type[32];              /* "AES", "EC", ...; "": it does not say */
    EVP_PKEY *public;           /* of a private key; NULL: there is none */
};

/* False with words; wrapped_file_clear in any case. */
bool wrapped_file_read(const char *path, OSSL_LIB_CTX *libctx, struct wrapped_file *file);
void wrapped_file_clear(struct wrapped_file *file);

/* All of it into memory. False with the error on OpenSSL's stack. */
bool wrapped_file_write(const struct wrapped_file *file, BIO *memory);

/* What a file says of a public key: PEM, DER, or a certificate. NULL with words. */
EVP_PKEY *public_read(const char *path, OSSL_LIB_CTX *libctx);

#endif
