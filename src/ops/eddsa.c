/* Ed25519 and Ed448 signatures (provider-signature(7)): the message goes to the token whole.
 *
 * RFC 8032 has five instances: the two that everybody means, and those with a context string or a
 * message hashed before. Few tokens have the latter (CK_EDDSA_PARAMS), and some do not look at the
 * parameters at all: such a signature is verified before it leaves. */
#include <string.h>
#include <strings.h>

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "der/algorithm.h"
#include "key/doubt.h"
#include "key/software.h"
#include "module/call.h"
#include "ops/algorithms.h"
#include "ops/context.h"
#include "ops/ops.h"
#include "ops/params.h"
#include "ops/signature.h"

static OSSL_FUNC_signature_newctx_fn eddsa_newctx;
static OSSL_FUNC_signature_freectx_fn eddsa_freectx;
static OSSL_FUNC_signature_dupctx_fn eddsa_dupctx;
static OSSL_FUNC_signature_digest_sign_init_fn eddsa_sign_init;
static OSSL_FUNC_signature_digest_sign_fn eddsa_sign;
static OSSL_FUNC_signature_digest_verify_init_fn eddsa_verify_init;
static OSSL_FUNC_signature_digest_verify_fn eddsa_verify;
static OSSL_FUNC_signature_sign_fn eddsa_sign_message;
static OSSL_FUNC_signature_verify_fn eddsa_verify_message;
static OSSL_FUNC_signature_get_ctx_params_fn eddsa_get_ctx_params;
static OSSL_FUNC_signature_gettable_ctx_params_fn eddsa_gettable_ctx_params;

static OSSL_FUNC_signature_set_ctx_params_fn eddsa_set_ctx_params;
static OSSL_FUNC_signature_settable_ctx_params_fn eddsa_settable_ctx_params;

#define CONTEXT_MAX 255

/* OSSL_SIGNATURE_PARAM_INSTANCE and _CONTEXT_STRING of OpenSSL 3.2 */
#define PARAM_INSTANCE       "instance"
#define PARAM_CONTEXT_STRING "context-string"
#define INSTANCES_SINCE      0x30200000UL

static const struct instance {
    const char *name;
    enum key_type type;
    bool prehash;
    bool has_context; /* may have a context string */
    bool needs_context;
} instances[] = {
    /* the first of a type is the default */
    { "Ed25519", KEY_ED25519, false, false, false },
    { "Ed25519ctx", KEY_ED25519, false, true, true },
    { "Ed25519ph", KEY_ED25519, true, true, false },
    { "Ed448", KEY_ED448, false, true, false },
    { "Ed448ph", KEY_ED448, true, true, false },
};

struct eddsa {
    struct held held; /* first */
    struct provider *provider;
    struct key *key;
    const struct instance *fixed; /* of an algorithm that a program named; or NULL */
    const struct instance *instance;
    uint8_t context[CONTEXT_MAX];
    size_t context_len;
};

static const struct instance *instance_find(const char *name)
{
    for (size_t i = 0; i < COUNT(instances); i++)
        if (strcasecmp(instances[i].name, name) == 0)
            return &instances[i];
    return NULL;
}

static const struct instance *instance_default(enum key_type type)
{
    size_t i = 0;

    while (instances[i].type != type)
        i++;
    return &instances[i];
}

static void *eddsa_newctx(void *provctx, const char *propq)
{
    struct eddsa *ctx = OPENSSL_zalloc(sizeof(*ctx));

    (void)propq;
    if (ctx != NULL)
        ctx->provider = provctx;
    return ctx;
}

#define OWNED(OWN) OWN(held, held) OWN(key, key)

CONTEXT_FREE(eddsa_freectx, struct eddsa, OWNED)
CONTEXT_DUP(eddsa_dupctx, eddsa_freectx, struct eddsa, OWNED)

static int set_instance(void *vctx, const OSSL_PARAM *p)
{
    struct eddsa *ctx = vctx;
    const struct instance *instance = NULL;
    const char *name = NULL;

    if (text_param_get(p, &name))
        instance = instance_find(name);
    if (instance == NULL || instance->type != ctx->key->type ||
        (ctx->fixed != NULL && instance != ctx->fixed))
        return refuse(ctx->provider,
                      "the key has no such instance of EdDSA:", name != NULL ? name : "");
    ctx->instance = instance;
    return 1;
}

