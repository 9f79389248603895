#include "key/reading.h"

#include "base/scope.h"
#include "mech/set.h"

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

CK_RV reading_half(struct session *session, struct handle handle, struct attributes *out)
{
    CK_RV rv =
        attributes_read(session, handle, public_attributes, COUNT(public_attributes) - 1, out);

    return rv == CKR_OK ? read_set(session, handle, CKO_PUBLIC_KEY, out) : rv;
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

CK_RV reading_any(const struct provider *provider, struct session *session, struct handle handle,
                  struct attributes *out)
{
    return read_list(provider, session, handle, any_attributes, COUNT(any_attributes),
                     CKO_PRIVATE_KEY, out);
}

bool reading_shows_half(const struct attributes *attributes)
{
    return attribute(attributes, CKA_PUBLIC_KEY_INFO) != NULL ||
           attribute(attributes, CKA_MODULUS) != NULL ||
           attribute(attributes, CKA_EC_POINT) != NULL || attribute(attributes, CKA_VALUE) != NULL;
}

CK_RV reading_beside(const struct provider *provider, struct session *session, struct handle handle,
                     CK_OBJECT_CLASS class, struct attributes *out)
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

CK_RV reading_key(const struct provider *provider, struct session *session, struct handle handle,
                  CK_OBJECT_CLASS class, struct attributes *out)
{
    return class == CKO_PRIVATE_KEY
               ? read_list(provider, session, handle, any_attributes + PRIVATE_FROM,
                           COUNT(any_attributes) - PRIVATE_FROM, class, out)
               : read_list(provider, session, handle, public_attributes, COUNT(public_attributes),
                           class, out);
}

const CK_ATTRIBUTE *reading_bond(const struct attributes *attributes)
{
    const CK_ATTRIBUTE *name = attribute(attributes, CKA_ID);

    return name != NULL ? name : attribute(attributes, CKA_LABEL);
}

CK_RV reading_search(struct session *session, const struct attributes *attributes,
                     CK_OBJECT_CLASS class, CK_KEY_TYPE *type, struct handles *out)
{
    const CK_ATTRIBUTE *name = reading_bond(attributes);
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
