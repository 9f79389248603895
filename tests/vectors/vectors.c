#include "vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/crypto.h>

static const struct {
    const char *name;
    size_t place;
    bool text;
} fields[] = {
    { "source", offsetof(struct vector, source), true },
    { "algorithm", offsetof(struct vector, algorithm), true },
    { "operation", offsetof(struct vector, operation), true },
    { "hash", offsetof(struct vector, hash), true },
    { "seed", offsetof(struct vector, seed), false },
    { "sk", offsetof(struct vector, sk), false },
    { "pk", offsetof(struct vector, pk), false },
    { "dk", offsetof(struct vector, dk), false },
    { "context", offsetof(struct vector, context), false },
    { "message", offsetof(struct vector, message), false },
    { "mu", offsetof(struct vector, mu), false },
    { "signature", offsetof(struct vector, signature), false },
    { "sha256", offsetof(struct vector, sha256), false },
    { "c", offsetof(struct vector, c), false },
    { "k", offsetof(struct vector, k), false },
};
#define FIELDS (sizeof(fields) / sizeof(fields[0]))

FILE *vectors_open(void)
{
    char path[1024];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/tests/vectors/post-quantum.txt",
                   getenv("BRIDGE_SOURCE"));
    file = fopen(path, "r");
    if (file == NULL)
        fail_msg("%s cannot be read", path);
    return file;
}

static void vector_clear(struct vector *vector)
{
    for (size_t i = 0; i < FIELDS; i++)
        free(*(void **)((char *)vector + fields[i].place));
    *vector = (struct vector){ 0 };
}

static struct vector_bytes bytes_of(const char *hex)
{
    struct vector_bytes bytes = { .data = malloc(strlen(hex) / 2 + 1) };

    if (hex[0] != '\0' &&
        OPENSSL_hexstr2buf_ex(bytes.data, strlen(hex) / 2, &bytes.len, hex, '\0') != 1)
        fail_msg("not hexadecimal: %.40s", hex);
    return bytes;
}

static void field_set(struct vector *vector, const char *name, const char *value)
{
    for (size_t i = 0; i < FIELDS; i++) {
        void *place = (char *)vector + fields[i].place;

        if (strcmp(fields[i].name, name) != 0)
            continue;
        if (fields[i].text)
            *(char **)place = strdup(value);
        else
            *(struct vector_bytes *)place = bytes_of(value);
        return;
    }
    fail_msg("no field %s", name);
}

/* "name value": both in the line. */
static void line_take(struct vector *vector, char *line)
{
    char *blank = strchr(line, ' ');

    if (blank == NULL)
        fail_msg("no value: %.40s", line);
    *blank = '\0';
    field_set(vector, line, blank + 1);
}

bool vectors_next(FILE *file, struct vector *vector)
{
    char *line = NULL;
    size_t size = 0;

    vector_clear(vector);
    while (getline(&line, &size, file) > 0) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#')
            continue;
        if (line[0] != '\0')
            line_take(vector, line);
        else if (vector->source != NULL)
            break;
    }
    free(line);
    return vector->source != NULL;
}
