/* Management of secret keys (provider-skeymgmt(7)): a token's key by its URI, keys that the token
 * makes, and bytes that become a session object. */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/scope.h"
#include "key/secret.h"
#include "ops/algorithms.h"
#include "ops/arrival.h"
#include "ops/ops.h"
#include "ops/params.h"
#include "ops/skey.h"
#include "pkcs11_bridge.h"

static OSSL_FUNC_skeymgmt_free_fn skeymgmt_free;
static OSSL_FUNC_skeymgmt_export_fn skeymgmt_export;
static OSSL_FUNC_skeymgmt_get_key_id_fn skeymgmt_get_key_id;
static OSSL_FUNC_skeymgmt_imp_settable_params_fn skeymgmt_imp_settable_params;
static OSSL_FUNC_skeymgmt_gen_settable_params_fn skeymgmt_gen_settable_params;
static OSSL_FUNC_skeymgmt_import_fn aes_import;
static OSSL_FUNC_skeymgmt_import_fn generic_import;
static OSSL_FUNC_skeymgmt_generate_fn aes_generate;
static OSSL_FUNC_skeymgmt_generate_fn generic_generate;

/* What the caller says of a key. */
struct wish {
    struct secret_order order;
    char *uri;         /* secret_text: it may have a PIN in it */
    struct key *given; /* by the store */
    struct arrival arrival;
};

static void wish_clear(struct wish *wish)
{
    secret_text_free(wish->uri);
    arrival_clear(&wish->arrival);
}

static int set_uri(void *vwish, const OSSL_PARAM *p)
{
    struct wish *wish = vwish;
    const char *uri = NULL;

    secret_text_free(MOVE(wish->uri));
    if (text_param_get(p, &uri))
        wish->uri = secret_text(
            uri, p->data_type == OSSL_PARAM_UTF8_PTR ? strlen(uri) : strnlen(uri, p->data_size));
    wish->order.uri = wish->uri;
    return wish->uri != NULL;
}

static int set_value(void *vwish, const OSSL_PARAM *p)
{
    struct wish *wish = vwish;
    const void *value = NULL;
    size_t len = 0;

    if (!OSSL_PARAM_get_octet_string_ptr(p, &value, &len) || value == NULL)
        return 0;
    wish->order.value = (struct view){ value, len };
    return 1;
}

/* The store's (OpenSSL 4.0). */
static int set_reference(void *vwish, const OSSL_PARAM *p)
{
    struct wish *wish = vwish;
    const void *reference = NULL;
    size_t size = 0;
    struct key *key;

    if (!OSSL_PARAM_get_octet_string_ptr(p, &reference, &size))
        return 0;
    key = object_key(reference, size);
    wish->given = object_is_given(key) ? key : NULL;
    return wish->given != NULL;
}

static int set_if_exists(void *vwish, const OSSL_PARAM *p)
{
    struct wish *wish = vwish;
    const char *text = NULL;

    if (!text_param_get(p, &text))
        return 0;
    wish->order.add = strcmp(text, "add") == 0;
    return wish->order.add || strcmp(text, "error") == 0 ||
           refuse(wish->order.provider, "pkcs11_if_exists may be error or add, not", text);
}

#define IMPORT_SETTABLE(ROW)                                                                       \
    ROW(PKCS11_BRIDGE_KEYGEN_URI, utf8_string, set_uri, WHOLE)                                     \
    ROW(OSSL_SKEY_PARAM_RAW_BYTES, octet_string, set_value, WHOLE)

#define GENERATE_SETTABLE(ROW)                                                                     \
    ROW(PKCS11_BRIDGE_KEYGEN_URI, utf8_string, set_uri, WHOLE)                                     \
    ROW(PKCS11_BRIDGE_KEYGEN_IF_EXISTS, utf8_string, set_if_exists, WHOLE)                         \
    ROW(OSSL_SKEY_PARAM_KEY_LENGTH, size_t, param_set_size, FIELD(struct wish, order.len, size_t))

#define IMPORT_SETTERS(ROW)                                                                        \
    IMPORT_SETTABLE(ROW)                                                                           \
    ROW(OSSL_OBJECT_PARAM_REFERENCE, octet_ptr, set_reference, WHOLE)

PARAM_SETTERS(import_setters, IMPORT_SETTERS);
PARAM_SETTERS(generate_setters, GENERATE_SETTABLE);
PARAM_LIST(import_settable, IMPORT_SETTABLE);
PARAM_LIST(generate_settable, GENERATE_SETTABLE);

static const OSSL_PARAM *skeymgmt_imp_settable_params(void *provctx)
{
    (void)provctx;
    return import_settable;
}

static const OSSL_PARAM *skeymgmt_gen_settable_params(void *provctx)
{
    (void)provctx;
    return generate_settable;
}

static void wish_begin(struct wish *wish, void *provctx, enum secret_kind_id kind)
{
    *wish = (struct wish){ .order = { .provider = provctx,
                                      .kind = &secret_kinds[kind],
                                      .len = secret_kinds[kind].default_len } };
}

