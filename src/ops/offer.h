/* What is offered to libcrypto: the tables of src/ops, as the configuration has them. */
#ifndef BRIDGE_OFFER_H
#define BRIDGE_OFFER_H

#include <stdbool.h>

#include "instance/instance.h"

/* For OSSL_provider_init. Algorithms are found under default_properties = fips=yes by what their
 * properties say, and pkcs11-module-assume-fips makes them say so; with pkcs11-module-import they
 * are found for software keys as well: the tables are copied then. False when memory is short. */
bool offer_begin(struct provider *provider);
void offer_end(struct provider *provider);

/* The algorithms of an operation (OSSL_OP_SIGNATURE, ...), or NULL. */
const OSSL_ALGORITHM *offer_of(const struct provider *provider, int operation);

#endif
