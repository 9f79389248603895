#include "base/scope.h"
#include "instance/host.h"
#include "instance/error.h"
#include "module/call.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

bool host_begin(struct host *host, const struct core *core, const OSSL_DISPATCH *in)
{
    host->core = core;
    host->libctx = OSSL_LIB_CTX_new_child(core->handle, in);
    return host->libctx != NULL;
}

void host_end(struct host *host)
{
    for (size_t i = 0; i < DIGESTS; i++) {
        md_ctx_release(atomic_exchange(&host->spare[i], NULL));
        md_release(atomic_exchange(&host->md[i], NULL));
    }
    libctx_release(host->libctx);
    host->libctx = NULL;
}

static EVP_MD *md_fetch(const struct host *host, const struct digest *digest, const char *propq)
{
    HOST_WORK;
    char name[32];
    EVP_MD *md = EVP_MD_fetch(host->libctx, digest_name(digest, name, sizeof(name)), propq);

    if (md == NULL)
        error_raise(host->core, REASON_UNSUPPORTED,
                    "no active provider has %s, which is computed on the host: activate default, "
                    "or fips, in openssl.cnf; the properties that are asked for (fips=yes) may "
                    "also rule it out",
                    name);
    return md;
}

static bool has_properties(const char *propq)
{
    return propq != NULL && propq[0] != '\0';
}

EVP_MD *host_md(struct host *host, const struct digest *digest, const char *propq)
{
    _Atomic(EVP_MD *) *cached = &host->md[digest - digests];
    EVP_MD *md, *none = NULL;

    if (libcrypto_ended())
        return NULL;
    if (has_properties(propq))
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

EVP_MD_CTX *host_hash_begin(struct host *host, const struct digest *digest, const char *propq)
{
    _cleanup_(md_scoped) EVP_MD *md = host_md(host, digest, propq);
    _cleanup_(md_ctx_scoped) EVP_MD_CTX *ctx = md != NULL ? EVP_MD_CTX_new() : NULL;

    return ctx != NULL && EVP_DigestInit_ex2(ctx, md, NULL) == 1 ? MOVE(ctx) : NULL;
}

/* Keeps ctx for the next message, with nothing of the last one in it; or lets go of it. */
static void hash_spare(EVP_MD_CTX *ctx, _Atomic(EVP_MD_CTX *) *spare)
{
    EVP_MD_CTX *none = NULL;

    if (EVP_DigestInit_ex2(ctx, NULL, NULL) != 1 ||
        !atomic_compare_exchange_strong(spare, &none, ctx))
        md_ctx_release(ctx);
}

bool host_hash(struct host *host, const struct digest *digest, const char *propq,
               struct view message, uint8_t *out)
{
    _Atomic(EVP_MD_CTX *) *spare = &host->spare[digest - digests];
    bool any = !has_properties(propq) && !libcrypto_ended();
    EVP_MD_CTX *ctx = any ? atomic_exchange(spare, NULL) : NULL;
    unsigned len = 0;
    bool ok;

    if (ctx == NULL)
        ctx = host_hash_begin(host, digest, propq);
    ok = ctx != NULL && EVP_DigestUpdate(ctx, message.data, message.len) == 1 &&
         EVP_DigestFinal_ex(ctx, out, &len) == 1 && len == digest->size;
    if (ok && any)
        hash_spare(ctx, spare);
    else
        md_ctx_release(ctx);
    return ok;
}

bool host_leads_here(struct host *host, const char *keymgmt)
{
    HOST_WORK;
    _cleanup_(keymgmt_scoped) EVP_KEYMGMT *any = NULL, *ours = NULL, *others = NULL;

    if (libcrypto_ended())
        return false;
    (void)ERR_set_mark();
    any = EVP_KEYMGMT_fetch(host->libctx, keymgmt, NULL);
    ours = EVP_KEYMGMT_fetch(host->libctx, keymgmt, OUR_PROPERTIES);
    others = EVP_KEYMGMT_fetch(host->libctx, keymgmt, HOST_PROPERTIES);
    (void)ERR_pop_to_mark();
    return any != NULL && ours != NULL && others != NULL &&
           EVP_KEYMGMT_get0_provider(any) == EVP_KEYMGMT_get0_provider(ours);
}
