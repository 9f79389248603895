/* What an EVP_PKEY of this provider holds: a public half and, for a private key, its place on a
 * token. */
#ifndef BRIDGE_KEY_H
#define BRIDGE_KEY_H

#include <stdatomic.h>

#include <openssl/evp.h>

#include "base/bytes.h"
#include "der/der.h"
#include "instance/instance.h"
#include "mech/cipher.h"
#include "mech/curve.h"
#include "mech/set.h"
#include "mech/sign.h"
#include "token/object.h"

struct doubt;
struct gcm_counter;
struct secret_kind;

/* KEY_RSA_PSS: an RSA key for PSS signatures alone. From KEY_EC on in the order of enum curve_kind,
 * from KEY_SET on in that of enum set_id. */
enum key_type {
    KEY_RSA,
    KEY_RSA_PSS,
    KEY_EC,
    KEY_ED25519,
    KEY_ED448,
    KEY_X25519,
    KEY_X448,
    KEY_SET,
    KEY_TYPES = KEY_SET + SETS,
    KEY_SECRET = KEY_TYPES, /* an EVP_SKEY's (key/secret.h): no type of an EVP_PKEY */
};

/* Whether the host's EVP_PKEY is all that there is of a key (key/software.h), and of which kind. */
enum software {
    SOFTWARE_NOT,
    SOFTWARE_PARAMETERS, /* a curve that no token has, without a point */
    SOFTWARE_PUBLIC,
    SOFTWARE_PAIR,
    SOFTWARE_EPHEMERAL /* a pair that was made here, for one use */
};

/* The longest public key but RSA's. */
#define KEY_POINT_MAX SET_PUBLIC_MAX

/* Never changed once others can see it, but for what is made at the first need, and for the point
 * of a public key that is nowhere on a token (key_replace_point). */
struct key {
    atomic_uint holders;
    struct provider *provider;
    enum key_type type;
    enum software software;             /* if so, the members down to point may be empty */
    struct bytes n, e;                  /* RSA: big-endian, no leading zeros */
    const struct curve *curve;          /* of the types up to KEY_X448 but RSA; NULL while empty */
    struct bytes point;                 /* KEY_EC: 0x04 X Y; else the key's bytes */
    struct object *object;              /* the private half; NULL for a public key */
    bool asked;                         /* the public half was proved, not just named alike */
    struct object *twin;                /* the public half on the token, with
                                           pkcs11-public-operations = token; or NULL */
    _Atomic(EVP_PKEY *) host;           /* the public half in software, made at the first need;
                                           with software, the key */
    struct doubt *doubt;                /* whether it is the one that was meant (key/doubt.h) */
    _Atomic(uint64_t) hashing;          /* what key_token_hashes said last (key/sign.c) */
    _Atomic(struct secret *) rejection; /* behind implicit rejection; made at the first need */

    /* KEY_SECRET */
    const struct secret_kind *kind;
    size_t secret_len; /* CKA_VALUE_LEN; 0 where the token does not say */
    bool extractable;
    struct bytes check;                    /* CKA_CHECK_VALUE; may be none */
    _Atomic(char *) uri;                   /* made at the first need, */
    _Atomic(struct secret *) value;        /* and so are its bytes, */
    _Atomic(struct gcm_counter *) counter; /* and who counts its encryptions (key/gcm.h) */
};

struct key *key_new(struct provider *provider, enum key_type type);
struct key *key_ref(struct key *key);
void key_free(struct key *key);
void key_scoped(struct key **key);

static inline bool key_type_is_rsa(enum key_type type)
{
    return type == KEY_RSA || type == KEY_RSA_PSS;
}

/* Whether a type of key is a parameter set, and which. */
static inline bool key_type_is_set(enum key_type type)
{
    return type >= KEY_SET && type < KEY_TYPES;
}

static inline const struct set *key_type_set(enum key_type type)
{
    return &sets[type - KEY_SET];
}

