/* Ciphers with secret keys of a token (provider-cipher(7)), under names of their own: libcrypto
 * cannot be told that a cipher is for such keys alone; docs/adr/0028-secret-keys.md.
 *
 * Between two calls of the caller nothing is open with the token: each piece is a message of its
 * own there, whose IV follows from the piece before. A mode that cannot go on so gets its message
 * whole: in one call or, from who has room for all of it at the end, in pieces that are kept until
 * then. */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>

#include "base/scope.h"
#include "ops/algorithms.h"
#include "ops/cipher.h"
#include "ops/context.h"
#include "ops/params.h"
#include "ops/skey.h"
#include "pkcs11_bridge.h"

static OSSL_FUNC_cipher_freectx_fn cipher_freectx;
static OSSL_FUNC_cipher_dupctx_fn cipher_dupctx;
static OSSL_FUNC_cipher_encrypt_init_fn cipher_encrypt_init;
static OSSL_FUNC_cipher_decrypt_init_fn cipher_decrypt_init;
static OSSL_FUNC_cipher_encrypt_skey_init_fn cipher_encrypt_skey_init;
static OSSL_FUNC_cipher_decrypt_skey_init_fn cipher_decrypt_skey_init;
static OSSL_FUNC_cipher_update_fn cipher_update;
static OSSL_FUNC_cipher_final_fn cipher_final;
static OSSL_FUNC_cipher_gettable_params_fn cipher_gettable_params;
static OSSL_FUNC_cipher_get_ctx_params_fn cipher_get_ctx_params;
static OSSL_FUNC_cipher_set_ctx_params_fn cipher_set_ctx_params;
static OSSL_FUNC_cipher_gettable_ctx_params_fn cipher_gettable_ctx_params;
static OSSL_FUNC_cipher_settable_ctx_params_fn cipher_settable_ctx_params;

#define NONCE_LEAST 7 /* CCM: RFC 3610 §2 */
#define NONCE_MOST  13

static void *cipher_new(void *provctx, enum crypt_mode mode, size_t key_len)
{
    struct cipher *ctx = OPENSSL_zalloc(sizeof(*ctx));

    if (ctx == NULL)
        return NULL;
    ctx->provider = provctx;
    ctx->row = &crypt_rows[mode];
    ctx->key_len = key_len;
    ctx->padding = 1;
    ctx->iv_len = ctx->row->iv_len;
    ctx->tag_len = CRYPT_TAG_MAX;
    return ctx;
}

#define OWNED(OWN) OWN(key, key) OWN(pieces, aad) OWN(pieces, message) OWN(scratch, sealed)

static OSSL_FUNC_cipher_dupctx_fn same;

CONTEXT_FREE(cipher_freectx, struct cipher, OWNED)
CONTEXT_DUP(same, cipher_freectx, struct cipher, OWNED)

/* The IV of an encryption with AES-GCM is good for one message: the copy is of no use until it is
 * initialised. */
static void *cipher_dupctx(void *vctx)
{
    struct cipher *copy = same(vctx);

    if (copy == NULL)
        return NULL;
    copy->permit = (struct gcm_permit){ 0 };
    if (copy->encrypt && copy->row == &crypt_rows[CRYPT_GCM])
        copy->iv_set = false;
    return copy;
}

int cipher_refuse(const struct cipher *ctx, const char *why)
{
    return refuse(ctx->provider, ctx->encrypt ? "cannot encrypt:" : "cannot decrypt:", why);
}

static int take_key(struct cipher *ctx, struct key *key)
{
    if (key->secret_len != 0 && key->secret_len != ctx->key_len)
        return cipher_refuse(ctx, "the key has not the length of the cipher's");
    if (!key_can_crypt(key, ctx->row, ctx->encrypt))
        return 0;
    (void)key_ref(key);
    key_free(ctx->key);
    ctx->key = key;
    return 1;
}

