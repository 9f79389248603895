/* PKCS#11 as p11-kit's header has it, and the constants that are newer than the oldest p11-kit that
 * we build with (PKCS#11 v3.0 to v3.2, and CKR values of our own). */
#ifndef BRIDGE_CRYPTOKI_H
#define BRIDGE_CRYPTOKI_H

#include <stdbool.h>
#include <stdint.h>

#include <p11-kit/pkcs11.h>

/* PKCS#11 v3.0 §2.1.12, §2.1.13: RSA with SHA-3 */
#ifndef CKM_SHA3_256_RSA_PKCS
#define CKM_SHA3_256_RSA_PKCS     0x60UL
#define CKM_SHA3_384_RSA_PKCS     0x61UL
#define CKM_SHA3_512_RSA_PKCS     0x62UL
#define CKM_SHA3_256_RSA_PKCS_PSS 0x63UL
#define CKM_SHA3_384_RSA_PKCS_PSS 0x64UL
#define CKM_SHA3_512_RSA_PKCS_PSS 0x65UL
#define CKM_SHA3_224_RSA_PKCS     0x66UL
#define CKM_SHA3_224_RSA_PKCS_PSS 0x67UL
#endif

/* PKCS#11 v3.0 §2.29: SHA-3 digests */
#ifndef CKM_SHA3_256
#define CKM_SHA3_256 0x2b0UL
#define CKM_SHA3_224 0x2b5UL
#define CKM_SHA3_384 0x2c0UL
#define CKM_SHA3_512 0x2d0UL
#endif

#ifndef CKM_SHA3_256_HMAC
#define CKM_SHA3_256_HMAC 0x2b1UL
#define CKM_SHA3_224_HMAC 0x2b6UL
#define CKM_SHA3_384_HMAC 0x2c1UL
#define CKM_SHA3_512_HMAC 0x2d1UL
#endif

/* PKCS#11 v3.0 §2.3.6: ECDSA with SHA-3 */
#ifndef CKM_ECDSA_SHA3_224
#define CKM_ECDSA_SHA3_224 0x1047UL
#define CKM_ECDSA_SHA3_256 0x1048UL
#define CKM_ECDSA_SHA3_384 0x1049UL
#define CKM_ECDSA_SHA3_512 0x104aUL
#endif

/* PKCS#11 v3.0 §2.1.9: MGF1 with SHA-3 */
#ifndef CKG_MGF1_SHA3_224
#define CKG_MGF1_SHA3_224 0x6UL
#define CKG_MGF1_SHA3_256 0x7UL
#define CKG_MGF1_SHA3_384 0x8UL
#define CKG_MGF1_SHA3_512 0x9UL
#endif

/* PKCS#11 v3.0 §2.3.5: CK_EDDSA_PARAMS */
struct eddsa_params {
    CK_BBOOL phFlag;
    CK_ULONG ulContextDataLen;
    CK_BYTE *pContextData;
};

#ifndef CKM_EC_MONTGOMERY_KEY_PAIR_GEN
#define CKM_EC_MONTGOMERY_KEY_PAIR_GEN 0x1056UL
#endif

/* PKCS#11 v3.0 §2.3: Montgomery keys */
#ifndef CKK_EC_MONTGOMERY
#define CKK_EC_MONTGOMERY 0x41UL
#endif

/* PKCS#11 v3.2: ML-DSA, and what else is a parameter set and bytes */
#ifndef CKA_PARAMETER_SET
#define CKA_PARAMETER_SET 0x61dUL
#endif
#ifndef CKK_ML_DSA
#define CKK_ML_DSA              0x4aUL
#define CKM_ML_DSA_KEY_PAIR_GEN 0x1cUL
#define CKM_ML_DSA              0x1dUL
#define CKM_HASH_ML_DSA         0x1fUL
#endif
#ifndef CKK_SLH_DSA
#define CKK_SLH_DSA              0x4bUL
#define CKM_SLH_DSA_KEY_PAIR_GEN 0x2dUL
#define CKM_SLH_DSA              0x2eUL
#define CKM_HASH_SLH_DSA         0x34UL
#endif
#ifndef CKK_ML_KEM
#define CKK_ML_KEM              0x49UL
#define CKM_ML_KEM_KEY_PAIR_GEN 0xfUL
#define CKM_ML_KEM              0x17UL
#endif
#ifndef CKA_ENCAPSULATE
#define CKA_ENCAPSULATE 0x633UL
#define CKA_DECAPSULATE 0x634UL
#endif

/* PKCS#11 v3.2 §6.67: CK_HASH_SIGN_ADDITIONAL_CONTEXT, and up to its hash
 * CK_SIGN_ADDITIONAL_CONTEXT; their CK_HEDGE_TYPE */
struct sign_additional_context {
    CK_ULONG hedgeVariant;
    CK_BYTE *pContext;
    CK_ULONG ulContextLen;
    CK_MECHANISM_TYPE hash;
};

enum hedge { HEDGE_PREFERRED, HEDGE_REQUIRED, HEDGE_DETERMINISTIC };

/* PKCS#11 v2.40 §2.13.3: CK_CCM_PARAMS */
struct ccm_params {
    CK_ULONG ulDataLen;
    CK_BYTE *pNonce;
    CK_ULONG ulNonceLen;
    CK_BYTE *pAAD;
    CK_ULONG ulAADLen;
    CK_ULONG ulMACLen;
};

