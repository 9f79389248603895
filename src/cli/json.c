#include "cli/json.h"

#include <string.h>

#include <openssl/crypto.h>

#include "base/scope.h"
#include "base/text.h"

static void quoted(FILE *out, const char *text)
{
    _cleanup_(free_scoped) char *shown = OPENSSL_malloc(strlen(text) + 1);

    if (shown != NULL)
        text_printable((const uint8_t *)text, strlen(text), shown);
    (void)putc('"', out);
    for (const char *c = shown != NULL ? shown : ""; *c != '\0'; c++)
        (void)fprintf(out, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    (void)putc('"', out);
}

/* What stands before a value. */
static void begin(struct json *json, const char *key)
{
    if (json->depth != 0 && json->some[json->depth - 1])
        (void)putc(',', json->out);
    if (json->depth != 0)
        json->some[json->depth - 1] = true;
    if (key == NULL)
        return;
    quoted(json->out, key);
    (void)putc(':', json->out);
}

static void enter(struct json *json, const char *key, char opening, char closing)
{
    begin(json, key);
    (void)putc(opening, json->out);
    json->closing[json->depth] = closing;
    json->some[json->depth++] = false;
}

void json_object(struct json *json, const char *key)
{
    enter(json, key, '{', '}');
}

void json_array(struct json *json, const char *key)
{
    enter(json, key, '[', ']');
}

void json_end(struct json *json)
{
    (void)putc(json->closing[--json->depth], json->out);
    if (json->depth == 0)
        (void)putc('\n', json->out);
}

void json_text(struct json *json, const char *key, const char *text)
{
    begin(json, key);
    if (text != NULL)
        quoted(json->out, text);
    else
        (void)fputs("null", json->out);
}

void json_number(struct json *json, const char *key, unsigned long number)
{
    begin(json, key);
    (void)fprintf(json->out, "%lu", number);
}

void json_decimal(struct json *json, const char *key, double number)
{
    begin(json, key);
    (void)fprintf(json->out, "%.3f", number);
}

void json_bool(struct json *json, const char *key, bool value)
{
    begin(json, key);
    (void)fputs(value ? "true" : "false", json->out);
}
