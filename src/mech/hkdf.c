#include "mech/hkdf.h"

void hkdf_mechanism(const struct hkdf_request *request, struct hkdf_mechanism *out)
{
    *out = (struct hkdf_mechanism){
        .ck = { .mechanism = CKM_HKDF_DERIVE,
                .pParameter = &out->params,
                .ulParameterLen = sizeof(out->params) },
        .params = { .bExtract = request->extract,
                    .bExpand = request->expand,
                    .prfHashMechanism = request->digest->mechanism,
                    .ulSaltType = request->salt.len != 0 ? CKF_HKDF_SALT_DATA : CKF_HKDF_SALT_NULL,
                    .pSalt = request->salt.len != 0 ? ck_input(request->salt.data) : NULL,
                    .ulSaltLen = request->salt.len,
                    .pInfo = request->info.len != 0 ? ck_input(request->info.data) : NULL,
                    .ulInfoLen = request->info.len },
    };
}

bool hkdf_label(struct bytes *out, size_t len, struct view prefix, struct view label,
                struct view context)
{
    const uint8_t head[] = { (uint8_t)(len >> 8), (uint8_t)len, (uint8_t)(prefix.len + label.len) };
    const uint8_t context_len = (uint8_t)context.len;

    return len <= UINT16_MAX && prefix.len <= UINT8_MAX && label.len <= UINT8_MAX - prefix.len &&
           context.len <= UINT8_MAX && bytes_add(out, head, sizeof(head)) &&
           bytes_add(out, prefix.data, prefix.len) && bytes_add(out, label.data, label.len) &&
           bytes_add(out, &context_len, 1) && bytes_add(out, context.data, context.len);
}
