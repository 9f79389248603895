/* A person at the terminal, for programs that have no way of their own to ask one. */
#ifndef BRIDGE_TERMINAL_H
#define BRIDGE_TERMINAL_H

#include "base/secret.h"

/* Asks for what prompt says, without showing what is typed. NULL where nobody sits there: the
 * program is no terminal's, or not the one in its foreground. */
struct secret *terminal_ask(const char *prompt);

#endif