static int set_context(void *vctx, const OSSL_PARAM *p)
{
    struct eddsa *ctx = vctx;
    void *context = ctx->context;

    return OSSL_PARAM_get_octet_string(p, &context, sizeof(ctx->context), &ctx->context_len) ||
           refuse(ctx->provider, "the context string of EdDSA is longer than", "255 bytes");
}

#define SETTABLE(ROW)                                                                              \
    ROW(PARAM_INSTANCE, utf8_string, set_instance, WHOLE)                                          \
    ROW(PARAM_CONTEXT_STRING, octet_string, set_context, WHOLE)

PARAM_SETTERS(setters, SETTABLE);
PARAM_LIST(settable, SETTABLE);

/* Where libcrypto cannot verify other instances, there are none. */
static bool has_instances(void)
{
    return OpenSSL_version_num() >= INSTANCES_SINCE;
}

static int token_set_ctx_params(void *vctx, const OSSL_PARAM params[])
{
    struct eddsa *ctx = vctx;

    if (!has_instances())
        return refuse(ctx->provider, "nothing can be set of", "a signature before OpenSSL 3.2");
    return ctx->key == NULL || params_set(setters, ctx, params);
}

static const OSSL_PARAM *token_settable_ctx_params(void *ctx, void *provctx)
{
    (void)ctx;
    (void)provctx;
    return has_instances() ? settable : settable + COUNT(settable) - 1;
}

static int begin(struct eddsa *ctx, const char *digest, struct key *key, const OSSL_PARAM params[],
                 bool signing)
{
    if (digest != NULL && digest[0] != '\0')
        return refuse(ctx->provider, "EdDSA takes no digest:", "it hashes the message itself");
    if (key == NULL && ctx->key == NULL)
        return refuse(ctx->provider, "cannot begin a signature:", "no key is set");
    if (key != NULL) {
        if (!key_take(&ctx->key, key, signing))
            return 0;
        ctx->instance = ctx->fixed != NULL ? ctx->fixed : instance_default(key->type);
        ctx->context_len = 0;
    }
    return !has_instances() || token_set_ctx_params(ctx, params);
}

static int token_sign_init(void *vctx, const char *digest, void *key, const OSSL_PARAM params[])
{
    struct eddsa *ctx = vctx;

    if (!begin(ctx, digest, key, params, true))
        return 0;
    return key_is_private(ctx->key) ||
           refuse(ctx->provider, "cannot sign:", "this is a public key");
}

static int token_verify_init(void *vctx, const char *digest, void *key, const OSSL_PARAM params[])
{
    return begin(vctx, digest, key, params, false);
}

static int check_context(const struct eddsa *ctx)
{
    if (ctx->context_len != 0 && !ctx->instance->has_context)
        return refuse(ctx->provider, "no context string is possible with", ctx->instance->name);
    if (ctx->context_len == 0 && ctx->instance->needs_context)
        return refuse(ctx->provider, "a context string is needed with", ctx->instance->name);
    return 1;
}

/* Whether the signature differs from that of the key's plain instance. */
static bool is_variant(const struct eddsa *ctx)
{
    return ctx->context_len != 0 || ctx->instance != instance_default(ctx->key->type);
}

/* With the same instance and context string. */
static int verify_on_host(const struct eddsa *ctx, struct view sig, struct view message)
{
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(PARAM_INSTANCE, (char *)(uintptr_t)ctx->instance->name, 0),
        OSSL_PARAM_construct_octet_string(PARAM_CONTEXT_STRING, (void *)(uintptr_t)ctx->context,
                                          ctx->context_len),
        OSSL_PARAM_construct_end(),
    };

    return software_verifies(ctx->key, is_variant(ctx) ? params : NULL, message, sig);
}

static int sign_checked(struct eddsa *ctx, const struct sign_request *request, struct view message,
                        unsigned char *sig, size_t *sig_len)
{
    if (!key_sign(ctx->key, request, SIGN_TOKEN_HASHES, message, sig, sig_len))
        return 0;
    return !is_variant(ctx) || verify_on_host(ctx, (struct view){ sig, *sig_len }, message) ||
           refuse(ctx->provider, "the token cannot sign with", ctx->instance->name);
}

