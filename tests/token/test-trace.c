/* PKCS11_PROVIDER_DEBUG in a program that closes what it does not know, as daemons do. What is in
 * the file is tested in tests/apps/settings. */
#include "harness.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTORS 256

static bool is_file(int fd, const struct stat *file)
{
    struct stat here;

    return fstat(fd, &here) == 0 && here.st_dev == file->st_dev && here.st_ino == file->st_ino;
}

/* The descriptor of the file with this name. */
static int descriptor_of(const char *name)
{
    struct stat file;
    int fd = 3;

    assert_int_equal(stat(name, &file), 0);
    while (fd < DESCRIPTORS && !is_file(fd, &file))
        fd++;
    assert_int_not_equal(fd, DESCRIPTORS);
    return fd;
}

static off_t size_of(const char *name)
{
    struct stat file;

    assert_int_equal(stat(name, &file), 0);
    return file.st_size;
}

/* The number goes to another file, which might be a client. */
static void closed(const char *debug, int (*find)(const char *name))
{
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;
    int fd, other;

    assert_int_equal(setenv("PKCS11_PROVIDER_DEBUG", debug, 1), 0);
    libctx = libctx_new_faulty("pkcs11-log = none\n");
    key = key_load(libctx, "p256", "private");
    assert_true(key_signs(libctx, key));
    assert_true(size_of("trace") > 0);
    fd = find("trace");
    other = open("other", O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(dup2(other, fd), fd);
    assert_true(key_signs(libctx, key));
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
    assert_int_equal(size_of("other"), 0);
}

static void test_trace_file_closed(void **state)
{
    (void)state;
    closed("file:trace,level:2", descriptor_of);
}

static int descriptor_two(const char *name)
{
    (void)name;
    return STDERR_FILENO;
}

static void test_trace_stderr_closed(void **state)
{
    int trace = open("trace", O_WRONLY | O_APPEND | O_CREAT | O_TRUNC, 0600);

    (void)state;
    assert_int_equal(dup2(trace, STDERR_FILENO), STDERR_FILENO);
    closed("file:/dev/stderr", descriptor_two);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_trace_file_closed),
    cmocka_unit_test(test_trace_stderr_closed),
};

/* test-trace [NAME]: all, or the one of this name */
int main(int argc, char **argv)
{
    if (chdir(getenv("BRIDGE_DIR")) != 0)
        return 1;
    return cases_in_children(tests, COUNT_OF(tests), argc > 1 ? argv[1] : NULL) ? 0 : 1;
}
