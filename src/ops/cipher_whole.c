#include "ops/cipher.h"

#include <string.h>

static bool iv_admit(struct cipher *ctx)
{
    return !cipher_is_gcm(ctx) || ctx->iv_made ||
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

    if (!iv_admit(ctx) || cipher_run(ctx, in, sealed, size, &len) != CRYPT_DONE)
        return 0;
    if (len != size)
        return cipher_refuse(
            ctx, "the token returned another length than that of the message and its tag");
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
        return cipher_refuse(ctx, "no tag is set");
    ctx->tag_set = false;
    if (!bytes_make(&sealed, in.len + ctx->tag_len) || !bytes_make(&opened, sealed.len))
        return 0;
    if (in.len != 0)
        memcpy(sealed.data, in.data, in.len);
    memcpy(sealed.data + in.len, ctx->tag, ctx->tag_len);
    if (cipher_run(ctx, view_bytes(&sealed), opened.data, opened.len, &len) != CRYPT_DONE)
        return 0;
    if (len != in.len)
        return cipher_refuse(ctx, ANOTHER_LENGTH);
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
        cipher_run(ctx, in, opened.data, opened.len, &len) != CRYPT_DONE)
        return 0;
    if (len == 0 || len > most || len + padding < most)
        return cipher_refuse(ctx, ANOTHER_LENGTH);
    memcpy(out, opened.data, len);
    *out_len = len;
    return 1;
}

static int run_whole(struct cipher *ctx, struct view in, uint8_t *out, size_t *out_len)
{
    const size_t size = crypt_len(ctx->row, ctx->encrypt, in.len);

    ctx->done = true;
    if (cipher_is_aead(ctx))
        return ctx->encrypt ? seal(ctx, in, out, out_len) : unseal(ctx, in, out, out_len);
    if (in.len < ctx->row->least)
        return cipher_refuse(ctx, "the message is too short for the mode");
    if (crypt_wraps(ctx->row) && !ctx->encrypt)
        return unwrap(ctx, in, out, out_len);
    if (cipher_run(ctx, in, out, size, out_len) != CRYPT_DONE)
        return 0;
    return *out_len == size || cipher_refuse(ctx, ANOTHER_LENGTH);
}

static int collect(struct cipher *ctx, struct pieces *to, const uint8_t *data, size_t len)
{
    const unsigned most = ctx->provider->config.collect_max;

    if (len > most || to->all.len > most - len)
        return cipher_refuse(ctx, "the mode takes the message whole, and it is longer than "
                                  "pkcs11-collect-max");
    return pieces_add(to, data, len);
}

/* What is authenticated, or, for CCM, how long the message will be: it comes in one piece. */
static int take_beside(struct cipher *ctx, size_t *out_len, const uint8_t *data, size_t len)
{
    *out_len = len;
    if (!cipher_is_aead(ctx) || ctx->done || ctx->message.all.len != 0)
        return cipher_refuse(ctx, "what is authenticated comes before the message");
    return data == NULL || collect(ctx, &ctx->aad, data, len);
}

int cipher_whole_update(void *vctx, unsigned char *out, size_t *out_len, size_t out_size,
                        const unsigned char *data, size_t len)
{
    struct cipher *ctx = vctx;

    if (out == NULL)
        return take_beside(ctx, out_len, data, len);
    if (len == 0)
        return 1;
    if (ctx->done)
        return cipher_refuse(
            ctx, "the message went through with the call before; who has it in pieces sets "
                 "pkcs11-final-room");
    if (ctx->room != 0)
        return collect(ctx, &ctx->message, data, len);
    if (cipher_is_aead(ctx) && !ctx->encrypt && !ctx->tag_set)
        return cipher_refuse(
            ctx, "nothing is given out before its tag is checked: set the tag first, or "
                 "pkcs11-final-room");
    return len <= out_size ? run_whole(ctx, (struct view){ data, len }, out, out_len)
                           : cipher_refuse(ctx, "the buffer is too small");
}

/* Of a message that has not gone through: what was collected, or none, which has a tag as well. */
int cipher_whole_final(void *vctx, unsigned char *out, size_t *out_len, size_t out_size)
{
    struct cipher *ctx = vctx;
    struct view message = view_bytes(&ctx->message.all);
    int ok;

    (void)out_size; /* the room is what the caller said */
    if (ctx->finished)
        return cipher_refuse(ctx, "initialise it before each message");
    ctx->finished = cipher_is_aead(ctx);
    if (ctx->done || (message.len == 0 && !cipher_is_aead(ctx)))
        return 1;
    if (crypt_len(ctx->row, ctx->encrypt, message.len) > ctx->room && message.len != 0)
        return cipher_refuse(ctx, "the message is longer than pkcs11-final-room");
    ok = run_whole(ctx, message, out, out_len);
    pieces_wipe(&ctx->message);
    return ok;
}
