#include "module/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "base/user.h"
#include "module/door.h"

/* path_resolution(7) */
#define LINKS_MOST 40

#define SHA256_LEN 32

/* Not on the stack, which may be that of an asynchronous job. */
struct walk {
    const char *path;
    const struct trust *trust;
    int folder;              /* where it has come to */
    char here[PATH_MAX];     /* the same for people, without a slash at its end: "" is the root */
    char left[PATH_MAX];     /* where it still has to go */
    char name[NAME_MAX + 2]; /* with room for one that is too long */
    unsigned links;
    char *why;
    size_t size;
};

static void walk_scoped(struct walk **walk)
{
    if (*walk == NULL)
        return;
    fd_scoped(&(*walk)->folder);
    OPENSSL_free(*walk);
}

__attribute__((format(printf, 2, 3))) static bool refuse(const struct walk *walk,
                                                         const char *format, ...)
{
    int used = snprintf(walk->why, walk->size, "cannot load the PKCS#11 module %s: ", walk->path);
    va_list args;

    va_start(args, format);
    if (used >= 0 && (size_t)used < walk->size)
        (void)vsnprintf(walk->why + used, walk->size - (size_t)used, format, args);
    va_end(args);
    return false;
}

/* Within user namespaces, a file of somebody who is not there looks like the kernel's overflow
 * user's: that is not root. */
static bool owner_trusted(uid_t owner)
{
    return owner == 0 || owner == geteuid();
}

static bool refuse_owner(const struct walk *walk, const char *what, const struct stat *seen)
{
    char owner[USER_NAME_MAX], own[USER_NAME_MAX];

    return refuse(walk,
                  "the %s %s/%s belongs to %s, who could put other code there; only root and the "
                  "user of this process, %s, are trusted with that: change the owner, move the "
                  "module, or set pkcs11-module-insecure-path = yes",
                  what, walk->here, walk->name, user_name_of(seen->st_uid, owner), user_name(own));
}

static bool refuse_mode(const struct walk *walk, const char *what, const struct stat *seen)
{
    bool all = (seen->st_mode & S_IWOTH) != 0, shared = (seen->st_mode & S_ISVTX) != 0;
    char owner[USER_NAME_MAX];

    return refuse(walk,
                  "the %s %s/%s can be written by %s (it belongs to %s and group %lu, mode %04o), "
                  "who could put other code there: %s, or set pkcs11-module-insecure-path = yes",
                  what, walk->here, walk->name, all ? "everybody" : "its group",
                  user_name_of(seen->st_uid, owner), (unsigned long)seen->st_gid,
                  (unsigned)seen->st_mode & 07777U,
                  shared ? "move the module" : "take that right away (chmod go-w)");
}

