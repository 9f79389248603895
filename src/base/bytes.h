/* A run of bytes that its holder owns. {NULL, 0} is "none"; a present but empty run has data. */
#ifndef BRIDGE_BYTES_H
#define BRIDGE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
    uint8_t *data;
    size_t len;
};

/* Bytes that belong to somebody else. */
struct view {
    const uint8_t *data;
    size_t len;
};

#define VIEW(array) ((struct view){ (array), sizeof(array) })

static inline struct view view_bytes(const struct bytes *bytes)
{
    return (struct view){ bytes->data, bytes->len };
}

/* Copies len bytes of data into *out, which must hold nothing. False when memory is short. */
bool bytes_set(struct bytes *out, const void *data, size_t len);

/* The same with what from holds; "none" stays "none". */
bool bytes_copy(struct bytes *out, const struct bytes *from);

/* Adds to what is there, or to "none". False when memory is short. */
bool bytes_add(struct bytes *to, const void *data, size_t len);

/* len zeros, for the holder to fill: no part of a secret is left where it grew from. */
bool bytes_make(struct bytes *out, size_t len);

bool bytes_equal(const struct bytes *a, const struct bytes *b);
bool bytes_are(const struct bytes *a, const void *data, size_t len);

/* Frees what b holds and leaves it "none". */
void bytes_free(struct bytes *b);
static inline void bytes_clear(struct bytes *b)
{
    if (b->data != NULL)
        bytes_free(b);
}

/* The same for what may be a secret: it is wiped first. */
void bytes_wipe(struct bytes *b);

/* What may be a secret and comes in pieces: what it grows out of is wiped, and memory grows in
 * steps that make many pieces cheap. All zeros is "none". */
struct pieces {
    struct bytes all;
    size_t room; /* bytes that there is memory for */
};

/* False when memory is short. */
bool pieces_add(struct pieces *to, const void *data, size_t len);

/* Copies into *out, which must hold nothing. */
bool pieces_copy(struct pieces *out, const struct pieces *from);
void pieces_wipe(struct pieces *pieces);

#endif
