#include "host.h"

#include <string.h>

#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>

#include "scope.h"

bool host_begin(struct host *host, const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in)
{
    size_t count = 1;

    while (in[count - 1].function_id != 0)
        count++;
    *host = (struct host){ .handle = handle };
    host->upcalls = OPENSSL_memdup(in, count * sizeof(*in));
    return host->upcalls != NULL;
}

void host_end(struct host *host)
{
    for (size_t i = 0; i < DIGESTS; i++)
        EVP_MD_free(atomic_exchange(&host->md[i], NULL));
    OSSL_LIB_CTX_free(atomic_exchange(&host->libctx, NULL));
    OPENSSL_free(host->upcalls);
    host->upcalls = NULL;
}

/* Two threads may both make one; the first to set it wins. No lock, so that no fork can find it held. */
OSSL_LIB_CTX *host_libctx(struct host *host)
{
    OSSL_LIB_CTX *libctx = atomic_load(&host->libctx);
    OSSL_LIB_CTX *none = NULL;

    if (libctx != NULL)
        return libctx;
    libctx = OSSL_LIB_CTX_new_child(host->handle, host->upcalls);
    if (libctx == NULL || atomic_compare_exchange_strong(&host->libctx, &none, libctx))
        return libctx;
    OSSL_LIB_CTX_free(libctx);
    return none;
}

static EVP_MD *md_fetch(struct host *host, const struct digest *digest, const char *propq)
{
    OSSL_LIB_CTX *libctx = host_libctx(host);
    char name[32];

    return libctx != NULL ? EVP_MD_fetch(libctx, digest_name(digest, name, sizeof(name)), propq)
                          : NULL;
}

EVP_MD *host_md(struct host *host, const struct digest *digest, const char *propq)
{
    _Atomic(EVP_MD *) *cached = &host->md[digest - digests];
    EVP_MD *md, *none = NULL;

    if (propq != NULL && propq[0] != '\0')
        return md_fetch(host, digest, propq);
    md = atomic_load(cached);
    if (md == NULL) {
        md = md_fetch(host, digest, NULL);
        if (md != NULL && !atomic_compare_exchange_strong(cached, &none, md)) {
            EVP_MD_free(md);
            md = none;
        }
    }
    return md != NULL && EVP_MD_up_ref(md) ? md : NULL;
}
