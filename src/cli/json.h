/* JSON (RFC 8259) written as it comes, on one line. Nobody here reads any:
 * docs/adr/0029-the-command.md has why there is no library. */
#ifndef BRIDGE_CLI_JSON_H
#define BRIDGE_CLI_JSON_H

#include <stdbool.h>
#include <stdio.h>

#define JSON_DEPTH 8

struct json {
    FILE *out;
    unsigned depth;
    char closing[JSON_DEPTH]; /* of what is open */
    bool some[JSON_DEPTH];    /* it has something in it */
};

/* Key is the name in an object, NULL in an array and for the whole. Text is made fit for people
 * (base/text.h), and is UTF-8 by that; NULL is null. */
void json_object(struct json *json, const char *key);
void json_array(struct json *json, const char *key);
void json_end(struct json *json);
void json_text(struct json *json, const char *key, const char *text);
void json_number(struct json *json, const char *key, unsigned long number);
void json_decimal(struct json *json, const char *key, double number); /* three digits behind it */
void json_bool(struct json *json, const char *key, bool value);

#endif
