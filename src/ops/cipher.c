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
#include "key/crypt.h"
#include "key/gcm.h"
#include "ops/algorithms.h"
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
static OSSL_FUNC_cipher_update_fn blocks_update;
static OSSL_FUNC_cipher_final_fn blocks_final;
static OSSL_FUNC_cipher_update_fn stream_update;
static OSSL_FUNC_cipher_final_fn stream_final;
static OSSL_FUNC_cipher_update_fn whole_update;
static OSSL_FUNC_cipher_final_fn whole_final;
static OSSL_FUNC_cipher_gettable_params_fn cipher_gettable_params;
static OSSL_FUNC_cipher_get_ctx_params_fn cipher_get_ctx_params;
static OSSL_FUNC_cipher_set_ctx_params_fn cipher_set_ctx_params;
static OSSL_FUNC_cipher_gettable_ctx_params_fn cipher_gettable_ctx_params;
static OSSL_FUNC_cipher_settable_ctx_params_fn cipher_settable_ctx_params;

#define NONCE_LEAST 7 /* CCM: RFC 3610 §2 */
#define NONCE_MOST  13

struct cipher {
    struct provider *provider;
    const struct crypt_row *row;
    size_t key_len;
    struct key *key;
    bool encrypt;
    unsigned padding;
    uint8_t iv[CRYPT_IV_MAX]; /* of what comes next */
    uint8_t first_iv[CRYPT_IV_MAX];
    size_t iv_len;
    bool iv_set, iv_made;
    struct gcm_permit permit;   /* for one encryption with it */
    uint8_t block[CRYPT_BLOCK]; /* the input of a block that is not complete, or is kept back */
    size_t held;                /* bytes of it */
    struct pieces aad, message; /* as far as they have come */
    struct bytes sealed;        /* memory for what the token encrypts, where it is kept */
    uint8_t tag[CRYPT_TAG_MAX];
    size_t tag_len;
    bool tag_set;      /* by the caller, for decryption */
    size_t room;       /* of the caller at the end; 0: not said */
    unsigned tag_room; /* of the caller, behind a message that is encrypted: whether there is */
    bool done;         /* the message went through */
};

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

#define ANOTHER_LENGTH "the token returned another length than that of the message"

static int no(const struct cipher *ctx, const char *why)
{
    return refuse(ctx->provider, ctx->encrypt ? "cannot encrypt:" : "cannot decrypt:", why);
}

static bool is_gcm(const struct cipher *ctx)
{
    return ctx->row == &crypt_rows[CRYPT_GCM];
}

static bool is_aead(const struct cipher *ctx)
{
    return ctx->row->way == CRYPT_AEAD;
}

static int take_key(struct cipher *ctx, struct key *key)
{
    if (key->secret_len != 0 && key->secret_len != ctx->key_len)
        return no(ctx, "the key has not the length of the cipher's");
    if (!key_can_crypt(key, ctx->row, ctx->encrypt))
        return 0;
    (void)key_ref(key);
    key_free(ctx->key);
    ctx->key = key;
    return 1;
}

static bool iv_len_fits(const struct cipher *ctx, size_t len)
{
    if (is_gcm(ctx))
        return len >= 1 && len <= CRYPT_IV_MAX;
    if (is_aead(ctx))
        return len >= NONCE_LEAST && len <= NONCE_MOST;
    return len == ctx->row->iv_len;
}

static int take_iv(struct cipher *ctx, const uint8_t *iv, size_t len)
{
    if (is_gcm(ctx) && ctx->encrypt && !ctx->provider->config.gcm_caller_iv)
        return no(ctx, "AES-GCM makes its IVs here, and the one of the context is to be read after "
                       "its initialisation, unless pkcs11-gcm-caller-iv = yes");
    if (!iv_len_fits(ctx, len))
        return no(ctx, "the IV has not the length that the mode has");
    memcpy(ctx->first_iv, iv, len);
    ctx->iv_len = len;
    ctx->iv_set = true;
    ctx->iv_made = false;
    return 1;
}

/* For a message that begins. */
static int make_iv(struct cipher *ctx)
{
    if (!is_gcm(ctx) || !ctx->encrypt)
        return 1;
    ctx->iv_len = GCM_IV_LEN;
    ctx->iv_set = ctx->key != NULL && gcm_iv_next(ctx->key, ctx->first_iv, &ctx->permit);
    ctx->iv_made = ctx->iv_set;
    return ctx->key == NULL || ctx->iv_set;
}

