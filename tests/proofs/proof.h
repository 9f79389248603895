/* What the proofs share: inputs of which nothing is known but what is assumed. docs/proofs.md has
 * how they are run. */
#ifndef BRIDGE_PROOF_H
#define BRIDGE_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "der/der.h"

#define ASSUME(condition)      __CPROVER_assume(condition)
#define CHECK(condition, text) __CPROVER_assert(condition, text)

/* Lengths that a proof does not bound in any other way: no object of a process is longer. */
#define ANY_LENGTH ((size_t)1 << 46)

size_t nondet_size(void);
unsigned short nondet_ushort(void);
unsigned nondet_unsigned(void);
uint32_t nondet_uint32(void);
int nondet_int(void);
bool nondet_bool(void);

/* Up to 65535 it is short by its type, which is easier to reason about than by an assumption. */
static inline size_t any_size(size_t most)
{
    size_t size = most <= 0xffff ? nondet_ushort() : nondet_size();

    ASSUME(size <= most);
    return size;
}

/* Memory of exactly this size, with anything in it. */
static inline uint8_t *any_memory(size_t size)
{
    uint8_t *memory = malloc(size);

    ASSUME(memory != NULL);
    return memory;
}

static inline struct view any_view(size_t most)
{
    size_t len = any_size(most);

    return (struct view){ any_memory(len), len };
}

/* Whether a view lies in another. */
static inline bool lies_in(struct view inner, struct view outer)
{
    size_t from = __CPROVER_POINTER_OFFSET(outer.data), at = __CPROVER_POINTER_OFFSET(inner.data);

    return __CPROVER_same_object(inner.data, outer.data) && at >= from && at - from <= outer.len &&
           inner.len <= outer.len - (at - from);
}

/* A writer in the middle of its work, on a buffer of at most this size. */
static inline struct der_writer any_writer(size_t most)
{
    size_t size = any_size(most);
    struct der_writer writer = der_begin(any_memory(size), size);

    writer.position -= any_size(size);
    writer.failed = nondet_bool();
    return writer;
}

static inline bool writer_sound(const struct der_writer *writer)
{
    return __CPROVER_same_object(writer->start, writer->position) &&
           writer->start <= writer->position && writer->position <= writer->end;
}

/* The bytes of tag and length before a value of so many bytes (X.690 §8.1.3). */
static inline size_t header_size(size_t len)
{
    size_t bytes = 1;

    if (len < 0x80)
        return 2;
    for (size_t most = 0xff; bytes < sizeof(len) && len > most; most = most << 8 | 0xff)
        bytes++;
    return 2 + bytes;
}

/* Whether a writer took what is this long, or had no room for it. */
static inline bool writer_took(const struct der_writer *before, const struct der_writer *after,
                               size_t size)
{
    size_t room = (size_t)(before->position - before->start);

    if (after->failed)
        return before->failed || room < size;
    return !before->failed && room >= size && before->position - after->position == (ptrdiff_t)size;
}

#endif
