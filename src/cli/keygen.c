/* pkcs11-bridge keygen: a key pair made on a token, as openssl genpkey would have it made. */
#include <limits.h>
#include <string.h>
#include <strings.h>

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "cli/cli.h"
#include "cli/key.h"
#include "cli/say.h"
#include "instance/host.h"
#include "pkcs11_bridge.h"

enum { TYPE, USAGE, ADD };
static const struct option_row options[] = {
    [TYPE] = { "type", "TYPE",
               "RSA:BITS, RSA-PSS:BITS, EC:CURVE, ED25519, ED448, X25519, X448; EC:P-256 without" },
    [USAGE] = { "usage", "LIST",
                "what it may do, as RFC 5280 calls it: digitalSignature keyAgreement ..." },
    [ADD] = { "add", NULL, "also where a key has that label or id already" },
    { NULL, NULL, NULL },
};

/* What a type may have behind a colon. */
static const struct kind {
    const char *name;
    enum { NOTHING, BITS, CURVE } detail;
} kinds[] = { { "RSA", BITS },        { "RSA-PSS", BITS },  { "EC", CURVE },
              { "ED25519", NOTHING }, { "ED448", NOTHING }, { "X25519", NOTHING },
              { "X448", NOTHING } };

#define RSA_BITS_DEFAULT 3072

struct order {
    const struct kind *kind;
    const char *curve;
    unsigned bits;
};

static bool bad_type(const char *type)
{
    complain("--type %s: %s", type, options[TYPE].help);
    return false;
}

static bool read_type(const char *type, struct order *order)
{
    size_t len = strcspn(type, ":");
    const char *detail = type[len] == ':' ? type + len + 1 : NULL;
    unsigned long bits;
    char *end = NULL;

    *order = (struct order){ .curve = detail != NULL ? detail : "P-256", .bits = RSA_BITS_DEFAULT };
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (strlen(kinds[i].name) == len && strncasecmp(kinds[i].name, type, len) == 0)
            order->kind = &kinds[i];
    if (order->kind == NULL || (detail != NULL && order->kind->detail == NOTHING))
        return bad_type(type);
    if (detail == NULL || order->kind->detail != BITS)
        return true;
    bits = strtoul(detail, &end, 10);
    order->bits = (unsigned)bits;
    return (detail[0] >= '1' && detail[0] <= '9' && *end == '\0' && bits <= UINT_MAX) ||
           bad_type(type);
}

static OSSL_PARAM text_param(const char *key, const char *value)
{
    return OSSL_PARAM_construct_utf8_string(key, (char *)(uintptr_t)value, 0);
}

static EVP_PKEY *generate(struct call *call, struct order *order)
{
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *ctx =
        EVP_PKEY_CTX_new_from_name(call->context.libctx, order->kind->name, OUR_PROPERTIES);
    OSSL_PARAM params[6], *next = params;
    EVP_PKEY *pkey = NULL;

    *next++ = text_param(PKCS11_BRIDGE_KEYGEN_URI, call->operands[0]);
    if (call_option(call, USAGE) != NULL)
        *next++ = text_param(PKCS11_BRIDGE_KEYGEN_USAGE, call_option(call, USAGE));
    if (call_option(call, ADD) != NULL)
        *next++ = text_param(PKCS11_BRIDGE_KEYGEN_IF_EXISTS, "add");
    if (order->kind->detail == BITS)
        *next++ = OSSL_PARAM_construct_uint(OSSL_PKEY_PARAM_RSA_BITS, &order->bits);
    if (order->kind->detail == CURVE)
        *next++ = text_param(OSSL_PKEY_PARAM_GROUP_NAME, order->curve);
    *next = OSSL_PARAM_construct_end();
    if (ctx == NULL || EVP_PKEY_keygen_init(ctx) <= 0 ||
        EVP_PKEY_CTX_set_params(ctx, params) <= 0 || EVP_PKEY_generate(ctx, &pkey) <= 0)
        return NULL;
    return pkey;
}

static enum status keygen(struct call *call)
{
    const char *type = call_option(call, TYPE);
    _cleanup_(pkey_scoped) EVP_PKEY *pkey = NULL;
    _cleanup_(free_scoped) char *uri = NULL;
    struct order order;

    if (!read_type(type != NULL ? type : "EC:P-256", &order))
        return STATUS_USAGE;
    pkey = generate(call, &order);
    uri = pkey != NULL ? key_uri(&call->context, pkey) : NULL;
    if (uri == NULL) {
        complain_openssl("the key could not be made");
        return STATUS_FAILED;
    }
    call_tell_uri(call, uri);
    return STATUS_DONE;
}

const struct subcommand keygen_subcommand = {
    .name = "keygen",
    .operands = "URI",
    .least = 1,
    .most = 1,
    .summary = "Makes a key pair on the token, with the label and id of the URI, and says its URI",
    .options = options,
    .run = keygen,
};
