/* The parameters of a signature with an RSA or EC key. */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

#include "der/algorithm.h"
#include "ops/params.h"
#include "ops/signature.h"

static const struct named_number paddings[] = {
    { OSSL_PKEY_RSA_PAD_MODE_PKCSV15, RSA_PKCS1_PADDING },
    { OSSL_PKEY_RSA_PAD_MODE_NONE, RSA_NO_PADDING },
    { OSSL_PKEY_RSA_PAD_MODE_PSS, RSA_PKCS1_PSS_PADDING },
    { OSSL_PKEY_RSA_PAD_MODE_X931, RSA_X931_PADDING }, /* to refuse it by name */
    { NULL, 0 },
};

static const struct named_number salts[] = {
    { "auto-digestmax", SALT_AUTO_DIGEST_MAX },
    { OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST, RSA_PSS_SALTLEN_DIGEST },
    { OSSL_PKEY_RSA_PSS_SALT_LEN_MAX, RSA_PSS_SALTLEN_MAX },
    { OSSL_PKEY_RSA_PSS_SALT_LEN_AUTO, RSA_PSS_SALTLEN_AUTO },
    { NULL, 0 },
};

static bool has_auto_digest_max(void)
{
    return OpenSSL_version_num() >= 0x30100000UL;
}

/* Those that the libcrypto that runs knows. */
static const struct named_number *salts_known(void)
{
    return has_auto_digest_max() ? salts : salts + 1;
}

static bool is_ec(const struct signature *ctx)
{
    return ctx->key != NULL && ctx->key->type == KEY_EC;
}

static int set_padding(void *vctx, const OSSL_PARAM *p)
{
    struct signature *ctx = vctx;
    int padding = 0;

    if (!named_number_get(p, paddings, &padding) || named_number_name(paddings, padding) == NULL)
        return refuse(ctx->provider, "the padding is not supported for signatures:",
                      "allowed are pkcs1, pss, none");
    if (padding == RSA_X931_PADDING)
        return refuse(ctx->provider,
                      "X9.31 padding is not supported:", "PKCS#1 v1.5 (pkcs1) and PSS (pss) are");
    if (ctx->fixed != NULL && padding != RSA_PKCS1_PADDING)
        return refuse(ctx->provider, "the padding cannot change:", "the signature's name has it");
    if (ctx->key->type == KEY_RSA_PSS && padding != RSA_PKCS1_PSS_PADDING)
        return refuse(ctx->provider, "the padding cannot change:", "the key is for PSS alone");
    if (padding == RSA_NO_PADDING && ctx->digest != NULL)
        return refuse(ctx->provider, "a digest needs a padding:", "pkcs1 or pss");
    if (padding == RSA_PKCS1_PSS_PADDING && ctx->recovers)
        return refuse(ctx->provider, "nothing is recovered from a signature with",
                      "the padding pss");
    ctx->padding = padding;
    return 1;
}

static int set_salt(void *vctx, const OSSL_PARAM *p)
{
    struct signature *ctx = vctx;
    int salt = 0;

    if (!named_number_get(p, salts_known(), &salt) ||
        (salt < 0 && named_number_name(salts_known(), salt) == NULL))
        return refuse(ctx->provider, "the PSS salt length is not valid:",
                      "allowed are digest, max, auto, from OpenSSL 3.1 on auto-digestmax, or a "
                      "number of bytes");
    if (ctx->padding != RSA_PKCS1_PSS_PADDING)
        return refuse(ctx->provider, "a salt length needs", "the padding pss");
    ctx->salt = salt;
    ctx->salt_free = false;
    return 1;
}

bool signature_choose_digest(struct signature *ctx, const struct digest *digest)
{
    if (ctx->fixed != NULL && digest != ctx->fixed)
        return refuse(ctx->provider, "the digest cannot change:", "the signature's name has it");
    if (ctx->digest_stays && digest != ctx->digest)
        return refuse(ctx->provider, "the digest cannot change", "after the signature has begun");
    if (ctx->padding == RSA_NO_PADDING)
        return refuse(ctx->provider, "a digest needs a padding:", "pkcs1 or pss");
    ctx->digest = digest;
    return true;
}

static int set_digest(void *vctx, const OSSL_PARAM *p)
{
    struct signature *ctx = vctx;
    const struct digest *digest = digest_param_get(ctx->provider, p, "signatures");

    return digest != NULL && signature_choose_digest(ctx, digest);
}

