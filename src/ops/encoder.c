/* Encoders: a key's public half as SubjectPublicKeyInfo (provider-encoder(7)). */
#include <openssl/core_names.h>

#include "ops/corebio.h"
#include "ops/ops.h"
#include "scope.h"

static OSSL_FUNC_encoder_newctx_fn encoder_newctx;
static OSSL_FUNC_encoder_freectx_fn encoder_freectx;
static OSSL_FUNC_encoder_does_selection_fn spki_does_selection;
static OSSL_FUNC_encoder_encode_fn spki_encode_der;
static OSSL_FUNC_encoder_encode_fn spki_encode_pem;

static void *encoder_newctx(void *provctx)
{
    return provctx;
}

static void encoder_freectx(void *ctx)
{
    (void)ctx;
}

static int spki_does_selection(void *provctx, int selection)
{
    (void)provctx;
    return (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 &&
           (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0;
}

static int spki_encode(struct provider *provider, OSSL_CORE_BIO *out, const struct key *key,
                       int selection, bool pem)
{
    size_t len = 0;
    _cleanup_(free_scoped) uint8_t *der = key != NULL ? key_spki(key, &len) : NULL;

    if (der == NULL || !spki_does_selection(provider, selection))
        return 0;
    return pem ? corebio_write_pem(provider, out, "PUBLIC KEY", der, len)
               : corebio_write(provider, out, der, len);
}

static int spki_encode_der(void *ctx, OSSL_CORE_BIO *out, const void *key,
                           const OSSL_PARAM abstract[], int selection, OSSL_PASSPHRASE_CALLBACK *cb,
                           void *arg)
{
    (void)abstract;
    (void)cb;
    (void)arg;
    return spki_encode(ctx, out, key, selection, false);
}

static int spki_encode_pem(void *ctx, OSSL_CORE_BIO *out, const void *key,
                           const OSSL_PARAM abstract[], int selection, OSSL_PASSPHRASE_CALLBACK *cb,
                           void *arg)
{
    (void)abstract;
    (void)cb;
    (void)arg;
    return spki_encode(ctx, out, key, selection, true);
}

static const OSSL_DISPATCH spki_der_functions[] = {
    { OSSL_FUNC_ENCODER_NEWCTX, (void (*)(void))encoder_newctx },
    { OSSL_FUNC_ENCODER_FREECTX, (void (*)(void))encoder_freectx },
    { OSSL_FUNC_ENCODER_DOES_SELECTION, (void (*)(void))spki_does_selection },
    { OSSL_FUNC_ENCODER_ENCODE, (void (*)(void))spki_encode_der },
    { 0, NULL },
};

static const OSSL_DISPATCH spki_pem_functions[] = {
    { OSSL_FUNC_ENCODER_NEWCTX, (void (*)(void))encoder_newctx },
    { OSSL_FUNC_ENCODER_FREECTX, (void (*)(void))encoder_freectx },
    { OSSL_FUNC_ENCODER_DOES_SELECTION, (void (*)(void))spki_does_selection },
    { OSSL_FUNC_ENCODER_ENCODE, (void (*)(void))spki_encode_pem },
    { 0, NULL },
};

#define SPKI_DER PROPERTIES ",output=der,structure=SubjectPublicKeyInfo"
#define SPKI_PEM PROPERTIES ",output=pem,structure=SubjectPublicKeyInfo"

const OSSL_ALGORITHM encoder_algorithms[] = {
    { "RSA", SPKI_DER, spki_der_functions, "public half of an RSA key on a token" },
    { "RSA", SPKI_PEM, spki_pem_functions, "public half of an RSA key on a token" },
    { "EC", SPKI_DER, spki_der_functions, "public half of an EC key on a token" },
    { "EC", SPKI_PEM, spki_pem_functions, "public half of an EC key on a token" },
    { NULL, NULL, NULL, NULL },
};
