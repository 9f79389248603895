#include "key/half.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "base/scope.h"
#include "module/call.h"

/* As der_read, with the length in one byte where DER has it in two: tpm2-pkcs11's points of P-521.
 */
static bool read_short(struct view value, struct view *out)
{
    if (value.len < 2 || value.data[0] != DER_OCTET_STRING || value.data[1] != value.len - 2)
        return false;
    *out = (struct view){ value.data + 2, value.len - 2 };
    return true;
}

/* CKA_EC_POINT: an OCTET STRING around the point (PKCS#11 v3.1 §6.3.3), the bare point, or a BIT
 * STRING around it, as modules have it. */
static struct view ec_point(const struct curve *curve, struct view value)
{
    struct view rest = value, point;

    if (((der_read(&rest, DER_OCTET_STRING, &point) && rest.len == 0) ||
         read_short(value, &point)) &&
        curve_point_fits(curve, point))
        return point;
    rest = value;
    if (der_read(&rest, DER_BIT_STRING, &point) && rest.len == 0 && point.len > 1 &&
        point.data[0] == 0) {
        point = (struct view){ point.data + 1, point.len - 1 };
        if (curve_point_fits(curve, point))
            return point;
    }
    return curve_point_fits(curve, value) ? value : (struct view){ NULL, 0 };
}

const struct set *half_set(const struct attributes *attributes)
{
    return set_find(attribute_ulong(attributes, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION),
                    attribute_ulong(attributes, CKA_PARAMETER_SET, CK_UNAVAILABLE_INFORMATION));
}

/* Of a public object: what has another set is another key's. */
static enum half half_read_set(struct key *key, const struct attributes *attributes)
{
    struct view value = view_attribute(attributes, CKA_VALUE);

    if (value.len == 0)
        return HALF_ABSENT;
    return half_set(attributes) == key_set(key) && key_set_raw(key, value) ? HALF_READ
                                                                           : HALF_UNUSABLE;
}

enum half half_read(struct key *key, const struct attributes *attributes, const char **unusable)
{
    struct view n = view_attribute(attributes, CKA_MODULUS);
    struct view e = view_attribute(attributes, CKA_PUBLIC_EXPONENT);
    struct view params = view_attribute(attributes, CKA_EC_PARAMS);
    struct view point = view_attribute(attributes, CKA_EC_POINT);
    const struct curve *curve;

    *unusable = "its attributes are not those of a key";
    if (key_type_is_rsa(key->type)) {
        if (n.len == 0 || e.len == 0)
            return HALF_ABSENT;
        return key_set_rsa(key, n, e) ? HALF_READ : HALF_UNUSABLE;
    }
    if (key_has_set(key))
        return half_read_set(key, attributes);
    curve = curve_by_params(params);
    if (point.len == 0)
        return HALF_ABSENT;
    if (curve == NULL || key_type_of(curve) != key->type)
        return HALF_UNUSABLE;
    return key_set_ec(key, curve, ec_point(curve, point)) ? HALF_READ : HALF_UNUSABLE;
}

/* A certificate may be another key's, on another curve with points of the same length, or of
 * another set. */
static bool on_curve(const struct curve *curve, const EVP_PKEY *software)
{
    char group[64];
    size_t len;

    return curve_by_name(EVP_PKEY_get_group_name(software, group, sizeof(group), &len) == 1
                             ? group
                             : EVP_PKEY_get0_type_name(software)) == curve;
}

static bool is_of_kind(const struct key *key, const EVP_PKEY *software)
{
    return key_has_set(key) ? EVP_PKEY_is_a(software, key_set(key)->name) == 1
                            : on_curve(key->curve, software);
}

/* Takes the public half from a software key of the same type. */
static bool half_from_software(struct key *key, EVP_PKEY *software)
{
    uint8_t point[KEY_POINT_MAX], n[2048], e[1024];
    BIGNUM *bn_n = NULL, *bn_e = NULL;
    size_t len = 0;
    bool ok;

    if (!key_type_is_rsa(key->type))
        return is_of_kind(key, software) &&
               EVP_PKEY_get_octet_string_param(software, OSSL_PKEY_PARAM_PUB_KEY, point,
                                               sizeof(point), &len) == 1 &&
               key_set_raw(key, (struct view){ point, len });
    ok = EVP_PKEY_get_bn_param(software, OSSL_PKEY_PARAM_RSA_N, &bn_n) == 1 &&
         EVP_PKEY_get_bn_param(software, OSSL_PKEY_PARAM_RSA_E, &bn_e) == 1 &&
         BN_num_bytes(bn_n) <= (int)sizeof(n) && BN_num_bytes(bn_e) <= (int)sizeof(e);
    if (ok)
        ok = key_set_rsa(key, (struct view){ n, (size_t)BN_bn2bin(bn_n, n) },
                         (struct view){ e, (size_t)BN_bn2bin(bn_e, e) });
    BN_free(bn_n);
    BN_free(bn_e);
    return ok;
}

bool half_from_spki(struct key *key, struct view der)
{
    HOST_WORK;
    const unsigned char *position = der.data;
    EVP_PKEY *software;
    bool ok;

    if (der.len == 0)
        return false;
    (void)ERR_set_mark(); /* one that is malformed is no error: the public half is looked for on */
    software =
        d2i_PUBKEY_ex(NULL, &position, (long)der.len, key->provider->host.libctx, HOST_PROPERTIES);
    ok = software != NULL && half_from_software(key, software);
    (void)ERR_pop_to_mark();
    pkey_release(software);
    return ok;
}

bool half_from_certificate(struct key *key, struct view der)
{
    HOST_WORK;
    const unsigned char *position = der.data;
    _cleanup_(x509_scoped) X509 *certificate =
        X509_new_ex(key->provider->host.libctx, HOST_PROPERTIES);
    bool ok;

    (void)ERR_set_mark(); /* one that is another key's, and of another type, is no error */
    ok = certificate != NULL && der.data != NULL &&
         d2i_X509(&certificate, &position, (long)der.len) != NULL &&
         half_from_software(key, X509_get0_pubkey(certificate));
    (void)ERR_pop_to_mark();
    return ok;
}