static int set_mgf1(void *vctx, const OSSL_PARAM *p)
{
    struct signature *ctx = vctx;
    const struct digest *digest = digest_param_get(ctx->provider, p, "signatures");

    if (digest == NULL)
        return 0;
    if (digest->oid.len == 0)
        return refuse(ctx->provider, "MGF1 is not possible with", "this digest");
    if (ctx->padding != RSA_PKCS1_PSS_PADDING)
        return refuse(ctx->provider, "a digest of MGF1 needs", "the padding pss");
    ctx->mgf1 = digest;
    return 1;
}

/* In the order in which they depend on each other; the digest's first. */
#define EC_SETTABLE(ROW)                                                                           \
    ROW(OSSL_SIGNATURE_PARAM_DIGEST, utf8_string, set_digest, WHOLE)                               \
    ROW(OSSL_SIGNATURE_PARAM_PROPERTIES, utf8_string, param_ignore, WHOLE)
#define DIGEST_ROWS 2

#define RSA_SETTABLE(ROW)                                                                          \
    EC_SETTABLE(ROW)                                                                               \
    ROW(OSSL_SIGNATURE_PARAM_PAD_MODE, utf8_string, set_padding, WHOLE)                            \
    ROW(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, utf8_string, set_salt, WHOLE)                            \
    ROW(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, utf8_string, set_mgf1, WHOLE)                            \
    ROW(OSSL_SIGNATURE_PARAM_MGF1_PROPERTIES, utf8_string, param_ignore, WHOLE)

PARAM_SETTERS(ec_setters, EC_SETTABLE);
PARAM_SETTERS(rsa_setters, RSA_SETTABLE);
PARAM_LIST(ec_settable, EC_SETTABLE);
PARAM_LIST(rsa_settable, RSA_SETTABLE);

static bool is_empty(const OSSL_PARAM params[])
{
    return params == NULL || params[0].key == NULL;
}

/* With a padding that wants a digest, there is one as soon as anything is set: as the default
 * provider has it. */
int signature_token_set_ctx_params(void *vctx, const OSSL_PARAM params[])
{
    struct signature *ctx = vctx;
    bool rsa = ctx->key != NULL && key_type_is_rsa(ctx->key->type);

    if (!params_set(rsa ? rsa_setters : ec_setters, ctx, params))
        return 0;
    if (ctx->padding == RSA_PKCS1_PSS_PADDING && ctx->digest == NULL && !is_empty(params))
        ctx->digest = digest_find("SHA1");
    return 1;
}

/* Where the digest is settled, it is not offered; who sets the same all the same may. */
const OSSL_PARAM *signature_token_settable_ctx_params(void *vctx, void *provctx)
{
    const struct signature *ctx = vctx;
    const OSSL_PARAM *list = ctx != NULL && is_ec(ctx) ? ec_settable : rsa_settable;

    (void)provctx;
    return ctx != NULL && ctx->digest_stays ? list + DIGEST_ROWS : list;
}

bool signature_salt_length(const struct signature *ctx, size_t *out)
{
    size_t em_len = (key_bits(ctx->key) - 1 + 7) / 8;
    size_t most = em_len > ctx->digest->size + 2 ? em_len - ctx->digest->size - 2 : 0;

    switch (ctx->salt) {
    case RSA_PSS_SALTLEN_DIGEST:
        *out = ctx->digest->size;
        break;
    case RSA_PSS_SALTLEN_AUTO:
    case RSA_PSS_SALTLEN_MAX:
        *out = most;
        break;
    case SALT_AUTO_DIGEST_MAX:
        *out = most < ctx->digest->size ? most : ctx->digest->size;
        break;
    default:
        *out = (size_t)ctx->salt;
    }
    return *out <= most && most != 0;
}

bool signature_wants_digest(const struct signature *ctx)
{
    return refuse(ctx->provider, "PSS is not possible without", "a digest: set one");
}

bool signature_request(const struct signature *ctx, struct sign_request *request)
{
    *request = (struct sign_request){ .digest = ctx->digest, .salt_free = ctx->salt_free };
    if (ctx->key->type == KEY_EC) {
        request->scheme = SIGN_ECDSA;
        return true;
    }
    if (ctx->padding != RSA_PKCS1_PSS_PADDING) {
        request->scheme = ctx->padding == RSA_NO_PADDING ? SIGN_RSA_RAW : SIGN_RSA_PKCS1;
        return true;
    }
    request->scheme = SIGN_RSA_PSS;
    request->mgf1 = ctx->mgf1 != NULL ? ctx->mgf1 : ctx->digest;
    if (ctx->digest == NULL)
        return signature_wants_digest(ctx);
    if (ctx->digest->oid.len == 0)
        return refuse(ctx->provider, "PSS is not possible with", "this digest");
    return signature_salt_length(ctx, &request->salt_len) ||
           refuse(ctx->provider, "the key is too short for", "this digest and PSS salt length");
}

