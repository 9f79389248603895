#include "base/scope.h"
#include "instance/host.h"
#include "module/call.h"

#include <openssl/crypto.h>

bool host_begin(struct host *host, const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in)
{
    host->libctx = OSSL_LIB_CTX_new_child(handle, in);
    return host->libctx != NULL;
}

void host_end(struct host *host)
{
    for (size_t i = 0; i < DIGESTS; i++)
        md_release(atomic_exchange(&host->md[i], NULL));
    libctx_release(host->libctx);
    host->libctx = NULL;
}

static EVP_MD *md_fetch(const struct host *host, const struct digest *digest, const char *propq)
{
    HOST_WORK;
    char name[32];

    return EVP_MD_fetch(host->libctx, digest_name(digest, name, sizeof(name)), propq);
}

EVP_MD *host_md(struct host *host, const struct digest *digest, const char *propq)
{
    _Atomic(EVP_MD *) *cached = &host->md[digest - digests];
    EVP_MD *md, *none = NULL;

    if (libcrypto_ended())
        return NULL;
    if (propq != NULL && propq[0] != '\0')
        return md_fetch(host, digest, propq);
    md = atomic_load(cached);
    if (md == NULL) {
        md = md_fetch(host, digest, NULL);
        if (md != NULL && !atomic_compare_exchange_strong(cached, &none, md)) {
            md_release(md);
            md = none;
        }
    }
    return md != NULL && EVP_MD_up_ref(md) ? md : NULL;
}
