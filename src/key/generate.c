#include "key/generate.h"

#include <string.h>

#include <openssl/crypto.h>

#include "base/scope.h"
#include "key/making.h"
#include "key/open.h"
#include "key/proof.h"
#include "key/public.h"
#include "key/reading.h"
#include "key/templates.h"
#include "key/where.h"
#include "module/call.h"
#include "module/names.h"
#include "token/run.h"
#include "uri/uri.h"

struct work {
    const struct generation *generation;
    struct uri uri;
    struct pin_source pins;
    bool token_object;
    CK_MECHANISM_TYPE mechanism; /* tried last, or first of all, for messages */
    const char *taken;           /* what another key has already: "label" or "id" */
    bool marked;                 /* the pair is made with mark for its CKA_ID, which changes then */
    uint8_t mark[MAKING_ID_LEN]; /* random */
    uint8_t id[MAKING_ID_LEN];   /* what it changes to, once id_known is set */
    bool id_known;
    bool left; /* a try that failed may have left a pair, or half of one */
    struct pair {
        struct handle private, public;
    } pair;
    unsigned long home; /* of the keeper that a pair of session objects was made on */
    struct key *key;
};

static bool work_open(struct work *work)
{
    const struct generation *generation = work->generation;
    const char *text = generation->uri != NULL ? generation->uri : "pkcs11:";

    return open_default(generation->provider, text, "pkcs11_uri", &work->uri, &work->pins);
}

/* The next way to ask for such a pair; the first where row is NULL. */
static const struct generate_row *next_way(const struct generation *generation,
                                           const struct generate_row *row)
{
    const struct generate_kind kind = { generation->curve, key_type_set_or_none(generation->type) };

    return generate_next(&kind, row);
}

static bool generate_failed(const struct work *work, CK_RV rv)
{
    const struct core *core = &work->generation->provider->core;

    const struct making_way *way = work->generation->way;

    if (way != NULL && rv != RV_NO_PUBLIC_HALF && rv != RV_OTHER_HALF)
        way->failed(rv, way->arg, work->uri.text);
    else if (work->generation->import != NULL && work->token_object)
        error_raise_ckr(core, REASON_OPERATION, rv, "store a private key at %s", work->uri.text);
    else if (work->generation->import != NULL)
        error_raise_ckr(core, REASON_OPERATION, rv,
                        "make a private key a session key of %s (pkcs11-module-import)",
                        work->uri.text);
    else
        error_raise_ckr(core, REASON_OPERATION, rv, "generate a key (%s) for %s",
                        mechanism_name(work->mechanism), work->uri.text);
    return false;
}

/* Whether a key has the label or the id already. */
static CK_RV check_taken(struct session *session, struct work *work)
{
    static const CK_OBJECT_CLASS classes[] = { CKO_PRIVATE_KEY, CKO_PUBLIC_KEY };

    return making_look(session, &work->uri, classes, COUNT(classes), &work->taken);
}

/* Both halves say what they are for. */
static const struct twins alone = { .unrestricted = true };

/* The public half as the private key shows it. */
static CK_RV read_half(struct session *session, struct work *work, struct handle private,
                       struct key **half)
{
    const char *unusable = NULL;
    CK_RV rv = public_read_key(work->generation->provider, session, private, CKO_PRIVATE_KEY,
                               &alone, half, &unusable);

    return rv == CKR_OK && *half == NULL ? RV_NO_PUBLIC_HALF : rv;
}

static CK_RV create_half(struct session *session, struct work *work, const struct generate_row *row,
                         struct templates *t, struct pair *pair)
{
    _cleanup_(key_scoped) struct key *shown = NULL;
    const struct key *half = work->generation->half;
    CK_RV rv = CKR_OK;

    if (half == NULL)
        rv = read_half(session, work, pair->private, &shown);
    if (rv != CKR_OK)
        return rv;
    templates_half(half != NULL ? half : shown, row, t);
    return session_create(session, t->public, t->public_count, &pair->public);
}

/* Both halves of a key that is there already, or none. */
static CK_RV create_pair(struct session *session, struct work *work, const struct generate_row *row,
                         struct templates *t, struct pair *pair)
{
    const struct making_way *way = work->generation->way;
    CK_RV rv = way != NULL
                   ? way->make(session, way->arg, t->private, t->private_count, &pair->private)
                   : session_create(session, t->private, t->private_count, &pair->private);
    const char *name;

