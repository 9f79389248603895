#include "audit/line.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

/* Of a text or an id that come from outside. */
#define VALUE_MAX 128

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *format, ...)
{
    size_t room = sizeof(line->text) - line->len;
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(line->text + line->len, room, format, args);
    va_end(args);
    if (len > 0)
        line->len += (size_t)len < room ? (size_t)len : 0;
}

struct day {
    long year;
    unsigned month, day;
};

/* The Gregorian day that is so many days after 1970-01-01. Years begin in March, so that the day
 * that some have more is their last. */
static struct day day_of(long days)
{
    const long from = days + 719468, era = from / 146097, rest = from % 146097;
    const long year = (rest - rest / 1460 + rest / 36524 - rest / 146096) / 365;
    const long of_year = rest - (365 * year + year / 4 - year / 100);
    const long month = (5 * of_year + 2) / 153;

    return (struct day){ .year = year + era * 400 + (month >= 10),
                         .month = (unsigned)(month < 10 ? month + 3 : month - 9),
                         .day = (unsigned)(of_year - (153 * month + 2) / 5 + 1) };
}

/* RFC 3339, by hand: gmtime_r takes a lock that a fork may find taken. */
static void add_time(struct line *line)
{
    struct timespec now = { 0, 0 };
    struct day day;
    long of_day;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    day = day_of(now.tv_sec / 86400);
    of_day = now.tv_sec % 86400;
    add(line, "{\"time\":\"%04ld-%02u-%02uT%02ld:%02ld:%02ld.%09ldZ\"", day.year, day.month,
        day.day, of_day / 3600, of_day / 60 % 60, of_day % 60, now.tv_nsec);
}

void line_begin(struct line *line, const char *operation)
{
    line->len = 0;
    add_time(line);
    line_add_number(line, "pid", (uint64_t)getpid());
    line_add_number(line, "tid", (uint64_t)gettid());
    line_add_text(line, "program", program_invocation_short_name);
    line_add_text(line, "operation", operation);
}

/* text as a JSON string, without its quotes; out: 2 * VALUE_MAX + 1 bytes. */
static void escape(struct view text, char *out)
{
    char printable[VALUE_MAX + 1];
    size_t len = 0;

    text_printable(text.data, text.len < VALUE_MAX ? text.len : VALUE_MAX, printable);
    for (const char *c = printable; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            out[len++] = '\\';
        out[len++] = *c;
    }
    out[len] = '\0';
}

void line_add_view(struct line *line, const char *key, struct view text)
{
    char escaped[2 * VALUE_MAX + 1];

    if (text.data == NULL)
        return;
    escape(text, escaped);
    add(line, ",\"%s\":\"%s\"", key, escaped);
}

void line_add_text(struct line *line, const char *key, const char *text)
{
    if (text != NULL)
        line_add_view(line, key, (struct view){ (const uint8_t *)text, strlen(text) });
}

void line_add_hex(struct line *line, const char *key, struct view bytes)
{
    char hex[2 * VALUE_MAX + 1] = "";

    if (bytes.data == NULL)
        return;
    for (size_t i = 0; i < bytes.len && i < VALUE_MAX; i++)
        (void)sprintf(hex + 2 * i, "%02x", bytes.data[i]);
    add(line, ",\"%s\":\"%s\"", key, hex);
}

void line_add_number(struct line *line, const char *key, uint64_t number)
{
    add(line, ",\"%s\":%llu", key, (unsigned long long)number);
}
