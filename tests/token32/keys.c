/* Keys that are made, encapsulated and decapsulated; random numbers. */
#include "token32.h"

#include <stdlib.h>
#include <string.h>

/* A new key of a template, as it is before its numbers are there. */
static struct object *key_new(ck_object_class_t class, ck_key_type_t type,
                              const struct ck_attribute *templ, unsigned long count)
{
    struct object *object = object_new();

    object_set_all(object, templ, count);
    object_set_ulong(object, CKA_CLASS, class);
    object_set_ulong(object, CKA_KEY_TYPE, type);
    object_set_bool(object, CKA_LOCAL, true);
    set_defaults(object);
    return object;
}

static ck_rv_t pair_fill(ck_key_type_t type, struct object *public_key, struct object *private_key)
{
    TRY(pair_generate(type, public_key, private_key));
    object_set_public_key_info(public_key);
    object_set_public_key_info(private_key);
    return CKR_OK;
}

static ck_rv_t pair_make(const struct session *session, ck_key_type_t type,
                         struct object *public_key, struct object *private_key,
                         ck_object_handle_t *public_handle, ck_object_handle_t *private_handle)
{
    ck_rv_t rv = may_make(session, private_key);

    if (rv == CKR_OK)
        rv = may_make(session, public_key);
    if (rv == CKR_OK)
        rv = pair_fill(type, public_key, private_key);
    if (rv != CKR_OK) {
        object_free(public_key);
        object_free(private_key);
        return rv;
    }
    TRY(keep(session, public_key, public_handle));
    return keep(session, private_key, private_handle);
}

ck_rv_t C_GenerateKeyPair(ck_session_handle_t handle, struct ck_mechanism *given,
                          struct ck_attribute *public_template, unsigned long public_count,
                          struct ck_attribute *private_template, unsigned long private_count,
                          ck_object_handle_t *public_handle, ck_object_handle_t *private_handle)
{
    const struct mechanism *mechanism;
    ck_key_type_t type;

    ENTER_SESSION(session, handle);
    mechanism = mechanism_for(given, CKF_GENERATE_KEY_PAIR);
    if (mechanism == NULL)
        return CKR_MECHANISM_INVALID;
    type = mechanism->key_type;
    return pair_make(session, type, key_new(CKO_PUBLIC_KEY, type, public_template, public_count),
                     key_new(CKO_PRIVATE_KEY, type, private_template, private_count), public_handle,
                     private_handle);
}

static bool secrets_are(const char *how)
{
    const char *set = getenv("TOKEN32_SECRETS");

    return set != NULL && strcmp(set, how) == 0;
}

/* Keeps a secret key of this template and value. */
static ck_rv_t secret_keep(const struct session *session, const struct ck_attribute *templ,
                           unsigned long count, const uint8_t *secret, ck_object_handle_t *handle)
{
    struct object *object = key_new(CKO_SECRET_KEY, CKK_GENERIC_SECRET, templ, count);
    const ck_key_type_t type = CKK_GENERIC_SECRET;

    for (unsigned long i = 0; i < count; i++) /* it may be another, CKK_AES */
        if (templ[i].type == CKA_KEY_TYPE && templ[i].value_len == sizeof(type))
            object_set(object, CKA_KEY_TYPE, templ[i].value, templ[i].value_len);
    object_set(object, CKA_VALUE, secret, SECRET_SIZE);
    object_set_ulong(object, CKA_VALUE_LEN, SECRET_SIZE);
    if (secrets_are("refuse") && !is_hidden(object, CKA_VALUE)) {
        object_free(object);
        return CKR_TEMPLATE_INCONSISTENT;
    }
    if (secrets_are("keep"))
        object_set_bool(object, CKA_SENSITIVE, true);
    return keep(session, object, handle);
}

static ck_rv_t kem_key(const struct ck_mechanism *given, ck_object_handle_t key, bool encapsulates,
                       EVP_PKEY **pkey)
{
    const struct mechanism *mechanism =
        mechanism_for(given, encapsulates ? CKF_ENCAPSULATE : CKF_DECAPSULATE);

    if (mechanism == NULL)
        return CKR_MECHANISM_INVALID;
    if (given->parameter_len != 0)
        return CKR_MECHANISM_PARAM_INVALID;
    return key_for(mechanism, key, encapsulates ? CKA_ENCAPSULATE : CKA_DECAPSULATE, pkey);
}

ck_rv_t C_EncapsulateKey(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                         ck_object_handle_t public_key, struct ck_attribute *templ,
                         unsigned long count, unsigned char *ciphertext, unsigned long *len,
                         ck_object_handle_t *key)
{
    const unsigned long room = *len;
    uint8_t made[CIPHERTEXT_MAX], secret[SECRET_SIZE];
    size_t made_len;
    EVP_PKEY *pkey;

    ENTER_SESSION(session, handle);
    TRY(kem_key(mechanism, public_key, true, &pkey));
    if (!kem_encapsulate(pkey, made, &made_len, secret))
        return CKR_FUNCTION_FAILED;
    *len = made_len;
    if (ciphertext == NULL || room < made_len)
        return ciphertext == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL;
    memcpy(ciphertext, made, made_len);
    return secret_keep(session, templ, count, secret, key);
}

ck_rv_t C_DecapsulateKey(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                         ck_object_handle_t private_key, struct ck_attribute *templ,
                         unsigned long count, unsigned char *ciphertext, unsigned long len,
                         ck_object_handle_t *key)
{
    uint8_t secret[SECRET_SIZE];
    EVP_PKEY *pkey;

    ENTER_SESSION(session, handle);
    TRY(kem_key(mechanism, private_key, false, &pkey));
    if (!kem_decapsulate(pkey, ciphertext, len, secret))
        return CKR_WRAPPED_KEY_LEN_RANGE;
    return secret_keep(session, templ, count, secret, key);
}

ck_rv_t C_SeedRandom(ck_session_handle_t handle, unsigned char *seed, unsigned long len)
{
    (void)seed;
    (void)len;
    ENTER_SESSION(session, handle);
    return CKR_RANDOM_SEED_NOT_SUPPORTED;
}

ck_rv_t C_GenerateRandom(ck_session_handle_t handle, unsigned char *out, unsigned long len)
{
    ENTER_SESSION(session, handle);
    return crypto_random(out, len) ? CKR_OK : CKR_FUNCTION_FAILED;
}
