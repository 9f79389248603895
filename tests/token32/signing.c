/* Signatures and their verification: whole, in parts, and as messages. */
#include "token32.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

const struct mechanism *mechanism_for(const struct ck_mechanism *given, ck_flags_t flag)
{
    const struct mechanism *mechanism = mechanism_find(given->mechanism);

    return mechanism != NULL && (mechanism->flags & flag) != 0 ? mechanism : NULL;
}

ck_rv_t key_for(const struct mechanism *mechanism, ck_object_handle_t handle,
                ck_attribute_type_t use, EVP_PKEY **pkey)
{
    struct object *object = visible(handle);

    if (object == NULL || !is_asymmetric(object))
        return CKR_KEY_HANDLE_INVALID;
    if (object_ulong(object, CKA_KEY_TYPE) != mechanism->key_type)
        return CKR_KEY_TYPE_INCONSISTENT;
    if (!object_is(object, use))
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    *pkey = object_pkey(object);
    return *pkey != NULL ? CKR_OK : CKR_KEY_HANDLE_INVALID;
}

/* What each kind of work needs of a mechanism and of a key. */
static const struct {
    ck_flags_t flag;
    ck_attribute_type_t use;
} works[WORKS] = {
    [SIGN] = { CKF_SIGN, CKA_SIGN },
    [VERIFY] = { CKF_VERIFY, CKA_VERIFY },
    [VERIFY_SIGNATURE] = { CKF_VERIFY, CKA_VERIFY },
    [MESSAGE_SIGN] = { CKF_MESSAGE_SIGN, CKA_SIGN },
    [MESSAGE_VERIFY] = { CKF_MESSAGE_VERIFY, CKA_VERIFY },
};

static ck_rv_t work_init(struct session *session, enum work work, const struct ck_mechanism *given,
                         ck_object_handle_t key)
{
    struct operation *operation = &session->operations[work];
    const struct mechanism *mechanism;
    EVP_PKEY *pkey;

    if (operation->pkey != NULL)
        return CKR_OPERATION_ACTIVE;
    mechanism = mechanism_for(given, works[work].flag);
    if (mechanism == NULL)
        return CKR_MECHANISM_INVALID;
    TRY(key_for(mechanism, key, works[work].use, &pkey));
    TRY(signing_init(&operation->signing, mechanism, given->parameter, given->parameter_len));
    if (EVP_PKEY_up_ref(pkey) != 1)
        return CKR_HOST_MEMORY;
    operation->pkey = pkey;
    return CKR_OK;
}

static void append(uint8_t **data, size_t *len, const uint8_t *part, size_t part_len)
{
    *data = realloc(*data, *len + part_len + 1);
    if (*data == NULL)
        abort();
    if (part_len > 0)
        memcpy(*data + *len, part, part_len);
    *len += part_len;
}

static ck_rv_t work_update(struct session *session, enum work work, const uint8_t *part, size_t len)
{
    struct operation *operation = &session->operations[work];

    if (operation->pkey == NULL)
        return CKR_OPERATION_NOT_INITIALIZED;
    append(&operation->data, &operation->len, part, len);
    return CKR_OK;
}

/* Signs what came in parts and this last one; *len is the room. asked: nothing was done but that
 * the length was told, and the operation goes on. */
static ck_rv_t work_sign(struct operation *operation, const uint8_t *data, size_t data_len,
                         uint8_t *out, unsigned long *len, bool *asked)
{
    const unsigned long room = *len;
    uint8_t *signature;
    size_t made;
    ck_rv_t rv;

    *len = signature_size(operation->pkey);
    *asked = out == NULL || room < *len;
    if (*asked)
        return out == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL;
    append(&operation->data, &operation->len, data, data_len);
    signature = malloc(SIGNATURE_MAX);
    if (signature == NULL)
        return CKR_HOST_MEMORY;
    rv = signature_make(operation->pkey, &operation->signing, operation->data, operation->len,
                        signature, &made);
    if (rv == CKR_OK)
        memcpy(out, signature, made);
    free(signature);
    return rv;
}

static ck_rv_t sign_last(struct session *session, const uint8_t *data, size_t data_len,
                         uint8_t *signature, unsigned long *len)
{
    struct operation *operation = &session->operations[SIGN];
    bool asked;
    ck_rv_t rv;

    if (operation->pkey == NULL)
        return CKR_OPERATION_NOT_INITIALIZED;
    rv = work_sign(operation, data, data_len, signature, len, &asked);
    if (!asked)
        operation_end(operation);
    return rv;
}

static ck_rv_t work_check(struct operation *operation, const uint8_t *data, size_t data_len,
                          const uint8_t *signature, size_t len)
{
    append(&operation->data, &operation->len, data, data_len);
    return signature_check(operation->pkey, &operation->signing, operation->data, operation->len,
                           signature, len);
}

