/* Secret keys, parameter sets and key encapsulation. libcrypto has EVP_SKEY from 3.5 on: what it
 * calls of the provider is called here in its place, and the provider is told that this libcrypto
 * is a newer one. */
#include "doer.h"

#include <dlfcn.h>

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include "module/interface.h"
#include "ops/algorithms.h"
#include "ops/skey.h"

#define PRETENDED_VERSION 0x30600000UL

OSSL_provider_init_fn OSSL_provider_init;

/* What takes the place of libcrypto's. */
unsigned long __real_OpenSSL_version_num(void);
unsigned long __wrap_OpenSSL_version_num(void);

static bool pretended;

void newer_pretend(bool newer)
{
    pretended = newer;
}

unsigned long __wrap_OpenSSL_version_num(void)
{
    return pretended ? PRETENDED_VERSION : __real_OpenSSL_version_num();
}

static OSSL_FUNC_core_get_params_fn *core_get_params;

static int get_params(const OSSL_CORE_HANDLE *handle, OSSL_PARAM params[])
{
    int ok = core_get_params(handle, params);
    OSSL_PARAM *version = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_CORE_VERSION);

    return ok && (version == NULL || OSSL_PARAM_set_utf8_ptr(version, "3.6.0"));
}

/* What a key is asked to derive in the place of bytes. */
struct agreement {
    const char *type;
    size_t len;
    bool elsewhere; /* for another provider's key management */
    void *made;
};

static _Thread_local struct agreement *agreement;

static OSSL_FUNC_provider_query_operation_fn *query_operation;
static OSSL_FUNC_keyexch_derive_fn *keyexch_derive;
static OSSL_FUNC_keyexch_derive_skey_fn *keyexch_derive_skey;
static OSSL_DISPATCH keyexch_functions[32];
static OSSL_ALGORITHM keyexch_algorithms_newer[2];

static void *provctx(void)
{
    return OSSL_PROVIDER_get0_provider_ctx(loaded);
}

/* The key management of another provider. */
static void *import_elsewhere(void *where, int selection, const OSSL_PARAM params[])
{
    static char somewhere;

    (void)where;
    (void)selection;
    secret_hold_part(params[0].data_size); /* as libcrypto's own: the beginning */
    touch(params[0].data, params[0].data_size, agreement->len);
    return &somewhere;
}

/* EVP_PKEY_derive_SKEY calls derive_skey where EVP_PKEY_derive calls derive: with one context. */
static int derive_either(void *ctx, unsigned char *out, size_t *len, size_t room)
{
    if (agreement == NULL)
        return keyexch_derive(ctx, out, len, room);
    agreement->made = keyexch_derive_skey(ctx, agreement->type,
                                          agreement->elsewhere ? &agreement->made : provctx(),
                                          import_elsewhere, agreement->len, NULL);
    return agreement->made != NULL;
}

static void keyexch_take(const OSSL_ALGORITHM *algorithm)
{
    const OSSL_DISPATCH *from = algorithm->implementation;
    size_t count = 0;

    for (; from->function_id != 0; from++, count++) {
        hold(count + 1 < COUNT_OF(keyexch_functions));
        keyexch_functions[count] = *from;
        if (from->function_id == OSSL_FUNC_KEYEXCH_DERIVE) {
            keyexch_derive = OSSL_FUNC_keyexch_derive(from);
            keyexch_functions[count].function = (void (*)(void))derive_either;
        } else if (from->function_id == OSSL_FUNC_KEYEXCH_DERIVE_SKEY) {
            keyexch_derive_skey = (OSSL_FUNC_keyexch_derive_skey_fn *)from->function;
        }
    }
    hold(keyexch_derive != NULL && keyexch_derive_skey != NULL);
    keyexch_algorithms_newer[0] = *algorithm;
    keyexch_algorithms_newer[0].implementation = keyexch_functions;
}

static const OSSL_ALGORITHM *query(void *ctx, int operation, int *no_cache)
{
    const OSSL_ALGORITHM *table = query_operation(ctx, operation, no_cache);

    return operation == OSSL_OP_KEYEXCH && table != NULL ? keyexch_algorithms_newer : table;
}

