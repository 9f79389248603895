/* Secret keys of libcrypto's (EVP_SKEY, OpenSSL 3.5), for who builds with older headers:
 * provider-skeymgmt(7), provider-cipher(7), provider-mac(7), provider-object(7). */
#ifndef BRIDGE_SKEY_H
#define BRIDGE_SKEY_H

#include <openssl/core_dispatch.h>

#include "key/secret.h"

#ifndef OSSL_OP_SKEYMGMT
#define OSSL_OP_SKEYMGMT 15

#define OSSL_FUNC_CIPHER_ENCRYPT_SKEY_INIT 19
#define OSSL_FUNC_CIPHER_DECRYPT_SKEY_INIT 20
typedef int(OSSL_FUNC_cipher_encrypt_skey_init_fn)(void *ctx, void *key, const unsigned char *iv,
                                                   size_t iv_len, const OSSL_PARAM params[]);
typedef int(OSSL_FUNC_cipher_decrypt_skey_init_fn)(void *ctx, void *key, const unsigned char *iv,
                                                   size_t iv_len, const OSSL_PARAM params[]);

#define OSSL_FUNC_MAC_INIT_SKEY 13
typedef int(OSSL_FUNC_mac_init_skey_fn)(void *ctx, void *key, const OSSL_PARAM params[]);

#define OSSL_SKEYMGMT_SELECT_SECRET_KEY 0x02

#define OSSL_FUNC_SKEYMGMT_FREE                1
#define OSSL_FUNC_SKEYMGMT_IMPORT              2
#define OSSL_FUNC_SKEYMGMT_EXPORT              3
#define OSSL_FUNC_SKEYMGMT_GENERATE            4
#define OSSL_FUNC_SKEYMGMT_GET_KEY_ID          5
#define OSSL_FUNC_SKEYMGMT_IMP_SETTABLE_PARAMS 6
#define OSSL_FUNC_SKEYMGMT_GEN_SETTABLE_PARAMS 7
typedef void(OSSL_FUNC_skeymgmt_free_fn)(void *key);
typedef const OSSL_PARAM *(OSSL_FUNC_skeymgmt_imp_settable_params_fn)(void *provctx);
typedef void *(OSSL_FUNC_skeymgmt_import_fn)(void *provctx, int selection,
                                             const OSSL_PARAM params[]);
typedef int(OSSL_FUNC_skeymgmt_export_fn)(void *key, int selection, OSSL_CALLBACK *callback,
                                          void *arg);
typedef const OSSL_PARAM *(OSSL_FUNC_skeymgmt_gen_settable_params_fn)(void *provctx);
typedef void *(OSSL_FUNC_skeymgmt_generate_fn)(void *provctx, const OSSL_PARAM params[]);
typedef const char *(OSSL_FUNC_skeymgmt_get_key_id_fn)(void *key);
#endif

/* OpenSSL 3.6: provider-keyexch(7), provider-kdf(7) */
#ifndef OSSL_FUNC_KEYEXCH_DERIVE_SKEY
#define OSSL_FUNC_KEYEXCH_DERIVE_SKEY 11
typedef void *(OSSL_FUNC_keyexch_derive_skey_fn)(void *ctx, const char *type, void *provctx,
                                                 OSSL_FUNC_skeymgmt_import_fn *import, size_t len,
                                                 const OSSL_PARAM params[]);
#endif

#ifndef OSSL_FUNC_KDF_SET_SKEY
#define OSSL_FUNC_KDF_SET_SKEY    12
#define OSSL_FUNC_KDF_DERIVE_SKEY 13
typedef int(OSSL_FUNC_kdf_set_skey_fn)(void *ctx, void *key, const char *name);
typedef void *(OSSL_FUNC_kdf_derive_skey_fn)(void *ctx, const char *type, void *provctx,
                                             OSSL_FUNC_skeymgmt_import_fn *import, size_t len,
                                             const OSSL_PARAM params[]);
#endif

#ifndef OSSL_SKEY_PARAM_RAW_BYTES
#define OSSL_SKEY_PARAM_RAW_BYTES  "raw-bytes"
#define OSSL_SKEY_PARAM_KEY_LENGTH "key-length" /* in bytes */
#endif

/* OpenSSL 4.0: secret keys from a store */
#define SKEYS_IN_STORES 0x40000000UL
#ifndef OSSL_OBJECT_SKEY
#define OSSL_OBJECT_SKEY 5
#endif
#ifndef OSSL_STORE_INFO_SKEY
#define OSSL_STORE_INFO_SKEY 7
#endif

/* The kind of this provider's key management of that name; GENERIC-SECRET for any that it has not.
 */
const struct secret_kind *skey_kind(const char *type);

/* What import, another provider's or this one's, makes of these bytes. */
void *skey_import_bytes(OSSL_FUNC_skeymgmt_import_fn *import, void *provctx, struct view bytes);

#endif
