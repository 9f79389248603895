#include "module/names.h"

#include <stddef.h>

#include "base/scope.h"

#define NAME(mechanism)                                                                            \
    {                                                                                              \
        mechanism, #mechanism                                                                      \
    }

const char *mechanism_name(CK_MECHANISM_TYPE mechanism)
{
    static const struct {
        CK_MECHANISM_TYPE mechanism;
        const char *name;
    } names[] = {
        NAME(CKM_RSA_PKCS),
        NAME(CKM_RSA_PKCS_PSS),
        NAME(CKM_RSA_X_509),
        NAME(CKM_ECDSA),
        NAME(CKM_EDDSA),
        NAME(CKM_ML_DSA),
        NAME(CKM_HASH_ML_DSA),
        NAME(CKM_ML_DSA_KEY_PAIR_GEN),
        NAME(CKM_SLH_DSA),
        NAME(CKM_HASH_SLH_DSA),
        NAME(CKM_SLH_DSA_KEY_PAIR_GEN),
        NAME(CKM_ML_KEM),
        NAME(CKM_ML_KEM_KEY_PAIR_GEN),
        NAME(CKM_RSA_PKCS_KEY_PAIR_GEN),
        NAME(CKM_RSA_X9_31_KEY_PAIR_GEN),
        NAME(CKM_EC_KEY_PAIR_GEN),
        NAME(CKM_EC_EDWARDS_KEY_PAIR_GEN),
        NAME(CKM_EC_MONTGOMERY_KEY_PAIR_GEN),
        NAME(CKM_AES_KEY_GEN),
        NAME(CKM_AES_ECB),
        NAME(CKM_AES_CBC),
        NAME(CKM_AES_CTS),
        NAME(CKM_AES_CTR),
        NAME(CKM_AES_CFB128),
        NAME(CKM_AES_OFB),
        NAME(CKM_AES_KEY_WRAP),
        NAME(CKM_AES_KEY_WRAP_KWP),
        NAME(CKM_AES_KEY_WRAP_PAD),
        NAME(CKM_RSA_AES_KEY_WRAP),
        NAME(CKM_AES_CCM),
        NAME(CKM_AES_CMAC),
        NAME(CKM_HKDF_DERIVE),
        NAME(CKM_SHA_1_HMAC),
        NAME(CKM_SHA224_HMAC),
        NAME(CKM_SHA256_HMAC),
        NAME(CKM_SHA384_HMAC),
        NAME(CKM_SHA512_HMAC),
        NAME(CKM_SHA512_224_HMAC),
        NAME(CKM_SHA512_256_HMAC),
        NAME(CKM_SHA3_224_HMAC),
        NAME(CKM_SHA3_256_HMAC),
        NAME(CKM_SHA3_384_HMAC),
        NAME(CKM_SHA3_512_HMAC),
        NAME(CKM_AES_GCM),
        NAME(CKM_GENERIC_SECRET_KEY_GEN),
        NAME(CKM_ECDH1_DERIVE),
        NAME(CKM_ECDH1_COFACTOR_DERIVE),
        NAME(CKM_RSA_PKCS_OAEP),
        NAME(CKM_SHA1_RSA_PKCS),
        NAME(CKM_SHA224_RSA_PKCS),
        NAME(CKM_SHA256_RSA_PKCS),
        NAME(CKM_SHA384_RSA_PKCS),
        NAME(CKM_SHA512_RSA_PKCS),
        NAME(CKM_SHA3_224_RSA_PKCS),
        NAME(CKM_SHA3_256_RSA_PKCS),
        NAME(CKM_SHA3_384_RSA_PKCS),
        NAME(CKM_SHA3_512_RSA_PKCS),
        NAME(CKM_SHA1_RSA_PKCS_PSS),
        NAME(CKM_SHA224_RSA_PKCS_PSS),
        NAME(CKM_SHA256_RSA_PKCS_PSS),
        NAME(CKM_SHA384_RSA_PKCS_PSS),
        NAME(CKM_SHA512_RSA_PKCS_PSS),
        NAME(CKM_SHA3_224_RSA_PKCS_PSS),
        NAME(CKM_SHA3_256_RSA_PKCS_PSS),
        NAME(CKM_SHA3_384_RSA_PKCS_PSS),
        NAME(CKM_SHA3_512_RSA_PKCS_PSS),
        NAME(CKM_ECDSA_SHA1),
        NAME(CKM_ECDSA_SHA224),
        NAME(CKM_ECDSA_SHA256),
        NAME(CKM_ECDSA_SHA384),
        NAME(CKM_ECDSA_SHA512),
        NAME(CKM_ECDSA_SHA3_224),
        NAME(CKM_ECDSA_SHA3_256),
        NAME(CKM_ECDSA_SHA3_384),
        NAME(CKM_ECDSA_SHA3_512),
    };

    for (size_t i = 0; i < COUNT(names); i++)
        if (names[i].mechanism == mechanism)
            return names[i].name;
    return "unknown mechanism";
}