static int init(struct cipher *ctx, struct key *key, const uint8_t *iv, size_t iv_len,
                const OSSL_PARAM params[], bool encrypt)
{
    ctx->encrypt = encrypt;
    ctx->held = 0;
    ctx->done = false;
    ctx->permit = (struct gcm_permit){ 0 }; /* the IV may be another key's, where this fails */
    pieces_wipe(&ctx->aad);
    pieces_wipe(&ctx->message);
    if (key != NULL && !take_key(ctx, key))
        return 0;
    if (iv != NULL ? !take_iv(ctx, iv, iv_len) : !make_iv(ctx))
        return 0;
    memcpy(ctx->iv, ctx->first_iv, ctx->iv_len);
    return cipher_set_ctx_params(ctx, params);
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
    return no(ctx, "this is for keys of a token (EVP_CipherInit_SKEY)");
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
        return no(ctx, "no key is set");
    return ctx->iv_set || ctx->row->iv_len == 0 || crypt_wraps(ctx->row) || no(ctx, "no IV is set");
}

static enum crypt_result run(struct cipher *ctx, struct view in, uint8_t *out, size_t size,
                             size_t *len)
{
    const struct crypt_request request = {
        .row = ctx->row,
        .encrypt = ctx->encrypt,
        .iv = { ctx->iv, ctx->iv_set ? ctx->iv_len : 0 },
        .aad = view_bytes(&ctx->aad.all),
        .tag_len = ctx->tag_len,
        .len = is_aead(ctx) && !ctx->encrypt ? in.len - ctx->tag_len : in.len,
    };
    enum crypt_result result = key_crypt(ctx->key, &request, &ctx->permit, in, out, size, len);

    if (result == CRYPT_WRONG)
        (void)no(ctx, is_aead(ctx) ? "the message, or its tag, is wrong" : "the data is wrong");
    return result;
}

/* in, with the bytes that are held before it and so many zeros behind it, in one piece; *memory is
 * to be wiped. */
static bool join(const struct cipher *ctx, struct view *in, size_t zeros, struct bytes *memory)
{
    if (ctx->held == 0 && zeros == 0)
        return true;
    if (!bytes_make(memory, ctx->held + in->len + zeros))
        return false;
    memcpy(memory->data, ctx->block, ctx->held);
    if (in->len != 0)
        memcpy(memory->data + ctx->held, in->data, in->len);
    *in = view_bytes(memory);
    return true;
}

static void hold(struct cipher *ctx, const uint8_t *data, size_t len)
{
    if (len != 0)
        memcpy(ctx->block, data, len);
    ctx->held = len;
}

/* Whole blocks, of which as many come out, perhaps in their place. */
static int run_blocks(struct cipher *ctx, struct view in, uint8_t *out)
{
    uint8_t last[CRYPT_BLOCK];
    size_t len = 0;

    if (in.len == 0)
        return 1;
    memcpy(last, in.data + in.len - CRYPT_BLOCK, CRYPT_BLOCK);
    if (run(ctx, in, out, in.len, &len) != CRYPT_DONE)
        return 0;
    if (len != in.len)
        return no(ctx, "the token returned another length than that of the blocks");
    crypt_advance(ctx->row, ctx->encrypt, ctx->iv, last, out + len - CRYPT_BLOCK,
                  len / CRYPT_BLOCK);
    return 1;
}

/* How many of len bytes go through now. The last block of what has padding comes with the final. */
static size_t blocks_now(const struct cipher *ctx, size_t len)
{
    size_t rest = len % CRYPT_BLOCK;

    if (rest == 0 && len != 0 && ctx->padding && !ctx->encrypt)
        rest = CRYPT_BLOCK;
    return len - rest;
}

