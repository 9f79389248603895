#include "ops/import.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "key/import.h"
#include "key/software.h"
#include "module/call.h"
#include "ops/arrival.h"
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

static const char *public_name(const struct key *key)
{
    return key_type_is_rsa(key->type) ? OSSL_PKEY_PARAM_RSA_N : OSSL_PKEY_PARAM_PUB_KEY;
}

static bool is_pair(const struct key *key, const OSSL_PARAM params[])
{
    return OSSL_PARAM_locate_const(params, private_name(key)) != NULL;
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

/* The private half to key, which has the public half. */
static bool import_values(struct key *key, const struct import_order *order,
                          const OSSL_PARAM params[])
{
    _cleanup_(import_end) struct import import = { .count = 0 };

    return add_values(key, &import, params) && key_import(key, &import, order);
}

static bool import_wrapped(struct key *key, struct arrival *arrival, struct import_order *order)
{
    order->way = arrival_way(arrival);
    return order->way != NULL && key_import(key, NULL, order);
}

static bool import_to_token(struct key *key, struct arrival *arrival, const OSSL_PARAM params[])
{
    struct import_order order = { .uri = arrival->uri,
                                  .add = arrival->add,
                                  .extractable = arrival->extractable };

    return arrival->wrapped.data != NULL ? import_wrapped(key, arrival, &order)
                                         : import_values(key, &order, params);
}

/* The public half as tokens have it; false where it is of no kind that they have. */
static bool fill_rsa(struct key *key, const OSSL_PARAM params[])
{
    uint8_t n[2048], e[1024];
    size_t n_len = param_number(params, OSSL_PKEY_PARAM_RSA_N, n, sizeof(n));
    size_t e_len = param_number(params, OSSL_PKEY_PARAM_RSA_E, e, sizeof(e));

    return key_set_rsa(key, (struct view){ n, n_len }, (struct view){ e, e_len });
}

/* Also a curve without a point. */
static bool fill_ec(struct key *key, const OSSL_PARAM params[])
{
    const OSSL_PARAM *group = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_GROUP_NAME);
    const OSSL_PARAM *pub = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PUB_KEY);
    const char *name = NULL;
    const void *point = NULL;
    size_t len = 0;

    if (group == NULL || !text_param_get(group, &name))
        return false;
    key->curve = curve_by_name(name);
    return key->curve != NULL &&
           (pub == NULL || (OSSL_PARAM_get_octet_string_ptr(pub, &point, &len) &&
                            key_set_ec(key, key->curve, (struct view){ point, len })));
}

static bool fill_raw(struct key *key, const OSSL_PARAM params[])
{
    const OSSL_PARAM *pub = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PUB_KEY);
    const void *point = NULL;
    size_t len = 0;

    key->curve = curve_by_name(key_names[key->type].type);
    return pub != NULL && OSSL_PARAM_get_octet_string_ptr(pub, &point, &len) &&
           key_set_raw(key, (struct view){ point, len });
}

static bool fill(struct key *key, const OSSL_PARAM params[])
{
    if (key_type_is_rsa(key->type))
        return fill_rsa(key, params);
    return key->type == KEY_EC ? fill_ec(key, params) : fill_raw(key, params);
}

/* One that no table here has: with or without a point, it is the host's. */
static bool is_strange_curve(const struct key *key)
{
    return key->type == KEY_EC && key->curve == NULL;
}

static bool hold(struct key *key, bool pair, const OSSL_PARAM params[])
{
    enum software kind = pair ? SOFTWARE_PAIR : SOFTWARE_PUBLIC;

    if (OSSL_PARAM_locate_const(params, public_name(key)) == NULL) {
        if (pair || !is_strange_curve(key))
            return false;
        kind = SOFTWARE_PARAMETERS;
    }
    return software_import(key, key_names[key->type].type, kind, params);
}

int import_held(const OSSL_PARAM params[], void *key)
{
    (void)fill(key, params);
    return hold(key, is_pair(key, params), params);
}

/* A public key that no other provider takes, or that a module brings from inside one of its calls,
 * is kept without. */
static bool import_public(struct key *key, bool known, const OSSL_PARAM params[])
{
    bool held;

    (void)ERR_set_mark();
    held = !call_inside() && hold(key, false, params);
    (void)(held || known ? ERR_pop_to_mark() : ERR_clear_last_mark());
    return held || known;
}

/* What libcrypto brings stays on the host, keys on curves that are not known here too, but a pair
 * that is to be on the token is made objects of it. A module that uses libcrypto works with keys of
 * its own: no private key is taken from inside one of its calls. */
static int import(struct key *key, int selection, const OSSL_PARAM params[],
                  struct arrival *arrival)
{
    bool wrapped = arrival->wrapped.data != NULL;
    bool pair =
        (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 && (wrapped || is_pair(key, params));
    bool to_token = key->provider->config.import_session || arrival->uri != NULL || wrapped;
    bool known;

    if ((pair || to_token) && call_inside())
        return 0;
    known = fill(key, params);
    if (wrapped && key_type_is_rsa(key->type) && !key_has_public(key))
        return import_to_token(key, arrival, params);
    if (!known && !is_strange_curve(key))
        return 0;
    known = known && !is_restricted(key, params);
    if (!pair)
        return import_public(key, known, params);
    if (!to_token)
        return hold(key, true, params);
    return known && key_has_public(key) && import_to_token(key, arrival, params);
}

int keymgmt_import(void *vkey, int selection, const OSSL_PARAM params[])
{
    struct key *key = vkey;
    _cleanup_(arrival_clear) struct arrival arrival;

    return arrival_read(&arrival, key->provider, params) &&
           import(key, selection, params, &arrival);
}
