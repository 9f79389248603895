#include "key/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/scope.h"
#include "key/open.h"
#include "key/public.h"
#include "module/call.h"
#include "token/run.h"

enum phase_login {
    WITHOUT_LOGIN,
    WITH_LOGIN,
    LOGIN_IF_ALWAYS, /* with, and only when pkcs11-module-login-behavior says always */
    LOGIN_IF_AUTO,   /* with, and only when it says auto */
};

/* A search on one slot. */
struct load_phase {
    CK_OBJECT_CLASS class;
    enum phase_login login;
    bool fallback;    /* only while the slot gave nothing */
    bool public_half; /* of a private key */
};

#define NO_CLASS CK_UNAVAILABLE_INFORMATION

static const struct load_phase private_phases[] = {
    { CKO_PRIVATE_KEY, WITH_LOGIN, false, false },
    { NO_CLASS, WITHOUT_LOGIN, false, false },
};
/* provider-pkcs11(7): public keys are looked for without a login, with one if that finds none. */
static const struct load_phase public_phases[] = {
    { CKO_PUBLIC_KEY, LOGIN_IF_ALWAYS, false, false },
    { CKO_PUBLIC_KEY, WITHOUT_LOGIN, true, false },
    { CKO_PUBLIC_KEY, LOGIN_IF_AUTO, true, false },
    { CKO_PRIVATE_KEY, WITH_LOGIN, true, true },
    { NO_CLASS, WITHOUT_LOGIN, false, false },
};
static const struct load_phase public_half_phases[] = {
    { CKO_PRIVATE_KEY, WITH_LOGIN, false, true },
    { NO_CLASS, WITHOUT_LOGIN, false, false },
};
static const struct load_phase certificate_phases[] = {
    { CKO_CERTIFICATE, LOGIN_IF_ALWAYS, false, false },
    { CKO_CERTIFICATE, WITHOUT_LOGIN, true, false },
    { CKO_CERTIFICATE, LOGIN_IF_AUTO, true, false },
    { NO_CLASS, WITHOUT_LOGIN, false, false },
};
static const struct load_phase all_phases[] = {
    { CKO_PRIVATE_KEY, WITH_LOGIN, false, false },
    { CKO_PUBLIC_KEY, WITHOUT_LOGIN, false, false },
    { CKO_CERTIFICATE, WITHOUT_LOGIN, false, false },
    { CKO_SECRET_KEY, WITH_LOGIN, false, false },
    { NO_CLASS, WITHOUT_LOGIN, false, false },
};
static const struct load_phase secret_phases[] = {
    { CKO_SECRET_KEY, WITH_LOGIN, false, false },
    { NO_CLASS, WITHOUT_LOGIN, false, false },
};
static const struct load_phase no_phases[] = {
    { NO_CLASS, WITHOUT_LOGIN, false, false },
};

