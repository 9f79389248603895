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
 * EVP_PKEY_get_bits has them, security bits, NIST's category) */
#define SET_ROWS_ML_DSA(ROW)                                                                       \
    ROW(ml_dsa_44, ML_DSA, 1, "ML-DSA-44", "MLDSA44:id-ml-dsa-44", 3, 17, 1312, 2420, 10496, 128,  \
        2)                                                                                         \
    ROW(ml_dsa_65, ML_DSA, 2, "ML-DSA-65", "MLDSA65:id-ml-dsa-65", 3, 18, 1952, 3309, 15616, 192,  \
        3)                                                                                         \
    ROW(ml_dsa_87, ML_DSA, 3, "ML-DSA-87", "MLDSA87:id-ml-dsa-87", 3, 19, 2592, 4627, 20736, 256, 5)

/* Those that sign, and all. */
#define SET_ROWS_SIGN(ROW) SET_ROWS_ML_DSA(ROW)
#define SET_ROWS(ROW)      SET_ROWS_SIGN(ROW)

enum set_algorithm_id { ML_DSA, SET_ALGORITHMS };

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
