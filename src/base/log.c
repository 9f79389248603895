#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <syslog.h>

#include "base/scope.h"

static _Atomic(enum log_where) destination;

void log_to(enum log_where where)
{
    atomic_store(&destination, where);
}

void log_line(const char *format, ...)
{
    KEEP_ERRNO;
    char text[600];
    va_list args;

    if (atomic_load(&destination) == LOG_TO_NOBODY)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (atomic_load(&destination) == LOG_TO_SYSLOG)
        syslog(LOG_AUTHPRIV | LOG_WARNING, "pkcs11-bridge: %s", text);
    else
        (void)fprintf(stderr, "pkcs11-bridge: %s\n", text);
}
