#include "crypto.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

static OSSL_LIB_CTX *libctx;
static OSSL_PROVIDER *provider;

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define P256            32 /* bytes of a number */
#define INIT_BASE_ONLY                                                                             \
    0x40000 /* OPENSSL_INIT_BASE_ONLY, of no public header: whether libcrypto lives */

#define PAIR     (CKF_GENERATE_KEY_PAIR)
#define SIGNS    (CKF_SIGN | CKF_VERIFY)
#define MESSAGES (SIGNS | CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY)
#define KEM      (CKF_ENCAPSULATE | CKF_DECAPSULATE)

#define HASHING(name, key_type)                                                                    \
    { name##_SHA224, key_type, MESSAGES, HASH_SHA224 },                                            \
        { name##_SHA256, key_type, MESSAGES, HASH_SHA256 },                                        \
        { name##_SHA384, key_type, MESSAGES, HASH_SHA384 },                                        \
        { name##_SHA512, key_type, MESSAGES, HASH_SHA512 },                                        \
        { name##_SHA3_224, key_type, MESSAGES, HASH_SHA3_224 },                                    \
        { name##_SHA3_256, key_type, MESSAGES, HASH_SHA3_256 },                                    \
        { name##_SHA3_384, key_type, MESSAGES, HASH_SHA3_384 },                                    \
        { name##_SHA3_512, key_type, MESSAGES, HASH_SHA3_512 },                                    \
        { name##_SHAKE128, key_type, MESSAGES, HASH_SHAKE128 },                                    \
    {                                                                                              \
        name##_SHAKE256, key_type, MESSAGES, HASH_SHAKE256                                         \
    }

/* Those of a key type follow each other, the one that makes keys first. */
static const struct mechanism mechanisms[] = {
    { CKM_EC_KEY_PAIR_GEN, CKK_EC, PAIR, HASH_NONE },
    { CKM_ECDSA, CKK_EC, MESSAGES, HASH_NONE },
    { CKM_ECDSA_SHA1, CKK_EC, MESSAGES, HASH_SHA1 },
    { CKM_ECDSA_SHA224, CKK_EC, MESSAGES, HASH_SHA224 },
    { CKM_ECDSA_SHA256, CKK_EC, MESSAGES, HASH_SHA256 },
    { CKM_ECDSA_SHA384, CKK_EC, MESSAGES, HASH_SHA384 },
    { CKM_ECDSA_SHA512, CKK_EC, MESSAGES, HASH_SHA512 },
    { CKM_ML_DSA_KEY_PAIR_GEN, CKK_ML_DSA, PAIR, HASH_NONE },
    { CKM_ML_DSA, CKK_ML_DSA, MESSAGES, HASH_NONE },
    { CKM_HASH_ML_DSA, CKK_ML_DSA, MESSAGES, HASH_BEFORE },
    HASHING(CKM_HASH_ML_DSA, CKK_ML_DSA),
    { CKM_SLH_DSA_KEY_PAIR_GEN, CKK_SLH_DSA, PAIR, HASH_NONE },
    { CKM_SLH_DSA, CKK_SLH_DSA, MESSAGES, HASH_NONE },
    { CKM_HASH_SLH_DSA, CKK_SLH_DSA, MESSAGES, HASH_BEFORE },
    HASHING(CKM_HASH_SLH_DSA, CKK_SLH_DSA),
    { CKM_ML_KEM_KEY_PAIR_GEN, CKK_ML_KEM, PAIR, HASH_NONE },
    { CKM_ML_KEM, CKK_ML_KEM, KEM, HASH_NONE },
};

/* oid: the last byte of 2.16.840.1.101.3.4.2.x. len: of the output, for SHAKE as FIPS 204 §5.4.1
 * has it. */
static const struct {
    const char *name;
    ck_mechanism_type_t type;
    uint8_t oid;
    uint8_t len;
} digests[HASHES] = {
    [HASH_SHA1] = { "SHA1", CKM_SHA_1, 0, 20 },
    [HASH_SHA224] = { "SHA2-224", CKM_SHA224, 4, 28 },
    [HASH_SHA256] = { "SHA2-256", CKM_SHA256, 1, 32 },
    [HASH_SHA384] = { "SHA2-384", CKM_SHA384, 2, 48 },
    [HASH_SHA512] = { "SHA2-512", CKM_SHA512, 3, 64 },
    [HASH_SHA3_224] = { "SHA3-224", CKM_SHA3_224, 7, 28 },
    [HASH_SHA3_256] = { "SHA3-256", CKM_SHA3_256, 8, 32 },
    [HASH_SHA3_384] = { "SHA3-384", CKM_SHA3_384, 9, 48 },
    [HASH_SHA3_512] = { "SHA3-512", CKM_SHA3_512, 10, 64 },
    [HASH_SHAKE128] = { "SHAKE-128", 0, 11, 32 },
    [HASH_SHAKE256] = { "SHAKE-256", 0, 12, 64 },
};

static const struct algorithm {
    ck_key_type_t type;
    unsigned long set; /* CKA_PARAMETER_SET */
    const char *name;
} algorithms[] = {
    { CKK_EC, 0, "EC" },
    { CKK_ML_DSA, CKP_ML_DSA_44, "ML-DSA-44" },
    { CKK_ML_DSA, CKP_ML_DSA_65, "ML-DSA-65" },
    { CKK_ML_DSA, CKP_ML_DSA_87, "ML-DSA-87" },
    { CKK_ML_KEM, CKP_ML_KEM_512, "ML-KEM-512" },
    { CKK_ML_KEM, CKP_ML_KEM_768, "ML-KEM-768" },
    { CKK_ML_KEM, CKP_ML_KEM_1024, "ML-KEM-1024" },
    { CKK_SLH_DSA, CKP_SLH_DSA_SHA2_128S, "SLH-DSA-SHA2-128s" },
    { CKK_SLH_DSA, CKP_SLH_DSA_SHAKE_128S, "SLH-DSA-SHAKE-128s" },
    { CKK_SLH_DSA, CKP_SLH_DSA_SHA2_128F, "SLH-DSA-SHA2-128f" },
    { CKK_SLH_DSA, CKP_SLH_DSA_SHAKE_128F, "SLH-DSA-SHAKE-128f" },
    { CKK_SLH_DSA, CKP_SLH_DSA_SHA2_192S, "SLH-DSA-SHA2-192s" },
    { CKK_SLH_DSA, CKP_SLH_DSA_SHAKE_192S, "SLH-DSA-SHAKE-192s" },
    { CKK_SLH_DSA, CKP_SLH_DSA_SHA2_192F, "SLH-DSA-SHA2-192f" },
    { CKK_SLH_DSA, CKP_SLH_DSA_SHAKE_192F, "SLH-DSA-SHAKE-192f" },
    { CKK_SLH_DSA, CKP_SLH_DSA_SHA2_256S, "SLH-DSA-SHA2-256s" },
    { CKK_SLH_DSA, CKP_SLH_DSA_SHAKE_256S, "SLH-DSA-SHAKE-256s" },
    { CKK_SLH_DSA, CKP_SLH_DSA_SHA2_256F, "SLH-DSA-SHA2-256f" },
    { CKK_SLH_DSA, CKP_SLH_DSA_SHAKE_256F, "SLH-DSA-SHAKE-256f" },
};

static const uint8_t p256_oid[] = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 };

bool crypto_open(void)
{
    libctx = OSSL_LIB_CTX_new();
    provider = OSSL_PROVIDER_load(libctx, "default");
    return provider != NULL;
}

void crypto_close(void)
{
    if (OPENSSL_init_crypto(INIT_BASE_ONLY, NULL) == 1) {
        OSSL_PROVIDER_unload(provider);
        OSSL_LIB_CTX_free(libctx);
    }
    provider = NULL;
    libctx = NULL;
}

bool crypto_random(uint8_t *out, size_t len)
{
    return RAND_bytes_ex(libctx, out, len, 0) == 1;
}

static const struct algorithm *algorithm_find(ck_key_type_t type, unsigned long set)
{
    for (size_t i = 0; i < COUNT_OF(algorithms); i++)
        if (algorithms[i].type == type && algorithms[i].set == set)
            return &algorithms[i];
    return NULL;
}

static bool key_type_known(ck_key_type_t type)
{
    const struct algorithm *first = algorithm_find(type, type == CKK_EC ? 0 : 1);
    EVP_KEYMGMT *keymgmt = EVP_KEYMGMT_fetch(libctx, first->name, NULL);
    const bool known = keymgmt != NULL;

    EVP_KEYMGMT_free(keymgmt);
    return known;
}

const struct mechanism *mechanism_next(const struct mechanism *mechanism)
{
    mechanism = mechanism == NULL ? mechanisms : mechanism + 1;
    while (mechanism < mechanisms + COUNT_OF(mechanisms) && !key_type_known(mechanism->key_type))
        mechanism++;
    return mechanism < mechanisms + COUNT_OF(mechanisms) ? mechanism : NULL;
}

const struct mechanism *mechanism_find(ck_mechanism_type_t type)
{
    for (size_t i = 0; i < COUNT_OF(mechanisms); i++)
        if (mechanisms[i].type == type)
            return key_type_known(mechanisms[i].key_type) ? &mechanisms[i] : NULL;
    return NULL;
}

/* The parameter: for ECDSA none, for CKM_HASH_ML_DSA and its like one that names the hash, for
 * others none or one with a context (PKCS#11 v3.2 §6.67.5). */
static bool parameter_fits(const struct mechanism *mechanism, const struct sign_context *given,
                           size_t len)
{
    if (mechanism->hash == HASH_BEFORE)
        return given != NULL && len == HASH_SIGN_CONTEXT_SIZE;
    if (given == NULL || len == 0)
        return len == 0;
    return mechanism->key_type != CKK_EC && len == SIGN_CONTEXT_SIZE;
}

static enum hash hash_by_type(ck_mechanism_type_t type)
{
    enum hash hash = HASH_SHA1;

    while (hash < HASHES && digests[hash].type != type)
        hash++;
    return hash;
}

ck_rv_t signing_init(struct signing *signing, const struct mechanism *mechanism,
                     const void *parameter, size_t len)
{
    const struct sign_context *given = parameter;

    *signing = (struct signing){ .mechanism = mechanism };
    if (!parameter_fits(mechanism, given, len))
        return CKR_MECHANISM_PARAM_INVALID;
    if (len == 0)
        return CKR_OK;
    if (given->context_len > CONTEXT_MAX || given->hedge > CKH_DETERMINISTIC_REQUIRED)
        return CKR_MECHANISM_PARAM_INVALID;
    signing->deterministic = given->hedge == CKH_DETERMINISTIC_REQUIRED;
    signing->context_len = getenv("TOKEN32_NO_CONTEXTS") == NULL ? given->context_len : 0;
    if (signing->context_len > 0)
        memcpy(signing->context, given->context, signing->context_len);
    if (mechanism->hash == HASH_BEFORE)
        signing->hashed = hash_by_type(given->hash);
    return signing->hashed < HASHES ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
}

/* A key of parameters; NULL where they make none. */
static EVP_PKEY *pkey_make(const char *name, int selection, OSSL_PARAM *params)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, name, NULL);
    EVP_PKEY *pkey = NULL;

    if (ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &pkey, selection, params);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static bool is_p256(const struct object *object)
{
    const struct ck_attribute *params = object_get(object, CKA_EC_PARAMS);

    return params != NULL && params->value_len == sizeof(p256_oid) &&
           memcmp(params->value, p256_oid, sizeof(p256_oid)) == 0;
}

static EVP_PKEY *ec_pkey(const struct object *object, int selection)
{
    const struct ck_attribute *point = object_get(object, CKA_EC_POINT);
    const struct ck_attribute *value = object_get(object, CKA_VALUE);
    OSSL_PARAM_BLD *build;
    OSSL_PARAM *made;
    BIGNUM *number = NULL;
    EVP_PKEY *pkey;

    if (!is_p256(object))
        return NULL;
    build = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
    if (point != NULL && point->value_len > 2) /* in an OCTET STRING */
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY,
                                         (uint8_t *)point->value + 2, point->value_len - 2);
    if (value != NULL) {
        number = BN_bin2bn(value->value, (int)value->value_len, NULL);
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, number);
    }
    made = OSSL_PARAM_BLD_to_param(build);
    pkey = pkey_make("EC", selection, made);
    OSSL_PARAM_free(made);
    OSSL_PARAM_BLD_free(build);
    BN_clear_free(number);
    return pkey;
}

static size_t push_octets(const struct object *object, ck_attribute_type_t type, const char *name,
                          OSSL_PARAM *param)
{
    const struct ck_attribute *found = object_get(object, type);

    if (found == NULL)
        return 0;
    *param = OSSL_PARAM_construct_octet_string(name, found->value, found->value_len);
    return 1;
}

static EVP_PKEY *post_quantum_pkey(const struct object *object, const char *name, int selection)
{
    const bool is_private = selection == EVP_PKEY_KEYPAIR;
    OSSL_PARAM params[3];
    size_t count = push_octets(object, CKA_VALUE, is_private ? "priv" : "pub", params);

    if (is_private)
        count += push_octets(object, CKA_SEED, "seed", params + count);
    params[count] = OSSL_PARAM_construct_end();
    return count > 0 ? pkey_make(name, selection, params) : NULL;
}

EVP_PKEY *object_pkey(struct object *object)
{
    const ck_key_type_t type = object_ulong(object, CKA_KEY_TYPE);
    const struct algorithm *algorithm =
        algorithm_find(type, object_ulong(object, CKA_PARAMETER_SET));
    const int selection =
        object_ulong(object, CKA_CLASS) == CKO_PRIVATE_KEY ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY;

    if (object->pkey == NULL && algorithm != NULL)
        object->pkey = type == CKK_EC ? ec_pkey(object, selection)
                                      : post_quantum_pkey(object, algorithm->name, selection);
    return object->pkey;
}

static EVP_PKEY *pkey_generate(const struct algorithm *algorithm)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, algorithm->name, NULL);
    EVP_PKEY *pkey = NULL;

    if (ctx != NULL && EVP_PKEY_keygen_init(ctx) == 1 &&
        (algorithm->type != CKK_EC || EVP_PKEY_CTX_set_group_name(ctx, "P-256") == 1))
        (void)EVP_PKEY_generate(ctx, &pkey);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static void take_octets(struct object *object, ck_attribute_type_t type, EVP_PKEY *pkey,
                        const char *name)
{
    uint8_t value[8192];
    size_t len;

    if (EVP_PKEY_get_octet_string_param(pkey, name, value, sizeof(value), &len) == 1)
        object_set(object, type, value, len);
    OPENSSL_cleanse(value, sizeof(value));
}

static void take_ec(struct object *public_key, struct object *private_key, EVP_PKEY *pkey)
{
    uint8_t point[2 + 1 + 2 * P256] = { 4, 1 + 2 * P256 }, value[P256]; /* in an OCTET STRING */
    size_t len;
    BIGNUM *number = NULL;

    (void)EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, point + 2,
                                          sizeof(point) - 2, &len);
    (void)EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &number);
    (void)BN_bn2binpad(number, value, sizeof(value));
    BN_clear_free(number);
    object_set(public_key, CKA_EC_POINT, point, sizeof(point));
    object_set(public_key, CKA_EC_PARAMS, p256_oid, sizeof(p256_oid));
    object_set(private_key, CKA_EC_PARAMS, p256_oid, sizeof(p256_oid));
    object_set(private_key, CKA_VALUE, value, sizeof(value));
}

static void take_post_quantum(struct object *public_key, struct object *private_key,
                              unsigned long set, EVP_PKEY *pkey)
{
    object_set_ulong(public_key, CKA_PARAMETER_SET, set);
    object_set_ulong(private_key, CKA_PARAMETER_SET, set);
    take_octets(public_key, CKA_VALUE, pkey, "pub");
    take_octets(private_key, CKA_VALUE, pkey, "priv");
    take_octets(private_key, CKA_SEED, pkey, "seed");
}

ck_rv_t pair_generate(ck_key_type_t type, struct object *public_key, struct object *private_key)
{
    const unsigned long set = object_ulong(public_key, CKA_PARAMETER_SET);
    const struct algorithm *algorithm = algorithm_find(type, set);
    EVP_PKEY *pkey;

    if (algorithm == NULL)
        return set == 0 ? CKR_TEMPLATE_INCOMPLETE : CKR_ATTRIBUTE_VALUE_INVALID;
    if (type == CKK_EC && !is_p256(public_key))
        return CKR_CURVE_NOT_SUPPORTED;
    pkey = pkey_generate(algorithm);
    if (pkey == NULL)
        return CKR_FUNCTION_FAILED;
    if (type == CKK_EC)
        take_ec(public_key, private_key, pkey);
    else
        take_post_quantum(public_key, private_key, set, pkey);
    private_key->pkey = pkey;
    return CKR_OK;
}

void object_set_public_key_info(struct object *object)
{
    EVP_PKEY *pkey = object_pkey(object);
    uint8_t *der = NULL;
    const int len = pkey != NULL ? i2d_PUBKEY(pkey, &der) : 0;

    if (len > 0)
        object_set(object, CKA_PUBLIC_KEY_INFO, der, (size_t)len);
    OPENSSL_free(der);
}

size_t signature_size(EVP_PKEY *pkey)
{
    return EVP_PKEY_is_a(pkey, "EC") ? 2 * P256 : (size_t)EVP_PKEY_get_size(pkey);
}

/* out: room for EVP_MAX_MD_SIZE. */
static bool digest(enum hash hash, const uint8_t *data, size_t len, uint8_t *out)
{
    EVP_MD *md = EVP_MD_fetch(libctx, digests[hash].name, NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const bool xof = hash >= HASH_SHAKE128;
    const bool ok = EVP_DigestInit_ex2(ctx, md, NULL) == 1 &&
                    EVP_DigestUpdate(ctx, data, len) == 1 &&
                    (xof ? EVP_DigestFinalXOF(ctx, out, digests[hash].len)
                         : EVP_DigestFinal_ex(ctx, out, NULL)) == 1;

    EVP_MD_CTX_free(ctx);
    EVP_MD_free(md);
    return ok;
}

/* What is to be signed: the hash, or what came where nothing is to be hashed. */
struct input {
    const uint8_t *data;
    size_t len;
    enum hash hash; /* HASH_NONE: data is the message */
    uint8_t room[EVP_MAX_MD_SIZE];
};

static ck_rv_t input_take(struct input *input, const struct signing *signing, const uint8_t *data,
                          size_t len)
{
    const enum hash hash = signing->mechanism->hash;

    *input = (struct input){ data, len, hash == HASH_BEFORE ? signing->hashed : hash, { 0 } };
    if (hash == HASH_BEFORE && getenv("TOKEN32_NO_CONTEXTS") != NULL)
        input->hash = HASH_NONE;
    if (hash == HASH_BEFORE)
        return len == digests[signing->hashed].len ? CKR_OK : CKR_DATA_LEN_RANGE;
    if (hash == HASH_NONE)
        return CKR_OK;
    input->data = input->room;
    input->len = digests[hash].len;
    return digest(hash, data, len, input->room) ? CKR_OK : CKR_FUNCTION_FAILED;
}

/* ECDSA-Sig-Value and r || s. */
static bool ecdsa_make(EVP_PKEY *pkey, const struct input *input, uint8_t *rs)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, pkey, NULL);
    uint8_t der[80];
    const uint8_t *position = der;
    size_t len = sizeof(der);
    ECDSA_SIG *sig = NULL;
    bool ok = EVP_PKEY_sign_init(ctx) == 1 &&
              EVP_PKEY_sign(ctx, der, &len, input->data, input->len) == 1 &&
              (sig = d2i_ECDSA_SIG(NULL, &position, (long)len)) != NULL;

    ok = ok && BN_bn2binpad(ECDSA_SIG_get0_r(sig), rs, P256) == P256 &&
         BN_bn2binpad(ECDSA_SIG_get0_s(sig), rs + P256, P256) == P256;
    ECDSA_SIG_free(sig);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool ecdsa_check(EVP_PKEY *pkey, const struct input *input, const uint8_t *rs)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, pkey, NULL);
    ECDSA_SIG *sig = ECDSA_SIG_new();
    uint8_t *der = NULL;
    int len;
    bool ok;

    (void)ECDSA_SIG_set0(sig, BN_bin2bn(rs, P256, NULL), BN_bin2bn(rs + P256, P256, NULL));
    len = i2d_ECDSA_SIG(sig, &der);
    ok = len > 0 && EVP_PKEY_verify_init(ctx) == 1 &&
         EVP_PKEY_verify(ctx, der, (size_t)len, input->data, input->len) == 1;
    OPENSSL_free(der);
    ECDSA_SIG_free(sig);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* M' of FIPS 204 §5.2 and §5.4, FIPS 205 §10.2: whether it was hashed, the context, the hash's OID,
 * what is signed. */
static uint8_t *representative(const struct signing *signing, const struct input *input,
                               size_t *len)
{
    const uint8_t oid[] = { 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, digests[input->hash].oid };
    const size_t oid_len = input->hash != HASH_NONE ? sizeof(oid) : 0;
    uint8_t *all = malloc(2 + CONTEXT_MAX + sizeof(oid) + input->len), *end = all;

    if (all == NULL)
        abort();
    *end++ = input->hash != HASH_NONE;
    *end++ = (uint8_t)signing->context_len;
    end = (uint8_t *)mempcpy(end, signing->context, signing->context_len);
    end = (uint8_t *)mempcpy(end, oid, oid_len);
    if (input->len > 0)
        end = (uint8_t *)mempcpy(end, input->data, input->len);
    *len = (size_t)(end - all);
    return all;
}

/* libcrypto takes M' as it is. */
static const OSSL_PARAM *raw_params(const struct signing *signing, OSSL_PARAM params[3])
{
    static int raw, hedged, deterministic = 1;

    params[0] = OSSL_PARAM_construct_int("message-encoding", &raw);
    params[1] = OSSL_PARAM_construct_int("deterministic",
                                         signing->deterministic ? &deterministic : &hedged);
    params[2] = OSSL_PARAM_construct_end();
    return params;
}

static bool post_quantum_make(EVP_PKEY *pkey, const struct signing *signing,
                              const struct input *input, uint8_t *signature, size_t *len)
{
    OSSL_PARAM params[3];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t all_len;
    uint8_t *all = representative(signing, input, &all_len);
    const bool ok = EVP_DigestSignInit_ex(ctx, NULL, NULL, libctx, NULL, pkey,
                                          raw_params(signing, params)) == 1 &&
                    EVP_DigestSign(ctx, signature, len, all, all_len) == 1;

    free(all);
    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool post_quantum_check(EVP_PKEY *pkey, const struct signing *signing,
                               const struct input *input, const uint8_t *signature, size_t len)
{
    OSSL_PARAM params[3];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t all_len;
    uint8_t *all = representative(signing, input, &all_len);
    const bool ok = EVP_DigestVerifyInit_ex(ctx, NULL, NULL, libctx, NULL, pkey,
                                            raw_params(signing, params)) == 1 &&
                    EVP_DigestVerify(ctx, signature, len, all, all_len) == 1;

    free(all);
    EVP_MD_CTX_free(ctx);
    return ok;
}

ck_rv_t signature_make(EVP_PKEY *pkey, const struct signing *signing, const uint8_t *data,
                       size_t len, uint8_t *signature, size_t *signature_len)
{
    struct input input;
    ck_rv_t rv = input_take(&input, signing, data, len);

    *signature_len = signature_size(pkey);
    if (rv != CKR_OK)
        return rv;
    if (signing->mechanism->key_type == CKK_EC)
        return ecdsa_make(pkey, &input, signature) ? CKR_OK : CKR_FUNCTION_FAILED;
    return post_quantum_make(pkey, signing, &input, signature, signature_len) ? CKR_OK
                                                                              : CKR_FUNCTION_FAILED;
}

ck_rv_t signature_check(EVP_PKEY *pkey, const struct signing *signing, const uint8_t *data,
                        size_t len, const uint8_t *signature, size_t signature_len)
{
    struct input input;
    ck_rv_t rv = input_take(&input, signing, data, len);
    bool ok;

    if (rv != CKR_OK)
        return rv;
    if (signature_len != signature_size(pkey))
        return CKR_SIGNATURE_LEN_RANGE;
    ok = signing->mechanism->key_type == CKK_EC
             ? ecdsa_check(pkey, &input, signature)
             : post_quantum_check(pkey, signing, &input, signature, signature_len);
    return ok ? CKR_OK : CKR_SIGNATURE_INVALID;
}

bool kem_encapsulate(EVP_PKEY *pkey, uint8_t *ciphertext, size_t *len, uint8_t *secret)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, pkey, NULL);
    size_t secret_len = SECRET_SIZE;
    bool ok;

    *len = CIPHERTEXT_MAX;
    ok = EVP_PKEY_encapsulate_init(ctx, NULL) == 1 &&
         EVP_PKEY_encapsulate(ctx, ciphertext, len, secret, &secret_len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

bool kem_decapsulate(EVP_PKEY *pkey, const uint8_t *ciphertext, size_t len, uint8_t *secret)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, pkey, NULL);
    size_t secret_len = SECRET_SIZE;
    const bool ok = EVP_PKEY_decapsulate_init(ctx, NULL) == 1 &&
                    EVP_PKEY_decapsulate(ctx, secret, &secret_len, ciphertext, len) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}
