/* OSSL_STORE loader for the scheme pkcs11: (provider-storemgmt(7)). */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/params.h>
#include <openssl/store.h>

#include "key/load.h"
#include "ops/ops.h"
#include "scope.h"

static OSSL_FUNC_store_open_fn store_open;
static OSSL_FUNC_store_settable_ctx_params_fn store_settable_ctx_params;
static OSSL_FUNC_store_set_ctx_params_fn store_set_ctx_params;
static OSSL_FUNC_store_load_fn store_load;
static OSSL_FUNC_store_eof_fn store_eof;
static OSSL_FUNC_store_close_fn store_close;
static OSSL_FUNC_store_export_object_fn store_export_object;

struct store {
    struct load load;
    bool nothing; /* something is expected that is no key */
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

static void *store_open(void *provctx, const char *uri)
{
    struct store *store = OPENSSL_zalloc(sizeof(*store));

    if (store == NULL)
        return NULL;
    if (load_begin(&store->load, provctx, uri))
        return store;
    (void)store_close(store);
    return NULL;
}

static const OSSL_PARAM *store_settable_ctx_params(void *provctx)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_STORE_PARAM_EXPECT, NULL),
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_PROPERTIES, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_INPUT_TYPE, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return params;
}

static int store_set_ctx_params(void *loaderctx, const OSSL_PARAM params[])
{
    struct store *store = loaderctx;
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_EXPECT);
    int expect = 0;

    if (p == NULL)
        return 1;
    if (!OSSL_PARAM_get_int(p, &expect))
        return 0;
    store->nothing =
        expect != 0 && expect != OSSL_STORE_INFO_PKEY && expect != OSSL_STORE_INFO_PUBKEY;
    load_want(&store->load, expect == OSSL_STORE_INFO_PKEY     ? LOAD_PRIVATE
                            : expect == OSSL_STORE_INFO_PUBKEY ? LOAD_PUBLIC
                                                               : LOAD_ANY);
    return 1;
}

static int store_load(void *loaderctx, OSSL_CALLBACK *object_cb, void *object_arg,
                      OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_arg)
{
    struct store *store = loaderctx;
    struct passphrase passphrase = { pw_cb, pw_arg };
    _cleanup_(key_scoped) struct key *key = NULL;

    store->end = store->end || store->nothing;
    if (store->end)
        return 0;
    load_ask(&store->load, passphrase_ask, &passphrase);
    if (load_next(&store->load, &key) == LOAD_KEY)
        return object_give(key, object_cb, object_arg);
    store->end = true;
    return 0;
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
    return key != NULL && key_export(key, OSSL_KEYMGMT_SELECT_ALL, callback, arg);
}

static const OSSL_DISPATCH store_functions[] = {
    { OSSL_FUNC_STORE_OPEN, (void (*)(void))store_open },
    { OSSL_FUNC_STORE_SETTABLE_CTX_PARAMS, (void (*)(void))store_settable_ctx_params },
    { OSSL_FUNC_STORE_SET_CTX_PARAMS, (void (*)(void))store_set_ctx_params },
    { OSSL_FUNC_STORE_LOAD, (void (*)(void))store_load },
    { OSSL_FUNC_STORE_EOF, (void (*)(void))store_eof },
    { OSSL_FUNC_STORE_CLOSE, (void (*)(void))store_close },
    { OSSL_FUNC_STORE_EXPORT_OBJECT, (void (*)(void))store_export_object },
    { 0, NULL },
};

const OSSL_ALGORITHM store_algorithms[] = {
    { "pkcs11", PROPERTIES, store_functions, "Keys on PKCS#11 tokens, by RFC 7512 URI" },
    { NULL, NULL, NULL, NULL },
};
