/* Where the lines of an audit trail go: a file (or a FIFO), or the socket of syslog or journald.
 *
 * A file is opened when the trail begins, with the rights of that time, and again when another file
 * has its name or none has. Where that is not possible (a server gave up root, or changed its root
 * directory), the lines go on into the one that is open. One thread uses it at a time. */
#ifndef BRIDGE_SINK_H
#define BRIDGE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/descriptor.h"

enum sink_kind { SINK_FILE, SINK_SYSLOG, SINK_JOURNALD };

struct sink {
    enum sink_kind kind;
    const char *path;
    unsigned wait_ms; /* for the reader of a FIFO */
    struct descriptor descriptor;
    bool torn; /* the file ends in the middle of a line, or may */
    off_t end; /* of the file when it was looked at, with what was written here since */
};

/* A line is shorter than this: a FIFO takes it whole (PIPE_BUF), and so does a datagram. */
#define SINK_LINE_MAX 4096

/* Makes ready for some lines; false when there is nowhere to write to. What others, who write to
 * the same file, left cut off there is ended by the first of them. */
bool sink_ready(struct sink *sink);

/* Writes a line, which has no newline at its end; false when it is not there as a whole. Its
 * newline may be missing, and comes before the next. */
bool sink_write(struct sink *sink, const char *line, size_t len);

#endif