static bool iv_len_fits(const struct cipher *ctx, size_t len)
{
    if (cipher_is_gcm(ctx))
        return len >= 1 && len <= CRYPT_IV_MAX;
    if (cipher_is_aead(ctx))
        return len >= NONCE_LEAST && len <= NONCE_MOST;
    return len == ctx->row->iv_len;
}

static int take_iv(struct cipher *ctx, const uint8_t *iv, size_t len)
{
    if (cipher_is_gcm(ctx) && ctx->encrypt && !ctx->provider->config.gcm_caller_iv)
        return cipher_refuse(
            ctx, "AES-GCM makes its IVs here, and the one of the context is to be read after "
                 "its initialisation, unless pkcs11-gcm-caller-iv = yes");
    if (!iv_len_fits(ctx, len))
        return cipher_refuse(ctx, "the IV has not the length that the mode has");
    memcpy(ctx->first_iv, iv, len);
    ctx->iv_len = len;
    ctx->iv_set = true;
    ctx->iv_made = false;
    return 1;
}

/* For a message that begins. */
static int make_iv(struct cipher *ctx)
{
    if (!cipher_is_gcm(ctx) || !ctx->encrypt)
        return 1;
    ctx->iv_len = GCM_IV_LEN;
    ctx->iv_set = ctx->key != NULL && gcm_iv_next(ctx->key, ctx->first_iv, &ctx->permit);
    ctx->iv_made = ctx->iv_set;
    return ctx->key == NULL || ctx->iv_set;
}

static bool counts(const struct cipher *ctx)
{
    return ctx->row == &crypt_rows[CRYPT_CTR] && ctx->iv_set;
}

/* That of the next whole block: of CTR, of which a block that has begun is used up. */
static void next_iv(const struct cipher *ctx, uint8_t iv[CRYPT_IV_MAX])
{
    memmove(iv, ctx->iv, ctx->iv_len);
    if (counts(ctx) && ctx->held != 0)
        crypt_advance(ctx->row, ctx->encrypt, iv, NULL, NULL, 1);
}

/* Without an IV a message begins with that of the one before, but with CTR, where it would be
 * encrypted as that was, with the next. */
static int init(struct cipher *ctx, struct key *key, const uint8_t *iv, size_t iv_len,
                const OSSL_PARAM params[], bool encrypt)
{
    ctx->encrypt = encrypt;
    ctx->going = ctx->done = ctx->finished = false;
    if (encrypt && cipher_is_gcm(ctx))
        ctx->tag_len = CRYPT_TAG_MAX;       /* it had been that of a message that was decrypted */
    ctx->permit = (struct gcm_permit){ 0 }; /* the IV may be another key's, where this fails */
    pieces_wipe(&ctx->aad);
    pieces_wipe(&ctx->message);
    if (key != NULL && !take_key(ctx, key))
        return 0;
    if (iv != NULL && ctx->row->iv_len != 0 ? !take_iv(ctx, iv, iv_len) : !make_iv(ctx))
        return 0;
    if (iv == NULL && counts(ctx))
        next_iv(ctx, ctx->iv);
    else
        memcpy(ctx->iv, ctx->first_iv, ctx->iv_len);
    ctx->held = 0;
    ctx->going = cipher_set_ctx_params(ctx, params);
    return ctx->going;
}

static int cipher_encrypt_skey_init(void *ctx, void *key, const unsigned char *iv, size_t iv_len,
                                    const OSSL_PARAM params[])
{
    KEEP_ERRNO;
    return init(ctx, key, iv, iv_len, params, true);
}

static int cipher_decrypt_skey_init(void *ctx, void *key, const unsigned char *iv, size_t iv_len,
                                    const OSSL_PARAM params[])
{
    KEEP_ERRNO;
    return init(ctx, key, iv, iv_len, params, false);
}