/* The provider's own functions, but for that. */
static const OSSL_DISPATCH *take_functions(const OSSL_DISPATCH *from)
{
    static OSSL_DISPATCH functions[32];
    size_t count = 0;

    for (; from->function_id != 0; from++, count++) {
        hold(count + 1 < COUNT_OF(functions));
        functions[count] = *from;
        if (from->function_id == OSSL_FUNC_PROVIDER_QUERY_OPERATION) {
            query_operation = OSSL_FUNC_provider_query_operation(from);
            functions[count].function = (void (*)(void))query;
        }
    }
    functions[count] = (OSSL_DISPATCH){ 0, NULL };
    keyexch_take(keyexch_algorithms);
    return functions;
}

int newer_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
               void **ctx)
{
    static OSSL_DISPATCH functions[256];
    size_t count = 0;

    for (; in[count].function_id != 0; count++) {
        hold(count + 1 < COUNT_OF(functions));
        functions[count] = in[count];
        if (in[count].function_id == OSSL_FUNC_CORE_GET_PARAMS) {
            core_get_params = OSSL_FUNC_core_get_params(&in[count]);
            functions[count].function = (void (*)(void))get_params;
        }
    }
    functions[count] = (OSSL_DISPATCH){ 0, NULL };
    if (OSSL_provider_init(handle, functions, out, ctx) != 1)
        return 0;
    *out = take_functions(*out);
    return 1;
}

void hostile_interfaces_lie(bool lie); /* token.h, which has p11-kit's other names */

void newer_interfaces_look(const char *path)
{
    static void *library;
    struct functions found = { NULL, NULL, NULL };

    if (library == NULL)
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    hold(library != NULL);
    hostile_interfaces_lie(true);
    if (functions_find(library, &found)) {
        touch(found.v2_40, sizeof(*found.v2_40), SIZE_MAX);
        if (found.v3_0 != NULL)
            touch(found.v3_0, sizeof(*found.v3_0), SIZE_MAX);
        if (found.v3_2 != NULL)
            touch(found.v3_2, sizeof(*found.v3_2), SIZE_MAX);
    }
    hostile_interfaces_lie(false);
}

/* The functions of the index-th algorithm, or of as many as there are again; NULL: none. */
static const OSSL_DISPATCH *functions_of(int operation, unsigned index)
{
    int no_cache;
    const OSSL_ALGORITHM *table = OSSL_PROVIDER_query_operation(loaded, operation, &no_cache);
    unsigned count = 0;

    while (table != NULL && table[count].algorithm_names != NULL)
        count++;
    return count != 0 ? table[index % count].implementation : NULL;
}

static void (*function_of(const OSSL_DISPATCH *functions, int id))(void)
{
    while (functions->function_id != id) {
        hold(functions->function_id != 0);
        functions++;
    }
    return functions->function;
}

