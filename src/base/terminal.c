#include "base/terminal.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ui.h>

#include "base/scope.h"

/* A daemon may have kept the terminal that it was started from, and a program in the background
 * would be stopped. */
static bool somebody_there(void)
{
    int terminal = isatty(STDIN_FILENO) || isatty(STDERR_FILENO)
                       ? open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)
                       : -1;
    bool there = terminal >= 0 && tcgetpgrp(terminal) == getpgrp();

    if (terminal >= 0)
        (void)close(terminal);
    return there;
}

static void ui_scoped(UI **ui)
{
    UI_free(*ui);
}

/* In buf, which has room for SECRET_MAX bytes and a NUL. */
static bool ask(const char *prompt, char *buf)
{
    _cleanup_(ui_scoped) UI *ui = UI_new();

    return ui != NULL && UI_add_input_string(ui, prompt, 0, buf, 1, SECRET_MAX) > 0 &&
           UI_process(ui) == 0;
}

struct secret *terminal_ask(const char *prompt)
{
    struct secret *answer = NULL;
    char buf[SECRET_MAX + 1] = "";

    if (somebody_there() && ask(prompt, buf) && buf[0] != '\0')
        answer = secret_new(buf, strlen(buf));
    OPENSSL_cleanse(buf, sizeof(buf));
    return answer;
}
