/* What a token can do, asked of the token itself and of no provider: makes the keys that the cells
 * of scripts/matrix use, and makes one call with each mechanism that a cell needs.
 *
 *   matrix-ask keys              each key of the table that is not there yet
 *   matrix-ask calls             each call of the table
 *   matrix-ask certificate FILE LABEL     stores a certificate (PEM), with the id of that key
 *
 * Where the module crashes in one, that is its answer (SIGSEGV, SIGABRT), and the next is asked by
 * a new process.
 *
 * PKCS11_MODULE, MATRIX_TOKEN (its label), MATRIX_PIN, MATRIX_INIT_ARGS are of the environment. It
 * prints a line for each: "key:NAME" or "call:NAME", and the CKR_ that came of it. Nothing of
 * src/mech is used, so that a mistake there is not made here as well. */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/scope.h"
#include "module/ckr.h"
#include "module/interface.h"

#ifndef CKK_EC_EDWARDS
#define CKK_EC_EDWARDS 0x40UL
#endif
#ifndef CKM_EC_EDWARDS_KEY_PAIR_GEN
#define CKM_EC_EDWARDS_KEY_PAIR_GEN 0x1055UL
#endif
#ifndef CKM_EDDSA
#define CKM_EDDSA 0x1057UL
#endif

static const CK_FUNCTION_LIST *p11;
static const struct functions_3_2 *p11_3_2;
static CK_SESSION_HANDLE session;
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

#define PARAMS(text)                                                                               \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }
#define NAMED(oid) .params = { PARAMS(oid) }

struct params {
    const char *data;
    size_t len;
};

/* Where tokens want the curve in another way than RFC 8410 has it, these ways are tried after it.
 */
struct key {
    const char *name;
    CK_KEY_TYPE type;
    CK_MECHANISM_TYPE mechanism;
    CK_ULONG number; /* bits of an RSA key, the parameter set; 0: the curve */
    CK_FLAGS uses;
    struct params params[3];
};

static const struct key keys[] = {
    { "rsa2048", CKK_RSA, CKM_RSA_PKCS_KEY_PAIR_GEN, 2048, CKF_SIGN | CKF_DECRYPT, { { 0 } } },
    { "p256", CKK_EC, CKM_EC_KEY_PAIR_GEN, 0, CKF_SIGN | CKF_DERIVE,
      NAMED("\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07") },
    { "p384", CKK_EC, CKM_EC_KEY_PAIR_GEN, 0, CKF_SIGN | CKF_DERIVE,
      NAMED("\x06\x05\x2b\x81\x04\x00\x22") },
    { "p521", CKK_EC, CKM_EC_KEY_PAIR_GEN, 0, CKF_SIGN | CKF_DERIVE,
      NAMED("\x06\x05\x2b\x81\x04\x00\x23") },
    { "ed25519",
      CKK_EC_EDWARDS,
      CKM_EC_EDWARDS_KEY_PAIR_GEN,
      0,
      CKF_SIGN,
      { PARAMS("\x06\x03\x2b\x65\x70"),
        PARAMS("\x13\x0c"
               "edwards25519"),
        PARAMS("\x06\x09\x2b\x06\x01\x04\x01\xda\x47\x0f\x01") } },
    { "ed448",
      CKK_EC_EDWARDS,
      CKM_EC_EDWARDS_KEY_PAIR_GEN,
      0,
      CKF_SIGN,
      { PARAMS("\x06\x03\x2b\x65\x71"), PARAMS("\x13\x0a"
                                               "edwards448") } },
    { "x25519",
      CKK_EC_MONTGOMERY,
      CKM_EC_MONTGOMERY_KEY_PAIR_GEN,
      0,
      CKF_DERIVE,
      { PARAMS("\x06\x03\x2b\x65\x6e"),
        PARAMS("\x13\x0a"
               "curve25519"),
        PARAMS("\x06\x0a\x2b\x06\x01\x04\x01\x97\x55\x01\x05\x01") } },
    { "x448",
      CKK_EC_MONTGOMERY,
      CKM_EC_MONTGOMERY_KEY_PAIR_GEN,
      0,
      CKF_DERIVE,
      { PARAMS("\x06\x03\x2b\x65\x6f"), PARAMS("\x13\x08"
                                               "curve448") } },
    { "x25519",
      CKK_EC_EDWARDS,
      CKM_EC_EDWARDS_KEY_PAIR_GEN,
      0,
      CKF_DERIVE,
      { PARAMS("\x06\x03\x2b\x65\x6e"), PARAMS("\x13\x0a"
                                               "curve25519") } },
    { "x448",
      CKK_EC_EDWARDS,
      CKM_EC_EDWARDS_KEY_PAIR_GEN,
      0,
      CKF_DERIVE,
      { PARAMS("\x06\x03\x2b\x65\x6f"), PARAMS("\x13\x08"
                                               "curve448") } },
    { "ml-dsa-44", CKK_ML_DSA, CKM_ML_DSA_KEY_PAIR_GEN, 1, CKF_SIGN, { { 0 } } },
    { "ml-dsa-65", CKK_ML_DSA, CKM_ML_DSA_KEY_PAIR_GEN, 2, CKF_SIGN, { { 0 } } },
    { "ml-dsa-87", CKK_ML_DSA, CKM_ML_DSA_KEY_PAIR_GEN, 3, CKF_SIGN, { { 0 } } },
    { "slh-dsa", CKK_SLH_DSA, CKM_SLH_DSA_KEY_PAIR_GEN, 1, CKF_SIGN, { { 0 } } },
    { "ml-kem-768", CKK_ML_KEM, CKM_ML_KEM_KEY_PAIR_GEN, 2, CKF_DERIVE, { { 0 } } },
    { "aes", CKK_AES, CKM_AES_KEY_GEN, 32, CKF_ENCRYPT, { { 0 } } },
    { "secret",
      CKK_GENERIC_SECRET,
      CKM_GENERIC_SECRET_KEY_GEN,
      32,
      CKF_SIGN | CKF_DERIVE,
      { { 0 } } },
};

