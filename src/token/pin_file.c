#include "token/pin_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/scope.h"

#define BLANKS   " \t\r"
#define FILE_MAX 65535

struct reading {
    const char *path;
    bool (*fits)(void *arg, const struct uri *uri);
    void *arg;
    struct pin *pin;
    bool found;
    unsigned line;
    char *why;
    size_t size;
};

/* What is wrong with the line; never what it says. */
static bool malformed(const struct reading *reading, const char *what)
{
    (void)snprintf(reading->why, reading->size, "line %u of %s is malformed: %s", reading->line,
                   reading->path, what);
    return false;
}

/* The path that source names, NULL where it is the PIN itself or nothing that is allowed. */
static const char *source_path(const char *source)
{
    if (strncmp(source, "file:", 5) == 0)
        source += strncmp(source + 5, "//", 2) == 0 ? 7 : 5;
    return source[0] == '/' ? source : NULL;
}

static bool take_source(struct reading *reading, const char *source)
{
    const char *path = source_path(source);
    char why[256];

    reading->found = true;
    if (strncmp(source, "env:", 4) == 0) {
        reading->pin->secret = secret_from_variable(source + 4, why, sizeof(why));
        return reading->pin->secret != NULL || malformed(reading, why);
    }
    if (path != NULL)
        reading->pin->file = OPENSSL_strdup(path);
    else
        reading->pin->secret = secret_new(source, strlen(source));
    return reading->pin->file != NULL || reading->pin->secret != NULL ||
           malformed(reading, "the PIN is too long");
}

static bool source_check(const struct reading *reading, const char *source)
{
    if (source[0] == '\0')
        return malformed(reading, "after the URI of a token, a blank and where its PIN is are "
                                  "wanted");
    if (source[0] == '|')
        return malformed(reading, "it names a program, which is not run: use file:/path");
    if (strncmp(source, "file:", 5) == 0 && source_path(source) == NULL)
        return malformed(reading, "file: wants an absolute path");
    return true;
}

static bool uri_check(const struct reading *reading, const char *text, struct uri *uri)
{
    char unquoted[512];

    if (!uri_parse(text, false, uri, unquoted, sizeof(unquoted)) || uri->impossible != NULL)
        return malformed(reading, "it does not begin with the URI of a token");
    if (!uri->names_token)
        return malformed(reading, "the URI has nothing that tells tokens apart: token=, serial=");
    if (uri->pin != NULL || uri->pin_file != NULL)
        return malformed(reading, "where the PIN is comes after the URI");
    return true;
}

static void trim(char *text)
{
    size_t len = strlen(text);

    while (len > 0 && strchr(BLANKS, text[len - 1]) != NULL)
        text[--len] = '\0';
}

static bool take_line(struct reading *reading, char *line)
{
    _cleanup_(uri_clear) struct uri uri = { 0 };
    char *source;

    reading->line++;
    line += strspn(line, BLANKS);
    trim(line);
    if (line[0] == '\0' || line[0] == '#')
        return true;
    source = line + strcspn(line, BLANKS);
    if (*source != '\0')
        *source++ = '\0';
    source += strspn(source, BLANKS);
    if (!uri_check(reading, line, &uri) || !source_check(reading, source))
        return false;
    return reading->found || !reading->fits(reading->arg, &uri) || take_source(reading, source);
}

static bool take_lines(struct reading *reading, char *text)
{
    bool ok = true;

    while (ok && text != NULL) {
        char *line = strsep(&text, "\n");

        ok = take_line(reading, line);
    }
    return ok;
}

/* The file's text in memory for secrets. */
struct text {
    char data[FILE_MAX + 1];
};

static void text_scoped(struct text **text)
{
    secret_memory_free(*text);
}

bool pin_file_find(const char *path, bool (*fits)(void *arg, const struct uri *uri), void *arg,
                   struct pin *pin, char *why, size_t size)
{
    struct reading reading = { path, fits, arg, pin, false, 0, why, size };
    _cleanup_(text_scoped) struct text *text = secret_memory(sizeof(*text));
    size_t len;

    if (text == NULL || !secret_read(path, true, text->data, FILE_MAX, &len)) {
        (void)snprintf(why, size, "cannot read the PINs of the tokens from %s: %s", path,
                       strerror(text == NULL ? ENOMEM : errno));
        return false;
    }
    if (strlen(text->data) != len)
        return malformed(&reading, "there is a NUL in the file");
    return take_lines(&reading, text->data);
}
