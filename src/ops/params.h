/* OSSL_PARAMs of several operations: digests, and what is a number to old programs and a name to
 * newer ones. */
#ifndef BRIDGE_PARAMS_H
#define BRIDGE_PARAMS_H

#include <stdbool.h>

#include <openssl/core.h>

#include "instance/instance.h"
#include "mech/digest.h"

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

/* Raises REASON_PARAMETER with "what value". Returns 0, for a dispatch function to return. */
int refuse(const struct provider *provider, const char *what, const char *value);

/* The digest that p names. NULL, with an error that says what it was for, where there is none. */
const struct digest *digest_param_get(const struct provider *provider, const OSSL_PARAM *p,
                                      const char *purpose);

/* Sets p to the digest's name, or to "" for NULL. */
int digest_param_set(OSSL_PARAM *p, const struct digest *digest);

#endif
