#include "key/software.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/scope.h"
#include "module/call.h"

static bool failed(struct provider *provider, const char *what)
{
    error_raise(&provider->core, REASON_OPERATION, "cannot %s in software", what);
    return false;
}

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
    key->software = true;
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
        (void)failed(provider, "generate a key");
    return key;
}

static EVP_PKEY_CTX *context(struct key *key)
{
    EVP_PKEY *host = key_host(key);

    return host != NULL
               ? EVP_PKEY_CTX_new_from_pkey(key->provider->host.libctx, host, HOST_PROPERTIES)
               : NULL;
}

static bool set_cofactor(const struct key *key, EVP_PKEY_CTX *ctx, bool cofactor)
{
    int mode = cofactor;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, &mode),
        OSSL_PARAM_construct_end(),
    };

    return key->type != KEY_EC || EVP_PKEY_CTX_set_params(ctx, params) == 1;
}

bool software_derive(struct key *key, const struct key *peer, bool cofactor, uint8_t *out,
                     size_t *len)
{
    HOST_WORK;
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *ctx = context(key);
    EVP_PKEY *host = key_host((struct key *)(uintptr_t)peer);

    *len = curve_field_bytes(key->curve);
    return (ctx != NULL && host != NULL && EVP_PKEY_derive_init(ctx) == 1 &&
            set_cofactor(key, ctx, cofactor) && EVP_PKEY_derive_set_peer(ctx, host) == 1 &&
            EVP_PKEY_derive(ctx, out, len) == 1) ||
           failed(key->provider, "derive");
}

bool software_sign(struct key *key, struct view digest, uint8_t *signature, size_t *len)
{
    HOST_WORK;
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *ctx = context(key);

    *len = key_signature_max(key);
    return (ctx != NULL && EVP_PKEY_sign_init(ctx) == 1 &&
            EVP_PKEY_sign(ctx, signature, len, digest.data, digest.len) == 1) ||
           failed(key->provider, "sign");
}

bool software_encapsulate(struct key *key, uint8_t *ciphertext, uint8_t *secret)
{
    HOST_WORK;
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *ctx = context(key);
    size_t len = key_signature_max(key), secret_len = KEM_SECRET_LEN;

    return (ctx != NULL && EVP_PKEY_encapsulate_init(ctx, NULL) == 1 &&
            EVP_PKEY_encapsulate(ctx, ciphertext, &len, secret, &secret_len) == 1 &&
            len == key_signature_max(key) && secret_len == KEM_SECRET_LEN) ||
           failed(key->provider, "encapsulate");
}

bool software_decapsulate(struct key *key, struct view ciphertext, uint8_t *secret)
{
    HOST_WORK;
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *ctx = context(key);
    size_t len = KEM_SECRET_LEN;

    return (ctx != NULL && EVP_PKEY_decapsulate_init(ctx, NULL) == 1 &&
            EVP_PKEY_decapsulate(ctx, secret, &len, ciphertext.data, ciphertext.len) == 1 &&
            len == KEM_SECRET_LEN) ||
           failed(key->provider, "decapsulate");
}
