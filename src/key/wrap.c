#include "key/wrap.h"

#include "base/scope.h"
#include "key/open.h"
#include "key/wrapping.h"
#include "module/call.h"
#include "token/run.h"

struct work {
    const struct wrap_order *order;
    struct uri key, with;
    struct pin_source pins;
    struct slot *slot;       /* of the key */
    CK_ULONG found;          /* keys that the URI names, on all tokens */
    const char *why;         /* it must not be wrapped, or not so; NULL: it may */
    CK_MECHANISM_TYPE tried; /* the last */
    struct wrapped *out;
    struct room room;
};

static CK_RV no(struct work *work, const char *why)
{
    work->why = why;
    return RV_REFUSED;
}

/* Why key must not be wrapped with wrapper: PKCS#11 v3.1 §4.9, §4.10. */
static const char *objection(const struct attributes *key, const struct attributes *wrapper)
{
    if (!attribute_bool(key, CKA_EXTRACTABLE, true))
        return "its CKA_EXTRACTABLE is off: it was made never to leave its token";
    if (!attribute_bool(wrapper, CKA_WRAP, true))
        return "the CKA_WRAP of the key to wrap it with is off";
    if (attribute_bool(key, CKA_WRAP_WITH_TRUSTED, false) &&
        !attribute_bool(wrapper, CKA_TRUSTED, false))
        return "its CKA_WRAP_WITH_TRUSTED is on, and the CKA_TRUSTED of the key to wrap it with is "
               "off: the security officer sets that";
    return NULL;
}

/* The AES key in the middle. */
static CK_RV make_middle(struct session *session, struct handle *middle)
{
    static const CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    static const CK_KEY_TYPE type = CKK_AES;
    static const CK_BBOOL yes = CK_TRUE, no_ = CK_FALSE;
    static const CK_ULONG len = WRAP_MIDDLE_LEN;
    CK_ATTRIBUTE template[] = { SET(CKA_CLASS, class),     SET(CKA_KEY_TYPE, type),
                                SET(CKA_TOKEN, no_),       SET(CKA_SENSITIVE, yes),
                                SET(CKA_EXTRACTABLE, yes), SET(CKA_WRAP, yes),
                                SET(CKA_VALUE_LEN, len) };
    CK_MECHANISM mechanism = { CKM_AES_KEY_GEN, NULL, 0 };

    return session_generate_key(session, &mechanism, template, COUNT(template), middle);
}

/* Behind what is in out. */
static CK_RV wrap_behind(struct session *session, CK_MECHANISM *mechanism, struct handle with,
                         struct handle key, struct room *out)
{
    struct room rest = { .data = out->data + out->len, .size = out->size - out->len };
    CK_RV rv = session_wrap(session, mechanism, with, key, &rest);

    out->len += rest.len;
    return rv;
}

/* The AES key wrapped, and behind it the key (PKCS#11 v3.1 §6.1.23). */
static CK_RV wrap_by_two(struct session *session, const struct wrap_way *way, struct handle with,
                         struct handle key, struct room *out)
{
    struct wrap_mechanism outer;
    CK_MECHANISM inner;
    struct handle middle;
    bool has;
    CK_RV rv = wrapping_inner(session, CKF_WRAP, &inner, &has);

    if (rv == CKR_OK)
        rv = make_middle(session, &middle);
    if (rv != CKR_OK)
        return rv;
    wrap_mechanism_outer(way, &outer);
    rv = session_wrap(session, &outer.ck, with, middle, out);
    if (rv == CKR_OK)
        rv = wrap_behind(session, &inner, middle, key, out);
    return wrapping_drop(session, middle, rv);
}

static CK_RV wrap_at_once(struct session *session, const struct wrap_way *way, struct handle with,
                          struct handle key, struct room *out)
{
    struct wrap_mechanism mechanism;

    wrap_mechanism(way, &mechanism);
    return session_wrap(session, &mechanism.ck, with, key, out);
}

/* One way after the other, until the token goes one. */
static CK_RV wrap_somehow(struct session *session, struct work *work, CK_KEY_TYPE type,
                          struct handle with, struct handle key)
{
    const struct wrap_way *way = NULL;
    CK_RV rv = CKR_MECHANISM_INVALID;

    call_named("C_WrapKey");
    while (wrapping_refused(rv) && (way = wrapping_next(work->order->way, type, way)) != NULL) {
        enum wrapping_going going;
        CK_RV told;

        if (!way->takes_private && work->out->class == CKO_PRIVATE_KEY && work->order->way == NULL)
            continue;
        told = wrapping_going(session, way, CKF_WRAP, &going);
        if (told != CKR_OK)
            return told;
        if (going == GOING_NOT)
            continue;
        work->out->way = way;
        work->tried = way->mechanism;
        rv = going == GOING_AT_ONCE ? wrap_at_once(session, way, with, key, &work->room)
                                    : wrap_by_two(session, way, with, key, &work->room);
    }
    return rv;
}

static CK_RV wrap_these(struct session *session, struct work *work, struct handle key,
                        struct handle with)
{
    _cleanup_(free_scoped) struct attributes *of_key = NULL, *of_with = NULL;
    CK_RV rv = wrapping_look(session, key, &of_key);

