#include "mech/digest.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/scope.h"

/* 2.16.840.1.101.3.4.2.n, RFC 8017 appendix B.1 and NIST's register */
#define NIST_HASH(n)                                                                               \
    {                                                                                              \
        (const uint8_t[]){ 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, (n) }, 9                \
    }
#define SHA1_OID                                                                                   \
    {                                                                                              \
        (const uint8_t[]){ 0x2b, 0x0e, 0x03, 0x02, 0x1a }, 5                                       \
    }
#define NO_OID                                                                                     \
    {                                                                                              \
        NULL, 0                                                                                    \
    }

const struct digest digests[DIGESTS] = {
    [DIGEST_SHA1] = { "SHA1:SHA-1:SSL3-SHA1:1.3.14.3.2.26", 20, SHA1_OID, CKM_SHA_1,
                      CKG_MGF1_SHA1 },
    [DIGEST_SHA2_224] = { "SHA2-224:SHA-224:SHA224:2.16.840.1.101.3.4.2.4", 28, NIST_HASH(4),
                          CKM_SHA224, CKG_MGF1_SHA224 },
    [DIGEST_SHA2_256] = { "SHA2-256:SHA-256:SHA256:2.16.840.1.101.3.4.2.1", 32, NIST_HASH(1),
                          CKM_SHA256, CKG_MGF1_SHA256 },
    [DIGEST_SHA2_384] = { "SHA2-384:SHA-384:SHA384:2.16.840.1.101.3.4.2.2", 48, NIST_HASH(2),
                          CKM_SHA384, CKG_MGF1_SHA384 },
    [DIGEST_SHA2_512] = { "SHA2-512:SHA-512:SHA512:2.16.840.1.101.3.4.2.3", 64, NIST_HASH(3),
                          CKM_SHA512, CKG_MGF1_SHA512 },
    [DIGEST_SHA2_512_224] = { "SHA2-512/224:SHA-512/224:SHA512-224:2.16.840.1.101.3.4.2.5", 28,
                              NIST_HASH(5), CKM_SHA512_224, 0 },
    [DIGEST_SHA2_512_256] = { "SHA2-512/256:SHA-512/256:SHA512-256:2.16.840.1.101.3.4.2.6", 32,
                              NIST_HASH(6), CKM_SHA512_256, 0 },
    [DIGEST_SHA3_224] = { "SHA3-224:2.16.840.1.101.3.4.2.7", 28, NIST_HASH(7), CKM_SHA3_224,
                          CKG_MGF1_SHA3_224 },
    [DIGEST_SHA3_256] = { "SHA3-256:2.16.840.1.101.3.4.2.8", 32, NIST_HASH(8), CKM_SHA3_256,
                          CKG_MGF1_SHA3_256 },
    [DIGEST_SHA3_384] = { "SHA3-384:2.16.840.1.101.3.4.2.9", 48, NIST_HASH(9), CKM_SHA3_384,
                          CKG_MGF1_SHA3_384 },
    [DIGEST_SHA3_512] = { "SHA3-512:2.16.840.1.101.3.4.2.10", 64, NIST_HASH(10), CKM_SHA3_512,
                          CKG_MGF1_SHA3_512 },
    [DIGEST_MD5_SHA1] = { "MD5-SHA1", 36, NO_OID, CK_UNAVAILABLE_INFORMATION, 0 },
};

bool names_have(const char *names, const char *name)
{
    size_t len = strlen(name);

    while (len != 0) {
        size_t one = strcspn(names, ":");

        if (one == len && strncasecmp(names, name, len) == 0)
            return true;
        if (names[one] == '\0')
            return false;
        names += one + 1;
    }
    return false;
}

/* As nearly everybody spells them, looked at before all that OpenSSL knows. */
static const struct digest *find_usual(const char *name)
{
    static const struct {
        char name[8];
        enum digest_row row;
    } usual[] = { { "SHA256", DIGEST_SHA2_256 },
                  { "SHA384", DIGEST_SHA2_384 },
                  { "SHA512", DIGEST_SHA2_512 } };

    for (size_t i = 0; i < COUNT(usual); i++)
        if (strcmp(usual[i].name, name) == 0)
            return &digests[usual[i].row];
    return NULL;
}

const struct digest *digest_find(const char *name)
{
    const struct digest *digest = find_usual(name);

    if (digest != NULL)
        return digest;
    for (size_t i = 0; i < COUNT(digests); i++)
        if (names_have(digests[i].names, name))
            return &digests[i];
    return NULL;
}

const char *digest_name(const struct digest *digest, char *buf, size_t size)
{
    (void)snprintf(buf, size, "%.*s", (int)strcspn(digest->names, ":"), digest->names);
    return buf;
}
