/* Encoders (provider-encoder(7)): the public half as SubjectPublicKeyInfo and PKCS#1, a private key
 * as the URI that leads to it, and either as text. A software key is written by the host's
 * encoders, as what it is. */
#include <stdio.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/encoder.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "der/pem_uri.h"
#include "der/spki.h"
#include "key/doubt.h"
#include "module/call.h"
#include "ops/algorithms.h"
#include "ops/corebio.h"
#include "ops/ops.h"
#include "ops/params.h"
#include "pkcs11_bridge.h"

static OSSL_FUNC_encoder_newctx_fn encoder_newctx;
static OSSL_FUNC_encoder_freectx_fn encoder_freectx;
static OSSL_FUNC_encoder_settable_ctx_params_fn encoder_settable_ctx_params;
static OSSL_FUNC_encoder_set_ctx_params_fn encoder_set_ctx_params;
static OSSL_FUNC_encoder_does_selection_fn public_does_selection;
static OSSL_FUNC_encoder_does_selection_fn private_does_selection;
static OSSL_FUNC_encoder_does_selection_fn text_does_selection;

struct encoder {
    struct provider *provider;
    char *cipher; /* for a software key's private half; or NULL */
};

static void *encoder_newctx(void *provctx)
{
    struct encoder *ctx = OPENSSL_zalloc(sizeof(*ctx));

    if (ctx != NULL)
        ctx->provider = provctx;
    return ctx;
}

static void encoder_freectx(void *vctx)
{
    struct encoder *ctx = vctx;

    if (ctx == NULL)
        return;
    OPENSSL_free(ctx->cipher);
    OPENSSL_free(ctx);
}

static int set_cipher(void *vctx, const OSSL_PARAM *p)
{
    struct encoder *ctx = vctx;
    const char *name = NULL;

    OPENSSL_free(MOVE(ctx->cipher));
    return p->data == NULL ||
           (text_param_get(p, &name) && (ctx->cipher = OPENSSL_strdup(name)) != NULL);
}

#define SETTABLE(ROW)                                                                              \
    ROW(OSSL_ENCODER_PARAM_CIPHER, utf8_string, set_cipher, WHOLE)                                 \
    ROW(OSSL_ENCODER_PARAM_PROPERTIES, utf8_string, param_ignore, WHOLE)

PARAM_SETTERS(setters, SETTABLE);
PARAM_LIST(settable, SETTABLE);

static int encoder_set_ctx_params(void *ctx, const OSSL_PARAM params[])
{
    return params_set(setters, ctx, params);
}

static const OSSL_PARAM *encoder_settable_ctx_params(void *provctx)
{
    (void)provctx;
    return settable;
}

