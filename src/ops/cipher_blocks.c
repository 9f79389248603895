#include "ops/cipher.h"

#include <string.h>

#include <openssl/crypto.h>

bool cipher_join(const struct cipher *ctx, struct view *in, size_t zeros, struct bytes *memory)
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

void cipher_hold(struct cipher *ctx, const uint8_t *data, size_t len)
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
    if (cipher_run(ctx, in, out, in.len, &len) != CRYPT_DONE)
        return 0;
    if (len != in.len)
        return cipher_refuse(ctx, "the token returned another length than that of the blocks");
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

int cipher_blocks_update(void *vctx, unsigned char *out, size_t *out_len, size_t out_size,
                         const unsigned char *data, size_t len)
{
    struct cipher *ctx = vctx;
    struct view in = { data, len };
    _cleanup_(bytes_wipe) struct bytes memory = { NULL, 0 };
    size_t now;

    if (!cipher_join(ctx, &in, 0, &memory))
        return 0;
    now = blocks_now(ctx, in.len);
    if (now > out_size)
        return cipher_refuse(ctx, "the buffer is too small");
    if (!run_blocks(ctx, (struct view){ in.data, now }, out))
        return 0;
    cipher_hold(ctx, in.data + now, in.len - now);
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

/* The last block: what is held and its padding, or a block that was kept back. */
static int final_block(struct cipher *ctx, uint8_t *out, size_t *out_len, size_t out_size)
{
    uint8_t block[CRYPT_BLOCK];

    if (ctx->encrypt)
        memset(ctx->block + ctx->held, (int)(CRYPT_BLOCK - ctx->held), CRYPT_BLOCK - ctx->held);
    else if (ctx->held != CRYPT_BLOCK)
        return cipher_refuse(ctx, "the message is no whole number of blocks");
    if (out_size < CRYPT_BLOCK)
        return cipher_refuse(ctx, "the buffer is too small");
    if (!run_blocks(ctx, VIEW(ctx->block), block))
        return 0;
    ctx->held = 0;
    *out_len = CRYPT_BLOCK;
    if (ctx->padding && !ctx->encrypt && !unpad(block, out_len))
        return cipher_refuse(ctx, "the padding is wrong");
    memcpy(out, block, *out_len);
    OPENSSL_cleanse(block, sizeof(block));
    return 1;
}

int cipher_blocks_final(void *vctx, unsigned char *out, size_t *out_len, size_t out_size)
{
    struct cipher *ctx = vctx;

    if (ctx->padding || (!ctx->encrypt && ctx->held == CRYPT_BLOCK))
        return final_block(ctx, out, out_len, out_size);
    return ctx->held == 0 || cipher_refuse(ctx, "the message is no whole number of blocks");
}
