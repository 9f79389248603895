#include "unit.h"

#include <stdlib.h>
#include <unistd.h>

#include "token/pin_file.h"

/* The token that is looked for, and how many lines were looked at. */
struct wanted {
    CK_TOKEN_INFO token;
    unsigned lines;
};

static void wanted_begin(struct wanted *wanted, const char *label)
{
    *wanted = (struct wanted){ 0 };
    memset(wanted->token.label, ' ', sizeof(wanted->token.label));
    memcpy(wanted->token.label, label, strlen(label));
}

static bool fits(void *arg, const struct uri *uri)
{
    struct wanted *wanted = arg;

    wanted->lines++;
    return uri_matches_token(uri, 0, &wanted->token);
}

static bool find(const char *text, size_t len, const char *label, struct pin *pin, char *why,
                 size_t size)
{
    char path[] = "/tmp/bridge-unit-XXXXXX";
    int fd = mkstemp(path);
    struct wanted wanted;
    bool ok;

    assert_int_equal(write(fd, text, len), len);
    close(fd);
    wanted_begin(&wanted, label);
    *pin = (struct pin){ .secret = NULL };
    ok = pin_file_find(path, fits, &wanted, pin, why, size);
    unlink(path);
    return ok;
}

/* A line's PIN or file; the first that fits; nothing where none does. */
static void test_pin_file_found(void **state)
{
    static const struct {
        const char *text, *pin, *file;
    } cases[] = {
        { "pkcs11:token=a 1234", "1234", NULL },
        { "pkcs11:token=a 1234\n", "1234", NULL },
        { "# a\n\n \t \n\t pkcs11:token=a\t \t12 34 \r\n", "12 34", NULL },
        { "pkcs11:token=a #1234", "#1234", NULL },
        { "PKCS11:token=a;object=x 1234", "1234", NULL },
        { "pkcs11:token=b 0000\npkcs11:token=a 1234\npkcs11:token=a 5678\n", "1234", NULL },
        { "pkcs11:token=a file:/etc/pin", NULL, "/etc/pin" },
        { "pkcs11:token=a file:///etc/pin", NULL, "/etc/pin" },
        { "pkcs11:token=a /etc/pin\n", NULL, "/etc/pin" },
        { "pkcs11:token=a env:BRIDGE_TEST_PIN", "76 54", NULL },
        { "pkcs11:token=b env:BRIDGE_TEST_NO_PIN\n", NULL, NULL },
        { "pkcs11:token=a%20b 1234", NULL, NULL },
        { "pkcs11:token=b file:/etc/pin", NULL, NULL },
        { "", NULL, NULL },
        { "#pkcs11:token=a 1234", NULL, NULL },
    };

    (void)state;
    setenv("BRIDGE_TEST_PIN", "76 54", 1);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct pin pin;
        char why[512] = "";

        if (!find(cases[i].text, strlen(cases[i].text), "a", &pin, why, sizeof(why)))
            fail_msg("%s: %s", cases[i].text, why);
        check_case((pin.secret != NULL) == (cases[i].pin != NULL), cases[i].text);
        check_case((pin.file != NULL) == (cases[i].file != NULL), cases[i].text);
        if (pin.secret != NULL)
            check_text(secret_data(pin.secret), cases[i].pin, cases[i].text);
        if (pin.file != NULL)
            check_text(pin.file, cases[i].file, cases[i].text);
        pin_scoped(&pin);
    }
}

/* A mistake on any line is one, and is told by its number without a word of the line. */
static void test_pin_file_malformed(void **state)
{
    static const struct {
        const char *text, *line;
    } cases[] = {
        { "pkcs11:token=a", "line 1 " },
        { "pkcs11:token=a 1234\npkcs11:token=SECRET\n", "line 2 " },
        { "pkcs11:token=a 1234\n\n# x\nSECRET\n", "line 4 " },
        { "SECRET pkcs11:token=a\n", "line 1 " },
        { "pkcs11:token=a;SECRET x\n", "line 1 " },
        { "pkcs11:SECRET=a 1234\n", "line 1 " },
        { "pkcs11:token=%SE SECRET\n", "line 1 " },
        { "pkcs11: SECRET\n", "line 1 " },
        { "pkcs11:id=%01 SECRET\n", "line 1 " },
        { "pkcs11:token=a;pin-value=SECRET SECRET\n", "line 1 " },
        { "pkcs11:token=a?pin-source=file:/SECRET SECRET\n", "line 1 " },
        { "pkcs11:token=a?module-path=/SECRET SECRET\n", "line 1 " },
        { "pkcs11:token=a |SECRET\n", "line 1 " },
        { "pkcs11:token=a file:SECRET\n", "line 1 " },
        { "pkcs11:token=a file://SECRET/pin\n", "line 1 " },
        { "pkcs11:token=a env:12SECRET\n", "line 1 " },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct pin pin;
        char why[512] = "";

        check_case(!find(cases[i].text, strlen(cases[i].text), "a", &pin, why, sizeof(why)),
                   cases[i].text);
        check_contains(why, cases[i].line, cases[i].text);
        check_case(strstr(why, "SECRET") == NULL, cases[i].text);
        pin_scoped(&pin);
    }
}

static void test_pin_file_unreadable(void **state)
{
    static char large[70000];
    static const char with_nul[] = "pkcs11:token=a 12\0\n";
    struct wanted wanted;
    struct pin pin = { .secret = NULL };
    char why[512] = "";

    (void)state;
    wanted_begin(&wanted, "a");
    assert_false(pin_file_find("/no/such/file", fits, &wanted, &pin, why, sizeof(why)));
    check_contains(why, "/no/such/file", "missing");
    memset(large, '#', sizeof(large));
    assert_false(find(large, sizeof(large), "a", &pin, why, sizeof(why)));
    check_contains(why, "too large", "large");
    assert_false(find(with_nul, sizeof(with_nul) - 1, "a", &pin, why, sizeof(why)));
    check_contains(why, "NUL", "NUL");
    assert_null(pin.secret);
    assert_null(pin.file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pin_file_found),
        cmocka_unit_test(test_pin_file_malformed),
        cmocka_unit_test(test_pin_file_unreadable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
