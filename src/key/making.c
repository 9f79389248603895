#include "key/making.h"

#include <openssl/rand.h>

#include "base/scope.h"
#include "module/call.h"

struct names making_names(const struct uri *uri)
{
    return (struct names){ attribute_view(uri_label(uri)), attribute_view(uri_id(uri)) };
}

CK_RV making_run(struct slot *slot, enum purpose purpose, const struct making *making,
                 session_task *task)
{
    struct deed deed = { .what = making->what,
                         .mechanism = making->mechanism,
                         .object = making_names(making->uri),
                         .with = making->with };
    struct run run = { .slot = slot,
                       .purpose = purpose,
                       .login = true,
                       .elsewhere = true,
                       .pins = making->pins,
                       .task = task,
                       .arg = making->arg,
                       .deed = purpose != TO_READ ? &deed : NULL };

    return run_task(&run);
}

bool making_sweep(struct slot *slot, struct pin_source *pins, session_task *sweep, void *arg)
{
    const char *name = call_name();
    const struct run run = {
        .slot = slot, .purpose = TO_WRITE, .login = true, .pins = pins, .task = sweep, .arg = arg
    };
    bool clean = run_task(&run) == CKR_OK;

    call_named(name);
    return clean;
}

static void drop(struct slot *slot, const struct making *making, const struct making_session *tasks)
{
    const char *name = call_name();

    tasks->drop(slot, making->arg);
    call_named(name);
}

/* What may go with its keeper before it is read. */
#define LOSSES_MOST 4

CK_RV making_session_objects(struct slot *slot, const struct making *making,
                             const struct making_session *tasks)
{
    CK_RV rv = RV_KEY_GONE;

    for (unsigned n = 0; rv == RV_KEY_GONE && n < LOSSES_MOST; n++) {
        rv = making_run(slot, TO_KEEP, making, tasks->make);
        if (rv != CKR_OK)
            return rv;
        rv = making_run(slot, TO_READ, making, tasks->read);
        if (rv != CKR_OK)
            drop(slot, making, tasks);
    }
    return rv;
}

static CK_RV look_for(struct session *session, CK_OBJECT_CLASS class, const CK_ATTRIBUTE *name,
                      bool *found)
{
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) }, *name };
    struct handle handle;
    CK_ULONG count = 0;
    CK_RV rv = session_find(session, template, COUNT(template), &handle, 1, &count);

    *found = *found || count != 0;
    return rv;
}

CK_RV making_look(struct session *session, const struct uri *uri, const CK_OBJECT_CLASS *classes,
                  size_t count, const char **taken)
{
    const struct {
        const char *what;
        const CK_ATTRIBUTE *name;
    } names[] = { { "label", uri_label(uri) }, { "id", uri_id(uri) } };
    CK_RV rv = CKR_OK;

    for (size_t i = 0; rv == CKR_OK && i < COUNT(names); i++) {
        bool found = false;

        for (size_t n = 0; names[i].name != NULL && rv == CKR_OK && n < count; n++)
            rv = look_for(session, classes[n], names[i].name, &found);
        if (found)
            *taken = names[i].what;
    }
    return rv;
}

bool making_refuse_taken(const struct provider *provider, const struct uri *uri, const char *owner,
                         const char *taken)
{
    error_raise(&provider->core, REASON_OBJECT,
                "cannot generate a key for %s: %s on the token has this %s already; take another, "
                "or, for a second key of that %s, pkcs11_if_exists:add",
                uri->text, owner, taken, taken);
    return false;
}

void making_left(const struct provider *provider, const struct uri *uri)
{
    error_raise(
        &provider->core, REASON_OPERATION,
        "the token failed in the middle of making a key: look whether it has one for %s that "
        "is not wanted",
        uri->text);
}

CK_RV making_destroy(struct session *session, CK_OBJECT_CLASS class, const uint8_t *id)
{
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
                                { CKA_ID, (void *)(uintptr_t)id, MAKING_ID_LEN } };
    struct handle handles[4];
    CK_ULONG count = 0;
    CK_RV rv = session_find(session, template, COUNT(template), handles, COUNT(handles), &count);

    for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++)
        rv = session_destroy(session, handles[i]);
    return rv;
}

bool making_id(const struct provider *provider, const char *verb, uint8_t *id)
{
    HOST_WORK;
    bool made = RAND_bytes_ex(provider->host.libctx, id, MAKING_ID_LEN, 0) == 1;

    if (!made)
        error_raise(&provider->core, REASON_OPERATION,
                    "cannot %s a key: there are no random numbers for its CKA_ID", verb);
    return made;
}
