/* The digests that signatures and paddings know by name, and what PKCS#11 and X.509 call them. */
#ifndef BRIDGE_DIGEST_H
#define BRIDGE_DIGEST_H

#include "der/der.h"
#include "module/cryptoki.h"

/* The longest digest in bytes. */
#define DIGEST_MAX 64

struct digest {
    const char *names; /* OpenSSL's, divided by colons, the one it prints first */
    size_t size;       /* bytes */
    struct view oid;   /* the OID's content; none for MD5-SHA1, which stands without DigestInfo */
    CK_MECHANISM_TYPE mechanism; /* for the parameters of PSS and OAEP */
    CK_RSA_PKCS_MGF_TYPE mgf1;   /* 0 where PKCS#11 has no MGF1 with it */
};

/* Their rows. */
enum digest_row {
    DIGEST_SHA1,
    DIGEST_SHA2_224,
    DIGEST_SHA2_256,
    DIGEST_SHA2_384,
    DIGEST_SHA2_512,
    DIGEST_SHA2_512_224,
    DIGEST_SHA2_512_256,
    DIGEST_SHA3_224,
    DIGEST_SHA3_256,
    DIGEST_SHA3_384,
    DIGEST_SHA3_512,
    DIGEST_MD5_SHA1,
    DIGESTS
};

extern const struct digest digests[DIGESTS];

/* The row for a name in any of its spellings and in either case; NULL where there is none. */
const struct digest *digest_find(const char *name);

/* The first of its names, in buf (size bytes, 32 are enough), which is returned. */
const char *digest_name(const struct digest *digest, char *buf, size_t size);

/* Whether one of the colon-divided names is name, in either case. */
bool names_have(const char *names, const char *name);

#endif