/* The bytes of the secret keys: the cells know them (MATRIX_BYTES), and compare. */
static const unsigned char secret_bytes[32] = "matrix: thirty-two bytes of key";

static void put(CK_ATTRIBUTE *list, CK_ULONG *count, CK_ATTRIBUTE_TYPE type, const void *value,
                size_t len)
{
    list[(*count)++] = (CK_ATTRIBUTE){ type, (void *)(uintptr_t)value, len };
}

/* Not the name alone: the token may have come with keys. */
static const char *label_of(const struct key *key)
{
    static char labels[COUNT(keys)][32];
    char *label = labels[key - keys];

    (void)snprintf(label, sizeof(labels[0]), "matrix-%s", key->name);
    return label;
}

/* What all objects of a key have. */
static void put_name(CK_ATTRIBUTE *list, CK_ULONG *count, const struct key *key)
{
    static unsigned char id[COUNT(keys)];
    size_t i = (size_t)(key - keys);

    id[i] = (unsigned char)(0xa0 + i);
    put(list, count, CKA_TOKEN, &yes, sizeof(yes));
    put(list, count, CKA_LABEL, label_of(key), strlen(label_of(key)));
    put(list, count, CKA_ID, &id[i], 1);
}

struct use {
    CK_FLAGS flag;
    CK_ATTRIBUTE_TYPE private, public;
};

static const struct use pair_uses[] = {
    { CKF_SIGN, CKA_SIGN, CKA_VERIFY },
    { CKF_DECRYPT, CKA_DECRYPT, CKA_ENCRYPT },
    { CKF_DERIVE, CKA_DERIVE, 0 },
};

static void put_public(CK_ATTRIBUTE *list, CK_ULONG *count, const struct key *key,
                       const struct params *params)
{
    static const unsigned char exponent[] = { 1, 0, 1 };

    put_name(list, count, key);
    for (size_t i = 0; i < COUNT(pair_uses); i++)
        if ((key->uses & pair_uses[i].flag) != 0 && pair_uses[i].public != 0)
            put(list, count, pair_uses[i].public, &yes, sizeof(yes));
    if (params->len != 0)
        put(list, count, CKA_EC_PARAMS, params->data, params->len);
    else if (key->type != CKK_RSA)
        put(list, count, CKA_PARAMETER_SET, &key->number, sizeof(key->number));
    if (key->type == CKK_RSA) {
        put(list, count, CKA_MODULUS_BITS, &key->number, sizeof(key->number));
        put(list, count, CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent));
    }
    if (key->type == CKK_ML_KEM)
        put(list, count, CKA_ENCAPSULATE, &yes, sizeof(yes));
}

