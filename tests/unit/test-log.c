#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "module/lock.h"

/* In the place of libc's, under either name. */
static char heard[2048];

void syslog(int priority, const char *format, ...);
void __syslog_chk(int priority, int flag, const char *format, ...);

/* As libc's it has a lock, which it keeps while the daemon takes nothing. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int daemon_takes = -1; /* a pipe that says so with its end; -1: at once */
static atomic_bool waits;

static void hear(const char *format, va_list args)
{
    char none;

    (void)pthread_mutex_lock(&lock);
    if (daemon_takes >= 0) {
        atomic_store(&waits, true);
        (void)!read(daemon_takes, &none, 1);
    }
    (void)vsnprintf(heard, sizeof(heard), format, args);
    (void)pthread_mutex_unlock(&lock);
}

void syslog(int priority, const char *format, ...)
{
    va_list args;

    (void)priority;
    va_start(args, format);
    hear(format, args);
    va_end(args);
}

void __syslog_chk(int priority, int flag, const char *format, ...)
{
    va_list args;

    (void)priority;
    (void)flag;
    va_start(args, format);
    hear(format, args);
    va_end(args);
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
    heard[0] = '\0';
    saved = dup(STDERR_FILENO);
    close(fd);
    return fd < 0 || saved < 0;
}

static int log_end(void **state)
{
    (void)state;
    dup2(saved, STDERR_FILENO);
    close(saved);
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
    assert_string_equal(heard, "");
}

/* Where nobody would read it. */
static void test_log_to_syslog(void **state)
{
    (void)state;
    stderr_to("/dev/null");
    log_line("one");
    assert_string_equal(heard, "pkcs11-bridge: one");
    close(STDERR_FILENO);
    log_line("two");
    assert_string_equal(heard, "pkcs11-bridge: two");
    stderr_to(path);
    log_to(LOG_TO_SYSLOG);
    log_line("three");
    assert_string_equal(heard, "pkcs11-bridge: three");
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
        heard[0] = '\0';
        dup2(others[i / COUNT_OF(wheres)], STDERR_FILENO);
        log_to(wheres[i % COUNT_OF(wheres)]);
        log_line("one");
        dup2(saved, STDERR_FILENO);
        assert_string_equal(heard, "pkcs11-bridge: one");
    }
    assert_int_equal(read(pipes[0], &got, 1), -1);
    assert_string_equal(written(), "");
    heard[0] = '\0';
    log_to(LOG_TO_STDERR);
    log_line("standard error is what it was");
    assert_string_equal(heard, "");
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

/* This program once more, with nobody who reads its standard error. */
static int tell_nobody(void)
{
    log_to(LOG_TO_STDERR);
    log_line("one");
    return 0;
}

static void test_log_to_a_broken_pipe(void **state)
{
    int pipes[2], status;
    pid_t child;

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    close(pipes[0]);
    child = fork();
    if (child == 0) {
        dup2(pipes[1], STDERR_FILENO);
        execl("/proc/self/exe", "test-log", "broken", NULL);
        _exit(1);
    }
    close(pipes[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void *tell(void *arg)
{
    log_line("one");
    return arg;
}

/* Whether a child of now comes back from telling something. */
static bool child_tells(void)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        (void)alarm(10);
        log_line("two");
        _exit(strstr(heard, "two") != NULL ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status)); /* and was not killed */
    return WEXITSTATUS(status) == 0;
}

/* While another thread waits for a daemon that is stuck. */
static void test_log_in_the_child_of_a_fork(void **state)
{
    pthread_t thread;
    int pipes[2];

    (void)state;
    (void)lock_generation(); /* which knows of forks */
    log_to(LOG_TO_SYSLOG);
    assert_true(child_tells());
    assert_int_equal(pipe(pipes), 0);
    daemon_takes = pipes[0];
    assert_int_equal(pthread_create(&thread, NULL, tell, NULL), 0);
    while (!atomic_load(&waits))
        (void)usleep(1000);
    assert_false(child_tells());
    close(pipes[1]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_string_equal(heard, "pkcs11-bridge: one");
    daemon_takes = -1;
    assert_true(child_tells());
    close(pipes[0]);
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
        cmocka_unit_test_setup_teardown(test_log_in_the_child_of_a_fork, log_begin, log_end),
    };

    (void)argv;
    if (argc > 1)
        return tell_nobody();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
