#include "mech/sign.h"

#include <string.h>

#include "base/scope.h"
#include "der/algorithm.h"

/* 1.2.840.113549.1.1.n: RFC 4055; 1.2.840.10045.4.n: RFC 5758; 2.16.840.1.101.3.4.3.n: NIST's
 * register */
#define PKCS1(n)                                                                                   \
    {                                                                                              \
        (const uint8_t[]){ 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, (n) }, 9                \
    }
#define X962_SHA1                                                                                  \
    {                                                                                              \
        (const uint8_t[]){ 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01 }, 7                           \
    }
#define X962_SHA2(n)                                                                               \
    {                                                                                              \
        (const uint8_t[]){ 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, (n) }, 8                      \
    }
#define NIST_SIG(n)                                                                                \
    {                                                                                              \
        (const uint8_t[]){ 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, (n) }, 9                \
    }
#define NO_OID                                                                                     \
    {                                                                                              \
        NULL, 0                                                                                    \
    }
#define NO_MECHANISM SIGN_NO_MECHANISM

struct row {
    CK_MECHANISM_TYPE token_hashes;
    struct view algorithm; /* the OID of the signature algorithm in X.509 */
};

/* A row for each pair of scheme and digest; empty where PKCS#11 and X.509 have none. */
static const struct row rows[SIGN_SCHEMES][DIGESTS] = {
    [SIGN_RSA_PKCS1] = {
        [DIGEST_SHA1] = { CKM_SHA1_RSA_PKCS, PKCS1(5) },
        [DIGEST_SHA2_224] = { CKM_SHA224_RSA_PKCS, PKCS1(14) },
        [DIGEST_SHA2_256] = { CKM_SHA256_RSA_PKCS, PKCS1(11) },
        [DIGEST_SHA2_384] = { CKM_SHA384_RSA_PKCS, PKCS1(12) },
        [DIGEST_SHA2_512] = { CKM_SHA512_RSA_PKCS, PKCS1(13) },
        [DIGEST_SHA2_512_224] = { NO_MECHANISM, PKCS1(15) },
        [DIGEST_SHA2_512_256] = { NO_MECHANISM, PKCS1(16) },
        [DIGEST_SHA3_224] = { CKM_SHA3_224_RSA_PKCS, NIST_SIG(13) },
        [DIGEST_SHA3_256] = { CKM_SHA3_256_RSA_PKCS, NIST_SIG(14) },
        [DIGEST_SHA3_384] = { CKM_SHA3_384_RSA_PKCS, NIST_SIG(15) },
        [DIGEST_SHA3_512] = { CKM_SHA3_512_RSA_PKCS, NIST_SIG(16) },
    },
    [SIGN_RSA_PSS] = {
        [DIGEST_SHA1] = { CKM_SHA1_RSA_PKCS_PSS, NO_OID },
        [DIGEST_SHA2_224] = { CKM_SHA224_RSA_PKCS_PSS, NO_OID },
        [DIGEST_SHA2_256] = { CKM_SHA256_RSA_PKCS_PSS, NO_OID },
        [DIGEST_SHA2_384] = { CKM_SHA384_RSA_PKCS_PSS, NO_OID },
        [DIGEST_SHA2_512] = { CKM_SHA512_RSA_PKCS_PSS, NO_OID },
        [DIGEST_SHA2_512_224] = { NO_MECHANISM, NO_OID },
        [DIGEST_SHA2_512_256] = { NO_MECHANISM, NO_OID },
        [DIGEST_SHA3_224] = { CKM_SHA3_224_RSA_PKCS_PSS, NO_OID },
        [DIGEST_SHA3_256] = { CKM_SHA3_256_RSA_PKCS_PSS, NO_OID },
        [DIGEST_SHA3_384] = { CKM_SHA3_384_RSA_PKCS_PSS, NO_OID },
        [DIGEST_SHA3_512] = { CKM_SHA3_512_RSA_PKCS_PSS, NO_OID },
    },
    [SIGN_ECDSA] = {
        [DIGEST_SHA1] = { CKM_ECDSA_SHA1, X962_SHA1 },
        [DIGEST_SHA2_224] = { CKM_ECDSA_SHA224, X962_SHA2(1) },
        [DIGEST_SHA2_256] = { CKM_ECDSA_SHA256, X962_SHA2(2) },
        [DIGEST_SHA2_384] = { CKM_ECDSA_SHA384, X962_SHA2(3) },
        [DIGEST_SHA2_512] = { CKM_ECDSA_SHA512, X962_SHA2(4) },
        [DIGEST_SHA3_224] = { CKM_ECDSA_SHA3_224, NIST_SIG(9) },
        [DIGEST_SHA3_256] = { CKM_ECDSA_SHA3_256, NIST_SIG(10) },
        [DIGEST_SHA3_384] = { CKM_ECDSA_SHA3_384, NIST_SIG(11) },
        [DIGEST_SHA3_512] = { CKM_ECDSA_SHA3_512, NIST_SIG(12) },
    },
};

/* What signs a digest that was made before. */
static const CK_MECHANISM_TYPE hashed_before[] = {
    [SIGN_RSA_PKCS1] = CKM_RSA_PKCS, [SIGN_RSA_PSS] = CKM_RSA_PKCS_PSS,
    [SIGN_RSA_RAW] = CKM_RSA_X_509,  [SIGN_ECDSA] = CKM_ECDSA,
    [SIGN_EDDSA] = CKM_EDDSA,
};

static const struct row *row_of(const struct sign_request *request)
{
    static const struct row none;

    return request->digest != NULL ? &rows[request->scheme][request->digest - digests] : &none;
}

/* Whether PKCS#11 and X.509 know the pair at all. */
static bool row_exists(const struct row *row)
{
    return row->token_hashes != 0;
}

