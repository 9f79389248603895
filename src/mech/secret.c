#include "mech/secret.h"

#include "base/scope.h"

/* CMAC and key wrapping beside encryption. */
static const CK_ATTRIBUTE_TYPE aes_uses[] = { CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN,
                                              CKA_VERIFY,  CKA_WRAP,    CKA_UNWRAP };
static const CK_ATTRIBUTE_TYPE generic_uses[] = { CKA_SIGN, CKA_VERIFY, CKA_DERIVE };

const struct secret_kind secret_kinds[SECRET_KINDS] = {
    [SECRET_AES] = { "AES", CKK_AES, CKM_AES_KEY_GEN, 32, aes_uses, COUNT(aes_uses), 2 },
    [SECRET_GENERIC] = { "GENERIC-SECRET", CKK_GENERIC_SECRET, CKM_GENERIC_SECRET_KEY_GEN, 32,
                         generic_uses, COUNT(generic_uses), 2 },
};

const struct secret_kind *secret_kind_of(CK_KEY_TYPE type)
{
    return &secret_kinds[type == CKK_AES ? SECRET_AES : SECRET_GENERIC];
}

/* More than a hash's block is hashed anyway (RFC 2104 §2). */
#define GENERIC_MOST 512

bool secret_kind_fits(const struct secret_kind *kind, size_t len)
{
    if (kind->type == CKK_AES)
        return len == 16 || len == 24 || len == 32;
    return len >= 1 && len <= GENERIC_MOST;
}