static struct sign_request request_make(const struct eddsa *ctx)
{
    return (struct sign_request){
        .scheme = SIGN_EDDSA,
        /* PKCS#11 v3.1 §6.3.16: required for Ed448 */
        .eddsa_params = is_variant(ctx) || ctx->key->type == KEY_ED448,
        .prehash = ctx->instance->prehash,
        .context = { ctx->context, ctx->context_len },
    };
}

static int token_sign(void *vctx, unsigned char *sig, size_t *sig_len, size_t sig_size,
                      const unsigned char *message, size_t message_len)
{
    struct eddsa *ctx = vctx;
    const struct sign_request request = request_make(ctx);
    size_t size = key_signature_max(ctx->key);

    if (sig == NULL) {
        *sig_len = size;
        return 1;
    }
    if (sig_size < size)
        return refuse(ctx->provider, "cannot sign:", "the buffer for the signature is too small");
    return check_context(ctx) &&
           sign_checked(ctx, &request, (struct view){ message, message_len }, sig, sig_len);
}

static int token_verify(void *vctx, const unsigned char *sig, size_t sig_len,
                        const unsigned char *message, size_t message_len)
{
    const struct eddsa *ctx = vctx;
    const struct sign_request request = request_make(ctx);
    const struct view signature = { sig, sig_len }, whole = { message, message_len };

    if (!check_context(ctx))
        return 0;
    return key_public_on_token(ctx->key) && !is_variant(ctx)
               ? key_verify(ctx->key, &request, SIGN_TOKEN_HASHES, whole, signature)
               : verify_on_host(ctx, signature, whole);
}

static int get_algorithm(const void *vctx, OSSL_PARAM *p)
{
    const struct eddsa *ctx = vctx;
    uint8_t der[ALGORITHM_IDENTIFIER_MAX];
    size_t len =
        ctx->key != NULL ? algorithm_write(ctx->key->curve->oid, false, der, sizeof(der)) : 0;

    return len != 0 && OSSL_PARAM_set_octet_string(p, der, len);
}

#define GETTABLE(ROW) ROW(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, octet_string, get_algorithm, WHOLE)

PARAMS_GET(token, GETTABLE)

/* The instance that an algorithm's name has does not change. */
static int host_set_ctx_params(void *vctx, const OSSL_PARAM params[])
{
    const struct eddsa *ctx = vctx;

    if (params != NULL && ctx->fixed != NULL &&
        OSSL_PARAM_locate_const(params, PARAM_INSTANCE) != NULL)
        return refuse(ctx->provider,
                      "the instance of EdDSA cannot change:", "the signature's name has it");
    return held_set_ctx_params(vctx, params);
}

/* Begins with the instance that the algorithm's name has. */
static int on_host(struct eddsa *ctx, OSSL_FUNC_signature_digest_sign_init_fn *init,
                   const char *digest, struct key *key, const OSSL_PARAM params[])
{
    const OSSL_PARAM instance[] = {
        OSSL_PARAM_construct_utf8_string(
            PARAM_INSTANCE, (char *)(uintptr_t)(ctx->fixed != NULL ? ctx->fixed->name : ""), 0),
        OSSL_PARAM_construct_end(),
    };
    bool plain = ctx->fixed == NULL || ctx->fixed == instance_default(ctx->fixed->type);

    return init(ctx, digest, key, NULL) && (plain || held_set_ctx_params(ctx, instance)) &&
           (params == NULL || host_set_ctx_params(ctx, params));
}

static int host_sign_init(void *ctx, const char *digest, void *key, const OSSL_PARAM params[])
{
    return on_host(ctx, held_digest_sign_init, digest, key, params);
}

static int host_verify_init(void *ctx, const char *digest, void *key, const OSSL_PARAM params[])
{
    return on_host(ctx, held_digest_verify_init, digest, key, params);
}

DOOR(DIGEST_INIT, eddsa_sign_init, host_sign_init, token_sign_init)
DOOR(MAKE, eddsa_sign, held_digest_sign, token_sign)
DOOR(DIGEST_INIT, eddsa_verify_init, host_verify_init, token_verify_init)
DOOR(VERIFY, eddsa_verify, held_digest_verify, token_verify)
DOOR(MAKE, eddsa_sign_message, held_sign_message, token_sign)
DOOR(VERIFY, eddsa_verify_message, held_verify_message, token_verify)
DOOR(GET, eddsa_get_ctx_params, held_get_ctx_params, token_get_ctx_params)
DOOR(SET, eddsa_set_ctx_params, host_set_ctx_params, token_set_ctx_params)
LIST_DOOR(eddsa_gettable_ctx_params, held_gettable_ctx_params, token_gettable_ctx_params)
LIST_DOOR(eddsa_settable_ctx_params, held_settable_ctx_params, token_settable_ctx_params)

