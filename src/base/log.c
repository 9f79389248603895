#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "base/scope.h"
#include "base/text.h"

#define LINE_MAX_LEN 1400

static _Atomic(enum log_where) destination;

/* Standard error as it was when this library was loaded. */
static struct stat at_load;
static bool open_at_load;

__attribute__((constructor)) static void look(void)
{
    open_at_load = fstat(STDERR_FILENO, &at_load) == 0;
}

/* A daemon may have closed it, and descriptor 2 is a client's connection now, or a file with data.
 * What came later is standard error where it can only be added to, as nginx's error log. */
static bool is_standard_error(const struct stat *file)
{
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    bool same = open_at_load && file->st_dev == at_load.st_dev && file->st_ino == at_load.st_ino &&
                (file->st_mode & S_IFMT) == (at_load.st_mode & S_IFMT);

    return same || (S_ISREG(file->st_mode) && flags >= 0 && (flags & O_ACCMODE) == O_WRONLY &&
                    (flags & O_APPEND) != 0);
}

static bool is_null(const struct stat *file)
{
    struct stat null;

    return S_ISCHR(file->st_mode) && stat("/dev/null", &null) == 0 && file->st_rdev == null.st_rdev;
}

void log_to(enum log_where where)
{
    atomic_store(&destination, where);
}

/* A pipe that nobody reads would end the program, which did not write to it. A SIGPIPE that was
 * pending before stays so. */
void log_write(int fd, const char *text, size_t len)
{
    static const struct timespec at_once = { 0, 0 };
    sigset_t broken, pending, before;

    (void)sigemptyset(&broken);
    (void)sigaddset(&broken, SIGPIPE);
    if (sigpending(&pending) != 0 || pthread_sigmask(SIG_BLOCK, &broken, &before) != 0)
        return;
    if (write(fd, text, len) < 0 && errno == EPIPE && sigismember(&pending, SIGPIPE) == 0)
        (void)sigtimedwait(&broken, NULL, &at_once);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void log_write_stderr(const char *text, size_t len)
{
    struct stat file;

    if (fstat(STDERR_FILENO, &file) == 0 && is_standard_error(&file))
        log_write(STDERR_FILENO, text, len);
}

/* Nobody waits longer for whoever reads the log, a daemon or the other end of a pipe, which may be
 * stuck. */
#define READER_WAIT_MS 100

static atomic_uint lost; /* lines since it took one */

/* After the first line that is lost, the next are not waited for. A pipe that has room has it for a
 * whole line (PIPE_BUF). */
static bool takes(int fd)
{
    struct pollfd room = { .fd = fd, .events = POLLOUT };
    int ready;

    do
        ready = poll(&room, 1, atomic_load(&lost) == 0 ? READER_WAIT_MS : 0);
    while (ready < 0 && errno == EINTR);
    return ready != 0;
}

static bool put_stderr(const char *text)
{
    char line[LINE_MAX_LEN];
    int len = snprintf(line, sizeof(line), "pkcs11-bridge: %s\n", text);

    if (len > 0 && (size_t)len >= sizeof(line)) {
        len = (int)sizeof(line) - 1;
        line[len - 1] = '\n';
    }
    if (!takes(STDERR_FILENO))
        return false;
    log_write(STDERR_FILENO, line, (size_t)len);
    return true;
}

/* Where it goes, as descriptor 2 is now. */
static enum log_where settle(enum log_where where)
{
    struct stat file;

    if (where != LOG_TO_ANYBODY && where != LOG_TO_STDERR)
        return where;
    return fstat(STDERR_FILENO, &file) == 0 && is_standard_error(&file) &&
                   (where == LOG_TO_STDERR || !is_null(&file))
               ? LOG_TO_STDERR
               : LOG_TO_SYSLOG;
}

/* RFC 3164, with the program's name as syslog(3) has it. That would wait for a daemon that is
 * stuck, with a lock, which the child of a fork in another thread finds taken for ever. */
static bool put_syslog(const char *text)
{
    _cleanup_(fd_scoped) int fd = descriptor_datagram(_PATH_LOG);
    char line[LINE_MAX_LEN];
    int len =
        snprintf(line, sizeof(line), "<%d>%s[%ld]: pkcs11-bridge: %s", LOG_AUTHPRIV | LOG_WARNING,
                 program_invocation_short_name, (long)getpid(), text);

    if (len >= (int)sizeof(line))
        len = (int)sizeof(line) - 1;
    return fd >= 0 && takes(fd) && send(fd, line, (size_t)len, MSG_NOSIGNAL) == len;
}

static bool put(enum log_where where, const char *text)
{
    where = settle(where);
    return where == LOG_TO_NOBODY || (where == LOG_TO_SYSLOG ? put_syslog(text) : put_stderr(text));
}

static void tell_lost(enum log_where where, unsigned count)
{
    char note[80];

    (void)snprintf(note, sizeof(note), "lines that were lost before, since nobody took them: %u",
                   count);
    if (!put(where, note))
        atomic_fetch_add(&lost, count);
}

static bool line_to(enum log_where where, const char *text)
{
    unsigned count;

    if (!put(where, text)) {
        atomic_fetch_add(&lost, 1);
        return false;
    }
    count = atomic_exchange(&lost, 0);
    if (count != 0)
        tell_lost(where, count);
    return true;
}

bool log_line(const char *format, ...)
{
    KEEP_ERRNO;
    char text[LINE_MAX_LEN], line[LINE_MAX_LEN];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    text_printable((const uint8_t *)text, strlen(text), line); /* URIs and paths are anybody's */
    return line_to(atomic_load(&destination), line);
}

/* FNV-1a; 0 is nothing. */
static uint64_t hash(const char *text)
{
    uint64_t h = 0xcbf29ce484222325ULL;

    for (; *text != '\0'; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3ULL;
    return h != 0 ? h : 1;
}

#define TOLD_MOST 128

static _Atomic(uint64_t) told[TOLD_MOST];

static bool is_told(uint64_t h)
{
    for (unsigned i = 0; i < TOLD_MOST; i++)
        if (atomic_load(&told[i]) == h)
            return true;
    return false;
}

/* When there are too many, the oldest may be told again. */
static void remember(uint64_t h)
{
    static atomic_uint next;

    atomic_store(&told[atomic_fetch_add(&next, 1) % TOLD_MOST], h);
}

void log_once(const char *text)
{
    const uint64_t h = hash(text);

    if (atomic_load(&destination) != LOG_TO_NOBODY && !is_told(h) && log_line("%s", text))
        remember(h);
}
