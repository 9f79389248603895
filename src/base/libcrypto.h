/* What this provider owns of libcrypto, and its end.
 *
 * OPENSSL_cleanup takes the ground from under every object of libcrypto, yet a program may free its
 * last key or SSL_CTX later, in an exit handler that it registered early or in a destructor, and so
 * come here. From the moment that OPENSSL_cleanup begins, none of these functions does anything:
 * the system takes the memory. All objects of libcrypto are released by them, nowhere directly, but
 * for those that are plain memory: OPENSSL_malloc's, BIGNUM, OSSL_PARAM, EVP_ENCODE_CTX.
 * docs/adr/0012-the-end-of-the-process.md has the reasons. */
#ifndef BRIDGE_LIBCRYPTO_H
#define BRIDGE_LIBCRYPTO_H

#include <stdbool.h>

#include <openssl/ec.h>
#include <openssl/types.h>

/* Once, before an object of libcrypto is made. handler is run when OPENSSL_cleanup begins and
 * everything is still there. */
void libcrypto_watch(void (*handler)(void));

/* Whether OPENSSL_cleanup has begun: nothing may be made or fetched any more. */
bool libcrypto_ended(void);

/* ROW(name, type, the function that frees one): there are name_release(object), NULL or not, and
 * name_scoped(&object), for _cleanup_. */
#define LIBCRYPTO_OBJECTS(ROW)                                                                     \
    ROW(libctx, OSSL_LIB_CTX, OSSL_LIB_CTX_free)                                                   \
    ROW(md, EVP_MD, EVP_MD_free)                                                                   \
    ROW(md_ctx, EVP_MD_CTX, EVP_MD_CTX_free)                                                       \
    ROW(pkey, EVP_PKEY, EVP_PKEY_free)                                                             \
    ROW(pkey_ctx, EVP_PKEY_CTX, EVP_PKEY_CTX_free)                                                 \
    ROW(keymgmt, EVP_KEYMGMT, EVP_KEYMGMT_free)                                                    \
    ROW(kdf, EVP_KDF, EVP_KDF_free)                                                                \
    ROW(kdf_ctx, EVP_KDF_CTX, EVP_KDF_CTX_free)                                                    \
    ROW(x509, X509, X509_free)                                                                     \
    ROW(bio, BIO, (void)BIO_free)                                                                  \
    ROW(encoder_ctx, OSSL_ENCODER_CTX, OSSL_ENCODER_CTX_free)                                      \
    ROW(ec_group, EC_GROUP, EC_GROUP_free)

#define LIBCRYPTO_RELEASES(name, type, release)                                                    \
    void name##_release(type *object);                                                             \
    void name##_scoped(type **object);

LIBCRYPTO_OBJECTS(LIBCRYPTO_RELEASES)

/* Of plain memory, for _cleanup_. */
void bn_scoped(BIGNUM **bn); /* wiped */
void params_scoped(OSSL_PARAM **params);
void param_bld_scoped(OSSL_PARAM_BLD **builder);

#endif
