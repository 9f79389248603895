#include "key/software.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/scope.h"
#include "module/call.h"

static EVP_PKEY *generate(struct provider *provider, const char *type, const char *group)
{
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *ctx =
        EVP_PKEY_CTX_new_from_name(provider->host.libctx, type, HOST_PROPERTIES);
    EVP_PKEY *pair = NULL;

    if (ctx != NULL && EVP_PKEY_keygen_init(ctx) == 1 &&
        (group == NULL || EVP_PKEY_CTX_set_group_name(ctx, group) == 1))
        (void)EVP_PKEY_generate(ctx, &pair);
    return pair;
}

/* The key of the pair, which is the key's from then on. */
static struct key *adopt(struct provider *provider, enum key_type type, const struct curve *curve,
                         EVP_PKEY **pair)
{
    _cleanup_(key_scoped) struct key *key = key_new(provider, type);
    uint8_t point[KEY_POINT_MAX];
    size_t len = 0;

    if (key != NULL)
        key->curve = curve;
    if (key == NULL || *pair == NULL ||
        EVP_PKEY_get_octet_string_param(*pair, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point,
                                        sizeof(point), &len) != 1 ||
        !key_set_raw(key, (struct view){ point, len }))
        return NULL;
    atomic_store(&key->host, MOVE(*pair));
    key->software = SOFTWARE_EPHEMERAL;
    return MOVE(key);
}

struct key *software_generate(struct provider *provider, enum key_type type,
                              const struct curve *curve)
{
    HOST_WORK;
    _cleanup_(pkey_scoped) EVP_PKEY *pair = NULL;
    struct key *key;
    char name[32];

    if (libcrypto_ended())
        return NULL;
    if (curve != NULL)
        (void)curve_name(curve, name, sizeof(name));
    else
        (void)OPENSSL_strlcpy(name, key_type_set(type)->name, sizeof(name));
    pair = type == KEY_EC ? generate(provider, "EC", name) : generate(provider, name, NULL);
    key = adopt(provider, type, curve, &pair);
    if (key == NULL)
        error_raise(&provider->core, REASON_OPERATION, "cannot generate a key in software");
    return key;
}

bool software_import(struct key *key, const char *type, enum software kind,
                     const OSSL_PARAM params[])
{
    HOST_WORK;
    static const int selections[] = { [SOFTWARE_PARAMETERS] = EVP_PKEY_KEY_PARAMETERS,
                                      [SOFTWARE_PUBLIC] = EVP_PKEY_PUBLIC_KEY,
                                      [SOFTWARE_PAIR] = EVP_PKEY_KEYPAIR };
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *ctx = NULL;
    EVP_PKEY *host = NULL;

    if (libcrypto_ended())
        return false;
    ctx = EVP_PKEY_CTX_new_from_name(key->provider->host.libctx, type, HOST_PROPERTIES);
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &host, selections[kind], (OSSL_PARAM *)(uintptr_t)params) != 1)
        return false;
    pkey_release(atomic_exchange(&key->host, host));
    key->software = kind;
    return true;
}

bool software_matches(struct key *a, struct key *b, int selection)
{
    HOST_WORK;
    const EVP_PKEY *one = key_host(a), *other = key_host(b);

    if (one == NULL || other == NULL)
        return false;
    return ((selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0
                ? EVP_PKEY_eq(one, other)
                : EVP_PKEY_parameters_eq(one, other)) == 1;
}

bool software_validates(struct key *key, int selection, bool quick)
{
    HOST_WORK;
    EVP_PKEY *host = key_host(key);
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *ctx =
        host != NULL ? EVP_PKEY_CTX_new_from_pkey(key->provider->host.libctx, host, HOST_PROPERTIES)
                     : NULL;

    if (ctx == NULL)
        return false;
    switch (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) {
    case OSSL_KEYMGMT_SELECT_KEYPAIR:
        return EVP_PKEY_pairwise_check(ctx) == 1;
    case OSSL_KEYMGMT_SELECT_PRIVATE_KEY:
        return EVP_PKEY_private_check(ctx) == 1;
    case OSSL_KEYMGMT_SELECT_PUBLIC_KEY:
        return (quick ? EVP_PKEY_public_check_quick(ctx) : EVP_PKEY_public_check(ctx)) == 1;
    default:
        return EVP_PKEY_param_check(ctx) == 1;
    }
}

bool software_verifies(struct key *key, const OSSL_PARAM params[], struct view message,
                       struct view sig)
{
    HOST_WORK;
    _cleanup_(md_ctx_scoped) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY *host = key_host(key);
    EVP_PKEY_CTX *pctx = NULL; /* belongs to ctx */

    return ctx != NULL && host != NULL &&
           EVP_DigestVerifyInit_ex(ctx, &pctx, NULL, key->provider->host.libctx, HOST_PROPERTIES,
                                   host, NULL) == 1 &&
           (params == NULL || EVP_PKEY_CTX_set_params(pctx, params) == 1) &&
           EVP_DigestVerify(ctx, sig.data, sig.len, message.data, message.len) == 1;
}

bool software_encapsulate(struct key *key, uint8_t *ciphertext, uint8_t *secret)
{
    HOST_WORK;
    EVP_PKEY *host = key_host(key);
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *ctx =
        host != NULL ? EVP_PKEY_CTX_new_from_pkey(key->provider->host.libctx, host, HOST_PROPERTIES)
                     : NULL;
    size_t len = key_signature_max(key), secret_len = KEM_SECRET_LEN;

    if (ctx != NULL && EVP_PKEY_encapsulate_init(ctx, NULL) == 1 &&
        EVP_PKEY_encapsulate(ctx, ciphertext, &len, secret, &secret_len) == 1 &&
        len == key_signature_max(key) && secret_len == KEM_SECRET_LEN)
        return true;
    error_raise(&key->provider->core, REASON_OPERATION, "cannot encapsulate in software");
    return false;
}

bool software_agrees(struct key *peer)
{
    HOST_WORK;
    _cleanup_(key_scoped) struct key *own =
        software_generate(peer->provider, peer->type, peer->curve);
    EVP_PKEY *half = own != NULL ? key_host(own) : NULL, *host = key_host(peer);
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *ctx =
        half != NULL && host != NULL
            ? EVP_PKEY_CTX_new_from_pkey(peer->provider->host.libctx, half, HOST_PROPERTIES)
            : NULL;
    uint8_t secret[EC_POINT_MAX];
    size_t len = sizeof(secret);
    bool agrees = ctx != NULL && EVP_PKEY_derive_init(ctx) == 1 &&
                  EVP_PKEY_derive_set_peer(ctx, host) == 1 &&
                  EVP_PKEY_derive(ctx, secret, &len) == 1;

    OPENSSL_cleanse(secret, sizeof(secret));
    return agrees;
}