static int blocks_update(void *vctx, unsigned char *out, size_t *out_len, size_t out_size,
                         const unsigned char *data, size_t len)
{
    KEEP_ERRNO;
    struct cipher *ctx = vctx;
    struct view in = { data, len };
    _cleanup_(bytes_wipe) struct bytes memory = { NULL, 0 };
    size_t now;

    if (!is_ready(ctx) || !join(ctx, &in, 0, &memory))
        return 0;
    now = blocks_now(ctx, in.len);
    if (now > out_size)
        return no(ctx, "the buffer is too small");
    if (!run_blocks(ctx, (struct view){ in.data, now }, out))
        return 0;
    hold(ctx, in.data + now, in.len - now);
    *out_len = now;
    return 1;
}

/* The length of a last block without its padding; false where that is none (RFC 5652 §6.3). */
static bool unpad(const uint8_t block[CRYPT_BLOCK], size_t *len)
{
    const uint8_t count = block[CRYPT_BLOCK - 1];
    unsigned wrong = count == 0 || count > CRYPT_BLOCK;

    for (size_t i = 0; i < CRYPT_BLOCK; i++)
        wrong |= (unsigned)(i < count) & (unsigned)(block[CRYPT_BLOCK - 1 - i] != count);
    *len = CRYPT_BLOCK - count;
    return wrong == 0;
}

static int final_padded(struct cipher *ctx, uint8_t *out, size_t *out_len, size_t out_size)
{
    uint8_t block[CRYPT_BLOCK];

    if (ctx->encrypt)
        memset(ctx->block + ctx->held, (int)(CRYPT_BLOCK - ctx->held), CRYPT_BLOCK - ctx->held);
    else if (ctx->held != CRYPT_BLOCK)
        return no(ctx, "the message is no whole number of blocks");
    if (out_size < CRYPT_BLOCK)
        return no(ctx, "the buffer is too small");
    if (!run_blocks(ctx, VIEW(ctx->block), block))
        return 0;
    *out_len = CRYPT_BLOCK;
    if (!ctx->encrypt && !unpad(block, out_len))
        return no(ctx, "the padding is wrong");
    memcpy(out, block, *out_len);
    OPENSSL_cleanse(block, sizeof(block));
    return 1;
}

static int blocks_final(void *vctx, unsigned char *out, size_t *out_len, size_t out_size)
{
    KEEP_ERRNO;
    struct cipher *ctx = vctx;

    *out_len = 0;
    if (!is_ready(ctx))
        return 0;
    if (ctx->padding)
        return final_padded(ctx, out, out_len, out_size);
    return ctx->held == 0 || no(ctx, "the message is no whole number of blocks");
}

/* Bytes that are held, in, and zeros up to the end of a block. */
static bool fill_up(const struct cipher *ctx, struct view *in, struct bytes *memory)
{
    size_t rest = (ctx->held + in->len) % CRYPT_BLOCK;

    return join(ctx, in, rest != 0 ? CRYPT_BLOCK - rest : 0, memory);
}

/* Of in, whole blocks, all but the last surplus bytes are the message's. */
static void stream_go_on(struct cipher *ctx, struct view in, const uint8_t *result, size_t surplus)
{
    size_t blocks = in.len / CRYPT_BLOCK - (surplus != 0), whole = blocks * CRYPT_BLOCK;

    if (blocks != 0)
        crypt_advance(ctx->row, ctx->encrypt, ctx->iv, in.data + whole - CRYPT_BLOCK,
                      result + whole - CRYPT_BLOCK, blocks);
    hold(ctx, in.data + whole, in.len - whole - surplus);
}

/* The token gets whole blocks: openCryptoki's wants them for CTR. A block in progress goes through
 * again from its beginning, one that is not complete with zeros behind it, and what comes of either
 * is left out. */
static int stream_update(void *vctx, unsigned char *out, size_t *out_len, size_t out_size,
                         const unsigned char *data, size_t len)
{
    KEEP_ERRNO;
    struct cipher *ctx = vctx;
    struct view in = { data, len };
    _cleanup_(bytes_wipe) struct bytes memory = { NULL, 0 }, result = { NULL, 0 };
    const size_t before = ctx->held;
    size_t got = 0;

    *out_len = 0;
    if (!is_ready(ctx) || len == 0)
        return is_ready(ctx);
    if (len > out_size)
        return no(ctx, "the buffer is too small");
    if (!fill_up(ctx, &in, &memory) || !bytes_make(&result, in.len))
        return 0;
    if (run(ctx, in, result.data, in.len, &got) != CRYPT_DONE)
        return 0;
    if (got != in.len)
        return no(ctx, ANOTHER_LENGTH);
    stream_go_on(ctx, in, result.data, in.len - before - len);
    memcpy(out, result.data + before, len);
    *out_len = len;
    return 1;
}

