/* Keys of other providers that libcrypto brings, for the tables of keymgmt.c: public ones, and
 * pairs, which stay on the host or, with pkcs11-module-import = session, become session keys.
 * docs/adr/0007-imports-stay-on-the-host.md. */
#ifndef BRIDGE_OPS_IMPORT_H
#define BRIDGE_OPS_IMPORT_H

#include "ops/ops.h"

OSSL_FUNC_keymgmt_import_fn keymgmt_import;

/* Makes key, which is empty, one that is on the host (key/software.h): an OSSL_CALLBACK. */
int import_held(const OSSL_PARAM params[], void *key);

#endif
