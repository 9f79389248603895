/* OSSL_PARAMs that are a number to old programs and a name to newer ones. */
#ifndef BRIDGE_PARAMS_H
#define BRIDGE_PARAMS_H

#include <stdbool.h>

#include <openssl/core.h>

/* The last one has no name. */
struct named_number {
    const char *name;
    int number;
};

/* NULL where the number has no name. */
const char *named_number_name(const struct named_number *names, int number);

/* Reads p: a number, a name, or a number in decimal digits. */
bool named_number_get(const OSSL_PARAM *p, const struct named_number *names, int *out);

/* Sets p to the number or its name, as p wants it. */
int named_number_set(OSSL_PARAM *p, const struct named_number *names, int number);

#endif