/* PKCS#11 v2.40 §2.11.1, §2.12.4: CK_AES_CTR_PARAMS, CK_GCM_PARAMS. p11-kit renamed the members. */
struct ctr_params {
    CK_ULONG ulCounterBits;
    CK_BYTE cb[16];
};

struct gcm_params {
    CK_BYTE *pIv;
    CK_ULONG ulIvLen;
    CK_ULONG ulIvBits;
    CK_BYTE *pAAD;
    CK_ULONG ulAADLen;
    CK_ULONG ulTagBits;
};

/* PKCS#11 v3.0 §2.15: RFC 5649 */
#ifndef CKM_AES_KEY_WRAP_KWP
#define CKM_AES_KEY_WRAP_KWP 0x210bUL
#endif

/* PKCS#11 v3.1 §2.1.23: CK_RSA_AES_KEY_WRAP_PARAMS */
struct rsa_aes_params {
    CK_ULONG ulAESKeyBits;
    CK_RSA_PKCS_OAEP_PARAMS *pOAEPParams;
};

/* PKCS#11 v3.0 §2.62: CK_HKDF_PARAMS */
struct hkdf_params {
    CK_BBOOL bExtract, bExpand;
    CK_MECHANISM_TYPE prfHashMechanism;
    CK_ULONG ulSaltType;
    CK_BYTE *pSalt;
    CK_ULONG ulSaltLen;
    CK_OBJECT_HANDLE hSaltKey;
    CK_BYTE *pInfo;
    CK_ULONG ulInfoLen;
};

#ifndef CKM_HKDF_DERIVE
#define CKM_HKDF_DERIVE 0x402aUL
#endif
#ifndef CKF_HKDF_SALT_NULL
#define CKF_HKDF_SALT_NULL 0x1UL
#define CKF_HKDF_SALT_DATA 0x2UL
#endif

/* PKCS#11 v3.0 §5.1 */
#ifndef CKR_TOKEN_RESOURCE_EXCEEDED
#define CKR_TOKEN_RESOURCE_EXCEEDED 0x201UL
#endif
#ifndef CKR_OPERATION_CANCEL_FAILED
#define CKR_OPERATION_CANCEL_FAILED 0x202UL
#endif
#ifndef CKR_KEY_EXHAUSTED
#define CKR_KEY_EXHAUSTED 0x203UL
#endif

#ifndef CKR_PENDING
#define CKR_PENDING                     0x204UL
#define CKR_SESSION_ASYNC_NOT_SUPPORTED 0x205UL
#define CKR_SEED_RANDOM_REQUIRED        0x206UL
#define CKR_OPERATION_NOT_VALIDATED     0x207UL
#define CKR_TOKEN_NOT_INITIALIZED       0x208UL
#define CKR_PARAMETER_SET_NOT_SUPPORTED 0x209UL
#endif

/* PKCS#11 v3.0 §5.6: which operations C_SessionCancel ends, beside those of v2.40 */
#ifndef CKF_FIND_OBJECTS
#define CKF_FIND_OBJECTS 0x40UL
#endif

/* The crypto user of Luna HSMs, who logs in where others have CKU_USER. */
#define CKU_LUNA_CU 0x80000001UL

/* The prototypes of PKCS#11 know no const: input that a function only reads. */
static inline CK_BYTE *ck_input(const uint8_t *data)
{
    return (CK_BYTE *)(uintptr_t)data;
}

/* Outcomes of this library's own, beside the module's: no C_* call returned them. */
enum own_rv {
    RV_UNKNOWN =
        CKR_VENDOR_DEFINED | 0x50313100UL, /* in tables of ckr.c: any value that no header knows */
    RV_PIN_MISSING,                        /* a login is needed and nobody has a PIN */
    RV_PIN_REFUSED_BEFORE,                 /* the token refused this PIN earlier; not tried again */
    RV_PIN_FINAL_TRY,                      /* one more refusal would lock the token */
    RV_PIN_SOURCE,                         /* a pin-source could not be read */
    RV_KEY_REPLACED,                       /* the object found again has another public half */
    RV_KEY_GONE,                           /* the object is no longer on the token */
    RV_SESSION_KEY_GONE,                   /* a session object went with its session */
    RV_TOKEN_GONE,                         /* no slot holds the token any more */
    RV_TOKEN_UNINITIALIZED,                /* CKF_TOKEN_INITIALIZED is off */
    RV_RECURSION,                          /* a module called back into this provider */
    RV_SESSIONS_BUSY,                      /* no session came back in time */
    RV_NO_PUBLIC_HALF,                     /* of a key that was just made */
    RV_PROCESS_ENDS,                       /* no module is called any more */
    RV_STALE,                              /* the session or handle is of an epoch that is over */
    RV_LENGTH,        /* what the module wrote cannot be what it was asked for */
    RV_TOKEN_MOVED,   /* another token is in its slot */
    RV_PIN_UNNAMED,   /* nothing says that the configured PIN is this token's */
    RV_LOGIN_FAILED,  /* C_Login failed in this operation; not called again */
    RV_HOST_LACKS,    /* no other provider does what the host has to do */
    RV_UNRECORDED,    /* it cannot be recorded, and must not be done then */
    RV_START_OVERDUE, /* another thread's C_Initialize has not come back */
    RV_OTHER_HALF,    /* the public half that came with a key is another's */
    RV_REFUSED,       /* the token is not asked: what is asked must not be done, or not so */
    RV_END,           /* behind the last */
};

static inline bool rv_is_own(CK_RV rv)
{
    return rv >= RV_UNKNOWN && rv < RV_END;
}

#endif