static int stream_final(void *vctx, unsigned char *out, size_t *out_len, size_t out_size)
{
    (void)out;
    (void)out_size;
    *out_len = 0;
    return is_ready(vctx);
}

/* The caller's IV is looked at when it is used: it may have come before the key. */
static bool iv_admit(struct cipher *ctx)
{
    return !is_gcm(ctx) || ctx->iv_made ||
           gcm_iv_take(ctx->key, (struct view){ ctx->iv, ctx->iv_len }, &ctx->permit);
}

/* A context keeps so much for its next message: libc gives memory back to the system, and gets it
 * again, at the pace of messages. */
#define SEALED_KEPT (1UL << 20)

static bool sealed_ready(struct cipher *ctx, size_t size)
{
    if (ctx->sealed.len >= size)
        return true;
    bytes_clear(&ctx->sealed);
    return bytes_make(&ctx->sealed, size);
}

/* To sealed, the message and, behind it, the tag. */
static int seal_into(struct cipher *ctx, struct view in, uint8_t *sealed)
{
    size_t size = in.len + ctx->tag_len, len = 0;

    if (!iv_admit(ctx) || run(ctx, in, sealed, size, &len) != CRYPT_DONE)
        return 0;
    if (len != size)
        return no(ctx, "the token returned another length than that of the message and its tag");
    memcpy(ctx->tag, sealed + in.len, ctx->tag_len);
    return 1;
}

static int seal_and_copy(struct cipher *ctx, struct view in, uint8_t *out)
{
    if (!sealed_ready(ctx, in.len + ctx->tag_len) || !seal_into(ctx, in, ctx->sealed.data))
        return 0;
    if (in.len != 0)
        memcpy(out, ctx->sealed.data, in.len);
    if (ctx->sealed.len > SEALED_KEPT)
        bytes_clear(&ctx->sealed);
    return 1;
}

/* A whole message of an AEAD mode, encrypted. libcrypto promises room for the message alone. */
static int seal(struct cipher *ctx, struct view in, uint8_t *out, size_t *out_len)
{
    const bool at_once = ctx->tag_room != 0 && ctx->room == 0 && in.len != 0;

    if (at_once ? !seal_into(ctx, in, out) : !seal_and_copy(ctx, in, out))
        return 0;
    *out_len = in.len;
    return 1;
}

/* SoftHSM 2.6 wants room for the tag as well. */
static int unseal(struct cipher *ctx, struct view in, uint8_t *out, size_t *out_len)
{
    _cleanup_(bytes_wipe) struct bytes sealed = { NULL, 0 }, opened = { NULL, 0 };
    size_t len = 0;

    if (!ctx->tag_set)
        return no(ctx, "no tag is set");
    ctx->tag_set = false;
    if (!bytes_make(&sealed, in.len + ctx->tag_len) || !bytes_make(&opened, sealed.len))
        return 0;
    if (in.len != 0)
        memcpy(sealed.data, in.data, in.len);
    memcpy(sealed.data + in.len, ctx->tag, ctx->tag_len);
    if (run(ctx, view_bytes(&sealed), opened.data, opened.len, &len) != CRYPT_DONE)
        return 0;
    if (len != in.len)
        return no(ctx, ANOTHER_LENGTH);
    if (len != 0)
        memcpy(out, opened.data, len);
    *out_len = len;
    return 1;
}

/* The caller has room for what comes of it, the token gets as much as for the wrapped key. */
static int unwrap(struct cipher *ctx, struct view in, uint8_t *out, size_t *out_len)
{
    _cleanup_(bytes_wipe) struct bytes opened = { NULL, 0 };
    const size_t most = crypt_len(ctx->row, false, in.len);
    const size_t padding = ctx->row == &crypt_rows[CRYPT_KWP] ? 7 : 0;
    size_t len = 0;

    if (!bytes_add(&opened, in.data, in.len) ||
        run(ctx, in, opened.data, opened.len, &len) != CRYPT_DONE)
        return 0;
    if (len == 0 || len > most || len + padding < most)
        return no(ctx, ANOTHER_LENGTH);
    memcpy(out, opened.data, len);
    *out_len = len;
    return 1;
}

