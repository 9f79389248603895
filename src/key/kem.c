/* Key encapsulation (FIPS 203). */
#include <string.h>

#include "base/scope.h"
#include "key/derive.h"
#include "key/operation.h"
#include "key/software.h"
#include "module/call.h"

/* The secret is a session object for as long as it takes to read it. A ciphertext that is none of
 * the key's makes one as well (FIPS 203 §6.3), so that there is nothing to be seen in what the
 * token says. */
static CK_RV decapsulate(struct session *session, struct handle handle, void *arg)
{
    struct operation *operation = arg;
    struct secret_template template;
    struct handle secret;
    CK_RV rv;

    secret_template_make(&template, operation->out.size);
    rv = session_decapsulate(session, &operation->mechanism.ck, handle, template.list,
                             SECRET_TEMPLATE_COUNT, operation->in, &secret);
    return rv == CKR_OK ? derive_finish(session, secret, &operation->out) : rv;
}

bool key_decapsulate(struct key *key, struct view ciphertext, uint8_t *secret)
{
    struct operation_place place;
    _cleanup_(operation_end) struct operation *operation = NULL;
    const CK_MECHANISM_TYPE type = key_set(key)->algorithm->mechanism;
    CK_RV rv;

    if (key->software)
        return software_decapsulate(key, ciphertext, secret);
    if (!key_permits(key, key->object->may_decapsulate, "CKA_DECAPSULATE", "decapsulate", type))
        return false;
    operation = operation_begin(&place, key, ciphertext, (struct view){ NULL, 0 }, KEM_SECRET_LEN);
    if (operation == NULL)
        return false;
    operation->out.exact = true;
    operation->mechanism.ck = (CK_MECHANISM){ .mechanism = type };
    rv = operation_run(operation, decapsulate);
    if (rv == CKR_OK)
        memcpy(secret, operation->out.data, KEM_SECRET_LEN);
    return rv == CKR_OK || key_failed(key, "decapsulate", type, rv);
}

struct encapsulate_task {
    CK_MECHANISM mechanism;
    struct room ciphertext, secret;
};

static CK_RV encapsulate(struct session *session, struct handle handle, void *arg)
{
    struct encapsulate_task *task = arg;
    struct secret_template template;
    struct handle secret;
    CK_RV rv;

    secret_template_make(&template, task->secret.size);
    rv = session_encapsulate(session, &task->mechanism, handle, template.list,
                             SECRET_TEMPLATE_COUNT, &task->ciphertext, &secret);
    return rv == CKR_OK ? derive_finish(session, secret, &task->secret) : rv;
}

static bool encapsulate_on_token(struct key *key, uint8_t *ciphertext, uint8_t *secret)
{
    struct pin_source pins = key_pins(key);
    struct encapsulate_task task = {
        .mechanism = { .mechanism = key_set(key)->algorithm->mechanism },
        .ciphertext = { .data = ciphertext, .size = key_set(key)->out_len, .exact = true },
        .secret = { .data = secret, .size = KEM_SECRET_LEN, .exact = true },
    };
    CK_RV rv = run_on_object(key->twin, &pins, encapsulate, &task);

    return rv == CKR_OK || key_failed(key, "encapsulate", task.mechanism.mechanism, rv);
}

bool key_encapsulate(struct key *key, uint8_t *ciphertext, uint8_t *secret)
{
    return key_public_on_token(key) ? encapsulate_on_token(key, ciphertext, secret)
                                    : software_encapsulate(key, ciphertext, secret);
}
