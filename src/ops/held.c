#include "ops/held.h"

#include "base/libcrypto.h"
#include "base/scope.h"
#include "module/call.h"

static void contexts_release(struct held *held)
{
    if (held->md != NULL)
        md_ctx_release(held->md); /* and pkey with it */
    else
        pkey_ctx_release(held->pkey);
    held->md = NULL;
    held->pkey = NULL;
}

void held_end(struct held *held)
{
    contexts_release(held);
    key_free(MOVE(held->key));
}

void held_change(struct held *held, struct key *key)
{
    held_end(held);
    held->key = key->software != SOFTWARE_NOT ? key_ref(key) : NULL;
}

/* Begins one of the operations without a message. */
static int begin(struct held *held, int (*init)(EVP_PKEY_CTX *ctx, const OSSL_PARAM params[]),
                 const OSSL_PARAM params[])
{
    HOST_WORK;
    EVP_PKEY *host = key_host(held->key);

    contexts_release(held);
    if (host != NULL)
        held->pkey =
            EVP_PKEY_CTX_new_from_pkey(held->key->provider->host.libctx, host, HOST_PROPERTIES);
    return held->pkey != NULL && init(held->pkey, params) == 1;
}

#define BEGINS(name, init)                                                                         \
    int name(void *ctx, void *key, const OSSL_PARAM params[])                                      \
    {                                                                                              \
        (void)key;                                                                                 \
        return begin(ctx, init, params);                                                           \
    }

BEGINS(held_sign_init, EVP_PKEY_sign_init_ex)
BEGINS(held_verify_init, EVP_PKEY_verify_init_ex)
BEGINS(held_verify_recover_init, EVP_PKEY_verify_recover_init_ex)
BEGINS(held_encrypt_init, EVP_PKEY_encrypt_init_ex)
BEGINS(held_decrypt_init, EVP_PKEY_decrypt_init_ex)
BEGINS(held_derive_init, EVP_PKEY_derive_init_ex)

/* libcrypto has no copies of its contexts for ML-KEM: each is begun as the first was. */
static bool kem_begin(struct held *held, int (*init)(EVP_PKEY_CTX *ctx, const OSSL_PARAM params[]),
                      const OSSL_PARAM params[])
{
    held->kem = init;
    return begin(held, init, params) == 1;
}

int held_encapsulate_init(void *ctx, void *key, const OSSL_PARAM params[])
{
    (void)key;
    return kem_begin(ctx, EVP_PKEY_encapsulate_init, params);
}

int held_decapsulate_init(void *ctx, void *key, const OSSL_PARAM params[])
{
    (void)key;
    return kem_begin(ctx, EVP_PKEY_decapsulate_init, params);
}

static bool md_copy(struct held *copy, const struct held *held)
{
    copy->md = EVP_MD_CTX_new();
    if (copy->md == NULL || EVP_MD_CTX_copy_ex(copy->md, held->md) != 1)
        return false;
    copy->pkey = EVP_MD_CTX_get_pkey_ctx(copy->md);
    return true;
}

bool held_copy(struct held *copy, const struct held *held)
{
    HOST_WORK;

    *copy = (struct held){ .key = held->key };
    if (held->key == NULL)
        return true;
    (void)key_ref(held->key);
    if (held->md != NULL)
        return md_copy(copy, held);
    if (held->pkey == NULL)
        return true;
    if (held->kem != NULL)
        return kem_begin(copy, held->kem, NULL);
    copy->pkey = EVP_PKEY_CTX_dup(held->pkey);
    return copy->pkey != NULL;
}

/* Begins the signature of a message, or its verification. */
static int begin_message(struct held *held, const char *digest, const OSSL_PARAM params[],
                         int (*init)(EVP_MD_CTX *ctx, EVP_PKEY_CTX **pkey, const char *digest,
                                     OSSL_LIB_CTX *libctx, const char *properties, EVP_PKEY *key,
                                     const OSSL_PARAM params[]))
{
    HOST_WORK;
    EVP_PKEY *host = key_host(held->key);

    contexts_release(held);
    held->md = host != NULL ? EVP_MD_CTX_new() : NULL;
    if (digest != NULL && digest[0] == '\0')
        digest = NULL;
    return held->md != NULL && init(held->md, &held->pkey, digest, held->key->provider->host.libctx,
                                    HOST_PROPERTIES, host, params) == 1;
}

int held_digest_sign_init(void *ctx, const char *digest, void *key, const OSSL_PARAM params[])
{
    (void)key;
    return begin_message(ctx, digest, params, EVP_DigestSignInit_ex);
}

int held_digest_verify_init(void *ctx, const char *digest, void *key, const OSSL_PARAM params[])
{
    (void)key;
    return begin_message(ctx, digest, params, EVP_DigestVerifyInit_ex);
}

static int make(struct held *held,
                int (*function)(EVP_PKEY_CTX *ctx, unsigned char *out, size_t *out_len,
                                const unsigned char *in, size_t in_len),
                unsigned char *out, size_t *out_len, size_t out_size, struct view in)
{
    HOST_WORK;

    if (out != NULL)
        *out_len = out_size;
    return held->pkey != NULL && function(held->pkey, out, out_len, in.data, in.len) == 1;
}

