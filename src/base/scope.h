/* Ownership by scope: a variable declared with _cleanup_(f) is released by f when its scope ends,
 * whichever way it ends. f takes a pointer to the variable and accepts "nothing there". */
#ifndef BRIDGE_SCOPE_H
#define BRIDGE_SCOPE_H

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include <openssl/crypto.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* For char * and other memory of OPENSSL_malloc. */
static inline void free_scoped(void *pointer)
{
    OPENSSL_free(*(void **)pointer);
}

/* For a descriptor, or -1. */
static inline void fd_scoped(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static inline void stream_scoped(FILE *const *stream)
{
    if (*stream != NULL)
        (void)fclose(*stream);
}

static inline void errno_scoped(const int *kept)
{
    errno = *kept;
}

/* For the rest of the scope that it stands in, among its declarations: at its end, errno is what it
 * was. Applications look at it before they look at OpenSSL's errors. */
#define KEEP_ERRNO _cleanup_(errno_scoped) __attribute__((unused)) const int kept_errno_ = errno

/* Hands *pointer on to a new owner: the scope that held it lets go. */
#define MOVE(pointer)                                                                              \
    __extension__({                                                                                \
        __typeof__(pointer) moved_ = (pointer);                                                    \
        (pointer) = NULL;                                                                          \
        moved_;                                                                                    \
    })

#endif
