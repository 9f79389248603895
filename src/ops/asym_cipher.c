/* RSA encryption (provider-asym_cipher(7)). Decryption goes to the token, encryption is done on the
 * host with the public half. */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/ssl3.h>

#include "base/scope.h"
#include "key/doubt.h"
#include "mech/unpad.h"
#include "module/call.h"
#include "ops/algorithms.h"
#include "ops/context.h"
#include "ops/held.h"
#include "ops/ops.h"
#include "ops/params.h"

static OSSL_FUNC_asym_cipher_newctx_fn cipher_newctx;
static OSSL_FUNC_asym_cipher_freectx_fn cipher_freectx;
static OSSL_FUNC_asym_cipher_dupctx_fn cipher_dupctx;
static OSSL_FUNC_asym_cipher_encrypt_init_fn cipher_encrypt_init;
static OSSL_FUNC_asym_cipher_encrypt_fn cipher_encrypt;
static OSSL_FUNC_asym_cipher_decrypt_init_fn cipher_decrypt_init;
static OSSL_FUNC_asym_cipher_decrypt_fn cipher_decrypt;
static OSSL_FUNC_asym_cipher_get_ctx_params_fn cipher_get_ctx_params;
static OSSL_FUNC_asym_cipher_gettable_ctx_params_fn cipher_gettable_ctx_params;
static OSSL_FUNC_asym_cipher_set_ctx_params_fn cipher_set_ctx_params;
static OSSL_FUNC_asym_cipher_settable_ctx_params_fn cipher_settable_ctx_params;

#define IMPLICIT_REJECTION                                                                         \
    "implicit-rejection" /* OSSL_PKEY_PARAM_IMPLICIT_REJECTION of OpenSSL 3.2 */

struct cipher {
    struct held held; /* first */
    struct provider *provider;
    struct key *key;
    int padding; /* RSA_*_PADDING */
    const struct digest *digest, *mgf1;
    struct bytes label;
    unsigned client_version, alt_version;
    unsigned implicit_rejection;
};

static void *cipher_newctx(void *provctx)
{
    struct cipher *ctx = OPENSSL_zalloc(sizeof(*ctx));

    if (ctx != NULL)
        ctx->provider = provctx;
    return ctx;
}

#define OWNED(OWN) OWN(held, held) OWN(key, key) OWN(bytes, label)

CONTEXT_FREE(cipher_freectx, struct cipher, OWNED)
CONTEXT_DUP(cipher_dupctx, cipher_freectx, struct cipher, OWNED)

static const struct named_number paddings[] = {
    { OSSL_PKEY_RSA_PAD_MODE_PKCSV15, RSA_PKCS1_PADDING },
    { OSSL_PKEY_RSA_PAD_MODE_NONE, RSA_NO_PADDING },
    { OSSL_PKEY_RSA_PAD_MODE_OAEP, RSA_PKCS1_OAEP_PADDING },
    { "oeap", RSA_PKCS1_OAEP_PADDING }, /* as OpenSSL 1 spelt it */
    { "tls", RSA_PKCS1_WITH_TLS_PADDING },
    { NULL, 0 },
};

static int set_padding(void *vctx, const OSSL_PARAM *p)
{
    struct cipher *ctx = vctx;
    int padding = 0;

    if (!named_number_get(p, paddings, &padding) || named_number_name(paddings, padding) == NULL)
        return refuse(ctx->provider, "the padding is not supported for encryption:",
                      "allowed are pkcs1, oaep, none");
    ctx->padding = padding;
    if (padding == RSA_PKCS1_OAEP_PADDING && ctx->digest == NULL)
        ctx->digest = digest_find("SHA1");
    return 1;
}

/* What was set before stays where this is none. */
static int set_oaep_digest(const struct cipher *ctx, const struct digest **at, const OSSL_PARAM *p)
{
    const struct digest *digest = digest_param_get(ctx->provider, p, "OAEP");
    char name[32];

    if (digest == NULL)
        return 0;
    if (digest->oid.len == 0)
        return refuse(ctx->provider, "the digest is not supported for OAEP:",
                      digest_name(digest, name, sizeof(name)));
    *at = digest;
    return 1;
}

static int set_digest(void *vctx, const OSSL_PARAM *p)
{
    struct cipher *ctx = vctx;

    return set_oaep_digest(ctx, &ctx->digest, p);
}

static int set_mgf1(void *vctx, const OSSL_PARAM *p)
{
    struct cipher *ctx = vctx;

    return set_oaep_digest(ctx, &ctx->mgf1, p);
}

/* A FIELD of the context */
#define CIPHER(member, type) FIELD(struct cipher, member, type)

