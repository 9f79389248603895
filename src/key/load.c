#include "key/load.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>

#include "base/scope.h"
#include "key/doubt.h"
#include "key/load_error.h"
#include "key/load_phase.h"
#include "key/open.h"
#include "key/public.h"
#include "key/secret.h"
#include "module/call.h"
#include "token/run.h"

bool load_begin(struct load *load, struct provider *provider, const char *text)
{
    KEEP_ERRNO;
    *load = (struct load){ .provider = provider, .index = { .provider = provider } };
    return open_uri(provider, text, "the pkcs11 URI", &load->uri, &load->pins);
}

void load_want(struct load *load, enum load_want want)
{
    load->want = want;
}

void load_ask(struct load *load, struct secret *(*ask)(void *arg, const CK_TOKEN_INFO *token),
              void *arg)
{
    load->pins.ask = ask;
    load->pins.ask_arg = arg;
}

static bool load_start(struct load *load)
{
    struct module *module = provider_module(load->provider, load->uri.module_path);

    if (module == NULL)
        return false;
    load->phases = load_phases(load);
    scan_begin(&load->scan, module, &load->uri, &load->provider->config.limits);
    return true;
}

static CK_ULONG add_criteria(const struct load *load, CK_ATTRIBUTE *template, CK_ULONG count)
{
    const struct {
        CK_ATTRIBUTE_TYPE type;
        const struct bytes *value;
    } criteria[] = { { CKA_SUBJECT, &load->subject },
                     { CKA_ISSUER, &load->issuer },
                     { CKA_SERIAL_NUMBER, &load->serial },
                     { CKA_LABEL, &load->alias } };

    for (size_t i = 0; i < COUNT(criteria); i++)
        if (criteria[i].value->data != NULL)
            template[count++] =
                (CK_ATTRIBUTE){ criteria[i].type, criteria[i].value->data, criteria[i].value->len };
    return count;
}

static bool names_object(const struct load *load)
{
    return load->uri.names_object || load->alias.data != NULL;
}

static CK_RV search(struct session *session, void *arg)
{
    struct load *load = arg;
    CK_OBJECT_CLASS class = load->phase->class;
    CK_ATTRIBUTE template[TEMPLATE_MAX] = { { CKA_CLASS, &class, sizeof(class) } };
    CK_ULONG count = 1;
    CK_RV rv;

    count = uri_add_names(&load->uri, template, count);
    count = add_criteria(load, template, count);
    if (count == 1 && index_handles(&load->index, session, class, &load->handles))
        return CKR_OK;
    rv = session_find_all(session, template, count,
                          names_object(load) ? END_WHEN_FEWER : END_WHEN_NONE, &load->handles);
    if (rv == CKR_OK && load->handles.count == 0 && load->phase->login == WITH_LOGIN)
        rv = login_confirm(session);
    return rv;
}

static void note_failure(struct load *load, CK_RV rv)
{
    if (load->failure != CKR_OK)
        return;
    load->failure = rv;
    load->failed_call = call_name();
    (void)OPENSSL_strlcpy(load->failed_detail, call_detail(), sizeof(load->failed_detail));
}

/* Whether the phase is for private keys by name. */
static bool is_by_name(const struct load *load)
{
    return load->phase->class == CKO_PRIVATE_KEY && !load->phase->public_half &&
           load->uri.names_object && load->alias.data == NULL;
}

static CK_RV run_here(struct load *load, bool login, struct pin_source *pins, session_task *task,
                      void *arg)
{
    struct run run = { .slot = load->slot,
                       .login = login,
                       .elsewhere = true,
                       .pins = pins,
                       .task = task,
                       .arg = arg };

    return run_task(&run);
}

static CK_RV run_phase_task(struct load *load, session_task *task, void *arg)
{
    return run_here(load, load->phase->login != WITHOUT_LOGIN, &load->pins, task, arg);
}

/* There is room: at most LOADED_MOST are made before they are given out. */
static void push(struct load *load, struct loaded loaded)
{
    if (load->given == load->made)
        load->given = load->made = 0;
    load->loaded[load->made++] = loaded;
    load->found++;
    load->found_here++;
}

