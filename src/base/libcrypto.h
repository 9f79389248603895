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

void libctx_release(OSSL_LIB_CTX *libctx);
void md_release(EVP_MD *md);
void md_ctx_release(EVP_MD_CTX *ctx);
void pkey_release(EVP_PKEY *pkey);
void pkey_ctx_release(EVP_PKEY_CTX *ctx);
void keymgmt_release(EVP_KEYMGMT *keymgmt);
void kdf_release(EVP_KDF *kdf);
void kdf_ctx_release(EVP_KDF_CTX *ctx);
void x509_release(X509 *certificate);
void bio_release(BIO *bio);
void encoder_ctx_release(OSSL_ENCODER_CTX *ctx);
void ec_group_release(EC_GROUP *group);

/* The same for _cleanup_. */
void libctx_scoped(OSSL_LIB_CTX **libctx);
void md_scoped(EVP_MD **md);
void md_ctx_scoped(EVP_MD_CTX **ctx);
void pkey_scoped(EVP_PKEY **pkey);
void keymgmt_scoped(EVP_KEYMGMT **keymgmt);
void pkey_ctx_scoped(EVP_PKEY_CTX **ctx);
void bio_scoped(BIO **bio);
void encoder_ctx_scoped(OSSL_ENCODER_CTX **ctx);
void bn_scoped(BIGNUM **bn); /* wiped */
void params_scoped(OSSL_PARAM **params);
void param_bld_scoped(OSSL_PARAM_BLD **builder);

#endif
