#include "cli/arrive.h"

#include <strings.h>

#include <openssl/param_build.h>
#include <openssl/params.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "cli/key.h"
#include "instance/host.h"
#include "key/secret.h"
#include "pkcs11_bridge.h"

const struct secret_kind *arrival_kind(const char *type)
{
    for (size_t i = 0; i < SECRET_KINDS; i++)
        if (strcasecmp(secret_kinds[i].name, type) == 0)
            return &secret_kinds[i];
    return NULL;
}

static char *bring_secret(const struct arrival *arrival)
{
    const struct unwrap_order unwrap = { .provider = arrival->context->provider,
                                         .with = arrival->with,
                                         .way = arrival->way,
                                         .blob = arrival->blob };
    struct secret_order order = { .provider = arrival->context->provider,
                                  .kind = arrival->kind,
                                  .value = arrival->value,
                                  .uri = arrival->uri,
                                  .extractable = arrival->extractable,
                                  .add = arrival->add };
    struct unwrapping unwrapping = { .order = NULL };
    struct making_way way = { .make = NULL };
    struct key *key = NULL;
    char *uri = NULL;

    order.way = arrival->with != NULL ? &way : NULL;
    if (arrival->with == NULL || unwrap_begin(&unwrapping, &unwrap, &way))
        key = secret_key_make(&order);
    if (key != NULL)
        uri = OPENSSL_strdup(secret_key_uri(key));
    key_free(key);
    unwrap_end(&unwrapping);
    return uri;
}

/* Where it goes, and how. */
static OSSL_PARAM *direction(const struct arrival *arrival)
{
    _cleanup_(param_bld_scoped) OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    bool ok =
        build != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(build, PKCS11_BRIDGE_KEYGEN_URI, arrival->uri, 0) &&
        OSSL_PARAM_BLD_push_utf8_string(build, PKCS11_BRIDGE_KEYGEN_IF_EXISTS,
                                        arrival->add ? "add" : "error", 0) &&
        OSSL_PARAM_BLD_push_int(build, PKCS11_BRIDGE_IMPORT_EXTRACTABLE, arrival->extractable);

    if (ok && arrival->with != NULL)
        ok = OSSL_PARAM_BLD_push_octet_string(build, PKCS11_BRIDGE_IMPORT_WRAPPED,
                                              arrival->blob.data, arrival->blob.len) &&
             OSSL_PARAM_BLD_push_utf8_string(build, PKCS11_BRIDGE_IMPORT_WITH, arrival->with, 0);
    if (ok && arrival->way != NULL)
        ok = OSSL_PARAM_BLD_push_utf8_string(build, PKCS11_BRIDGE_IMPORT_BY, arrival->way->name, 0);
    return ok ? OSSL_PARAM_BLD_to_param(build) : NULL;
}

static EVP_PKEY *from_data(const struct arrival *arrival, const OSSL_PARAM *key,
                           const OSSL_PARAM *there)
{
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *ctx =
        EVP_PKEY_CTX_new_from_name(arrival->context->libctx, arrival->type, OUR_PROPERTIES);
    OSSL_PARAM *all = OSSL_PARAM_merge(key, there);
    EVP_PKEY *pkey = NULL;

    if (ctx != NULL && all != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, all);
    OPENSSL_free(all);
    return pkey;
}

static char *bring_pair(const struct arrival *arrival)
{
    int selection = arrival->with != NULL ? EVP_PKEY_PUBLIC_KEY : EVP_PKEY_KEYPAIR;
    _cleanup_(params_scoped) OSSL_PARAM *key = NULL, *there = direction(arrival);
    _cleanup_(pkey_scoped) EVP_PKEY *made = NULL;

    if (there == NULL ||
        (arrival->key != NULL && EVP_PKEY_todata(arrival->key, selection, &key) != 1))
        return NULL;
    made = from_data(arrival, key, there);
    return made != NULL ? key_uri(arrival->context, made) : NULL;
}

char *arrive(const struct arrival *arrival)
{
    return arrival->kind != NULL ? bring_secret(arrival) : bring_pair(arrival);
}
