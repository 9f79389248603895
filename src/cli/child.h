/* Work in a process of its own, for what must not happen in this one. */
#ifndef BRIDGE_CLI_CHILD_H
#define BRIDGE_CLI_CHILD_H

#include <stdbool.h>
#include <stddef.h>

/* Runs work in a child, which ends with what it returns as its exit code, and takes what it writes
 * to out into text (size bytes), as far as there is room; where a signal ended it, text says which.
 * True for the exit code 0. */
bool child_run(int (*work)(const void *arg, int out), const void *arg, char *text, size_t size);

#endif
