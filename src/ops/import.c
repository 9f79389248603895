#include "ops/import.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "key/import.h"
#include "module/call.h"
#include "ops/params.h"

/* The number in a parameter, big-endian, into buf of size bytes; the length, 0 where there is none.
 */
static size_t param_number(const OSSL_PARAM params[], const char *name, uint8_t *buf, size_t size)
{
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, name);
    _cleanup_(bn_scoped) BIGNUM *bn = NULL;

    if (p == NULL || !OSSL_PARAM_get_BN(p, &bn) || (size_t)BN_num_bytes(bn) > size)
        return 0;
    return (size_t)BN_bn2bin(bn, buf);
}

static const char *private_name(const struct key *key)
{
    return key_type_is_rsa(key->type) ? OSSL_PKEY_PARAM_RSA_D : OSSL_PKEY_PARAM_PRIV_KEY;
}

/* Whether there is a private half to be dealt with. The peer of a key exchange may be a pair: of
 * that the public half is taken. */
static bool is_pair(const struct key *key, const OSSL_PARAM params[])
{
    if (OSSL_PARAM_locate_const(params, private_name(key)) == NULL)
        return false;
    return key_names[key->type].keyexch == NULL || !exchange_is_begun(key->provider);
}

/* Whether the other provider's key must stay where it is, and libcrypto goes on to a provider that
 * takes it. */
static bool is_foreign(const struct key *key, const OSSL_PARAM params[])
{
    if (key->provider->config.import_session)
        return call_inside(); /* a module that uses libcrypto works with keys of its own */
    return is_pair(key, params);
}

/* A key whose parameters restrict it, which would be lost here. */
static bool is_restricted(const struct key *key, const OSSL_PARAM params[])
{
    return key->type == KEY_RSA_PSS &&
           OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_DIGEST) != NULL;
}

/* A secret number, in len bytes or, where that is 0, in as many as it has. One that is not there is
 * left out. */
static bool add_number(struct import *import, CK_ATTRIBUTE_TYPE type, const OSSL_PARAM params[],
                       const char *name, size_t len)
{
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, name);
    _cleanup_(bn_scoped) BIGNUM *bn = BN_secure_new();
    uint8_t *value;

    if (p == NULL)
        return true;
    if (bn == NULL || !OSSL_PARAM_get_BN(p, &bn))
        return false;
    if (len == 0)
        len = (size_t)BN_num_bytes(bn);
    value = import_add(import, type, len);
    return value != NULL && BN_bn2binpad(bn, value, (int)len) >= 0;
}

static bool add_octets(struct import *import, const OSSL_PARAM params[])
{
    const void *octets = NULL;
    size_t len = 0;
    uint8_t *value = NULL;

    if (OSSL_PARAM_get_octet_string_ptr(OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PRIV_KEY),
                                        &octets, &len))
        value = import_add(import, CKA_VALUE, len);
    if (value != NULL)
        memcpy(value, octets, len);
    return value != NULL;
}

/* RFC 8017 §3.2: PKCS#11 has no keys of more than two primes. */
static bool add_rsa(struct import *import, const OSSL_PARAM params[])
{
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        const char *name;
    } numbers[] = {
        { CKA_PRIVATE_EXPONENT, OSSL_PKEY_PARAM_RSA_D },
        { CKA_PRIME_1, OSSL_PKEY_PARAM_RSA_FACTOR1 },
        { CKA_PRIME_2, OSSL_PKEY_PARAM_RSA_FACTOR2 },
        { CKA_EXPONENT_1, OSSL_PKEY_PARAM_RSA_EXPONENT1 },
        { CKA_EXPONENT_2, OSSL_PKEY_PARAM_RSA_EXPONENT2 },
        { CKA_COEFFICIENT, OSSL_PKEY_PARAM_RSA_COEFFICIENT1 },
    };
    bool ok = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_FACTOR3) == NULL;

    for (size_t i = 0; ok && i < COUNT(numbers); i++)
        ok = add_number(import, numbers[i].type, params, numbers[i].name, 0);
    return ok;
}

static bool add_values(const struct key *key, struct import *import, const OSSL_PARAM params[])
{
    if (key_type_is_rsa(key->type))
        return add_rsa(import, params);
    if (key->type != KEY_EC)
        return add_octets(import, params);
    return add_number(import, CKA_VALUE, params, OSSL_PKEY_PARAM_PRIV_KEY, (key_bits(key) + 7) / 8);
}

/* The private half, where there is one, to key, which has the public half. */
static bool import_private(struct key *key, const OSSL_PARAM params[])
{
    _cleanup_(import_end) struct import import = { .count = 0 };

    return !is_pair(key, params) ||
           (key_has_public(key) && add_values(key, &import, params) && key_import(key, &import));
}

int import_rsa(void *keydata, int selection, const OSSL_PARAM params[])
{
    struct key *key = keydata;
    uint8_t n[2048], e[1024];
    size_t n_len = param_number(params, OSSL_PKEY_PARAM_RSA_N, n, sizeof(n));
    size_t e_len = param_number(params, OSSL_PKEY_PARAM_RSA_E, e, sizeof(e));

    (void)selection;
    return !is_foreign(key, params) && !is_restricted(key, params) &&
           key_set_rsa(key, (struct view){ n, n_len }, (struct view){ e, e_len }) &&
           import_private(key, params);
}

int import_ec(void *keydata, int selection, const OSSL_PARAM params[])
{
    struct key *key = keydata;
    const OSSL_PARAM *group = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_GROUP_NAME);
    const OSSL_PARAM *pub = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PUB_KEY);
    const char *name = NULL;
    const void *point = NULL;
    size_t len = 0;

    if (group == NULL || is_foreign(key, params) || !text_param_get(group, &name))
        return 0;
    key->curve = curve_by_name(name);
    if (key->curve == NULL || (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) == 0 || pub == NULL)
        return key->curve != NULL && !is_pair(key, params);
    return OSSL_PARAM_get_octet_string_ptr(pub, &point, &len) &&
           key_set_ec(key, key->curve, (struct view){ point, len }) && import_private(key, params);
}

int import_raw(void *keydata, int selection, const OSSL_PARAM params[])
{
    struct key *key = keydata;
    const OSSL_PARAM *pub = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PUB_KEY);
    const void *point = NULL;
    size_t len = 0;

    (void)selection;
    key->curve = curve_by_name(key_names[key->type].type);
    return pub != NULL && !is_foreign(key, params) &&
           OSSL_PARAM_get_octet_string_ptr(pub, &point, &len) &&
           key_set_raw(key, (struct view){ point, len }) && import_private(key, params);
}
