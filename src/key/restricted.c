#include "key/restricted.h"

#include <string.h>

#include "base/scope.h"
#include "key/index.h"
#include "key/pairing.h"
#include "key/reading.h"
#include "mech/sign.h"
#include "token/admit.h"

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

bool restricts(const struct attributes *attributes)
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

    *restricted = *restricted || (same && restricts(other));
    return same;
}

static CK_RV restricted_by_search(const struct provider *provider, struct session *session,
                                  const struct attributes *attributes, CK_OBJECT_CLASS other,
                                  bool *restricted)
{
    CK_KEY_TYPE type = CKK_RSA;
    _cleanup_(handles_clear) struct handles found = { .list = NULL };
    _cleanup_(free_scoped) struct attributes *shown = OPENSSL_malloc(sizeof(*shown));
    bool done = false;
    CK_RV rv = shown != NULL ? CKR_OK : CKR_HOST_MEMORY;

    if (rv == CKR_OK)
        rv = reading_search(session, attributes, other, &type, &found);
    for (CK_ULONG i = 0; rv == CKR_OK && i < found.count && i < HALVES_MOST && !done; i++) {
        rv = reading_beside(provider, session, found.list[i], CKO_PRIVATE_KEY, shown);
        if (rv == CKR_OK)
            done = is_restricted_by(attributes, shown, restricted);
    }
    return rv;
}

static CK_RV restricted_by_index(const struct index *index, enum index_part part,
                                 const struct attributes *attributes, bool *restricted)
{
    const CK_ATTRIBUTE *name = reading_bond(attributes);
    const struct indexed *const *first;
    CK_ULONG count = name != NULL ? index_find(index, part, name, &first) : 0;

    for (CK_ULONG i = 0; i < count && i < HALVES_MOST && !*restricted; i++)
        (void)is_restricted_by(attributes, first[i]->attributes, restricted);
    return CKR_OK;
}

CK_RV restricted_elsewhere(const struct provider *provider, struct session *session,
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
    return restricted_by_search(provider, session, attributes, other, restricted);
}
