/* Certificates in files, and the keys that they are for. */
#ifndef BRIDGE_CLI_CERTIFICATE_H
#define BRIDGE_CLI_CERTIFICATE_H

#include <openssl/x509.h>

#include "cli/context.h"

struct key;

/* The first certificate in the file, PEM or DER; "-" is standard input. NULL with words; the caller
 * frees it (x509_release). */
X509 *certificate_read(const char *path);

/* Whether it is for this key: the public halves are the same. */
bool certificate_fits(const X509 *certificate, const struct key *key);

#endif
