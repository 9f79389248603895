/* What the fuzz targets share: the input in pieces, files made of it, and what must hold. */
#ifndef BRIDGE_FUZZ_H
#define BRIDGE_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libFuzzer's, and what it calls. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* A finding: libFuzzer keeps the input. */
#define hold(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Stands in inputs for a PIN: where it is one, no message may have it. */
#define PIN_MARK "Pq7+"

/* The input, taken from its front. */
struct input {
    const uint8_t *data;
    size_t len;
};

/* 0 where there is no more. */
static inline uint8_t input_byte(struct input *input)
{
    if (input->len == 0)
        return 0;
    input->len--;
    return *input->data++;
}

/* A number below limit. */
static inline size_t input_below(struct input *input, size_t limit)
{
    size_t n = input_byte(input);

    return (n << 8 | input_byte(input)) % limit;
}

/* At most len bytes in memory of exactly their size, so that a byte too far is noticed; and a NUL
 * behind them where text is set. The caller frees it. */
static inline uint8_t *input_copy(struct input *input, size_t *len, bool text)
{
    uint8_t *copy;

    *len = *len < input->len ? *len : input->len;
    copy = malloc(*len + text);
    hold(copy != NULL || *len + text == 0);
    if (*len != 0)
        memcpy(copy, input->data, *len);
    if (text)
        copy[*len] = '\0';
    input->data += *len;
    input->len -= *len;
    return copy;
}

/* Writes data to a file in memory, the same each time, and says how it is called. */
const char *fuzz_file(const void *data, size_t len);

#endif
