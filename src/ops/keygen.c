/* Key generation (provider-keymgmt(7), gen): on the token. */
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/scope.h"
#include "key/generate.h"
#include "key/software.h"
#include "module/call.h"
#include "ops/keygen.h"
#include "ops/ops.h"
#include "ops/params.h"
#include "pkcs11_bridge.h"

#define RSA_BITS_DEFAULT 2048
#define RSA_BITS_LEAST   1024
#define RSA_BITS_MOST    16384

struct keygen {
    struct generation generation;
    char *uri;            /* secret_text: it may have a PIN in it */
    bool parameters_only; /* the curve alone is asked for */
    bool asked;           /* with a parameter that is this provider's only */
};

void keygen_cleanup(void *vctx)
{
    struct keygen *ctx = vctx;

    if (ctx == NULL)
        return;
    secret_text_free(ctx->uri);
    bytes_clear(&ctx->generation.exponent);
    OPENSSL_free(ctx);
}

static void keygen_scoped(struct keygen **ctx)
{
    keygen_cleanup(*ctx);
}

void *keygen_init(void *provctx, enum key_type type, int selection, const OSSL_PARAM params[])
{
    static const uint8_t f4[] = { 1, 0, 1 };
    _cleanup_(keygen_scoped) struct keygen *ctx = OPENSSL_zalloc(sizeof(*ctx));

    if (ctx == NULL)
        return NULL;
    ctx->generation.provider = provctx;
    ctx->generation.type = type;
    ctx->generation.bits = RSA_BITS_DEFAULT;
    ctx->parameters_only = (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0;
    if (!key_type_is_rsa(type) && type != KEY_EC)
        ctx->generation.curve = curve_by_name(key_names[type].type);
    if (!bytes_set(&ctx->generation.exponent, f4, sizeof(f4)) || !keygen_set_params(ctx, params))
        return NULL;
    return MOVE(ctx);
}

static bool needs_no_curve(enum key_type type)
{
    return key_type_is_rsa(type) || key_type_is_set(type);
}

int keygen_set_template(void *vctx, void *vkey)
{
    struct keygen *ctx = vctx;
    const struct key *key = vkey;

    if (key->type != ctx->generation.type)
        return 0;
    ctx->generation.curve = key->curve;
    return needs_no_curve(key->type) || key->curve != NULL;
}

static int set_uri(void *vctx, const OSSL_PARAM *p)
{
    struct keygen *ctx = vctx;
    const char *uri = NULL;

    ctx->asked = true;
    secret_text_free(MOVE(ctx->uri));
    if (text_param_get(p, &uri))
        ctx->uri = secret_text(
            uri, p->data_type == OSSL_PARAM_UTF8_PTR ? strlen(uri) : strnlen(uri, p->data_size));
    ctx->generation.uri = ctx->uri;
    return ctx->uri != NULL;
}

static int set_usage(void *vctx, const OSSL_PARAM *p)
{
    struct keygen *ctx = vctx;
    const char *names = NULL;

    ctx->asked = true;
    ctx->generation.has_usage = text_param_get(p, &names);
    return ctx->generation.has_usage && usage_parse(names, &ctx->generation.usage)
               ? 1
               : refuse(ctx->generation.provider,
                        "pkcs11_key_usage has a name that is none of digitalSignature, "
                        "nonRepudiation, keyEncipherment, dataEncipherment, keyAgreement, "
                        "keyCertSign, cRLSign:",
                        names != NULL ? names : "");
}

static int set_ephemeral(void *vctx, const OSSL_PARAM *p)
{
    struct keygen *ctx = vctx;
    const char *text = NULL;
    int yes = 0;

    ctx->asked = true;
    if (p->data_type == OSSL_PARAM_UTF8_STRING) {
        if (!text_param_get(p, &text))
            return 0;
        yes = strcmp(text, "1") == 0 || strcmp(text, "yes") == 0 || strcmp(text, "true") == 0;
    } else if (!OSSL_PARAM_get_int(p, &yes)) {
        return 0;
    }
    ctx->generation.ephemeral = yes != 0;
    return 1;
}

static int set_if_exists(void *vctx, const OSSL_PARAM *p)
{
    struct keygen *ctx = vctx;
    const char *text = NULL;

    if (!text_param_get(p, &text))
        return 0;
    ctx->generation.add = strcmp(text, "add") == 0;
    return ctx->generation.add || strcmp(text, "error") == 0 ||
           refuse(ctx->generation.provider, "pkcs11_if_exists may be error or add, not", text);
}

static int set_bits(void *vctx, const OSSL_PARAM *p)
{
    struct keygen *ctx = vctx;

    return (OSSL_PARAM_get_uint(p, &ctx->generation.bits) &&
            ctx->generation.bits >= RSA_BITS_LEAST && ctx->generation.bits <= RSA_BITS_MOST) ||
           refuse(ctx->generation.provider,
                  "the number of bits is not valid:", "1024 to 16384 are");
}

static int set_exponent(void *vctx, const OSSL_PARAM *p)
{
    struct keygen *ctx = vctx;
    BIGNUM *e = NULL;
    uint8_t buf[64];
    int ok = OSSL_PARAM_get_BN(p, &e) && BN_num_bytes(e) <= (int)sizeof(buf);

    if (ok) {
        bytes_clear(&ctx->generation.exponent);
        ok = bytes_set(&ctx->generation.exponent, buf, (size_t)BN_bn2bin(e, buf));
    }
    BN_free(e);
    return ok;
}

static int set_group(void *vctx, const OSSL_PARAM *p)
{
    struct keygen *ctx = vctx;
    const char *name = NULL;
    const struct curve *curve = NULL;

    if (key_type_is_set(ctx->generation.type))
        return 1; /* the type says it */
    if (text_param_get(p, &name))
        curve = curve_by_name(name);
    if (curve == NULL || key_type_of(curve) != ctx->generation.type)
        return refuse(ctx->generation.provider,
                      "the curve is not known:", name != NULL ? name : "");
    ctx->generation.curve = curve;
    return 1;
}

static int set_pss_digest(void *vctx, const OSSL_PARAM *p)
{
    struct keygen *ctx = vctx;
    const struct digest *digest = digest_param_get(ctx->generation.provider, p, "PSS");

    if (digest == NULL || ctx->generation.type != KEY_RSA_PSS)
        return digest != NULL;
    ctx->generation.pss_digest = digest;
    return digest->mgf1 != 0 ||
           refuse(ctx->generation.provider, "PSS is not possible with", "this digest");
}

/* CKA_ALLOWED_MECHANISMS has names for a digest, none for the rest. */
static int set_pss_mgf1(void *vctx, const OSSL_PARAM *p)
{
    struct keygen *ctx = vctx;
    const struct digest *digest = digest_param_get(ctx->generation.provider, p, "MGF1");

    if (digest == NULL)
        return 0;
    return digest == ctx->generation.pss_digest ||
           refuse(ctx->generation.provider, "a key on a token cannot be restricted to an MGF1",
                  "with another digest than the signature's");
}

static int set_pss_salt(void *vctx, const OSSL_PARAM *p)
{
    struct keygen *ctx = vctx;
    int salt = 0;

    return (OSSL_PARAM_get_int(p, &salt) && salt <= 0) ||
           refuse(ctx->generation.provider, "a key on a token cannot be restricted to",
                  "a PSS salt length");
}

#define EVERY_SETTABLE(ROW)                                                                        \
    ROW(PKCS11_BRIDGE_KEYGEN_URI, utf8_string, set_uri, WHOLE)                                     \
    ROW(PKCS11_BRIDGE_KEYGEN_USAGE, utf8_string, set_usage, WHOLE)                                 \
    ROW(PKCS11_BRIDGE_KEYGEN_EPHEMERAL, utf8_string, set_ephemeral, WHOLE)                         \
    ROW(PKCS11_BRIDGE_KEYGEN_IF_EXISTS, utf8_string, set_if_exists, WHOLE)

#define RSA_ROWS(ROW)                                                                              \
    ROW(OSSL_PKEY_PARAM_RSA_BITS, uint, set_bits, WHOLE)                                           \
    ROW(OSSL_PKEY_PARAM_RSA_E, BN, set_exponent, WHOLE)

#define PSS_ROWS(ROW)                                                                              \
    ROW(OSSL_PKEY_PARAM_RSA_DIGEST, utf8_string, set_pss_digest, WHOLE)                            \
    ROW(OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, utf8_string, set_pss_mgf1, WHOLE)                         \
    ROW(OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, int, set_pss_salt, WHOLE)

#define RSA_SETTABLE(ROW) EVERY_SETTABLE(ROW) RSA_ROWS(ROW)
#define PSS_SETTABLE(ROW) RSA_SETTABLE(ROW) PSS_ROWS(ROW)

/* libssl names the group of X25519 and X448 too. */
#define RAW_SETTABLE(ROW)                                                                          \
    EVERY_SETTABLE(ROW)                                                                            \
    ROW(OSSL_PKEY_PARAM_GROUP_NAME, utf8_string, set_group, WHOLE)

/* What -pkeyopt calls the group. */
#define PARAMGEN_CURVE "ec_paramgen_curve"

#define EC_SETTABLE(ROW)                                                                           \
    RAW_SETTABLE(ROW)                                                                              \
    ROW(PARAMGEN_CURVE, utf8_string, set_group, WHOLE)                                             \
    ROW(OSSL_PKEY_PARAM_EC_ENCODING, utf8_string, param_ignore, WHOLE)

/* What a type does not offer is refused by its setter, not passed over. */
#define SETTABLE(ROW) EC_SETTABLE(ROW) RSA_ROWS(ROW) PSS_ROWS(ROW)

PARAM_SETTERS(setters, SETTABLE);
PARAM_LIST(rsa_settable, RSA_SETTABLE);
PARAM_LIST(pss_settable, PSS_SETTABLE);
PARAM_LIST(ec_settable, EC_SETTABLE);
PARAM_LIST(raw_settable, RAW_SETTABLE);

int keygen_set_params(void *ctx, const OSSL_PARAM params[])
{
    return params_set(setters, ctx, params);
}

const OSSL_PARAM *keygen_settable_params(enum key_type type)
{
    switch (type) {
    case KEY_RSA:
        return rsa_settable;
    case KEY_RSA_PSS:
        return pss_settable;
    case KEY_EC:
        return ec_settable;
    default:
        return raw_settable;
    }
}

/* Whether the key is one that nobody asked a token for: libcrypto came here only because this
 * provider is listed first or preferred, and the key may be one for key agreement, which are made
 * for one use. libcrypto does not tell by which properties a program found this provider. Or a
 * module that uses libcrypto makes it within a C_* call, for itself: libcrypto up to 3.5 takes the
 * provider for it whose algorithm it loaded first, in whatever order they are listed. */
static bool is_unasked(const struct keygen *ctx)
{
    struct provider *provider = ctx->generation.provider;
    const struct key_names *names = &key_names[ctx->generation.type];

    if (ctx->asked || (names->keyexch == NULL && names->kem == NULL))
        return false;
    return call_inside() ||
           (!provider->config.ephemeral_on_token && host_leads_here(&provider->host, names->type));
}

void *keygen_gen(void *vctx, OSSL_CALLBACK *callback, void *arg)
{
    const struct keygen *ctx = vctx;
    struct key *key;

    (void)callback;
    (void)arg;
    if (!needs_no_curve(ctx->generation.type) && ctx->generation.curve == NULL) {
        (void)refuse(ctx->generation.provider, "cannot generate a key:", "no curve is set");
        return NULL;
    }
    if (!ctx->parameters_only)
        return is_unasked(ctx) ? software_generate(ctx->generation.provider, ctx->generation.type,
                                                   ctx->generation.curve)
                               : key_generate(&ctx->generation);
    key = key_new(ctx->generation.provider, ctx->generation.type);
    if (key != NULL)
        key->curve = ctx->generation.curve;
    return key;
}
