#include "key/mac.h"

#include <string.h>

#include "base/scope.h"
#include "key/operation.h"

static const struct operation_kind mac = { "authenticate", operation_sign };

bool key_can_mac(const struct key *key, const struct mac_request *request)
{
    return key_permits(key, key->object->may_sign, "CKA_SIGN", "authenticate",
                       mac_mechanism(request));
}

bool key_mac(struct key *key, const struct mac_request *request, struct view message, uint8_t *out)
{
    struct operation_place place;
    _cleanup_(operation_end) struct operation *operation =
        operation_begin(&place, key, message, (struct view){ NULL, 0 }, mac_size(request));
    CK_RV rv;

    if (operation == NULL)
        return false;
    operation->out.exact = true;
    operation->mechanism.ck = (CK_MECHANISM){ .mechanism = mac_mechanism(request) };
    rv = operation_run(operation, &mac);
    if (rv == CKR_OK)
        memcpy(out, operation->out.data, operation->out.len);
    return rv == CKR_OK || key_failed(key, "authenticate", mac_mechanism(request), rv);
}