static void put_private(CK_ATTRIBUTE *list, CK_ULONG *count, const struct key *key)
{
    put_name(list, count, key);
    put(list, count, CKA_PRIVATE, &yes, sizeof(yes));
    put(list, count, CKA_SENSITIVE, &yes, sizeof(yes));
    put(list, count, CKA_EXTRACTABLE, &no, sizeof(no));
    if (key->type == CKK_ML_KEM) {
        put(list, count, CKA_DECAPSULATE, &yes, sizeof(yes));
        return;
    }
    for (size_t i = 0; i < COUNT(pair_uses); i++)
        if ((key->uses & pair_uses[i].flag) != 0)
            put(list, count, pair_uses[i].private, &yes, sizeof(yes));
}

static CK_RV make_pair(const struct key *key, const struct params *params)
{
    CK_ATTRIBUTE public[16], private[16];
    CK_ULONG public_count = 0, private_count = 0;
    CK_MECHANISM mechanism = { key->mechanism, NULL, 0 };
    CK_OBJECT_HANDLE a, b;

    put_public(public, &public_count, key, params);
    put_private(private, &private_count, key);
    return p11->C_GenerateKeyPair(session, &mechanism, public, public_count, private, private_count,
                                  &a, &b);
}

static CK_RV make_secret(const struct key *key)
{
    static const CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    static const CK_ATTRIBUTE_TYPE uses[] = { CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP,  CKA_UNWRAP,
                                              CKA_SIGN,    CKA_VERIFY,  CKA_DERIVE };
    CK_ATTRIBUTE list[24];
    CK_ULONG count = 0;
    CK_OBJECT_HANDLE handle;

    put(list, &count, CKA_CLASS, &class, sizeof(class));
    put(list, &count, CKA_KEY_TYPE, &key->type, sizeof(key->type));
    put_name(list, &count, key);
    put(list, &count, CKA_PRIVATE, &yes, sizeof(yes));
    put(list, &count, CKA_VALUE, secret_bytes, sizeof(secret_bytes));
    for (size_t i = key->type == CKK_AES ? 0 : 4; i < COUNT(uses) - (key->type == CKK_AES); i++)
        put(list, &count, uses[i], &yes, sizeof(yes));
    return p11->C_CreateObject(session, list, count, &handle);
}

static CK_RV make(const struct key *key)
{
    CK_RV first = key->type == CKK_AES || key->type == CKK_GENERIC_SECRET
                      ? make_secret(key)
                      : make_pair(key, &key->params[0]);
    CK_RV rv = first;

    for (size_t i = 1; i < COUNT(key->params) && rv != CKR_OK && key->params[i].len != 0; i++)
        rv = make_pair(key, &key->params[i]);
    return rv == CKR_OK ? CKR_OK : first;
}

static CK_OBJECT_HANDLE find(const char *label, CK_OBJECT_CLASS class)
{
    CK_ATTRIBUTE list[] = { { CKA_CLASS, &class, sizeof(class) },
                            { CKA_LABEL, (void *)(uintptr_t)label, strlen(label) } };
    CK_OBJECT_HANDLE found = 0;
    CK_ULONG count = 0;

    if (p11->C_FindObjectsInit(session, list, COUNT(list)) == CKR_OK) {
        (void)p11->C_FindObjects(session, &found, 1, &count);
        (void)p11->C_FindObjectsFinal(session);
    }
    return count == 1 ? found : 0;
}

static CK_OBJECT_HANDLE find_key(const struct key *key)
{
    bool secret = key->type == CKK_AES || key->type == CKK_GENERIC_SECRET;

    return find(label_of(key), secret ? CKO_SECRET_KEY : CKO_PRIVATE_KEY);
}

