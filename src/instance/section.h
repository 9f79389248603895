/* The provider's section in openssl.cnf as a person wrote it. libcrypto hands over the keys that it
 * is asked for, so one that is misspelt would be missed by nobody. */
#ifndef BRIDGE_SECTION_H
#define BRIDGE_SECTION_H

#include <stddef.h>

#include "instance/config.h"

/* Reads the file that libcrypto reads by itself (OPENSSL_CONF, or the one of its installation) and
 * finds the section of the provider called name. Writes the keys there that nobody knows to text
 * (size bytes), and the file; "" where there are none, where the section is not the one that
 * lookup's values came from, and in set-user-id programs, which read no file that they need not. */
void section_unknown(const char *name, config_lookup *lookup, void *arg, char *text, size_t size);

#endif