/* A link has no mode: it stands in a folder that was checked. */
static bool check(const struct walk *walk, const struct stat *seen)
{
    const char *what = S_ISDIR(seen->st_mode) ? "folder" : S_ISLNK(seen->st_mode) ? "link" : "file";

    if (walk->trust->insecure_path)
        return true;
    if (!owner_trusted(seen->st_uid))
        return refuse_owner(walk, what, seen);
    if (!S_ISLNK(seen->st_mode) && (seen->st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return refuse_mode(walk, what, seen);
    return true;
}

static bool refuse_errno(const struct walk *walk)
{
    char own[USER_NAME_MAX];

    return refuse(walk, "%s/%s: %s (for %s); check pkcs11-module-path", walk->here, walk->name,
                  strerror(errno), user_name(own));
}

/* The first name that is left goes to name; false where there is none. */
static bool name_next(struct walk *walk)
{
    size_t skip = strspn(walk->left, "/"), len = strcspn(walk->left + skip, "/");

    (void)snprintf(walk->name, sizeof(walk->name), "%.*s", (int)len, walk->left + skip);
    memmove(walk->left, walk->left + skip + len, strlen(walk->left + skip + len) + 1);
    return len != 0;
}

/* With O_DIRECTORY, what is mounted when it is wanted is mounted. */
static int open_name(const struct walk *walk)
{
    const int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(walk->folder, walk->name, flags | O_DIRECTORY);

    return fd < 0 && errno == ENOTDIR ? openat(walk->folder, walk->name, flags) : fd;
}

static bool enter(struct walk *walk, int *folder)
{
    char *slash = strrchr(walk->here, '/');
    size_t used = strlen(walk->here);

    fd_scoped(&walk->folder);
    walk->folder = *folder;
    *folder = -1;
    if (strcmp(walk->name, "..") == 0 && slash != NULL)
        *slash = '\0';
    else if (strcmp(walk->name, "..") != 0 && strcmp(walk->name, ".") != 0)
        (void)snprintf(walk->here + used, sizeof(walk->here) - used, "/%s", walk->name);
    return true;
}

static bool begin(struct walk *walk)
{
    struct stat seen;

    fd_scoped(&walk->folder);
    walk->folder = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    walk->here[0] = walk->name[0] = '\0';
    if (walk->folder < 0 || fstat(walk->folder, &seen) != 0)
        return refuse_errno(walk);
    return check(walk, &seen);
}

/* What the link says comes before what is left. */
static bool follow(struct walk *walk, int link)
{
    _cleanup_(free_scoped) char *target = OPENSSL_zalloc(sizeof(walk->left));
    ssize_t len = target != NULL ? readlinkat(link, "", target, sizeof(walk->left) - 1) : -1;
    size_t left = strlen(walk->left);

    if (len >= 0 && ((size_t)len + left + 1 >= sizeof(walk->left) || ++walk->links > LINKS_MOST)) {
        errno = ELOOP;
        len = -1;
    }
    if (len < 0)
        return refuse_errno(walk);
    memmove(walk->left + len + 1, walk->left, left + 1);
    memcpy(walk->left, target, (size_t)len);
    walk->left[len] = '/';
    return target[0] != '/' || begin(walk);
}

/* As stat looks at a path, and not by fstat, which qemu-user tells no nanoseconds by on some
 * processors: what is compared later would be another file. */
static bool look(int fd, struct stat *seen)
{
    return fstatat(fd, "", seen, AT_EMPTY_PATH) == 0;
}

/* One name further. *arrived: at something that is neither a folder nor a link. */
static bool step(struct walk *walk, struct stat *seen, bool *arrived)
{
    _cleanup_(fd_scoped) int fd = open_name(walk);

    if (fd < 0 || !look(fd, seen))
        return refuse_errno(walk);
    if (!check(walk, seen))
        return false;
    if (S_ISDIR(seen->st_mode))
        return enter(walk, &fd);
    if (S_ISLNK(seen->st_mode))
        return follow(walk, fd);
    *arrived = true;
    return true;
}

/* To the file, which is walk->name in walk->folder then. */
static bool walk_to_file(struct walk *walk, struct stat *seen)
{
    bool arrived = false;

    if (!begin(walk))
        return false;
    while (!arrived && name_next(walk))
        if (!step(walk, seen, &arrived))
            return false;
    if (!arrived || !S_ISREG(seen->st_mode))
        return refuse(walk, "it leads to something that is no file");
    if (walk->left[strspn(walk->left, "/")] == '\0')
        return true;
    errno = ENOTDIR;
    return refuse_errno(walk);
}

static void remember(const struct stat *seen, struct file_seen *file)
{
    *file = (struct file_seen){ seen->st_dev, seen->st_ino, seen->st_size, seen->st_mtim };
}

bool file_same(const struct file_seen *a, const struct file_seen *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->written.tv_sec == b->written.tv_sec && a->written.tv_nsec == b->written.tv_nsec;
}

bool trust_still(const char *path, const struct file_seen *file)
{
    struct stat seen;
    struct file_seen now;

    if (stat(path, &seen) != 0)
        return false;
    remember(&seen, &now);
    return file_same(&now, file);
}

/* With libcrypto's own SHA-256, in a library context for this alone: the module may be loaded
 * before the application has a provider, and a fetch in the host's context would then bring in one
 * that it does not want. False with errno set, or 0. */
static bool hash_file(int fd, uint8_t hash[SHA256_LEN])
{
    HOST_WORK;
    _cleanup_(libctx_scoped) OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();
    _cleanup_(md_scoped) EVP_MD *md =
        libctx != NULL ? EVP_MD_fetch(libctx, "SHA256", "provider=default") : NULL;
    _cleanup_(md_ctx_scoped) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t part[4096];
    ssize_t got = 0;
    bool ok = md != NULL && ctx != NULL && EVP_DigestInit_ex(ctx, md, NULL) > 0;

    while (ok && (got = read(fd, part, sizeof(part))) > 0)
        ok = EVP_DigestUpdate(ctx, part, (size_t)got) > 0;
    if (got >= 0)
        errno = 0;
    return ok && got == 0 && EVP_DigestFinal_ex(ctx, hash, NULL) > 0;
}

/* By the descriptor of the very file that the walk came to. */
static bool hash_text(const struct walk *walk, const struct file_seen *file,
                      char text[2 * SHA256_LEN + 1])
{
    _cleanup_(fd_scoped) int fd =
        openat(walk->folder, walk->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    uint8_t hash[SHA256_LEN];
    struct file_seen opened;
    struct stat seen;

    if (fd < 0 || !look(fd, &seen))
        return refuse_errno(walk);
    remember(&seen, &opened);
    if (!file_same(&opened, file))
        return refuse(walk, "it was replaced while it was looked at: try again");
    if (!hash_file(fd, hash))
        return errno != 0 ? refuse_errno(walk)
                          : refuse(walk, "its SHA-256 cannot be taken: out of memory");
    for (size_t i = 0; i < SHA256_LEN; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", hash[i]);
    return true;
}

static bool check_hash(const struct walk *walk, const struct file_seen *file)
{
    char found[2 * SHA256_LEN + 1];

    if (walk->trust->sha256 == NULL)
        return true;
    if (!hash_text(walk, file, found))
        return false;
    return strcasecmp(found, walk->trust->sha256) == 0 ||
           refuse(walk,
                  "its SHA-256 is %s, and pkcs11-module-sha256 has %s: where it is known why the "
                  "file is another, put its hash there",
                  found, walk->trust->sha256);
}

bool trust_check(const char *path, const struct trust *trust, struct file_seen *file, char *why,
                 size_t size)
{
    KEEP_ERRNO;
    _cleanup_(walk_scoped) struct walk *walk = OPENSSL_zalloc(sizeof(*walk));
    struct stat seen = { 0 };

    if (walk == NULL || strlen(path) >= sizeof(walk->left)) {
        (void)snprintf(why, size, "cannot load the PKCS#11 module: %s",
                       walk == NULL ? "out of memory" : "its path is too long");
        return false;
    }
    walk->path = path;
    walk->trust = trust;
    walk->folder = -1;
    walk->why = why;
    walk->size = size;
    memcpy(walk->left, path, strlen(path) + 1);
    if (!walk_to_file(walk, &seen))
        return false;
    remember(&seen, file);
    return check_hash(walk, file);
}
