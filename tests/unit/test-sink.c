#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/sink.h"

#define LARGE ((size_t)64 << 20) /* takes a while to be written: the file grows meanwhile */

static char path[] = "/tmp/bridge-unit-XXXXXX";

static struct sink sink_new(void)
{
    return (struct sink){ .kind = SINK_FILE, .path = path, .descriptor = { .fd = -1 } };
}

static int made(const char *content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    return fd;
}

static void check_content(const char *expected)
{
    char text[256] = { 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(read(fd, text, sizeof(text) - 1) >= 0);
    assert_string_equal(text, expected);
    (void)close(fd);
}

static void test_line_cut_off(void **state)
{
    static const struct {
        const char *before, *after;
    } cases[] = {
        { "", "{}\n{}\n" },
        { "{1}\n", "{1}\n{}\n{}\n" },
        { "{1}\n{2", "{1}\n{2\n{}\n{}\n" },
    };

    (void)state;
    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        struct sink sink = sink_new();

        (void)close(made(cases[i].before));
        assert_true(sink_ready(&sink));
        assert_true(sink_write(&sink, "{}", 2));
        assert_true(sink_write(&sink, "{}", 2));
        descriptor_close(&sink.descriptor);
        check_content(cases[i].after);
    }
}

/* Somebody else ended the line meanwhile, who had room before. */
static void test_line_ended_by_another(void **state)
{
    struct sink sink = sink_new();
    int fd = made("{1");

    (void)state;
    assert_true(sink_ready(&sink));
    assert_int_equal(write(fd, "\n{2}\n", 5), 5);
    assert_true(sink_write(&sink, "{}", 2));
    descriptor_close(&sink.descriptor);
    (void)close(fd);
    check_content("{1\n{2}\n{}\n");
}

/* Another process, which had no room for all of a line, or was killed, while this one has the file
 * open. */
static void test_line_of_another_cut_off(void **state)
{
    struct sink sink = sink_new();
    int fd = made("");

    (void)state;
    assert_true(sink_ready(&sink));
    assert_true(sink_write(&sink, "{1}", 3));
    assert_int_equal(write(fd, "{2", 2), 2);
    assert_true(sink_ready(&sink));
    assert_true(sink_write(&sink, "{3}", 3));
    assert_int_equal(write(fd, "{4}\n", 4), 4);
    assert_true(sink_ready(&sink));
    assert_true(sink_write(&sink, "{5}", 3));
    descriptor_close(&sink.descriptor);
    (void)close(fd);
    check_content("{1}\n{2\n{3}\n{4}\n{5}\n");
}

/* How long a file may get; what would be longer is cut off. */
static void file_limit(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Whatever is said to those that come between, none of which is there. */
static void test_line_cut_off_and_refused(void **state)
{
    struct sink sink = sink_new();

    (void)state;
    (void)close(made("{1}\n"));
    assert_true(sink_ready(&sink));
    file_limit(6);
    assert_false(sink_write(&sink, "{2}", 3));
    assert_false(sink_write(&sink, "{3}", 3)); /* EFBIG */
    file_limit(RLIM_INFINITY);
    assert_true(sink_write(&sink, "{4}", 3));
    descriptor_close(&sink.descriptor);
    check_content("{1}\n{2\n{4}\n");
}

/* It is there: one that is written again would be there twice. */
static void test_newline_cut_off(void **state)
{
    struct sink sink = sink_new();

    (void)state;
    (void)close(made("{1}\n"));
    assert_true(sink_ready(&sink));
    file_limit(7);
    assert_true(sink_write(&sink, "{2}", 3));
    file_limit(RLIM_INFINITY);
    assert_true(sink_write(&sink, "{3}", 3));
    descriptor_close(&sink.descriptor);
    check_content("{1}\n{2}\n{3}\n");
}

/* One line of 64 MB, in one call. */
static void *large_write(void *fd)
{
    char *line = malloc(LARGE);

    memset(line, 'x', LARGE);
    line[LARGE - 1] = '\n';
    (void)!write(*(int *)fd, line, LARGE);
    free(line);
    return NULL;
}

/* What is not yet there as a whole is not torn. */
static void test_line_being_written(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct sink sink = sink_new();
        int fd = made("");
        pthread_t writer;
        struct stat file = { 0 };
        char end[5] = { 0 };

        assert_int_equal(pthread_create(&writer, NULL, large_write, &fd), 0);
        while (file.st_size == 0)
            assert_int_equal(stat(path, &file), 0);
        assert_true(sink_ready(&sink));
        assert_true(sink_write(&sink, "{}", 2));
        assert_int_equal(pthread_join(writer, NULL), 0);
        descriptor_close(&sink.descriptor);
        (void)close(fd);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(lseek(fd, -5, SEEK_END) > 0);
        assert_int_equal(read(fd, end, 5), 5);
        (void)close(fd);
        assert_memory_equal(end, "x\n{}\n", 5);
    }
}

static int setup(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    (void)signal(SIGXFSZ, SIG_IGN);
    return fd >= 0 ? close(fd) : -1;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_cut_off),
        cmocka_unit_test(test_line_ended_by_another),
        cmocka_unit_test(test_line_of_another_cut_off),
        cmocka_unit_test(test_line_cut_off_and_refused),
        cmocka_unit_test(test_newline_cut_off),
        cmocka_unit_test(test_line_being_written),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
