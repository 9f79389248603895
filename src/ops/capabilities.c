/* TLS groups (provider-base(7), CAPABILITIES). libssl takes a group from the provider whose keymgmt
 * it fetches for the group's type. Where this provider is listed first or preferred, that is this
 * one, and without these entries there would be no groups at all. A group that is offered and then
 * fails ends the handshake, one that is not offered is passed over: where the ephemeral keys are
 * the token's, only what about every token can generate is here. Few have X25519, and one that
 * makes such keys with the libcrypto of this process (SoftHSM) would be led back to this provider.
 */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/ssl.h>

#include "base/scope.h"
#include "ops/algorithms.h"
#include "ops/ops.h"

struct group {
    const char *name;     /* in TLS */
    const char *internal; /* what the keymgmt calls it */
    const char *type;
    unsigned id; /* RFC 8422 §5.1.1 */
    unsigned security_bits;
    bool software; /* only where the key is made in software */
};

static const struct group groups[] = {
    { "secp256r1", "prime256v1", "EC", 23, 128, false },
    { "P-256", "prime256v1", "EC", 23, 128, false },
    { "secp384r1", "secp384r1", "EC", 24, 192, false },
    { "P-384", "secp384r1", "EC", 24, 192, false },
    { "secp521r1", "secp521r1", "EC", 25, 256, false },
    { "P-521", "secp521r1", "EC", 25, 256, false },
    { "x25519", "X25519", "X25519", 29, 128, true },
    { "X25519", "X25519", "X25519", 29, 128, true },
    { "x448", "X448", "X448", 30, 224, true },
    { "X448", "X448", "X448", 30, 224, true },
};

static char *text(const char *constant)
{
    return (char *)(uintptr_t)constant;
}

static int give(const struct group *group, OSSL_CALLBACK *callback, void *arg)
{
    unsigned id = group->id, bits = group->security_bits;
    int tls_least = TLS1_VERSION, dtls_least = DTLS1_VERSION;
    int tls_most = 0, dtls_most = 0; /* any */
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_CAPABILITY_TLS_GROUP_NAME, text(group->name), 0),
        OSSL_PARAM_construct_utf8_string(OSSL_CAPABILITY_TLS_GROUP_NAME_INTERNAL,
                                         text(group->internal), 0),
        OSSL_PARAM_construct_utf8_string(OSSL_CAPABILITY_TLS_GROUP_ALG, text(group->type), 0),
        OSSL_PARAM_construct_uint(OSSL_CAPABILITY_TLS_GROUP_ID, &id),
        OSSL_PARAM_construct_uint(OSSL_CAPABILITY_TLS_GROUP_SECURITY_BITS, &bits),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MIN_TLS, &tls_least),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MAX_TLS, &tls_most),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MIN_DTLS, &dtls_least),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MAX_DTLS, &dtls_most),
        OSSL_PARAM_construct_end(),
    };

    return callback(params, arg);
}

static bool made_in_software(struct provider *provider, const char *type)
{
    return !provider->config.ephemeral_on_token && host_leads_here(&provider->host, type);
}

int capabilities_get(void *provctx, const char *capability, OSSL_CALLBACK *callback, void *arg)
{
    struct provider *provider = provctx;

    if (strcmp(capability, "TLS-GROUP") != 0)
        return 0;
    for (size_t i = 0; i < COUNT(groups); i++)
        if ((!groups[i].software || made_in_software(provider, groups[i].type)) &&
            !give(&groups[i], callback, arg))
            return 0;
    return 1;
}
