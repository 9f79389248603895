#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
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
    assert_null(from_text("12\00034\n", 6));
    assert_int_equal(errno, EILSEQ);
    assert_null(from_text("1234\n\0", 6));
    assert_int_equal(errno, EILSEQ);
}

/* A FIFO to which nobody writes holds nobody up; one whose writer stays has its line. */
static void test_secret_from_pipe(void **state)
{
    char directory[] = "/tmp/bridge-secret-XXXXXX", path[64], text[8] = "";
    struct secret *secret;
    size_t len = 0;
    int writer, held;

    (void)state;
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/fifo", directory);
    assert_int_equal(mkfifo(path, 0600), 0);
    (void)alarm(60); /* to end here rather than nowhere */
    assert_null(secret_from_file(path));
    assert_int_equal(errno, ENODATA);
    assert_true(secret_read(path, true, text, sizeof(text), &len));
    assert_int_equal(len, 0);

    held = open(path, O_RDONLY | O_NONBLOCK); /* what is written stays, as in a shell's <(...) */
    writer = open(path, O_WRONLY);
    assert_int_equal(write(writer, "1234\n", 5), 5);
    secret = secret_from_file(path);
    assert_non_null(secret);
    assert_string_equal(secret_data(secret), "1234");
    secret_free(secret);

    assert_int_equal(write(writer, "5678", 4), 4);
    close(writer);
    (void)snprintf(text, sizeof(text), "%d", held);
    (void)snprintf(path, sizeof(path), "/dev/fd/%s", text);
    secret = secret_from_file(path);
    assert_non_null(secret);
    assert_string_equal(secret_data(secret), "5678");
    secret_free(secret);
    (void)alarm(0);
    close(held);
    (void)snprintf(path, sizeof(path), "%s/fifo", directory);
    unlink(path);
    rmdir(directory);
}

static const char *program;

/* What this program says to standard error when it reads the file at path three times. */
static void read_thrice(const char *path, char *text, size_t size)
{
    char out[] = "/tmp/bridge-secret-XXXXXX";
    int fd = mkstemp(out), status;
    pid_t child = fork();
    ssize_t got;

    if (child == 0) {
        (void)dup2(fd, STDERR_FILENO);
        (void)execl(program, program, "read", path, (char *)NULL);
        _exit(9);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    got = pread(fd, text, size - 1, 0);
    text[got > 0 ? got : 0] = '\0';
    close(fd);
    unlink(out);
}

/* A file that others can read, or that is another user's, is told of once. */
static void test_secret_file_of_others(void **state)
{
    static const struct {
        mode_t mode;
        uid_t owner;
        const char *says;
    } cases[] = {
        { 0600, 0, "" },
        { 0640, 0, "" },
        { 0644, 0, "can be read by everybody\n" },
        { 0600, 12345, "%s belongs to another user than root and this process's\n" },
        { 0644, 12345, "everybody, and belongs to another user" },
    };
    char path[] = "/tmp/bridge-secret-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_int_equal(write(fd, "1234\n", 5), 5);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[600], expected[200];

        if (cases[i].owner != 0 && fchown(fd, cases[i].owner, (gid_t)-1) != 0)
            continue; /* not root */
        assert_int_equal(fchmod(fd, cases[i].mode), 0);
        read_thrice(path, text, sizeof(text));
        (void)snprintf(expected, sizeof(expected), cases[i].says, path);
        check_case(strstr(text, expected) != NULL, text);
        check_case(strstr(text, "1234") == NULL, text);
        check_case((text[0] == '\0') == (expected[0] == '\0'), text);
        check_case(text[0] == '\0' || strchr(text, '\n') == text + strlen(text) - 1, text);
    }
    close(fd);
    unlink(path);
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

/* Into line, of size bytes, what the mapping of address says of itself; false where there is no
 * such line. */
static bool flags_of(const void *address_, char *line, size_t size)
{
    unsigned long address = (unsigned long)(uintptr_t)address_;
    FILE *maps = fopen("/proc/self/smaps", "r");
    bool inside = false, found = false;

    assert_non_null(maps);
    while (!found && fgets(line, (int)size, maps) != NULL) {
        unsigned long from, to;

        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = from <= address && address < to;
        found = inside && strncmp(line, "VmFlags:", 8) == 0;
    }
    fclose(maps);
    return found;
}

static bool says_locked(const void *address)
{
    char line[512];

    assert_true(flags_of(address, line, sizeof(line)));
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) /* they make mlock do nothing */
    return strstr(line, " dd") != NULL;
#else
    return strstr(line, " dd") != NULL && strstr(line, " lo") != NULL;
#endif
}

/* Whether the system tells of a page that was locked and left out of dumps: qemu-user does not. */
static bool flags_are_told(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool told;

    assert_true(page != MAP_FAILED);
    assert_int_equal(mlock(page, size), 0);
    assert_int_equal(madvise(page, size, MADV_DONTDUMP), 0);
    told = says_locked(page);
    munmap(page, size);
    return told;
}

/* The mapping of a secret says so itself: locked (lo), not dumped (dd). */
static void test_secret_is_locked_and_not_dumped(void **state)
{
    struct secret *secret = secret_new("1234", 4);

    (void)state;
    if (flags_are_told())
        assert_true(says_locked(secret_data(secret)));
    else
        printf("left out: /proc/self/smaps does not tell of locked pages, as with qemu-user\n");
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

static int read_file(const char *path)
{
    for (int n = 0; n < 3; n++) {
        struct secret *secret = secret_from_file(path);

        if (secret == NULL)
            return 1;
        secret_free(secret);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secret_from_file),
        cmocka_unit_test(test_secret_from_bad_file),
        cmocka_unit_test(test_secret_from_pipe),
        cmocka_unit_test(test_secret_file_of_others),
        cmocka_unit_test(test_secret_equal),
        cmocka_unit_test(test_secret_is_locked_and_not_dumped),
        cmocka_unit_test(test_secret_holders),
    };

    program = argv[0];
    if (argc == 3)
        return read_file(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