    if (rv != CKR_OK)
        return rv;
    rv = create_half(session, work, row, t, pair);
    name = call_name();
    if (rv != CKR_OK)
        (void)session_destroy(session, pair->private);
    call_named(name);
    return rv;
}

static CK_RV make_pair_once(struct session *session, struct work *work,
                            const struct generate_row *row, bool all, struct pair *pair)
{
    CK_MECHANISM mechanism = { row->mechanism, NULL, 0 };
    const struct template_names names = { .uri = work->token_object ? &work->uri : NULL,
                                          .mark = work->marked ? work->mark : NULL };
    struct templates t;

    templates_make(work->generation, row, all, &names, &t);
    if (generation_is_there(work->generation))
        return create_pair(session, work, row, &t, pair);
    return session_generate_pair(session, &mechanism, t.public, t.public_count, t.private,
                                 t.private_count, &pair->public, &pair->private);
}

/* Whether both halves are gone. */
static bool destroy_pair(struct session *session, const struct pair *pair)
{
    const char *name = call_name();
    CK_RV private = session_destroy(session, pair->private);
    CK_RV public = session_destroy(session, pair->public);

    call_named(name);
    return private == CKR_OK && public == CKR_OK;
}

/* Destroys what a try that failed may have left. Only a pair of this call has these ids. */
static CK_RV sweep(struct session *session, void *arg)
{
    static const CK_OBJECT_CLASS classes[] = { CKO_PRIVATE_KEY, CKO_PUBLIC_KEY };
    struct work *work = arg;
    CK_RV rv = CKR_OK;

    for (size_t i = 0; rv == CKR_OK && i < COUNT(classes); i++) {
        rv = making_destroy(session, classes[i], work->mark);
        if (rv == CKR_OK && work->id_known)
            rv = making_destroy(session, classes[i], work->id);
    }
    work->left = rv != CKR_OK;
    return rv;
}

/* Whether a key has the id that the caller chose, which was free before: then it is the call's that
 * failed, or somebody else's. */
static bool left_by_id(struct session *session, struct work *work)
{
    bool left = check_taken(session, work) != CKR_OK || work->taken != NULL;

    work->taken = NULL;
    return left;
}

/* What the call that failed may have left. Where another way is to be tried next, it goes first:
 * what comes of that has the same names. */
static void note_left(struct session *session, struct work *work, CK_RV rv)
{
    const char *name = call_name();
    struct verdict verdict = ckr_verdict(name, rv);

    work->left = work->token_object && verdict.repair != REPAIR_NOTHING && verdict.begun;
    if (!work->left || !generate_not_supported(rv))
        return;
    if (work->marked)
        (void)sweep(session, work);
    else
        work->left = left_by_id(session, work);
    call_named(name);
}

/* Whether the token has the mechanism of the row; what is imported needs none. Of the mechanism for
 * ML-DSA NSS softokn says that it makes keys, not pairs. */
static CK_RV way_is_there(struct session *session, const struct work *work,
                          const struct generate_row *row, bool *has)
{
    CK_RV rv;

    *has = true;
    if (generation_is_there(work->generation))
        return CKR_OK;
    rv = slot_mechanism(session, row->mechanism, CKF_GENERATE_KEY_PAIR, has);
    if (rv == CKR_OK && !*has && row->by == GENERATE_SET)
        rv = slot_mechanism(session, row->mechanism, CKF_GENERATE, has);
    return rv;
}

/* One way after the other, until the token has one. */
static CK_RV make_pair(struct session *session, struct work *work, struct pair *pair)
{
    const struct generate_row *row = NULL;
    CK_RV rv = CKR_MECHANISM_INVALID;

    while (generate_not_supported(rv) && !work->left &&
           (row = next_way(work->generation, row)) != NULL) {
        bool has;
        CK_RV told = way_is_there(session, work, row, &has);

        if (told == CKR_OK && !has)
            continue;
        work->mechanism = row->mechanism;
        if (told != CKR_OK)
            return told;
        rv = make_pair_once(session, work, row, true, pair);
        if (generate_template_refused(rv))
            rv = make_pair_once(session, work, row, false, pair);
        if (rv != CKR_OK)
            note_left(session, work, rv);
    }
    return rv;
}

