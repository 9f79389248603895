/* What an EVP_CIPHER_CTX of this provider holds (ops/cipher.c), and the ways in which a message
 * goes through: by blocks, as a stream, or whole. */
#ifndef BRIDGE_OPS_CIPHER_H
#define BRIDGE_OPS_CIPHER_H

#include <openssl/core_dispatch.h>

#include "base/scope.h"
#include "key/crypt.h"
#include "key/gcm.h"

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
    bool going;        /* it is initialised, and nothing was refused since */
    bool done;         /* the message went to the token */
    bool finished;     /* there was a final */
};

static inline bool cipher_is_gcm(const struct cipher *ctx)
{
    return ctx->row == &crypt_rows[CRYPT_GCM];
}

static inline bool cipher_is_aead(const struct cipher *ctx)
{
    return ctx->row->way == CRYPT_AEAD;
}

/* Raises an error: why it cannot encrypt, or decrypt. 0. */
int cipher_refuse(const struct cipher *ctx, const char *why);
#define ANOTHER_LENGTH "the token returned another length than that of the message"

/* One message for the token, of in into out, which has room for size bytes; *len: of the result.
 * An error is raised unless it is CRYPT_DONE. */
enum crypt_result cipher_run(struct cipher *ctx, struct view in, uint8_t *out, size_t size,
                             size_t *len);

/* The ways, which are called when the context is going, and has a key and an IV. *out_len is 0.
 *
 * ECB and CBC: whole blocks go through as they come; cipher_blocks.c. */
OSSL_FUNC_cipher_update_fn cipher_blocks_update;
OSSL_FUNC_cipher_final_fn cipher_blocks_final;

/* CTR, CFB and OFB: any bytes go through as they come; cipher_stream.c. */
OSSL_FUNC_cipher_update_fn cipher_stream_update;
OSSL_FUNC_cipher_final_fn cipher_stream_final;

/* What needs its message whole, and with it AAD and tag; cipher_whole.c. */
OSSL_FUNC_cipher_update_fn cipher_whole_update;
OSSL_FUNC_cipher_final_fn cipher_whole_final;

/* in, with the bytes that are held before it and so many zeros behind it, in one piece; *memory is
 * to be wiped. False when memory is short. */
bool cipher_join(const struct cipher *ctx, struct view *in, size_t zeros, struct bytes *memory);

/* Holds these, fewer than a block or one. */
void cipher_hold(struct cipher *ctx, const uint8_t *data, size_t len);

#endif