    if (rv == CKR_OK)
        rv = wrapping_look(session, with, &of_with);
    if (rv != CKR_OK)
        return rv;
    work->why = objection(of_key, of_with);
    if (work->why != NULL)
        return RV_REFUSED;
    work->out->class = attribute_ulong(of_key, CKA_CLASS, CKO_SECRET_KEY);
    work->out->type = attribute_ulong(of_key, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
    return wrap_somehow(session, work,
                        attribute_ulong(of_with, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION), with,
                        key);
}

/* Both are found on the session that uses them. */
static CK_RV wrap(struct session *session, void *arg)
{
    struct work *work = arg;
    struct handle key, with;
    CK_ULONG keys, withs = 0;
    CK_RV rv = wrapping_find(session, &work->key, TO_BE_WRAPPED, &key, &keys);

    if (rv == CKR_OK)
        rv = wrapping_find(session, &work->with, WRAPS, &with, &withs);
    if (rv != CKR_OK)
        return rv;
    if (keys != 1)
        return no(work, "it is no longer the only one that the URI names");
    if (withs == 0)
        return no(work, "the key to wrap it with, an AES key or an RSA public key, is not there");
    if (withs != 1)
        return no(work, "the URI of the key to wrap it with names several: put id= or type= in it");
    return wrap_these(session, work, key, with);
}

/* Counts what the URI names on this slot. */
static CK_RV count(struct session *session, void *arg)
{
    struct work *work = arg;
    struct handle handle;
    CK_ULONG found = 0;
    CK_RV rv = wrapping_find(session, &work->key, TO_BE_WRAPPED, &handle, &found);

    if (rv == CKR_OK && found != 0)
        work->slot = session->slot;
    work->found += found;
    return rv;
}

static CK_RV run_on(struct work *work, struct slot *slot, session_task *task)
{
    struct deed deed = { .what = "wrap",
                         .mechanism = &work->tried,
                         .object = making_names(&work->key),
                         .with = making_names(&work->with) };
    struct run run = { .slot = slot,
                       .purpose = TO_READ,
                       .login = true,
                       .elsewhere = task == count,
                       .pins = &work->pins,
                       .task = task,
                       .arg = work,
                       .deed = task != count ? &deed : NULL };

    return run_task(&run);
}

static CK_RV count_everywhere(struct work *work, struct scan *scan)
{
    struct slot *slot = NULL;
    CK_RV rv;

    do {
        rv = scan_next(scan, &slot);
        if (rv == CKR_OK && slot != NULL)
            rv = run_on(work, slot, count);
    } while (rv == CKR_OK && slot != NULL);
    return rv;
}

static const char *not_one(const struct work *work)
{
    return work->found == 0 ? "there is no such private or secret key"
                            : "it names several keys: put id=, type= or serial= in it";
}

static bool finish(struct work *work, CK_RV rv)
{
    const struct core *core = &work->order->provider->core;

    if (rv != CKR_OK && rv != RV_REFUSED)
        error_raise_ckr(
            core, REASON_OPERATION, rv, "wrap %s with %s (%s)", work->key.text, work->with.text,
            work->out->way != NULL ? work->out->way->name : "no way that the token has");
    else if (rv != CKR_OK)
        error_raise(core, REASON_KEY, "cannot wrap %s with %s: %s", work->key.text, work->with.text,
                    work->why);
    else
        return bytes_set(&work->out->blob, work->room.data, work->room.len);
    return false;
}

static CK_RV wrap_there(struct work *work)
{
    if (work->found != 1)
        return no(work, not_one(work));
    if (!uri_matches_token(&work->with, slot_id(work->slot), &work->slot->token.info))
        return no(work, "the key to wrap it with is not on the same token");
    work->room = (struct room){ .data = OPENSSL_malloc(WRAPPED_MAX), .size = WRAPPED_MAX };
    return work->room.data != NULL ? run_on(work, work->slot, wrap) : CKR_HOST_MEMORY;
}

static bool wrap_it(struct work *work)
{
    struct provider *provider = work->order->provider;
    struct module *module = provider_module(provider, work->key.module_path);
    struct scan scan;
    CK_RV rv;

    if (module == NULL)
        return false;
    scan_begin(&scan, module, &work->key, &provider->config.limits);
    rv = count_everywhere(work, &scan);
    if (rv == CKR_OK && scan.matched == 0)
        open_raise_no_token(provider, &work->key, &scan);
    scan_end(&scan);
    if (rv == CKR_OK && scan.matched == 0)
        return false;
    return finish(work, rv == CKR_OK ? wrap_there(work) : rv);
}

static bool open_both(struct work *work)
{
    struct provider *provider = work->order->provider;
    struct pin_source others;

    return open_uri(provider, work->order->key, "the URI of the key", &work->key, &work->pins) &&
           open_uri(provider, work->order->with, "the URI of the wrapping key", &work->with,
                    &others) &&
           wrapping_names(provider, &work->key, "wrap") &&
           wrapping_names(provider, &work->with, "wrap with");
}

bool key_wrap(const struct wrap_order *order, struct wrapped *out)
{
    KEEP_ERRNO;
    struct work work = { .order = order, .out = out, .tried = CK_UNAVAILABLE_INFORMATION };
    bool ok;

    *out = (struct wrapped){ .way = NULL };
    ok = open_both(&work);
    if (order->ask != NULL)
        work.pins.ask = order->ask;
    ok = ok && wrap_it(&work);
    OPENSSL_free(work.room.data);
    uri_clear(&work.key);
    uri_clear(&work.with);
    return ok;
}

void wrapped_clear(struct wrapped *wrapped)
{
    bytes_clear(&wrapped->blob);
}
