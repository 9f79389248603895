/* For LD_PRELOAD: no file is made room for while a lock of another is held, beside the one that is
 * for making it. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static _Thread_local int held;

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

EXPORT int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    static int (*lock)(pthread_mutex_t *);

    if (lock == NULL)
        *(void **)&lock = next("pthread_mutex_lock");
    held++;
    return lock(mutex);
}

EXPORT int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    static int (*unlock)(pthread_mutex_t *);

    if (unlock == NULL)
        *(void **)&unlock = next("pthread_mutex_unlock");
    held--;
    return unlock(mutex);
}

static int make_room(int fd, off64_t offset, off64_t len)
{
    static const char text[] = "a file is made under a lock\n";

    if (held > 1)
        (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    return ftruncate64(fd, offset + len) == 0 ? 0 : errno;
}

#if _FILE_OFFSET_BITS != 64 /* there, it is the other's name */
EXPORT int posix_fallocate(int fd, off_t offset, off_t len)
{
    return make_room(fd, offset, len);
}
#endif

EXPORT int posix_fallocate64(int fd, off64_t offset, off64_t len)
{
    return make_room(fd, offset, len);
}
