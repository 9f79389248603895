#include "ops/cipher.h"

#include <string.h>

/* Bytes that are held, in, and zeros up to the end of a block. */
static bool fill_up(const struct cipher *ctx, struct view *in, struct bytes *memory)
{
    size_t rest = (ctx->held + in->len) % CRYPT_BLOCK;

    return cipher_join(ctx, in, rest != 0 ? CRYPT_BLOCK - rest : 0, memory);
}

/* Of in, whole blocks, all but the last surplus bytes are the message's. */
static void stream_go_on(struct cipher *ctx, struct view in, const uint8_t *result, size_t surplus)
{
    size_t blocks = in.len / CRYPT_BLOCK - (surplus != 0), whole = blocks * CRYPT_BLOCK;

    if (blocks != 0)
        crypt_advance(ctx->row, ctx->encrypt, ctx->iv, in.data + whole - CRYPT_BLOCK,
                      result + whole - CRYPT_BLOCK, blocks);
    cipher_hold(ctx, in.data + whole, in.len - whole - surplus);
}

/* The token gets whole blocks: openCryptoki's wants them for CTR. A block in progress goes through
 * again from its beginning, one that is not complete with zeros behind it, and what comes of either
 * is left out. */
int cipher_stream_update(void *vctx, unsigned char *out, size_t *out_len, size_t out_size,
                         const unsigned char *data, size_t len)
{
    struct cipher *ctx = vctx;
    struct view in = { data, len };
    _cleanup_(bytes_wipe) struct bytes memory = { NULL, 0 }, result = { NULL, 0 };
    const size_t before = ctx->held;
    size_t got = 0;

    if (len == 0)
        return 1;
    if (len > out_size)
        return cipher_refuse(ctx, "the buffer is too small");
    if (!fill_up(ctx, &in, &memory) || !bytes_make(&result, in.len))
        return 0;
    if (cipher_run(ctx, in, result.data, in.len, &got) != CRYPT_DONE)
        return 0;
    if (got != in.len)
        return cipher_refuse(ctx, ANOTHER_LENGTH);
    stream_go_on(ctx, in, result.data, in.len - before - len);
    memcpy(out, result.data + before, len);
    *out_len = len;
    return 1;
}

int cipher_stream_final(void *vctx, unsigned char *out, size_t *out_len, size_t out_size)
{
    (void)vctx;
    (void)out;
    (void)out_len;
    (void)out_size;
    return 1;
}

/* The caller's IV is looked at when it is used: it may have come before the key. */