#define FUNCTION(functions, name, id)                                                              \
    ((OSSL_FUNC_##name##_fn *)function_of(functions, OSSL_FUNC_##id))

void newer_free(struct doer *doer)
{
    const OSSL_DISPATCH *functions = functions_of(OSSL_OP_SKEYMGMT, 0);

    if (functions != NULL)
        FUNCTION(functions, skeymgmt_free, SKEYMGMT_FREE)(doer->secret);
    doer->secret = NULL;
}

static void take(struct doer *doer, void *secret)
{
    if (secret == NULL)
        return;
    newer_free(doer);
    doer->secret = secret;
}

static void do_import(struct doer *doer, unsigned how)
{
    static char uris[][40] = {
        "pkcs11:token=soft;object=aes",
        "pkcs11:token=soft;object=secret",
        "pkcs11:object=made;type=secret-key",
        "pkcs11:type=secret-key",
        "pkcs11:id=%05",
    };
    static unsigned char bytes[32] = { 7 };
    const OSSL_DISPATCH *functions = functions_of(OSSL_OP_SKEYMGMT, how);
    OSSL_PARAM params[2] = { OSSL_PARAM_construct_end(), OSSL_PARAM_construct_end() };

    params[0] = how % 16 < 12 ? OSSL_PARAM_construct_utf8_string("pkcs11_uri",
                                                                 uris[how / 2 % COUNT_OF(uris)], 0)
                              : OSSL_PARAM_construct_octet_string(OSSL_SKEY_PARAM_RAW_BYTES, bytes,
                                                                  16 + how % 2 * 16);
    take(doer, FUNCTION(functions, skeymgmt_import,
                        SKEYMGMT_IMPORT)(provctx(), OSSL_SKEYMGMT_SELECT_SECRET_KEY, params));
}

static void do_make(struct doer *doer, unsigned how)
{
    static char uri[] = "pkcs11:token=soft;object=made;id=%0a";
    const OSSL_DISPATCH *functions = functions_of(OSSL_OP_SKEYMGMT, how);
    size_t len = how & 4 ? 16 : 32;
    OSSL_PARAM params[3], *p = params;

    *p++ = OSSL_PARAM_construct_size_t(OSSL_SKEY_PARAM_KEY_LENGTH, &len);
    if ((how & 2) != 0)
        *p++ = OSSL_PARAM_construct_utf8_string("pkcs11_uri", uri, 0);
    *p = OSSL_PARAM_construct_end();
    take(doer, FUNCTION(functions, skeymgmt_generate, SKEYMGMT_GENERATE)(provctx(), params));
}

static int see(const OSSL_PARAM params[], void *arg)
{
    (void)arg;
    secret_hold(params[0].data_size);
    touch(params[0].data, params[0].data_size, params[0].data_size);
    return 1;
}

static void do_export(struct doer *doer, unsigned how)
{
    const OSSL_DISPATCH *functions = functions_of(OSSL_OP_SKEYMGMT, how);
    const char *id = FUNCTION(functions, skeymgmt_get_key_id, SKEYMGMT_GET_KEY_ID)(doer->secret);

    if (id != NULL)
        touch(id, strlen(id), SIZE_MAX);
    secret_ask();
    (void)FUNCTION(functions, skeymgmt_export,
                   SKEYMGMT_EXPORT)(doer->secret, OSSL_SKEYMGMT_SELECT_SECRET_KEY, see, NULL);
}

/* The modes as src/ops/cipher.c has them, for each length of keys. */
enum mode { ECB, CBC, CTS, CTR, CFB, OFB, KW, KWP, CCM, GCM, MODES };

/* How long what comes of a message of len bytes may be: what callers have room for. */
static size_t most_of(enum mode mode, bool encrypt, size_t len)
{
    if (mode != KW && mode != KWP)
        return mode == ECB || mode == CBC ? len + 16 : len;
    if (encrypt)
        return (len + 7) / 8 * 8 + 8;
    return len - 8;
}

struct crypt {
    const OSSL_DISPATCH *functions;
    enum mode mode;
    bool encrypt;
    void *ctx;
};

/* In memory of no more than what comes of it may need, but with the room that libcrypto says there
 * is. */
static bool update(struct crypt *crypt, size_t len)
{
    static const unsigned char message[64] = { 1, 2, 3 };
    size_t most = most_of(crypt->mode, crypt->encrypt, len), got = 0;
    unsigned char *out = malloc(most);
    bool ok = FUNCTION(crypt->functions, cipher_update, CIPHER_UPDATE)(
                  crypt->ctx, out, &got, crypt->mode >= CTR && crypt->mode <= OFB ? len : len + 16,
                  message, len) == 1;

    if (ok)
        touch(out, got, most);
    free(out);
    return ok;
}

static bool finish(struct crypt *crypt)
{
    size_t got = 0;
    unsigned char *out = malloc(16);
    bool ok =
        FUNCTION(crypt->functions, cipher_final, CIPHER_FINAL)(crypt->ctx, out, &got, 16) == 1;

    if (ok)
        touch(out, got, 16);
    free(out);
    return ok;
}

static bool tag(struct crypt *crypt)
{
    unsigned char *bytes = calloc(16, 1);
    const OSSL_PARAM set[] = { OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, bytes,
                                                                 16),
                               OSSL_PARAM_construct_end() };
    OSSL_PARAM get[] = { set[0], OSSL_PARAM_construct_end() };
    bool ok = crypt->encrypt ? FUNCTION(crypt->functions, cipher_get_ctx_params,
                                        CIPHER_GET_CTX_PARAMS)(crypt->ctx, get) == 1
                             : FUNCTION(crypt->functions, cipher_set_ctx_params,
                                        CIPHER_SET_CTX_PARAMS)(crypt->ctx, set) == 1;

    if (ok)
        touch(bytes, 16, 16);
    free(bytes);
    return ok;
}

static bool crypt_begin(struct crypt *crypt, void *secret)
{
    static const size_t iv_lens[MODES] = { 0, 16, 16, 16, 16, 16, 0, 0, 12, 12 };
    static const unsigned char iv[16] = { 9 };
    const size_t len = crypt->mode == GCM && crypt->encrypt ? 0 : iv_lens[crypt->mode];
    const unsigned char *given = len != 0 ? iv : NULL;

    crypt->ctx = FUNCTION(crypt->functions, cipher_newctx, CIPHER_NEWCTX)(provctx());
    if (crypt->encrypt)
        return FUNCTION(crypt->functions, cipher_encrypt_skey_init,
                        CIPHER_ENCRYPT_SKEY_INIT)(crypt->ctx, secret, given, len, NULL) == 1;
    return FUNCTION(crypt->functions, cipher_decrypt_skey_init,
                    CIPHER_DECRYPT_SKEY_INIT)(crypt->ctx, secret, given, len, NULL) == 1;
}

static void do_crypt(struct doer *doer, unsigned how)
{
    struct crypt crypt = { .functions = functions_of(OSSL_OP_CIPHER, how / 2),
                           .mode = how / 2 % MODES,
                           .encrypt = how % 2 == 0 };
    const bool whole = crypt.mode == CTS || crypt.mode >= KW, aead = crypt.mode >= CCM;
    bool ok = crypt_begin(&crypt, doer->secret);

    if (ok && aead && !crypt.encrypt)
        ok = tag(&crypt);
    if (ok && !whole)
        ok = update(&crypt, 5);
    ok = ok && update(&crypt, crypt.mode == KWP && crypt.encrypt ? 24 + how % 8 : 32);
    ok = ok && finish(&crypt);
    if (ok && aead && crypt.encrypt)
        (void)tag(&crypt);
    FUNCTION(crypt.functions, cipher_freectx, CIPHER_FREECTX)(crypt.ctx);
}

static char digest[] = "SHA256";

static void do_mac(struct doer *doer, unsigned how)
{
    const OSSL_DISPATCH *functions = functions_of(OSSL_OP_MAC, how);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    void *ctx = FUNCTION(functions, mac_newctx, MAC_NEWCTX)(provctx());
    const size_t most = how % 2 == 0 ? 32 : 16; /* HMAC, CMAC */
    unsigned char *out = malloc(most);
    size_t len = 0;

    if (FUNCTION(functions, mac_init_skey, MAC_INIT_SKEY)(ctx, doer->secret,
                                                          how % 2 == 0 ? params : NULL) == 1 &&
        FUNCTION(functions, mac_update, MAC_UPDATE)(ctx, (const unsigned char *)"message", 7) ==
            1 &&
        FUNCTION(functions, mac_final, MAC_FINAL)(ctx, out, &len, most) == 1)
        touch(out, len, most);
    free(out);
    FUNCTION(functions, mac_freectx, MAC_FREECTX)(ctx);
}

static void do_derive(struct doer *doer, unsigned how)
{
    static char name[] = "AES";
    const OSSL_DISPATCH *functions = functions_of(OSSL_OP_KDF, how);
    void *ctx = FUNCTION(functions, kdf_newctx, KDF_NEWCTX)(provctx()), *made = NULL;
    int mode = (int)(how / 2 % 3);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, digest, sizeof(digest)),
        OSSL_PARAM_construct_end(),
    };
    unsigned char *out = malloc(32);

    secret_ask();
    if (FUNCTION(functions, kdf_set_skey, KDF_SET_SKEY)(ctx, doer->secret, OSSL_KDF_PARAM_KEY) ==
            1 &&
        how % 2 != 0)
        made = FUNCTION(functions, kdf_derive_skey, KDF_DERIVE_SKEY)(ctx, name, provctx(), NULL, 32,
                                                                     params);
    else if (FUNCTION(functions, kdf_derive, KDF_DERIVE)(ctx, out, 32, params) == 1) {
        secret_hold(32);
        touch(out, 32, 32);
    }
    free(out);
    FUNCTION(functions, kdf_freectx, KDF_FREECTX)(ctx);
    take(doer, made);
}

