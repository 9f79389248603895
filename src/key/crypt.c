#include "key/crypt.h"

#include <string.h>

#include "base/scope.h"
#include "key/operation.h"
#include "module/call.h"
#include "module/ckr.h"

static CK_RV encrypt(struct session *session, struct handle handle, void *arg)
{
    struct operation *operation = arg;
    CK_RV rv = session_encrypt_init(session, &operation->mechanism.ck, handle);

    return rv == CKR_OK ? session_encrypt(session, operation->in, &operation->out) : rv;
}

/* That a tag or padding is wrong is an outcome like any other: not tried again. The session is
 * given up, since some modules leave the operation active. */
static CK_RV decrypt(struct session *session, struct handle handle, void *arg)
{
    struct operation *operation = arg;
    CK_RV rv = session_decrypt_init(session, &operation->mechanism.ck, handle);

    operation->answer = CKR_OK;
    if (rv != CKR_OK)
        return rv;
    rv = session_decrypt(session, operation->in, &operation->out);
    if (rv == CKR_OK || !session_current(session) || !ckr_verdict(call_name(), rv).about_data)
        return rv;
    operation->answer = rv;
    session->spoilt = true;
    return CKR_OK;
}

static const struct operation_kind encryption = { "encrypt", encrypt };
static const struct operation_kind decryption = { "decrypt", decrypt };

static const char *verb(bool encrypting)
{
    return encrypting ? "encrypt" : "decrypt";
}

bool key_can_crypt(const struct key *key, const struct crypt_row *row, bool encrypting)
{
    return key_permits(key, encrypting ? key->object->may_encrypt : key->object->may_decrypt,
                       encrypting ? "CKA_ENCRYPT" : "CKA_DECRYPT", verb(encrypting),
                       row->mechanism);
}

/* What the mechanism points to, in one piece, which an operation can keep: the IV and, behind it,
 * what is authenticated, where there is any. */
static bool extra_make(const struct crypt_request *request, struct bytes *memory,
                       struct view *extra)
{
    *extra = request->iv;
    if (request->aad.len == 0)
        return true;
    if (!bytes_make(memory, request->iv.len + request->aad.len))
        return false;
    if (request->iv.len != 0)
        memcpy(memory->data, request->iv.data, request->iv.len);
    memcpy(memory->data + request->iv.len, request->aad.data, request->aad.len);
    *extra = view_bytes(memory);
    return true;
}

static CK_RV run(struct operation *operation, const struct crypt_request *request)
{
    struct crypt_request kept = *request;

    kept.iv.data = operation->extra.data;
    if (kept.aad.len != 0)
        kept.aad.data = operation->extra.data + kept.iv.len;
    crypt_mechanism(&kept, &operation->mechanism.crypt);
    return operation_run(operation, request->encrypt ? &encryption : &decryption);
}

static bool permitted(struct key *key, const struct crypt_request *request,
                      struct gcm_permit *permit)
{
    return !request->encrypt || request->row != &crypt_rows[CRYPT_GCM] ||
           gcm_permit_use(key, request->iv, permit);
}

enum crypt_result key_crypt(struct key *key, const struct crypt_request *request,
                            struct gcm_permit *permit, struct view in, uint8_t *out, size_t size,
                            size_t *len)
{
    struct operation_place place;
    _cleanup_(operation_end) struct operation *operation = NULL;
    _cleanup_(bytes_clear) struct bytes memory = { NULL, 0 };
    struct view extra;
    CK_RV rv;

    if (!permitted(key, request, permit))
        return CRYPT_FAILED;
    if (!extra_make(request, &memory, &extra)) {
        error_raise(&key->provider->core, REASON_MEMORY, "out of memory");
        return CRYPT_FAILED;
    }
    operation = operation_begin_into(&place, key, in, extra, out, size);
    if (operation == NULL)
        return CRYPT_FAILED;
    rv = run(operation, request);
    if (rv != CKR_OK) {
        (void)key_failed(key, verb(request->encrypt), request->row->mechanism, rv);
        return CRYPT_FAILED;
    }
    if (!request->encrypt && operation->answer != CKR_OK)
        return CRYPT_WRONG;
    *len = operation->out.len;
    operation_take(operation, out);
    return CRYPT_DONE;
}