static inline const struct set *key_type_set_or_none(enum key_type type)
{
    return key_type_is_set(type) ? key_type_set(type) : NULL;
}

static inline bool key_has_set(const struct key *key)
{
    return key_type_is_set(key->type);
}

static inline const struct set *key_set(const struct key *key)
{
    return key_type_set(key->type);
}

enum key_type key_type_of_set(const struct set *set);

/* Fill an empty key; false when memory is short or the values cannot be a key's. An EC point may be
 * compressed, and is not then; one that is not stays as it is, on the curve or not. */
bool key_set_rsa(struct key *key, struct view n, struct view e);
bool key_set_ec(struct key *key, const struct curve *curve, struct view point);
bool key_set_raw(struct key *key, struct view point); /* what is not RSA, of its curve or set */
bool key_set_public(struct key *key, const struct key *from);

/* Gives a public key another point on the curve or of the set that it has, in the forms that
 * key_set_raw takes; false for a key on a token and for what is no point. Only for a key that
 * nobody else uses meanwhile. */
bool key_replace_point(struct key *key, struct view point);

/* Whether key_replace_point may be called: the key is no private one and has no place on a token.
 */
static inline bool key_can_change(const struct key *key)
{
    return key->object == NULL && key->twin == NULL && key->software <= SOFTWARE_PUBLIC;
}

/* Whether the point of an EC key is on its curve; true for other keys. */
bool key_on_curve(struct key *key);

bool key_has_public(const struct key *key);
bool key_is_private(const struct key *key);
bool key_same_public(const struct key *a, const struct key *b);

/* Bits of the modulus or of the curve's order; equivalent symmetric strength; longest signature. */
unsigned key_bits(const struct key *key);
unsigned key_security_bits(const struct key *key);
static inline size_t key_signature_max(const struct key *key)
{
    if (key_type_is_rsa(key->type))
        return key->n.len;
    if (key_has_set(key))
        return key_set(key)->out_len;
    return key->curve != NULL ? key->curve->signature_max : 0;
}

/* The SubjectPublicKeyInfo in DER, to be freed with OPENSSL_free. NULL when there is no public half
 * or memory is short. */
uint8_t *key_spki(const struct key *key, size_t *len);

/* The public half, or a key on the host as it is, as a key of the application's other providers,
 * for work on the host. Belongs to key. NULL with OpenSSL's errors raised. */
EVP_PKEY *key_host(struct key *key);

/* "pkcs11:token=...": the private key's own URI for messages, in buf (size bytes), which is
 * returned. A public key without a place is "a public key". */
const char *key_describe(const struct key *key, char *buf, size_t size);

/* The URI of a private key to be kept: no more of the token than its label, so that it also leads
 * to the token's successor, and the serial number where another token has that label now. All of it
 * with pkcs11-pem-uri = full. May ask the module for its tokens. */
const char *key_name(const struct key *key, char *buf, size_t size);

/* What such a URI says of the token. */
CK_TOKEN_INFO key_token_name(const struct provider *provider, struct slot *slot);

/* Whether the key may sign what was hashed before: CKA_ALLOWED_MECHANISMS has that mechanism. No
 * call. */
bool key_takes_hash(const struct key *key, const struct sign_request *request);

/* Whether the key may be used with this digest at all, whoever hashes: for KEY_RSA_PSS. */
bool key_allows_pss(const struct key *key, const struct digest *digest);

/* Whether the token has mechanism with these flags and CKA_ALLOWED_MECHANISMS permits it. One call
 * at most. A failure is not a no. */
CK_RV key_has_mechanism(struct key *key, CK_MECHANISM_TYPE mechanism, CK_FLAGS flags, bool *has);

/* Whether the token hashes for this request: its mechanism is listed for signing. One call at most.
 */
bool key_token_hashes(struct key *key, const struct sign_request *request);

/* Whether the token was seen to lack this kind of PSS, so that the padding is made on the host or,
 * where the application did not choose the salt's length, another one is taken. No call. */
bool key_lacks_pss(const struct key *key, const struct sign_request *request);

