/* Secret keys that a token makes, or gets as bytes. */
#include "base/scope.h"
#include "key/making.h"
#include "key/open.h"
#include "key/secret.h"
#include "key/where.h"
#include "mech/generate.h"
#include "module/call.h"
#include "module/ckr.h"
#include "module/names.h"
#include "token/run.h"

struct work {
    const struct secret_order *order;
    struct uri uri;
    struct pin_source pins;
    uint8_t id[MAKING_ID_LEN]; /* random: the CKA_ID, where the URI has none */
    bool marked;               /* no other key can have that */
    bool left;                 /* a try that failed may have left a key */
    const char *taken;         /* what another key has already: "label" or "id" */
    struct handle made;
    unsigned long home; /* of the keeper that a session object was made on */
    struct key *key;
};

static bool on_token(const struct work *work)
{
    return work->order->uri != NULL;
}

struct template
{
    CK_ATTRIBUTE list[24];
    CK_ULONG count;
    CK_BBOOL yes, no, token, extractable;
    CK_OBJECT_CLASS class;
    CK_KEY_TYPE type;
    CK_ULONG len;
};

static void add(struct template *t, CK_ATTRIBUTE_TYPE type, const void *value, CK_ULONG len)
{
    t->list[t->count++] = (CK_ATTRIBUTE){ type, (void *)(uintptr_t)value, len };
}

#define ADD(t, type, value) add((t), (type), &(value), sizeof(value))

static void template_name(const struct work *work, struct template *t)
{
    if (!on_token(work) || uri_id(&work->uri) == NULL)
        add(t, CKA_ID, work->id, MAKING_ID_LEN);
    if (on_token(work))
        t->count = uri_add_names(&work->uri, t->list, t->count);
}

/* all: also the uses that not every token lets such a key have. */
static void template_make(const struct work *work, bool all, struct template *t)
{
    const struct secret_order *order = work->order;
    const struct secret_kind *kind = order->kind;
    size_t uses = all ? kind->use_count : kind->needed;

    *t = (struct template){ .yes = CK_TRUE,
                            .no = CK_FALSE,
                            .token = on_token(work),
                            .extractable = order->extractable,
                            .class = CKO_SECRET_KEY,
                            .type = kind->type,
                            .len = order->len };
    ADD(t, CKA_CLASS, t->class);
    ADD(t, CKA_KEY_TYPE, t->type);
    ADD(t, CKA_TOKEN, t->token);
    ADD(t, CKA_PRIVATE, t->yes);
    ADD(t, CKA_SENSITIVE, t->yes);
    ADD(t, CKA_EXTRACTABLE, t->extractable);
    for (size_t i = 0; i < uses; i++)
        ADD(t, kind->uses[i], t->yes);
    template_name(work, t);
    if (order->way != NULL)
        return;
    if (order->value.data != NULL)
        add(t, CKA_VALUE, order->value.data, order->value.len);
    else
        ADD(t, CKA_VALUE_LEN, t->len);
}

static CK_RV derive_once(struct session *session, struct work *work, struct template *t)
{
    struct handle base;
    CK_RV rv = object_handle(work->order->base->object, session, &base);

    return rv == CKR_OK
               ? session_derive(session, work->order->derive, base, t->list, t->count, &work->made)
               : rv;
}

static CK_RV make_once(struct session *session, struct work *work, bool all)
{
    CK_MECHANISM mechanism = { work->order->kind->generate, NULL, 0 };
    const struct making_way *way = work->order->way;
    struct template t;

    template_make(work, all, &t);
    if (way != NULL)
        return way->make(session, way->arg, t.list, t.count, &work->made);
    if (work->order->base != NULL)
        return derive_once(session, work, &t);
    return work->order->value.data != NULL
               ? session_create(session, t.list, t.count, &work->made)
               : session_generate_key(session, &mechanism, t.list, t.count, &work->made);
}

static CK_RV make(struct session *session, struct work *work)
{
    CK_RV rv = make_once(session, work, true);

    return generate_template_refused(rv) ? make_once(session, work, false) : rv;
}

/* On a keeper: no call but this one. */
static CK_RV make_session_object(struct session *session, void *arg)
{
    struct work *work = arg;
    CK_RV rv = make(session, work);

    if (rv == CKR_OK)
        work->home = pool_home(session);
    return rv;
}

/* On any session. RV_KEY_GONE where the key went with its keeper meanwhile. */
static CK_RV adopt(struct session *session, void *arg)
{
    struct work *work = arg;
    CK_RV rv = RV_KEY_GONE;

    if (handle_fits(work->made, session))
        rv = secret_key_read(work->order->provider, session, work->made, &work->key);
    if (rv == CKR_OK)
        object_own(work->key->object, (struct handle){ 0, 0 }, work->home);
    return rv == CKR_OBJECT_HANDLE_INVALID ? RV_KEY_GONE : rv;
}

/* Whether a secret key has the label or the id already. */
static CK_RV check_taken(struct session *session, struct work *work)
{
    static const CK_OBJECT_CLASS class = CKO_SECRET_KEY;

    return making_look(session, &work->uri, &class, 1, &work->taken);
}

/* Destroys what a try that failed may have left. */
static CK_RV sweep(struct session *session, void *arg)
{
    struct work *work = arg;
    CK_RV rv = making_destroy(session, CKO_SECRET_KEY, work->id);

    work->left = rv != CKR_OK;
    return rv;
}

