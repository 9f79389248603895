/* The uses of a key that is on the host (key/software.h): the host's own operations, on contexts of
 * the host, with all parameters that it has. What is a padding, a digest or a curve there, is one
 * here.
 *
 * The context of every operation begins with a struct held, and every function that libcrypto calls
 * with it is a DOOR: it asks where the context's key is, and leads to the host or to the token. */
#ifndef BRIDGE_HELD_H
#define BRIDGE_HELD_H

#include <openssl/core_dispatch.h>

#include "key/key.h"

struct held {
    struct key *key;    /* NULL: the context's key is not on the host */
    EVP_PKEY_CTX *pkey; /* of the operation; belongs to md where there is one */
    EVP_MD_CTX *md;     /* of a signature of a message */
    int (*kem)(EVP_PKEY_CTX *ctx, const OSSL_PARAM params[]); /* what began a key encapsulation */
};

/* The context's key is another now. */
void held_change(struct held *held, struct key *key);

/* Whether the context begins with a key that is on the host; without a key, whether the last one
 * is. */
static inline bool held_takes(void *ctx, void *vkey)
{
    struct held *held = ctx;
    struct key *key = vkey;

    if (key != NULL && (key->software != SOFTWARE_NOT || held->key != NULL))
        held_change(held, key);
    return held->key != NULL;
}

static inline bool held_is(const void *ctx)
{
    return ((const struct held *)ctx)->key != NULL;
}

/* Makes *copy, which holds nothing yet, another of the same. */
bool held_copy(struct held *copy, const struct held *held);
void held_end(struct held *held);

/* The functions of provider-signature(7), provider-asym_cipher(7), provider-keyexch(7) and
 * provider-kem(7), for a context that held_is. */
int held_sign_init(void *ctx, void *key, const OSSL_PARAM params[]);
int held_verify_init(void *ctx, void *key, const OSSL_PARAM params[]);
int held_verify_recover_init(void *ctx, void *key, const OSSL_PARAM params[]);
int held_encrypt_init(void *ctx, void *key, const OSSL_PARAM params[]);
int held_decrypt_init(void *ctx, void *key, const OSSL_PARAM params[]);
int held_derive_init(void *ctx, void *key, const OSSL_PARAM params[]);
int held_digest_sign_init(void *ctx, const char *digest, void *key, const OSSL_PARAM params[]);
int held_digest_verify_init(void *ctx, const char *digest, void *key, const OSSL_PARAM params[]);

int held_sign(void *ctx, unsigned char *out, size_t *out_len, size_t out_size,
              const unsigned char *in, size_t in_len);
int held_verify_recover(void *ctx, unsigned char *out, size_t *out_len, size_t out_size,
                        const unsigned char *in, size_t in_len);
int held_encrypt(void *ctx, unsigned char *out, size_t *out_len, size_t out_size,
                 const unsigned char *in, size_t in_len);
int held_decrypt(void *ctx, unsigned char *out, size_t *out_len, size_t out_size,
                 const unsigned char *in, size_t in_len);
int held_digest_sign(void *ctx, unsigned char *out, size_t *out_len, size_t out_size,
                     const unsigned char *in, size_t in_len);
int held_verify(void *ctx, const unsigned char *sig, size_t sig_len, const unsigned char *in,
                size_t in_len);
int held_digest_verify(void *ctx, const unsigned char *sig, size_t sig_len, const unsigned char *in,
                       size_t in_len);
int held_digest_update(void *ctx, const unsigned char *in, size_t in_len);
int held_digest_sign_final(void *ctx, unsigned char *out, size_t *out_len, size_t out_size);
int held_digest_verify_final(void *ctx, const unsigned char *sig, size_t sig_len);

/* A whole message with a context that stays as it is, for one after the other (EVP_PKEY_sign(3)).
 */
int held_sign_message(void *ctx, unsigned char *out, size_t *out_len, size_t out_size,
                      const unsigned char *in, size_t in_len);
int held_verify_message(void *ctx, const unsigned char *sig, size_t sig_len,
                        const unsigned char *in, size_t in_len);

int held_encapsulate_init(void *ctx, void *key, const OSSL_PARAM params[]);
int held_decapsulate_init(void *ctx, void *key, const OSSL_PARAM params[]);
int held_encapsulate(void *ctx, unsigned char *out, size_t *out_len, unsigned char *secret,
                     size_t *secret_len);