#define SETTABLE(ROW)                                                                              \
    ROW(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, utf8_string, set_padding, WHOLE)                          \
    ROW(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, utf8_string, set_digest, WHOLE)                        \
    ROW(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST_PROPS, utf8_string, param_ignore, WHOLE)                \
    ROW(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, utf8_string, set_mgf1, WHOLE)                          \
    ROW(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST_PROPS, utf8_string, param_ignore, WHOLE)                \
    ROW(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, octet_string, param_set_octets,                         \
        CIPHER(label, struct bytes))                                                               \
    ROW(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, uint, param_set_uint,                           \
        CIPHER(client_version, unsigned))                                                          \
    ROW(OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION, uint, param_set_uint,                       \
        CIPHER(alt_version, unsigned))                                                             \
    ROW(IMPLICIT_REJECTION, uint, param_set_uint, CIPHER(implicit_rejection, unsigned))

PARAMS_SET(token, SETTABLE)

static int get_padding(const void *vctx, OSSL_PARAM *p)
{
    const struct cipher *ctx = vctx;

    return named_number_set(p, paddings, ctx->padding);
}

static int get_mgf1(const void *vctx, OSSL_PARAM *p)
{
    const struct cipher *ctx = vctx;

    return digest_param_set(p, ctx->mgf1 != NULL ? ctx->mgf1 : ctx->digest);
}

#define GETTABLE(ROW)                                                                              \
    ROW(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, utf8_string, get_padding, WHOLE)                          \
    ROW(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, utf8_string, param_get_digest,                         \
        CIPHER(digest, const struct digest *))                                                     \
    ROW(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, utf8_string, get_mgf1, WHOLE)                          \
    ROW(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, octet_ptr, param_get_octets,                            \
        CIPHER(label, struct bytes))                                                               \
    ROW(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, uint, param_get_uint,                           \
        CIPHER(client_version, unsigned))                                                          \
    ROW(OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION, uint, param_get_uint,                       \
        CIPHER(alt_version, unsigned))                                                             \
    ROW(IMPLICIT_REJECTION, uint, param_get_uint, CIPHER(implicit_rejection, unsigned))

PARAMS_GET(token, GETTABLE)

static int begin(struct cipher *ctx, struct key *key, const OSSL_PARAM params[], bool decrypting)
{
    if (key == NULL && ctx->key == NULL)
        return refuse(ctx->provider, "cannot begin:", "no key is set");
    if (key != NULL) {
        if (!key_take(&ctx->key, key, decrypting))
            return 0;
        ctx->padding = RSA_PKCS1_PADDING;
        ctx->digest = ctx->mgf1 = NULL;
        ctx->client_version = ctx->alt_version = 0;
        ctx->implicit_rejection = 1;
        bytes_clear(&ctx->label);
    }
    return token_set_ctx_params(ctx, params);
}

static int token_encrypt_init(void *vctx, void *key, const OSSL_PARAM params[])
{
    return begin(vctx, key, params, false);
}

static int token_decrypt_init(void *vctx, void *vkey, const OSSL_PARAM params[])
{
    struct cipher *ctx = vctx;
    struct key *key = vkey;

    if (key != NULL && !key_is_private(key))
        return refuse(ctx->provider, "cannot decrypt:", "this is a public key");
    return begin(ctx, key, params, true);
}

static void request_make(const struct cipher *ctx, struct cipher_request *request)
{
    *request = (struct cipher_request){
        .padding = ctx->padding == RSA_PKCS1_OAEP_PADDING       ? CIPHER_OAEP
                   : ctx->padding == RSA_PKCS1_WITH_TLS_PADDING ? CIPHER_TLS
                   : ctx->padding == RSA_NO_PADDING             ? CIPHER_RAW
                                                                : CIPHER_PKCS1,
        .digest = ctx->digest,
        .label = view_bytes(&ctx->label),
        .client_version = ctx->client_version,
        .alt_version = ctx->alt_version,
        .implicit_rejection = ctx->implicit_rejection != 0,
    };
    request->mgf1 = ctx->mgf1 != NULL ? ctx->mgf1 : request->digest;
}

static int token_decrypt(void *vctx, unsigned char *out, size_t *out_len, size_t out_size,
                         const unsigned char *in, size_t in_len)
{
    struct cipher *ctx = vctx;
    bool tls = ctx->padding == RSA_PKCS1_WITH_TLS_PADDING;
    size_t size = tls ? PREMASTER_LEN : key_signature_max(ctx->key);
    struct cipher_request request;

    if (out == NULL) {
        *out_len = size;
        return 1;
    }
    if (out_size < size)
        return refuse(ctx->provider, "cannot decrypt:", "the buffer is too small");
    if (tls && ctx->client_version == 0)
        return refuse(ctx->provider, "cannot decrypt:", "the client's TLS version is not set");
    request_make(ctx, &request);
    return key_decrypt(ctx->key, &request, (struct view){ in, in_len }, out, out_len);
}

