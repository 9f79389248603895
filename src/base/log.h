/* What an operator should see while a program waits: trouble with a token, and its end. Keys and
 * errors go to OpenSSL's error stack instead; a PIN goes nowhere. */
#ifndef BRIDGE_LOG_H
#define BRIDGE_LOG_H

enum log_where { LOG_TO_STDERR, LOG_TO_SYSLOG, LOG_TO_NOBODY };

/* pkcs11-log, for the whole process: the last configuration that is read counts. */
void log_to(enum log_where where);

/* One line, "pkcs11-bridge: <text>". */
__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...);

#endif