/* For who gives an IV to a context that has its key. */
static int init_raw(struct cipher *ctx, const uint8_t *key, const uint8_t *iv, size_t iv_len,
                    const OSSL_PARAM params[], bool encrypt)
{
    if (key == NULL)
        return init(ctx, NULL, iv, iv_len, params, encrypt);
    ctx->encrypt = encrypt;
    ctx->going = false;
    return cipher_refuse(ctx, "this is for keys of a token (EVP_CipherInit_SKEY)");
}

static int cipher_encrypt_init(void *ctx, const unsigned char *key, size_t key_len,
                               const unsigned char *iv, size_t iv_len, const OSSL_PARAM params[])
{
    KEEP_ERRNO;
    (void)key_len;
    return init_raw(ctx, key, iv, iv_len, params, true);
}

static int cipher_decrypt_init(void *ctx, const unsigned char *key, size_t key_len,
                               const unsigned char *iv, size_t iv_len, const OSSL_PARAM params[])
{
    KEEP_ERRNO;
    (void)key_len;
    return init_raw(ctx, key, iv, iv_len, params, false);
}

/* Whether there is a key, and an IV where the mode wants one. Key wrapping has one to begin with.
 */
static int is_ready(const struct cipher *ctx)
{
    if (ctx->key == NULL)
        return cipher_refuse(ctx, "no key is set");
    if (!ctx->going)
        return cipher_refuse(ctx, "something before this was refused: initialise it again");
    return ctx->iv_set || ctx->row->iv_len == 0 || crypt_wraps(ctx->row) ||
           cipher_refuse(ctx, "no IV is set");
}

/* Programs look at what EVP_CipherFinal(3) returns, and not always at what came before: what was
 * refused, be it the initialisation or a piece, is the end of the message. */
static int cipher_update(void *vctx, unsigned char *out, size_t *out_len, size_t out_size,
                         const unsigned char *data, size_t len)
{
    static OSSL_FUNC_cipher_update_fn *const ways[] = {
        [CRYPT_BLOCKS] = cipher_blocks_update,
        [CRYPT_STREAM] = cipher_stream_update,
        [CRYPT_WHOLE] = cipher_whole_update,
        [CRYPT_AEAD] = cipher_whole_update,
    };
    KEEP_ERRNO;
    struct cipher *ctx = vctx;

    *out_len = 0;
    ctx->going = is_ready(ctx) && ways[ctx->row->way](ctx, out, out_len, out_size, data, len) == 1;
    return ctx->going;
}

static int cipher_final(void *vctx, unsigned char *out, size_t *out_len, size_t out_size)
{
    static OSSL_FUNC_cipher_final_fn *const ways[] = {
        [CRYPT_BLOCKS] = cipher_blocks_final,
        [CRYPT_STREAM] = cipher_stream_final,
        [CRYPT_WHOLE] = cipher_whole_final,
        [CRYPT_AEAD] = cipher_whole_final,
    };
    KEEP_ERRNO;
    struct cipher *ctx = vctx;

    *out_len = 0;
    ctx->going = is_ready(ctx) && ways[ctx->row->way](ctx, out, out_len, out_size) == 1;
    return ctx->going;
}

enum crypt_result cipher_run(struct cipher *ctx, struct view in, uint8_t *out, size_t size,
                             size_t *len)
{
    const struct crypt_request request = {
        .row = ctx->row,
        .encrypt = ctx->encrypt,
        .iv = { ctx->iv, ctx->iv_set ? ctx->iv_len : 0 },
        .aad = view_bytes(&ctx->aad.all),
        .tag_len = ctx->tag_len,
        .len = cipher_is_aead(ctx) && !ctx->encrypt ? in.len - ctx->tag_len : in.len,
    };
    enum crypt_result result = key_crypt(ctx->key, &request, &ctx->permit, in, out, size, len);

    if (result == CRYPT_WRONG)
        (void)cipher_refuse(ctx, cipher_is_aead(ctx) ? "the message, or its tag, is wrong"
                                                     : "the data is wrong");
    return result;
}

