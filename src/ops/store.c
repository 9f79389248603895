/* OSSL_STORE loader for the scheme pkcs11: (provider-storemgmt(7)). */
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/params.h>
#include <openssl/store.h>

#include "base/scope.h"
#include "key/delete.h"
#include "key/load.h"
#include "ops/algorithms.h"
#include "ops/ops.h"
#include "ops/params.h"
#include "ops/skey.h"

static OSSL_FUNC_store_open_fn store_open;
static OSSL_FUNC_store_settable_ctx_params_fn store_settable_ctx_params;
static OSSL_FUNC_store_set_ctx_params_fn store_set_ctx_params;
static OSSL_FUNC_store_load_fn store_load;
static OSSL_FUNC_store_eof_fn store_eof;
static OSSL_FUNC_store_close_fn store_close;
static OSSL_FUNC_store_export_object_fn store_export_object;

struct store {
    struct load load;
    bool nothing; /* something is expected that tokens don't have */
    bool end;
};

static int store_close(void *loaderctx)
{
    struct store *store = loaderctx;

    if (store != NULL)
        load_end(&store->load);
    OPENSSL_free(store);
    return 1;
}

/* Secret keys are keys where libcrypto knows such and type= names them, and names elsewhere. */
static void want_any(struct store *store)
{
    CK_OBJECT_CLASS class;
    bool secret = store->load.provider->core.version >= SKEYS_IN_STORES &&
                  uri_class(&store->load.uri, &class) && class == CKO_SECRET_KEY;

    load_want(&store->load, secret ? LOAD_SECRET : LOAD_ANY);
}

static void *store_open(void *provctx, const char *uri)
{
    struct store *store = OPENSSL_zalloc(sizeof(*store));

    if (store == NULL)
        return NULL;
    if (load_begin(&store->load, provctx, uri)) {
        want_any(store);
        return store;
    }
    (void)store_close(store);
    return NULL;
}

static int set_expect(void *vstore, const OSSL_PARAM *p)
{
    struct store *store = vstore;
    static const struct {
        int expect;
        enum load_want want;
    } wants[] = { { OSSL_STORE_INFO_SKEY, LOAD_SECRET },
                  { OSSL_STORE_INFO_PKEY, LOAD_PRIVATE },
                  { OSSL_STORE_INFO_PUBKEY, LOAD_PUBLIC },
                  { OSSL_STORE_INFO_CERT, LOAD_CERTIFICATE } };
    int expect = 0;

    if (!OSSL_PARAM_get_int(p, &expect))
        return 0;
    store->nothing = expect != 0;
    want_any(store);
    for (size_t i = 0; i < COUNT(wants); i++)
        if (wants[i].expect == expect) {
            store->nothing = false;
            load_want(&store->load, wants[i].want);
        }
    return 1;
}

static int set_octets(struct store *store, const OSSL_PARAM *p, enum load_criterion criterion)
{
    const void *value = NULL;
    size_t len = 0;

    return OSSL_PARAM_get_octet_string_ptr(p, &value, &len) &&
           load_search(&store->load, criterion, value, len);
}

static int set_subject(void *store, const OSSL_PARAM *p)
{
    return set_octets(store, p, BY_SUBJECT);
}

static int set_issuer(void *store, const OSSL_PARAM *p)
{
    return set_octets(store, p, BY_ISSUER);
}

/* CKA_SERIAL_NUMBER is a DER INTEGER. */
static int set_serial(void *vstore, const OSSL_PARAM *p)
{
    struct store *store = vstore;
    uint8_t number[64], der[80];
    struct der_writer writer = der_begin(der, sizeof(der));
    BIGNUM *bn = NULL;
    size_t len = 0;

    if (!OSSL_PARAM_get_BN(p, &bn))
        return 0;
    if (BN_num_bytes(bn) <= (int)sizeof(number)) {
        der_unsigned(&writer, (struct view){ number, (size_t)BN_bn2bin(bn, number) });
        len = der_done(&writer);
    }
    BN_free(bn);
    return len != 0 && load_search(&store->load, BY_SERIAL, der, len);
}

static int set_alias(void *vstore, const OSSL_PARAM *p)
{
    struct store *store = vstore;
    const char *alias = NULL;

    return text_param_get(p, &alias) && load_search(&store->load, BY_ALIAS, alias, strlen(alias));
}

#define SETTABLE(ROW)                                                                              \
    ROW(OSSL_STORE_PARAM_EXPECT, int, set_expect, WHOLE)                                           \
    ROW(OSSL_STORE_PARAM_PROPERTIES, utf8_string, param_ignore, WHOLE)                             \
    ROW(OSSL_STORE_PARAM_INPUT_TYPE, utf8_string, param_ignore, WHOLE)                             \
    ROW(OSSL_STORE_PARAM_SUBJECT, octet_string, set_subject, WHOLE)                                \
    ROW(OSSL_STORE_PARAM_ISSUER, octet_string, set_issuer, WHOLE)                                  \
    ROW(OSSL_STORE_PARAM_SERIAL, BN, set_serial, WHOLE)                                            \
    ROW(OSSL_STORE_PARAM_ALIAS, utf8_string, set_alias, WHOLE)

