/* The end and the copy of an operation's context are made of one list: what the context owns. The
 * rest of a copy is as it is in the original, whatever fields come in.
 *
 *     #define OWNED(OWN) OWN(held, held) OWN(key, key) OWN(key, peer) OWN(bytes, ukm)
 *
 *     CONTEXT_FREE(exchange_freectx, struct exchange, OWNED)
 *     CONTEXT_DUP(exchange_dupctx, exchange_freectx, struct exchange, OWNED)
 *
 * OWN(kind, member): each kind has an own_end_KIND, which accepts "nothing there", and an
 * own_copy_KIND, which fills a member that is all zeros, and may leave half a copy for the end to
 * free. The functions are static where they were declared so. */
#ifndef BRIDGE_CONTEXT_H
#define BRIDGE_CONTEXT_H

#include <stdbool.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/bytes.h"
#include "base/libcrypto.h"
#include "module/call.h"
#include "ops/held.h"

#define own_end_held    held_end
#define own_copy_held   held_copy
#define own_end_bytes   bytes_clear
#define own_copy_bytes  bytes_copy
#define own_end_secret  bytes_wipe /* bytes that may be a secret */
#define own_copy_secret bytes_copy
#define own_end_pieces  pieces_wipe
#define own_copy_pieces pieces_copy
#define own_end_scratch bytes_clear /* memory kept for what is done next: no copy has it */

static inline void own_end_key(struct key *const *key)
{
    key_free(*key);
}

static inline bool own_copy_key(struct key **copy, struct key *const *key)
{
    *copy = *key != NULL ? key_ref(*key) : NULL;
    return true;
}

static inline bool own_copy_scratch(struct bytes *copy, const struct bytes *scratch)
{
    (void)copy;
    (void)scratch;
    return true;
}

static inline void own_end_text(char *const *text)
{
    OPENSSL_free(*text);
}

static inline bool own_copy_text(char **copy, char *const *text)
{
    *copy = *text != NULL ? OPENSSL_strdup(*text) : NULL;
    return *text == NULL || *copy != NULL;
}

/* a message so far, hashed on the host */
static inline void own_end_hash(EVP_MD_CTX *const *hash)
{
    md_ctx_release(*hash);
}

static inline bool own_copy_hash(EVP_MD_CTX **copy, EVP_MD_CTX *const *hash)
{
    HOST_WORK;

    if (*hash == NULL)
        return true;
    *copy = EVP_MD_CTX_new();
    return *copy != NULL && EVP_MD_CTX_copy_ex(*copy, *hash) == 1;
}

/* OWNED(CONTEXT_END): the end of all that ctx owns */
#define CONTEXT_END(kind, member)     own_end_##kind(&ctx->member);
#define CONTEXT_FORGET_(kind, member) memset(&copy->member, 0, sizeof(copy->member));
#define CONTEXT_COPY_(kind, member)   &&own_copy_##kind(&copy->member, &ctx->member)

/* void function(void *): NULL does nothing. */
#define CONTEXT_FREE(function, type, OWNED)                                                        \
    void function(void *vctx)                                                                      \
    {                                                                                              \
        type *ctx = vctx;                                                                          \
                                                                                                   \
        if (ctx == NULL)                                                                           \
            return;                                                                                \
        OWNED(CONTEXT_END)                                                                         \
        OPENSSL_clear_free(ctx, sizeof(*ctx));                                                     \
    }

/* void *function(void *): NULL when memory is short, or the host cannot copy what it holds. */
#define CONTEXT_DUP(function, free, type, OWNED)                                                   \
    void *function(void *vctx)                                                                     \
    {                                                                                              \
        const type *ctx = vctx;                                                                    \
        type *copy = OPENSSL_memdup(ctx, sizeof(*ctx));                                            \
                                                                                                   \
        if (copy == NULL)                                                                          \
            return NULL;                                                                           \
        OWNED(CONTEXT_FORGET_)                                                                     \
        if (true OWNED(CONTEXT_COPY_))                                                             \
            return copy;                                                                           \
        free(copy);                                                                                \
        return NULL;                                                                               \
    }

#endif
