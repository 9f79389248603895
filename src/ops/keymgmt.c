/* Key management for RSA and EC (provider-keymgmt(7)). One set of functions: what differs between
 * the types is in tables. */
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "key/doubt.h"
#include "key/software.h"
#include "module/call.h"
#include "ops/algorithms.h"
#include "ops/import.h"
#include "ops/keygen.h"
#include "ops/ops.h"
#include "ops/params.h"

static OSSL_FUNC_keymgmt_new_fn rsa_new;
static OSSL_FUNC_keymgmt_new_fn ec_new;
static OSSL_FUNC_keymgmt_gen_init_fn rsa_gen_init;
static OSSL_FUNC_keymgmt_gen_init_fn ec_gen_init;
static OSSL_FUNC_keymgmt_new_fn rsa_pss_new;
static OSSL_FUNC_keymgmt_gen_init_fn rsa_pss_gen_init;
static OSSL_FUNC_keymgmt_gen_settable_params_fn rsa_gen_settable_params;
static OSSL_FUNC_keymgmt_gen_settable_params_fn rsa_pss_gen_settable_params;
static OSSL_FUNC_keymgmt_gen_settable_params_fn ec_gen_settable_params;
static OSSL_FUNC_keymgmt_query_operation_name_fn rsa_pss_operation_name;
static OSSL_FUNC_keymgmt_free_fn keymgmt_free;
static OSSL_FUNC_keymgmt_set_params_fn point_set_params;
static OSSL_FUNC_keymgmt_settable_params_fn point_settable_params;
static OSSL_FUNC_keymgmt_import_types_fn raw_types;
static OSSL_FUNC_keymgmt_get_params_fn signing_get_params;
static OSSL_FUNC_keymgmt_gettable_params_fn signing_gettable_params;
static OSSL_FUNC_keymgmt_get_params_fn agreeing_get_params;
static OSSL_FUNC_keymgmt_gettable_params_fn agreeing_gettable_params;
static OSSL_FUNC_keymgmt_get_params_fn kem_get_params;
static OSSL_FUNC_keymgmt_gettable_params_fn kem_gettable_params;
static OSSL_FUNC_keymgmt_load_fn keymgmt_load;
static OSSL_FUNC_keymgmt_has_fn keymgmt_has;
static OSSL_FUNC_keymgmt_match_fn keymgmt_match;
static OSSL_FUNC_keymgmt_validate_fn keymgmt_validate;
static OSSL_FUNC_keymgmt_import_types_fn rsa_types;
static OSSL_FUNC_keymgmt_import_types_fn ec_types;
static OSSL_FUNC_keymgmt_export_fn keymgmt_export;
static OSSL_FUNC_keymgmt_dup_fn keymgmt_dup;
static OSSL_FUNC_keymgmt_get_params_fn rsa_get_params;
static OSSL_FUNC_keymgmt_get_params_fn ec_get_params;
static OSSL_FUNC_keymgmt_gettable_params_fn rsa_gettable_params;
static OSSL_FUNC_keymgmt_gettable_params_fn ec_gettable_params;
static OSSL_FUNC_keymgmt_query_operation_name_fn rsa_operation_name;
static OSSL_FUNC_keymgmt_query_operation_name_fn ec_operation_name;

static void *rsa_new(void *provctx)
{
    return key_new(provctx, KEY_RSA);
}

static void *ec_new(void *provctx)
{
    return key_new(provctx, KEY_EC);
}

static void *rsa_gen_init(void *provctx, int selection, const OSSL_PARAM params[])
{
    return keygen_init(provctx, KEY_RSA, selection, params);
}

static void *ec_gen_init(void *provctx, int selection, const OSSL_PARAM params[])
{
    return keygen_init(provctx, KEY_EC, selection, params);
}

static const OSSL_PARAM *rsa_gen_settable_params(void *genctx, void *provctx)
{
    (void)genctx;
    (void)provctx;
    return keygen_settable_params(KEY_RSA);
}

static const OSSL_PARAM *ec_gen_settable_params(void *genctx, void *provctx)
{
    (void)genctx;
    (void)provctx;
    return keygen_settable_params(KEY_EC);
}

static void keymgmt_free(void *keydata)
{
    key_free(keydata);
}

