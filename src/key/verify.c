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

static CK_RV verify(struct session *session, CK_OBJECT_HANDLE handle, void *arg)
{
    struct verify_task *task = arg;
    struct module *module = session->slot->module;
    CK_RV rv = P11_CALL(module, C_VerifyInit, session->handle, &task->mechanism.ck, handle);

    if (rv != CKR_OK)
        return rv;
    rv = P11_CALL(module, C_Verify, session->handle, ck_input(task->data.data), task->data.len,
                  ck_input(task->signature.data), task->signature.len);
    task->valid = rv == CKR_OK;
    return rv == CKR_SIGNATURE_INVALID || rv == CKR_SIGNATURE_LEN_RANGE ? CKR_OK : rv;
}

bool key_verify(struct key *key, const struct sign_request *request, enum sign_column column,
                struct view data, struct view signature)
{
    uint8_t input[SIGN_INPUT_MAX], rs[EC_POINT_MAX];
    struct pin_source pins = key_pins(key);
    struct verify_task task = { .data = data, .signature = signature };
    CK_RV rv;

    if (!key_sign_input(key, request, column, &task.mechanism, &task.data, input))
        return false;
    if (key->type == KEY_EC) {
        if (!ecdsa_sig_from_der(signature, curve_order_bytes(key->curve), rs))
            return false;
        task.signature = (struct view){ rs, 2 * curve_order_bytes(key->curve) };
    }
    rv = run_on_object(key->twin, &pins, verify, &task);
    if (rv != CKR_OK)
        return key_failed(key, "verify", task.mechanism.ck.mechanism, rv);
    return task.valid;
}

struct encrypt_task {
    struct cipher_mechanism mechanism;
    struct view in;
    uint8_t *out;
    CK_ULONG out_size, out_len;
};

static CK_RV encrypt(struct session *session, CK_OBJECT_HANDLE handle, void *arg)
{
    struct encrypt_task *task = arg;
    struct module *module = session->slot->module;
    CK_RV rv = P11_CALL(module, C_EncryptInit, session->handle, &task->mechanism.ck, handle);

    if (rv != CKR_OK)
        return rv;
    task->out_len = task->out_size;
    return P11_CALL(module, C_Encrypt, session->handle, ck_input(task->in.data), task->in.len,
                    task->out, &task->out_len);
}

bool key_encrypt(struct key *key, const struct cipher_request *request, struct view in,
                 uint8_t *out, size_t *len)
{
    struct pin_source pins = key_pins(key);
    struct encrypt_task task = { .in = in, .out = out, .out_size = key_signature_max(key) };
    CK_RV rv = CKR_MECHANISM_PARAM_INVALID;

    if (cipher_mechanism(request, &task.mechanism))
        rv = run_on_object(key->twin, &pins, encrypt, &task);
    *len = task.out_len;
    return rv == CKR_OK || key_failed(key, "encrypt", task.mechanism.ck.mechanism, rv);
}
