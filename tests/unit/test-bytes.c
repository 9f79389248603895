/* Bytes that grow: what may be a secret stays nowhere on the way. */
#include "unit.h"

#include <stdlib.h>

#include <openssl/crypto.h>

#include "base/bytes.h"

#define MARK "SECRET-MARK-0123"

/* libcrypto's memory, each piece with its length before it: what is freed is looked through. */
struct piece {
    size_t len;
    size_t aligned;
    unsigned char data[];
};

static unsigned found, watching;

static void look(const struct piece *piece)
{
    for (size_t i = 0; watching != 0 && i + sizeof(MARK) - 1 <= piece->len; i++)
        found += memcmp(piece->data + i, MARK, sizeof(MARK) - 1) == 0;
}

static void *watched_malloc(size_t len, const char *file, int line)
{
    struct piece *piece = malloc(sizeof(*piece) + len);

    (void)file;
    (void)line;
    if (piece == NULL)
        return NULL;
    piece->len = len;
    return piece->data;
}

static struct piece *piece_of(void *data)
{
    return (struct piece *)((unsigned char *)data - offsetof(struct piece, data));
}

static void watched_free(void *data, const char *file, int line)
{
    (void)file;
    (void)line;
    if (data == NULL)
        return;
    look(piece_of(data));
    free(piece_of(data));
}

static void *watched_realloc(void *data, size_t len, const char *file, int line)
{
    void *more = watched_malloc(len, file, line);

    if (data != NULL && more != NULL) {
        size_t old = piece_of(data)->len;

        memcpy(more, data, old < len ? old : len);
        watched_free(data, file, line);
    }
    return more;
}

static void check_many(const struct bytes *all)
{
    assert_int_equal(all->len, 1000 * (sizeof(MARK) - 1));
    for (unsigned i = 0; i < 1000; i++)
        assert_memory_equal(all->data + i * (sizeof(MARK) - 1), MARK, sizeof(MARK) - 1);
}

static void test_pieces_leave_nothing(void **state)
{
    struct pieces pieces = { 0 };

    (void)state;
    found = 0;
    watching = 1;
    for (unsigned i = 0; i < 1000; i++)
        assert_true(pieces_add(&pieces, MARK, sizeof(MARK) - 1));
    check_many(&pieces.all);
    pieces_wipe(&pieces);
    watching = 0;
    assert_int_equal(found, 0);
}

/* That this test sees something. */
static void test_bytes_others_do(void **state)
{
    struct bytes bytes = { NULL, 0 };

    (void)state;
    found = 0;
    watching = 1;
    for (unsigned i = 0; i < 1000; i++)
        assert_true(bytes_add(&bytes, MARK, sizeof(MARK) - 1));
    check_many(&bytes);
    bytes_clear(&bytes);
    watching = 0;
    assert_true(found > 1000);
}

/* After they were emptied, in pieces of no length, and where a copy has less memory. */
static void test_pieces_again(void **state)
{
    struct pieces pieces = { 0 }, copy = { 0 };

    (void)state;
    assert_true(pieces_add(&pieces, MARK, 16));
    pieces_wipe(&pieces);
    assert_true(pieces_add(&pieces, NULL, 0));
    assert_non_null(pieces.all.data);
    assert_true(pieces_add(&pieces, MARK, 5));
    assert_true(pieces_add(&pieces, MARK, 1)); /* in twice the memory */
    assert_true(pieces_copy(&copy, &pieces));
    assert_true(pieces_add(&copy, MARK, 3));
    assert_int_equal(copy.all.len, 9);
    assert_true(bytes_are(&pieces.all, copy.all.data, 6));
    pieces_wipe(&pieces);
    pieces_wipe(&copy);
}

static void test_bytes_make(void **state)
{
    struct bytes bytes;

    (void)state;
    assert_true(bytes_make(&bytes, 3));
    assert_true(bytes_are(&bytes, "\0\0\0", 3));
    bytes_clear(&bytes);
    assert_true(bytes_make(&bytes, 0));
    assert_non_null(bytes.data);
    bytes_clear(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_leave_nothing),
        cmocka_unit_test(test_bytes_others_do),
        cmocka_unit_test(test_pieces_again),
        cmocka_unit_test(test_bytes_make),
    };

    if (CRYPTO_set_mem_functions(watched_malloc, watched_realloc, watched_free) != 1)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