static const struct key *key_named(const char *name)
{
    for (size_t i = 0; i < COUNT(keys); i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

static void say(const char *kind, const char *name, CK_RV rv)
{
    const char *ckr = ckr_describe(rv)->name;

    if (ckr != NULL)
        printf("%s:%s %s\n", kind, name, ckr);
    else
        printf("%s:%s 0x%lx\n", kind, name, rv);
    fflush(stdout);
}

/* One call with a mechanism. */
static const CK_RSA_PKCS_PSS_PARAMS pss = { CKM_SHA256, CKG_MGF1_SHA256, 32 };
static const CK_RSA_PKCS_OAEP_PARAMS oaep_sha1 = { CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED,
                                                   NULL, 0 };
static const CK_RSA_PKCS_OAEP_PARAMS oaep_sha256 = { CKM_SHA256, CKG_MGF1_SHA256,
                                                     CKZ_DATA_SPECIFIED, NULL, 0 };
static const unsigned char block[256] = { 0, 1 };
static const struct {
    CK_ULONG bits;
    CK_BYTE counter[16];
} ctr = { 128, { 0 } };
static const struct {
    const CK_BYTE *iv;
    CK_ULONG iv_len, iv_bits;
    const CK_BYTE *aad;
    CK_ULONG aad_len, tag_bits;
} gcm = { block, 12, 96, NULL, 0, 128 };
static const struct hkdf_params hkdf = { .bExtract = CK_TRUE,
                                         .bExpand = CK_TRUE,
                                         .prfHashMechanism = CKM_SHA256,
                                         .ulSaltType = CKF_HKDF_SALT_NULL };
static const struct hkdf_params hkdf_expand = { .bExpand = CK_TRUE,
                                                .prfHashMechanism = CKM_SHA256,
                                                .ulSaltType = CKF_HKDF_SALT_NULL };

struct call {
    const char *name, *key;
    CK_RV (*make)(const struct call *, CK_OBJECT_HANDLE);
    CK_MECHANISM_TYPE mechanism;
    const void *param;
    size_t param_len, len; /* of block */
};

static CK_MECHANISM mechanism_of(const struct call *call)
{
    return (CK_MECHANISM){ call->mechanism, (void *)(uintptr_t)call->param, call->param_len };
}

static CK_RV call_sign(const struct call *call, CK_OBJECT_HANDLE key)
{
    static unsigned char out[60000];
    CK_MECHANISM mechanism = mechanism_of(call);
    CK_ULONG len = sizeof(out);
    CK_RV rv = p11->C_SignInit(session, &mechanism, key);

    return rv != CKR_OK ? rv
                        : p11->C_Sign(session, (CK_BYTE *)(uintptr_t)block, call->len, out, &len);
}

static CK_RV call_encrypt(const struct call *call, CK_OBJECT_HANDLE key)
{
    unsigned char out[512];
    CK_MECHANISM mechanism = mechanism_of(call);
    CK_ULONG len = sizeof(out);
    CK_RV rv = p11->C_EncryptInit(session, &mechanism, key);

    return rv != CKR_OK
               ? rv
               : p11->C_Encrypt(session, (CK_BYTE *)(uintptr_t)block, call->len, out, &len);
}

/* A ciphertext that fits is more than this program makes: whether the mechanism is taken. */
static CK_RV call_decrypt(const struct call *call, CK_OBJECT_HANDLE key)
{
    CK_MECHANISM mechanism = mechanism_of(call);

    return p11->C_DecryptInit(session, &mechanism, key);
}

static CK_RV derive(CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key, CK_BBOOL sensitive, CK_ULONG len)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_ATTRIBUTE list[] = {
        { CKA_CLASS, &class, sizeof(class) },   { CKA_KEY_TYPE, &type, sizeof(type) },
        { CKA_TOKEN, &no, sizeof(no) },         { CKA_SENSITIVE, &sensitive, sizeof(sensitive) },
        { CKA_EXTRACTABLE, &yes, sizeof(yes) }, { CKA_VALUE_LEN, &len, sizeof(len) }
    };
    CK_OBJECT_HANDLE out;

    return p11->C_DeriveKey(session, mechanism, key, list, COUNT(list), &out);
}

/* PKCS#11 v2.40 §2.3.2: CK_ECDH1_DERIVE_PARAMS. p11-kit renamed its members. */
struct ecdh_params {
    CK_ULONG kdf, ulSharedDataLen;
    CK_BYTE *pSharedData;
    CK_ULONG ulPublicDataLen;
    CK_BYTE *pPublicData;
};

/* With its own public half as the peer's: the point without the OCTET STRING that it may be in. */
static CK_RV call_agree(const struct call *call, CK_OBJECT_HANDLE key)
{
    unsigned char point[256];
    CK_ATTRIBUTE own = { CKA_EC_POINT, point, sizeof(point) };
    struct ecdh_params params = { CKD_NULL, 0, NULL, call->param_len, NULL };
    CK_MECHANISM mechanism = { call->mechanism, &params, sizeof(params) };
    CK_RV rv = p11->C_GetAttributeValue(
        session, find(label_of(key_named(call->key)), CKO_PUBLIC_KEY), &own, 1);

    if (rv != CKR_OK || own.ulValueLen < call->param_len)
        return rv != CKR_OK ? rv : CKR_DATA_INVALID;
    params.pPublicData = point + own.ulValueLen - call->param_len;
    return derive(&mechanism, key, CK_FALSE, call->len);
}

static CK_RV call_derive(const struct call *call, CK_OBJECT_HANDLE key)
{
    CK_MECHANISM mechanism = mechanism_of(call);

    return derive(&mechanism, key, CK_TRUE, call->len);
}

static CK_RV call_decapsulate(const struct call *call, CK_OBJECT_HANDLE key)
{
    static unsigned char ciphertext[1088];
    CK_MECHANISM mechanism = mechanism_of(call);
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_ATTRIBUTE list[] = { { CKA_CLASS, &class, sizeof(class) },
                            { CKA_KEY_TYPE, &type, sizeof(type) },
                            { CKA_TOKEN, &no, sizeof(no) } };
    CK_OBJECT_HANDLE out;

    if (p11_3_2 == NULL || p11_3_2->C_DecapsulateKey == NULL)
        return CKR_FUNCTION_NOT_SUPPORTED;
    return p11_3_2->C_DecapsulateKey(session, &mechanism, key, list, COUNT(list), ciphertext,
                                     sizeof(ciphertext), &out);
}

static CK_RV call_make(const struct call *call, CK_OBJECT_HANDLE key)
{
    CK_MECHANISM mechanism = mechanism_of(call);
    CK_ULONG len = call->len;
    CK_ATTRIBUTE list[] = { { CKA_TOKEN, &no, sizeof(no) }, { CKA_VALUE_LEN, &len, sizeof(len) } };
    CK_OBJECT_HANDLE out;

    (void)key;
    return p11->C_GenerateKey(session, &mechanism, list, COUNT(list), &out);
}

static CK_RV call_random(const struct call *call, CK_OBJECT_HANDLE key)
{
    unsigned char out[32];

    (void)key;
    return p11->C_GenerateRandom(session, out, call->len);
}

#define PARAM(object) &(object), sizeof(object)
#define NONE          NULL, 0

static const struct call calls[] = {
    { "rsa-pkcs", "rsa2048", call_sign, CKM_RSA_PKCS, NONE, 51 },
    { "rsa-raw", "rsa2048", call_sign, CKM_RSA_X_509, NONE, 256 },
    { "rsa-pss", "rsa2048", call_sign, CKM_RSA_PKCS_PSS, PARAM(pss), 32 },
    { "ecdsa-p256", "p256", call_sign, CKM_ECDSA, NONE, 32 },
    { "ecdsa-p384", "p384", call_sign, CKM_ECDSA, NONE, 48 },
    { "ecdsa-p521", "p521", call_sign, CKM_ECDSA, NONE, 64 },
    { "eddsa-ed25519", "ed25519", call_sign, CKM_EDDSA, NONE, 100 },
    { "eddsa-ed448", "ed448", call_sign, CKM_EDDSA, NONE, 100 },
    { "decrypt-pkcs", "rsa2048", call_decrypt, CKM_RSA_PKCS, NONE, 0 },
    { "decrypt-raw", "rsa2048", call_decrypt, CKM_RSA_X_509, NONE, 0 },
    { "oaep-sha1", "rsa2048", call_decrypt, CKM_RSA_PKCS_OAEP, PARAM(oaep_sha1), 0 },
    { "oaep-sha256", "rsa2048", call_decrypt, CKM_RSA_PKCS_OAEP, PARAM(oaep_sha256), 0 },
    { "ecdh-p256", "p256", call_agree, CKM_ECDH1_DERIVE, NULL, 65, 32 },
    { "ecdh-p384", "p384", call_agree, CKM_ECDH1_DERIVE, NULL, 97, 48 },
    { "ecdh-p521", "p521", call_agree, CKM_ECDH1_DERIVE, NULL, 133, 66 },
    { "ecdh-x25519", "x25519", call_agree, CKM_ECDH1_DERIVE, NULL, 32, 32 },
    { "ecdh-x448", "x448", call_agree, CKM_ECDH1_DERIVE, NULL, 56, 56 },
    { "ml-dsa", "ml-dsa-65", call_sign, CKM_ML_DSA, NONE, 100 },
    { "slh-dsa", "slh-dsa", call_sign, CKM_SLH_DSA, NONE, 100 },
    { "ml-kem", "ml-kem-768", call_decapsulate, CKM_ML_KEM, NONE, 0 },
    { "make-aes", NULL, call_make, CKM_AES_KEY_GEN, NONE, 32 },
    { "aes-cbc", "aes", call_encrypt, CKM_AES_CBC, block, 16, 32 },
    { "aes-ctr", "aes", call_encrypt, CKM_AES_CTR, PARAM(ctr), 32 },
    { "aes-gcm", "aes", call_encrypt, CKM_AES_GCM, PARAM(gcm), 32 },
    { "aes-kw", "aes", call_encrypt, CKM_AES_KEY_WRAP, NONE, 32 },
    { "aes-cmac", "aes", call_sign, CKM_AES_CMAC, NONE, 32 },
    { "hmac", "secret", call_sign, CKM_SHA256_HMAC, NONE, 32 },
    { "hkdf", "secret", call_derive, CKM_HKDF_DERIVE, PARAM(hkdf), 32 },
    { "hkdf-expand", "secret", call_derive, CKM_HKDF_DERIVE, PARAM(hkdf_expand), 32 },
    { "random", NULL, call_random, 0, NONE, 32 },
};

static CK_SLOT_ID slot;
static const char *token, *pin;

static bool slot_find(void)
{
    CK_SLOT_ID slots[64];
    CK_ULONG count = COUNT(slots);
    CK_TOKEN_INFO info;

    if (p11->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK)
        return false;
    for (CK_ULONG i = 0; i < count; i++) {
        slot = slots[i];
        if (p11->C_GetTokenInfo(slot, &info) == CKR_OK &&
            memcmp(info.label, token, strlen(token)) == 0)
            return true;
    }
    return false;
}

static CK_RV session_open(void)
{
    CK_RV rv = p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session);

    if (rv == CKR_OK)
        rv = p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)(uintptr_t)pin, strlen(pin));
    return rv;
}

