/* The public operations, for those who want them on the token (pkcs11-public-operations). */
#include "base/scope.h"
#include "der/ecdsa.h"
#include "key/key.h"
#include "module/call.h"
#include "token/run.h"

struct verify_task {
    struct sign_mechanism mechanism;
    struct view data, signature;
    bool valid;
};

static CK_RV verify(struct session *session, struct handle handle, void *arg)
{
    struct verify_task *task = arg;
    CK_RV rv = session_verify_init(session, &task->mechanism.ck, handle);

    if (rv != CKR_OK)
        return rv;
    rv = session_verify(session, task->data, task->signature);
    task->valid = rv == CKR_OK;
    return rv == CKR_SIGNATURE_INVALID || rv == CKR_SIGNATURE_LEN_RANGE ? CKR_OK : rv;
}

bool key_verify(struct key *key, const struct sign_request *request, enum sign_column column,
                struct view data, struct view signature)
{
    uint8_t input[SIGN_INPUT_MAX], rs[EC_POINT_MAX];
    struct pin_source pins = key_pins(key);
    struct verify_task task = { .data = data, .signature = signature };
    CK_MECHANISM_TYPE type;
    CK_RV rv;

    if (!key_sign_input(key, request, column, &type, &task.data, input))
        return false;
    sign_mechanism(request, type, request->context, &task.mechanism);
    if (key->type == KEY_EC) {
        if (!ecdsa_sig_from_der(signature, curve_order_bytes(key->curve), rs))
            return false;
        task.signature = (struct view){ rs, 2 * curve_order_bytes(key->curve) };
    }
    rv = run_on_object(key->twin, &pins, NULL, verify, &task);
    if (rv != CKR_OK)
        return key_failed(key, "verify", type, rv);
    return task.valid;
}

struct encrypt_task {
    struct cipher_mechanism mechanism;
    struct view in;
    struct room out;
};

static CK_RV encrypt(struct session *session, struct handle handle, void *arg)
{
    struct encrypt_task *task = arg;
    CK_RV rv = session_encrypt_init(session, &task->mechanism.ck, handle);

    return rv == CKR_OK ? session_encrypt(session, task->in, &task->out) : rv;
}

bool key_encrypt(struct key *key, const struct cipher_request *request, struct view in,
                 uint8_t *out, size_t *len)
{
    struct pin_source pins = key_pins(key);
    struct encrypt_task task = {
        .in = in, .out = { .data = out, .size = key_signature_max(key), .exact = true }
    };
    CK_RV rv = CKR_MECHANISM_PARAM_INVALID;

    if (cipher_mechanism(request, &task.mechanism))
        rv = run_on_object(key->twin, &pins, NULL, encrypt, &task);
    *len = task.out.len;
    return rv == CKR_OK || key_failed(key, "encrypt", task.mechanism.ck.mechanism, rv);
}
