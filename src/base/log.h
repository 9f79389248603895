/* What an operator should see: trouble with a token while a program waits, and its end; what keeps
 * a key from being used, which many programs drop from OpenSSL's error stack. A PIN goes nowhere.
 */
#ifndef BRIDGE_LOG_H
#define BRIDGE_LOG_H

#include <stdbool.h>
#include <stddef.h>

/* LOG_TO_ANYBODY: to stderr, and to syslog where nobody would read that: it is closed, or
 * /dev/null. */
enum log_where { LOG_TO_ANYBODY, LOG_TO_STDERR, LOG_TO_SYSLOG, LOG_TO_NOBODY };

/* pkcs11-log, for the whole process: the last configuration that is read counts. */
void log_to(enum log_where where);

/* One line, "pkcs11-bridge: <text>", with a ? for each control character. To syslog too where
 * descriptor 2 is no standard error: it is another file than when this library was loaded, and not
 * one that can only be added to (docs/adr/0025-standard-error-and-pin-files.md). False when nobody
 * took it. */
__attribute__((format(printf, 1, 2))) bool log_line(const char *format, ...);

/* The same, unless that line was taken before: what lasts is met again by each who tries. */
void log_once(const char *text);

/* write(2), which raises no SIGPIPE. */
void log_write(int fd, const char *text, size_t len);

/* The same to standard error, where descriptor 2 is that. */
void log_write_stderr(const char *text, size_t len);

#endif