#define SHARED                                                                                     \
    { OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))eddsa_newctx },                                  \
        { OSSL_FUNC_SIGNATURE_FREECTX, (void (*)(void))eddsa_freectx },                            \
        { OSSL_FUNC_SIGNATURE_DUPCTX, (void (*)(void))eddsa_dupctx },                              \
        { OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, (void (*)(void))eddsa_get_ctx_params },              \
        { OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, (void (*)(void))eddsa_gettable_ctx_params },    \
        { OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (void (*)(void))eddsa_set_ctx_params },              \
    {                                                                                              \
        OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (void (*)(void))eddsa_settable_ctx_params         \
    }

/* What EVP_DigestSignInit(3) and EVP_DigestVerifyInit(3) come to. */
#define BY_KEY                                                                                     \
    { OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (void (*)(void))eddsa_sign_init },                     \
        { OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (void (*)(void))eddsa_sign },                           \
        { OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_INIT, (void (*)(void))eddsa_verify_init },             \
    {                                                                                              \
        OSSL_FUNC_SIGNATURE_DIGEST_VERIFY, (void (*)(void))eddsa_verify                            \
    }

const OSSL_DISPATCH eddsa_functions[] = {
    SHARED,
    BY_KEY,
    { 0, NULL },
};

static int sign_message_init(struct eddsa *ctx, const char *instance, void *key,
                             const OSSL_PARAM params[])
{
    ctx->fixed = instance_find(instance);
    return eddsa_sign_init(ctx, NULL, key, params);
}

static int verify_message_init(struct eddsa *ctx, const char *instance, void *key,
                               const OSSL_PARAM params[])
{
    ctx->fixed = instance_find(instance);
    return eddsa_verify_init(ctx, NULL, key, params);
}

static const char **ed25519_key_types(void)
{
    static const char *types[] = { "ED25519", NULL };

    return types;
}

static const char **ed448_key_types(void)
{
    static const char *types[] = { "ED448", NULL };

    return types;
}

#define MESSAGE_INITS(name)                                                                        \
    static int name##_sign_init(void *ctx, void *key, const OSSL_PARAM params[])                   \
    {                                                                                              \
        return sign_message_init(ctx, #name, key, params);                                         \
    }                                                                                              \
    static int name##_verify_init(void *ctx, void *key, const OSSL_PARAM params[])                 \
    {                                                                                              \
        return verify_message_init(ctx, #name, key, params);                                       \
    }

#define BY_NAME(name, type)                                                                        \
    SHARED, { OSSL_FUNC_SIGNATURE_QUERY_KEY_TYPES, (void (*)(void))type##_key_types },             \
        { OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_INIT, (void (*)(void))name##_sign_init },               \
        { OSSL_FUNC_SIGNATURE_SIGN, (void (*)(void))eddsa_sign_message },                          \
        { OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_INIT, (void (*)(void))name##_verify_init },           \
    {                                                                                              \
        OSSL_FUNC_SIGNATURE_VERIFY, (void (*)(void))eddsa_verify_message                           \
    }

MESSAGE_INITS(ed25519)
MESSAGE_INITS(ed25519ctx)
MESSAGE_INITS(ed25519ph)
MESSAGE_INITS(ed448)
MESSAGE_INITS(ed448ph)

/* By their own names, for programs that fetch them; as in sigalg.c, but there is no update. Two of
 * the names are what libcrypto asks for with software keys as well, in EVP_DigestSignInit(3). */
const OSSL_DISPATCH ed25519_functions[] = { BY_NAME(ed25519, ed25519), BY_KEY, { 0, NULL } };
const OSSL_DISPATCH ed25519ctx_functions[] = { BY_NAME(ed25519ctx, ed25519), { 0, NULL } };
const OSSL_DISPATCH ed25519ph_functions[] = { BY_NAME(ed25519ph, ed25519), { 0, NULL } };
const OSSL_DISPATCH ed448_functions[] = { BY_NAME(ed448, ed448), BY_KEY, { 0, NULL } };
const OSSL_DISPATCH ed448ph_functions[] = { BY_NAME(ed448ph, ed448), { 0, NULL } };