/* Without data, its length. */
static int set_tag(void *vctx, const OSSL_PARAM *p)
{
    struct cipher *ctx = vctx;

    if (!cipher_is_aead(ctx) || p->data_type != OSSL_PARAM_OCTET_STRING || p->data_size == 0 ||
        p->data_size > CRYPT_TAG_MAX)
        return cipher_refuse(ctx, "the tag has not 1 to 16 bytes");
    if (p->data != NULL && ctx->encrypt)
        return cipher_refuse(ctx, "a tag is set for decryption");
    ctx->tag_len = p->data_size;
    if (p->data != NULL)
        memcpy(ctx->tag, p->data, p->data_size);
    ctx->tag_set |= p->data != NULL;
    return 1;
}

static int set_iv_len(void *vctx, const OSSL_PARAM *p)
{
    struct cipher *ctx = vctx;
    size_t len = 0;

    if (!OSSL_PARAM_get_size_t(p, &len) || !iv_len_fits(ctx, len))
        return cipher_refuse(ctx, "the IV has not a length that the mode has");
    ctx->iv_set = ctx->iv_set && len == ctx->iv_len;
    ctx->iv_len = len;
    return 1;
}

static int set_cts_mode(void *vctx, const OSSL_PARAM *p)
{
    const char *mode = NULL;

    return text_param_get(p, &mode) &&
           (strcmp(mode, "CS1") == 0 ||
            cipher_refuse(vctx, "of ciphertext stealing, PKCS#11 has CS1"));
}

/* EVP_CIPHER_CTX_iv(3) asks for a pointer. */
static int iv_answer(const struct cipher *ctx, OSSL_PARAM *p, const uint8_t *iv)
{
    if (ctx->row->iv_len != 0 && !ctx->iv_set)
        return cipher_refuse(ctx, "no IV is set");
    return p->data_type == OSSL_PARAM_OCTET_PTR ? OSSL_PARAM_set_octet_ptr(p, iv, ctx->iv_len)
                                                : OSSL_PARAM_set_octet_string(p, iv, ctx->iv_len);
}

static int get_iv(const void *vctx, OSSL_PARAM *p)
{
    const struct cipher *ctx = vctx;

    return iv_answer(ctx, p, ctx->first_iv);
}

static int get_updated_iv(const void *vctx, OSSL_PARAM *p)
{
    const struct cipher *ctx = vctx;
    uint8_t iv[CRYPT_IV_MAX];

    if (p->data_type == OSSL_PARAM_OCTET_PTR)
        return iv_answer(ctx, p, ctx->iv);
    next_iv(ctx, iv);
    return iv_answer(ctx, p, iv);
}

static int get_tag_len(const void *vctx, OSSL_PARAM *p)
{
    const struct cipher *ctx = vctx;

    return OSSL_PARAM_set_size_t(p, cipher_is_aead(ctx) ? ctx->tag_len : 0);
}

static int get_tag(const void *vctx, OSSL_PARAM *p)
{
    const struct cipher *ctx = vctx;

    if (!cipher_is_aead(ctx) || !ctx->encrypt || !ctx->done)
        return cipher_refuse(ctx, "there is a tag after the message only");
    if (p->data == NULL)
        return OSSL_PARAM_set_octet_string(p, ctx->tag, ctx->tag_len);
    if (p->data_size == 0 || p->data_size > ctx->tag_len)
        return cipher_refuse(ctx, "the tag has another length");
    return OSSL_PARAM_set_octet_string(p, ctx->tag, p->data_size);
}

