/* What token32 has done by libcrypto, in a library context of its own with the default provider
 * only: whatever the program's configuration says is not asked. Algorithms are fetched by name, so
 * that it is built with an OpenSSL that does not know them yet. */
#ifndef BRIDGE_TOKEN32_CRYPTO_H
#define BRIDGE_TOKEN32_CRYPTO_H

#include <stdint.h>

#include "objects.h"

/* How a mechanism comes to what is signed. */
enum hash {
    HASH_NONE,   /* the message, or for ECDSA what was hashed before */
    HASH_BEFORE, /* with the hash that the parameter names */
    HASH_SHA1,
    HASH_SHA224,
    HASH_SHA256,
    HASH_SHA384,
    HASH_SHA512,
    HASH_SHA3_224,
    HASH_SHA3_256,
    HASH_SHA3_384,
    HASH_SHA3_512,
    HASH_SHAKE128,
    HASH_SHAKE256,
    HASHES
};

struct mechanism {
    ck_mechanism_type_t type;
    ck_key_type_t key_type;
    ck_flags_t flags;
    enum hash hash;
};

#define CONTEXT_MAX    255
#define SIGNATURE_MAX  49856 /* SLH-DSA-SHA2-256f */
#define SECRET_SIZE    32    /* of ML-KEM */
#define CIPHERTEXT_MAX 1568  /* of ML-KEM-1024 */

/* A mechanism with its parameter. */
struct signing {
    const struct mechanism *mechanism;
    bool deterministic;
    enum hash hashed; /* HASH_BEFORE: with this */
    uint8_t context[CONTEXT_MAX];
    size_t context_len;
};

/* The library context. crypto_close: not after the end of libcrypto, which has freed it. */
bool crypto_open(void);
void crypto_close(void);

/* The table of mechanisms: the next one after this, or the first after NULL, of those that this
 * libcrypto can do. */
const struct mechanism *mechanism_next(const struct mechanism *mechanism);
const struct mechanism *mechanism_find(ck_mechanism_type_t type);

/* Reads the parameter of a signature mechanism. */
ck_rv_t signing_init(struct signing *signing, const struct mechanism *mechanism,
                     const void *parameter, size_t len);

/* The key of an object, which keeps it; NULL: its attributes make none. */
EVP_PKEY *object_pkey(struct object *object);

/* Makes a key pair as the public half's CKA_PARAMETER_SET or CKA_EC_PARAMS have it, and puts it
 * into the two. */
ck_rv_t pair_generate(ck_key_type_t type, struct object *public_key, struct object *private_key);

/* Sets CKA_PUBLIC_KEY_INFO (PKCS#11 v3.2 §4.7) where the object's key has a public half. */
void object_set_public_key_info(struct object *object);

/* Bytes of a signature of this key. */
size_t signature_size(EVP_PKEY *pkey);

/* signature: room for SIGNATURE_MAX bytes. */
ck_rv_t signature_make(EVP_PKEY *pkey, const struct signing *signing, const uint8_t *data,
                       size_t len, uint8_t *signature, size_t *signature_len);
ck_rv_t signature_check(EVP_PKEY *pkey, const struct signing *signing, const uint8_t *data,
                        size_t len, const uint8_t *signature, size_t signature_len);

/* ML-KEM. secret: SECRET_SIZE bytes; ciphertext: room for CIPHERTEXT_MAX. */
bool kem_encapsulate(EVP_PKEY *pkey, uint8_t *ciphertext, size_t *len, uint8_t *secret);
bool kem_decapsulate(EVP_PKEY *pkey, const uint8_t *ciphertext, size_t len, uint8_t *secret);

bool crypto_random(uint8_t *out, size_t len);

#endif
