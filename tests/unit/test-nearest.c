#include "unit.h"

#include <string.h>

#include "cli/nearest.h"

static void test_nearest(void **state)
{
    static const char *const texts[] = { "pkcs11-module-path", "pkcs11-module-token-pin",
                                         "pkcs11-token-pins", "activate", "" };
    static const struct {
        const char *text;
        int nearest;
    } cases[] = {
        { "pkcs11-module-path", 0 },
        { "pkcs11-modul-path", 0 },
        { "pkcs11-module-tokenpin", 1 },
        { "pkcs11-token-pin", 2 },
        { "aktivate", 3 },
        { "frobnicate", -1 },
        { "x", 4 },
        { "", 4 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(nearest(cases[i].text, texts, COUNT_OF(texts)), cases[i].nearest);
}

/* What is longer than there is room for is compared as far as that. */
static void test_long(void **state)
{
    char text[1000];
    const char *const texts[] = { text };

    (void)state;
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    (void)nearest("b", texts, 1);
    (void)nearest(text, texts, 1);
    assert_int_equal(nearest(text, texts, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
