#include "unit.h"

#include <string.h>

#include "audit/line.h"
#include "cli/trail_line.h"

static bool read_text(const char *text, struct trail_line *out)
{
    return trail_line_read((struct view){ (uint8_t *)text, strlen(text) }, out);
}

#define LINK "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_read(void **state)
{
    struct trail_line line;

    (void)state;
    assert_true(
        read_text("{\"operation\":\"end\",\"chain\":\"a\",\"n\":7,\"link\":\"" LINK "\"}", &line));
    assert_true(line.end);
    assert_int_equal(line.number, 7);
    assert_int_equal(line.chain.len, 1);
    assert_int_equal(line.text.len, strlen("{\"operation\":\"end\",\"chain\":\"a\",\"n\":7"));
    assert_int_equal(line.link[1], 0x23);
    assert_true(read_text("{\"label\":\"a\\\"b\\\\\"}", &line));
    assert_null(line.chain.data);
}

static void test_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "{}x",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":\"b\\",
        "{\"a\":\"b\",}",
        "{\"a\":\"b\" \"c\":1}",
        "{\"n\":7}",
        "{\"chain\":\"a\",\"n\":7}",
        "{\"n\":7,\"link\":\"" LINK "\"}",
        "{\"chain\":\"a\",\"link\":\"" LINK "\"}",
        "{\"chain\":\"a\",\"n\":7,\"link\":\"" LINK "0\"}",
        "{\"chain\":\"a\",\"n\":7,\"link\":\"" LINK "\",\"b\":1}",
        "{\"label\":\"a\",\"link\":4}",
        "{\"a\":18446744073709551616}",
        "{\"a\":99999999999999999999999}",
    };
    struct trail_line line;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        assert_false(read_text(texts[i], &line));
}

/* A token numbers its sessions as it likes. */
static void test_largest_number(void **state)
{
    struct line written;
    struct trail_line line;

    (void)state;
    line_begin(&written, "sign");
    line_add_number(&written, "session", UINT64_MAX);
    written.text[written.len++] = '}';
    assert_true(trail_line_read((struct view){ (uint8_t *)written.text, written.len }, &line));
    assert_int_equal(line.text.len, written.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_largest_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