#define MAKES(name, function)                                                                      \
    int name(void *ctx, unsigned char *out, size_t *out_len, size_t out_size,                      \
             const unsigned char *in, size_t in_len)                                               \
    {                                                                                              \
        return make(ctx, function, out, out_len, out_size, (struct view){ in, in_len });           \
    }

MAKES(held_sign, EVP_PKEY_sign)
MAKES(held_verify_recover, EVP_PKEY_verify_recover)
MAKES(held_encrypt, EVP_PKEY_encrypt)
MAKES(held_decrypt, EVP_PKEY_decrypt)

int held_digest_sign(void *ctx, unsigned char *out, size_t *out_len, size_t out_size,
                     const unsigned char *in, size_t in_len)
{
    HOST_WORK;
    struct held *held = ctx;

    if (out != NULL)
        *out_len = out_size;
    return held->md != NULL && EVP_DigestSign(held->md, out, out_len, in, in_len) == 1;
}

int held_verify(void *ctx, const unsigned char *sig, size_t sig_len, const unsigned char *in,
                size_t in_len)
{
    HOST_WORK;
    struct held *held = ctx;

    return held->pkey != NULL && EVP_PKEY_verify(held->pkey, sig, sig_len, in, in_len) == 1;
}

int held_digest_verify(void *ctx, const unsigned char *sig, size_t sig_len, const unsigned char *in,
                       size_t in_len)
{
    HOST_WORK;
    struct held *held = ctx;

    return held->md != NULL && EVP_DigestVerify(held->md, sig, sig_len, in, in_len) == 1;
}

int held_sign_message(void *ctx, unsigned char *out, size_t *out_len, size_t out_size,
                      const unsigned char *in, size_t in_len)
{
    HOST_WORK;
    _cleanup_(held_end) struct held copy = { .key = NULL };

    return held_copy(&copy, ctx) && held_digest_sign(&copy, out, out_len, out_size, in, in_len);
}

int held_verify_message(void *ctx, const unsigned char *sig, size_t sig_len,
                        const unsigned char *in, size_t in_len)
{
    HOST_WORK;
    _cleanup_(held_end) struct held copy = { .key = NULL };

    return held_copy(&copy, ctx) && held_digest_verify(&copy, sig, sig_len, in, in_len);
}

int held_digest_update(void *ctx, const unsigned char *in, size_t in_len)
{
    HOST_WORK;
    struct held *held = ctx;

    return held->md != NULL && EVP_DigestUpdate(held->md, in, in_len) == 1;
}

int held_digest_sign_final(void *ctx, unsigned char *out, size_t *out_len, size_t out_size)
{
    HOST_WORK;
    struct held *held = ctx;

    if (out != NULL)
        *out_len = out_size;
    return held->md != NULL && EVP_DigestSignFinal(held->md, out, out_len) == 1;
}

int held_digest_verify_final(void *ctx, const unsigned char *sig, size_t sig_len)
{
    HOST_WORK;
    struct held *held = ctx;

    return held->md != NULL && EVP_DigestVerifyFinal(held->md, sig, sig_len) == 1;
}

int held_encapsulate(void *ctx, unsigned char *out, size_t *out_len, unsigned char *secret,
                     size_t *secret_len)
{
    HOST_WORK;
    struct held *held = ctx;

    return held->pkey != NULL &&
           EVP_PKEY_encapsulate(held->pkey, out, out_len, secret, secret_len) == 1;
}

int held_decapsulate(void *ctx, unsigned char *out, size_t *out_len, const unsigned char *in,
                     size_t in_len)
{
    HOST_WORK;
    struct held *held = ctx;

    return held->pkey != NULL && EVP_PKEY_decapsulate(held->pkey, out, out_len, in, in_len) == 1;
}

int held_set_peer(void *ctx, void *peer)
{
    HOST_WORK;
    struct held *held = ctx;
    EVP_PKEY *host = key_host(peer);

    return held->pkey != NULL && host != NULL && EVP_PKEY_derive_set_peer(held->pkey, host) == 1;
}

int held_derive(void *ctx, unsigned char *out, size_t *out_len, size_t out_size)
{
    HOST_WORK;
    struct held *held = ctx;

    if (out != NULL)
        *out_len = out_size;
    return held->pkey != NULL && EVP_PKEY_derive(held->pkey, out, out_len) == 1;
}

int held_get_ctx_params(void *ctx, OSSL_PARAM params[])
{
    HOST_WORK;
    struct held *held = ctx;

    return held->pkey != NULL && EVP_PKEY_CTX_get_params(held->pkey, params) == 1;
}

int held_set_ctx_params(void *ctx, const OSSL_PARAM params[])
{
    HOST_WORK;
    struct held *held = ctx;

    return held->pkey != NULL && EVP_PKEY_CTX_set_params(held->pkey, params) == 1;
}

const OSSL_PARAM *held_gettable_ctx_params(void *ctx, void *provctx)
{
    HOST_WORK;
    const struct held *held = ctx;

    (void)provctx;
    return held->pkey != NULL ? EVP_PKEY_CTX_gettable_params(held->pkey) : NULL;
}

const OSSL_PARAM *held_settable_ctx_params(void *ctx, void *provctx)
{
    HOST_WORK;
    const struct held *held = ctx;

    (void)provctx;
    return held->pkey != NULL ? EVP_PKEY_CTX_settable_params(held->pkey) : NULL;
}