/* The key type of a curve. */
enum key_type key_type_of(const struct curve *curve);

/* The secret that key and peer, a public key of the same type, share: the x coordinate on EC
 * curves, of which all have the cofactor 1. A point that is not on the curve does not reach the
 * token. out: curve_field_bytes bytes; *len is set. False with an error raised. */
bool key_derive(struct key *key, struct key *peer, uint8_t *out, size_t *len);

/* The secret of KEM_SECRET_LEN bytes that ciphertext, which has the length of the key's set, holds:
 * the token decapsulates. And a fresh one with its ciphertext, of that length: on the host or,
 * where the key has a twin, on the token. False with an error raised. */
#define KEM_SECRET_LEN     32 /* FIPS 203 §8 */
#define KEM_CIPHERTEXT_MAX 1568
bool key_decapsulate(struct key *key, struct view ciphertext, uint8_t *secret);
bool key_encapsulate(struct key *key, uint8_t *ciphertext, uint8_t *secret);

/* The mechanism's type for column, and what the C_* call gets: a message as it is, or a digest in
 * the mechanism's form, which may be in input (SIGN_INPUT_MAX bytes). False with an error raised.
 */
bool key_sign_input(struct key *key, const struct sign_request *request, enum sign_column column,
                    CK_MECHANISM_TYPE *type, struct view *data, uint8_t *input);

/* Signs data, a message or a digest as column says. PSS of a kind that the token lacks gets its
 * padding here, where the token signs raw. signature: key_signature_max bytes, filled as
 * OpenSSL wants it (ECDSA as DER); *len is set. False with an error raised. */
bool key_sign(struct key *key, const struct sign_request *request, enum sign_column column,
              struct view data, uint8_t *signature, size_t *len);

/* Signs data as it is, with PKCS#1 v1.5 padding around it and no DigestInfo, for this library's own
 * use. signature: key_signature_max bytes, of which the first *len are set. No error is raised
 * but for memory. */
CK_RV key_sign_pkcs1(struct key *key, struct view data, uint8_t *signature, size_t *len);

/* Whether public operations with this key are the token's: it has a twin. */
static inline bool key_public_on_token(const struct key *key)
{
    return key->twin != NULL;
}

/* The public operations on the token, for keys with a twin. key_verify: whether signature, in
 * OpenSSL's form, is one of data; false without an error when it is not. key_encrypt: out has
 * key_signature_max bytes. */
bool key_verify(struct key *key, const struct sign_request *request, enum sign_column column,
                struct view data, struct view signature);
bool key_encrypt(struct key *key, const struct cipher_request *request, struct view in,
                 uint8_t *out, size_t *len);

/* Decrypts in, which must be as long as the modulus. out: key_signature_max bytes, or the 48 of a
 * premaster secret for CIPHER_TLS; *len is set. False with an error raised. Wrong PKCS#1 v1.5
 * padding is no error with implicit rejection and with CIPHER_TLS, and cannot be told from a right
 * one. */
bool key_decrypt(struct key *key, const struct cipher_request *request, struct view in,
                 uint8_t *out, size_t *len);

/* For a private key that was just opened: what its decryption has to share with the children of
 * this process. */
void key_decrypt_begin(struct key *key);

/* Raises an error and says false when the private key may not be used with mechanism: because
 * permitted, its attribute (CKA_SIGN, ...), is off, or by CKA_ALLOWED_MECHANISMS. verb: "sign", ...
 * No call. */
bool key_permits(const struct key *key, bool permitted, const char *attribute, const char *verb,
                 CK_MECHANISM_TYPE mechanism);

/* Raises the error for a call that gave rv: verb ("sign", ...), mechanism, key. Returns false. */
bool key_failed(const struct key *key, const char *verb, CK_MECHANISM_TYPE mechanism, CK_RV rv);

/* Where the PIN for a later login comes from, when the token forgot the first. */
static inline struct pin_source key_pins(const struct key *key)
{
    return provider_pins(key->provider);
}

#endif