bool load_begin(struct load *load, struct provider *provider, const char *text)
{
    KEEP_ERRNO;
    *load = (struct load){ .provider = provider };
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

/* Whether secret keys are listed: by name, from the version on in which libcrypto has such keys at
 * all. Not where the URI names an object: a program that follows names would never end. */
static bool lists_secrets(const struct load *load)
{
    return load->want == LOAD_ANY && OpenSSL_version_num() >= 0x30500000UL &&
           uri_id(&load->uri) == NULL && uri_label(&load->uri) == NULL && load->alias.data == NULL;
}

static const struct load_phase *choose_phases(const struct load *load)
{
    CK_OBJECT_CLASS class;
    bool named = uri_class(&load->uri, &class);

    if (load->subject.data != NULL || load->issuer.data != NULL)
        return certificate_phases;
    if (named && class == CKO_CERTIFICATE)
        return load->want == LOAD_ANY || load->want == LOAD_CERTIFICATE ? certificate_phases
                                                                        : no_phases;
    if (load->want == LOAD_CERTIFICATE)
        return named ? no_phases : certificate_phases;
    if (named && class == CKO_PRIVATE_KEY)
        return load->want == LOAD_PUBLIC ? public_half_phases : private_phases;
    if (named && class == CKO_PUBLIC_KEY)
        return load->want == LOAD_PRIVATE ? no_phases : public_phases;
    if (named)
        return class == CKO_SECRET_KEY ? secret_phases : no_phases;
    return load->want == LOAD_PRIVATE  ? private_phases
           : load->want == LOAD_PUBLIC ? public_phases
                                       : all_phases;
}

static bool load_start(struct load *load)
{
    struct module *module = provider_module(load->provider, load->uri.module_path);

    if (module == NULL)
        return false;
    load->phases = choose_phases(load);
    scan_begin(&load->scan, module, &load->uri, &load->provider->config.limits);
    return true;
}

static bool phase_applies(const struct load *load)
{
    enum login_behavior login = load->provider->config.login;

    if (load->phase->class == CKO_SECRET_KEY)
        return lists_secrets(load);
    switch (load->phase->login) {
    case LOGIN_IF_ALWAYS:
        return login == LOGIN_ALWAYS;
    case LOGIN_IF_AUTO:
        return login == LOGIN_AUTO && load->found_here == 0;
    default:
        return !load->phase->fallback || load->found_here == 0;
    }
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

static CK_RV search(struct session *session, void *arg)
{
    struct load *load = arg;
    CK_OBJECT_CLASS class = load->phase->class;
    CK_ATTRIBUTE template[TEMPLATE_MAX] = { { CKA_CLASS, &class, sizeof(class) } };
    CK_ULONG count = 1;
    CK_RV rv;

    count = uri_add_names(&load->uri, template, count);
    count = add_criteria(load, template, count);
    rv = session_find(session, template, count, load->handles, FIND_BATCH, &load->count);
    if (rv == CKR_OK && load->count == 0 && load->phase->login == WITH_LOGIN)
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

static CK_RV run_phase_task(struct load *load, session_task *task, void *arg)
{
    struct run run = { .slot = load->slot,
                       .login = load->phase->login != WITHOUT_LOGIN,
                       .elsewhere = true,
                       .pins = &load->pins,
                       .task = task,
                       .arg = arg };

    return run_task(&run);
}

/* Finds the private keys by name; true when there is nothing left to do in this phase. */
static bool run_by_name(struct load *load)
{
    struct named *named = &load->named;
    CK_RV rv;

    *named = (struct named){ .provider = load->provider, .uri = &load->uri };
    rv = run_phase_task(load, named_find, named);
    if (rv != CKR_OK)
        note_failure(load, rv);
    else if (named->unusable != NULL)
        load->unusable = named->unusable;
    load->count = named->count;
    return rv != CKR_OK || !named->many;
}

/* Searches the slot with the phase. What stands in the way of one token must not hide the others.
 */
static void run_phase(struct load *load)
{
    CK_RV rv;

    load->next = load->count = 0;
    load->by_name = is_by_name(load) && run_by_name(load);
    if (load->by_name)
        return;
    rv = run_phase_task(load, search, load);
    if (rv == CKR_OK)
        return;
    note_failure(load, rv);
    load->count = 0;
}

/* Whether the module could not say what its slots have, or that of a token which it had shown. */
static bool slots_are_unclear(const struct load *load)
{
    const struct scan *scan = &load->scan;

    return (load->failure != CKR_OK && strcmp(load->failed_call, "C_GetTokenInfo") == 0) ||
           (scan->failure != CKR_OK && strcmp(scan->failed_call, "C_GetTokenInfo") == 0);
}

/* The next token that fits, with its first search. */
static CK_RV load_next_slot(struct load *load)
{
    CK_RV rv = scan_next(&load->scan, &load->slot);
    bool nothing = rv == CKR_OK && load->slot == NULL && load->found == 0;

    if (nothing && (load->failure == CKR_OK || load->failure == RV_TOKEN_GONE) &&
        scan_widen(&load->scan))
        rv = scan_next(&load->scan, &load->slot);
    else if (nothing && slots_are_unclear(load) && scan_renew(&load->scan)) {
        load->failure = CKR_OK;
        rv = scan_next(&load->scan, &load->slot);
    }
    load->phase = load->phases;
    load->found_here = 0;
    return rv;
}

/* Runs the next search that applies, here or on the next token. Nothing left: load->slot is NULL.
 */
static CK_RV load_advance(struct load *load)
{
    if (load->slot != NULL)
        load->phase++;
    while (load->slot == NULL || load->phase->class == NO_CLASS) {
        CK_RV rv = load_next_slot(load);

        if (rv != CKR_OK || load->slot == NULL)
            return rv;
    }
    if (phase_applies(load))
        run_phase(load);
    return CKR_OK;
}

struct make_task {
    struct load *load;
    CK_ULONG index;  /* of the handle */
    struct key *key; /* NULL: the object is no key for OpenSSL */
    struct bytes certificate;
};

/* The URI of a secret key into load->name; one without id and label has none. */
static CK_RV make_name(struct session *session, struct handle handle, struct load *load)
{
    static const CK_ATTRIBUTE_TYPE types[] = { CKA_ID, CKA_LABEL };
    _cleanup_(free_scoped) struct attributes *attributes = OPENSSL_malloc(sizeof(*attributes));
    const CK_ATTRIBUTE *id, *label;
    CK_RV rv = CKR_HOST_MEMORY;

    if (attributes != NULL)
        rv = attributes_read(session, handle, types, COUNT(types), attributes);
    if (rv != CKR_OK)
        return rv;
    id = attribute(attributes, CKA_ID);
    label = attribute(attributes, CKA_LABEL);
    if (id == NULL && label == NULL)
        return CKR_OK;
    load->name =
        uri_format(&session->slot->token.info, CKO_SECRET_KEY, id != NULL ? id->pValue : NULL,
                   id != NULL ? id->ulValueLen : 0, label != NULL ? label->pValue : NULL,
                   label != NULL ? label->ulValueLen : 0);
    return load->name != NULL ? CKR_OK : CKR_HOST_MEMORY;
}

static CK_RV make_one(struct session *session, struct handle handle, struct make_task *task)
{
    struct load *load = task->load;
    const char *unusable = NULL;
    CK_RV rv;

    if (load->phase->class == CKO_SECRET_KEY)
        return make_name(session, handle, load);
    if (load->phase->class == CKO_CERTIFICATE)
        return attribute_value(session, handle, CKA_VALUE, &task->certificate);
    rv =
        public_read_key(load->provider, session, handle, load->phase->class, &task->key, &unusable);
    if (rv == CKR_OK && task->key == NULL)
        load->unusable = unusable;
    return rv;
}

/* Where the handles went stale since they were found, they are found again first. */
static CK_RV make(struct session *session, void *arg)
{
    struct make_task *task = arg;
    struct load *load = task->load;
    struct handle *handle = &load->handles[task->index];
    CK_RV rv = make_one(session, *handle, task);

    if (rv == RV_STALE) {
        rv = search(session, load);
        if (rv == CKR_OK && task->index < load->count)
            rv = make_one(session, *handle, task);
    }
    if (rv == CKR_OBJECT_HANDLE_INVALID)
        *handle = (struct handle){ 0, 0 };
    return rv;
}

/* What is at the next handle: nothing if it is not for us. */
static bool load_make(struct load *load, struct key **key, struct bytes *certificate)
{
    struct make_task task = { load, load->next++, NULL, { NULL, 0 } };
    CK_RV rv = run_phase_task(load, make, &task);

    if (rv != CKR_OK) {
        note_failure(load, rv);
        return false;
    }
    if (task.key != NULL && load->phase->public_half)
        key_make_public(task.key);
    *key = task.key;
    *certificate = task.certificate;
    return task.key != NULL || task.certificate.data != NULL || load->name != NULL;
}

static const char *kind(const struct load *load)
{
    CK_OBJECT_CLASS class = CKO_DATA;

    if (load->want == LOAD_PRIVATE)
        return "private key";
    if (load->want == LOAD_PUBLIC)
        return "public key";
    if (load->want == LOAD_CERTIFICATE)
        return "certificate";
    (void)uri_class(&load->uri, &class);
    return class == CKO_PRIVATE_KEY   ? "private key"
           : class == CKO_PUBLIC_KEY  ? "public key"
           : class == CKO_CERTIFICATE ? "certificate"
                                      : "key";
}

static void raise_no_token(const struct load *load)
{
    const struct core *core = &load->provider->core;

    if (load->scan.uninitialized)
        error_raise_ckr(core, REASON_TOKEN, RV_TOKEN_UNINITIALIZED, "open %s", load->uri.text);
    else if (load->scan.seen[0] == '\0')
        error_raise(core, REASON_TOKEN,
                    "no token matches %s: the PKCS#11 module %s shows no initialised token",
                    load->uri.text, load->scan.module->path);
    else
        error_raise(core, REASON_TOKEN, "no token matches %s: the tokens there are: %s",
                    load->uri.text, load->scan.seen);
}

static enum reason reason_of(const struct load *load)
{
    static const CK_RV of_pins[] = { RV_PIN_MISSING, RV_PIN_REFUSED_BEFORE, RV_PIN_FINAL_TRY,
                                     RV_PIN_SOURCE,  RV_PIN_UNNAMED,        RV_LOGIN_FAILED };

    for (size_t i = 0; i < COUNT(of_pins); i++)
        if (load->failure == of_pins[i])
            return REASON_PIN;
    if (load->failure == RV_HOST_LACKS)
        return REASON_CONFIGURATION;
    if (strcmp(load->failed_call, "C_Login") == 0)
        return REASON_PIN;
    return load->failure == RV_TOKEN_GONE ? REASON_TOKEN : REASON_TOKEN_FAILED;
}

/* The command that lists what is there: on the one token that was looked at, or on all. */
static const char *listing(const struct scan *scan, char *buf, size_t size)
{
    bool one = scan->seen[0] != '\0' && strstr(scan->seen, "', '") == NULL;
    int len = one ? (int)strlen(scan->seen) - 2 : 0;

    (void)snprintf(buf, size, "openssl storeutl -noout -text \"pkcs11:%s%.*s\"",
                   one ? "token=" : "", len, scan->seen + one);
    return buf;
}

/* Programs look for certificates that may not be there, OSSL_STORE_find(3). */
static bool is_search(const struct load *load)
{
    return load->subject.data != NULL || load->issuer.data != NULL || load->serial.data != NULL ||
           load->alias.data != NULL;
}

/* "open <uri>" failed, at the module itself or at a slot or further on. */
static void raise_failure(const struct load *load, enum reason reason, CK_RV rv)
{
    bool blind = ckr_is_blind(call_name(), rv);

    error_raise_ckr(&load->provider->core, reason, rv, "open %s%s%s", load->uri.text,
                    blind ? " in " : "", blind ? load->scan.module->path : "");
}

/* Nothing was found: says why, the most telling reason first. */
static void raise_nothing(const struct load *load)
{
    const struct core *core = &load->provider->core;
    char command[SCAN_SEEN_MAX + 64];

    if (load->failure != CKR_OK) {
        call_named(load->failed_call);
        call_detail_set("%s", load->failed_detail);
        raise_failure(load, reason_of(load), load->failure);
    } else if (load->scan.matched == 0) {
        raise_no_token(load);
    } else if (load->unusable != NULL) {
        error_raise(core, REASON_KEY, "cannot use %s: %s", load->uri.text, load->unusable);
    } else {
        error_raise(core, is_search(load) ? REASON_SEARCH : REASON_OBJECT,
                    "no %s matches %s on the token %s: %s lists what is there", kind(load),
                    load->uri.text, load->scan.seen,
                    listing(&load->scan, command, sizeof(command)));
    }
}

static enum load_result load_finish(struct load *load, CK_RV rv)
{
    load->slot = NULL;
    if (load->failure == CKR_OK) {
        load->failure = load->scan.failure;
        load->failed_call = load->scan.failed_call;
    }
    if (rv != CKR_OK) {
        raise_failure(load, REASON_TOKEN_FAILED, rv);
        return LOAD_FAILED;
    }
    if (load->found != 0)
        return LOAD_END;
    raise_nothing(load);
    return LOAD_FAILED;
}

static void name_clear(struct load *load)
{
    free(load->name);
    load->name = NULL;
}

enum load_result load_next(struct load *load, struct key **key, struct bytes *certificate)
{
    KEEP_ERRNO;
    *key = NULL;
    *certificate = (struct bytes){ NULL, 0 };
    name_clear(load);
    if (load->phases == NULL && !load_start(load))
        return LOAD_FAILED;
    for (;;) {
        CK_RV rv;

        while (load->next < load->count) {
            if (load->by_name)
                *key = load->named.keys[load->next++];
            else if (!load_make(load, key, certificate))
                continue;
            load->found++;
            load->found_here++;
            return *key != NULL ? LOAD_KEY : load->name != NULL ? LOAD_NAME : LOAD_CERT;
        }
        rv = load_advance(load);
        if (load->slot == NULL || rv != CKR_OK)
            return load_finish(load, rv);
    }
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
    while (load->by_name && load->next < load->count)
        key_free(load->named.keys[load->next++]);
    scan_end(&load->scan);
    uri_clear(&load->uri);
}
