/* Decoders for the URI in PEM (der/pem_uri.h): one takes off the PEM, the others, one for each key
 * type that an application may ask for by name, open the URI. */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/params.h>

#include "base/scope.h"
#include "der/pem_uri.h"
#include "key/doubt.h"
#include "key/load.h"
#include "ops/algorithms.h"
#include "ops/corebio.h"
#include "ops/ops.h"
#include "pkcs11_bridge.h"

#define STRUCTURE "pk11-uri"

static OSSL_FUNC_decoder_newctx_fn decoder_newctx;
static OSSL_FUNC_decoder_freectx_fn decoder_freectx;
static OSSL_FUNC_decoder_does_selection_fn decoder_does_selection;
static OSSL_FUNC_decoder_decode_fn pem_decode;
static OSSL_FUNC_decoder_decode_fn uri_decode;
static OSSL_FUNC_decoder_export_object_fn decoder_export_object;

/* There is no state between calls: the context is the provider. */
static void *decoder_newctx(void *provctx)
{
    return provctx;
}

static void decoder_freectx(void *ctx)
{
    (void)ctx;
}

static int decoder_does_selection(void *provctx, int selection)
{
    (void)provctx;
    return selection == 0 || (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0;
}

static char *uri_text(const struct bytes *der)
{
    struct view uri;

    return pem_uri_read(view_bytes(der), &uri) ? secret_text((const char *)uri.data, uri.len)
                                               : NULL;
}

static bool names_certificate(const char *text)
{
    _cleanup_(uri_clear) struct uri uri = { 0 };
    CK_OBJECT_CLASS class;
    char why[512];

    return uri_parse(text, true, &uri, why, sizeof(why)) && uri_class(&uri, &class) &&
           class == CKO_CERTIFICATE;
}

/* Puts the certificate in the place of its URI. */
static bool certificate_read(struct provider *provider, const char *text, struct bytes *der,
                             struct passphrase *passphrase)
{
    struct key *none = NULL;
    struct load load;
    bool ok = load_begin(&load, provider, text);

    bytes_wipe(der);
    load_want(&load, LOAD_CERTIFICATE);
    load_ask(&load, passphrase_ask, passphrase);
    ok = ok && load_next(&load, &none, der) == LOAD_CERT;
    load_end(&load);
    return ok;
}

/* Nothing of it is told: it may be a piece of a PIN. */
static int damaged(const struct provider *provider)
{
    error_raise(&provider->core, REASON_URI,
                "the PEM \"" PKCS11_BRIDGE_PEM_LABEL "\" is damaged, or longer than any URI: write "
                "it anew (openssl pkey -in pkcs11:... -out)");
    return 0;
}

static int no_certificate(const struct provider *provider, size_t len)
{
    error_raise(
        &provider->core, REASON_KEY,
        "what is stored as the certificate that a URI in PEM names (CKA_VALUE, %zu bytes) is "
        "none in DER",
        len);
    return 0;
}

/* There is no decoder for certificates: libcrypto reads their DER by itself, where it is not after
 * a key. So this one hands it on. */
static int pem_decode(void *ctx, OSSL_CORE_BIO *in, int selection, OSSL_CALLBACK *data_cb,
                      void *data_arg, OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_arg)
{
    struct passphrase passphrase = { pw_cb, pw_arg };
    _cleanup_(bytes_wipe) struct bytes der = { NULL, 0 };
    _cleanup_(secret_text_scoped) char *text = NULL;
    char structure[] = STRUCTURE, certificate[] = "Certificate";
    bool whole;
    OSSL_PARAM params[3];

    if (!corebio_read_pem(ctx, in, PKCS11_BRIDGE_PEM_LABEL, &der))
        return 0;
    if (der.data == NULL)
        return 1; /* not ours: others may try */
    text = uri_text(&der);
    if (text == NULL)
        return damaged(ctx);
    whole = selection == 0 && names_certificate(text);
    if (whole && !certificate_read(ctx, text, &der, &passphrase))
        return 0;
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, der.data, der.len);
    params[1] = OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE,
                                                 whole ? certificate : structure, 0);
    params[2] = OSSL_PARAM_construct_end();
    if (data_cb(params, data_arg))
        return 1;
    return whole ? no_certificate(ctx, der.len) : 0;
}

/* What a key is looked for as: with nothing selected, as what the URI says. */
static enum load_want wanted(int selection)
{
    if (selection == 0)
        return LOAD_ANY;
    return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 ? LOAD_PRIVATE : LOAD_PUBLIC;
}