static ck_rv_t verify_last(struct session *session, enum work work, const uint8_t *data,
                           size_t data_len, const uint8_t *signature, size_t len)
{
    struct operation *operation = &session->operations[work];
    ck_rv_t rv;

    if (operation->pkey == NULL)
        return CKR_OPERATION_NOT_INITIALIZED;
    rv = work_check(operation, data, data_len, signature, len);
    operation_end(operation);
    return rv;
}

ck_rv_t C_SignInit(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                   ck_object_handle_t key)
{
    ENTER_SESSION(session, handle);
    return work_init(session, SIGN, mechanism, key);
}

ck_rv_t C_Sign(ck_session_handle_t handle, unsigned char *data, unsigned long data_len,
               unsigned char *signature, unsigned long *len)
{
    ENTER_SESSION(session, handle);
    return sign_last(session, data, data_len, signature, len);
}

ck_rv_t C_SignUpdate(ck_session_handle_t handle, unsigned char *part, unsigned long len)
{
    ENTER_SESSION(session, handle);
    return work_update(session, SIGN, part, len);
}

ck_rv_t C_SignFinal(ck_session_handle_t handle, unsigned char *signature, unsigned long *len)
{
    ENTER_SESSION(session, handle);
    return sign_last(session, NULL, 0, signature, len);
}

ck_rv_t C_VerifyInit(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                     ck_object_handle_t key)
{
    ENTER_SESSION(session, handle);
    return work_init(session, VERIFY, mechanism, key);
}

ck_rv_t C_Verify(ck_session_handle_t handle, unsigned char *data, unsigned long data_len,
                 unsigned char *signature, unsigned long len)
{
    ENTER_SESSION(session, handle);
    return verify_last(session, VERIFY, data, data_len, signature, len);
}

ck_rv_t C_VerifyUpdate(ck_session_handle_t handle, unsigned char *part, unsigned long len)
{
    ENTER_SESSION(session, handle);
    return work_update(session, VERIFY, part, len);
}

ck_rv_t C_VerifyFinal(ck_session_handle_t handle, unsigned char *signature, unsigned long len)
{
    ENTER_SESSION(session, handle);
    return verify_last(session, VERIFY, NULL, 0, signature, len);
}

ck_rv_t C_VerifySignatureInit(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                              ck_object_handle_t key, unsigned char *signature, unsigned long len)
{
    struct operation *operation;

    ENTER_SESSION(session, handle);
    TRY(work_init(session, VERIFY_SIGNATURE, mechanism, key));
    operation = &session->operations[VERIFY_SIGNATURE];
    append(&operation->signature, &operation->signature_len, signature, len);
    return CKR_OK;
}

static ck_rv_t verify_signature_last(struct session *session, const uint8_t *data, size_t len)
{
    const struct operation *operation = &session->operations[VERIFY_SIGNATURE];

    return verify_last(session, VERIFY_SIGNATURE, data, len, operation->signature,
                       operation->signature_len);
}

ck_rv_t C_VerifySignature(ck_session_handle_t handle, unsigned char *data, unsigned long len)
{
    ENTER_SESSION(session, handle);
    return verify_signature_last(session, data, len);
}

ck_rv_t C_VerifySignatureUpdate(ck_session_handle_t handle, unsigned char *part, unsigned long len)
{
    ENTER_SESSION(session, handle);
    return work_update(session, VERIFY_SIGNATURE, part, len);
}

ck_rv_t C_VerifySignatureFinal(ck_session_handle_t handle)
{
    ENTER_SESSION(session, handle);
    return verify_signature_last(session, NULL, 0);
}

/* The parameter of one message, instead of the one that the operation began with. */
static ck_rv_t message_parameter(struct operation *operation, const void *parameter, size_t len)
{
    const struct mechanism *mechanism = operation->signing.mechanism;

    if (operation->pkey == NULL)
        return CKR_OPERATION_NOT_INITIALIZED;
    return parameter != NULL ? signing_init(&operation->signing, mechanism, parameter, len)
                             : CKR_OK;
}

static void message_end(struct operation *operation)
{
    free(operation->data);
    operation->data = NULL;
    operation->len = 0;
    operation->begun = false;
}

static ck_rv_t message_begin(struct session *session, enum work work, const void *parameter,
                             size_t len)
{
    struct operation *operation = &session->operations[work];

    TRY(message_parameter(operation, parameter, len));
    if (operation->begun)
        return CKR_OPERATION_ACTIVE;
    operation->begun = true;
    return CKR_OK;
}

static ck_rv_t message_sign(struct operation *operation, const uint8_t *data, size_t data_len,
                            uint8_t *signature, unsigned long *len)
{
    bool asked;
    const ck_rv_t rv = work_sign(operation, data, data_len, signature, len, &asked);

    if (!asked)
        message_end(operation);
    return rv;
}