static struct key *unwrap(struct wish *wish)
{
    wish->order.way = arrival_way(&wish->arrival);
    wish->order.add = wish->arrival.add;
    wish->order.extractable = wish->arrival.extractable;
    return wish->order.way != NULL ? secret_key_make(&wish->order) : NULL;
}

/* A key has a place on a token, or bytes; wrapped, it has both. */
static void *arrive(void *provctx, enum secret_kind_id kind, const OSSL_PARAM params[])
{
    _cleanup_(wish_clear) struct wish wish;
    const struct secret_order *order = &wish.order;

    wish_begin(&wish, provctx, kind);
    if (!params_set(import_setters, &wish, params) || !arrival_read(&wish.arrival, provctx, params))
        return NULL;
    if (wish.given != NULL)
        return key_ref(wish.given);
    if (wish.arrival.wrapped.data != NULL)
        return unwrap(&wish);
    if ((order->uri == NULL) == (order->value.data == NULL)) {
        (void)refuse(provctx, "a secret key is imported by one of", "pkcs11_uri, raw-bytes");
        return NULL;
    }
    return order->uri != NULL ? secret_key_open(provctx, order->kind, order->uri)
                              : secret_key_make(order);
}

static void *generate(void *provctx, enum secret_kind_id kind, const OSSL_PARAM params[])
{
    _cleanup_(wish_clear) struct wish wish;

    wish_begin(&wish, provctx, kind);
    return params_set(generate_setters, &wish, params) ? secret_key_make(&wish.order) : NULL;
}

static void *aes_import(void *provctx, int selection, const OSSL_PARAM params[])
{
    (void)selection;
    return arrive(provctx, SECRET_AES, params);
}

static void *generic_import(void *provctx, int selection, const OSSL_PARAM params[])
{
    (void)selection;
    return arrive(provctx, SECRET_GENERIC, params);
}

static void *aes_generate(void *provctx, const OSSL_PARAM params[])
{
    return generate(provctx, SECRET_AES, params);
}

static void *generic_generate(void *provctx, const OSSL_PARAM params[])
{
    return generate(provctx, SECRET_GENERIC, params);
}

static void skeymgmt_free(void *key)
{
    key_free(key);
}

static int skeymgmt_export(void *key, int selection, OSSL_CALLBACK *callback, void *arg)
{
    struct view value;
    OSSL_PARAM params[2];

    if ((selection & OSSL_SKEYMGMT_SELECT_SECRET_KEY) == 0 || !secret_key_export(key, &value))
        return 0;
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_SKEY_PARAM_RAW_BYTES,
                                                  (void *)(uintptr_t)value.data, value.len);
    params[1] = OSSL_PARAM_construct_end();
    return callback(params, arg);
}

static const char *skeymgmt_get_key_id(void *key)
{
    KEEP_ERRNO;
    return secret_key_uri(key);
}

const struct secret_kind *skey_kind(const char *type)
{
    bool aes = OPENSSL_strcasecmp(type, secret_kinds[SECRET_AES].name) == 0;

    return &secret_kinds[aes ? SECRET_AES : SECRET_GENERIC];
}

void *skey_import_bytes(OSSL_FUNC_skeymgmt_import_fn *import, void *provctx, struct view bytes)
{
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(OSSL_SKEY_PARAM_RAW_BYTES,
                                                                    (void *)(uintptr_t)bytes.data,
                                                                    bytes.len),
                                  OSSL_PARAM_construct_end() };

    return import(provctx, OSSL_SKEYMGMT_SELECT_SECRET_KEY, params);
}

#define FUNCTIONS(import, generate)                                                                \
    {                                                                                              \
        { OSSL_FUNC_SKEYMGMT_FREE, (void (*)(void))skeymgmt_free },                                \
            { OSSL_FUNC_SKEYMGMT_IMPORT, (void (*)(void))import },                                 \
            { OSSL_FUNC_SKEYMGMT_EXPORT, (void (*)(void))skeymgmt_export },                        \
            { OSSL_FUNC_SKEYMGMT_GENERATE, (void (*)(void))generate },                             \
            { OSSL_FUNC_SKEYMGMT_GET_KEY_ID, (void (*)(void))skeymgmt_get_key_id },                \
            { OSSL_FUNC_SKEYMGMT_IMP_SETTABLE_PARAMS,                                              \
              (void (*)(void))skeymgmt_imp_settable_params },                                      \
            { OSSL_FUNC_SKEYMGMT_GEN_SETTABLE_PARAMS,                                              \
              (void (*)(void))skeymgmt_gen_settable_params },                                      \
            { 0, NULL },                                                                           \
    }

static const OSSL_DISPATCH aes_functions[] = FUNCTIONS(aes_import, aes_generate);
static const OSSL_DISPATCH generic_functions[] = FUNCTIONS(generic_import, generic_generate);

const OSSL_ALGORITHM skeymgmt_algorithms[] = {
    { "AES", PROPERTIES, aes_functions, "AES keys on tokens" },
    { "GENERIC-SECRET", PROPERTIES, generic_functions, "Secret keys on tokens" },
    { NULL, NULL, NULL, NULL },
};
