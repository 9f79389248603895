/* The asynchronous jobs (ASYNC_start_job(3)) that the application may be in. They are of the
 * libcrypto that loaded the provider, which need not be the one that this is linked to: OpenSSL 4's
 * program loads a provider that was built with 3.0, and 3's libcrypto with it, which knows of no
 * job. */
#ifndef BRIDGE_JOBS_H
#define BRIDGE_JOBS_H

#include <openssl/async.h>

/* Functions of <openssl/async.h>, by what stands behind ASYNC_ in their names. */
struct jobs {
    ASYNC_JOB *(*get_current_job)(void);
    ASYNC_WAIT_CTX *(*get_wait_ctx)(ASYNC_JOB *job);
    int (*pause_job)(void);
    int (*get_fd)(ASYNC_WAIT_CTX *ctx, const void *key, OSSL_ASYNC_FD *fd, void **custom);
    int (*set_wait_fd)(ASYNC_WAIT_CTX *ctx, const void *key, OSSL_ASYNC_FD fd, void *custom,
                       void (*cleanup)(ASYNC_WAIT_CTX *, const void *, OSSL_ASYNC_FD, void *));
    int (*clear_fd)(ASYNC_WAIT_CTX *ctx, const void *key);
};

/* Those of the libcrypto that upcall is a function of; of the one that this is linked to, where
 * that is nowhere to be found (a program that has libcrypto within itself). */
struct jobs jobs_of(void (*upcall)(void));

#endif
