#include "key/key.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/x509.h>

#include "base/rare.h"
#include "base/scope.h"
#include "der/spki.h"
#include "key/doubt.h"
#include "key/gcm.h"
#include "module/call.h"
#include "module/names.h"
#include "token/run.h"
#include "token/tokens.h"
#include "uri/uri.h"

struct key *key_new(struct provider *provider, enum key_type type)
{
    struct key *key = OPENSSL_zalloc(sizeof(*key));

    if (key == NULL)
        return NULL;
    atomic_init(&key->holders, 1);
    key->provider = provider;
    key->type = type;
    return key;
}

struct key *key_ref(struct key *key)
{
    atomic_fetch_add(&key->holders, 1);
    return key;
}

RARE static void end(struct key *key)
{
    KEEP_ERRNO; /* an object of the session goes with its key */

    bytes_clear(&key->n);
    bytes_clear(&key->e);
    bytes_clear(&key->point);
    bytes_clear(&key->check);
    OPENSSL_free(atomic_load(&key->uri));
    secret_free(atomic_load(&key->value));
    gcm_counter_free(atomic_load(&key->counter));
    if (key->object != NULL)
        object_clear(key->object);
    OPENSSL_free(key->object);
    if (key->twin != NULL)
        object_clear(key->twin);
    OPENSSL_free(key->twin);
    pkey_release(atomic_load(&key->host));
    secret_free(atomic_load(&key->rejection));
    doubt_free(key->doubt);
    OPENSSL_free(key);
}

void key_free(struct key *key)
{
    if (key != NULL && atomic_fetch_sub(&key->holders, 1) == 1)
        end(key);
}

void key_scoped(struct key **key)
{
    key_free(*key);
}

/* Bytes: no padding fits into less, and 512 bits are what libcrypto generates at least. */
#define RSA_MODULUS_LEAST 64

bool key_set_rsa(struct key *key, struct view n, struct view e)
{
    n = view_strip(n);
    e = view_strip(e);
    return key_type_is_rsa(key->type) && key->n.data == NULL && n.len >= RSA_MODULUS_LEAST &&
           n.len <= 2048 && (n.data[n.len - 1] & 1) != 0 && e.len != 0 && e.len <= n.len &&
           bytes_set(&key->n, n.data, n.len) && bytes_set(&key->e, e.data, e.len);
}

enum key_type key_type_of(const struct curve *curve)
{
    return (enum key_type)(KEY_EC + (int)curve->kind);
}

enum key_type key_type_of_set(const struct set *set)
{
    return (enum key_type)(KEY_SET + (set - sets));
}

/* One coordinate of software's point, as long as the field's elements are. */
static bool coordinate(const EVP_PKEY *software, const char *name, uint8_t *out, size_t len)
{
    _cleanup_(bn_scoped) BIGNUM *bn = NULL;

    return EVP_PKEY_get_bn_param(software, name, &bn) == 1 && BN_bn2binpad(bn, out, (int)len) > 0;
}

/* Gives the point, compressed or in another form that the host knows (SEC 1 §2.3.3), the form that
 * tokens know. out: curve_point_bytes bytes. */
static bool point_unfold(struct key *key, const struct curve *curve, struct view point,
                         uint8_t *out)
{
    HOST_WORK;
    uint8_t der[EC_POINT_MAX + SPKI_OVERHEAD];
    const unsigned char *position = der;
    size_t field = curve_field_bytes(curve), len = 0;
    _cleanup_(pkey_scoped) EVP_PKEY *software = NULL;

    if (curve->kind != CURVE_EC || point.len == 0 || point.len > EC_POINT_MAX || libcrypto_ended())
        return false;
    len = spki_write_ec(curve->oid, point, der, sizeof(der));
    software =
        d2i_PUBKEY_ex(NULL, &position, (long)len, key->provider->host.libctx, HOST_PROPERTIES);
    out[0] = 0x04;
    return software != NULL && coordinate(software, OSSL_PKEY_PARAM_EC_PUB_X, out + 1, field) &&
           coordinate(software, OSSL_PKEY_PARAM_EC_PUB_Y, out + 1 + field, field);
}

static bool point_set(struct key *key, const struct curve *curve, struct view point)
{
    uint8_t unfolded[EC_POINT_MAX];

    if (!curve_point_fits(curve, point)) {
        if (!point_unfold(key, curve, point, unfolded))
            return false;
        point = (struct view){ unfolded, curve_point_bytes(curve) };
    }
    bytes_clear(&key->point);
    return bytes_set(&key->point, point.data, point.len);
}

static bool set_bytes(struct key *key, struct view bytes)
{
    if (bytes.len != key_set(key)->public_len)
        return false;
    bytes_clear(&key->point);
    return bytes_set(&key->point, bytes.data, bytes.len);
}