static CK_RV token_open(void)
{
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK,
                                  .pReserved = getenv("MATRIX_INIT_ARGS") };
    CK_RV rv = p11->C_Initialize(&args);

    if (rv != CKR_OK)
        return rv;
    return slot_find() ? session_open() : CKR_TOKEN_NOT_PRESENT;
}

/* Between two rows: a failed call may leave an operation active. A TPM has room for few keys, and
 * is started anew. */
static void token_open_again(void)
{
    CK_RV rv;

    if (getenv("TPM2_PKCS11_TCTI") == NULL) {
        (void)p11->C_CloseSession(session);
        rv = session_open();
    } else {
        (void)p11->C_Finalize(NULL);
        rv = token_open();
    }
    if (rv != CKR_OK) {
        say("token", token, rv);
        exit(2);
    }
}

/* The first way that the token takes; what it said of the first where it takes none. */
static CK_RV make_any(const struct key *key)
{
    CK_RV first = make(key), rv = first;

    for (const struct key *other = key + 1; rv != CKR_OK && other < keys + COUNT(keys); other++)
        if (strcmp(other->name, key->name) == 0)
            rv = make(other);
    return rv == CKR_OK ? CKR_OK : first;
}

/* The row that is asked now, what is told of it where it crashes, and what makes a process go on
 * behind it. */
