#include "key/public.h"

#include "base/scope.h"
#include "key/half.h"
#include "key/index.h"
#include "key/pairing.h"
#include "key/reading.h"
#include "key/restricted.h"

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

static CK_RV add_public_searched(struct pairing *pairing, const char **unusable)
{
    CK_KEY_TYPE type =
        attribute_ulong(pairing->attributes, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
    _cleanup_(handles_clear) struct handles found = { .list = NULL };
    _cleanup_(free_scoped) struct attributes *shown = OPENSSL_malloc(sizeof(*shown));
    CK_RV rv = shown != NULL ? CKR_OK : CKR_HOST_MEMORY;

    if (rv == CKR_OK)
        rv = reading_search(pairing->session, pairing->attributes, CKO_PUBLIC_KEY, &type, &found);
    for (CK_ULONG i = 0; rv == CKR_OK && i < found.count && !pairing->crowded; i++) {
        rv = reading_half(pairing->session, found.list[i], shown);
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
    if (half_from_certificate(half, der))
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
        rv = reading_search(pairing->session, pairing->attributes, CKO_CERTIFICATE, NULL, &found);
    for (CK_ULONG i = 0; rv == CKR_OK && i < found.count && !pairing->crowded; i++) {
        rv = reading_beside(pairing->key->provider, pairing->session, found.list[i],
                            CKO_CERTIFICATE, shown);
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
    const CK_ATTRIBUTE *name = reading_bond(pairing->attributes);
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

static bool type_find_set(const struct attributes *attributes, enum key_type *out,
                          const char **unusable)
{
    const struct set *set = half_set(attributes);

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
        *out = restricts(attributes) ? KEY_RSA_PSS : KEY_RSA;
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
        rv = reading_key(key->provider, session, handle, class, attributes);
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
    rv = reading_key(provider, session, handle, class, attributes);
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