static bool raw_set(struct key *key, struct view point)
{
    return key_has_set(key) ? set_bytes(key, point)
                            : key->curve != NULL && point_set(key, key->curve, point);
}

bool key_set_ec(struct key *key, const struct curve *curve, struct view point)
{
    if (curve == NULL || key->type != key_type_of(curve) || key->point.data != NULL)
        return false;
    key->curve = curve;
    return point_set(key, curve, point);
}

bool key_set_raw(struct key *key, struct view point)
{
    return key->point.data == NULL && !key_type_is_rsa(key->type) && raw_set(key, point);
}

bool key_set_public(struct key *key, const struct key *from)
{
    if (key_type_is_rsa(from->type))
        return key_set_rsa(key, view_bytes(&from->n), view_bytes(&from->e));
    key->curve = from->curve;
    return key->type == from->type && key_set_raw(key, view_bytes(&from->point));
}

bool key_replace_point(struct key *key, struct view point)
{
    if (!key_can_change(key) || !raw_set(key, point))
        return false;
    pkey_release(atomic_exchange(&key->host, NULL));
    key->software = SOFTWARE_NOT;
    return true;
}

bool key_on_curve(struct key *key)
{
    return key->type != KEY_EC || key_host(key) != NULL; /* no host makes a key of another point */
}

bool key_has_public(const struct key *key)
{
    return key->software > SOFTWARE_PARAMETERS ||
           (key_type_is_rsa(key->type) ? key->n.data != NULL : key->point.data != NULL);
}

bool key_is_private(const struct key *key)
{
    return key->object != NULL || key->software > SOFTWARE_PUBLIC;
}

bool key_same_public(const struct key *a, const struct key *b)
{
    return a->type == b->type && a->curve == b->curve && bytes_equal(&a->n, &b->n) &&
           bytes_equal(&a->e, &b->e) && bytes_equal(&a->point, &b->point);
}

static unsigned bit_length(const struct bytes *number)
{
    unsigned bits = (unsigned)number->len * 8;

    for (uint8_t top = number->len != 0 ? number->data[0] : 0x80; (top & 0x80) == 0;
         top = (uint8_t)(top << 1))
        bits--;
    return bits;
}

/* Whether there is something to be measured: parameters are a curve without a point. */
static bool has_size(const struct key *key)
{
    return key_type_is_rsa(key->type) ? key->n.data != NULL
                                      : key->curve != NULL || key_has_set(key);
}

unsigned key_bits(const struct key *key)
{
    if (!has_size(key))
        return 0;
    if (key_has_set(key))
        return key_set(key)->bits;
    return key_type_is_rsa(key->type) ? bit_length(&key->n) : key->curve->order_bits;
}

/* SP 800-56B appendix D, rounded to a multiple of 8 as OpenSSL does, which has the published values
 * of SP 800-57 part 1 for the usual lengths. */
static unsigned rsa_security_bits(unsigned bits)
{
    static const struct {
        unsigned bits, security;
    } published[] = { { 2048, 112 }, { 3072, 128 }, { 4096, 152 }, { 6144, 176 },
                      { 7680, 192 }, { 8192, 200 }, { 15360, 256 } };
    double x = bits * log(2);
    unsigned strength;

    for (size_t i = 0; i < COUNT(published); i++)
        if (published[i].bits == bits)
            return published[i].security;
    if (bits < 8)
        return 0;
    strength = (unsigned)((1.923 * cbrt(x * log(x) * log(x)) - 4.69) / log(2));
    return (strength + 4) / 8 * 8;
}

unsigned key_security_bits(const struct key *key)
{
    if (!has_size(key))
        return 0;
    if (key_has_set(key))
        return key_set(key)->security_bits;
    return key_type_is_rsa(key->type) ? rsa_security_bits(key_bits(key))
                                      : curve_security_bits(key->curve);
}

uint8_t *key_spki(const struct key *key, size_t *len)
{
    size_t room = key->n.len + key->e.len + key->point.len + SPKI_OVERHEAD;
    _cleanup_(free_scoped) uint8_t *der = key_has_public(key) ? OPENSSL_malloc(room) : NULL;

    if (der == NULL)
        return NULL;
    if (key_type_is_rsa(key->type))
        *len = spki_write_rsa(view_bytes(&key->n), view_bytes(&key->e), key->type == KEY_RSA_PSS,
                              der, room);
    else if (key->type == KEY_EC)
        *len = spki_write_ec(key->curve->oid, view_bytes(&key->point), der, room);
    else
        *len = spki_write_raw(key_has_set(key) ? key_set(key)->oid : key->curve->oid,
                              view_bytes(&key->point), der, room);
    return *len != 0 ? MOVE(der) : NULL;
}