static ck_rv_t message_check(struct operation *operation, const uint8_t *data, size_t data_len,
                             const uint8_t *signature, size_t len)
{
    const ck_rv_t rv = work_check(operation, data, data_len, signature, len);

    message_end(operation);
    return rv;
}

static ck_rv_t message_final(struct session *session, enum work work)
{
    if (session->operations[work].pkey == NULL)
        return CKR_OPERATION_NOT_INITIALIZED;
    operation_end(&session->operations[work]);
    return CKR_OK;
}

ck_rv_t C_MessageSignInit(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                          ck_object_handle_t key)
{
    ENTER_SESSION(session, handle);
    return work_init(session, MESSAGE_SIGN, mechanism, key);
}

ck_rv_t C_SignMessage(ck_session_handle_t handle, void *parameter, unsigned long parameter_len,
                      unsigned char *data, unsigned long data_len, unsigned char *signature,
                      unsigned long *len)
{
    struct operation *operation;

    ENTER_SESSION(session, handle);
    operation = &session->operations[MESSAGE_SIGN];
    TRY(message_parameter(operation, parameter, parameter_len));
    if (operation->begun)
        return CKR_OPERATION_ACTIVE;
    return message_sign(operation, data, data_len, signature, len);
}

ck_rv_t C_SignMessageBegin(ck_session_handle_t handle, void *parameter, unsigned long parameter_len)
{
    ENTER_SESSION(session, handle);
    return message_begin(session, MESSAGE_SIGN, parameter, parameter_len);
}

/* len NULL: more parts are to come. */
ck_rv_t C_SignMessageNext(ck_session_handle_t handle, void *parameter, unsigned long parameter_len,
                          unsigned char *data, unsigned long data_len, unsigned char *signature,
                          unsigned long *len)
{
    struct operation *operation;

    ENTER_SESSION(session, handle);
    operation = &session->operations[MESSAGE_SIGN];
    TRY(message_parameter(operation, parameter, parameter_len));
    if (!operation->begun)
        return CKR_OPERATION_NOT_INITIALIZED;
    return len == NULL ? work_update(session, MESSAGE_SIGN, data, data_len)
                       : message_sign(operation, data, data_len, signature, len);
}

ck_rv_t C_MessageSignFinal(ck_session_handle_t handle)
{
    ENTER_SESSION(session, handle);
    return message_final(session, MESSAGE_SIGN);
}

ck_rv_t C_MessageVerifyInit(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                            ck_object_handle_t key)
{
    ENTER_SESSION(session, handle);
    return work_init(session, MESSAGE_VERIFY, mechanism, key);
}

ck_rv_t C_VerifyMessage(ck_session_handle_t handle, void *parameter, unsigned long parameter_len,
                        unsigned char *data, unsigned long data_len, unsigned char *signature,
                        unsigned long len)
{
    struct operation *operation;

    ENTER_SESSION(session, handle);
    operation = &session->operations[MESSAGE_VERIFY];
    TRY(message_parameter(operation, parameter, parameter_len));
    if (operation->begun)
        return CKR_OPERATION_ACTIVE;
    return message_check(operation, data, data_len, signature, len);
}

ck_rv_t C_VerifyMessageBegin(ck_session_handle_t handle, void *parameter,
                             unsigned long parameter_len)
{
    ENTER_SESSION(session, handle);
    return message_begin(session, MESSAGE_VERIFY, parameter, parameter_len);
}

/* signature NULL: more parts are to come. */
ck_rv_t C_VerifyMessageNext(ck_session_handle_t handle, void *parameter,
                            unsigned long parameter_len, unsigned char *data,
                            unsigned long data_len, unsigned char *signature, unsigned long len)
{
    struct operation *operation;

    ENTER_SESSION(session, handle);
    operation = &session->operations[MESSAGE_VERIFY];
    TRY(message_parameter(operation, parameter, parameter_len));
    if (!operation->begun)
        return CKR_OPERATION_NOT_INITIALIZED;
    return signature == NULL ? work_update(session, MESSAGE_VERIFY, data, data_len)
                             : message_check(operation, data, data_len, signature, len);
}

ck_rv_t C_MessageVerifyFinal(ck_session_handle_t handle)
{
    ENTER_SESSION(session, handle);
    return message_final(session, MESSAGE_VERIFY);
}

ck_rv_t C_SessionCancel(ck_session_handle_t handle, ck_flags_t flags)
{
    ENTER_SESSION(session, handle);
    if ((flags & CKF_FIND_OBJECTS) != 0)
        session->finding = false;
    for (int work = 0; work < WORKS; work++)
        if ((flags & works[work].flag) != 0)
            operation_end(&session->operations[work]);
    return CKR_OK;
}
