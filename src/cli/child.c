#include "cli/child.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* To the end of what the child has to say, so that it is not stopped by a full pipe. */
static void read_all(int from, char *text, size_t size)
{
    char rest[256];
    size_t len = 0;
    ssize_t got;

    while ((got = len + 1 < size ? read(from, text + len, size - 1 - len)
                                 : read(from, rest, sizeof(rest))) > 0)
        len += len + 1 < size ? (size_t)got : 0;
    text[len] = '\0';
}

bool child_run(int (*work)(const void *arg, int out), const void *arg, char *text, size_t size)
{
    int ends[2], status = 1;
    pid_t child;

    text[0] = '\0';
    (void)fflush(stdout);
    if (pipe(ends) != 0)
        return false;
    child = fork();
    if (child == 0) {
        (void)close(ends[0]);
        _exit(work(arg, ends[1]));
    }
    (void)close(ends[1]);
    read_all(ends[0], text, size);
    (void)close(ends[0]);
    if (child < 0 || waitpid(child, &status, 0) != child)
        return false;
    if (WIFSIGNALED(status))
        (void)snprintf(text, size, "the attempt ended by signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