/* The first bytes of the SHA-256 of the SubjectPublicKeyInfo. */
static bool derive_id(const struct key *key, uint8_t *id)
{
    HOST_WORK;
    uint8_t hash[DIGEST_MAX];
    size_t der_len = 0, hash_len = 0;
    _cleanup_(free_scoped) uint8_t *der = key_spki(key, &der_len);

    if (der == NULL || EVP_Q_digest(key->provider->host.libctx, "SHA256", NULL, der, der_len, hash,
                                    &hash_len) != 1)
        return false;
    memcpy(id, hash, MAKING_ID_LEN);
    return true;
}

static CK_RV set_id(struct session *session, struct work *work, const struct pair *pair)
{
    _cleanup_(key_scoped) struct key *public = NULL;
    CK_ATTRIBUTE attribute = { CKA_ID, work->id, sizeof(work->id) };
    const char *unusable = NULL;
    CK_RV rv = public_read_key(work->generation->provider, session, pair->public, CKO_PUBLIC_KEY,
                               &alone, &public, &unusable);

    if (rv != CKR_OK)
        return rv;
    if (public == NULL || !derive_id(public, work->id))
        return RV_NO_PUBLIC_HALF;
    work->id_known = true;
    rv = session_set(session, pair->private, &attribute, 1);
    if (rv != CKR_OK)
        return rv;
    return session_set(session, pair->public, &attribute, 1);
}

/* Whether the public half that came with a private key is that one's: the token found it by its
 * name alone. */
static CK_RV prove(struct session *session, const struct work *work, const struct pair *pair)
{
    _cleanup_(free_scoped) struct attributes *attributes = OPENSSL_malloc(sizeof(*attributes));
    struct key *half = work->key;
    enum proof proof = PROOF_FOUND;
    size_t which;
    CK_RV rv = CKR_HOST_MEMORY;

    if (!key_same_public(work->generation->half, work->key))
        return RV_OTHER_HALF;
    if (attributes != NULL)
        rv = reading_any(work->generation->provider, session, pair->private, attributes);
    if (rv == CKR_OK && !key_type_is_rsa(half->type))
        rv = proof_ask(session, pair->private, attributes, &half, 1, &proof, &which);
    return rv == CKR_OK && proof == PROOF_NONE ? RV_OTHER_HALF : rv;
}

/* Names the pair and makes the key of it. */
static CK_RV adopt(struct session *session, struct work *work, const struct pair *pair)
{
    const char *unusable = NULL;
    CK_RV rv = CKR_OK;

    if (work->marked)
        rv = set_id(session, work, pair);
    if (rv == CKR_OK)
        rv = public_read_key(work->generation->provider, session, pair->private, CKO_PRIVATE_KEY,
                             &alone, &work->key, &unusable);
    if (rv == CKR_OK && work->key == NULL)
        rv = RV_NO_PUBLIC_HALF;
    if (rv == CKR_OK && work->generation->way != NULL && work->generation->half != NULL)
        rv = prove(session, work, pair);
    if (rv != CKR_OK)
        key_free(MOVE(work->key));
    return rv;
}

static CK_RV make_and_adopt(struct session *session, struct work *work)
{
    CK_RV rv;

    work->id_known = false;
    /* what may be left without a mark cannot be told from another key with that id */
    session->committed = !work->marked;
    rv = make_pair(session, work, &work->pair);
    if (rv != CKR_OK)
        return rv;
    rv = adopt(session, work, &work->pair);
    if (rv == CKR_OK)
        return rv;
    work->left = !destroy_pair(session, &work->pair);
    session->committed = session->committed && work->left;
    return rv;
}

/* Looks and acts on one session: nobody else's key gets between. */
static CK_RV generate(struct session *session, void *arg)
{
    struct work *work = arg;
    CK_RV rv = work->left ? sweep(session, work) : CKR_OK;

    if (rv == CKR_OK && !work->generation->add)
        rv = check_taken(session, work);
    return rv == CKR_OK && work->taken == NULL ? make_and_adopt(session, work) : rv;
}

/* On a keeper, of which there are few: no call but this one. */
static CK_RV generate_session_objects(struct session *session, void *arg)
{
    struct work *work = arg;
    CK_RV rv = make_pair(session, work, &work->pair);

    if (rv == CKR_OK)
        work->home = pool_home(session);
    return rv;
}

static bool is_as_wanted(const struct work *work)
{
    const struct key *half = work->generation->half;

    return half == NULL || key_same_public(half, work->key);
}

