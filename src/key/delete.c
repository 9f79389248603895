#include "key/delete.h"

#include "base/scope.h"
#include "key/making.h"
#include "key/open.h"
#include "token/run.h"

struct deletion {
    struct load *load;
    struct slot *slot; /* of the object */
    CK_ULONG found;    /* on all tokens that fit */
};

static CK_RV find(struct session *session, const struct uri *uri, struct handle *handles,
                  CK_ULONG most, CK_ULONG *found)
{
    CK_ATTRIBUTE template[TEMPLATE_MAX];
    CK_OBJECT_CLASS class;
    CK_ULONG count = 0;

    if (uri_class(uri, &class))
        template[count++] = (CK_ATTRIBUTE){ CKA_CLASS, &class, sizeof(class) };
    count = uri_add_names(uri, template, count);
    return session_find(session, template, count, handles, most, found);
}

/* Counts what the URI names on this slot. */
static CK_RV look(struct session *session, void *arg)
{
    struct deletion *deletion = arg;
    struct handle handles[2];
    CK_ULONG found = 0;
    CK_RV rv = find(session, &deletion->load->uri, handles, COUNT(handles), &found);

    if (rv != CKR_OK)
        return rv;
    if (found != 0)
        deletion->slot = session->slot;
    deletion->found += found;
    return CKR_OK;
}

/* Finds it again on the session that destroys it: a handle means nothing on another. */
static CK_RV destroy(struct session *session, void *arg)
{
    struct deletion *deletion = arg;
    struct handle handles[2];
    CK_RV rv = find(session, &deletion->load->uri, handles, COUNT(handles), &deletion->found);

    if (rv != CKR_OK)
        return rv;
    if (deletion->found != 1)
        return RV_REFUSED;
    session->committed = true; /* it may be gone, and another object may match */
    rv = session_destroy(session, handles[0]);
    slot_changed(session->slot);
    return rv;
}

static bool delete_failed(const struct load *load, CK_RV rv)
{
    error_raise_ckr(&load->provider->core, REASON_OPERATION, rv, "delete %s", load->uri.text);
    return false;
}

static bool not_one(const struct deletion *deletion)
{
    const struct load *load = deletion->load;

    if (load->scan.matched == 0) {
        open_raise_no_token(load->provider, &load->uri, &load->scan);
        return false;
    }
    error_raise(&load->provider->core, REASON_OBJECT, "cannot delete %s: %s", load->uri.text,
                deletion->found == 0 ? "there is no such object"
                                     : "it names several objects; type=private, public or cert "
                                       "tells the parts of a key apart");
    return false;
}

static CK_RV run_on(struct deletion *deletion, struct slot *slot, enum purpose purpose,
                    session_task *task)
{
    struct deed deed = { .what = "delete", .object = making_names(&deletion->load->uri) };
    struct run run = { .slot = slot,
                       .purpose = purpose,
                       .login = true,
                       .elsewhere = purpose == TO_READ,
                       .pins = &deletion->load->pins,
                       .task = task,
                       .arg = deletion,
                       .deed = purpose == TO_WRITE ? &deed : NULL };

    return run_task(&run);
}

static CK_RV look_everywhere(struct deletion *deletion)
{
    struct slot *slot = NULL;
    CK_RV rv;

    do {
        rv = scan_next(&deletion->load->scan, &slot);
        if (rv == CKR_OK && slot != NULL)
            rv = run_on(deletion, slot, TO_READ, look);
    } while (rv == CKR_OK && slot != NULL);
    return rv;
}

bool delete_object(struct load *load)
{
    KEEP_ERRNO;
    struct deletion deletion = { .load = load };
    struct module *module = provider_module(load->provider, load->uri.module_path);
    CK_RV rv;

    if (module == NULL)
        return false;
    if (!load->uri.names_object) {
        error_raise(&load->provider->core, REASON_URI,
                    "cannot delete %s: neither object nor id is given", load->uri.text);
        return false;
    }
    scan_begin(&load->scan, module, &load->uri, &load->provider->config.limits);
    rv = look_everywhere(&deletion);
    if (rv == CKR_OK && deletion.found == 1)
        rv = run_on(&deletion, deletion.slot, TO_WRITE, destroy);
    if (rv != CKR_OK && rv != RV_REFUSED)
        return delete_failed(load, rv);
    return deletion.found == 1 || not_one(&deletion);
}
