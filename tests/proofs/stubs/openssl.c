/* libcrypto, as far as what is proved calls it: it reads and writes what it is given, and may fail. */
#include "proof.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/libcrypto.h"
#include "stubs/openssl.h"

static const EVP_MD *used;

const EVP_MD *any_md(void)
{
    EVP_MD *md = malloc(sizeof(*md));

    ASSUME(md != NULL);
    md->size = (int)any_size(EVP_MAX_MD_SIZE);
    ASSUME(md->size > 0);
    return md;
}

const EVP_MD *any_md_used(void)
{
    return used = any_md();
}

int EVP_MD_get_size(const EVP_MD *md)
{
    return md->size;
}

void OPENSSL_cleanse(void *memory, size_t len)
{
    CHECK(__CPROVER_w_ok(memory, len), "what is wiped is there");
}

int EVP_Digest(const void *data, size_t count, unsigned char *hash, unsigned *size,
               const EVP_MD *md, ENGINE *engine)
{
    (void)engine;
    CHECK(count == 0 || __CPROVER_r_ok(data, count), "what is hashed is there");
    CHECK(size == NULL && __CPROVER_w_ok(hash, md->size), "there is room for the hash");
    __CPROVER_havoc_slice(hash, (size_t)md->size);
    return nondet_int();
}

EVP_MD_CTX *EVP_MD_CTX_new(void)
{
    return malloc(sizeof(EVP_MD_CTX));
}

void md_ctx_release(EVP_MD_CTX *ctx)
{
    free(ctx);
}

void md_ctx_scoped(EVP_MD_CTX **ctx)
{
    free(*ctx);
}

int EVP_DigestInit_ex2(EVP_MD_CTX *ctx, const EVP_MD *md, const OSSL_PARAM *params)
{
    (void)params;
    CHECK(ctx != NULL, "there is a context");
    CHECK(md == used, "it is the digest that DigestFinal is taken to have");
    return nondet_int();
}

int EVP_DigestUpdate(EVP_MD_CTX *ctx, const void *data, size_t count)
{
    CHECK(ctx != NULL, "there is a context");
    CHECK(count == 0 || __CPROVER_r_ok(data, count), "what is hashed is there");
    return nondet_int();
}

int EVP_DigestFinal_ex(EVP_MD_CTX *ctx, unsigned char *hash, unsigned *size)
{
    CHECK(ctx != NULL, "there is a context");
    CHECK(size == NULL && __CPROVER_w_ok(hash, used->size), "there is room for the hash");
    __CPROVER_havoc_slice(hash, (size_t)used->size);
    return nondet_int();
}

void *copied(void *to, const void *from, size_t count)
{
    CHECK(__CPROVER_r_ok(from, count) && __CPROVER_w_ok(to, count), "what is copied, and its room");
    return to;
}