int held_decapsulate(void *ctx, unsigned char *out, size_t *out_len, const unsigned char *in,
                     size_t in_len);

int held_set_peer(void *ctx, void *peer);
int held_derive(void *ctx, unsigned char *out, size_t *out_len, size_t out_size);

int held_get_ctx_params(void *ctx, OSSL_PARAM params[]);
int held_set_ctx_params(void *ctx, const OSSL_PARAM params[]);
const OSSL_PARAM *held_gettable_ctx_params(void *ctx, void *provctx);
const OSSL_PARAM *held_settable_ctx_params(void *ctx, void *provctx);

/* The shapes that these functions have: parameters, arguments, and the question. */
#define SHAPE_INIT        (void *ctx, void *key, const OSSL_PARAM params[])
#define PASS_INIT         (ctx, key, params)
#define ASK_INIT          held_takes(ctx, key)
#define SHAPE_DIGEST_INIT (void *ctx, const char *digest, void *key, const OSSL_PARAM params[])
#define PASS_DIGEST_INIT  (ctx, digest, key, params)
#define ASK_DIGEST_INIT   held_takes(ctx, key)
#define SHAPE_MAKE                                                                                 \
    (void *ctx, unsigned char *out, size_t *out_len, size_t out_size, const unsigned char *in,     \
     size_t in_len)
#define PASS_MAKE (ctx, out, out_len, out_size, in, in_len)
#define ASK_MAKE  held_is(ctx)
#define SHAPE_VERIFY                                                                               \
    (void *ctx, const unsigned char *sig, size_t sig_len, const unsigned char *in, size_t in_len)
#define PASS_VERIFY        (ctx, sig, sig_len, in, in_len)
#define ASK_VERIFY         held_is(ctx)
#define SHAPE_UPDATE       (void *ctx, const unsigned char *in, size_t in_len)
#define PASS_UPDATE        (ctx, in, in_len)
#define ASK_UPDATE         held_is(ctx)
#define SHAPE_FINAL        (void *ctx, unsigned char *out, size_t *out_len, size_t out_size)
#define PASS_FINAL         (ctx, out, out_len, out_size)
#define ASK_FINAL          held_is(ctx)
#define SHAPE_VERIFY_FINAL (void *ctx, const unsigned char *sig, size_t sig_len)
#define PASS_VERIFY_FINAL  (ctx, sig, sig_len)
#define ASK_VERIFY_FINAL   held_is(ctx)
#define SHAPE_ENCAPSULATE                                                                          \
    (void *ctx, unsigned char *out, size_t *out_len, unsigned char *secret, size_t *secret_len)
#define PASS_ENCAPSULATE (ctx, out, out_len, secret, secret_len)
#define ASK_ENCAPSULATE  held_is(ctx)
#define SHAPE_DECAPSULATE                                                                          \
    (void *ctx, unsigned char *out, size_t *out_len, const unsigned char *in, size_t in_len)
#define PASS_DECAPSULATE (ctx, out, out_len, in, in_len)
#define ASK_DECAPSULATE  held_is(ctx)
#define SHAPE_PEER       (void *ctx, void *peer)
#define PASS_PEER        (ctx, peer)
#define ASK_PEER         held_is(ctx)
#define SHAPE_GET        (void *ctx, OSSL_PARAM params[])
#define PASS_GET         (ctx, params)
#define ASK_GET          held_is(ctx)
#define SHAPE_SET        (void *ctx, const OSSL_PARAM params[])
#define PASS_SET         (ctx, params)
#define ASK_SET          held_is(ctx)

/* int NAME(...), of this shape, which is host's or token's; static where NAME was declared so. */
#define DOOR(shape, name, host, token)                                                             \
    int name SHAPE_##shape                                                                         \
    {                                                                                              \
        return ASK_##shape ? host PASS_##shape : token PASS_##shape;                               \
    }

/* The same for lists of parameters; libcrypto asks for them without a context too. */
#define LIST_DOOR(name, host, token)                                                               \
    const OSSL_PARAM *name(void *ctx, void *provctx)                                               \
    {                                                                                              \
        return ctx != NULL && held_is(ctx) ? host(ctx, provctx) : token(ctx, provctx);             \
    }

#endif