bool signature_request_quiet(const struct signature *ctx, struct sign_request *request)
{
    bool possible;

    (void)ERR_set_mark();
    possible = signature_request(ctx, request);
    (void)ERR_pop_to_mark();
    return possible;
}

static int get_algorithm(const void *vctx, OSSL_PARAM *p)
{
    const struct signature *ctx = vctx;
    uint8_t der[ALGORITHM_IDENTIFIER_MAX];
    struct sign_request request;
    size_t len = ctx->key != NULL && signature_request(ctx, &request)
                     ? sign_algorithm(&request, der, sizeof(der))
                     : 0;

    if (len == 0)
        return refuse(ctx->provider, "no AlgorithmIdentifier is known for",
                      "a signature with this digest");
    return OSSL_PARAM_set_octet_string(p, der, len);
}

static int get_padding(const void *vctx, OSSL_PARAM *p)
{
    const struct signature *ctx = vctx;

    return named_number_set(p, paddings, ctx->padding);
}

static int get_salt(const void *vctx, OSSL_PARAM *p)
{
    const struct signature *ctx = vctx;

    return named_number_set(p, salts_known(), ctx->salt);
}

static int get_mgf1(const void *vctx, OSSL_PARAM *p)
{
    const struct signature *ctx = vctx;

    return digest_param_set(p, ctx->mgf1 != NULL ? ctx->mgf1 : ctx->digest);
}

static int get_digest_size(const void *vctx, OSSL_PARAM *p)
{
    const struct signature *ctx = vctx;

    return OSSL_PARAM_set_size_t(p, ctx->digest != NULL ? ctx->digest->size : 0);
}

#define EVERY_GETTABLE(ROW)                                                                        \
    ROW(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, octet_string, get_algorithm, WHOLE)                     \
    ROW(OSSL_SIGNATURE_PARAM_DIGEST, utf8_string, param_get_digest,                                \
        FIELD(struct signature, digest, const struct digest *))

#define EC_GETTABLE(ROW)                                                                           \
    EVERY_GETTABLE(ROW)                                                                            \
    ROW(OSSL_SIGNATURE_PARAM_DIGEST_SIZE, size_t, get_digest_size, WHOLE)

#define RSA_GETTABLE(ROW)                                                                          \
    EVERY_GETTABLE(ROW)                                                                            \
    ROW(OSSL_SIGNATURE_PARAM_PAD_MODE, utf8_string, get_padding, WHOLE)                            \
    ROW(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, utf8_string, get_salt, WHOLE)                            \
    ROW(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, utf8_string, get_mgf1, WHOLE)

PARAM_GETTERS(ec_getters, EC_GETTABLE);
PARAM_GETTERS(rsa_getters, RSA_GETTABLE);
PARAM_LIST(ec_gettable, EC_GETTABLE);
PARAM_LIST(rsa_gettable, RSA_GETTABLE);

/* Whether the token is known to have no such salt, but may have one as long as the digest. */
static bool lacks_long_salt(const struct signature *ctx, const struct sign_request *request)
{
    struct sign_request shorter = *request;

    shorter.salt_len = request->digest->size;
    return request->salt_len > shorter.salt_len && key_lacks_pss(ctx->key, request) &&
           !key_lacks_pss(ctx->key, &shorter);
}

/* Whoever is told of the salt's length writes it into a certificate or message: from then on it
 * stays. */
static void settle_salt(struct signature *ctx, const OSSL_PARAM params[])
{
    struct sign_request request;

    if (!ctx->salt_free || !ctx->signing || ctx->padding != RSA_PKCS1_PSS_PADDING ||
        (OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID) == NULL &&
         OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN) == NULL) ||
        !signature_request_quiet(ctx, &request))
        return;
    ctx->salt_free = false;
    if (lacks_long_salt(ctx, &request))
        ctx->salt = RSA_PSS_SALTLEN_DIGEST;
}

int signature_token_get_ctx_params(void *ctx, OSSL_PARAM params[])
{
    settle_salt(ctx, params);
    return params_get(is_ec(ctx) ? ec_getters : rsa_getters, ctx, params);
}

const OSSL_PARAM *signature_token_gettable_ctx_params(void *ctx, void *provctx)
{
    (void)provctx;
    return ctx != NULL && is_ec(ctx) ? ec_gettable : rsa_gettable;
}

int signature_default_salt(void)
{
    return has_auto_digest_max() ? SALT_AUTO_DIGEST_MAX : RSA_PSS_SALTLEN_AUTO;
}