static void do_agree(struct doer *doer, unsigned how)
{
    static const size_t lens[] = { 32, 56, 66,
                                   16 }; /* P-256 and X25519, X448, P-521; part of one */
    struct agreement asked = { how % 2 == 0 ? "AES" : "GENERIC-SECRET", lens[how / 2 % 4],
                               how / 8 % 4 == 3, NULL };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, doer->key, NULL);
    EVP_PKEY *peer = (how & 64) != 0 && doer->peer != NULL ? doer->peer : doer->key;
    unsigned char out[66];
    size_t len = sizeof(out);

    if (ctx != NULL && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, peer) == 1) {
        secret_ask();
        agreement = &asked;
        (void)EVP_PKEY_derive(ctx, out, &len);
        agreement = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    if (!asked.elsewhere)
        take(doer, asked.made);
}

static void do_encapsulate(struct doer *doer, unsigned how)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, doer->key, NULL);
    size_t most = 0, secret_most = 0, len, secret_len;

    (void)how;
    if (ctx != NULL && EVP_PKEY_encapsulate_init(ctx, NULL) == 1 &&
        EVP_PKEY_encapsulate(ctx, NULL, &most, NULL, &secret_most) == 1) {
        unsigned char *out = malloc(most), *secret = malloc(secret_most);

        len = most;
        secret_len = secret_most;
        secret_ask();
        if (EVP_PKEY_encapsulate(ctx, out, &len, secret, &secret_len) == 1) {
            secret_hold(secret_len);
            touch(out, len, most);
            touch(secret, secret_len, secret_most);
        }
        free(out);
        free(secret);
    }
    EVP_PKEY_CTX_free(ctx);
}