static void push_keys(struct load *load, const struct named *named)
{
    for (CK_ULONG i = 0; i < named->count; i++)
        push(load, (struct loaded){ .what = LOAD_KEY, .key = named->keys[i] });
}

/* Makes the private keys by name; true when there is nothing left to do in this phase. */
static bool run_by_name(struct load *load)
{
    struct named named = { .provider = load->provider, .uri = &load->uri };
    CK_RV rv = run_phase_task(load, named_find, &named);

    if (rv != CKR_OK)
        note_failure(load, rv);
    else if (named.unusable != NULL)
        load->unusable = named.unusable;
    push_keys(load, &named);
    return rv != CKR_OK || !named.many;
}

/* Searches the slot with the phase. What stands in the way of one token must not hide the others.
 */
static void run_phase(struct load *load)
{
    CK_RV rv;

    load->next = load->handles.count = 0;
    if (is_by_name(load) && run_by_name(load))
        return;
    rv = run_phase_task(load, search, load);
    load->index.keys = load->handles.count;
    if (rv == CKR_OK)
        return;
    note_failure(load, rv);
    load->handles.count = 0;
}

/* Whether the module is to be asked again what its slots have, since it could not say that, or that
 * of a token which it had shown. */
static bool look_again(struct load *load)
{
    struct scan *scan = &load->scan;

    return (load->failure != CKR_OK && scan_again(scan, load->failure, load->failed_call)) ||
           (scan->failure != CKR_OK && scan_again(scan, scan->failure, scan->failed_call));
}

/* The next token that fits, with its first search. */
static CK_RV load_next_slot(struct load *load)
{
    CK_RV rv = scan_next(&load->scan, &load->slot);
    bool nothing = rv == CKR_OK && load->slot == NULL && load->found == 0;

    if (nothing && (load->failure == CKR_OK || load->failure == RV_TOKEN_GONE) &&
        scan_widen(&load->scan))
        rv = scan_next(&load->scan, &load->slot);
    else if (nothing && look_again(load)) {
        load->failure = CKR_OK;
        rv = scan_next(&load->scan, &load->slot);
    }
    load->phase = load->phases;
    load->found_here = 0;
    load->no_logins = false;
    index_clear(&load->index);
    return rv;
}

/* All private keys of the token have said what they are for. */
static void phase_end(struct load *load)
{
    if (load->phase->class == CKO_PRIVATE_KEY && load->failure == CKR_OK && !names_object(load))
        index_done(&load->index, INDEX_PRIVATE);
    load->phase++;
}

/* Runs the next search that applies, here or on the next token. Nothing left: load->slot is NULL.
 */
static CK_RV load_advance(struct load *load)
{
    if (load->slot != NULL)
        phase_end(load);
    while (load->slot == NULL || load->phase->class == NO_CLASS) {
        CK_RV rv = load_next_slot(load);

        if (rv != CKR_OK || load->slot == NULL)
            return rv;
    }
    if (load_phase_applies(load))
        run_phase(load);
    return CKR_OK;
}

struct make_task {
    struct load *load;
    CK_ULONG index;       /* of the handle */
    struct loaded loaded; /* nothing in it: the object is none that is wanted */
    bool in_doubt;        /* the type of a public key */
};