static char asked[64], from[32] = "MATRIX_FROM=0";
static char **arguments;
extern char **environ;

static size_t first_row(void)
{
    const char *text = getenv("MATRIX_FROM");
    size_t row = text != NULL ? strtoul(text, NULL, 10) : 0;

    (void)putenv(from);
    return row;
}

static void row_begin(const char *kind, const char *name, size_t row)
{
    (void)snprintf(asked, sizeof(asked), "%s:%s ", kind, name);
    (void)snprintf(from, sizeof(from), "MATRIX_FROM=%zu", row + 1);
}

static void on_crash(int number)
{
    const char *text = number == SIGABRT ? "SIGABRT\n" : "SIGSEGV\n";

    if (write(STDOUT_FILENO, asked, strlen(asked)) > 0 &&
        write(STDOUT_FILENO, text, strlen(text)) > 0)
        (void)execve("/proc/self/exe", arguments, environ);
    _exit(1);
}

static void watch_crashes(char **argv)
{
    struct sigaction action = { .sa_handler = on_crash, .sa_flags = SA_NODEFER };

    arguments = argv;
    (void)sigaction(SIGSEGV, &action, NULL);
    (void)sigaction(SIGABRT, &action, NULL);
}

static int make_keys(void)
{
    for (size_t i = first_row(); i < COUNT(keys); i++) {
        if (&keys[i] != key_named(keys[i].name))
            continue;
        row_begin("key", keys[i].name, i);
        say("key", keys[i].name, find_key(&keys[i]) != 0 ? CKR_OK : make_any(&keys[i]));
        token_open_again();
    }
    return 0;
}

