#include <openssl/crypto.h>

#include "der/ecdsa.h"
#include "key/key.h"
#include "scope.h"
#include "token/call.h"
#include "token/run.h"

/* A message that a single C_Sign takes; more goes through C_SignUpdate in pieces of this size, but
 * for EdDSA, which needs the message whole. */
#define SIGN_SINGLE_MAX (64UL * 1024)

struct sign_task {
    struct sign_mechanism mechanism;
    const struct pin_source *again; /* who logs in for each use; NULL: nobody has to */
    struct view data;
    uint8_t *out;
    CK_ULONG out_size;
    CK_ULONG out_len;
};

static CK_RV sign_in_pieces(struct session *session, struct sign_task *task)
{
    struct module *module = session->slot->module;
    struct view rest = task->data;

    while (rest.len != 0) {
        size_t len = rest.len < SIGN_SINGLE_MAX ? rest.len : SIGN_SINGLE_MAX;
        CK_RV rv = P11_CALL(module, C_SignUpdate, session->handle, ck_input(rest.data), len);

        if (rv != CKR_OK)
            return rv;
        rest = (struct view){ rest.data + len, rest.len - len };
    }
    return P11_CALL(module, C_SignFinal, session->handle, task->out, &task->out_len);
}

static CK_RV sign(struct session *session, CK_OBJECT_HANDLE handle, void *arg)
{
    struct sign_task *task = arg;
    struct module *module = session->slot->module;
    CK_RV rv = P11_CALL(module, C_SignInit, session->handle, &task->mechanism.ck, handle);

    if (rv == CKR_OK && task->again != NULL)
        rv = login_context(session, task->again);
    if (rv != CKR_OK)
        return rv;
    task->out_len = task->out_size;
    if (task->data.len > SIGN_SINGLE_MAX && task->mechanism.ck.mechanism != CKM_EDDSA)
        return sign_in_pieces(session, task);
    return P11_CALL(module, C_Sign, session->handle, ck_input(task->data.data), task->data.len,
                    task->out, &task->out_len);
}

bool key_takes_hash(const struct key *key, const struct sign_request *request)
{
    struct sign_mechanism mechanism;

    sign_mechanism_hashed(request, &mechanism);
    return key->object == NULL || object_allows(key->object, mechanism.ck.mechanism);
}

bool key_allows_pss(const struct key *key, const struct digest *digest)
{
    struct sign_request request = { .scheme = SIGN_RSA_PSS, .digest = digest, .mgf1 = digest };
    struct sign_mechanism mechanism;

    return key_takes_hash(key, &request) ||
           (sign_mechanism_token(&request, &mechanism) &&
            object_allows(key->object, mechanism.ck.mechanism));
}

bool key_token_hashes(struct key *key, const struct sign_request *request)
{
    struct sign_mechanism mechanism;

    return key->object != NULL && sign_mechanism_token(request, &mechanism) &&
           object_allows(key->object, mechanism.ck.mechanism) &&
           slot_has_mechanism(key->object->slot, mechanism.ck.mechanism, CKF_SIGN);
}

/* Brings what the token returned into OpenSSL's form. */
static bool signature_finish(const struct key *key, const struct sign_task *task,
                             uint8_t *signature, size_t *len)
{
    if (key->type == KEY_EC)
        *len = ecdsa_sig_to_der((struct view){ task->out, task->out_len }, signature,
                                key_signature_max(key));
    else
        *len = task->out_len;
    if (*len != 0)
        return true;
    error_raise(&key->provider->core, REASON_OPERATION,
                "the token returned an ECDSA signature of %lu bytes, which is none",
                (unsigned long)task->out_len);
    return false;
}

bool key_sign_input(struct key *key, const struct sign_request *request, enum sign_column column,
                    struct sign_mechanism *mechanism, struct view *data, uint8_t *input)
{
    if (column == SIGN_TOKEN_HASHES)
        return sign_mechanism_token(request, mechanism);
    sign_mechanism_hashed(request, mechanism);
    data->len = sign_input(request, key->curve, *data, input);
    data->data = input;
    if (data->len != 0)
        return true;
    error_raise(&key->provider->core, REASON_PARAMETER, "the data to sign is empty or too long");
    return false;
}

bool key_sign(struct key *key, const struct sign_request *request, enum sign_column column,
              struct view data, uint8_t *signature, size_t *len)
{
    uint8_t input[SIGN_INPUT_MAX], rs[EC_POINT_MAX];
    struct pin_source pins = key_pins(key);
    struct sign_task task = { .data = data };
    CK_RV rv;

    if (key->object == NULL) {
        error_raise(&key->provider->core, REASON_KEY, "cannot sign with a public key");
        return false;
    }
    if (!key_sign_input(key, request, column, &task.mechanism, &task.data, input) ||
        !key_permits(key, key->object->may_sign, "CKA_SIGN", "sign", task.mechanism.ck.mechanism))
        return false;
    task.again = key->object->always_authenticate ? &pins : NULL;
    task.out = key->type == KEY_EC ? rs : signature;
    task.out_size =
        key->type == KEY_EC ? 2 * curve_order_bytes(key->curve) : key_signature_max(key);
    rv = run_on_object(key->object, &pins, sign, &task);
    if (rv != CKR_OK)
        return key_failed(key, "sign", task.mechanism.ck.mechanism, rv);
    return signature_finish(key, &task, signature, len);
}
