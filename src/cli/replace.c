#include "cli/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scope.h"
#include "base/secret.h"
#include "cli/file.h"
#include "cli/say.h"

/* The longest file. */
#define FILE_MOST 65536

/* What stands behind the first line, with its end of line. */
static struct view further_lines(const char *text, size_t len)
{
    const char *end = memchr(text, '\n', len);

    return end != NULL ? (struct view){ (const uint8_t *)end, len - (size_t)(end - text) }
                       : (struct view){ NULL, 0 };
}

/* ENOMSG where it begins with anything else than old. */
static bool begins_with(const char *text, size_t len, struct view old)
{
    struct view rest = further_lines(text, len);
    size_t first = len - rest.len;
    bool is;

    if (first != 0 && text[first - 1] == '\r')
        first--;
    is = len == 0 || (first == old.len && CRYPTO_memcmp(text, old.data, old.len) == 0);
    if (!is)
        errno = ENOMSG;
    return is;
}

/* The new text into fd, to the disk. */
static bool write_text(int fd, struct view line, struct view rest)
{
    return file_write_all(fd, (const char *)line.data, line.len) &&
           file_write_all(fd, (const char *)rest.data, rest.len) && fsync(fd) == 0;
}

static bool write_like(int fd, const struct stat *like, const char *path, struct view old,
                       struct view line)
{
    char *text = secret_memory(FILE_MOST);
    size_t len = 0;
    bool ok = text != NULL && secret_read(path, false, text, FILE_MOST, &len) &&
              begins_with(text, len, old) && fchown(fd, like->st_uid, like->st_gid) == 0 &&
              fchmod(fd, like->st_mode & 07777) == 0 &&
              write_text(fd, line, further_lines(text, len));
    int error = errno;

    secret_memory_free(text);
    errno = error;
    return ok;
}

/* The names of a folder's files, to the disk. */
static bool sync_folder(const char *path)
{
    _cleanup_(free_scoped) char *copy = OPENSSL_strdup(path);
    _cleanup_(fd_scoped) int fd =
        copy != NULL ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    return fd >= 0 && fsync(fd) == 0;
}

static bool failed(const struct replacement *replacement, int error)
{
    if (error == EEXIST)
        complain("%s is there: a change of the PIN was cut off, and the token has the PIN of one "
                 "file or of the other. Where it is the new one, rename it to %s, else remove it",
                 replacement->new_path, replacement->path);
    else if (error == ENOMSG)
        complain("the first line of %s is not the PIN that the token has; nothing was done",
                 replacement->path);
    else
        complain("cannot write %s: %s", replacement->new_path, strerror(error));
    return false;
}

static bool create(const struct replacement *replacement, struct view old, struct view line)
{
    _cleanup_(fd_scoped) int fd = -1;
    struct stat like;

    if (stat(replacement->path, &like) != 0)
        return failed(replacement, errno);
    fd = open(replacement->new_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return failed(replacement, errno);
    if (write_like(fd, &like, replacement->path, old, line) && sync_folder(replacement->path))
        return true;
    (void)failed(replacement, errno);
    (void)unlink(replacement->new_path);
    return false;
}

static char *with_new(const char *path)
{
    size_t size = strlen(path) + sizeof(".new");
    char *out = OPENSSL_malloc(size);

    if (out != NULL)
        (void)snprintf(out, size, "%s.new", path);
    return out;
}

bool replacement_begin(struct replacement *replacement, const char *path, struct view old,
                       struct view line)
{
    char *real = realpath(path, NULL);

    if (real == NULL) {
        complain("cannot change %s: %s", path, strerror(errno));
        return false;
    }
    replacement->path = OPENSSL_strdup(real);
    free(real);
    replacement->new_path = replacement->path != NULL ? with_new(replacement->path) : NULL;
    return replacement->new_path != NULL && create(replacement, old, line);
}

bool replacement_finish(struct replacement *replacement)
{
    if (replacement->path == NULL)
        return true;
    if (rename(replacement->new_path, replacement->path) == 0 && sync_folder(replacement->path))
        return true;
    complain(
        "the token has the new PIN, but %s cannot be changed: %s. The new PIN is in %s: rename "
        "it",
        replacement->path, strerror(errno), replacement->new_path);
    return false;
}

void replacement_drop(struct replacement *replacement)
{
    if (replacement->new_path != NULL)
        (void)unlink(replacement->new_path);
}

void replacement_end(struct replacement *replacement)
{
    OPENSSL_free(replacement->path);
    OPENSSL_free(replacement->new_path);
    *replacement = (struct replacement){ .path = NULL };
}
