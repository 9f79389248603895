#include "module/names.h"

#include <stddef.h>

#include "base/scope.h"

#define NAME(number)                                                                               \
    {                                                                                              \
        number, #number                                                                            \
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

const char *attribute_name(CK_ATTRIBUTE_TYPE type)
{
    static const struct {
        CK_ATTRIBUTE_TYPE type;
        const char *name;
    } names[] = {
        NAME(CKA_ALLOWED_MECHANISMS),
        NAME(CKA_ALWAYS_AUTHENTICATE),
        NAME(CKA_CERTIFICATE_TYPE),
        NAME(CKA_CHECK_VALUE),
        NAME(CKA_CLASS),
        NAME(CKA_COEFFICIENT),
        NAME(CKA_DECAPSULATE),
        NAME(CKA_DECRYPT),
        NAME(CKA_DERIVE),
        NAME(CKA_EC_PARAMS),
        NAME(CKA_EC_POINT),
        NAME(CKA_ENCAPSULATE),
        NAME(CKA_ENCRYPT),
        NAME(CKA_EXPONENT_1),
        NAME(CKA_EXPONENT_2),
        NAME(CKA_EXTRACTABLE),
        NAME(CKA_ID),
        NAME(CKA_ISSUER),
        NAME(CKA_KEY_TYPE),
        NAME(CKA_LABEL),
        NAME(CKA_LOCAL),
        NAME(CKA_MODIFIABLE),
        NAME(CKA_MODULUS),
        NAME(CKA_MODULUS_BITS),
        NAME(CKA_PARAMETER_SET),
        NAME(CKA_PRIME_1),
        NAME(CKA_PRIME_2),
        NAME(CKA_PRIVATE),
        NAME(CKA_PRIVATE_EXPONENT),
        NAME(CKA_PUBLIC_EXPONENT),
        NAME(CKA_PUBLIC_KEY_INFO),
        NAME(CKA_SENSITIVE),
        NAME(CKA_SERIAL_NUMBER),
        NAME(CKA_SIGN),
        NAME(CKA_SUBJECT),
        NAME(CKA_TOKEN),
        NAME(CKA_TRUSTED),
        NAME(CKA_UNWRAP),
        NAME(CKA_VALUE),
        NAME(CKA_VALUE_LEN),
        NAME(CKA_VERIFY),
        NAME(CKA_WRAP),
        NAME(CKA_WRAP_WITH_TRUSTED),
    };

    for (size_t i = 0; i < COUNT(names); i++)
        if (names[i].type == type)
            return names[i].name;
    return NULL;
}
