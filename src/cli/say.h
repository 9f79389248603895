/* What the command says to people: sentences, colour where a terminal shows it, questions. */
#ifndef BRIDGE_CLI_SAY_H
#define BRIDGE_CLI_SAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* One line to standard error, after the program's name; a ? for each control character. */
__attribute__((format(printf, 1, 2))) void complain(const char *format, ...);

/* The provider's own sentence for what failed last, from OpenSSL's error stack, which is empty
 * afterwards; otherwise where there is none. In text (size bytes), which is returned. */
const char *error_text(const char *otherwise, char *text, size_t size);

/* The same to standard error. */
void complain_openssl(const char *otherwise);

/* Begins and ends a colour: nothing but on a terminal, and nothing with NO_COLOR. */
enum colour { PLAIN, RED, GREEN, YELLOW, BOLD };
const char *colour(FILE *file, enum colour which);

/* Whether the person at the terminal says yes; false where nobody is there, with words that name
 * the option to give in their place. */
bool confirmed(const char *question, const char *option);

#endif
