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
    void name##_release(type *object)                                                              \
    {                                                                                              \
        if (object == NULL)                                                                        \
            return;                                                                                \
        if (libcrypto_ended())                                                                     \
            leave(object);                                                                         \
        else                                                                                       \
            release(object);                                                                       \
    }                                                                                              \
    void name##_scoped(type **object)                                                              \
    {                                                                                              \
        name##_release(*object);                                                                   \
    }

LIBCRYPTO_OBJECTS(RELEASES)

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
