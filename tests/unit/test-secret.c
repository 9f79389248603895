#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/secret.h"

static struct secret *from_text(const char *text, size_t len)
{
    char path[] = "/tmp/bridge-secret-XXXXXX";
    int fd = mkstemp(path);
    struct secret *secret;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
    secret = secret_from_file(path);
    unlink(path);
    return secret;
}

static void test_secret_from_file(void **state)
{
    static const struct {
        const char *text, *secret;
    } cases[] = {
        { "1234", "1234" },         { "1234\n", "1234" },
        { "1234\r\n", "1234" },     { "1234\nsecond line\n", "1234" },
        { " 12 34 \n", " 12 34 " },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct secret *secret = from_text(cases[i].text, strlen(cases[i].text));

        check_case(secret != NULL, cases[i].text);
        check_text(secret_data(secret), cases[i].secret, cases[i].text);
        assert_int_equal(secret_len(secret), strlen(cases[i].secret));
        secret_free(secret);
    }
}

static void test_secret_from_bad_file(void **state)
{
    static char longer[SECRET_MAX + 2];

    (void)state;
    memset(longer, 'x', sizeof(longer));
    assert_null(from_text("", 0));
    assert_int_equal(errno, ENODATA);
    assert_null(from_text("\n1234\n", 6));
    assert_int_equal(errno, ENODATA);
    assert_null(from_text(longer, sizeof(longer)));
    assert_int_equal(errno, EFBIG);
    assert_null(secret_from_file("/nonexistent/pin"));
    assert_int_equal(errno, ENOENT);
    assert_null(secret_from_file("/"));
}

static void test_secret_equal(void **state)
{
    struct secret *a = secret_new("1234", 4), *b = secret_new("1234", 4),
                  *c = secret_new("1235", 4), *d = secret_new("123", 3), *e = secret_new("", 0);

    (void)state;
    assert_true(secret_equal(a, b));
    assert_false(secret_equal(a, c));
    assert_false(secret_equal(a, d));
    assert_true(secret_equal(e, e));
    assert_null(secret_new("x", SECRET_MAX + 1));
    secret_free(a);
    secret_free(b);
    secret_free(c);
    secret_free(d);
    secret_free(e);
    secret_free(NULL);
}

/* The mapping of a secret says so itself: locked (lo), not dumped (dd). */
static void test_secret_is_locked_and_not_dumped(void **state)
{
    struct secret *secret = secret_new("1234", 4);
    unsigned long address = (unsigned long)(uintptr_t)secret_data(secret);
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[512];
    bool inside = false, checked = false;

    (void)state;
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long from, to;

        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = from <= address && address < to;
        if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            assert_non_null(strstr(line, " dd"));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they make mlock do nothing  \
                                                                     */
            assert_non_null(strstr(line, " lo"));
#endif
            checked = true;
        }
    }
    fclose(maps);
    assert_true(checked);
    secret_free(secret);
}

static void test_secret_holders(void **state)
{
    struct secret *secret = secret_new("1234", 4);
    struct secret *again = secret_ref(secret);

    (void)state;
    secret_free(secret);
    assert_string_equal(secret_data(again), "1234");
    secret_free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secret_from_file),
        cmocka_unit_test(test_secret_from_bad_file),
        cmocka_unit_test(test_secret_equal),
        cmocka_unit_test(test_secret_is_locked_and_not_dumped),
        cmocka_unit_test(test_secret_holders),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
