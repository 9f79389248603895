/* EVP_SKEY, found at run time where the headers that this is built with are older. */
#ifndef BRIDGE_TEST_SKEY_H
#define BRIDGE_TEST_SKEY_H

#include <dlfcn.h>

#include <openssl/core_dispatch.h>

#include "harness.h"

#ifdef OSSL_OP_SKEYMGMT /* they are declared */

typedef EVP_SKEY SKEY;

static inline bool skey_functions(void)
{
    return true;
}

#else

typedef struct skey SKEY;

#define SKEY_FUNCTIONS(F)                                                                          \
    F(SKEY *, EVP_SKEY_import,                                                                     \
      (OSSL_LIB_CTX *, const char *, const char *, int, const OSSL_PARAM *))                       \
    F(SKEY *, EVP_SKEY_import_raw_key,                                                             \
      (OSSL_LIB_CTX *, const char *, unsigned char *, size_t, const char *))                       \
    F(SKEY *, EVP_SKEY_generate, (OSSL_LIB_CTX *, const char *, const char *, const OSSL_PARAM *)) \
    F(void, EVP_SKEY_free, (SKEY *))                                                               \
    F(const char *, EVP_SKEY_get0_key_id, (const SKEY *))                                          \
    F(const char *, EVP_SKEY_get0_provider_name, (const SKEY *))                                   \
    F(int, EVP_SKEY_get0_raw_key, (const SKEY *, const unsigned char **, size_t *))                \
    F(int, EVP_CipherInit_SKEY,                                                                    \
      (EVP_CIPHER_CTX *, const EVP_CIPHER *, SKEY *, const unsigned char *, size_t, int,           \
       const OSSL_PARAM *))                                                                        \
    F(int, EVP_MAC_init_SKEY, (EVP_MAC_CTX *, SKEY *, const OSSL_PARAM *))

#define SKEY_DECLARE(type, name, arguments) __attribute__((unused)) static type(*name) arguments;
SKEY_FUNCTIONS(SKEY_DECLARE)

#define SKEY_FIND(type, name, arguments)                                                           \
    *(void **)&(name) = dlsym(RTLD_DEFAULT, #name);                                                \
    found = found && (name) != NULL;

/* Whether this libcrypto has them. */
static inline bool skey_functions(void)
{
    bool found = true;

    SKEY_FUNCTIONS(SKEY_FIND)
    return found;
}

#endif

#define SKEY_ALL         3
#define SKEY_RAW_BYTES   "raw-bytes"
#define SKEY_KEY_LENGTH  "key-length"
#define OURS             "provider=pkcs11"
#define SKIPPED          77
#define TEXT_PARAM(n, v) OSSL_PARAM_construct_utf8_string((n), (char *)(uintptr_t)(v), 0)

static inline const char *token_uri(void)
{
    const char *uri = getenv("BRIDGE_TOKEN_URI");

    return uri != NULL ? uri : "pkcs11:token=soft";
}

#endif