PARAM_SETTERS(setters, SETTABLE);
PARAM_LIST(settable, SETTABLE);

static int store_set_ctx_params(void *loaderctx, const OSSL_PARAM params[])
{
    return params_set(setters, loaderctx, params);
}

static const OSSL_PARAM *store_settable_ctx_params(void *provctx)
{
    (void)provctx;
    return settable;
}

/* libcrypto says "unsupported" of it. */
static int no_certificate(const struct store *store, size_t len)
{
    const struct load *load = &store->load;

    error_raise(&load->provider->core, REASON_KEY,
                "cannot use %s: what is stored as a certificate on the token '%s' (CKA_VALUE, %zu "
                "bytes) is none in DER",
                load->uri.text, load->slot->token.label, len);
    return 0;
}

static int give_certificate(const struct store *store, const struct bytes *der,
                            OSSL_CALLBACK *object_cb, void *object_arg)
{
    int type = OSSL_OBJECT_CERT;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, der->data, der->len),
        OSSL_PARAM_construct_end(),
    };

    return object_cb(params, object_arg) || no_certificate(store, der->len);
}

/* A secret key: libcrypto has the URI, which tells people what is there. */
static int give_name(const char *uri, OSSL_CALLBACK *object_cb, void *object_arg)
{
    int type = OSSL_OBJECT_NAME;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA, (char *)(uintptr_t)uri, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DESC, (char *)"secret key", 0),
        OSSL_PARAM_construct_end(),
    };

    return object_cb(params, object_arg);
}

static int store_load(void *loaderctx, OSSL_CALLBACK *object_cb, void *object_arg,
                      OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_arg)
{
    struct store *store = loaderctx;
    struct passphrase passphrase = { pw_cb, pw_arg };
    _cleanup_(key_scoped) struct key *key = NULL;
    _cleanup_(bytes_clear) struct bytes certificate = { NULL, 0 };

    store->end = store->end || store->nothing;
    if (store->end)
        return 0;
    load_ask(&store->load, passphrase_ask, &passphrase);
    switch (load_next(&store->load, &key, &certificate)) {
    case LOAD_KEY:
        return object_give(key, object_cb, object_arg);
    case LOAD_CERT:
        return give_certificate(store, &certificate, object_cb, object_arg);
    case LOAD_NAME:
        return give_name(store->load.name, object_cb, object_arg);
    default:
        store->end = true;
        return 0;
    }
}

static int store_eof(void *loaderctx)
{
    const struct store *store = loaderctx;

    return store->end;
}

static int store_export_object(void *loaderctx, const void *reference, size_t size,
                               OSSL_CALLBACK *callback, void *arg)
{
    const struct key *key = object_key(reference, size);

    (void)loaderctx;
    return object_export(key, callback, arg);
}

#ifndef OSSL_FUNC_STORE_DELETE /* OpenSSL 3.2 */
#define OSSL_FUNC_STORE_DELETE 9
#endif

static int store_delete(void *provctx, const char *uri, const OSSL_PARAM params[],
                        OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_arg)
{
    struct passphrase passphrase = { pw_cb, pw_arg };
    struct load load;
    bool ok = load_begin(&load, provctx, uri);

    (void)params;
    load_ask(&load, passphrase_ask, &passphrase);
    ok = ok && delete_object(&load);
    load_end(&load);
    return ok;
}

static const OSSL_DISPATCH store_functions[] = {
    { OSSL_FUNC_STORE_OPEN, (void (*)(void))store_open },
    { OSSL_FUNC_STORE_SETTABLE_CTX_PARAMS, (void (*)(void))store_settable_ctx_params },
    { OSSL_FUNC_STORE_SET_CTX_PARAMS, (void (*)(void))store_set_ctx_params },
    { OSSL_FUNC_STORE_LOAD, (void (*)(void))store_load },
    { OSSL_FUNC_STORE_EOF, (void (*)(void))store_eof },
    { OSSL_FUNC_STORE_CLOSE, (void (*)(void))store_close },
    { OSSL_FUNC_STORE_DELETE, (void (*)(void))store_delete },
    { OSSL_FUNC_STORE_EXPORT_OBJECT, (void (*)(void))store_export_object },
    { 0, NULL },
};

const OSSL_ALGORITHM store_algorithms[] = {
    { "pkcs11", PROPERTIES, store_functions,
      "Keys and certificates on PKCS#11 tokens, by RFC 7512 URI" },
    { NULL, NULL, NULL, NULL },
};
