#include "unit.h"

#include <fcntl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

/* In the place of libc's: the socket of syslog is one of this test's. */
static struct sockaddr_un address = { .sun_family = AF_UNIX };
static int daemon_socket;

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    assert_string_equal(((const struct sockaddr_un *)(const void *)to)->sun_path, "/dev/log");
    assert_int_equal(len, sizeof(address));
    return (int)syscall(SYS_connect, fd, &address, len);
}

static void daemon_begin(void)
{
    daemon_socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_true(daemon_socket >= 0);
    assert_int_equal(bind(daemon_socket, (const struct sockaddr *)&address, sizeof(address)), 0);
}

static void daemon_end(void)
{
    close(daemon_socket);
    unlink(address.sun_path);
}

/* The next line that syslog got, without its head; "" when there is none. */
static const char *heard(void)
{
    static char line[2048];
    char head[64];
    ssize_t len = recv(daemon_socket, line, sizeof(line) - 1, 0);

    if (len <= 0)
        return "";
    line[len] = '\0';
    (void)snprintf(head, sizeof(head), "<84>%s[", program_invocation_short_name);
    assert_ptr_equal(strstr(line, head), line);
    return strstr(line, "]: ") + 3;
}

static char path[] = "/tmp/bridge-log-XXXXXX", text[4096];
static int saved;

static void stderr_to(const char *file)
{
    int fd = open(file, O_WRONLY | O_APPEND);

    assert_true(fd >= 0);
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    close(fd);
}

static int log_begin(void **state)
{
    int fd;

    (void)state;
    strcpy(path, "/tmp/bridge-log-XXXXXX");
    fd = mkstemp(path);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s.socket", path);
    daemon_begin();
    saved = dup(STDERR_FILENO);
    close(fd);
    return fd < 0 || saved < 0;
}

static int log_end(void **state)
{
    (void)state;
    dup2(saved, STDERR_FILENO);
    close(saved);
    daemon_end();
    unlink(path);
    log_to(LOG_TO_ANYBODY);
    return 0;
}

static const char *written(void)
{
    int fd = open(path, O_RDONLY);
    ssize_t len = read(fd, text, sizeof(text) - 1);

    close(fd);
    text[len > 0 ? len : 0] = '\0';
    return text;
}

static void test_log_to_stderr(void **state)
{
    (void)state;
    stderr_to(path);
    log_line("one %d", 1);
    log_to(LOG_TO_STDERR);
    log_line("two");
    log_to(LOG_TO_NOBODY);
    log_line("three");
    assert_string_equal(written(), "pkcs11-bridge: one 1\npkcs11-bridge: two\n");
    assert_string_equal(heard(), "");
}

/* Where nobody would read it. */
static void test_log_to_syslog(void **state)
{
    (void)state;
    stderr_to("/dev/null");
    log_line("one");
    assert_string_equal(heard(), "pkcs11-bridge: one");
    close(STDERR_FILENO);
    log_line("two");
    assert_string_equal(heard(), "pkcs11-bridge: two");
    stderr_to(path);
    log_to(LOG_TO_SYSLOG);
    log_line("three");
    assert_string_equal(heard(), "pkcs11-bridge: three");
    assert_string_equal(written(), "");
}

/* A daemon closed standard error, and has a client's connection in its place, or a file with data;
 * what is there at the end is again what it was at the beginning. */
static void test_log_not_to_others(void **state)
{
    static const enum log_where wheres[] = { LOG_TO_ANYBODY, LOG_TO_STDERR };
    int others[3], pipes[2];
    char got;

    (void)state;
    assert_int_equal(pipe2(pipes, O_NONBLOCK), 0);
    others[0] = pipes[1];
    others[1] = open(path, O_RDWR | O_APPEND);
    others[2] = open(path, O_WRONLY);
    for (size_t i = 0; i < COUNT_OF(wheres) * COUNT_OF(others); i++) {
        dup2(others[i / COUNT_OF(wheres)], STDERR_FILENO);
        log_to(wheres[i % COUNT_OF(wheres)]);
        log_line("one");
        dup2(saved, STDERR_FILENO);
        assert_string_equal(heard(), "pkcs11-bridge: one");
    }
    assert_int_equal(read(pipes[0], &got, 1), -1);
    assert_string_equal(written(), "");
    log_to(LOG_TO_STDERR);
    log_line("standard error is what it was");
    assert_string_equal(heard(), "");
    for (size_t i = 0; i < COUNT_OF(others); i++)
        close(others[i]);
    close(pipes[0]);
}

