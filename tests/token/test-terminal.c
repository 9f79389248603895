/* A program that has no way of its own to ask for a PIN, at a terminal: each case is a process with
 * a terminal of its own, and somebody who types. */
#include "harness.h"

#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <openssl/err.h>

#define KEY "pkcs11:token=soft;object=p256;type=private"
#define NONE                                                                                       \
    "pkcs11:token=soft;object=none;type=public" /* looked for without a login, and with            \
                                                 */
#define PROMPT "Enter the PIN of the token soft: "

/* How the process ends. */
enum end { ENDS_WELL, NO_KEY, ERRORS_LEFT, NO_SIGNATURE, LOGINS };

static _Noreturn void program(const char *uri)
{
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;

    setenv("BRIDGE_SETTINGS", "", 1); /* no PIN */
    libctx = libctx_new_faulty("pkcs11-log = none\n");
    calls_reset();
    ERR_clear_error();
    key = key_load_uri(libctx, uri);
    if (calls("C_Login") > 1)
        _exit(LOGINS);
    if (key == NULL)
        _exit(NO_KEY);
    if (ERR_peek_error() != 0)
        _exit(ERRORS_LEFT);
    _exit(key_signs(libctx, key) ? ENDS_WELL : NO_SIGNATURE);
}

static bool echoes(int terminal)
{
    struct termios modes;

    return tcgetattr(terminal, &modes) == 0 && (modes.c_lflag & ECHO) != 0;
}

static unsigned count(const char *shown, const char *text)
{
    unsigned n = 0;

    while ((shown = strstr(shown, text)) != NULL) {
        shown += strlen(text);
        n++;
    }
    return n;
}

/* What the terminal shows until the process has gone; text is typed each time that it asks, and
 * does not echo any more. */
static void converse(int terminal, const char *text, char *shown, size_t size)
{
    size_t len = 0;
    ssize_t n = 0;
    unsigned answers = 0;

    while (len + 1 < size && (n = read(terminal, shown + len, size - len - 1)) > 0) {
        len += (size_t)n;
        shown[len] = '\0';
        if (count(shown, PROMPT) == answers)
            continue;
        while (echoes(terminal))
            (void)poll(NULL, 0, 1);
        assert_int_equal(write(terminal, text, strlen(text)), (ssize_t)strlen(text));
        answers++;
    }
    assert_true(n == 0 || errno == EIO);
    assert_int_equal(answers, 1);
}

/* The status of a process at a terminal where text is typed. */
static int ends(const char *uri, const char *text, char *shown, size_t size)
{
    int terminal, status;
    pid_t child = forkpty(&terminal, NULL, NULL, NULL);

    if (child < 0)
        skip(); /* there are no terminals in a chroot */
    if (child > 0 && !isatty(terminal)) {
        (void)kill(child, SIGKILL);
        (void)waitpid(child, &status, 0);
        skip(); /* an emulator that does not know TCGETS2, which glibc 2.42 asks for */
    }
    if (child == 0) {
        alarm(30);
        program(uri);
    }
    converse(terminal, text, shown, size);
    assert_int_equal(waitpid(child, &status, 0), child);
    close(terminal);
    return status;
}

static void test_terminal(void **state)
{
    static const struct {
        const char *uri, *typed;
        enum end end;
    } cases[] = {
        { KEY, "1234\n", ENDS_WELL },
        { KEY, "1234\r\n", ENDS_WELL },
        { KEY, "4711\n", NO_KEY }, /* which is asked for once */
        { KEY, "\n", NO_KEY },
        { KEY, "\x04", NO_KEY }, /* the end of what is typed */
        { KEY, "12\x04\x04", NO_KEY },
        { KEY, "12\x03", NO_KEY }, /* libcrypto's UI takes it for that as well */
        { NONE, "4711\n", NO_KEY },
        { NONE, "\n", NO_KEY },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char shown[4096] = "";
        int status = ends(cases[i].uri, cases[i].typed, shown, sizeof(shown));

        printf("case %zu: %#x\n", i, (unsigned)status);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), cases[i].end);
        assert_null(strstr(shown, "1234"));
        assert_null(strstr(shown, "4711"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
