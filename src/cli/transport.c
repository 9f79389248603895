#include "cli/transport.h"

#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "base/secret.h"
#include "key/generate.h"
#include "uri/uri.h"

#define TRANSPORT_BITS 3072

static OSSL_PARAM text_param(const char *key, const char *value)
{
    return OSSL_PARAM_construct_utf8_string(key, (char *)(uintptr_t)value, 0);
}

static char *uri_of(const struct key *pair)
{
    const struct object *object = pair->object;

    return uri_format(&object->slot->token.info, CKO_PRIVATE_KEY, object->id.data, object->id.len,
                      NULL, 0);
}

bool transport_begin(struct transport *transport, struct context *context, const char *uri)
{
    static uint8_t f4[] = { 1, 0, 1 };
    const struct generation generation = { .provider = context->provider,
                                           .type = KEY_RSA,
                                           .bits = TRANSPORT_BITS,
                                           .exponent = { f4, sizeof(f4) },
                                           .uri = uri,
                                           .ephemeral = true,
                                           .has_usage = true,
                                           .usage = { .unwrap = true } };

    *transport = (struct transport){ .context = context, .pair = key_generate(&generation) };
    if (transport->pair != NULL)
        transport->uri = uri_of(transport->pair);
    return transport->uri != NULL;
}

void transport_end(struct transport *transport)
{
    key_free(transport->pair);
    free(transport->uri);
    *transport = (struct transport){ .pair = NULL };
}

static bool wrap_oaep(const struct transport *transport, const struct wrap_way *way,
                      struct view plain, struct bytes *out)
{
    EVP_PKEY *pair = key_host(transport->pair);
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *ctx =
        pair != NULL
            ? EVP_PKEY_CTX_new_from_pkey(transport->context->provider->host.libctx, pair, NULL)
            : NULL;
    uint8_t blob[TRANSPORT_BITS / 8];
    size_t len = sizeof(blob);
    char name[32];
    const char *digest = digest_name(&digests[way->digest], name, sizeof(name));
    const OSSL_PARAM params[] = {
        text_param(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, OSSL_PKEY_RSA_PAD_MODE_OAEP),
        text_param(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, digest),
        text_param(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, digest), OSSL_PARAM_construct_end()
    };

    return ctx != NULL && EVP_PKEY_encrypt_init_ex(ctx, params) == 1 &&
           EVP_PKEY_encrypt(ctx, blob, &len, plain.data, plain.len) == 1 &&
           bytes_add(out, blob, len);
}

static void cipher_ctx_scoped(EVP_CIPHER_CTX **ctx)
{
    EVP_CIPHER_CTX_free(*ctx);
}

static void cipher_scoped(EVP_CIPHER **cipher)
{
    EVP_CIPHER_free(*cipher);
}

/* RFC 5649 */
static bool wrap_kwp(const struct transport *transport, const uint8_t *key, struct view plain,
                     struct bytes *out)
{
    _cleanup_(cipher_scoped) EVP_CIPHER *cipher =
        EVP_CIPHER_fetch(transport->context->libctx, "AES-256-WRAP-PAD", NULL);
    _cleanup_(cipher_ctx_scoped) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    _cleanup_(free_scoped) uint8_t *blob = OPENSSL_malloc(plain.len + 16);
    int len = 0;

    if (ctx == NULL || blob == NULL)
        return false;
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    return EVP_EncryptInit_ex2(ctx, cipher, key, NULL, NULL) == 1 &&
           EVP_EncryptUpdate(ctx, blob, &len, plain.data, (int)plain.len) == 1 && len > 0 &&
           bytes_add(out, blob, (size_t)len);
}

static bool wrap_rsa_aes(const struct transport *transport, const struct wrap_way *way,
                         struct view plain, struct bytes *out)
{
    uint8_t *middle = secret_memory(WRAP_MIDDLE_LEN);
    bool ok = middle != NULL &&
              RAND_priv_bytes_ex(transport->context->libctx, middle, WRAP_MIDDLE_LEN, 0) == 1 &&
              wrap_oaep(transport, way, (struct view){ middle, WRAP_MIDDLE_LEN }, out) &&
              wrap_kwp(transport, middle, plain, out);

    secret_memory_free(middle);
    return ok;
}

bool transport_wrap(const struct transport *transport, const struct wrap_way *way,
                    struct view plain, struct bytes *out)
{
    return way->form == WRAP_RSA_AES ? wrap_rsa_aes(transport, way, plain, out)
                                     : wrap_oaep(transport, way, plain, out);
}
