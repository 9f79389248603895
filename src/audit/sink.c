#include "audit/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"

/* Takes fd over; false where it is -1. */
static bool sink_take(struct sink *sink, int fd)
{
    bool taken = descriptor_take(&sink->descriptor, fd);

    if (taken) {
        sink->torn = false;
        sink->end = 0;
    }
    return taken;
}

/* A FIFO that nobody reads does not hold the open up. */
static int open_as(const struct sink *sink, int access)
{
    return open(sink->path,
                access | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK,
                S_IRUSR | S_IWUSR);
}

/* Also to look at its end, where this user may: that is to be so when root is given up as well. */
static int file_open(const struct sink *sink)
{
    struct stat named;
    bool fifo = stat(sink->path, &named) == 0 && !S_ISREG(named.st_mode);
    int fd = fifo ? -1 : open_as(sink, O_RDWR);

    return fd >= 0 ? fd : open_as(sink, O_WRONLY);
}

/* What another process is writing is there as a whole behind this: two do not write to a file at
 * once, not even nothing. Where the file system takes nothing without waiting, the rest has to do.
 */
static void others_finish(const struct sink *sink)
{
    if (write(sink->descriptor.fd, "", 0) == 0)
        clock_rest();
}

/* The length of a file whose last byte is no newline; 0 of any other. */
static off_t unended(const struct sink *sink)
{
    struct stat file;
    char last;

    return fstat(sink->descriptor.fd, &file) == 0 && S_ISREG(file.st_mode) && file.st_size > 0 &&
                   pread(sink->descriptor.fd, &last, 1, file.st_size - 1) == 1 && last != '\n'
               ? file.st_size
               : 0;
}

/* Whether a file has a line at its end that was cut off, by a disk that was full. What another
 * process is writing looks like it, but grows. As before where it may not be read. */
static bool is_torn(const struct sink *sink)
{
    off_t size;

    if ((fcntl(sink->descriptor.fd, F_GETFL) & O_ACCMODE) != O_RDWR)
        return sink->torn;
    size = unended(sink);
    for (unsigned looks = 0; looks < 2 && size > 0; looks++) {
        others_finish(sink);
        if (unended(sink) != size)
            return false;
    }
    return size > 0;
}

/* Behind what was written here there may be another process's line, cut off. */
static void look(struct sink *sink)
{
    struct stat file;

    if (fstat(sink->descriptor.fd, &file) != 0 || file.st_size == sink->end)
        return;
    sink->torn = is_torn(sink);
    sink->end = file.st_size;
}

/* Whether it is there under its name, or could not be opened anew. */
static bool file_ready(struct sink *sink, bool open)
{
    struct stat named;

    if (open && stat(sink->path, &named) == 0 && descriptor_is_of(&sink->descriptor, &named))
        return true;
    return sink_take(sink, file_open(sink)) || open;
}

bool sink_ready(struct sink *sink)
{
    bool open = descriptor_is_open(&sink->descriptor);

    if (!open)
        sink->descriptor.fd = -1;
    if (sink->kind != SINK_FILE)
        return open || sink_take(sink, descriptor_datagram(sink->path));
    if (!file_ready(sink, open))
        return false;
    look(sink);
    return true;
}

/* What writev made of the parts, or -1; waits for a reader that is slow. */
static ssize_t put(const struct sink *sink, const struct iovec *parts, int count)
{
    struct pollfd room = { .fd = sink->descriptor.fd, .events = POLLOUT };
    ssize_t put;

    do
        put = writev(sink->descriptor.fd, parts, count);
    while (put < 0 &&
           (errno == EINTR || (errno == EAGAIN && poll(&room, 1, (int)sink->wait_ms) == 1)));
    return put;
}

/* A line that was cut off before is ended first. */
static bool file_write(struct sink *sink, const char *line, size_t len)
{
    bool torn = sink->torn && is_torn(sink);
    const struct iovec parts[] = { { (void *)(uintptr_t) "\n", torn ? 1 : 0 },
                                   { (void *)(uintptr_t)line, len },
                                   { (void *)(uintptr_t) "\n", 1 } };
    size_t all = parts[0].iov_len + len + 1;
    ssize_t done = put(sink, parts, COUNT(parts));

    if (done < 0) { /* another process may have been cut off, or this one was before */
        sink->torn = torn || errno == ENOSPC || errno == EDQUOT;
        return false;
    }
    sink->end += done;
    sink->torn = (size_t)done != all;
    return (size_t)done + 1 >= all;
}

/* RFC 3164: facility authpriv (10), severity info (6). */
#define SYSLOG_HEAD "<86>pkcs11-bridge[%ld]: "

/* The fields of systemd.journal-fields(7), each in a line. */
#define JOURNAL_HEAD                                                                               \
    "PRIORITY=6\nSYSLOG_FACILITY=10\nSYSLOG_IDENTIFIER=pkcs11-bridge\nSYSLOG_PID=%ld\nMESSAGE="

static bool socket_write(struct sink *sink, const char *line, size_t len)
{
    bool syslog = sink->kind == SINK_SYSLOG;
    char head[128];
    int head_len =
        snprintf(head, sizeof(head), syslog ? SYSLOG_HEAD : JOURNAL_HEAD, (long)getpid());
    const struct iovec parts[] = { { head, (size_t)head_len },
                                   { (void *)(uintptr_t)line, len },
                                   { (void *)(uintptr_t) "\n", syslog ? 0 : 1 } };

    return put(sink, parts, COUNT(parts)) >= 0;
}

bool sink_write(struct sink *sink, const char *line, size_t len)
{
    if (sink->kind == SINK_FILE)
        return file_write(sink, line, len);
    if (socket_write(sink, line, len))
        return true;
    descriptor_close(&sink->descriptor); /* the daemon was started anew */
    return sink_ready(sink) && socket_write(sink, line, len);
}
