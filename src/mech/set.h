/* Algorithms of parameter sets (FIPS 203, 204, 205): a key is a number, CKA_PARAMETER_SET, and
 * bytes, and the number says all of its sizes. OpenSSL has a type of key for each.
 *
 * SET_ROWS is all there is of them: what else has to be there for each (types of key, algorithms
 * for libcrypto) is made of these rows. A new set is a row here, a new algorithm one in set.c as
 * well. */
#ifndef BRIDGE_SET_H
#define BRIDGE_SET_H

#include "base/bytes.h"
#include "module/cryptoki.h"

/* ROW(id, algorithm, CKP_ number, OpenSSL's name, other names of it, the last two arcs of its OID
 * behind 2.16.840.1.101.3.4, bytes of the public key, bytes of a signature or ciphertext, bits as
 * EVP_PKEY_get_bits has them, security bits, NIST's category, name and number in TLS or NULL and 0)
 */
#define SET_ROWS_ML_DSA(ROW)                                                                       \
    ROW(ml_dsa_44, ML_DSA, 1, "ML-DSA-44", "MLDSA44:id-ml-dsa-44", 3, 17, 1312, 2420, 10496, 128,  \
        2, "mldsa44", 0x904)                                                                       \
    ROW(ml_dsa_65, ML_DSA, 2, "ML-DSA-65", "MLDSA65:id-ml-dsa-65", 3, 18, 1952, 3309, 15616, 192,  \
        3, "mldsa65", 0x905)                                                                       \
    ROW(ml_dsa_87, ML_DSA, 3, "ML-DSA-87", "MLDSA87:id-ml-dsa-87", 3, 19, 2592, 4627, 20736, 256,  \
        5, "mldsa87", 0x906)

#define SET_ROWS_ML_KEM(ROW)                                                                       \
    ROW(ml_kem_512, ML_KEM, 1, "ML-KEM-512", "MLKEM512:id-alg-ml-kem-512", 4, 1, 800, 768, 512,    \
        128, 1, "MLKEM512", 0x200)                                                                 \
    ROW(ml_kem_768, ML_KEM, 2, "ML-KEM-768", "MLKEM768:id-alg-ml-kem-768", 4, 2, 1184, 1088, 768,  \
        192, 3, "MLKEM768", 0x201)                                                                 \
    ROW(ml_kem_1024, ML_KEM, 3, "ML-KEM-1024", "MLKEM1024:id-alg-ml-kem-1024", 4, 3, 1568, 1568,   \
        1024, 256, 5, "MLKEM1024", 0x202)

#define SET_ROWS_SLH_DSA(ROW)                                                                      \
    ROW(slh_dsa_sha2_128s, SLH_DSA, 1, "SLH-DSA-SHA2-128s", "id-slh-dsa-sha2-128s", 3, 20, 32,     \
        7856, 256, 128, 1, NULL, 0)                                                                \
    ROW(slh_dsa_sha2_128f, SLH_DSA, 3, "SLH-DSA-SHA2-128f", "id-slh-dsa-sha2-128f", 3, 21, 32,     \
        17088, 256, 128, 1, NULL, 0)                                                               \
    ROW(slh_dsa_sha2_192s, SLH_DSA, 5, "SLH-DSA-SHA2-192s", "id-slh-dsa-sha2-192s", 3, 22, 48,     \
        16224, 384, 192, 3, NULL, 0)                                                               \
    ROW(slh_dsa_sha2_192f, SLH_DSA, 7, "SLH-DSA-SHA2-192f", "id-slh-dsa-sha2-192f", 3, 23, 48,     \
        35664, 384, 192, 3, NULL, 0)                                                               \
    ROW(slh_dsa_sha2_256s, SLH_DSA, 9, "SLH-DSA-SHA2-256s", "id-slh-dsa-sha2-256s", 3, 24, 64,     \
        29792, 512, 256, 5, NULL, 0)                                                               \
    ROW(slh_dsa_sha2_256f, SLH_DSA, 11, "SLH-DSA-SHA2-256f", "id-slh-dsa-sha2-256f", 3, 25, 64,    \
        49856, 512, 256, 5, NULL, 0)                                                               \
    ROW(slh_dsa_shake_128s, SLH_DSA, 2, "SLH-DSA-SHAKE-128s", "id-slh-dsa-shake-128s", 3, 26, 32,  \
        7856, 256, 128, 1, NULL, 0)                                                                \
    ROW(slh_dsa_shake_128f, SLH_DSA, 4, "SLH-DSA-SHAKE-128f", "id-slh-dsa-shake-128f", 3, 27, 32,  \
        17088, 256, 128, 1, NULL, 0)                                                               \
    ROW(slh_dsa_shake_192s, SLH_DSA, 6, "SLH-DSA-SHAKE-192s", "id-slh-dsa-shake-192s", 3, 28, 48,  \
        16224, 384, 192, 3, NULL, 0)                                                               \
    ROW(slh_dsa_shake_192f, SLH_DSA, 8, "SLH-DSA-SHAKE-192f", "id-slh-dsa-shake-192f", 3, 29, 48,  \
        35664, 384, 192, 3, NULL, 0)                                                               \
    ROW(slh_dsa_shake_256s, SLH_DSA, 10, "SLH-DSA-SHAKE-256s", "id-slh-dsa-shake-256s", 3, 30, 64, \
        29792, 512, 256, 5, NULL, 0)                                                               \
    ROW(slh_dsa_shake_256f, SLH_DSA, 12, "SLH-DSA-SHAKE-256f", "id-slh-dsa-shake-256f", 3, 31, 64, \
        49856, 512, 256, 5, NULL, 0)

/* Those that sign, those that encapsulate, and all. */
#define SET_ROWS_SIGN(ROW) SET_ROWS_ML_DSA(ROW) SET_ROWS_SLH_DSA(ROW)
#define SET_ROWS_KEM(ROW)  SET_ROWS_ML_KEM(ROW)
#define SET_ROWS(ROW)      SET_ROWS_SIGN(ROW) SET_ROWS_KEM(ROW)

enum set_algorithm_id { ML_DSA, ML_KEM, SLH_DSA, SET_ALGORITHMS };

struct set_algorithm {
    const char *name;
    CK_KEY_TYPE key_type;
    CK_MECHANISM_TYPE mechanism;
    bool signs; /* else it encapsulates */
};

#define SET_ID(id, ...) SET_##id,
enum set_id { SET_ROWS(SET_ID) SETS };

struct set {
    const char *name;
    const struct set_algorithm *algorithm;
    CK_ULONG number;            /* CKA_PARAMETER_SET */
    struct view oid;            /* of the key and of its signatures: RFC 9881, RFC 9909 */
    size_t public_len, out_len; /* bytes: the public key; a signature or a ciphertext */
    unsigned bits, security_bits, category;
    const char *tls_name; /* or NULL */
    unsigned tls_number;
};

/* The longest public key in bytes. */
#define SET_PUBLIC_MAX 2592

extern const struct set sets[SETS];

/* NULL where there is none. */
const struct set *set_find(CK_KEY_TYPE key_type, CK_ULONG number);
const struct set *set_by_name(const char *name);

/* Whether CKA_KEY_TYPE is that of such an algorithm: CKA_PARAMETER_SET says which set. */
const struct set_algorithm *set_algorithm_of(CK_KEY_TYPE key_type);

#endif
