#include "unit.h"

#include <stdlib.h>

#include "cli/json.h"

struct written {
    struct json json;
    char *text;
    size_t len;
};

static void begin(struct written *written)
{
    *written = (struct written){ .text = NULL };
    written->json.out = open_memstream(&written->text, &written->len);
    assert_non_null(written->json.out);
}

static void check(struct written *written, const char *expected)
{
    assert_int_equal(fclose(written->json.out), 0);
    check_text(written->text, expected, expected);
    free(written->text);
}

static void test_structures(void **state)
{
    struct written written;

    (void)state;
    begin(&written);
    json_object(&written.json, NULL);
    json_array(&written.json, "empty");
    json_end(&written.json);
    json_array(&written.json, "full");
    json_number(&written.json, NULL, 1);
    json_object(&written.json, NULL);
    json_bool(&written.json, "yes", true);
    json_decimal(&written.json, "ms", 1.5);
    json_end(&written.json);
    json_end(&written.json);
    json_text(&written.json, "none", NULL);
    json_end(&written.json);
    check(&written, "{\"empty\":[],\"full\":[1,{\"yes\":true,\"ms\":1.500}],\"none\":null}\n");
}

/* RFC 8259 §7: quotes and backslashes are escaped; control characters, and what is no UTF-8, do not
 * get here as they are. */
static void test_texts(void **state)
{
    static const struct {
        const char *text, *json;
    } cases[] = {
        { "", "[\"\"]\n" },
        { "a\"b\\c", "[\"a\\\"b\\\\c\"]\n" },
        { "a\nb\x1b[1m", "[\"a?b?[1m\"]\n" },
        { "schl\xc3\xbcssel", "[\"schl\xc3\xbcssel\"]\n" },
        { "\xff\xc3", "[\"??\"]\n" },
        { "100%s", "[\"100%s\"]\n" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct written written;

        begin(&written);
        json_array(&written.json, NULL);
        json_text(&written.json, NULL, cases[i].text);
        json_end(&written.json);
        check(&written, cases[i].json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_structures),
        cmocka_unit_test(test_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