static void note_left(struct work *work, CK_RV rv)
{
    struct verdict verdict = ckr_verdict(call_name(), rv);

    work->left = verdict.repair != REPAIR_NOTHING && verdict.begun;
}

static CK_RV make_and_read(struct session *session, struct work *work)
{
    const char *name;
    CK_RV rv;

    session->committed = !work->marked;
    rv = make(session, work);
    if (rv != CKR_OK) {
        note_left(work, rv);
        return rv;
    }
    rv = secret_key_read(work->order->provider, session, work->made, &work->key);
    name = call_name();
    if (rv != CKR_OK)
        work->left = session_destroy(session, work->made) != CKR_OK;
    call_named(name);
    return rv;
}

/* Looks and acts on one session: nobody else's key gets between. */
static CK_RV make_token_object(struct session *session, void *arg)
{
    struct work *work = arg;
    CK_RV rv = work->left && work->marked ? sweep(session, work) : CKR_OK;

    if (rv == CKR_OK && !work->order->add)
        rv = check_taken(session, work);
    return rv == CKR_OK && work->taken == NULL ? make_and_read(session, work) : rv;
}

static void drop(struct slot *slot, void *arg)
{
    const struct work *work = arg;

    object_destroy_session_object(slot, work->made);
    pool_unhome(&slot->pool, work->home);
}

/* With the mechanism, where there is one. */
static struct making making_of(struct work *work)
{
    const struct secret_order *order = work->order;
    struct making making = {
        .what = "import", .uri = &work->uri, .pins = &work->pins, .arg = work
    };

    if (order->way != NULL) {
        making.what = order->way->what;
        making.mechanism = order->way->mechanism;
        making.with = order->way->with;
    } else if (order->base != NULL) {
        making.what = "derive";
        making.mechanism = &order->derive->mechanism;
        making.with = object_names(order->base->object);
    } else if (order->value.data == NULL) {
        making.what = "generate";
        making.mechanism = &order->kind->generate;
    }
    return making;
}

static CK_RV make_token_key(struct work *work, struct slot *slot)
{
    const struct making making = making_of(work);
    CK_RV rv = making_run(slot, TO_WRITE, &making, make_token_object);

    if (rv != CKR_OK && work->left &&
        (!work->marked || !making_sweep(slot, &work->pins, sweep, work)))
        making_left(work->order->provider, &work->uri);
    return rv;
}

static CK_RV make_session_key(struct work *work, struct slot *slot)
{
    static const struct making_session tasks = { make_session_object, adopt, drop };
    const struct making making = making_of(work);

    return making_session_objects(slot, &making, &tasks);
}

static CK_RV make_on(struct slot *slot, void *arg)
{
    struct work *work = arg;
    CK_RV rv = on_token(work) ? make_token_key(work, slot) : make_session_key(work, slot);

    slot_changed(slot);
    return rv;
}

static void make_failed(CK_RV rv, void *arg)
{
    const struct work *work = arg;
    const struct secret_order *order = work->order;

    if (order->way != NULL)
        order->way->failed(rv, order->way->arg, work->uri.text);
    else if (order->base != NULL)
        (void)key_failed(order->base, "derive", order->derive->mechanism, rv);
    else if (order->value.data != NULL)
        error_raise_ckr(&order->provider->core, REASON_OPERATION, rv, "make bytes an %s key of %s",
                        order->kind->name, work->uri.text);
    else
        error_raise_ckr(&order->provider->core, REASON_OPERATION, rv, "generate a key (%s) for %s",
                        mechanism_name(order->kind->generate), work->uri.text);
}

static size_t order_len(const struct secret_order *order)
{
    return order->value.data != NULL ? order->value.len : order->len;
}

static bool fits(const struct secret_order *order)
{
    size_t len = order_len(order);

    if (order->way != NULL || secret_kind_fits(order->kind, len))
        return true;
    error_raise(&order->provider->core, REASON_PARAMETER, "an %s key cannot have %zu bytes",
                order->kind->name, len);
    return false;
}

/* On the token of the key that it is derived from. */
static bool beside(struct work *work)
{
    CK_RV rv = make_on(work->order->base->object->slot, work);

    if (rv != CKR_OK)
        make_failed(rv, work);
    return rv == CKR_OK;
}

static bool where(struct work *work)
{
    const struct where where = { .provider = work->order->provider,
                                 .uri = &work->uri,
                                 .token_object = on_token(work),
                                 .named = on_token(work),
                                 .make = make_on,
                                 .failed = make_failed,
                                 .arg = work };

    return where_make(&where) &&
           (work->taken == NULL ||
            making_refuse_taken(where.provider, &work->uri, "a secret key", work->taken));
}

struct key *secret_key_make(const struct secret_order *order)
{
    KEEP_ERRNO;
    struct work work = { .order = order };

    if (!fits(order))
        return NULL;
    if (open_default(order->provider, order->uri != NULL ? order->uri : "pkcs11:", "pkcs11_uri",
                     &work.uri, &work.pins) &&
        making_id(order->provider, "make", work.id)) {
        work.marked = uri_id(&work.uri) == NULL;
        (void)(order->base != NULL ? beside(&work) : where(&work));
    }
    uri_clear(&work.uri);
    if (work.key != NULL) {
        work.key->kind = order->kind;
        if (order->way == NULL)
            work.key->secret_len = order_len(order);
    }
    return work.key;
}
