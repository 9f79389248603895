#include "cli/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "cli/say.h"

bool file_write_all(int fd, const char *data, size_t len)
{
    while (len != 0) {
        ssize_t written = write(fd, data, len);

        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            data += written;
            len -= (size_t)written;
        }
    }
    return true;
}

static bool failed(const char *path, const char *temporary)
{
    complain("cannot write %s: %s", path, strerror(errno));
    if (temporary != NULL)
        (void)unlink(temporary);
    return false;
}

static bool replace(const char *path, mode_t mode, const char *data, size_t len)
{
    char temporary[4096];
    int made = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
    _cleanup_(fd_scoped) int fd = -1;

    if (made < 0 || (size_t)made >= sizeof(temporary)) {
        errno = ENAMETOOLONG;
        return failed(path, NULL);
    }
    fd = mkstemp(temporary); /* for its owner alone until all of it is there */
    if (fd < 0)
        return failed(path, NULL);
    if (!file_write_all(fd, data, len) || fchmod(fd, mode) != 0 || fsync(fd) != 0 ||
        rename(temporary, path) != 0)
        return failed(path, temporary);
    return true;
}

/* Into a device, /dev/null for one. */
static bool pour(const char *path, const char *data, size_t len)
{
    _cleanup_(fd_scoped) int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);

    return (fd >= 0 && file_write_all(fd, data, len)) || failed(path, NULL);
}

/* Whether it is no file, or what standard output goes to: root would have /dev/stdout replaced. A
 * pipe, or a link to a device, may be somebody's who wants to read what comes. */
static bool is_no_file(const char *path)
{
    struct stat there, output;

    return stat(path, &there) == 0 &&
           (!S_ISREG(there.st_mode) ||
            (fstat(STDOUT_FILENO, &output) == 0 && output.st_dev == there.st_dev &&
             output.st_ino == there.st_ino));
}

static bool put(const char *path, mode_t mode, const char *data, size_t len)
{
    struct stat named;

    if (lstat(path, &named) == 0 && S_ISCHR(named.st_mode))
        return pour(path, data, len);
    if (!is_no_file(path))
        return replace(path, mode, data, len);
    complain("cannot write %s: it is no file that another can take the place of", path);
    return false;
}

bool file_write(const char *path, mode_t mode, BIO *memory)
{
    char *data = NULL;
    long len = BIO_get_mem_data(memory, &data);

    if (path != NULL)
        return put(path, mode, data, (size_t)len);
    (void)fwrite(data, 1, (size_t)len, stdout); /* what fails is told at the end */
    return true;
}

BIO *file_read(const char *path, size_t most)
{
    _cleanup_(bio_scoped) BIO *from =
        strcmp(path, "-") == 0 ? BIO_new_fp(stdin, BIO_NOCLOSE) : BIO_new_file(path, "r");
    BIO *all = from != NULL ? BIO_new(BIO_s_secmem()) : NULL;
    char part[4096];
    size_t read = 0;

    if (all == NULL)
        complain("cannot read %s: %s", path, ERR_reason_error_string(ERR_peek_last_error()));
    while (all != NULL && BIO_ctrl_pending(all) <= most &&
           BIO_read_ex(from, part, sizeof(part), &read) == 1)
        (void)BIO_write(all, part, (int)read);
    OPENSSL_cleanse(part, sizeof(part));
    if (all == NULL || BIO_ctrl_pending(all) <= most)
        return all;
    complain("%s is longer than %zu bytes", path, most);
    bio_release(all);
    return NULL;
}
