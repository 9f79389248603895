/* What the programs that measure share. */
#ifndef BRIDGE_BENCH_COMMON_H
#define BRIDGE_BENCH_COMMON_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/store.h>

static inline void must(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* The private key of that label on the token soft. */
static inline EVP_PKEY *load(const char *label)
{
    char uri[128];
    OSSL_STORE_CTX *store;
    EVP_PKEY *key = NULL;

    (void)snprintf(uri, sizeof(uri), "pkcs11:token=soft;object=%s;type=private", label);
    store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);
    while (store != NULL && key == NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info != NULL && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
            key = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    must(key != NULL, uri);
    return key;
}

#endif
