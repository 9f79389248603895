#include "key/delete.h"

#include "base/scope.h"
#include "module/call.h"
#include "token/run.h"

struct deletion {
    struct load *load;
    struct slot *slot; /* of the object */
    CK_OBJECT_HANDLE handle;
    CK_ULONG found; /* on all tokens that fit */
};

/* Counts what the URI names on this slot, and remembers the first. */
static CK_RV look(struct session *session, void *arg)
{
    struct deletion *deletion = arg;
    const struct uri *uri = &deletion->load->uri;
    CK_OBJECT_HANDLE handles[2];
    CK_ATTRIBUTE template[TEMPLATE_MAX];
    CK_OBJECT_CLASS class;
    CK_ULONG count = 0, found = 0;
    CK_RV rv;

    if (uri_class(uri, &class))
        template[count++] = (CK_ATTRIBUTE){ CKA_CLASS, &class, sizeof(class) };
    count = uri_add_names(uri, template, count);
    rv = objects_find(session, template, count, handles, COUNT(handles), &found);
    if (rv == CKR_OK && found != 0) {
        deletion->slot = session->slot;
        deletion->handle = handles[0];
        deletion->found += found;
    }
    return rv;
}

static CK_RV destroy(struct session *session, void *arg)
{
    struct deletion *deletion = arg;
    CK_RV rv = P11_CALL(session->slot->module, C_DestroyObject, session->handle, deletion->handle);

    slot_changed(session->slot);
    session->final = !ckr_before_anything(rv); /* it may be gone, and the handle another object's */
    return rv;
}

static bool delete_failed(const struct load *load, CK_RV rv)
{
    error_raise_ckr(&load->provider->core, REASON_OPERATION, rv, "delete %s", load->uri.text);
    return false;
}

static CK_RV look_everywhere(struct deletion *deletion)
{
    struct load *load = deletion->load;
    struct slot *slot = NULL;
    CK_RV rv;

    do {
        rv = scan_next(&load->scan, &slot);
        if (rv == CKR_OK && slot != NULL)
            rv = run_on_slot(slot, true, &load->pins, look, deletion);
    } while (rv == CKR_OK && slot != NULL);
    return rv;
}

bool delete_object(struct load *load)
{
    struct deletion deletion = { .load = load };
    const struct core *core = &load->provider->core;
    struct module *module = provider_module(load->provider, load->uri.module_path);
    CK_RV rv;

    if (module == NULL)
        return false;
    if (!load->uri.names_object) {
        error_raise(core, REASON_URI, "cannot delete %s: neither object nor id is given",
                    load->uri.text);
        return false;
    }
    scan_begin(&load->scan, module, &load->uri, &load->provider->config.limits);
    rv = look_everywhere(&deletion);
    if (rv != CKR_OK)
        return delete_failed(load, rv);
    if (deletion.found != 1) {
        error_raise(core, REASON_OBJECT, "cannot delete %s: %s", load->uri.text,
                    deletion.found == 0 ? "there is no such object"
                                        : "it names several objects; type=private, public or cert "
                                          "tells the parts of a key apart");
        return false;
    }
    rv = run_writing(deletion.slot, &load->pins, destroy, &deletion);
    return rv == CKR_OK || delete_failed(load, rv);
}
