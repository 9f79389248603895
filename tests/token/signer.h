/* Keys of a session, and signatures in threads, for tests of what threads share. */
#ifndef BRIDGE_SIGNER_H
#define BRIDGE_SIGNER_H

#include <pthread.h>
#include <stdbool.h>

#include <openssl/evp.h>

/* A session key, P-256, on the token soft; or NULL, with an error on the stack. */
EVP_PKEY *session_key(OSSL_LIB_CTX *libctx);

/* A signature in a thread. */
struct signer {
    pthread_t thread;
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;
    bool ok;
    char error[600]; /* the newest, or "" */
};

void signer_begin(struct signer *signer, OSSL_LIB_CTX *libctx, EVP_PKEY *key);

/* Waits for it; fails the test where there was none. */
void signer_end(struct signer *signer);

/* Returns when all other threads of this process wait for something, or after 10 s. */
void others_wait(void);

/* Time for other threads to come to where they wait. Too little proves less, and fails nothing. */
void settle(void);

#endif
