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

static void add_many(struct bytes *to, bool secret)
{
    size_t room = 0;

    for (unsigned i = 0; i < 1000; i++)
        assert_true(secret ? bytes_add_secret(to, &room, MARK, sizeof(MARK) - 1)
                           : bytes_add(to, MARK, sizeof(MARK) - 1));
    assert_int_equal(to->len, 1000 * (sizeof(MARK) - 1));
    for (unsigned i = 0; i < 1000; i++)
        assert_memory_equal(to->data + i * (sizeof(MARK) - 1), MARK, sizeof(MARK) - 1);
}

static void test_bytes_secret_leaves_nothing(void **state)
{
    struct bytes bytes = { NULL, 0 };

    (void)state;
    found = 0;
    watching = 1;
    add_many(&bytes, true);
    bytes_wipe(&bytes);
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
    add_many(&bytes, false);
    bytes_clear(&bytes);
    watching = 0;
    assert_true(found > 1000);
}

/* After it was emptied, and in pieces of no length. */
static void test_bytes_secret_again(void **state)
{
    struct bytes bytes = { NULL, 0 };
    size_t room = 0;

    (void)state;
    assert_true(bytes_add_secret(&bytes, &room, MARK, 16));
    bytes_wipe(&bytes);
    assert_true(bytes_add_secret(&bytes, &room, NULL, 0));
    assert_non_null(bytes.data);
    assert_true(bytes_add_secret(&bytes, &room, MARK, 5));
    assert_true(bytes_are(&bytes, MARK, 5));
    bytes_wipe(&bytes);
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
        cmocka_unit_test(test_bytes_secret_leaves_nothing),
        cmocka_unit_test(test_bytes_others_do),
        cmocka_unit_test(test_bytes_secret_again),
        cmocka_unit_test(test_bytes_make),
    };

    if (CRYPTO_set_mem_functions(watched_malloc, watched_realloc, watched_free) != 1)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
