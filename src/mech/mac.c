#include "mech/mac.h"

#define CMAC_SIZE 16

static const CK_MECHANISM_TYPE hmacs[DIGESTS] = {
    [DIGEST_SHA1] = CKM_SHA_1_HMAC,
    [DIGEST_SHA2_224] = CKM_SHA224_HMAC,
    [DIGEST_SHA2_256] = CKM_SHA256_HMAC,
    [DIGEST_SHA2_384] = CKM_SHA384_HMAC,
    [DIGEST_SHA2_512] = CKM_SHA512_HMAC,
    [DIGEST_SHA2_512_224] = CKM_SHA512_224_HMAC,
    [DIGEST_SHA2_512_256] = CKM_SHA512_256_HMAC,
    [DIGEST_SHA3_224] = CKM_SHA3_224_HMAC,
    [DIGEST_SHA3_256] = CKM_SHA3_256_HMAC,
    [DIGEST_SHA3_384] = CKM_SHA3_384_HMAC,
    [DIGEST_SHA3_512] = CKM_SHA3_512_HMAC,
    [DIGEST_MD5_SHA1] = MAC_NONE,
};

CK_MECHANISM_TYPE mac_mechanism(const struct mac_request *request)
{
    return request->kind == MAC_CMAC ? CKM_AES_CMAC : hmacs[request->digest - digests];
}

/* FIPS 180-4 §1, FIPS 202 §7 */
static const size_t blocks[DIGESTS] = {
    [DIGEST_SHA1] = 64,          [DIGEST_SHA2_224] = 64,  [DIGEST_SHA2_256] = 64,
    [DIGEST_SHA2_384] = 128,     [DIGEST_SHA2_512] = 128, [DIGEST_SHA2_512_224] = 128,
    [DIGEST_SHA2_512_256] = 128, [DIGEST_SHA3_224] = 144, [DIGEST_SHA3_256] = 136,
    [DIGEST_SHA3_384] = 104,     [DIGEST_SHA3_512] = 72,  [DIGEST_MD5_SHA1] = 64,
};

size_t mac_block_size(const struct mac_request *request)
{
    return request->kind == MAC_CMAC ? CMAC_SIZE : blocks[request->digest - digests];
}

size_t mac_size(const struct mac_request *request)
{
    return request->kind == MAC_CMAC ? CMAC_SIZE : request->digest->size;
}
