#include "key/hkdf.h"

#include <string.h>

#include "base/scope.h"
#include "key/derive.h"
#include "key/operation.h"

static bool may(const struct key *key)
{
    return key_permits(key, key->object->may_derive, "CKA_DERIVE", "derive", CKM_HKDF_DERIVE);
}

/* The secret is a session object for as long as it takes to read it. */
static CK_RV derive(struct session *session, struct handle handle, void *arg)
{
    struct operation *operation = arg;
    struct handle secret;
    CK_RV rv =
        derive_begin(session, handle, &operation->mechanism.ck, operation->out.size, &secret);

    return rv == CKR_OK ? derive_finish(session, secret, &operation->out) : rv;
}

static const struct operation_kind derivation = { "derive", derive };

/* Salt and info in one piece, which the operation keeps. */
static CK_RV run(struct operation *operation, const struct hkdf_request *request)
{
    struct hkdf_request kept = *request;

    kept.salt.data = operation->extra.data;
    kept.info.data = operation->extra.data + kept.salt.len;
    hkdf_mechanism(&kept, &operation->mechanism.hkdf);
    operation->out.exact = true;
    return operation_run(operation, &derivation);
}

bool key_hkdf(struct key *key, const struct hkdf_request *request, uint8_t *out, size_t len)
{
    struct operation_place place;
    _cleanup_(operation_end) struct operation *operation = NULL;
    _cleanup_(bytes_wipe) struct bytes extra = { NULL, 0 };
    CK_RV rv;

    if (!may(key) || !bytes_add(&extra, request->salt.data, request->salt.len) ||
        !bytes_add(&extra, request->info.data, request->info.len))
        return false;
    operation = operation_begin(&place, key, (struct view){ NULL, 0 }, view_bytes(&extra), len);
    if (operation == NULL)
        return false;
    rv = run(operation, request);
    if (rv == CKR_OK)
        memcpy(out, operation->out.data, len);
    return rv == CKR_OK || key_failed(key, "derive", CKM_HKDF_DERIVE, rv);
}

struct key *key_hkdf_key(struct key *key, const struct hkdf_request *request,
                         const struct secret_kind *kind, size_t len)
{
    struct hkdf_mechanism mechanism;
    const struct secret_order order = {
        .provider = key->provider, .kind = kind, .len = len, .base = key, .derive = &mechanism.ck
    };

    if (!may(key))
        return NULL;
    hkdf_mechanism(request, &mechanism);
    return secret_key_make(&order);
}
