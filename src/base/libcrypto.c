#include "base/libcrypto.h"

#include <stdatomic.h>
#include <stdlib.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/encoder.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>
#include <openssl/params.h>
#include <openssl/x509.h>

static atomic_bool ended;
static void (*follows)(void);

static void end(void)
{
    atomic_store(&ended, true);
    follows();
}

/* OPENSSL_cleanup of OpenSSL 4 releases nothing, and OPENSSL_atexit is gone: libcrypto lasts until
 * its own destructor, which comes after those of all that are linked with it. */
#if OPENSSL_VERSION_MAJOR >= 4
static int OPENSSL_atexit(void (*handler)(void))
{
    return handler != NULL;
}
#endif

void libcrypto_watch(void (*handler)(void))
{
    follows = handler;
    (void)OPENSSL_atexit(end);
}

bool libcrypto_ended(void)
{
    return atomic_load(&ended);
}

/* What is not released any more. Leak checkers, which run after that, find it here. */
struct remnant {
    struct remnant *next;
    void *object;
};

static _Atomic(struct remnant *) remnants;

static void leave(void *object)
{
    struct remnant *remnant = malloc(sizeof(*remnant));

    if (remnant == NULL)
        return;
    remnant->object = object;
    remnant->next = atomic_load(&remnants);
    while (!atomic_compare_exchange_weak(&remnants, &remnant->next, remnant))
        ;
}

#define RELEASES(name, type, release)                                                              \
    void name(type *object)                                                                        \
    {                                                                                              \
        if (object == NULL)                                                                        \
            return;                                                                                \
        if (libcrypto_ended())                                                                     \
            leave(object);                                                                         \
        else                                                                                       \
            release(object);                                                                       \
    }

RELEASES(libctx_release, OSSL_LIB_CTX, OSSL_LIB_CTX_free)
RELEASES(md_release, EVP_MD, EVP_MD_free)
RELEASES(md_ctx_release, EVP_MD_CTX, EVP_MD_CTX_free)
RELEASES(pkey_release, EVP_PKEY, EVP_PKEY_free)
RELEASES(pkey_ctx_release, EVP_PKEY_CTX, EVP_PKEY_CTX_free)
RELEASES(keymgmt_release, EVP_KEYMGMT, EVP_KEYMGMT_free)
RELEASES(kdf_release, EVP_KDF, EVP_KDF_free)
RELEASES(kdf_ctx_release, EVP_KDF_CTX, EVP_KDF_CTX_free)
RELEASES(x509_release, X509, X509_free)
RELEASES(bio_release, BIO, (void)BIO_free)
RELEASES(encoder_ctx_release, OSSL_ENCODER_CTX, OSSL_ENCODER_CTX_free)
RELEASES(ec_group_release, EC_GROUP, EC_GROUP_free)

void libctx_scoped(OSSL_LIB_CTX **libctx)
{
    libctx_release(*libctx);
}

void md_scoped(EVP_MD **md)
{
    md_release(*md);
}

void md_ctx_scoped(EVP_MD_CTX **ctx)
{
    md_ctx_release(*ctx);
}

void pkey_scoped(EVP_PKEY **pkey)
{
    pkey_release(*pkey);
}

void keymgmt_scoped(EVP_KEYMGMT **keymgmt)
{
    keymgmt_release(*keymgmt);
}

void pkey_ctx_scoped(EVP_PKEY_CTX **ctx)
{
    pkey_ctx_release(*ctx);
}

void bio_scoped(BIO **bio)
{
    bio_release(*bio);
}

void encoder_ctx_scoped(OSSL_ENCODER_CTX **ctx)
{
    encoder_ctx_release(*ctx);
}

void bn_scoped(BIGNUM **bn)
{
    BN_clear_free(*bn);
}

void params_scoped(OSSL_PARAM **params)
{
    OSSL_PARAM_free(*params);
}

void param_bld_scoped(OSSL_PARAM_BLD **builder)
{
    OSSL_PARAM_BLD_free(*builder);
}
