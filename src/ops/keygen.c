/* Key generation (provider-keymgmt(7), gen): on the token. */
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/scope.h"
#include "key/generate.h"
#include "ops/keygen.h"
#include "ops/ops.h"
#include "ops/params.h"
#include "pkcs11_bridge.h"

#define RSA_BITS_DEFAULT 2048
#define RSA_BITS_LEAST   1024
#define RSA_BITS_MOST    16384

struct keygen {
    struct generation generation;
    char *uri;
    bool parameters_only; /* the curve alone is asked for */
};

void keygen_cleanup(void *vctx)
{
    struct keygen *ctx = vctx;

    if (ctx == NULL)
        return;
    OPENSSL_free(ctx->uri);
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

int keygen_set_template(void *vctx, void *vkey)
{
    struct keygen *ctx = vctx;
    const struct key *key = vkey;

    if (key->type != ctx->generation.type)
        return 0;
    ctx->generation.curve = key->curve;
    return key_type_is_rsa(key->type) || key->curve != NULL;
}

static int set_uri(struct keygen *ctx, const OSSL_PARAM *p)
{
    OPENSSL_free(ctx->uri);
    ctx->uri = NULL;
    if (!OSSL_PARAM_get_utf8_string(p, &ctx->uri, 0))
        return 0;
    ctx->generation.uri = ctx->uri;
    return 1;
}

static int set_usage(struct keygen *ctx, const OSSL_PARAM *p)
{
    const char *names = NULL;

    ctx->generation.has_usage = OSSL_PARAM_get_utf8_string_ptr(p, &names) == 1;
    return ctx->generation.has_usage && usage_parse(names, &ctx->generation.usage)
               ? 1
               : refuse(ctx->generation.provider,
                        "pkcs11_key_usage has a name that is none of digitalSignature, "
                        "nonRepudiation, keyEncipherment, dataEncipherment, keyAgreement, "
                        "keyCertSign, cRLSign:",
                        names != NULL ? names : "");
}

static int set_ephemeral(struct keygen *ctx, const OSSL_PARAM *p)
{
    const char *text = NULL;
    int yes = 0;

    if (p->data_type == OSSL_PARAM_UTF8_STRING) {
        if (!OSSL_PARAM_get_utf8_string_ptr(p, &text))
            return 0;
        yes = strcmp(text, "1") == 0 || strcmp(text, "yes") == 0 || strcmp(text, "true") == 0;
    } else if (!OSSL_PARAM_get_int(p, &yes)) {
        return 0;
    }
    ctx->generation.ephemeral = yes != 0;
    return 1;
}

static int set_bits(struct keygen *ctx, const OSSL_PARAM *p)
{
    return (OSSL_PARAM_get_uint(p, &ctx->generation.bits) &&
            ctx->generation.bits >= RSA_BITS_LEAST && ctx->generation.bits <= RSA_BITS_MOST) ||
           refuse(ctx->generation.provider,
                  "the number of bits is not valid:", "1024 to 16384 are");
}

static int set_exponent(struct keygen *ctx, const OSSL_PARAM *p)
{
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

static int set_group(struct keygen *ctx, const OSSL_PARAM *p)
{
    const char *name = NULL;
    const struct curve *curve = NULL;

    if (OSSL_PARAM_get_utf8_string_ptr(p, &name))
        curve = curve_by_name(name);
    if (curve == NULL || key_type_of(curve) != ctx->generation.type)
        return refuse(ctx->generation.provider,
                      "the curve is not known:", name != NULL ? name : "");
    ctx->generation.curve = curve;
    return 1;
}

static int set_pss_digest(struct keygen *ctx, const OSSL_PARAM *p)
{
    const struct digest *digest = digest_param_get(ctx->generation.provider, p, "PSS");

    if (digest == NULL || ctx->generation.type != KEY_RSA_PSS)
        return digest != NULL;
    ctx->generation.pss_digest = digest;
    return digest->mgf1 != 0 ||
           refuse(ctx->generation.provider, "PSS is not possible with", "this digest");
}

/* CKA_ALLOWED_MECHANISMS has names for a digest, none for the rest. */
static int set_pss_mgf1(struct keygen *ctx, const OSSL_PARAM *p)
{
    const struct digest *digest = digest_param_get(ctx->generation.provider, p, "MGF1");

    if (digest == NULL)
        return 0;
    return digest == ctx->generation.pss_digest ||
           refuse(ctx->generation.provider, "a key on a token cannot be restricted to an MGF1",
                  "with another digest than the signature's");
}

static int set_pss_salt(struct keygen *ctx, const OSSL_PARAM *p)
{
    int salt = 0;

    return (OSSL_PARAM_get_int(p, &salt) && salt <= 0) ||
           refuse(ctx->generation.provider, "a key on a token cannot be restricted to",
                  "a PSS salt length");
}

int keygen_set_params(void *vctx, const OSSL_PARAM params[])
{
    static const struct {
        const char *name;
        int (*set)(struct keygen *ctx, const OSSL_PARAM *p);
    } setters[] = {
        { PKCS11_BRIDGE_KEYGEN_URI, set_uri },
        { PKCS11_BRIDGE_KEYGEN_USAGE, set_usage },
        { PKCS11_BRIDGE_KEYGEN_EPHEMERAL, set_ephemeral },
        { OSSL_PKEY_PARAM_RSA_BITS, set_bits },
        { OSSL_PKEY_PARAM_RSA_E, set_exponent },
        { OSSL_PKEY_PARAM_GROUP_NAME, set_group },
        { OSSL_PKEY_PARAM_RSA_DIGEST, set_pss_digest },
        { OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, set_pss_mgf1 },
        { OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, set_pss_salt },
    };

    for (size_t i = 0; params != NULL && i < COUNT(setters); i++) {
        const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, setters[i].name);

        if (p != NULL && !setters[i].set(vctx, p))
            return 0;
    }
    return 1;
}

#define OWN_PARAMS                                                                                 \
    OSSL_PARAM_utf8_string(PKCS11_BRIDGE_KEYGEN_URI, NULL, 0),                                     \
        OSSL_PARAM_utf8_string(PKCS11_BRIDGE_KEYGEN_USAGE, NULL, 0),                               \
        OSSL_PARAM_utf8_string(PKCS11_BRIDGE_KEYGEN_EPHEMERAL, NULL, 0)

const OSSL_PARAM *keygen_settable_params(enum key_type type)
{
    static const OSSL_PARAM rsa[] = {
        OWN_PARAMS,
        OSSL_PARAM_uint(OSSL_PKEY_PARAM_RSA_BITS, NULL),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_END,
    };
    static const OSSL_PARAM rsa_pss[] = {
        OWN_PARAMS,
        OSSL_PARAM_uint(OSSL_PKEY_PARAM_RSA_BITS, NULL),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_RSA_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, NULL),
        OSSL_PARAM_END,
    };
    static const OSSL_PARAM ec[] = {
        OWN_PARAMS,
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),
        OSSL_PARAM_END,
    };
    static const OSSL_PARAM raw[] = {
        OWN_PARAMS,
        /* libssl names the group of X25519 and X448 too */
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_END,
    };

    switch (type) {
    case KEY_RSA:
        return rsa;
    case KEY_RSA_PSS:
        return rsa_pss;
    case KEY_EC:
        return ec;
    default:
        return raw;
    }
}

void *keygen_gen(void *vctx, OSSL_CALLBACK *callback, void *arg)
{
    const struct keygen *ctx = vctx;
    struct key *key;

    (void)callback;
    (void)arg;
    if (!key_type_is_rsa(ctx->generation.type) && ctx->generation.curve == NULL) {
        (void)refuse(ctx->generation.provider, "cannot generate a key:", "no curve is set");
        return NULL;
    }
    if (!ctx->parameters_only)
        return key_generate(&ctx->generation);
    key = key_new(ctx->generation.provider, ctx->generation.type);
    if (key != NULL)
        key->curve = ctx->generation.curve;
    return key;
}