static bool next_key(struct load *load, struct key **key)
{
    enum load_result result;

    do {
        _cleanup_(bytes_clear) struct bytes certificate = { NULL, 0 };

        result = load_next(load, key, &certificate);
    } while (result == LOAD_CERT || result == LOAD_NAME);
    return result == LOAD_KEY;
}

static int uri_open(struct provider *provider, const char *uri, int selection,
                    OSSL_CALLBACK *data_cb, void *data_arg, struct passphrase *passphrase)
{
    _cleanup_(key_scoped) struct key *key = NULL;
    struct load load;
    bool ok = load_begin(&load, provider, uri);

    load_want(&load, wanted(selection));
    load_ask(&load, passphrase_ask, passphrase);
    ok = ok && next_key(&load, &key);
    load_end(&load);
    return ok && key_is_meant(key, true) && object_give(key, data_cb, data_arg);
}

/* Zero stops the search for a decoder: it is said for our own structure alone, whose errors are
 * then the ones to report. */
static int uri_decode(void *ctx, OSSL_CORE_BIO *in, int selection, OSSL_CALLBACK *data_cb,
                      void *data_arg, OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_arg)
{
    struct provider *provider = ctx;
    struct passphrase passphrase = { pw_cb, pw_arg };
    _cleanup_(bytes_wipe) struct bytes der = { NULL, 0 };
    _cleanup_(secret_text_scoped) char *text = NULL;

    if (!corebio_read_all(provider, in, &der))
        return 1;
    text = uri_text(&der);
    if (text == NULL)
        return 1;
    return uri_open(provider, text, selection, data_cb, data_arg, &passphrase);
}

static int decoder_export_object(void *ctx, const void *reference, size_t size,
                                 OSSL_CALLBACK *callback, void *arg)
{
    const struct key *key = object_key(reference, size);

    (void)ctx;
    return object_export(key, callback, arg);
}

static const OSSL_DISPATCH pem_functions[] = {
    { OSSL_FUNC_DECODER_NEWCTX, (void (*)(void))decoder_newctx },
    { OSSL_FUNC_DECODER_FREECTX, (void (*)(void))decoder_freectx },
    { OSSL_FUNC_DECODER_DECODE, (void (*)(void))pem_decode },
    { 0, NULL },
};

static const OSSL_DISPATCH uri_functions[] = {
    { OSSL_FUNC_DECODER_NEWCTX, (void (*)(void))decoder_newctx },
    { OSSL_FUNC_DECODER_FREECTX, (void (*)(void))decoder_freectx },
    { OSSL_FUNC_DECODER_DOES_SELECTION, (void (*)(void))decoder_does_selection },
    { OSSL_FUNC_DECODER_DECODE, (void (*)(void))uri_decode },
    { OSSL_FUNC_DECODER_EXPORT_OBJECT, (void (*)(void))decoder_export_object },
    { 0, NULL },
};

#define PEM_PROPERTIES PROPERTIES ",input=pem"
#define URI_PROPERTIES PROPERTIES ",input=der,structure=" STRUCTURE

#define CLASSICAL                                                                                  \
    { "DER", PEM_PROPERTIES, pem_functions, "PEM with a pkcs11: URI" },                            \
        { "RSA", URI_PROPERTIES, uri_functions, "pkcs11: URI of an RSA key" },                     \
        { "RSA-PSS", URI_PROPERTIES, uri_functions, "pkcs11: URI of an RSA-PSS key" },             \
        { "EC", URI_PROPERTIES, uri_functions, "pkcs11: URI of an EC key" },                       \
        { "ED25519", URI_PROPERTIES, uri_functions, "pkcs11: URI of an Ed25519 key" },             \
        { "ED448", URI_PROPERTIES, uri_functions, "pkcs11: URI of an Ed448 key" },                 \
        { "X25519", URI_PROPERTIES, uri_functions, "pkcs11: URI of an X25519 key" },               \
    {                                                                                              \
        "X448", URI_PROPERTIES, uri_functions, "pkcs11: URI of an X448 key"                        \
    }

#define SET_DECODER(id, algorithm, number, name, ...)                                              \
    { name, URI_PROPERTIES, uri_functions, "pkcs11: URI of a key of " name },

const OSSL_ALGORITHM decoder_algorithms[] = { CLASSICAL, { NULL, NULL, NULL, NULL } };

const OSSL_ALGORITHM decoder_algorithms_3_5[] = {
    CLASSICAL,
    SET_ROWS(SET_DECODER){ NULL, NULL, NULL, NULL },
};