static int run_whole(struct cipher *ctx, struct view in, uint8_t *out, size_t *out_len)
{
    const size_t size = crypt_len(ctx->row, ctx->encrypt, in.len);

    ctx->done = true;
    if (is_aead(ctx))
        return ctx->encrypt ? seal(ctx, in, out, out_len) : unseal(ctx, in, out, out_len);
    if (in.len < ctx->row->least)
        return no(ctx, "the message is too short for the mode");
    if (crypt_wraps(ctx->row) && !ctx->encrypt)
        return unwrap(ctx, in, out, out_len);
    if (run(ctx, in, out, size, out_len) != CRYPT_DONE)
        return 0;
    return *out_len == size || no(ctx, ANOTHER_LENGTH);
}

static int collect(struct cipher *ctx, struct pieces *to, const uint8_t *data, size_t len)
{
    const unsigned most = ctx->provider->config.collect_max;

    if (len > most || to->all.len > most - len)
        return no(ctx, "the mode takes the message whole, and it is longer than "
                       "pkcs11-collect-max");
    return pieces_add(to, data, len);
}

/* What is authenticated, or, for CCM, how long the message will be: it comes in one piece. */
static int take_beside(struct cipher *ctx, size_t *out_len, const uint8_t *data, size_t len)
{
    *out_len = len;
    if (!is_aead(ctx) || ctx->done || ctx->message.all.len != 0)
        return no(ctx, "what is authenticated comes before the message");
    return data == NULL || collect(ctx, &ctx->aad, data, len);
}

static int whole_update(void *vctx, unsigned char *out, size_t *out_len, size_t out_size,
                        const unsigned char *data, size_t len)
{
    KEEP_ERRNO;
    struct cipher *ctx = vctx;

    *out_len = 0;
    if (out == NULL)
        return take_beside(ctx, out_len, data, len);
    if (!is_ready(ctx) || len == 0)
        return is_ready(ctx);
    if (ctx->done)
        return no(ctx, "the message went through with the call before; who has it in pieces sets "
                       "pkcs11-final-room");
    if (ctx->room != 0)
        return collect(ctx, &ctx->message, data, len);
    if (is_aead(ctx) && !ctx->encrypt && !ctx->tag_set)
        return no(ctx, "nothing is given out before its tag is checked: set the tag first, or "
                       "pkcs11-final-room");
    return len <= out_size ? run_whole(ctx, (struct view){ data, len }, out, out_len)
                           : no(ctx, "the buffer is too small");
}

/* Of a message that has not gone through: what was collected, or none, which has a tag as well. */
static int whole_final(void *vctx, unsigned char *out, size_t *out_len, size_t out_size)
{
    KEEP_ERRNO;
    struct cipher *ctx = vctx;
    struct view message = view_bytes(&ctx->message.all);
    int ok;

    (void)out_size; /* the room is what the caller said */
    *out_len = 0;
    if (!is_ready(ctx))
        return 0;
    if (ctx->done || (message.len == 0 && !is_aead(ctx)))
        return 1;
    if (crypt_len(ctx->row, ctx->encrypt, message.len) > ctx->room && message.len != 0)
        return no(ctx, "the message is longer than pkcs11-final-room");
    ok = run_whole(ctx, message, out, out_len);
    pieces_wipe(&ctx->message);
    return ok;
}

static int set_tag(void *vctx, const OSSL_PARAM *p)
{
    struct cipher *ctx = vctx;
    const void *tag = NULL;
    size_t len = 0;

    if (!is_aead(ctx) || p->data_type != OSSL_PARAM_OCTET_STRING || p->data_size == 0 ||
        p->data_size > CRYPT_TAG_MAX)
        return no(ctx, "the tag has not 1 to 16 bytes");
    ctx->tag_len = p->data_size;
    if (p->data == NULL)
        return 1;
    if (ctx->encrypt || !OSSL_PARAM_get_octet_string_ptr(p, &tag, &len))
        return no(ctx, "a tag is set for decryption");
    memcpy(ctx->tag, tag, len);
    ctx->tag_set = true;
    return 1;
}

