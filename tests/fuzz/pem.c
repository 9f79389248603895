/* The URI in PEM, through libcrypto's decoders with this provider alone: from the file to the door
 * of a module that is not there. */
#include "fuzz.h"

#include <openssl/bio.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

OSSL_provider_init_fn OSSL_provider_init;

static OSSL_LIB_CTX *libctx;
static const char config[] = "openssl_conf=i\n[i]\nproviders=p\n[p]\npkcs11=s\n[s]\nactivate=1\n"
                             "pkcs11-module-path=/nowhere\npkcs11-log=none\n";

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    libctx = OSSL_LIB_CTX_new();
    hold(OSSL_PROVIDER_add_builtin(libctx, "pkcs11", OSSL_provider_init) == 1);
    hold(OSSL_LIB_CTX_load_config(libctx, fuzz_file(config, strlen(config))) == 1);
    return 0;
}

static void decode(const char *format, const char *type, int selection, const uint8_t *data,
                   size_t len)
{
    BIO *in = BIO_new_mem_buf(data, (int)len);
    EVP_PKEY *key = NULL;
    OSSL_DECODER_CTX *ctx =
        OSSL_DECODER_CTX_new_for_pkey(&key, format, NULL, type, selection, libctx, NULL);

    hold(in != NULL && ctx != NULL);
    (void)OSSL_DECODER_from_bio(ctx, in);
    hold(key == NULL);
    OSSL_DECODER_CTX_free(ctx);
    BIO_free(in);
    ERR_clear_error();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int selections[] = { 0, EVP_PKEY_KEYPAIR, EVP_PKEY_PUBLIC_KEY };
    struct input input = { data, size };
    uint8_t how = input_byte(&input);
    size_t len = input.len;
    uint8_t *copy = input_copy(&input, &len, false);

    decode(how & 2 ? "DER" : NULL, how & 1 ? "EC" : NULL, selections[how / 4 % 3], copy, len);
    free(copy);
    return 0;
}
