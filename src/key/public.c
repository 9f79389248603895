#include "key/public.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "base/scope.h"
#include "key/index.h"
#include "key/pairing.h"
#include "module/call.h"
#include "token/admit.h"

/* Of an object whose class is not known: what is asked of a private key comes after the first two.
 */
static const CK_ATTRIBUTE_TYPE any_attributes[] = {
    CKA_CLASS,
    CKA_EC_POINT,
    CKA_KEY_TYPE,
    CKA_ID,
    CKA_LABEL,
    CKA_MODULUS,
    CKA_PUBLIC_EXPONENT,
    CKA_EC_PARAMS,
    CKA_ALWAYS_AUTHENTICATE,
    CKA_PUBLIC_KEY_INFO,
    CKA_SIGN,
    CKA_DECRYPT,
    CKA_DERIVE,
    CKA_ALLOWED_MECHANISMS, /* last: a quirk leaves it out */
};
#define PRIVATE_FROM 2
static const CK_ATTRIBUTE_TYPE public_attributes[] = {
    CKA_KEY_TYPE,        CKA_ID,        CKA_LABEL,    CKA_MODULUS,
    CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS, CKA_EC_POINT, CKA_ALLOWED_MECHANISMS, /* last, as above */
};

/* Of a certificate, whose CKA_VALUE is absent where it is a long one; and of a private key, for its
 * public half. */
static const CK_ATTRIBUTE_TYPE certificate_attributes[] = { CKA_ID, CKA_LABEL, CKA_VALUE };
static const CK_ATTRIBUTE_TYPE restriction_attributes[] = { CKA_KEY_TYPE, CKA_ID, CKA_LABEL,
                                                            CKA_MODULUS, CKA_ALLOWED_MECHANISMS };

/* Read besides, of keys of parameter sets only: older tokens do not know them, and the CKA_VALUE of
 * a private key is not for reading. */
static const CK_ATTRIBUTE_TYPE set_public_attributes[] = { CKA_PARAMETER_SET, CKA_VALUE };
static const CK_ATTRIBUTE_TYPE set_private_attributes[] = { CKA_PARAMETER_SET, CKA_DECAPSULATE };

static struct view view_attribute(const struct attributes *attributes, CK_ATTRIBUTE_TYPE type)
{
    return attribute_view(attribute(attributes, type));
}

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

enum half { HALF_READ, HALF_ABSENT, HALF_UNUSABLE };

static const struct set *attributes_set(const struct attributes *attributes)
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
    return attributes_set(attributes) == key_set(key) && key_set_raw(key, value) ? HALF_READ
                                                                                 : HALF_UNUSABLE;
}

static enum half half_read(struct key *key, const struct attributes *attributes,
                           const char **unusable)
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

/* CKA_PUBLIC_KEY_INFO: a SubjectPublicKeyInfo, PKCS#11 v3.1 §4.7. */
static bool half_from_spki(struct key *key, struct view der)
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

static bool half_from_certificate_der(struct key *key, struct view der)
{
    HOST_WORK;
    const unsigned char *position = der.data;
    X509 *certificate = X509_new_ex(key->provider->host.libctx, HOST_PROPERTIES);
    bool ok;

    (void)ERR_set_mark(); /* one that is another key's, and of another type, is no error */
    ok = certificate != NULL && der.data != NULL &&
         d2i_X509(&certificate, &position, (long)der.len) != NULL &&
         half_from_software(key, X509_get0_pubkey(certificate));
    (void)ERR_pop_to_mark();
    x509_release(certificate);
    return ok;
}

/* By what the two halves of a key belong together: the CKA_ID, or the label where there is none. */
static const CK_ATTRIBUTE *bond_name(const struct attributes *attributes)
{
    const CK_ATTRIBUTE *name = attribute(attributes, CKA_ID);

    return name != NULL ? name : attribute(attributes, CKA_LABEL);
}