#define SETTABLE(ROW)                                                                              \
    ROW(OSSL_CIPHER_PARAM_PADDING, uint, param_set_uint, FIELD(struct cipher, padding, unsigned))  \
    ROW(OSSL_CIPHER_PARAM_IVLEN, size_t, set_iv_len, WHOLE)                                        \
    ROW(OSSL_CIPHER_PARAM_AEAD_TAG, octet_string, set_tag, WHOLE)                                  \
    ROW(OSSL_CIPHER_PARAM_CTS_MODE, utf8_string, set_cts_mode, WHOLE)                              \
    ROW(PKCS11_BRIDGE_CIPHER_FINAL_ROOM, size_t, param_set_size,                                   \
        FIELD(struct cipher, room, size_t))                                                        \
    ROW(PKCS11_BRIDGE_CIPHER_TAG_ROOM, uint, param_set_uint,                                       \
        FIELD(struct cipher, tag_room, unsigned))

#define GETTABLE(ROW)                                                                              \
    ROW(OSSL_CIPHER_PARAM_KEYLEN, size_t, param_get_size, FIELD(struct cipher, key_len, size_t))   \
    ROW(OSSL_CIPHER_PARAM_IVLEN, size_t, param_get_size, FIELD(struct cipher, iv_len, size_t))     \
    ROW(OSSL_CIPHER_PARAM_PADDING, uint, param_get_uint, FIELD(struct cipher, padding, unsigned))  \
    ROW(OSSL_CIPHER_PARAM_IV, octet_string, get_iv, WHOLE)                                         \
    ROW(OSSL_CIPHER_PARAM_UPDATED_IV, octet_string, get_updated_iv, WHOLE)                         \
    ROW(OSSL_CIPHER_PARAM_AEAD_TAGLEN, size_t, get_tag_len, WHOLE)                                 \
    ROW(OSSL_CIPHER_PARAM_AEAD_TAG, octet_string, get_tag, WHOLE)

PARAMS_SET(cipher, SETTABLE)
PARAMS_GET(cipher, GETTABLE)

/* What is known of a cipher without a context. */
struct constants {
    unsigned mode;
    size_t key_len, iv_len, block_size;
    int aead, custom_iv, cts;
};

#define CONSTANTS(ROW)                                                                             \
    ROW(OSSL_CIPHER_PARAM_MODE, uint, param_get_uint, FIELD(struct constants, mode, unsigned))     \
    ROW(OSSL_CIPHER_PARAM_KEYLEN, size_t, param_get_size,                                          \
        FIELD(struct constants, key_len, size_t))                                                  \
    ROW(OSSL_CIPHER_PARAM_IVLEN, size_t, param_get_size, FIELD(struct constants, iv_len, size_t))  \
    ROW(OSSL_CIPHER_PARAM_BLOCK_SIZE, size_t, param_get_size,                                      \
        FIELD(struct constants, block_size, size_t))                                               \
    ROW(OSSL_CIPHER_PARAM_AEAD, int, param_get_int, FIELD(struct constants, aead, int))            \
    ROW(OSSL_CIPHER_PARAM_CUSTOM_IV, int, param_get_int, FIELD(struct constants, custom_iv, int))  \
    ROW(OSSL_CIPHER_PARAM_CTS, int, param_get_int, FIELD(struct constants, cts, int))

PARAM_GETTERS(constant_getters, CONSTANTS);
PARAM_LIST(constant_list, CONSTANTS);

static const OSSL_PARAM *cipher_gettable_params(void *provctx)
{
    (void)provctx;
    return constant_list;
}

static int cipher_constants(OSSL_PARAM params[], enum crypt_mode mode, size_t key_len)
{
    const struct crypt_row *row = &crypt_rows[mode];
    const struct constants constants = {
        .mode = row->number,
        .key_len = key_len,
        .iv_len = row->iv_len,
        .block_size = row->block_size,
        .aead = row->way == CRYPT_AEAD,
        .custom_iv = row->way == CRYPT_AEAD || crypt_wraps(row),
        .cts = mode == CRYPT_CTS,
    };

    return params_get(constant_getters, &constants, params);
}