static CK_RV read_pair(struct session *session, struct work *work)
{
    struct provider *provider = work->generation->provider;
    _cleanup_(free_scoped) struct attributes *private = OPENSSL_malloc(sizeof(*private));
    _cleanup_(free_scoped) struct attributes *public = OPENSSL_malloc(sizeof(*public));
    struct twins twins = { .list = { public } };
    const char *unusable = NULL;
    CK_RV rv;

    if (private == NULL || public == NULL)
        return CKR_HOST_MEMORY;
    rv = reading_any(provider, session, work->pair.private, private);
    if (rv == CKR_OK && !reading_shows_half(private)) {
        rv = reading_any(provider, session, work->pair.public, public);
        twins.count = 1;
    }
    if (rv == CKR_OK)
        rv = public_make_private(provider, session, work->pair.private, private, &twins, &work->key,
                                 &unusable);
    if (work->key != NULL && !is_as_wanted(work))
        key_free(MOVE(work->key));
    return rv == CKR_OK && work->key == NULL ? RV_NO_PUBLIC_HALF : rv;
}

/* On any session. RV_KEY_GONE where the pair went with its keeper meanwhile. */
static CK_RV adopt_session_objects(struct session *session, void *arg)
{
    struct work *work = arg;
    CK_RV rv = RV_KEY_GONE;

    if (handle_fits(work->pair.private, session))
        rv = read_pair(session, work);
    if (rv == CKR_OK)
        object_own(work->key->object, work->pair.public, work->home);
    return rv == CKR_OBJECT_HANDLE_INVALID ? RV_KEY_GONE : rv;
}

static void drop_session_objects(struct slot *slot, void *arg)
{
    const struct work *work = arg;

    object_destroy_session_object(slot, work->pair.private);
    object_destroy_session_object(slot, work->pair.public);
    pool_unhome(&slot->pool, work->home);
}

/* The last try to leave nothing behind. */
static void clean_up(struct work *work, struct slot *slot)
{
    if (!work->marked || !making_sweep(slot, &work->pins, sweep, work))
        making_left(work->generation->provider, &work->uri);
}

static struct making making_of(struct work *work)
{
    const struct making_way *way = work->generation->way;
    struct making making = { .what = work->generation->import != NULL ? "import" : "generate",
                             .mechanism = &work->mechanism,
                             .uri = &work->uri,
                             .pins = &work->pins,
                             .arg = work };

    if (way != NULL) {
        making.what = way->what;
        making.mechanism = way->mechanism;
        making.with = way->with;
    }
    return making;
}

static CK_RV make_session_key(struct work *work, struct slot *slot)
{
    const struct making making = making_of(work);
    static const struct making_session tasks = { .make = generate_session_objects,
                                                 .read = adopt_session_objects,
                                                 .drop = drop_session_objects };

    return making_session_objects(slot, &making, &tasks);
}

static CK_RV make_token_key(struct work *work, struct slot *slot)
{
    const struct making making = making_of(work);
    CK_RV rv = making_run(slot, TO_WRITE, &making, generate);

    if (rv != CKR_OK && work->left)
        clean_up(work, slot);
    return rv;
}

static CK_RV make_on(struct slot *slot, void *arg)
{
    struct work *work = arg;
    CK_RV rv = work->token_object ? make_token_key(work, slot) : make_session_key(work, slot);

    slot_changed(slot);
    return rv;
}

static void make_failed(CK_RV rv, void *arg)
{
    (void)generate_failed(arg, rv);
}

/* Where nobody names a token, it is the first: so the ephemeral keys of TLS have it. */
static bool make(struct work *work)
{
    const struct where where = { .provider = work->generation->provider,
                                 .uri = &work->uri,
                                 .token_object = work->token_object,
                                 .named = work->generation->uri != NULL,
                                 .make = make_on,
                                 .failed = make_failed,
                                 .arg = work };

    return where_make(&where) &&
           (work->taken == NULL ||
            making_refuse_taken(where.provider, &work->uri, "a key", work->taken));
}

struct key *key_generate(const struct generation *generation)
{
    KEEP_ERRNO;
    struct work work = { .generation = generation,
                         .token_object = generation->uri != NULL && !generation->ephemeral,
                         .mechanism = next_way(generation, NULL)->mechanism };

    if (work_open(&work) && making_id(generation->provider, "generate", work.mark)) {
        work.marked = uri_id(&work.uri) == NULL || !work.token_object;
        (void)make(&work);
    }
    uri_clear(&work.uri);
    return work.key;
}