/* Objects of this class beside the one that attributes are of; type: NULL for any. */
static CK_RV search_beside(struct session *session, const struct attributes *attributes,
                           CK_OBJECT_CLASS class, CK_KEY_TYPE *type, struct handles *out)
{
    const CK_ATTRIBUTE *name = bond_name(attributes);
    CK_ATTRIBUTE template[3] = { { CKA_CLASS, &class, sizeof(class) } };
    CK_ULONG count = 1;

    out->count = 0;
    if (name == NULL)
        return CKR_OK;
    template[count++] = *name;
    if (type != NULL)
        template[count++] = (CK_ATTRIBUTE){ CKA_KEY_TYPE, type, sizeof(*type) };
    return session_find_all(session, template, count, END_WHEN_FEWER, out);
}

static CK_RV add_public_object(struct pairing *pairing, const struct attributes *shown,
                               const char **unusable)
{
    struct key *half = pairing_new_half(pairing);
    const char *why;

    if (half == NULL)
        return CKR_HOST_MEMORY;
    if (half_read(half, shown, &why) == HALF_READ) {
        pairing_add(pairing, half, attribute(shown, CKA_LABEL));
        return CKR_OK;
    }
    *unusable =
        "the public key object that goes with it has no public key in it that fits: look "
        "at its CKA_MODULUS and CKA_PUBLIC_EXPONENT, its CKA_EC_PARAMS and CKA_EC_POINT, or "
        "its CKA_PARAMETER_SET and CKA_VALUE";
    key_free(half);
    return CKR_OK;
}

static CK_RV add_twins(struct pairing *pairing, const struct twins *twins, const char **unusable)
{
    CK_RV rv = CKR_OK;

    pairing->rivals = twins->rivals;
    pairing->rival_count = twins->rival_count;
    pairing->doubt = twins->ask;
    for (CK_ULONG i = 0; rv == CKR_OK && i < twins->count; i++)
        rv = add_public_object(pairing, twins->list[i], unusable);
    return rv;
}

static CK_RV add_public_indexed(struct pairing *pairing, const struct indexed *object,
                                const char **unusable)
{
    const struct attributes *shown = object->attributes;
    CK_ULONG type = attribute_ulong(pairing->attributes, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);

    return attribute_ulong(shown, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION) == type
               ? add_public_object(pairing, shown, unusable)
               : CKR_OK;
}

/* What is behind the first attributes of a key of parameter sets. */
static CK_RV read_set(struct session *session, struct handle handle, CK_OBJECT_CLASS class,
                      struct attributes *out)
{
    CK_KEY_TYPE type = attribute_ulong(out, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
    const struct set_algorithm *algorithm = set_algorithm_of(type);

    if (algorithm == NULL || !sets_known())
        return CKR_OK;
    if (class == CKO_PUBLIC_KEY)
        return attributes_read_more(session, handle, set_public_attributes,
                                    COUNT(set_public_attributes), out);
    return attributes_read_more(session, handle, set_private_attributes,
                                algorithm->signs ? 1 : COUNT(set_private_attributes), out);
}

static CK_RV read_public(struct session *session, struct handle handle, CK_ULONG count,
                         struct attributes *out)
{
    CK_RV rv = attributes_read(session, handle, public_attributes, count, out);