static void do_decapsulate(struct doer *doer, unsigned how)
{
    static const unsigned char sealed[2000] = { 3 };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, doer->key, NULL);
    size_t most = 0, in_len = (size_t)EVP_PKEY_get_size(doer->key) - how % 2, len;

    if (ctx != NULL && in_len <= sizeof(sealed) && EVP_PKEY_decapsulate_init(ctx, NULL) == 1 &&
        EVP_PKEY_decapsulate(ctx, NULL, &most, sealed, in_len) == 1) {
        unsigned char *out = malloc(most);

        len = most;
        secret_ask();
        if (EVP_PKEY_decapsulate(ctx, out, &len, sealed, in_len) == 1) {
            secret_hold(len);
            touch(out, len, most);
        }
        free(out);
    }
    EVP_PKEY_CTX_free(ctx);
}

static void do_generate(struct doer *doer, unsigned how)
{
    static const char *const types[] = { "ML-DSA-44", "ML-KEM-512" };
    static char uri[] = "pkcs11:token=soft;object=made;id=%0b";
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, types[how % 2], "provider=pkcs11");
    OSSL_PARAM params[2] = { OSSL_PARAM_construct_end(), OSSL_PARAM_construct_end() };
    EVP_PKEY *key = NULL;

    if ((how & 2) != 0)
        params[0] = OSSL_PARAM_construct_utf8_string("pkcs11_uri", uri, 0);
    if (ctx != NULL && EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_CTX_set_params(ctx, params) == 1)
        (void)EVP_PKEY_generate(ctx, &key);
    EVP_PKEY_CTX_free(ctx);
    if (key == NULL)
        return;
    EVP_PKEY_free(doer->key);
    doer->key = key;
}

const struct doing newer_doings[] = {
    { "import", do_import, NO_KEY },
    { "import", do_import, NO_KEY },
    { "make", do_make, NO_KEY },
    { "export-secret", do_export, A_SECRET },
    { "crypt", do_crypt, A_SECRET },
    { "crypt", do_crypt, A_SECRET },
    { "mac", do_mac, A_SECRET },
    { "derive-secret", do_derive, A_SECRET },
    { "generate-set", do_generate, NO_KEY },
    { "encapsulate", do_encapsulate, A_KEY },
    { "decapsulate", do_decapsulate, A_KEY },
    { "agree", do_agree, A_KEY },
};
const size_t newer_doing_count = COUNT_OF(newer_doings);
