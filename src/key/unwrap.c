#include "base/scope.h"
#include "key/open.h"
#include "key/wrap.h"
#include "key/wrapping.h"
#include "module/call.h"

static CK_RV unwrap_middle(struct session *session, CK_MECHANISM *mechanism, struct handle with,
                           struct view in, struct handle *middle)
{
    static const CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    static const CK_KEY_TYPE type = CKK_AES;
    static const CK_BBOOL yes = CK_TRUE, no_ = CK_FALSE;
    CK_ATTRIBUTE template[] = { SET(CKA_CLASS, class),     SET(CKA_KEY_TYPE, type),
                                SET(CKA_TOKEN, no_),       SET(CKA_SENSITIVE, yes),
                                SET(CKA_EXTRACTABLE, no_), SET(CKA_UNWRAP, yes) };

    return session_unwrap(session, mechanism, with, in, template, COUNT(template), middle);
}
/* What is to come of it. */
struct target {
    CK_ATTRIBUTE *list;
    CK_ULONG count;
    struct handle *key;
};

/* The key to unwrap it with. */
struct wrapper {
    struct handle handle;
    CK_KEY_TYPE type;
    size_t modulus_len; /* RSA; as long is what it wrapped */
};

static CK_RV unwrap_by_two(struct session *session, const struct wrap_way *way,
                           const struct wrapper *with, struct view blob, const struct target *made)
{
    size_t outer_len = with->modulus_len;
    struct view first = { blob.data, outer_len }, rest;
    struct wrap_mechanism outer;
    CK_MECHANISM inner;
    struct handle middle;
    bool has;
    CK_RV rv;

    if (outer_len == 0 || blob.len <= outer_len)
        return CKR_WRAPPED_KEY_LEN_RANGE;
    rv = wrapping_inner(session, CKF_UNWRAP, &inner, &has);
    rest = (struct view){ blob.data + outer_len, blob.len - outer_len };
    wrap_mechanism_outer(way, &outer);
    if (rv == CKR_OK)
        rv = unwrap_middle(session, &outer.ck, with->handle, first, &middle);
    if (rv != CKR_OK)
        return rv;
    rv = session_unwrap(session, &inner, middle, rest, made->list, made->count, made->key);
    return wrapping_drop(session, middle, rv);
}

static CK_RV unwrap_at_once(struct session *session, const struct wrap_way *way,
                            const struct wrapper *with, struct view blob, const struct target *made)
{
    struct wrap_mechanism mechanism;

    wrap_mechanism(way, &mechanism);
    return session_unwrap(session, &mechanism.ck, with->handle, blob, made->list, made->count,
                          made->key);
}

/* One way after the other, until the token makes a key of it. */
static CK_RV unwrap_somehow(struct session *session, struct unwrapping *unwrapping,
                            const struct wrapper *with, const struct target *made)
{
    const struct unwrap_order *order = unwrapping->order;
    const struct wrap_way *way = NULL;
    CK_RV rv = CKR_MECHANISM_INVALID;

    call_named("C_UnwrapKey");
    while (wrapping_refused(rv) && (way = wrapping_next(order->way, with->type, way)) != NULL) {
        enum wrapping_going going;
        CK_RV told = wrapping_going(session, way, CKF_UNWRAP, &going);

        if (told != CKR_OK)
            return told;
        if (going != GOING_NOT)
            unwrapping->mechanism = way->mechanism;
        if (going == GOING_AT_ONCE)
            rv = unwrap_at_once(session, way, with, order->blob, made);
        else if (going == GOING_BY_TWO)
            rv = unwrap_by_two(session, way, with, order->blob, made);
    }
    return rv;
}

static CK_RV wrapper_read(struct session *session, struct wrapper *with, bool *may)
{
    _cleanup_(free_scoped) struct attributes *attributes = NULL;
    CK_RV rv = wrapping_look(session, with->handle, &attributes);
    const CK_ATTRIBUTE *modulus;

    if (rv != CKR_OK)
        return rv;
    modulus = attribute(attributes, CKA_MODULUS);
    with->type = attribute_ulong(attributes, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
    with->modulus_len = modulus != NULL ? modulus->ulValueLen : 0;
    *may = attribute_bool(attributes, CKA_UNWRAP, true);
    return CKR_OK;
}

static CK_RV no(struct unwrapping *unwrapping, const char *why)
{
    unwrapping->why = why;
    return RV_REFUSED;
}

/* A making_way's: PKCS#11 v3.1 §5.18.4. */
static CK_RV unwrap(struct session *session, void *arg, CK_ATTRIBUTE *list, CK_ULONG count,
                    struct handle *made)
{
    struct unwrapping *unwrapping = arg;
    const struct target target = { list, count, made };
    struct wrapper with = { .type = CK_UNAVAILABLE_INFORMATION };
    CK_ULONG found = 0;
    bool may = false;
    CK_RV rv = wrapping_find(session, &unwrapping->with, UNWRAPS, &with.handle, &found);

    if (rv == CKR_OK && found == 1)
        rv = wrapper_read(session, &with, &may);
    if (rv != CKR_OK)
        return rv;
    if (found == 0)
        return no(unwrapping, "the key to unwrap it with is not on the token");
    if (found != 1)
        return no(unwrapping, "the URI of the key to unwrap it with names several");
    if (!may)
        return no(unwrapping, "the CKA_UNWRAP of the key to unwrap it with is off");
    return unwrap_somehow(session, unwrapping, &with, &target);
}

static void unwrap_failed(CK_RV rv, void *arg, const char *uri)
{
    const struct unwrapping *unwrapping = arg;
    const struct core *core = &unwrapping->order->provider->core;
    const struct wrap_way *way = unwrapping->order->way;

    if (rv == RV_REFUSED)
        error_raise(core, REASON_KEY, "cannot unwrap a key for %s with %s: %s", uri,
                    unwrapping->with.text, unwrapping->why);
    else
        error_raise_ckr(core, REASON_OPERATION, rv, "unwrap a key for %s with %s (%s)", uri,
                        unwrapping->with.text, way != NULL ? way->name : "any way");
}

bool unwrap_begin(struct unwrapping *unwrapping, const struct unwrap_order *order,
                  struct making_way *way)
{
    struct pin_source pins;

    *unwrapping =
        (struct unwrapping){ .order = order,
                             .mechanism = order->way != NULL ? order->way->mechanism
                                                             : CK_UNAVAILABLE_INFORMATION };
    *way = (struct making_way){ .what = "unwrap",
                                .mechanism = &unwrapping->mechanism,
                                .make = unwrap,
                                .failed = unwrap_failed,
                                .arg = unwrapping };
    if (order->blob.len == 0 || order->blob.len > WRAPPED_MAX) {
        error_raise(&order->provider->core, REASON_PARAMETER,
                    "cannot unwrap a key of %zu bytes: that is none, or too much", order->blob.len);
        return false;
    }
    if (!open_uri(order->provider, order->with, "the URI of the wrapping key", &unwrapping->with,
                  &pins))
        return false;
    way->with = making_names(&unwrapping->with);
    return wrapping_names(order->provider, &unwrapping->with, "unwrap with");
}

void unwrap_end(struct unwrapping *unwrapping)
{
    uri_clear(&unwrapping->with);
}
