/* TLS groups and signature algorithms (provider-base(7), CAPABILITIES). libssl takes either from
 * the provider whose keymgmt it fetches for its type. Where this provider is listed first or
 * preferred, that is this one, and without these entries there would be none at all. A group that
 * is offered and then fails ends the handshake, one that is not offered is passed over: where the
 * ephemeral keys are the token's, only what about every token can generate is here. Few have
 * X25519, and one that makes such keys with the libcrypto of this process (SoftHSM) would be led
 * back to this provider.
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
    bool kem;
};

static const struct group groups[] = {
    { "secp256r1", "prime256v1", "EC", 23, 128, false, false },
    { "P-256", "prime256v1", "EC", 23, 128, false, false },
    { "secp384r1", "secp384r1", "EC", 24, 192, false, false },
    { "P-384", "secp384r1", "EC", 24, 192, false, false },
    { "secp521r1", "secp521r1", "EC", 25, 256, false, false },
    { "P-521", "secp521r1", "EC", 25, 256, false, false },
    { "x25519", "X25519", "X25519", 29, 128, true, false },
    { "X25519", "X25519", "X25519", 29, 128, true, false },
    { "x448", "X448", "X448", 30, 224, true, false },
    { "X448", "X448", "X448", 30, 224, true, false },
};

static char *text(const char *constant)
{
    return (char *)(uintptr_t)constant;
}

/* OSSL_CAPABILITY_TLS_GROUP_IS_KEM of OpenSSL 3.2 */
#define TLS_GROUP_IS_KEM "tls-group-is-kem"

/* Key encapsulation is TLS 1.3's alone. */
static int give(const struct group *group, OSSL_CALLBACK *callback, void *arg)
{
    unsigned id = group->id, bits = group->security_bits, kem = group->kem;
    int tls_least = group->kem ? TLS1_3_VERSION : TLS1_VERSION;
    int dtls_least = group->kem ? -1 : DTLS1_VERSION;
    int tls_most = 0, dtls_most = group->kem ? -1 : 0; /* 0: any */
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
        OSSL_PARAM_construct_uint(TLS_GROUP_IS_KEM, &kem),
        OSSL_PARAM_construct_end(),
    };

    return callback(params, arg);
}

/* Of OpenSSL 3.3 */
#define TLS_SIGALG_IANA_NAME     "tls-sigalg-iana-name"
#define TLS_SIGALG_NAME          "tls-sigalg-name"
#define TLS_SIGALG_CODE_POINT    "tls-sigalg-code-point"
#define TLS_SIGALG_SECURITY_BITS "tls-sigalg-sec-bits"

static int give_sigalg(const struct set *set, OSSL_CALLBACK *callback, void *arg)
{
    unsigned number = set->tls_number, bits = set->security_bits;
    int tls_least = TLS1_3_VERSION, tls_most = 0, dtls = -1;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(TLS_SIGALG_IANA_NAME, text(set->tls_name), 0),
        OSSL_PARAM_construct_utf8_string(TLS_SIGALG_NAME, text(set->name), 0),
        OSSL_PARAM_construct_uint(TLS_SIGALG_CODE_POINT, &number),
        OSSL_PARAM_construct_uint(TLS_SIGALG_SECURITY_BITS, &bits),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MIN_TLS, &tls_least),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MAX_TLS, &tls_most),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MIN_DTLS, &dtls),
        OSSL_PARAM_construct_int(OSSL_CAPABILITY_TLS_GROUP_MAX_DTLS, &dtls),
        OSSL_PARAM_construct_end(),
    };

    return callback(params, arg);
}

static bool made_in_software(struct provider *provider, const char *type)
{
    return !provider->config.ephemeral_on_token && host_leads_here(&provider->host, type);
}

static int give_groups(struct provider *provider, OSSL_CALLBACK *callback, void *arg)
{
    for (size_t i = 0; i < COUNT(groups); i++)
        if ((!groups[i].software || made_in_software(provider, groups[i].type)) &&
            !give(&groups[i], callback, arg))
            return 0;
    return 1;
}

/* Those of parameter sets, which are made in software only. */
static int give_set_groups(struct provider *provider, OSSL_CALLBACK *callback, void *arg)
{
    for (const struct set *set = sets; set < sets + SETS; set++) {
        const struct group group = { set->tls_name,      "",   set->name, set->tls_number,
                                     set->security_bits, true, true };

        if (!set->algorithm->signs && set->tls_name != NULL &&
            made_in_software(provider, set->name) && !give(&group, callback, arg))
            return 0;
    }
    return 1;
}

static int give_sigalgs(OSSL_CALLBACK *callback, void *arg)
{
    for (const struct set *set = sets; set < sets + SETS; set++)
        if (set->algorithm->signs && set->tls_name != NULL && !give_sigalg(set, callback, arg))
            return 0;
    return 1;
}

int capabilities_get(void *provctx, const char *capability, OSSL_CALLBACK *callback, void *arg)
{
    bool has_sets = OpenSSL_version_num() >= SINCE_3_5;

    if (strcmp(capability, "TLS-GROUP") == 0)
        return give_groups(provctx, callback, arg) &&
               (!has_sets || give_set_groups(provctx, callback, arg));
    return has_sets && strcmp(capability, "TLS-SIGALG") == 0 && give_sigalgs(callback, arg);
}
