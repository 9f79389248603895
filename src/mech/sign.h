/* The translation table for signatures: OpenSSL's name for a job, CKM_* and its parameters. */
#ifndef BRIDGE_MECH_SIGN_H
#define BRIDGE_MECH_SIGN_H

#include "mech/curve.h"
#include "mech/digest.h"
#include "mech/set.h"

enum sign_scheme {
    SIGN_RSA_PKCS1,
    SIGN_RSA_PSS,
    SIGN_RSA_RAW,
    SIGN_ECDSA,
    SIGN_EDDSA,
    SIGN_SET, /* an algorithm of parameter sets */
    SIGN_SCHEMES
};

/* What the application asked for. */
struct sign_request {
    enum sign_scheme scheme;
    const struct digest *digest; /* NULL: none, the application's bytes are signed as they are */
    const struct digest *mgf1;   /* PSS */
    size_t salt_len;             /* PSS, bytes */
    bool salt_free;              /* PSS: the application did not choose it */
    bool eddsa_params;           /* EdDSA: the mechanism takes the two below */
    bool prehash;
    struct view context;   /* EdDSA, SET: 0 to 255 bytes; the mechanism points to them */
    const struct set *set; /* SET */
    enum hedge hedge;      /* SET */
};

/* A CK_MECHANISM with room for its parameters; it points into itself and must not be copied. */
struct sign_mechanism {
    CK_MECHANISM ck;
    CK_RSA_PKCS_PSS_PARAMS pss;
    struct eddsa_params eddsa;
    struct sign_additional_context additional;
};

/* The longest input that C_Sign gets in the "hashed before" column, for keys up to 16384 bits. */
#define SIGN_INPUT_MAX 2048

/* Whether C_Sign gets the message in one piece with this mechanism: not every token takes it in
 * several. */
bool sign_is_whole(CK_MECHANISM_TYPE type);

/* The type of the mechanism that hashes on the token; SIGN_NO_MECHANISM where PKCS#11 has none, as
 * for PSS where it cannot name the MGF1. */
#define SIGN_NO_MECHANISM CK_UNAVAILABLE_INFORMATION
CK_MECHANISM_TYPE sign_type_token(const struct sign_request *request);

/* The type of the mechanism for a digest that was made before. */
CK_MECHANISM_TYPE sign_type_hashed(const struct sign_request *request);

/* The mechanism that hashes on the token (for EdDSA and sets, the only one). False where PKCS#11
 * has none.
 */
bool sign_mechanism_token(const struct sign_request *request, struct sign_mechanism *out);

/* The mechanism for a digest that was made before. */
void sign_mechanism_hashed(const struct sign_request *request, struct sign_mechanism *out);

/* What C_Sign gets with sign_mechanism_hashed: the DigestInfo, the digest truncated to the order of
 * curve (FIPS 186-5 §6.4.1), or data as it is. out: SIGN_INPUT_MAX bytes. The length, 0 if data is
 * too long. curve is used for ECDSA only. */
size_t sign_input(const struct sign_request *request, const struct curve *curve, struct view data,
                  uint8_t *out);

/* Whether PKCS#11 has a name for this kind of PSS: for its digest and its MGF1. */
bool sign_pss_has_name(const struct sign_request *request);

/* A number for this kind of PSS, to remember what a token lacks: different for each digest, MGF1
 * digest and kind of salt (none, shorter than the digest, as long, longer), and no mechanism's own.
 */
CK_MECHANISM_TYPE sign_pss_variant(const struct sign_request *request);

/* The mechanisms of PSS, into out, which has room for SIGN_PSS_MECHANISMS; their number. */
#define SIGN_PSS_MECHANISMS 16
CK_ULONG sign_pss_mechanisms(CK_MECHANISM_TYPE *out);

/* The DER AlgorithmIdentifier of the signature; der: ALGORITHM_IDENTIFIER_MAX bytes. 0 where there
 * is none. */
size_t sign_algorithm(const struct sign_request *request, uint8_t *der, size_t size);

#endif
