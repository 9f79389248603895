/* What cmocka's header wants before it, and helpers for tables of cases. */
#ifndef BRIDGE_UNIT_H
#define BRIDGE_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Fails and names the case of a table that does not hold. */
#define check_case(condition, name)                                                                \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("case \"%s\": %s", (name), #condition);                                       \
    } while (0)

#define check_text(actual, expected, name)                                                         \
    do {                                                                                           \
        if (strcmp((actual), (expected)) != 0)                                                     \
            fail_msg("case \"%s\": \"%s\" instead of \"%s\"", (name), (actual), (expected));       \
    } while (0)

#define check_contains(text, part, name)                                                           \
    do {                                                                                           \
        if (strstr((text), (part)) == NULL)                                                        \
            fail_msg("case \"%s\": \"%s\" is not in \"%s\"", (name), (part), (text));              \
    } while (0)

#endif