static EVP_PKEY *host_make(struct key *key)
{
    HOST_WORK;
    OSSL_LIB_CTX *libctx = key->provider->host.libctx;
    size_t len = 0;
    _cleanup_(free_scoped) uint8_t *der = key_spki(key, &len);
    const unsigned char *position = der;

    return der != NULL ? d2i_PUBKEY_ex(NULL, &position, (long)len, libctx, HOST_PROPERTIES) : NULL;
}

EVP_PKEY *key_host(struct key *key)
{
    EVP_PKEY *host = atomic_load(&key->host), *none = NULL;

    if (libcrypto_ended())
        return NULL;
    if (host != NULL)
        return host;
    host = host_make(key);
    if (host == NULL)
        error_raise(&key->provider->core, REASON_UNSUPPORTED,
                    "no active provider takes the public key, which verification and encryption on "
                    "the host need: activate default, or fips, in openssl.cnf; FIPS may also rule "
                    "out its curve or size");
    if (host == NULL || atomic_compare_exchange_strong(&key->host, &none, host))
        return host;
    pkey_release(host);
    return none;
}

bool key_failed(const struct key *key, const char *verb, CK_MECHANISM_TYPE mechanism, CK_RV rv)
{
    bool blind = key->object != NULL && ckr_is_blind(call_name(), rv);
    char uri[512];

    error_raise_ckr(&key->provider->core, REASON_OPERATION, rv, "%s (%s) with %s%s%s", verb,
                    mechanism_name(mechanism), key_describe(key, uri, sizeof(uri)),
                    blind ? " in " : "", blind ? key->object->slot->module->path : "");
    return false;
}

CK_RV key_has_mechanism(struct key *key, CK_MECHANISM_TYPE mechanism, CK_FLAGS flags, bool *has)
{
    *has = false;
    return object_allows(key->object, mechanism)
               ? run_mechanism(key->object->slot, mechanism, flags, has)
               : CKR_OK;
}

static bool not_permitted(const struct key *key, bool permitted, const char *attribute,
                          const char *verb, CK_MECHANISM_TYPE mechanism)
{
    char uri[512];

    (void)key_describe(key, uri, sizeof(uri));
    if (!permitted)
        error_raise(&key->provider->core, REASON_KEY, "cannot %s with %s: the key's %s is off",
                    verb, uri, attribute);
    else
        error_raise(&key->provider->core, REASON_KEY,
                    "cannot %s with %s: the key's CKA_ALLOWED_MECHANISMS does not have %s", verb,
                    uri, mechanism_name(mechanism));
    return false;
}

bool key_permits(const struct key *key, bool permitted, const char *attribute, const char *verb,
                 CK_MECHANISM_TYPE mechanism)
{
    return (permitted && object_allows(key->object, mechanism)) ||
           not_permitted(key, permitted, attribute, verb, mechanism);
}

static const char *object_uri(const struct object *object, const CK_TOKEN_INFO *token, char *buf,
                              size_t size)
{
    char *uri = uri_format(token, object->class, object->id.data, object->id.len,
                           object->label.data, object->label.len);

    (void)snprintf(buf, size, "%s", uri != NULL ? uri : "pkcs11:");
    free(uri);
    return buf;
}

/* Whether other tokens may have the label of slot's, also where that cannot be found out. */
static bool label_is_shared(struct slot *slot)
{
    _cleanup_(free_scoped) struct token_list *list = NULL;
    const CK_UTF8CHAR *label = slot->token.info.label;
    unsigned count = 0;
    bool asked = false;

    if (tokens_there(slot, true, &list, &asked) != CKR_OK)
        return true;
    for (CK_ULONG i = 0; i < list->count; i++)
        count += list->seen[i].state == TOKEN_PRESENT &&
                 memcmp(list->seen[i].info.label, label, sizeof(list->seen[i].info.label)) == 0;
    return count != 1;
}

CK_TOKEN_INFO key_token_name(const struct provider *provider, struct slot *slot)
{
    const CK_TOKEN_INFO *info = &slot->token.info;
    CK_TOKEN_INFO least = { .flags = 0 };

    if (provider->config.pem_uri_full || slot->token.label[0] == '\0')
        return *info;
    memcpy(least.label, info->label, sizeof(least.label));
    if (label_is_shared(slot))
        memcpy(least.serialNumber, info->serialNumber, sizeof(least.serialNumber));
    return least;
}

const char *key_name(const struct key *key, char *buf, size_t size)
{
    CK_TOKEN_INFO info = key_token_name(key->provider, key->object->slot);

    return object_uri(key->object, &info, buf, size);
}

const char *key_describe(const struct key *key, char *buf, size_t size)
{
    const struct object *object = key->object != NULL ? key->object : key->twin;

    if (object != NULL)
        return object_uri(object, &object->slot->token.info, buf, size);
    (void)snprintf(buf, size, key_is_private(key) ? "a key in software" : "a public key");
    return buf;
}
