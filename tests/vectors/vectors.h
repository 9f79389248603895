/* Published test vectors, tests/vectors/post-quantum.txt. */
#ifndef BRIDGE_TESTS_VECTORS_H
#define BRIDGE_TESTS_VECTORS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct vector_bytes {
    uint8_t *data; /* owned by the vector; NULL: the vector has no such field */
    size_t len;
};

struct vector {
    char *source, *algorithm, *operation, *hash; /* owned; NULL: it has none */
    struct vector_bytes seed, sk, pk, dk, context, message, mu, signature, sha256, c, k;
};

/* The file, in BRIDGE_SOURCE. */
FILE *vectors_open(void);

/* Reads the next vector; false at the end. Frees what is in it first. Fails the test where the file
 * is no such file. */
bool vectors_next(FILE *file, struct vector *vector);

#endif