static void set_eddsa_params(const struct sign_request *request, struct view context,
                             struct sign_mechanism *out)
{
    out->eddsa = (struct eddsa_params){ .phFlag = request->prehash,
                                        .ulContextDataLen = context.len,
                                        .pContextData = ck_input(context.data) };
    out->ck.pParameter = &out->eddsa;
    out->ck.ulParameterLen = sizeof(out->eddsa);
}

/* Without, a token hedges if it can, and there is no context. openCryptoki 3.27 frees what a
 * context of no bytes points to. */
static void set_additional_context(const struct sign_request *request, struct view context,
                                   struct sign_mechanism *out)
{
    const bool hashed = request->digest != NULL;

    if (!hashed && request->hedge == HEDGE_PREFERRED && context.len == 0)
        return;
    out->additional =
        (struct sign_additional_context){ .hedgeVariant = request->hedge,
                                          .pContext =
                                              context.len != 0 ? ck_input(context.data) : NULL,
                                          .ulContextLen = context.len,
                                          .hash = hashed ? request->digest->mechanism : 0 };
    out->ck.pParameter = &out->additional;
    out->ck.ulParameterLen =
        hashed ? sizeof(out->additional) : offsetof(struct sign_additional_context, hash);
}

void sign_mechanism(const struct sign_request *request, CK_MECHANISM_TYPE type, struct view context,
                    struct sign_mechanism *out)
{
    out->ck = (CK_MECHANISM){ .mechanism = type };
    if (request->eddsa_params)
        set_eddsa_params(request, context, out);
    if (request->scheme == SIGN_SET)
        set_additional_context(request, context, out);
    if (request->scheme != SIGN_RSA_PSS)
        return;
    out->pss = (CK_RSA_PKCS_PSS_PARAMS){ .hashAlg = request->digest->mechanism,
                                         .mgf = request->mgf1->mgf1,
                                         .sLen = request->salt_len };
    out->ck.pParameter = &out->pss;
    out->ck.ulParameterLen = sizeof(out->pss);
}

bool sign_pss_has_name(const struct sign_request *request)
{
    return request->digest->mgf1 != 0 && request->mgf1->mgf1 != 0;
}

static unsigned salt_kind(const struct sign_request *request)
{
    if (request->salt_len == 0)
        return 0;
    return request->salt_len < request->digest->size    ? 1
           : request->salt_len == request->digest->size ? 2
                                                        : 3;
}

static unsigned digest_kind(const struct digest *digest)
{
    return digest != NULL ? (unsigned)(digest - digests) : DIGESTS;
}

unsigned sign_kind(const struct sign_request *request)
{
    unsigned kind = request->scheme << 10 | digest_kind(request->digest) << 6;

    return request->scheme == SIGN_RSA_PSS
               ? kind | digest_kind(request->mgf1) << 2 | salt_kind(request)
               : kind;
}

CK_MECHANISM_TYPE sign_pss_variant(const struct sign_request *request)
{
    return CKM_VENDOR_DEFINED | 0x505353UL << 16 | sign_kind(request);
}

CK_MECHANISM_TYPE sign_type_token(const struct sign_request *request)
{
    const struct row *row = row_of(request);

    if (request->scheme == SIGN_EDDSA || request->scheme == SIGN_SET)
        return sign_type_hashed(request);
    if (request->scheme == SIGN_RSA_PSS && !sign_pss_has_name(request))
        return NO_MECHANISM;
    return row_exists(row) ? row->token_hashes : NO_MECHANISM;
}

CK_MECHANISM_TYPE sign_type_hashed(const struct sign_request *request)
{
    if (request->scheme != SIGN_SET)
        return hashed_before[request->scheme];
    return request->digest != NULL ? request->set->algorithm->hashed
                                   : request->set->algorithm->mechanism;
}

bool sign_is_whole(CK_MECHANISM_TYPE type)
{
    bool whole = type == CKM_EDDSA;

    for (size_t i = 0; i < COUNT(sets); i++)
        whole |= sets[i].algorithm->mechanism == type || sets[i].algorithm->hashed == type;
    return whole;
}

struct view sign_input(const struct sign_request *request, const struct curve *curve,
                       struct view data, uint8_t *out)
{
    if (request->scheme == SIGN_RSA_PKCS1 && request->digest != NULL &&
        request->digest->oid.len != 0)
        return (struct view){ out,
                              digest_info_write(request->digest->oid, data, out, SIGN_INPUT_MAX) };
    if (request->scheme == SIGN_ECDSA && data.len > curve_order_bytes(curve))
        data.len = curve_order_bytes(curve);
    return data.len <= SIGN_INPUT_MAX ? data : (struct view){ NULL, 0 };
}

CK_ULONG sign_pss_mechanisms(CK_MECHANISM_TYPE *out)
{
    CK_ULONG count = 0;

    out[count++] = hashed_before[SIGN_RSA_PSS];
    for (size_t i = 0; i < DIGESTS && count < SIGN_PSS_MECHANISMS; i++)
        if (row_exists(&rows[SIGN_RSA_PSS][i]) &&
            rows[SIGN_RSA_PSS][i].token_hashes != NO_MECHANISM)
            out[count++] = rows[SIGN_RSA_PSS][i].token_hashes;
    return count;
}

size_t sign_algorithm(const struct sign_request *request, uint8_t *der, size_t size)
{
    const struct row *row = row_of(request);

    if (!row_exists(row))
        return 0;
    if (request->scheme == SIGN_RSA_PSS)
        return algorithm_write_pss(request->digest->oid, request->mgf1->oid,
                                   (unsigned)request->salt_len, der, size);
    return algorithm_write(row->algorithm, request->scheme == SIGN_RSA_PKCS1, der, size);
}