/* The URI of a secret key; one without id and label has none. */
static CK_RV make_name(struct session *session, struct handle handle, struct make_task *task)
{
    static const CK_ATTRIBUTE_TYPE types[] = { CKA_ID, CKA_LABEL };
    _cleanup_(free_scoped) struct attributes *attributes = OPENSSL_malloc(sizeof(*attributes));
    const CK_ATTRIBUTE *id, *label;
    CK_RV rv = CKR_HOST_MEMORY;

    task->loaded.what = LOAD_NAME;
    if (attributes != NULL)
        rv = attributes_read(session, handle, types, COUNT(types), attributes);
    if (rv != CKR_OK)
        return rv;
    id = attribute(attributes, CKA_ID);
    label = attribute(attributes, CKA_LABEL);
    if (id == NULL && label == NULL)
        return CKR_OK;
    task->loaded.name =
        uri_format(&session->slot->token.info, CKO_SECRET_KEY, id != NULL ? id->pValue : NULL,
                   id != NULL ? id->ulValueLen : 0, label != NULL ? label->pValue : NULL,
                   label != NULL ? label->ulValueLen : 0);
    return task->loaded.name != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV make_secret(struct session *session, struct handle handle, struct make_task *task)
{
    if (task->load->want != LOAD_SECRET)
        return make_name(session, handle, task);
    task->loaded.what = LOAD_KEY;
    return secret_key_read(task->load->provider, session, handle, &task->loaded.key);
}

static CK_RV make_certificate(struct session *session, struct handle handle, struct make_task *task)
{
    const struct attributes *known =
        index_read(&task->load->index, session, INDEX_CERTIFICATE, handle);
    const CK_ATTRIBUTE *value = known != NULL ? attribute(known, CKA_VALUE) : NULL;
    struct bytes *der = &task->loaded.certificate;

    task->loaded.what = LOAD_CERT;
    if (value == NULL) {
        CK_RV rv = attribute_value(session, handle, CKA_VALUE, der);

        if (rv == CKR_OK && der->data == NULL)
            task->load->unusable = "it is a certificate without CKA_VALUE: there is nothing in it";
        return rv;
    }
    return bytes_set(der, value->pValue, value->ulValueLen) ? CKR_OK : CKR_HOST_MEMORY;
}

/* Whether private keys of the URI's name were opened before, and said nothing about that of a
 * public key. */
static bool is_unrestricted(const struct load *load, struct slot *slot)
{
    CK_ATTRIBUTE name[TEMPLATE_MAX];
    CK_ULONG count = uri_add_names(&load->uri, name, 0);
    struct places places;

    return load->uri.names_object && place_recall(slot, name, count, &places) &&
           places_unrestricted(&places);
}

static CK_RV make_key(struct session *session, struct handle handle, struct make_task *task)
{
    struct load *load = task->load;
    CK_OBJECT_CLASS class = load->phase->class;
    const struct twins twins = { .index = &load->index,
                                 .unrestricted = class == CKO_PUBLIC_KEY &&
                                                 is_unrestricted(load, session->slot),
                                 .in_doubt = &task->in_doubt };
    const char *unusable = NULL;
    CK_RV rv;

    task->loaded.what = LOAD_KEY;
    rv = public_read_key(load->provider, session, handle, class, &twins, &task->loaded.key,
                         &unusable);
    if (rv == CKR_OK && task->loaded.key == NULL)
        load->unusable = unusable;
    return rv;
}

static CK_RV make_one(struct session *session, struct handle handle, struct make_task *task)
{
    switch (task->load->phase->class) {
    case CKO_SECRET_KEY:
        return make_secret(session, handle, task);
    case CKO_CERTIFICATE:
        return make_certificate(session, handle, task);
    default:
        return make_key(session, handle, task);
    }
}

/* Where the handles went stale since they were found, they are found again first. */
static CK_RV make(struct session *session, void *arg)
{
    struct make_task *task = arg;
    struct load *load = task->load;
    struct handle *handle;
    CK_RV rv = CKR_OK;

    if (!handle_fits(load->handles.list[task->index], session))
        rv = search(session, load);
    if (rv != CKR_OK || task->index >= load->handles.count)
        return rv;
    handle = &load->handles.list[task->index];
    rv = make_one(session, *handle, task);
    if (rv == CKR_OBJECT_HANDLE_INVALID) {
        *handle = (struct handle){ 0, 0 }; /* the search is made anew */
        index_forget(&load->index, load->phase->class);
    }
    return rv;
}

/* What the keys that come next may be found by. */
static void bring_index(struct load *load)
{
    while (index_due(&load->index))
        if (run_phase_task(load, index_step, &load->index) != CKR_OK)
            index_abandon(&load->index);
}

/* With a login, where that is to be had without a person, and is not forbidden: an RSA key may be
 * for PSS alone, which its private half says. Without, it is what the public half says. */
static void make_without_doubt(struct load *load, const struct make_task *doubtful,
                               struct key **key)
{
    struct make_task task = { .load = load, .index = doubtful->index };
    struct pin_source pins = load->pins;

    if (load->no_logins || load->provider->config.login == LOGIN_NEVER)
        return;
    pins.ask = NULL;
    if (run_here(load, true, &pins, make, &task) == CKR_OK && task.loaded.key != NULL) {
        key_free(*key);
        *key = task.loaded.key;
        return;
    }
    load->no_logins = true;
}

/* What is at the next handle: nothing if it is not for us. */
static void load_make(struct load *load)
{
    struct make_task task = { .load = load, .index = load->next++ };
    struct loaded *loaded = &task.loaded;
    CK_RV rv;

    bring_index(load);
    rv = run_phase_task(load, make, &task);
    if (rv != CKR_OK) {
        note_failure(load, rv);
        return;
    }
    if (loaded->key != NULL && task.in_doubt)
        make_without_doubt(load, &task, &loaded->key);
    if (loaded->key != NULL && load->phase->public_half)
        key_make_public(loaded->key);
    if (loaded->key != NULL || loaded->certificate.data != NULL || loaded->name != NULL)
        push(load, *loaded);
}

static enum load_result load_finish(struct load *load, CK_RV rv)
{
    load->slot = NULL;
    if (load->failure == CKR_OK) {
        load->failure = load->scan.failure;
        load->failed_call = load->scan.failed_call;
    }
    if (rv != CKR_OK) {
        load_raise_failure(load, REASON_TOKEN_FAILED, rv);
        return LOAD_FAILED;
    }
    if (load->found != 0)
        return LOAD_END;
    load_raise_nothing(load);
    return LOAD_FAILED;
}

static void name_clear(struct load *load)
{
    free(load->name);
    load->name = NULL;
}

static void drop_loaded(struct load *load)
{
    for (; load->given < load->made; load->given++) {
        struct loaded *loaded = &load->loaded[load->given];

        key_free(loaded->key);
        bytes_clear(&loaded->certificate);
        free(loaded->name);
    }
}

/* Makes one object more, or searches once more; *more is false at the end. */
static CK_RV load_step(struct load *load, bool *more)
{
    CK_RV rv = CKR_OK;

    if (load->next < load->handles.count)
        load_make(load);
    else
        rv = load_advance(load);
    *more = rv == CKR_OK && load->slot != NULL;
    return rv;
}

/* Until there is something to give out. */
static CK_RV load_some(struct load *load)
{
    bool more = true;
    CK_RV rv = CKR_OK;

    while (more && load->given == load->made)
        rv = load_step(load, &more);
    return rv;
}

/* Room for an error's text. */
#define DOUBT_TEXT_MAX 1024

/* The key that is given out next is so in doubt, and its use is the error. False, with an error
 * raised, when memory is short. */
static bool doubt(struct load *load, const struct candidates *candidates, const char *what,
                  const char *advice)
{
    char text[DOUBT_TEXT_MAX];

    (void)snprintf(text, sizeof(text),
                   "cannot tell which private key %s means, %s: %s: %s, or set pkcs11-ambiguous = "
                   "first",
                   load->uri.text, what, candidates->text, advice);
    load->doubt = doubt_new(text);
    if (load->doubt != NULL)
        load->loaded[load->given].key->doubt = doubt_ref(load->doubt);
    else
        error_raise(&load->provider->core, REASON_MEMORY, "out of memory");
    return load->doubt != NULL;
}

/* The URI does not name a key, and there are several on the token. */
static bool settle_key(struct load *load)
{
    struct candidates candidates = { .count = 0 };

    while (load->next < load->handles.count && load->made < LOADED_MOST)
        load_make(load);
    for (unsigned i = load->given; i < load->made; i++)
        candidates_add_key(&candidates, load->loaded[i].key);
    return candidates.count < 2 || doubt(load, &candidates, "which fits several",
                                         "put object= or id= in it (openssl storeutl lists them)");
}

struct look_task {
    struct load *load;
    bool found;
};

/* On another token that fits: whether there is such a key, or, where nobody is logged in, the
 * public half of one. No PIN is shown to it for the question. */
static CK_RV look(struct session *session, void *arg)
{
    struct look_task *task = arg;
    CK_OBJECT_CLASS class = session_sees_private(session) ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY;
    CK_ATTRIBUTE template[TEMPLATE_MAX] = { { CKA_CLASS, &class, sizeof(class) } };
    CK_ULONG count = uri_add_names(&task->load->uri, template, 1), found = 0;
    struct handle handle;
    CK_RV rv;

    count = add_criteria(task->load, template, count);
    rv = session_find(session, template, count, &handle, 1, &found);
    task->found = rv == CKR_OK && found != 0;
    return rv;
}

static bool has_such(struct load *load, struct slot *slot)
{
    struct look_task task = { .load = load };
    struct run run = { .slot = slot,
                       .elsewhere = true,
                       .once = true,
                       .pins = &load->pins,
                       .task = look,
                       .arg = &task };

    return run_task(&run) == CKR_OK && task.found;
}

/* Another token fits as well, and has such a key. */
static bool settle_token(struct load *load)
{
    _cleanup_(free_scoped) struct token_list *list = NULL;
    struct candidates candidates = { .count = 0 };
    struct slot *slot;
    CK_ULONG at = 0;

    candidates_add_token(&candidates, load->slot);
    while ((slot = scan_other(&load->scan, load->slot, &list, &at)) != NULL)
        if (has_such(load, slot))
            candidates_add_token(&candidates, slot);
    return candidates.count < 2 ||
           doubt(load, &candidates, "which fits several tokens that have one", "put serial= in it");
}

/* Finds out, once the first private key has been found, whether the URI tells it from others; where
 * it does not, the second tells a listing from a program that wants one. False with an error
 * raised.
 */
static bool load_settle(struct load *load)
{
    if (load->want != LOAD_PRIVATE || load->given == load->made)
        return true;
    if (load->settled) {
        doubt_lift(load->doubt);
        return true;
    }
    load->settled = true;
    if (load->provider->config.ambiguous_first)
        return true;
    return (names_object(load) || settle_key(load)) && (load->doubt != NULL || settle_token(load));
}

enum load_result load_next(struct load *load, struct key **key, struct bytes *certificate)
{
    KEEP_ERRNO;
    const struct loaded *loaded;
    CK_RV rv;

    *key = NULL;
    *certificate = (struct bytes){ NULL, 0 };
    name_clear(load);
    if (load->phases == NULL && !load_start(load))
        return LOAD_FAILED;
    rv = load_some(load);
    if (!load_settle(load)) {
        drop_loaded(load);
        return LOAD_FAILED;
    }
    if (load->given == load->made)
        return load_finish(load, rv);
    loaded = &load->loaded[load->given++];
    *key = loaded->key;
    *certificate = loaded->certificate;
    load->name = loaded->name;
    return loaded->what;
}

bool load_search(struct load *load, enum load_criterion criterion, const void *value, size_t len)
{
    struct bytes *const values[] = { [BY_SUBJECT] = &load->subject,
                                     [BY_ISSUER] = &load->issuer,
                                     [BY_SERIAL] = &load->serial,
                                     [BY_ALIAS] = &load->alias };

    bytes_clear(values[criterion]);
    return bytes_set(values[criterion], value, len);
}

void load_end(struct load *load)
{
    bytes_clear(&load->subject);
    bytes_clear(&load->issuer);
    bytes_clear(&load->serial);
    bytes_clear(&load->alias);
    name_clear(load);
    drop_loaded(load);
    doubt_close(load->doubt);
    doubt_free(load->doubt);
    handles_clear(&load->handles);
    index_clear(&load->index);
    scan_end(&load->scan);
    uri_clear(&load->uri);
}