/* The rows: ROW(bits, mode, the name of the mode). */
#define MODES(ROW, bits)                                                                           \
    ROW(bits, ECB, "ECB")                                                                          \
    ROW(bits, CBC, "CBC")                                                                          \
    ROW(bits, CTS, "CBC-CTS")                                                                      \
    ROW(bits, CTR, "CTR")                                                                          \
    ROW(bits, CFB, "CFB")                                                                          \
    ROW(bits, OFB, "OFB")                                                                          \
    ROW(bits, KW, "WRAP")                                                                          \
    ROW(bits, KWP, "WRAP-PAD")                                                                     \
    ROW(bits, CCM, "CCM")                                                                          \
    ROW(bits, GCM, "GCM")

#define CIPHERS(ROW) MODES(ROW, 128) MODES(ROW, 192) MODES(ROW, 256)

#define FUNCTIONS(bits, mode, name)                                                                \
    static OSSL_FUNC_cipher_newctx_fn new_##bits##_##mode;                                         \
    static OSSL_FUNC_cipher_get_params_fn constants_##bits##_##mode;                               \
    static void *new_##bits##_##mode(void *provctx)                                                \
    {                                                                                              \
        return cipher_new(provctx, CRYPT_##mode, (bits) / 8);                                      \
    }                                                                                              \
    static int constants_##bits##_##mode(OSSL_PARAM params[])                                      \
    {                                                                                              \
        return cipher_constants(params, CRYPT_##mode, (bits) / 8);                                 \
    }                                                                                              \
    static const OSSL_DISPATCH functions_##bits##_##mode[] = {                                     \
        { OSSL_FUNC_CIPHER_NEWCTX, (void (*)(void))new_##bits##_##mode },                          \
        { OSSL_FUNC_CIPHER_FREECTX, (void (*)(void))cipher_freectx },                              \
        { OSSL_FUNC_CIPHER_DUPCTX, (void (*)(void))cipher_dupctx },                                \
        { OSSL_FUNC_CIPHER_ENCRYPT_INIT, (void (*)(void))cipher_encrypt_init },                    \
        { OSSL_FUNC_CIPHER_DECRYPT_INIT, (void (*)(void))cipher_decrypt_init },                    \
        { OSSL_FUNC_CIPHER_ENCRYPT_SKEY_INIT, (void (*)(void))cipher_encrypt_skey_init },          \
        { OSSL_FUNC_CIPHER_DECRYPT_SKEY_INIT, (void (*)(void))cipher_decrypt_skey_init },          \
        { OSSL_FUNC_CIPHER_UPDATE, (void (*)(void))cipher_update },                                \
        { OSSL_FUNC_CIPHER_FINAL, (void (*)(void))cipher_final },                                  \
        { OSSL_FUNC_CIPHER_GET_PARAMS, (void (*)(void))constants_##bits##_##mode },                \
        { OSSL_FUNC_CIPHER_GETTABLE_PARAMS, (void (*)(void))cipher_gettable_params },              \
        { OSSL_FUNC_CIPHER_GET_CTX_PARAMS, (void (*)(void))cipher_get_ctx_params },                \
        { OSSL_FUNC_CIPHER_GETTABLE_CTX_PARAMS, (void (*)(void))cipher_gettable_ctx_params },      \
        { OSSL_FUNC_CIPHER_SET_CTX_PARAMS, (void (*)(void))cipher_set_ctx_params },                \
        { OSSL_FUNC_CIPHER_SETTABLE_CTX_PARAMS, (void (*)(void))cipher_settable_ctx_params },      \
        { 0, NULL },                                                                               \
    };

CIPHERS(FUNCTIONS)

#define ALGORITHM(bits, mode, name)                                                                \
    { PKCS11_BRIDGE_CIPHER_PREFIX "AES-" #bits "-" name, PROPERTIES, functions_##bits##_##mode,    \
      "AES with keys of a token" },

const OSSL_ALGORITHM cipher_algorithms[] = { CIPHERS(ALGORITHM){ NULL, NULL, NULL, NULL } };
