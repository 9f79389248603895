/* Signs with a key on a token, from a program of one's own.
 *
 *   cc sign.c -o sign $(pkg-config --cflags --libs libcrypto)
 *   PKCS11_PROVIDER_MODULE=/usr/lib/softhsm/libsofthsm2.so \
 *       ./sign "pkcs11:token=soft;object=p256?pin-source=/etc/pin" "some text"
 *
 * Prints a signature over the text (EVP_DigestSign) and one over its digest (EVP_PKEY_sign), in
 * hexadecimal. OPENSSL_MODULES names the directory of pkcs11.so where it is not installed. */
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/store.h>

#include <pkcs11_bridge.h>

static EVP_PKEY *open_key(const char *uri)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);
    OSSL_STORE_INFO *info = NULL;
    EVP_PKEY *key = NULL;

    if (store != NULL && OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) == 1)
        info = OSSL_STORE_load(store);
    if (info != NULL)
        key = OSSL_STORE_INFO_get1_PKEY(info);
    OSSL_STORE_INFO_free(info);
    OSSL_STORE_close(store);
    return key;
}

static int digest_sign(EVP_PKEY *key, const char *text, unsigned char *sig, size_t *len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok = ctx != NULL &&
             EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, key, NULL) == 1 &&
             EVP_DigestSign(ctx, sig, len, (const unsigned char *)text, strlen(text)) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

static int sign_digest(EVP_PKEY *key, const char *text, unsigned char *sig, size_t *len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t digest_len = 0;
    int ok = ctx != NULL &&
             EVP_Q_digest(NULL, "SHA256", NULL, text, strlen(text), digest, &digest_len) == 1 &&
             EVP_PKEY_sign_init(ctx) == 1 &&
             EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
             EVP_PKEY_sign(ctx, sig, len, digest, digest_len) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static void print(const char *name, const unsigned char *sig, size_t len)
{
    printf("%s: ", name);
    for (size_t i = 0; i < len; i++)
        printf("%02x", sig[i]);
    printf("\n");
}

static int run(const char *uri, const char *text)
{
    EVP_PKEY *key = open_key(uri);
    unsigned char sig[2048];
    size_t len = sizeof(sig);
    int ok = key != NULL && digest_sign(key, text, sig, &len);

    if (ok)
        print("EVP_DigestSign", sig, len);
    len = sizeof(sig);
    ok = ok && sign_digest(key, text, sig, &len);
    if (ok)
        print("EVP_PKEY_sign", sig, len);
    EVP_PKEY_free(key);
    return ok;
}

int main(int argc, char **argv)
{
    OSSL_PROVIDER *base, *provider;
    int ok;

    if (argc != 3) {
        fprintf(stderr, "usage: %s URI TEXT\n", argv[0]);
        return 2;
    }
    base = OSSL_PROVIDER_load(NULL, "default");
    provider = OSSL_PROVIDER_load(NULL, PKCS11_BRIDGE_PROVIDER);
    ok = base != NULL && provider != NULL && run(argv[1], argv[2]);
    if (!ok)
        ERR_print_errors_fp(stderr);
    OSSL_PROVIDER_unload(provider);
    OSSL_PROVIDER_unload(base);
    return ok ? 0 : 1;
}