    return rv == CKR_OK ? read_set(session, handle, CKO_PUBLIC_KEY, out) : rv;
}

static CK_RV add_public_searched(struct pairing *pairing, const char **unusable)
{
    CK_KEY_TYPE type =
        attribute_ulong(pairing->attributes, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
    _cleanup_(handles_clear) struct handles found = { .list = NULL };
    _cleanup_(free_scoped) struct attributes *shown = OPENSSL_malloc(sizeof(*shown));
    CK_RV rv = shown != NULL ? CKR_OK : CKR_HOST_MEMORY;

    if (rv == CKR_OK)
        rv = search_beside(pairing->session, pairing->attributes, CKO_PUBLIC_KEY, &type, &found);
    for (CK_ULONG i = 0; rv == CKR_OK && i < found.count && !pairing->crowded; i++) {
        rv = read_public(pairing->session, found.list[i], COUNT(public_attributes) - 1, shown);
        if (rv == CKR_OK)
            rv = add_public_object(pairing, shown, unusable);
    }
    return rv;
}

static CK_RV add_der(struct pairing *pairing, struct view der, const CK_ATTRIBUTE *label)
{
    struct key *half = pairing_new_half(pairing);

    if (half == NULL)
        return CKR_HOST_MEMORY;
    if (half_from_certificate_der(half, der))
        pairing_add(pairing, half, label);
    else
        key_free(half);
    return CKR_OK;
}

/* What was read of it: the label, and the whole of it unless it is a long one. */
static CK_RV add_certificate(struct pairing *pairing, struct handle handle,
                             const struct attributes *shown)
{
    _cleanup_(bytes_clear) struct bytes der = { NULL, 0 };
    CK_RV rv = CKR_OK;

    if (attribute(shown, CKA_VALUE) == NULL)
        rv = attribute_value(pairing->session, handle, CKA_VALUE, &der);
    if (rv != CKR_OK)
        return rv;
    return add_der(pairing, der.data != NULL ? view_bytes(&der) : view_attribute(shown, CKA_VALUE),
                   attribute(shown, CKA_LABEL));
}

static CK_RV add_certificate_indexed(struct pairing *pairing, const struct indexed *object,
                                     const char **unusable)
{
    (void)unusable;
    return add_certificate(pairing, object->handle, object->attributes);
}

static CK_RV add_certificates_searched(struct pairing *pairing, const char **unusable)
{
    _cleanup_(handles_clear) struct handles found = { .list = NULL };
    _cleanup_(free_scoped) struct attributes *shown = OPENSSL_malloc(sizeof(*shown));
    CK_RV rv = shown != NULL ? CKR_OK : CKR_HOST_MEMORY;

    (void)unusable;
    if (rv == CKR_OK)
        rv = search_beside(pairing->session, pairing->attributes, CKO_CERTIFICATE, NULL, &found);
    for (CK_ULONG i = 0; rv == CKR_OK && i < found.count && !pairing->crowded; i++) {
        rv = attributes_read(pairing->session, found.list[i], certificate_attributes,
                             COUNT(certificate_attributes), shown);
        if (rv == CKR_OK)
            rv = add_certificate(pairing, found.list[i], shown);
    }
    return rv;
}

/* Objects of one class that may have the public half. */
struct source {
    enum index_part part;
    CK_RV (*indexed)(struct pairing *pairing, const struct indexed *object, const char **unusable);
    CK_RV (*searched)(struct pairing *pairing, const char **unusable);
};

static CK_RV add_indexed(struct pairing *pairing, const struct index *index,
                         const struct source *source, const char **unusable)
{
    const CK_ATTRIBUTE *name = bond_name(pairing->attributes);
    const struct indexed *const *first;
    CK_ULONG count = name != NULL ? index_find(index, source->part, name, &first) : 0;
    CK_RV rv = CKR_OK;

    for (CK_ULONG i = 0; rv == CKR_OK && i < count && !pairing->crowded; i++)
        rv = source->indexed(pairing, first[i], unusable);
    return rv;
}

/* From the index, where it has all there is; else by a search. */
static CK_RV add_source(struct pairing *pairing, struct index *index, const struct source *source,
                        const char **unusable)
{
    CK_RV rv;

    if (index_knows(index, pairing->session, source->part)) {
        rv = add_indexed(pairing, index, source, unusable);
        if (rv != CKR_OK || pairing->count > pairing->rejected || !index->parts[source->part].gaps)
            return rv;
    }
    index_want(index, source->part);
    return source->searched(pairing, unusable);
}

static CK_RV add_public_objects(struct pairing *pairing, const struct twins *twins,
                                const char **unusable)
{
    static const struct source source = { INDEX_PUBLIC, add_public_indexed, add_public_searched };

    return add_source(pairing, twins->index, &source, unusable);
}

/* Those with the same CKA_ID: a label is not enough. */
static CK_RV add_certificates(struct pairing *pairing, const struct twins *twins,
                              const char **unusable)
{
    static const struct source source = { INDEX_CERTIFICATE, add_certificate_indexed,
                                          add_certificates_searched };

    return attribute(pairing->attributes, CKA_ID) != NULL
               ? add_source(pairing, twins->index, &source, unusable)
               : CKR_OK;
}

/* Fills the public half of key from what belongs to it: the twins, whose names may be narrower than
 * its CKA_ID, then all public objects with that, then the certificates. */
static CK_RV half_from_others(struct pairing *pairing, struct key *key, const struct twins *twins,
                              const char **unusable, bool *read)
{
    static CK_RV (*const sources[])(struct pairing * pairing, const struct twins *twins,
                                    const char **unusable) = { add_twins, add_public_objects,
                                                               add_certificates };
    const struct key *half = NULL;
    bool ambiguous = false;
    CK_RV rv = CKR_OK;

    *unusable =
        "its public half is not on the token: a public key object or a certificate with the "
        "same CKA_ID is needed";
    for (size_t i = 0; rv == CKR_OK && half == NULL && !ambiguous && i < COUNT(sources); i++) {
        pairing_reject(pairing);
        rv = sources[i](pairing, twins, unusable);
        if (rv == CKR_OK)
            rv = pairing_choose(pairing, &half, &ambiguous, unusable);
    }
    *read = rv == CKR_OK && half != NULL && key_set_public(key, half);
    key->asked = pairing->asked;
    return rv;
}

/* Fills the public half of key from the attributes of its object, or, for a private one, from what
 * belongs to it on the token: twins, where the caller has them. The numbers that the token computes
 * with come before CKA_PUBLIC_KEY_INFO, which whoever made the object may have set. */
static CK_RV half_find(struct key *key, struct session *session, struct handle handle,
                       const struct attributes *attributes, const struct twins *twins,
                       CK_OBJECT_CLASS class, const char **unusable, bool *read)
{
    _cleanup_(pairing_end) struct pairing pairing = {
        .session = session, .handle = handle, .attributes = attributes, .key = key
    };
    enum half half;

    key->curve = curve_by_params(view_attribute(attributes, CKA_EC_PARAMS));
    half = half_read(key, attributes, unusable);
    *read =
        half == HALF_READ || half_from_spki(key, view_attribute(attributes, CKA_PUBLIC_KEY_INFO));
    if (*read || half != HALF_ABSENT || class != CKO_PRIVATE_KEY)
        return CKR_OK;
    return half_from_others(&pairing, key, twins, unusable, read);
}

/* Whether CKA_ALLOWED_MECHANISMS has mechanisms of PSS and no others. */
static bool pss_only(struct view allowed)
{
    CK_MECHANISM_TYPE pss[SIGN_PSS_MECHANISMS], one;
    CK_ULONG count = sign_pss_mechanisms(pss), i = 0;

    for (size_t at = 0; at + sizeof(one) <= allowed.len && i < count; at += sizeof(one)) {
        memcpy(&one, allowed.data + at, sizeof(one));
        for (i = 0; i < count && pss[i] != one; i++)
            ;
    }
    return allowed.len >= sizeof(one) && i < count;
}

static bool type_find_set(const struct attributes *attributes, enum key_type *out,
                          const char **unusable)
{
    const struct set *set = attributes_set(attributes);

    if (!sets_known()) {
        *unusable = "its CKA_KEY_TYPE is one that OpenSSL knows from 3.5 on";
        return false;
    }
    *unusable = "its CKA_PARAMETER_SET is not one that this provider knows";
    if (set != NULL)
        *out = key_type_of_set(set);
    return set != NULL;
}

/* Modules differ in which CKA_KEY_TYPE Edwards and Montgomery keys have: the curve decides. */
static bool type_find(CK_KEY_TYPE ck_type, const struct attributes *attributes, enum key_type *out,
                      const char **unusable)
{
    const struct curve *curve = curve_by_params(view_attribute(attributes, CKA_EC_PARAMS));

    if (ck_type == CKK_RSA) {
        *out = public_restricts(attributes) ? KEY_RSA_PSS : KEY_RSA;
        return true;
    }
    if (set_algorithm_of(ck_type) != NULL)
        return type_find_set(attributes, out, unusable);
    if (ck_type != CKK_EC && ck_type != CKK_EC_EDWARDS && ck_type != CKK_EC_MONTGOMERY) {
        *unusable = "its CKA_KEY_TYPE is not supported";
        return false;
    }
    if (curve == NULL) {
        *unusable = "its curve (CKA_EC_PARAMS) is not one that this provider knows";
        return false;
    }
    *out = key_type_of(curve);
    return true;
}

static CK_RV read_list(const struct provider *provider, struct session *session,
                       struct handle handle, const CK_ATTRIBUTE_TYPE *types, CK_ULONG count,
                       CK_OBJECT_CLASS class, struct attributes *out)
{
    CK_RV rv;

    if (provider->config.no_allowed_mechanisms)
        count--;
    rv = attributes_read(session, handle, types, count, out);
    if (rv == CKR_OK)
        rv = read_set(session, handle, attribute_ulong(out, CKA_CLASS, class), out);
    return rv;
}

CK_RV public_read_any(struct provider *provider, struct session *session, struct handle handle,
                      struct attributes *out)
{
    return read_list(provider, session, handle, any_attributes, COUNT(any_attributes),
                     CKO_PRIVATE_KEY, out);
}

bool public_shown(const struct attributes *attributes)
{
    return attribute(attributes, CKA_PUBLIC_KEY_INFO) != NULL ||
           attribute(attributes, CKA_MODULUS) != NULL ||
           attribute(attributes, CKA_EC_POINT) != NULL || attribute(attributes, CKA_VALUE) != NULL;
}

CK_RV public_read_beside(const struct provider *provider, struct session *session,
                         struct handle handle, CK_OBJECT_CLASS class, struct attributes *out)
{
    switch (class) {
    case CKO_PUBLIC_KEY:
        return read_list(provider, session, handle, public_attributes, COUNT(public_attributes),
                         class, out);
    case CKO_PRIVATE_KEY:
        return attributes_read(session, handle, restriction_attributes,
                               COUNT(restriction_attributes), out);
    default:
        return attributes_read(session, handle, certificate_attributes,
                               COUNT(certificate_attributes), out);
    }
}

bool public_restricts(const struct attributes *attributes)
{
    return pss_only(view_attribute(attributes, CKA_ALLOWED_MECHANISMS));
}

/* Whether both are RSA keys of the same modulus. */
static bool same_modulus(const struct attributes *a, const struct attributes *b)
{
    struct view n = view_strip(view_attribute(a, CKA_MODULUS));
    struct view m = view_strip(view_attribute(b, CKA_MODULUS));

    return n.len != 0 && n.len == m.len && memcmp(n.data, m.data, n.len) == 0;
}

/* Whether the object is the other half, and whether it restricts the key. */
static bool is_restricted_by(const struct attributes *attributes, const struct attributes *other,
                             bool *restricted)
{
    bool same = same_modulus(attributes, other);

    *restricted = *restricted || (same && public_restricts(other));
    return same;
}

static CK_RV restricted_by_search(struct session *session, const struct attributes *attributes,
                                  CK_OBJECT_CLASS other, bool *restricted)
{
    CK_KEY_TYPE type = CKK_RSA;
    _cleanup_(handles_clear) struct handles found = { .list = NULL };
    _cleanup_(free_scoped) struct attributes *shown = OPENSSL_malloc(sizeof(*shown));
    bool done = false;
    CK_RV rv = shown != NULL ? CKR_OK : CKR_HOST_MEMORY;

    if (rv == CKR_OK)
        rv = search_beside(session, attributes, other, &type, &found);
    for (CK_ULONG i = 0; rv == CKR_OK && i < found.count && i < HALVES_MOST && !done; i++) {
        rv = attributes_read(session, found.list[i], restriction_attributes,
                             COUNT(restriction_attributes), shown);
        if (rv == CKR_OK)
            done = is_restricted_by(attributes, shown, restricted);
    }
    return rv;
}

static CK_RV restricted_by_index(const struct index *index, enum index_part part,
                                 const struct attributes *attributes, bool *restricted)
{
    const CK_ATTRIBUTE *name = bond_name(attributes);
    const struct indexed *const *first;
    CK_ULONG count = name != NULL ? index_find(index, part, name, &first) : 0;

    for (CK_ULONG i = 0; i < count && i < HALVES_MOST && !*restricted; i++)
        (void)is_restricted_by(attributes, first[i]->attributes, restricted);
    return CKR_OK;
}

/* Whether the other half of an RSA key that says nothing of its mechanisms restricts it to PSS: the
 * two are one key, and of one type. */
static CK_RV restricted_elsewhere(const struct provider *provider, struct session *session,
                                  CK_OBJECT_CLASS class, const struct attributes *attributes,
                                  const struct twins *twins, bool *restricted)
{
    enum index_part part = class == CKO_PRIVATE_KEY ? INDEX_PUBLIC : INDEX_PRIVATE;
    CK_OBJECT_CLASS other = class == CKO_PRIVATE_KEY ? CKO_PUBLIC_KEY : CKO_PRIVATE_KEY;
    bool found = false;

    *restricted = false;
    if (provider->config.no_allowed_mechanisms || twins->unrestricted ||
        attribute(attributes, CKA_ALLOWED_MECHANISMS) != NULL)
        return CKR_OK;
    for (CK_ULONG i = 0; i < twins->count; i++)
        found |= is_restricted_by(attributes, twins->list[i], restricted);
    if (found)
        return CKR_OK;
    if (index_knows(twins->index, session, part))
        return restricted_by_index(twins->index, part, attributes, restricted);
    if (part == INDEX_PRIVATE && !session_sees_private(session)) {
        if (twins->in_doubt != NULL)
            *twins->in_doubt = true;
        return CKR_OK;
    }
    index_want(twins->index, part);
    return restricted_by_search(session, attributes, other, restricted);
}

/* The key behind attributes, without its place on the token. */
static CK_RV key_make(struct provider *provider, struct session *session, struct handle handle,
                      CK_OBJECT_CLASS class, const struct attributes *attributes,
                      const struct twins *twins, struct key **out, const char **unusable)
{
    _cleanup_(key_scoped) struct key *key = NULL;
    bool read = false, restricted = false;
    enum key_type type;
    CK_KEY_TYPE ck_type;
    CK_RV rv;

    *out = NULL;
    ck_type = attribute_ulong(attributes, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
    if (!type_find(ck_type, attributes, &type, unusable))
        return CKR_OK;
    key = key_new(provider, type);
    if (key == NULL)
        return CKR_HOST_MEMORY;
    rv = half_find(key, session, handle, attributes, twins, class, unusable, &read);
    if (rv == CKR_OK && read && type == KEY_RSA)
        rv = restricted_elsewhere(provider, session, class, attributes, twins, &restricted);
    if (restricted)
        key->type = KEY_RSA_PSS;
    if (rv == CKR_OK && read)
        *out = MOVE(key);
    return rv;
}

static CK_RV key_attributes(const struct provider *provider, struct session *session,
                            struct handle handle, CK_OBJECT_CLASS class, struct attributes *out)
{
    return class == CKO_PRIVATE_KEY
               ? read_list(provider, session, handle, any_attributes + PRIVATE_FROM,
                           COUNT(any_attributes) - PRIVATE_FROM, class, out)
               : read_list(provider, session, handle, public_attributes, COUNT(public_attributes),
                           class, out);
}

/* The object at handle, found again, has the public half that key shows. */
static CK_RV confirm(struct session *session, struct handle handle, CK_OBJECT_CLASS class,
                     const struct key *key)
{
    _cleanup_(key_scoped) struct key *again = NULL;
    _cleanup_(free_scoped) struct attributes *attributes = OPENSSL_malloc(sizeof(*attributes));
    const struct twins twins = { .ask = key->asked, .unrestricted = true };
    const char *unusable;
    CK_RV rv = CKR_HOST_MEMORY;

    if (attributes != NULL)
        rv = key_attributes(key->provider, session, handle, class, attributes);
    if (rv == CKR_OK)
        rv = key_make(key->provider, session, handle, class, attributes, &twins, &again, &unusable);
    if (rv != CKR_OK)
        return rv;
    if (again != NULL && key_type_is_rsa(again->type) && key_type_is_rsa(key->type))
        again->type = key->type; /* which the other half may have said */
    return again != NULL && key_same_public(key, again) ? CKR_OK : RV_KEY_REPLACED;
}

static CK_RV confirm_private(struct session *session, struct handle handle, void *key)
{
    return confirm(session, handle, CKO_PRIVATE_KEY, key);
}

static CK_RV confirm_public(struct session *session, struct handle handle, void *key)
{
    return confirm(session, handle, CKO_PUBLIC_KEY, key);
}

static CK_RV key_place(struct key *key, struct session *session, struct handle handle,
                       const struct attributes *attributes)
{
    struct object *object = OPENSSL_zalloc(sizeof(*object));

    key->object = object;
    if (object == NULL || !object_fill(object, attributes))
        return CKR_HOST_MEMORY;
    object->slot = session->slot;
    object->class = CKO_PRIVATE_KEY;
    object->type = attribute_ulong(attributes, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
    object->private = true;
    object->copying = object->always_authenticate ? COPY_NEVER : key->provider->config.copying;
    handle_store(&object->handle, handle);
    object->confirm = confirm_private;
    object->confirm_arg = key;
    return CKR_OK;
}

/* Where verification and encryption are the token's: the public object of that handle, or the one
 * with a private object's CKA_ID, or its label where there is no id, to be found at the first use.
 */
static CK_RV key_place_twin(struct key *key, struct session *session, struct handle handle,
                            CK_OBJECT_CLASS class, const struct attributes *attributes)
{
    struct object *object = OPENSSL_zalloc(sizeof(*object));

    key->twin = object;
    if (object == NULL || !object_fill(object, attributes))
        return CKR_HOST_MEMORY;
    if (class == CKO_PRIVATE_KEY && object->id.data != NULL)
        bytes_clear(&object->label);
    object->slot = session->slot;
    object->class = CKO_PUBLIC_KEY;
    object->type = attribute_ulong(attributes, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
    if (class == CKO_PUBLIC_KEY)
        handle_store(&object->handle, handle);
    object->confirm = confirm_public;
    object->confirm_arg = key;
    return CKR_OK;
}

/* Gives key, unless it is NULL, its place on the token, and to the caller. */
static CK_RV key_settle(struct key *made, struct session *session, struct handle handle,
                        CK_OBJECT_CLASS class, const struct attributes *attributes,
                        struct key **out)
{
    _cleanup_(key_scoped) struct key *key = made;
    CK_RV rv = CKR_OK;

    if (key != NULL && class == CKO_PRIVATE_KEY)
        rv = key_place(key, session, handle, attributes);
    if (rv == CKR_OK && key != NULL && key->provider->config.public_on_token)
        rv = key_place_twin(key, session, handle, class, attributes);
    if (rv == CKR_OK && key != NULL && key->object != NULL)
        key_decrypt_begin(key);
    if (rv == CKR_OK)
        *out = MOVE(key);
    return rv;
}

/* The key behind attributes, in its place. */
static CK_RV key_of(struct provider *provider, struct session *session, struct handle handle,
                    CK_OBJECT_CLASS class, const struct attributes *known,
                    const struct twins *twins, struct key **out, const char **unusable)
{
    struct key *key;
    CK_RV rv = key_make(provider, session, handle, class, known, twins, &key, unusable);

    return rv == CKR_OK ? key_settle(key, session, handle, class, known, out) : rv;
}

CK_RV public_read_key(struct provider *provider, struct session *session, struct handle handle,
                      CK_OBJECT_CLASS class, const struct twins *twins, struct key **out,
                      const char **unusable)
{
    _cleanup_(free_scoped) struct attributes *attributes = NULL;
    const struct attributes *known =
        class == CKO_PUBLIC_KEY ? index_read(twins->index, session, INDEX_PUBLIC, handle) : NULL;
    CK_RV rv;

    *out = NULL;
    if (known != NULL)
        return key_of(provider, session, handle, class, known, twins, out, unusable);
    attributes = OPENSSL_malloc(sizeof(*attributes));
    if (attributes == NULL)
        return CKR_HOST_MEMORY;
    rv = key_attributes(provider, session, handle, class, attributes);
    if (rv == CKR_OK && class == CKO_PRIVATE_KEY)
        rv = index_add(twins->index, session, INDEX_PRIVATE, handle, attributes);
    return rv == CKR_OK ? key_of(provider, session, handle, class, attributes, twins, out, unusable)
                        : rv;
}

CK_RV public_make_private(struct provider *provider, struct session *session, struct handle handle,
                          const struct attributes *attributes, const struct twins *twins,
                          struct key **out, const char **unusable)
{
    *out = NULL;
    return key_of(provider, session, handle, CKO_PRIVATE_KEY, attributes, twins, out, unusable);
}

void key_make_public(struct key *key)
{
    if (key->object == NULL)
        return;
    object_clear(key->object);
    OPENSSL_free(key->object);
    key->object = NULL;
}
