#include "cli/key.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/store.h>

#include "base/clock.h"
#include "base/libcrypto.h"
#include "base/scope.h"
#include "der/pem_uri.h"
#include "instance/host.h"
#include "key/open.h"

static void store_scoped(OSSL_STORE_CTX **store)
{
    (void)(*store != NULL && OSSL_STORE_close(*store));
}

static EVP_PKEY *next_key(OSSL_STORE_CTX *store)
{
    OSSL_STORE_INFO *info = OSSL_STORE_load(store);
    EVP_PKEY *pkey = info != NULL ? OSSL_STORE_INFO_get1_PKEY(info) : NULL;

    OSSL_STORE_INFO_free(info);
    return pkey;
}

/* Of a scheme that nobody knows, libcrypto says less. */
static bool is_uri(struct context *context, const char *text)
{
    struct uri uri;
    struct pin_source pins;
    bool ok = open_uri(context->provider, text, "the URI", &uri, &pins);

    uri_clear(&uri);
    return ok;
}

EVP_PKEY *key_open(struct context *context, const char *uri, bool any)
{
    _cleanup_(store_scoped) OSSL_STORE_CTX *store = NULL;
    EVP_PKEY *pkey;

    if (!is_uri(context, uri))
        return NULL;
    store = OSSL_STORE_open_ex(uri, context->libctx, OUR_PROPERTIES, NULL, NULL, NULL, NULL, NULL);
    if (store == NULL || !OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY))
        return NULL;
    pkey = next_key(store);
    if (pkey != NULL && any) { /* who asks for a second one makes a list, and may choose */
        (void)ERR_set_mark();
        pkey_release(next_key(store));
        (void)ERR_pop_to_mark();
    }
    return pkey;
}

char *key_uri(struct context *context, EVP_PKEY *pkey)
{
    _cleanup_(bio_scoped) BIO *bio = BIO_new(BIO_s_mem());
    char *name = NULL, *header = NULL, *uri = NULL;
    unsigned char *der = NULL;
    struct view text;
    long len = 0;

    if (bio == NULL ||
        !PEM_write_bio_PrivateKey_ex(bio, pkey, NULL, NULL, 0, NULL, NULL, context->libctx,
                                     OUR_PROPERTIES) ||
        PEM_read_bio(bio, &name, &header, &der, &len) != 1)
        return NULL;
    if (pem_uri_read((struct view){ der, (size_t)len }, &text))
        uri = OPENSSL_strndup((const char *)text.data, text.len);
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(der);
    return uri;
}

/* Keys for signatures that hash by themselves have no digest. */
static const char *digest_for(EVP_PKEY *pkey)
{
    char name[64] = "";

    if (EVP_PKEY_get_default_digest_name(pkey, name, sizeof(name)) > 0 &&
        strcmp(name, "UNDEF") == 0)
        return NULL;
    return "SHA256";
}

bool key_prove(struct context *context, EVP_PKEY *pkey, unsigned long long *sign_ns,
               unsigned long long *verify_ns)
{
    _cleanup_(md_ctx_scoped) EVP_MD_CTX *signing = EVP_MD_CTX_new();
    _cleanup_(md_ctx_scoped) EVP_MD_CTX *verifying = EVP_MD_CTX_new();
    unsigned char message[32], signature[4096];
    size_t len = sizeof(signature);
    unsigned long long began = clock_ns();
    bool ok;

    if (signing == NULL || verifying == NULL ||
        RAND_bytes_ex(context->libctx, message, sizeof(message), 0) != 1 ||
        EVP_DigestSignInit_ex(signing, NULL, digest_for(pkey), context->libctx, NULL, pkey, NULL) !=
            1 ||
        EVP_DigestSign(signing, signature, &len, message, sizeof(message)) != 1)
        return false;
    *sign_ns = clock_ns() - began;
    began = clock_ns();
    ok = EVP_DigestVerifyInit_ex(verifying, NULL, digest_for(pkey), context->libctx, NULL, pkey,
                                 NULL) == 1 &&
         EVP_DigestVerify(verifying, signature, len, message, sizeof(message)) == 1;
    *verify_ns = clock_ns() - began;
    return ok;
}
