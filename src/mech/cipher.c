#include "mech/cipher.h"

static const CK_MECHANISM_TYPE mechanisms[] = {
    [CIPHER_PKCS1] = CKM_RSA_PKCS,
    [CIPHER_TLS] = CKM_RSA_PKCS,
    [CIPHER_OAEP] = CKM_RSA_PKCS_OAEP,
    [CIPHER_RAW] = CKM_RSA_X_509,
};

bool cipher_mechanism(const struct cipher_request *request, struct cipher_mechanism *out)
{
    *out = (struct cipher_mechanism){ .ck = { .mechanism = mechanisms[request->padding] } };
    if (request->padding != CIPHER_OAEP)
        return true;
    out->oaep = (CK_RSA_PKCS_OAEP_PARAMS){
        .hashAlg = request->digest->mechanism,
        .mgf = request->mgf1->mgf1,
        .source = CKZ_DATA_SPECIFIED,
        .pSourceData = (void *)(uintptr_t)request->label.data,
        .ulSourceDataLen = request->label.len,
    };
    out->ck.pParameter = &out->oaep;
    out->ck.ulParameterLen = sizeof(out->oaep);
    return request->mgf1->mgf1 != 0;
}

void cipher_mechanism_raw(struct cipher_mechanism *out)
{
    *out = (struct cipher_mechanism){ .ck = { .mechanism = CKM_RSA_X_509 } };
}

CK_MECHANISM_TYPE cipher_oaep_variant(const struct cipher_request *request)
{
    return CKM_VENDOR_DEFINED | 0x4f414550UL << 16 |
           (CK_MECHANISM_TYPE)(request->digest - digests) << 9 |
           (CK_MECHANISM_TYPE)(request->mgf1 - digests) << 1 | (request->label.len != 0);
}
