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

static OSSL_STORE_CTX *open_store(struct context *context, const char *uri)
{
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(uri, context->libctx, OUR_PROPERTIES, NULL, NULL, NULL, NULL, NULL);

    (void)(store != NULL && OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY));
    return store;
}

EVP_PKEY *key_open(struct context *context, const char *uri)
{
    _cleanup_(store_scoped) OSSL_STORE_CTX *store =
        is_uri(context, uri) ? open_store(context, uri) : NULL;

    return store != NULL ? next_key(store) : NULL;
}

void key_visit(struct context *context, bool (*visit)(EVP_PKEY *pkey, void *arg), void *arg)
{
    _cleanup_(store_scoped) OSSL_STORE_CTX *store = open_store(context, "pkcs11:");
    EVP_PKEY *pkey = store != NULL ? next_key(store) : NULL, *next;

    while (pkey != NULL) {
        /* whoever asks for the next one makes a list: pkey is not in doubt then */
        (void)ERR_set_mark();
        next = next_key(store);
        (void)ERR_pop_to_mark();
        if (!visit(pkey, arg))
            pkey_release(MOVE(next));
        pkey_release(pkey);
        pkey = next;
    }
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

const char *key_digest(EVP_PKEY *pkey, const char *wanted)
{
    char name[64] = "";

    if (EVP_PKEY_get_default_digest_name(pkey, name, sizeof(name)) > 0 &&
        strcmp(name, "UNDEF") == 0)
        return NULL;
    return wanted != NULL ? wanted : "SHA256";
}

bool key_signer_begin(struct key_signer *signer, struct context *context, EVP_PKEY *pkey)
{
    signer->context = context;
    signer->pkey = pkey;
    signer->ctx = EVP_MD_CTX_new();
    return signer->ctx != NULL;
}

bool key_signer_sign(struct key_signer *signer, const unsigned char *message, size_t len)
{
    signer->len = sizeof(signer->signature);
    return EVP_MD_CTX_reset(signer->ctx) == 1 &&
           EVP_DigestSignInit_ex(signer->ctx, NULL, key_digest(signer->pkey, NULL),
                                 signer->context->libctx, NULL, signer->pkey, NULL) == 1 &&
           EVP_DigestSign(signer->ctx, signer->signature, &signer->len, message, len) == 1;
}

bool key_signer_verify(struct key_signer *signer, const unsigned char *message, size_t len)
{
    return EVP_MD_CTX_reset(signer->ctx) == 1 &&
           EVP_DigestVerifyInit_ex(signer->ctx, NULL, key_digest(signer->pkey, NULL),
                                   signer->context->libctx, NULL, signer->pkey, NULL) == 1 &&
           EVP_DigestVerify(signer->ctx, signer->signature, signer->len, message, len) == 1;
}

void key_signer_end(struct key_signer *signer)
{
    md_ctx_release(signer->ctx);
}

bool key_prove(struct context *context, EVP_PKEY *pkey, unsigned long long *sign_ns,
               unsigned long long *verify_ns)
{
    struct key_signer signer = { .ctx = NULL };
    unsigned char message[32];
    unsigned long long began = clock_ns(), signed_at;
    bool ok = RAND_bytes_ex(context->libctx, message, sizeof(message), 0) == 1 &&
              key_signer_begin(&signer, context, pkey) &&
              key_signer_sign(&signer, message, sizeof(message));

    signed_at = clock_ns();
    ok = ok && key_signer_verify(&signer, message, sizeof(message));
    *sign_ns = signed_at - began;
    *verify_ns = clock_ns() - signed_at;
    key_signer_end(&signer);
    return ok;
}
