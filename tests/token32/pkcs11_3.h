/* PKCS#11 v3.0 and v3.2, of which p11-kit's header of Debian 12 knows nothing: what token32 and its
 * test need. Names and values: OASIS, pkcs11t.h of v3.2. The structures have names of their own,
 * since newer headers of p11-kit have them too; the lists of functions are made of functions_3.h.
 */
#ifndef BRIDGE_TOKEN32_PKCS11_3_H
#define BRIDGE_TOKEN32_PKCS11_3_H

#include <stddef.h>

/* p11-kit 0.26 declares it with a pointer for the length of the ciphertext, which OASIS and NSS do
 * not. */
#define C_DecapsulateKey declared_otherwise
#define CRYPTOKI_GNU
#include <p11-kit/pkcs11.h>
#undef C_DecapsulateKey

#ifndef CKF_INTERFACE_FORK_SAFE
#define CKF_INTERFACE_FORK_SAFE 0x1UL
struct ck_interface {
    char *interface_name_ptr;
    void *function_list_ptr;
    ck_flags_t flags;
};
#endif
struct ck_async_data; /* nobody here looks into one */

/* CK_HASH_SIGN_ADDITIONAL_CONTEXT; CK_SIGN_ADDITIONAL_CONTEXT is the same up to its hash. */
struct sign_context {
    unsigned long hedge;
    unsigned char *context;
    unsigned long context_len;
    ck_mechanism_type_t hash;
};
#define SIGN_CONTEXT_SIZE      offsetof(struct sign_context, hash)
#define HASH_SIGN_CONTEXT_SIZE sizeof(struct sign_context)

#ifndef CKF_MESSAGE_SIGN
#define CKF_MESSAGE_SIGN   0x8UL
#define CKF_MESSAGE_VERIFY 0x10UL
#define CKF_FIND_OBJECTS   0x40UL
#endif
#ifndef CKM_SHA3_256
#define CKM_SHA3_256 0x2b0UL
#define CKM_SHA3_224 0x2b5UL
#define CKM_SHA3_384 0x2c0UL
#define CKM_SHA3_512 0x2d0UL
#endif

#ifndef CKK_ML_DSA
#define CKK_ML_KEM  0x49UL
#define CKK_ML_DSA  0x4aUL
#define CKK_SLH_DSA 0x4bUL

#define CKA_PARAMETER_SET 0x61dUL
#define CKA_ENCAPSULATE   0x633UL
#define CKA_DECAPSULATE   0x634UL
#define CKA_SEED          0x637UL

#define CKF_ENCAPSULATE 0x10000000UL
#define CKF_DECAPSULATE 0x20000000UL

#define CKM_ML_KEM_KEY_PAIR_GEN   0xfUL
#define CKM_ML_KEM                0x17UL
#define CKM_ML_DSA_KEY_PAIR_GEN   0x1cUL
#define CKM_ML_DSA                0x1dUL
#define CKM_HASH_ML_DSA           0x1fUL
#define CKM_HASH_ML_DSA_SHA224    0x23UL
#define CKM_HASH_ML_DSA_SHA256    0x24UL
#define CKM_HASH_ML_DSA_SHA384    0x25UL
#define CKM_HASH_ML_DSA_SHA512    0x26UL
#define CKM_HASH_ML_DSA_SHA3_224  0x27UL
#define CKM_HASH_ML_DSA_SHA3_256  0x28UL
#define CKM_HASH_ML_DSA_SHA3_384  0x29UL
#define CKM_HASH_ML_DSA_SHA3_512  0x2aUL
#define CKM_HASH_ML_DSA_SHAKE128  0x2bUL
#define CKM_HASH_ML_DSA_SHAKE256  0x2cUL
#define CKM_SLH_DSA_KEY_PAIR_GEN  0x2dUL
#define CKM_SLH_DSA               0x2eUL
#define CKM_HASH_SLH_DSA          0x34UL
#define CKM_HASH_SLH_DSA_SHA224   0x36UL
#define CKM_HASH_SLH_DSA_SHA256   0x37UL
#define CKM_HASH_SLH_DSA_SHA384   0x38UL
#define CKM_HASH_SLH_DSA_SHA512   0x39UL
#define CKM_HASH_SLH_DSA_SHA3_224 0x3aUL
#define CKM_HASH_SLH_DSA_SHA3_256 0x3bUL
#define CKM_HASH_SLH_DSA_SHA3_384 0x3cUL
#define CKM_HASH_SLH_DSA_SHA3_512 0x3dUL
#define CKM_HASH_SLH_DSA_SHAKE128 0x3eUL
#define CKM_HASH_SLH_DSA_SHAKE256 0x3fUL

#define CKH_HEDGE_PREFERRED        0UL
#define CKH_HEDGE_REQUIRED         1UL
#define CKH_DETERMINISTIC_REQUIRED 2UL

#define CKP_ML_KEM_512         1UL
#define CKP_ML_KEM_768         2UL
#define CKP_ML_KEM_1024        3UL
#define CKP_ML_DSA_44          1UL
#define CKP_ML_DSA_65          2UL
#define CKP_ML_DSA_87          3UL
#define CKP_SLH_DSA_SHA2_128S  1UL
#define CKP_SLH_DSA_SHAKE_128S 2UL
#define CKP_SLH_DSA_SHA2_128F  3UL
#define CKP_SLH_DSA_SHAKE_128F 4UL
#define CKP_SLH_DSA_SHA2_192S  5UL
#define CKP_SLH_DSA_SHAKE_192S 6UL
#define CKP_SLH_DSA_SHA2_192F  7UL
#define CKP_SLH_DSA_SHAKE_192F 8UL
#define CKP_SLH_DSA_SHA2_256S  9UL
#define CKP_SLH_DSA_SHAKE_256S 10UL
#define CKP_SLH_DSA_SHA2_256F  11UL
#define CKP_SLH_DSA_SHAKE_256F 12UL
#endif

/* CK_FUNCTION_LIST_3_0 and CK_FUNCTION_LIST_3_2, the one after the other: a list of v3.0 is the
 * first part of one of v3.2. What p11-kit declares is declared again, as it is. */
#define F(name, parameters, arguments) ck_rv_t name parameters;
#define FUNCTIONS_3_0
#define FUNCTIONS_3_2
#include "functions_3.h"
#undef F

#define F(name, parameters, arguments) ck_rv_t(*name) parameters;
struct functions_3 {
    struct ck_function_list v2;
#include "functions_3.h"
};
#undef F

#endif
