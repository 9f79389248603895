/* The interfaces of PKCS#11 v3.0 and v3.2 (§5.4), and their lists of
 * functions, which begin with that of v2.40. Declared here, because the oldest p11-kit that we
 * build with has none of them, under names of our own, because newer ones have them all.
 *
 * What nobody here calls has no prototype: it is a place in the list. */
#ifndef BRIDGE_INTERFACE_H
#define BRIDGE_INTERFACE_H

#include <stdbool.h>

#include "module/cryptoki.h"

struct interface {
    CK_UTF8CHAR *name;
    void *functions;
    CK_FLAGS flags;
};

typedef CK_RV get_interface_fn(CK_UTF8CHAR *name, CK_VERSION *version, struct interface **out,
                               CK_FLAGS flags);

typedef void uncalled_fn(void);

struct functions_3_0 {
    CK_FUNCTION_LIST v2_40;

    uncalled_fn *C_GetInterfaceList;
    get_interface_fn *C_GetInterface;
    uncalled_fn *C_LoginUser;
    CK_RV (*C_SessionCancel)(CK_SESSION_HANDLE session, CK_FLAGS flags);
    uncalled_fn *C_MessageEncryptInit, *C_EncryptMessage, *C_EncryptMessageBegin,
        *C_EncryptMessageNext, *C_MessageEncryptFinal;
    uncalled_fn *C_MessageDecryptInit, *C_DecryptMessage, *C_DecryptMessageBegin,
        *C_DecryptMessageNext, *C_MessageDecryptFinal;
    uncalled_fn *C_MessageSignInit, *C_SignMessage, *C_SignMessageBegin, *C_SignMessageNext,
        *C_MessageSignFinal;
    uncalled_fn *C_MessageVerifyInit, *C_VerifyMessage, *C_VerifyMessageBegin, *C_VerifyMessageNext,
        *C_MessageVerifyFinal;
};

struct functions_3_2 {
    struct functions_3_0 v3_0;

    CK_RV(*C_EncapsulateKey)
    (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE public_key,
     CK_ATTRIBUTE *list, CK_ULONG count, CK_BYTE *ciphertext, CK_ULONG *ciphertext_len,
     CK_OBJECT_HANDLE *key);
    CK_RV(*C_DecapsulateKey)
    (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE private_key,
     CK_ATTRIBUTE *list, CK_ULONG count, CK_BYTE *ciphertext, CK_ULONG ciphertext_len,
     CK_OBJECT_HANDLE *key);
    uncalled_fn *C_VerifySignatureInit, *C_VerifySignature, *C_VerifySignatureUpdate,
        *C_VerifySignatureFinal;
    uncalled_fn *C_GetSessionValidationFlags;
    uncalled_fn *C_AsyncComplete, *C_AsyncGetID, *C_AsyncJoin;
    uncalled_fn *C_WrapKeyAuthenticated, *C_UnwrapKeyAuthenticated;
};

/* A module's functions: v2_40 is never NULL, the others are where it has no such interface. All
 * are parts of one list. */
struct functions {
    const CK_FUNCTION_LIST *v2_40;
    const struct functions_3_0 *v3_0;
    const struct functions_3_2 *v3_2;
};

/* The functions of a library that dlopen gave: those of its interface "PKCS 11" in the newest
 * version that both sides know, else those of C_GetFunctionList. False where it has neither. Makes
 * no call but of these two. */
bool functions_find(void *library, struct functions *out);

#endif