static CK_RV make_call(const struct call *call)
{
    CK_OBJECT_HANDLE key = call->key != NULL ? find_key(key_named(call->key)) : 0;

    return call->key != NULL && key == 0 ? CKR_KEY_HANDLE_INVALID : call->make(call, key);
}

static int make_calls(void)
{
    for (size_t i = first_row(); i < COUNT(calls); i++) {
        row_begin("call", calls[i].name, i);
        say("call", calls[i].name, make_call(&calls[i]));
        token_open_again();
    }
    return 0;
}

/* All of it is OpenSSL's to free. */
struct certificate {
    unsigned char *der, *subject, *issuer, *serial;
    int der_len, subject_len, issuer_len, serial_len;
};

static bool certificate_read(const char *file, struct certificate *out)
{
    BIO *in = BIO_new_file(file, "r");
    X509 *cert = in != NULL ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;

    BIO_free(in);
    if (cert == NULL)
        return false;
    out->der_len = i2d_X509(cert, &out->der);
    out->subject_len = i2d_X509_NAME(X509_get_subject_name(cert), &out->subject);
    out->issuer_len = i2d_X509_NAME(X509_get_issuer_name(cert), &out->issuer);
    out->serial_len = i2d_ASN1_INTEGER(X509_get0_serialNumber(cert), &out->serial);
    X509_free(cert);
    return true;
}

static int store_certificate(const char *file, const char *name)
{
    static const CK_OBJECT_CLASS class = CKO_CERTIFICATE;
    static const CK_CERTIFICATE_TYPE type = CKC_X_509;
    struct certificate cert = { 0 };
    CK_ATTRIBUTE list[16];
    CK_ULONG count = 0;
    CK_OBJECT_HANDLE handle;
    const struct key *key = key_named(name);

    if (key == NULL || !certificate_read(file, &cert))
        return 2;
    put(list, &count, CKA_CLASS, &class, sizeof(class));
    put(list, &count, CKA_CERTIFICATE_TYPE, &type, sizeof(type));
    put_name(list, &count, key);
    put(list, &count, CKA_SUBJECT, cert.subject, (size_t)cert.subject_len);
    put(list, &count, CKA_ISSUER, cert.issuer, (size_t)cert.issuer_len);
    put(list, &count, CKA_SERIAL_NUMBER, cert.serial, (size_t)cert.serial_len);
    put(list, &count, CKA_VALUE, cert.der, (size_t)cert.der_len);
    say("certificate", name, p11->C_CreateObject(session, list, count, &handle));
    return 0;
}

static bool module_open(void)
{
    void *library = dlopen(getenv("PKCS11_MODULE"), RTLD_NOW | RTLD_LOCAL);
    struct functions functions;

    if (library == NULL || !functions_find(library, &functions)) {
        fprintf(stderr, "%s\n", dlerror());
        return false;
    }
    p11 = functions.v2_40;
    p11_3_2 = functions.v3_2;
    return true;
}

static int run(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "keys") == 0)
        return make_keys();
    if (argc == 2 && strcmp(argv[1], "calls") == 0)
        return make_calls();
    if (argc == 4 && strcmp(argv[1], "certificate") == 0)
        return store_certificate(argv[2], argv[3]);
    return 2;
}

int main(int argc, char **argv)
{
    CK_RV rv;
    int status = 2;

    token = getenv("MATRIX_TOKEN");
    pin = getenv("MATRIX_PIN");
    if (token == NULL || pin == NULL || !module_open())
        return status;
    watch_crashes(argv);
    rv = token_open();
    if (rv == CKR_OK)
        status = run(argc, argv);
    else
        say("token", token, rv);
    asked[0] = '\0';
    (void)p11->C_Finalize(NULL);
    return status;
}