static int set_iv_len(void *vctx, const OSSL_PARAM *p)
{
    struct cipher *ctx = vctx;
    size_t len = 0;

    if (!OSSL_PARAM_get_size_t(p, &len) || !iv_len_fits(ctx, len))
        return no(ctx, "the IV has not a length that the mode has");
    ctx->iv_set = ctx->iv_set && len == ctx->iv_len;
    ctx->iv_len = len;
    return 1;
}

static int set_cts_mode(void *vctx, const OSSL_PARAM *p)
{
    const char *mode = NULL;

    return text_param_get(p, &mode) &&
           (strcmp(mode, "CS1") == 0 || no(vctx, "of ciphertext stealing, PKCS#11 has CS1"));
}

static int get_iv(const void *vctx, OSSL_PARAM *p)
{
    const struct cipher *ctx = vctx;

    return ctx->iv_set && OSSL_PARAM_set_octet_string(p, ctx->first_iv, ctx->iv_len);
}

static int get_updated_iv(const void *vctx, OSSL_PARAM *p)
{
    const struct cipher *ctx = vctx;

    return ctx->iv_set && OSSL_PARAM_set_octet_string(p, ctx->iv, ctx->iv_len);
}

static int get_tag(const void *vctx, OSSL_PARAM *p)
{
    const struct cipher *ctx = vctx;

    if (!is_aead(ctx) || !ctx->encrypt || !ctx->done)
        return no(ctx, "there is a tag after the message only");
    if (p->data_size == 0 || p->data_size > ctx->tag_len)
        return no(ctx, "the tag has another length");
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
    ROW(OSSL_CIPHER_PARAM_AEAD_TAGLEN, size_t, param_get_size,                                     \
        FIELD(struct cipher, tag_len, size_t))                                                     \
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

/* The rows: ROW(bits, mode, how it goes through, the name of the mode). */
#define MODES(ROW, bits)                                                                           \
    ROW(bits, ECB, blocks, "ECB")                                                                  \
    ROW(bits, CBC, blocks, "CBC")                                                                  \
    ROW(bits, CTS, whole, "CBC-CTS")                                                               \
    ROW(bits, CTR, stream, "CTR")                                                                  \
    ROW(bits, CFB, stream, "CFB")                                                                  \
    ROW(bits, OFB, stream, "OFB")                                                                  \
    ROW(bits, KW, whole, "WRAP")                                                                   \
    ROW(bits, KWP, whole, "WRAP-PAD")                                                              \
    ROW(bits, CCM, whole, "CCM")                                                                   \
    ROW(bits, GCM, whole, "GCM")

#define CIPHERS(ROW) MODES(ROW, 128) MODES(ROW, 192) MODES(ROW, 256)

#define FUNCTIONS(bits, mode, way, name)                                                           \
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
        { OSSL_FUNC_CIPHER_UPDATE, (void (*)(void))way##_update },                                 \
        { OSSL_FUNC_CIPHER_FINAL, (void (*)(void))way##_final },                                   \
        { OSSL_FUNC_CIPHER_GET_PARAMS, (void (*)(void))constants_##bits##_##mode },                \
        { OSSL_FUNC_CIPHER_GETTABLE_PARAMS, (void (*)(void))cipher_gettable_params },              \
        { OSSL_FUNC_CIPHER_GET_CTX_PARAMS, (void (*)(void))cipher_get_ctx_params },                \
        { OSSL_FUNC_CIPHER_GETTABLE_CTX_PARAMS, (void (*)(void))cipher_gettable_ctx_params },      \
        { OSSL_FUNC_CIPHER_SET_CTX_PARAMS, (void (*)(void))cipher_set_ctx_params },                \
        { OSSL_FUNC_CIPHER_SETTABLE_CTX_PARAMS, (void (*)(void))cipher_settable_ctx_params },      \
        { 0, NULL },                                                                               \
    };

CIPHERS(FUNCTIONS)

#define ALGORITHM(bits, mode, way, name)                                                           \
    { PKCS11_BRIDGE_CIPHER_PREFIX "AES-" #bits "-" name, PROPERTIES, functions_##bits##_##mode,    \
      "AES with keys of a token" },

const OSSL_ALGORITHM cipher_algorithms[] = { CIPHERS(ALGORITHM){ NULL, NULL, NULL, NULL } };