static void *keymgmt_load(const void *reference, size_t size)
{
    struct key *key = object_key(reference, size);

    return key != NULL ? key_ref(key) : NULL;
}

static int keymgmt_has(const void *keydata, int selection)
{
    const struct key *key = keydata;

    if (key == NULL)
        return 0;
    if ((selection & OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS) != 0 && key->type == KEY_EC &&
        key->curve == NULL && !key->software)
        return 0;
    if ((selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 && !key_has_public(key))
        return 0;
    return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0 || key_is_private(key);
}

static int keymgmt_match(const void *keydata1, const void *keydata2, int selection)
{
    const struct key *a = keydata1, *b = keydata2;

    if (a->software && b->software)
        return software_matches((struct key *)(uintptr_t)a, (struct key *)(uintptr_t)b, selection);
    if (a->type != b->type || !key_is_meant(a, false) || !key_is_meant(b, false))
        return 0;
    if ((selection & OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS) != 0 && a->curve != b->curve)
        return 0;
    return (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0 || key_same_public(a, b);
}

/* The private half is the token's business. */
static int keymgmt_validate(const void *keydata, int selection, int checktype)
{
    HOST_WORK;
    struct key *key = (struct key *)(uintptr_t)keydata;
    EVP_PKEY *host;
    EVP_PKEY_CTX *ctx;
    int ok;

    if (!keymgmt_has(key, selection) || !key_is_meant(key, false))
        return 0;
    if (key->software)
        return software_validates(key, selection, checktype == OSSL_KEYMGMT_VALIDATE_QUICK_CHECK);
    if (!key_has_public(key)) /* a curve that is known here is one */
        return (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0 && key->curve != NULL;
    host = key_host(key);
    ctx = host != NULL
              ? EVP_PKEY_CTX_new_from_pkey(key->provider->host.libctx, host, HOST_PROPERTIES)
              : NULL;
    ok = ctx != NULL &&
         (checktype == OSSL_KEYMGMT_VALIDATE_QUICK_CHECK ? EVP_PKEY_public_check_quick(ctx)
                                                         : EVP_PKEY_public_check(ctx)) == 1;
    pkey_ctx_release(ctx);
    return ok;
}

static const OSSL_PARAM *raw_types(int selection)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_END,
    };

    return (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 ? types : NULL;
}

static const OSSL_PARAM *rsa_types(int selection)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_END,
    };

    return (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 ? types : NULL;
}

static const OSSL_PARAM *ec_types(int selection)
{
    static const OSSL_PARAM types[] = {
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_END,
    };

    return (selection & (OSSL_KEYMGMT_SELECT_PUBLIC_KEY | OSSL_KEYMGMT_SELECT_ALL_PARAMETERS)) != 0
               ? types
               : NULL;
}

static int keymgmt_export(void *keydata, int selection, OSSL_CALLBACK *callback, void *arg)
{
    return key_export(keydata, selection, callback, arg);
}

/* Of a key on the host. */
static struct key *software_copy(struct key *key, int selection)
{
    HOST_WORK;
    _cleanup_(key_scoped) struct key *copy = key_new(key->provider, key->type);
    const EVP_PKEY *host = key_host(key);

    if (copy == NULL || host == NULL || EVP_PKEY_export(host, selection, import_held, copy) != 1)
        return NULL;
    if (copy->software == SOFTWARE_PAIR)
        copy->software = key->software;
    return MOVE(copy);
}

/* A key on a token does not change, so that a copy is another holder of the same; one that can
 * change, and a copy without the private half, is a new one. */
static void *keymgmt_dup(const void *keydata, int selection)
{
    struct key *key = (struct key *)(uintptr_t)keydata;
    _cleanup_(key_scoped) struct key *copy = NULL;
    bool ok = true;

    if (key->software && ((selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0 ||
                          (key->type == KEY_EC && key->curve == NULL)))
        return software_copy(key, selection);
    if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 && !key_can_change(key))
        return key_ref(key);
    copy = key_new(key->provider, key->type);
    if (copy == NULL)
        return NULL;
    copy->curve = key->curve;
    if ((selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 && key_has_public(key))
        ok = key_set_public(copy, key);
    return ok ? MOVE(copy) : NULL;
}

static int get_bits(const void *vkey, OSSL_PARAM *p)
{
    const struct key *key = vkey;
    return OSSL_PARAM_set_uint(p, key_bits(key));
}

static int get_security_bits(const void *vkey, OSSL_PARAM *p)
{
    const struct key *key = vkey;
    return OSSL_PARAM_set_uint(p, key_security_bits(key));
}

static int get_max_size(const void *vkey, OSSL_PARAM *p)
{
    const struct key *key = vkey;
    return OSSL_PARAM_set_size_t(p, key_signature_max(key));
}

static int get_default_digest(const void *vkey, OSSL_PARAM *p)
{
    const struct key *key = vkey;
    return OSSL_PARAM_set_utf8_string(p, key_digest_name(key));
}

static int get_group(const void *vkey, OSSL_PARAM *p)
{
    const struct key *key = vkey;
    char name[32];

    return key->curve != NULL &&
           OSSL_PARAM_set_utf8_string(p, curve_name(key->curve, name, sizeof(name)));
}

static int get_point(const void *vkey, OSSL_PARAM *p)
{
    const struct key *key = vkey;
    return key->point.data != NULL &&
           OSSL_PARAM_set_octet_string(p, key->point.data, key->point.len);
}

static int get_x(const void *vkey, OSSL_PARAM *p)
{
    const struct key *key = vkey;
    return key->point.data != NULL &&
           number_param_set(p, (struct view){ key->point.data + 1, key->point.len / 2 });
}

static int get_y(const void *vkey, OSSL_PARAM *p)
{
    const struct key *key = vkey;
    size_t half = key->point.len / 2;

    return key->point.data != NULL &&
           number_param_set(p, (struct view){ key->point.data + 1 + half, half });
}

static int get_point_format(const void *key, OSSL_PARAM *p)
{
    (void)key;
    return OSSL_PARAM_set_utf8_string(p, "uncompressed");
}

static int get_encoding(const void *key, OSSL_PARAM *p)
{
    (void)key;
    return OSSL_PARAM_set_utf8_string(p, OSSL_PKEY_EC_ENCODING_GROUP);
}

static int get_field_type(const void *key, OSSL_PARAM *p)
{
    (void)key;
    return OSSL_PARAM_set_utf8_string(p, SN_X9_62_prime_field);
}

/* The curve of key, without a point, in software. */
static EVP_PKEY *group_make(const struct key *key)
{
    char name[32];
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(
            OSSL_PKEY_PARAM_GROUP_NAME,
            (char *)(uintptr_t)curve_name(key->curve, name, sizeof(name)), 0),
        OSSL_PARAM_construct_end(),
    };
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *ctx =
        EVP_PKEY_CTX_new_from_name(key->provider->host.libctx, "EC", HOST_PROPERTIES);
    EVP_PKEY *group = NULL;

    if (ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1)
        (void)EVP_PKEY_fromdata(ctx, &group, EVP_PKEY_KEY_PARAMETERS,
                                (OSSL_PARAM *)(uintptr_t)params);
    return group;
}

/* What the curve's name stands for, as the host answers. */
static int get_of_group(const void *vkey, OSSL_PARAM *p)
{
    HOST_WORK;
    const struct key *key = vkey;
    OSSL_PARAM asked[] = { *p, OSSL_PARAM_construct_end() };
    _cleanup_(pkey_scoped) EVP_PKEY *group =
        key->curve != NULL && !libcrypto_ended() ? group_make(key) : NULL;

    if (group == NULL || EVP_PKEY_get_params(group, asked) != 1)
        return 0;
    p->return_size = asked[0].return_size;
    return 1;
}

static int get_no(const void *vkey, OSSL_PARAM *p)
{
    (void)vkey;
    return OSSL_PARAM_set_int(p, 0);
}

/* Nothing to choose: EdDSA and its like hash by themselves. */
static int get_no_digest(const void *vkey, OSSL_PARAM *p)
{
    (void)vkey;
    return OSSL_PARAM_set_utf8_string(p, "");
}

/* OSSL_PKEY_PARAM_SECURITY_CATEGORY of OpenSSL 3.6 */
#define PARAM_SECURITY_CATEGORY "security-category"

static int get_category(const void *vkey, OSSL_PARAM *p)
{
    const struct key *key = vkey;

    return OSSL_PARAM_set_uint(p, key_has_set(key) ? key_set(key)->category : 0);
}

#define EVERY_GETTABLE(ROW)                                                                        \
    ROW(OSSL_PKEY_PARAM_BITS, int, get_bits, WHOLE)                                                \
    ROW(OSSL_PKEY_PARAM_SECURITY_BITS, int, get_security_bits, WHOLE)                              \
    ROW(OSSL_PKEY_PARAM_MAX_SIZE, int, get_max_size, WHOLE)                                        \
    ROW(PARAM_SECURITY_CATEGORY, int, get_category, WHOLE)

#define RSA_GETTABLE(ROW)                                                                          \
    EVERY_GETTABLE(ROW)                                                                            \
    ROW(OSSL_PKEY_PARAM_DEFAULT_DIGEST, utf8_string, get_default_digest, WHOLE)                    \
    ROW(OSSL_PKEY_PARAM_RSA_N, BN, param_get_number, FIELD(struct key, n, struct bytes))           \
    ROW(OSSL_PKEY_PARAM_RSA_E, BN, param_get_number, FIELD(struct key, e, struct bytes))

#define EC_GETTABLE(ROW)                                                                           \
    EVERY_GETTABLE(ROW)                                                                            \
    ROW(OSSL_PKEY_PARAM_DEFAULT_DIGEST, utf8_string, get_default_digest, WHOLE)                    \
    ROW(OSSL_PKEY_PARAM_GROUP_NAME, utf8_string, get_group, WHOLE)                                 \
    ROW(OSSL_PKEY_PARAM_PUB_KEY, octet_string, get_point, WHOLE)                                   \
    ROW(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, octet_string, get_point, WHOLE)                        \
    ROW(OSSL_PKEY_PARAM_EC_PUB_X, BN, get_x, WHOLE)                                                \
    ROW(OSSL_PKEY_PARAM_EC_PUB_Y, BN, get_y, WHOLE)                                                \
    ROW(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, utf8_string, get_point_format, WHOLE)          \
    ROW(OSSL_PKEY_PARAM_EC_ENCODING, utf8_string, get_encoding, WHOLE)                             \
    ROW(OSSL_PKEY_PARAM_EC_FIELD_TYPE, utf8_string, get_field_type, WHOLE)                         \
    ROW(OSSL_PKEY_PARAM_EC_P, BN, get_of_group, WHOLE)                                             \
    ROW(OSSL_PKEY_PARAM_EC_A, BN, get_of_group, WHOLE)                                             \
    ROW(OSSL_PKEY_PARAM_EC_B, BN, get_of_group, WHOLE)                                             \
    ROW(OSSL_PKEY_PARAM_EC_GENERATOR, octet_string, get_of_group, WHOLE)                           \
    ROW(OSSL_PKEY_PARAM_EC_ORDER, BN, get_of_group, WHOLE)                                         \
    ROW(OSSL_PKEY_PARAM_EC_COFACTOR, BN, get_of_group, WHOLE)                                      \
    ROW(OSSL_PKEY_PARAM_EC_SEED, octet_string, get_of_group, WHOLE)                                \
    ROW(OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, int, get_no, WHOLE)                       \
    ROW(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, int, get_no, WHOLE)

#define RAW_GETTABLE(ROW)                                                                          \
    EVERY_GETTABLE(ROW)                                                                            \
    ROW(OSSL_PKEY_PARAM_PUB_KEY, octet_string, get_point, WHOLE)

/* what signs and hashes by itself, and what others know by its public key */
#define SIGNING_GETTABLE(ROW)                                                                      \
    RAW_GETTABLE(ROW)                                                                              \
    ROW(OSSL_PKEY_PARAM_MANDATORY_DIGEST, utf8_string, get_no_digest, WHOLE)
#define AGREEING_GETTABLE(ROW)                                                                     \
    RAW_GETTABLE(ROW)                                                                              \
    ROW(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, octet_string, get_point, WHOLE)

/* What is the same for all keys of the type, as the host answers. */
static int get_of_host(const void *vkey, OSSL_PARAM *p)
{
    HOST_WORK;
    EVP_PKEY *host = key_host((struct key *)(uintptr_t)vkey);
    OSSL_PARAM asked[] = { *p, OSSL_PARAM_construct_end() };

    if (host == NULL || EVP_PKEY_get_params(host, asked) != 1)
        return 0;
    p->return_size = asked[0].return_size;
    return 1;
}

/* OSSL_PKEY_PARAM_CMS_RI_TYPE, OSSL_PKEY_PARAM_CMS_KEMRI_KDF_ALGORITHM of OpenSSL 3.6 */
#define PARAM_CMS_RI_TYPE   "ri-type"
#define PARAM_CMS_KEMRI_KDF "kemri-kdf-alg"

#define KEM_GETTABLE(ROW)                                                                          \
    AGREEING_GETTABLE(ROW)                                                                         \
    ROW(PARAM_CMS_RI_TYPE, int, get_of_host, WHOLE)                                                \
    ROW(PARAM_CMS_KEMRI_KDF, octet_string, get_of_host, WHOLE)

/* What a key answers: its own table, or all that the host has. */
static int answer(struct key *key, const struct param_getter *getters, OSSL_PARAM params[])
{
    HOST_WORK;

    if (!key->software)
        return params_get(getters, key, params);
    return key_host(key) != NULL && EVP_PKEY_get_params(key_host(key), params) == 1;
}

/* KIND_get_params and KIND_gettable_params */
#define ANSWERS(kind, rows)                                                                        \
    PARAM_GETTERS(kind##_getters, rows);                                                           \
    PARAM_LIST(kind##_gettable, rows);                                                             \
    static int kind##_get_params(void *key, OSSL_PARAM params[])                                   \
    {                                                                                              \
        return answer(key, kind##_getters, params);                                                \
    }                                                                                              \
    static const OSSL_PARAM *kind##_gettable_params(void *provctx)                                 \
    {                                                                                              \
        (void)provctx;                                                                             \
        return kind##_gettable;                                                                    \
    }

ANSWERS(rsa, RSA_GETTABLE)
ANSWERS(ec, EC_GETTABLE)
ANSWERS(signing, SIGNING_GETTABLE)
ANSWERS(agreeing, AGREEING_GETTABLE)
ANSWERS(kem, KEM_GETTABLE)

/* A peer's point, as EVP_PKEY_set1_encoded_public_key brings it after the curve was copied. */
static int set_point(void *key, const OSSL_PARAM *p)
{
    const void *point = NULL;
    size_t len = 0;

    return OSSL_PARAM_get_octet_string_ptr(p, &point, &len) &&
           key_replace_point(key, (struct view){ point, len });
}

#define POINT_SETTABLE(ROW) ROW(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, octet_string, set_point, WHOLE)

PARAM_SETTERS(point_setters, POINT_SETTABLE);
PARAM_LIST(point_settable, POINT_SETTABLE);

/* The form of an EC key's point, and more, where the host has the key. point: and the point of a
 * key on a curve that only the host knows. */
static int software_set_params(struct key *key, const OSSL_PARAM params[], bool point)
{
    HOST_WORK;
    EVP_PKEY *host = key_host(key);

    if (point && !key_can_change(key))
        return 0;
    if (host == NULL || EVP_PKEY_set_params(host, (OSSL_PARAM *)(uintptr_t)params) != 1)
        return 0;
    if (point)
        key->software = SOFTWARE_PUBLIC;
    return 1;
}

static int point_set_params(void *vkey, const OSSL_PARAM params[])
{
    struct key *key = vkey;
    bool point = params != NULL &&
                 OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY) != NULL;

    if (params != NULL && key->software && (!point || key->curve == NULL))
        return software_set_params(key, params, point);
    return params_set(point_setters, key, params);
}

static const OSSL_PARAM *point_settable_params(void *provctx)
{
    (void)provctx;
    return point_settable;
}

static const char *operation_name(enum key_type type, int operation)
{
    switch (operation) {
    case OSSL_OP_SIGNATURE:
        return key_names[type].signature;
    case OSSL_OP_ASYM_CIPHER:
        return key_names[type].asym_cipher;
    case OSSL_OP_KEYEXCH:
        return key_names[type].keyexch;
    case OSSL_OP_KEM:
        return key_names[type].kem;
    default:
        return NULL;
    }
}

static const char *rsa_operation_name(int operation)
{
    return operation_name(KEY_RSA, operation);
}

static void *rsa_pss_new(void *provctx)
{
    return key_new(provctx, KEY_RSA_PSS);
}

static void *rsa_pss_gen_init(void *provctx, int selection, const OSSL_PARAM params[])
{
    return keygen_init(provctx, KEY_RSA_PSS, selection, params);
}

static const OSSL_PARAM *rsa_pss_gen_settable_params(void *genctx, void *provctx)
{
    (void)genctx;
    (void)provctx;
    return keygen_settable_params(KEY_RSA_PSS);
}

static const char *rsa_pss_operation_name(int operation)
{
    return operation_name(KEY_RSA_PSS, operation);
}

static const char *ec_operation_name(int operation)
{
    return operation_name(KEY_EC, operation);
}

#define SHARED                                                                                     \
    { OSSL_FUNC_KEYMGMT_FREE, (void (*)(void))keymgmt_free },                                      \
        { OSSL_FUNC_KEYMGMT_LOAD, (void (*)(void))keymgmt_load },                                  \
        { OSSL_FUNC_KEYMGMT_HAS, (void (*)(void))keymgmt_has },                                    \
        { OSSL_FUNC_KEYMGMT_MATCH, (void (*)(void))keymgmt_match },                                \
        { OSSL_FUNC_KEYMGMT_VALIDATE, (void (*)(void))keymgmt_validate },                          \
        { OSSL_FUNC_KEYMGMT_EXPORT, (void (*)(void))keymgmt_export },                              \
        { OSSL_FUNC_KEYMGMT_DUP, (void (*)(void))keymgmt_dup },                                    \
        { OSSL_FUNC_KEYMGMT_GEN_SET_TEMPLATE, (void (*)(void))keygen_set_template },               \
        { OSSL_FUNC_KEYMGMT_GEN_SET_PARAMS, (void (*)(void))keygen_set_params },                   \
        { OSSL_FUNC_KEYMGMT_GEN, (void (*)(void))keygen_gen },                                     \
    {                                                                                              \
        OSSL_FUNC_KEYMGMT_GEN_CLEANUP, (void (*)(void))keygen_cleanup                              \
    }

#define RSA_FUNCTIONS(name)                                                                        \
    static const OSSL_DISPATCH name##_functions[] = {                                              \
        SHARED,                                                                                    \
        { OSSL_FUNC_KEYMGMT_NEW, (void (*)(void))name##_new },                                     \
        { OSSL_FUNC_KEYMGMT_GEN_INIT, (void (*)(void))name##_gen_init },                           \
        { OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS, (void (*)(void))name##_gen_settable_params },     \
        { OSSL_FUNC_KEYMGMT_IMPORT, (void (*)(void))keymgmt_import },                              \
        { OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (void (*)(void))rsa_types },                             \
        { OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (void (*)(void))rsa_types },                             \
        { OSSL_FUNC_KEYMGMT_GET_PARAMS, (void (*)(void))rsa_get_params },                          \
        { OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (void (*)(void))rsa_gettable_params },                \
        { OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (void (*)(void))name##_operation_name },         \
        { 0, NULL },                                                                               \
    }

RSA_FUNCTIONS(rsa);
RSA_FUNCTIONS(rsa_pss);

static const OSSL_DISPATCH ec_functions[] = {
    SHARED,
    { OSSL_FUNC_KEYMGMT_NEW, (void (*)(void))ec_new },
    { OSSL_FUNC_KEYMGMT_GEN_INIT, (void (*)(void))ec_gen_init },
    { OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS, (void (*)(void))ec_gen_settable_params },
    { OSSL_FUNC_KEYMGMT_IMPORT, (void (*)(void))keymgmt_import },
    { OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (void (*)(void))ec_types },
    { OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (void (*)(void))ec_types },
    { OSSL_FUNC_KEYMGMT_GET_PARAMS, (void (*)(void))ec_get_params },
    { OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (void (*)(void))ec_gettable_params },
    { OSSL_FUNC_KEYMGMT_SET_PARAMS, (void (*)(void))point_set_params },
    { OSSL_FUNC_KEYMGMT_SETTABLE_PARAMS, (void (*)(void))point_settable_params },
    { OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (void (*)(void))ec_operation_name },
    { 0, NULL },
};

/* params: whose parameters they have */
#define RAW_TYPE(name, key_type, params)                                                           \
    static void *name##_new(void *provctx)                                                         \
    {                                                                                              \
        return key_new(provctx, key_type);                                                         \
    }                                                                                              \
    static void *name##_gen_init(void *provctx, int selection, const OSSL_PARAM params[])          \
    {                                                                                              \
        return keygen_init(provctx, key_type, selection, params);                                  \
    }                                                                                              \
    static const OSSL_PARAM *name##_gen_settable_params(void *genctx, void *provctx)               \
    {                                                                                              \
        (void)genctx;                                                                              \
        (void)provctx;                                                                             \
        return keygen_settable_params(key_type);                                                   \
    }                                                                                              \
    static const char *name##_operation_name(int operation)                                        \
    {                                                                                              \
        return operation_name(key_type, operation);                                                \
    }                                                                                              \
    static const OSSL_DISPATCH name##_functions[] = {                                              \
        SHARED,                                                                                    \
        { OSSL_FUNC_KEYMGMT_NEW, (void (*)(void))name##_new },                                     \
        { OSSL_FUNC_KEYMGMT_GEN_INIT, (void (*)(void))name##_gen_init },                           \
        { OSSL_FUNC_KEYMGMT_GEN_SETTABLE_PARAMS, (void (*)(void))name##_gen_settable_params },     \
        { OSSL_FUNC_KEYMGMT_IMPORT, (void (*)(void))keymgmt_import },                              \
        { OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (void (*)(void))raw_types },                             \
        { OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (void (*)(void))raw_types },                             \
        { OSSL_FUNC_KEYMGMT_GET_PARAMS, (void (*)(void))params##_get_params },                     \
        { OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (void (*)(void))params##_gettable_params },           \
        { OSSL_FUNC_KEYMGMT_SET_PARAMS, (void (*)(void))point_set_params },                        \
        { OSSL_FUNC_KEYMGMT_SETTABLE_PARAMS, (void (*)(void))point_settable_params },              \
        { OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (void (*)(void))name##_operation_name },         \
        { 0, NULL },                                                                               \
    }

RAW_TYPE(ed25519, KEY_ED25519, signing);
RAW_TYPE(ed448, KEY_ED448, signing);
RAW_TYPE(x25519, KEY_X25519, agreeing);
RAW_TYPE(x448, KEY_X448, agreeing);

#define SIGN_TYPE(id, ...) RAW_TYPE(id, (enum key_type)(KEY_SET + SET_##id), signing);
#define KEM_TYPE(id, ...)  RAW_TYPE(id, (enum key_type)(KEY_SET + SET_##id), kem);
SET_ROWS_SIGN(SIGN_TYPE)
SET_ROWS_KEM(KEM_TYPE)

#define CLASSICAL                                                                                  \
    { "RSA:rsaEncryption:1.2.840.113549.1.1.1", PROPERTIES, rsa_functions, "RSA keys on tokens" }, \
        { "RSA-PSS:RSASSA-PSS:1.2.840.113549.1.1.10", PROPERTIES, rsa_pss_functions,               \
          "RSA keys for PSS alone on tokens" },                                                    \
        { "EC:id-ecPublicKey:1.2.840.10045.2.1", PROPERTIES, ec_functions, "EC keys on tokens" },  \
        { "ED25519:1.3.101.112", PROPERTIES, ed25519_functions, "Ed25519 keys on tokens" },        \
        { "ED448:1.3.101.113", PROPERTIES, ed448_functions, "Ed448 keys on tokens" },              \
        { "X25519:1.3.101.110", PROPERTIES, x25519_functions, "X25519 keys on tokens" },           \
    {                                                                                              \
        "X448:1.3.101.111", PROPERTIES, x448_functions, "X448 keys on tokens"                      \
    }

#define SET_ALGORITHM(id, algorithm, number, name, others, a, b, ...)                              \
    { SET_NAMES(name, others, a, b), PROPERTIES, id##_functions, name " keys on tokens" },

const OSSL_ALGORITHM keymgmt_algorithms[] = { CLASSICAL, { NULL, NULL, NULL, NULL } };

const OSSL_ALGORITHM keymgmt_algorithms_3_5[] = {
    CLASSICAL,
    SET_ROWS(SET_ALGORITHM){ NULL, NULL, NULL, NULL },
};