static int public_does_selection(void *provctx, int selection)
{
    (void)provctx;
    return (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 &&
           (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0;
}

static int private_does_selection(void *provctx, int selection)
{
    const struct provider *provider = provctx;

    return provider->config.uri_in_pem && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
}

static int text_does_selection(void *provctx, int selection)
{
    (void)provctx;
    return (selection & OSSL_KEYMGMT_SELECT_ALL) != 0;
}

/* What is encoded, and how: der returns memory of OPENSSL_malloc, or NULL. The names are those of
 * the host's encoder for the same. */
struct form {
    uint8_t *(*der)(const struct key *key, size_t *len);
    const char *pem_label; /* NULL: as DER */
    const char *output, *structure;
};

/* What libcrypto hands to an encoder beside the key. */
struct order {
    const struct encoder *ctx;
    OSSL_CORE_BIO *out;
    int selection;
    OSSL_PASSPHRASE_CALLBACK *callback;
    void *arg;
};

/* Not one that was made here for one use. */
static bool is_software(const struct key *key)
{
    return key->software != SOFTWARE_NOT && key->software != SOFTWARE_EPHEMERAL;
}

static int encode_on_host(const struct order *order, struct key *key, const char *output,
                          const char *structure)
{
    HOST_WORK;
    const struct encoder *ctx = order->ctx;
    EVP_PKEY *host = key_host(key);
    _cleanup_(encoder_ctx_scoped) OSSL_ENCODER_CTX *encoder =
        host != NULL ? OSSL_ENCODER_CTX_new_for_pkey(host, order->selection, output, structure,
                                                     HOST_PROPERTIES)
                     : NULL;
    unsigned char *data = NULL;
    size_t len = 0;
    bool ok =
        encoder != NULL &&
        (ctx->cipher == NULL || OSSL_ENCODER_CTX_set_cipher(encoder, ctx->cipher, NULL) == 1) &&
        OSSL_ENCODER_CTX_set_passphrase_cb(encoder, order->callback, order->arg) == 1 &&
        OSSL_ENCODER_to_data(encoder, &data, &len) == 1 &&
        corebio_write(ctx->provider, order->out, data, len);

    OPENSSL_clear_free(data, len);
    return ok;
}

static uint8_t *pkcs1_der(const struct key *key, size_t *len)
{
    size_t room = key->n.len + key->e.len + SPKI_OVERHEAD;
    _cleanup_(free_scoped) uint8_t *der = key->n.data != NULL ? OPENSSL_malloc(room) : NULL;

    if (der == NULL)
        return NULL;
    *len = pkcs1_write(view_bytes(&key->n), view_bytes(&key->e), der, room);
    return *len != 0 ? MOVE(der) : NULL;
}

/* A file with its URI would name nothing, once the program has ended. */
static bool is_passing(const struct key *key)
{
    if (key->software == SOFTWARE_EPHEMERAL)
        return !refuse(key->provider,
                       "the key was made in software, since nobody asked for it on a token:",
                       "make keys for files with the default provider, or name pkcs11_uri");
    if (!key->object->session_object)
        return false;
    error_raise(&key->provider->core, REASON_KEY,
                "cannot write a session key to a file: it is gone with this program; a key that is "
                "to stay on a token is made with pkcs11_uri (openssl genpkey -pkeyopt "
                "pkcs11_uri:pkcs11:token=...;object=...)");
    return true;
}

static uint8_t *uri_der(const struct key *key, size_t *len)
{
    char uri[URI_MAX];
    size_t room = sizeof(uri) + PEM_URI_OVERHEAD;
    _cleanup_(free_scoped) uint8_t *der = NULL;

    if (!key_is_private(key) || is_passing(key) || (der = OPENSSL_malloc(room)) == NULL)
        return NULL;
    (void)key_name(key, uri, sizeof(uri));
    *len = pem_uri_write((struct view){ (const uint8_t *)uri, strlen(uri) }, der, room);
    return *len != 0 ? MOVE(der) : NULL;
}

static int encode(const struct order *order, struct key *key, const OSSL_PARAM *abstract,
                  const struct form *form)
{
    const struct provider *provider = order->ctx->provider;
    size_t len = 0;
    _cleanup_(free_scoped) uint8_t *der = NULL;

    if (abstract != NULL || key == NULL || !key_is_meant(key, false))
        return 0;
    if (is_software(key))
        return encode_on_host(order, key, form->output, form->structure);
    der = form->der(key, &len);
    if (der == NULL)
        return 0;
    return form->pem_label != NULL
               ? corebio_write_pem(provider, order->out, form->pem_label, der, len)
               : corebio_write(provider, order->out, der, len);
}

static void print_place(BIO *out, const struct key *key)
{
    const char *token = key->object->slot->token.label;
    char uri[URI_MAX];

    if (key->object->session_object)
        (void)BIO_printf(out, "Private session key on the token %s\n", token);
    else
        (void)BIO_printf(out, "Private key on the token %s\nURI %s\n", token,
                         key_describe(key, uri, sizeof(uri)));
}

/* "Private key on the token soft" and the URI, where that half is asked for, and the public values
 * as libcrypto prints them. */
static bool text_print(struct key *key, int selection, BIO *out)
{
    HOST_WORK;
    EVP_PKEY *host = key_host(key);

    if (host != NULL && key->object != NULL && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0)
        print_place(out, key);
    return host != NULL && EVP_PKEY_print_public(out, host, 0, NULL) == 1;
}

static int encode_text(void *vctx, OSSL_CORE_BIO *out, const void *vkey,
                       const OSSL_PARAM abstract[], int selection, OSSL_PASSPHRASE_CALLBACK *cb,
                       void *arg)
{
    const struct encoder *ctx = vctx;
    const struct order order = { ctx, out, selection, cb, arg };
    struct key *key = (struct key *)(uintptr_t)vkey;
    _cleanup_(bio_scoped) BIO *memory = BIO_new(BIO_s_mem());
    char *text = NULL;
    long len;

    if (abstract != NULL || memory == NULL || key == NULL || !key_is_meant(key, false))
        return 0;
    if (is_software(key))
        return encode_on_host(&order, key, "text", NULL);
    if (!text_print(key, selection, memory))
        return 0;
    len = BIO_get_mem_data(memory, &text);
    return len > 0 && corebio_write(ctx->provider, out, text, (size_t)len);
}

#define ENCODER(name, der, pem_label, output, structure)                                           \
    static int name(void *ctx, OSSL_CORE_BIO *out, const void *key, const OSSL_PARAM abstract[],   \
                    int selection, OSSL_PASSPHRASE_CALLBACK *cb, void *arg)                        \
    {                                                                                              \
        static const struct form form = { der, pem_label, output, structure };                     \
        const struct order order = { ctx, out, selection, cb, arg };                               \
                                                                                                   \
        return encode(&order, (struct key *)(uintptr_t)key, abstract, &form);                      \
    }

ENCODER(spki_to_der, key_spki, NULL, "DER", "SubjectPublicKeyInfo")
ENCODER(spki_to_pem, key_spki, "PUBLIC KEY", "PEM", "SubjectPublicKeyInfo")
ENCODER(pkcs1_to_der, pkcs1_der, NULL, "DER", "pkcs1")
ENCODER(pkcs1_to_pem, pkcs1_der, "RSA PUBLIC KEY", "PEM", "pkcs1")
ENCODER(pkcs8_to_pem, uri_der, PKCS11_BRIDGE_PEM_LABEL, "PEM", "PrivateKeyInfo")
ENCODER(own_to_pem, uri_der, PKCS11_BRIDGE_PEM_LABEL, "PEM", "type-specific")

#define FUNCTIONS(name, selects, encodes)                                                          \
    static const OSSL_DISPATCH name[] = {                                                          \
        { OSSL_FUNC_ENCODER_NEWCTX, (void (*)(void))encoder_newctx },                              \
        { OSSL_FUNC_ENCODER_FREECTX, (void (*)(void))encoder_freectx },                            \
        { OSSL_FUNC_ENCODER_SET_CTX_PARAMS, (void (*)(void))encoder_set_ctx_params },              \
        { OSSL_FUNC_ENCODER_SETTABLE_CTX_PARAMS, (void (*)(void))encoder_settable_ctx_params },    \
        { OSSL_FUNC_ENCODER_DOES_SELECTION, (void (*)(void))selects },                             \
        { OSSL_FUNC_ENCODER_ENCODE, (void (*)(void))encodes },                                     \
        { 0, NULL },                                                                               \
    }

FUNCTIONS(spki_der, public_does_selection, spki_to_der);
FUNCTIONS(spki_pem, public_does_selection, spki_to_pem);
FUNCTIONS(pkcs1_public_der, public_does_selection, pkcs1_to_der);
FUNCTIONS(pkcs1_public_pem, public_does_selection, pkcs1_to_pem);
FUNCTIONS(pkcs8_pem, private_does_selection, pkcs8_to_pem);
FUNCTIONS(own_pem, private_does_selection, own_to_pem);
FUNCTIONS(text, text_does_selection, encode_text);

#define AS(output, structure) PROPERTIES ",output=" output ",structure=" structure

/* The forms that all types of key have. */
#define EVERY(type)                                                                                \
    { type, AS("der", "SubjectPublicKeyInfo"), spki_der, "public half" },                          \
        { type, AS("pem", "SubjectPublicKeyInfo"), spki_pem, "public half" },                      \
        { type, AS("pem", "PrivateKeyInfo"), pkcs8_pem, "URI of a private key" },                  \
        { type, AS("pem", "type-specific"), own_pem, "URI of a private key" },                     \
    {                                                                                              \
        type, PROPERTIES ",output=text", text, "for people"                                        \
    }

#define CLASSICAL                                                                                  \
    EVERY("RSA"), { "RSA", AS("der", "pkcs1"), pkcs1_public_der, "public half" },                  \
        { "RSA", AS("pem", "pkcs1"), pkcs1_public_pem, "public half" },                            \
        { "RSA", AS("der", "type-specific"), pkcs1_public_der, "public half" },                    \
        { "RSA", AS("pem", "type-specific"), pkcs1_public_pem, "public half" }, EVERY("RSA-PSS"),  \
        EVERY("EC"), EVERY("ED25519"), EVERY("ED448"), EVERY("X25519"), EVERY("X448")

#define SET_ENCODERS(id, algorithm, number, name, ...) EVERY(name),

const OSSL_ALGORITHM encoder_algorithms[] = { CLASSICAL, { NULL, NULL, NULL, NULL } };

const OSSL_ALGORITHM encoder_algorithms_3_5[] = {
    CLASSICAL,
    SET_ROWS(SET_ENCODERS){ NULL, NULL, NULL, NULL },
};
