#include "holder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <openssl/store.h>

#ifdef HOLD
#define hold    HOLD
#define release own_release
static void release(void);
#endif

static OSSL_LIB_CTX *libctx;
static OSSL_PROVIDER **providers;
static OSSL_STORE_CTX *store;
static EVP_PKEY *key;
static EVP_PKEY_CTX *key_ctx;
static EVP_MD_CTX *md_ctx, *verify_ctx;
static SSL_CTX *ssl;
static X509 *certificate;
static const char *held;

static void must(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "cannot %s\n", what);
    ERR_print_errors_fp(stderr);
    _exit(1);
}

/* A key, by a store that stays open. */
static void open_store(void)
{
    OSSL_STORE_INFO *info = NULL;

    store = OSSL_STORE_open_ex(getenv("LATE_KEY"), libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    while (store != NULL && key == NULL && (info = OSSL_STORE_load(store)) != NULL) {
        key = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    must(key != NULL, "load the key");
}

/* Contexts in the middle of their work, and the key's public half on the host, which the verifying
 * one makes. */
static void begin_signature(void)
{
    unsigned char signature[512];
    size_t len = sizeof(signature);

    md_ctx = EVP_MD_CTX_new();
    must(EVP_DigestSignInit_ex(md_ctx, NULL, "SHA256", libctx, NULL, key, NULL) == 1 &&
             EVP_DigestSign(md_ctx, signature, &len, (const unsigned char *)"late", 4) == 1,
         "sign");
    verify_ctx = EVP_MD_CTX_new();
    must(EVP_DigestVerifyInit_ex(verify_ctx, NULL, "SHA256", libctx, NULL, key, NULL) == 1 &&
             EVP_DigestVerify(verify_ctx, signature, len, (const unsigned char *)"late", 4) == 1,
         "verify");
    must(EVP_DigestSignInit_ex(md_ctx, NULL, "SHA384", libctx, NULL, key, NULL) == 1 &&
             EVP_DigestSignUpdate(md_ctx, "late", 4) == 1,
         "begin a signature");
    key_ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    must(EVP_PKEY_decrypt_init(key_ctx) == 1, "begin a decryption");
}

static void make_ssl(void)
{
    ssl = SSL_CTX_new_ex(libctx, NULL, TLS_server_method());
    must(ssl != NULL && SSL_CTX_use_certificate_file(ssl, getenv("LATE_CERT"), SSL_FILETYPE_PEM) &&
             SSL_CTX_use_PrivateKey(ssl, key) && SSL_CTX_check_private_key(ssl),
         "use the key for TLS");
    certificate = SSL_CTX_get0_certificate(ssl);
    X509_up_ref(certificate);
}

/* Using a key after the end of libcrypto is a mistake of the program, but no reason to crash. */
static void use(void)
{
    unsigned char out[512] = { 0 };
    size_t len = sizeof(out);

    must(EVP_DigestSignUpdate(md_ctx, "late", 4) != 1 ||
             EVP_DigestSignFinal(md_ctx, out, &len) != 1,
         "have no signature");
    must(EVP_DigestVerify(verify_ctx, out, 256, out, 4) != 1, "have no verification");
    len = sizeof(out);
    must(EVP_PKEY_decrypt(key_ctx, out, &len, out, 256) != 1, "have no decryption");
    must(OSSL_STORE_load(store) == NULL, "have no object");
    must(EVP_PKEY_get_bits(key) == 2048, "have the key's length");
    (void)EVP_PKEY_public_check(key_ctx); /* on the host, which OpenSSL 4 still has */
}

static void let_go(char what)
{
    switch (what) {
    case 'x':
        use();
        break;
    case 'm': /* contexts of message digests */
        EVP_MD_CTX_free(md_ctx);
        EVP_MD_CTX_free(verify_ctx);
        md_ctx = verify_ctx = NULL;
        break;
    case 'p': /* of the key */
        EVP_PKEY_CTX_free(key_ctx);
        key_ctx = NULL;
        break;
    case 't': /* for TLS */
        SSL_CTX_free(ssl);
        ssl = NULL;
        break;
    case 'e': /* a certificate, which was compared with the key */
        X509_free(certificate);
        certificate = NULL;
        break;
    case 's':
        OSSL_STORE_close(store);
        store = NULL;
        break;
    case 'k':
        EVP_PKEY_free(key);
        key = NULL;
        break;
    case 'u':
        for (; *providers != NULL; providers++)
            OSSL_PROVIDER_unload(*providers);
        break;
    case 'c':
        OSSL_LIB_CTX_free(libctx);
        break;
    default:
        break;
    }
}

#define OBJECTS "mptesk"

/* What is not to be held late goes at once. */
void hold(OSSL_LIB_CTX *context, OSSL_PROVIDER **loaded, const char *what)
{
    libctx = context;
    providers = loaded;
    open_store();
    begin_signature();
    make_ssl();
    for (const char *one = OBJECTS; *one != '\0'; one++)
        if (strchr(what, *one) == NULL)
            let_go(*one);
    held = what;
}

void release(void)
{
    static const char done[] = "released\n";

    if (held == NULL)
        return;
    for (const char *one = held; *one != '\0'; one++)
        let_go(*one);
    held = NULL;
    must(write(STDOUT_FILENO, done, sizeof(done) - 1) > 0, "say so");
}

__attribute__((destructor)) static void at_the_end(void)
{
    release();
}