/* Gives the host's context for the same key the same parameters. */
static bool host_params(const struct cipher *ctx, EVP_PKEY_CTX *host)
{
    char digest[32], mgf1[32];
    int padding = ctx->padding;
    bool oaep = padding == RSA_PKCS1_OAEP_PADDING;
    OSSL_PARAM params[5];
    size_t count = 0;

    params[count++] = OSSL_PARAM_construct_int(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, &padding);
    if (oaep && ctx->digest != NULL)
        params[count++] = OSSL_PARAM_construct_utf8_string(
            OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST,
            (char *)(uintptr_t)digest_name(ctx->digest, digest, sizeof(digest)), 0);
    if (oaep && ctx->mgf1 != NULL)
        params[count++] = OSSL_PARAM_construct_utf8_string(
            OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST,
            (char *)(uintptr_t)digest_name(ctx->mgf1, mgf1, sizeof(mgf1)), 0);
    if (oaep && ctx->label.data != NULL)
        params[count++] = OSSL_PARAM_construct_octet_string(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL,
                                                            ctx->label.data, ctx->label.len);
    params[count] = OSSL_PARAM_construct_end();
    return EVP_PKEY_CTX_set_params(host, params) == 1;
}

static int encrypt_on_token(const struct cipher *ctx, struct view in, unsigned char *out,
                            size_t *out_len, size_t out_size)
{
    struct cipher_request request;

    if (out_size < key_signature_max(ctx->key))
        return refuse(ctx->provider, "cannot encrypt:", "the buffer is too small");
    request_make(ctx, &request);
    return key_encrypt(ctx->key, &request, in, out, out_len);
}

static int encrypt_on_host(const struct cipher *ctx, struct view in, unsigned char *out,
                           size_t *out_len, size_t out_size)
{
    HOST_WORK;
    EVP_PKEY *key = key_host(ctx->key);
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *host = NULL;

    *out_len = out_size;
    if (key != NULL)
        host = EVP_PKEY_CTX_new_from_pkey(ctx->provider->host.libctx, key, HOST_PROPERTIES);
    return host != NULL && EVP_PKEY_encrypt_init(host) == 1 && host_params(ctx, host)
               ? EVP_PKEY_encrypt(host, out, out_len, in.data, in.len)
               : 0;
}

static int token_encrypt(void *vctx, unsigned char *out, size_t *out_len, size_t out_size,
                         const unsigned char *in, size_t in_len)
{
    const struct cipher *ctx = vctx;

    if (out == NULL) {
        *out_len = key_signature_max(ctx->key);
        return 1;
    }
    return (key_public_on_token(ctx->key) ? encrypt_on_token : encrypt_on_host)(
        ctx, (struct view){ in, in_len }, out, out_len, out_size);
}

DOOR(INIT, cipher_encrypt_init, held_encrypt_init, token_encrypt_init)
DOOR(MAKE, cipher_encrypt, held_encrypt, token_encrypt)
DOOR(INIT, cipher_decrypt_init, held_decrypt_init, token_decrypt_init)
DOOR(MAKE, cipher_decrypt, held_decrypt, token_decrypt)
DOOR(GET, cipher_get_ctx_params, held_get_ctx_params, token_get_ctx_params)
DOOR(SET, cipher_set_ctx_params, held_set_ctx_params, token_set_ctx_params)
LIST_DOOR(cipher_gettable_ctx_params, held_gettable_ctx_params, token_gettable_ctx_params)
LIST_DOOR(cipher_settable_ctx_params, held_settable_ctx_params, token_settable_ctx_params)

static const OSSL_DISPATCH cipher_functions[] = {
    { OSSL_FUNC_ASYM_CIPHER_NEWCTX, (void (*)(void))cipher_newctx },
    { OSSL_FUNC_ASYM_CIPHER_FREECTX, (void (*)(void))cipher_freectx },
    { OSSL_FUNC_ASYM_CIPHER_DUPCTX, (void (*)(void))cipher_dupctx },
    { OSSL_FUNC_ASYM_CIPHER_ENCRYPT_INIT, (void (*)(void))cipher_encrypt_init },
    { OSSL_FUNC_ASYM_CIPHER_ENCRYPT, (void (*)(void))cipher_encrypt },
    { OSSL_FUNC_ASYM_CIPHER_DECRYPT_INIT, (void (*)(void))cipher_decrypt_init },
    { OSSL_FUNC_ASYM_CIPHER_DECRYPT, (void (*)(void))cipher_decrypt },
    { OSSL_FUNC_ASYM_CIPHER_GET_CTX_PARAMS, (void (*)(void))cipher_get_ctx_params },
    { OSSL_FUNC_ASYM_CIPHER_GETTABLE_CTX_PARAMS, (void (*)(void))cipher_gettable_ctx_params },
    { OSSL_FUNC_ASYM_CIPHER_SET_CTX_PARAMS, (void (*)(void))cipher_set_ctx_params },
    { OSSL_FUNC_ASYM_CIPHER_SETTABLE_CTX_PARAMS, (void (*)(void))cipher_settable_ctx_params },
    { 0, NULL },
};

const OSSL_ALGORITHM asym_cipher_algorithms[] = {
    { "PKCS11-RSA", PROPERTIES, cipher_functions, "RSA decryption on tokens" },
    { NULL, NULL, NULL, NULL },
};