static void test_log_once(void **state)
{
    char line[4000];

    (void)state;
    stderr_to(path);
    log_to(LOG_TO_NOBODY);
    log_once("lost");
    log_to(LOG_TO_ANYBODY);
    for (int i = 0; i < 3; i++) {
        log_once("lost");
        log_once("found");
    }
    assert_string_equal(written(), "pkcs11-bridge: lost\npkcs11-bridge: found\n");
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\0';
    log_once(line);
    assert_non_null(written());
    assert_int_equal(text[strlen(text) - 1], '\n');
}

/* What a URI or a file's name says cannot begin a line of its own. */
static void test_log_is_one_line(void **state)
{
    (void)state;
    stderr_to(path);
    log_line("cannot open %s", "pkcs11:token=a\npkcs11-bridge: all is well\x1b[2J");
    assert_string_equal(
        written(), "pkcs11-bridge: cannot open pkcs11:token=a?pkcs11-bridge: all is well?[2J\n");
}

/* This program once more, with nobody who reads its standard error: as many lines as it is told. */
static int tell_nobody(int lines)
{
    log_to(LOG_TO_STDERR);
    while (lines-- > 0)
        log_line("one");
    return 0;
}

static void tell_pipe(int end, const char *lines)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        dup2(end, STDERR_FILENO);
        execl("/proc/self/exe", "test-log", lines, NULL);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_log_to_a_broken_pipe(void **state)
{
    int pipes[2];

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    close(pipes[0]);
    tell_pipe(pipes[1], "1");
    close(pipes[1]);
}

static void test_log_to_a_full_pipe(void **state)
{
    int pipes[2];

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    tell_pipe(pipes[1], "20000");
    assert_true(read(pipes[0], text, sizeof(text)) > 0);
    close(pipes[0]);
    close(pipes[1]);
}

/* A daemon that takes nothing holds nobody up; what was lost meanwhile is counted. */
static void test_log_to_a_stuck_daemon(void **state)
{
    unsigned told = 0, lines = 0;

    (void)state;
    log_to(LOG_TO_SYSLOG);
    for (; told < 2000; told++) /* more than net.unix.max_dgram_qlen */
        log_line("one");
    while (strcmp(heard(), "pkcs11-bridge: one") == 0)
        lines++;
    assert_true(lines > 0 && lines < told);
    log_line("two");
    assert_string_equal(heard(), "pkcs11-bridge: two");
    (void)snprintf(text, sizeof(text),
                   "pkcs11-bridge: lines that were lost before, since nobody took them: %u",
                   told - lines);
    assert_string_equal(heard(), text);
    log_line("three");
    assert_string_equal(heard(), "pkcs11-bridge: three");
    assert_string_equal(heard(), "");
}

/* Nor does one that is not there. What is told once is told when it is there. */
static void test_log_to_no_daemon(void **state)
{
    (void)state;
    log_to(LOG_TO_SYSLOG);
    daemon_end();
    log_once("two");
    daemon_begin();
    log_once("two");
    log_once("two");
    assert_string_equal(heard(), "pkcs11-bridge: two");
    assert_string_equal(heard(),
                        "pkcs11-bridge: lines that were lost before, since nobody took them: 1");
    assert_string_equal(heard(), "");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_log_to_stderr, log_begin, log_end),
        cmocka_unit_test_setup_teardown(test_log_to_syslog, log_begin, log_end),
        cmocka_unit_test_setup_teardown(test_log_not_to_others, log_begin, log_end),
        cmocka_unit_test_setup_teardown(test_log_once, log_begin, log_end),
        cmocka_unit_test_setup_teardown(test_log_is_one_line, log_begin, log_end),
        cmocka_unit_test(test_log_to_a_broken_pipe),
        cmocka_unit_test(test_log_to_a_full_pipe),
        cmocka_unit_test_setup_teardown(test_log_to_a_stuck_daemon, log_begin, log_end),
        cmocka_unit_test_setup_teardown(test_log_to_no_daemon, log_begin, log_end),
    };

    if (argc > 1)
        return tell_nobody(atoi(argv[1]));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
