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
