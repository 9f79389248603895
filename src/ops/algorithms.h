/* What src/provider.c offers to libcrypto. */
#ifndef BRIDGE_ALGORITHMS_H
#define BRIDGE_ALGORITHMS_H

#include <openssl/core_dispatch.h>

#include "mech/set.h"

/* The tables of algorithms, one for each operation: src/ops/. */
extern const OSSL_ALGORITHM store_algorithms[];
extern const OSSL_ALGORITHM decoder_algorithms[];
extern const OSSL_ALGORITHM encoder_algorithms[];
extern const OSSL_ALGORITHM keymgmt_algorithms[];
extern const OSSL_ALGORITHM signature_algorithms[];
extern const OSSL_ALGORITHM sigalg_algorithms[]; /* with signature_algorithms in them */
extern const OSSL_ALGORITHM asym_cipher_algorithms[];
extern const OSSL_ALGORITHM keyexch_algorithms[];
extern const OSSL_ALGORITHM rand_algorithms[]; /* with pkcs11-random = yes only */

/* The same with what OpenSSL 3.5 brought. */
extern const OSSL_ALGORITHM decoder_algorithms_3_5[];
extern const OSSL_ALGORITHM encoder_algorithms_3_5[];
extern const OSSL_ALGORITHM kem_algorithms_3_5[];
extern const OSSL_ALGORITHM keymgmt_algorithms_3_5[];
extern const OSSL_ALGORITHM sigalg_algorithms_3_5[];
extern const OSSL_ALGORITHM skeymgmt_algorithms[];
extern const OSSL_ALGORITHM cipher_algorithms[];
extern const OSSL_ALGORITHM mac_algorithms[];
extern const OSSL_ALGORITHM kdf_algorithms[];
#define SINCE_3_5 SETS_SINCE

/* src/ops/capabilities.c */
extern OSSL_FUNC_provider_get_capabilities_fn capabilities_get;

#define PROPERTIES "provider=pkcs11"

/* All names of a parameter set, of what mech/set.h has of it, as the default provider gives them.
 */
#define SET_NAMES(name, others, a, b) name ":" others ":2.16.840.1.101.3.4." #a "." #b

#endif
