/* Keys of other providers that libcrypto brings, for the tables of keymgmt.c: public ones, and
 * pairs with pkcs11-module-import = session. The functions are those of provider-keymgmt(7);
 * docs/adr/0007-imports-take-the-public-half.md has what is taken. */
#ifndef BRIDGE_OPS_IMPORT_H
#define BRIDGE_OPS_IMPORT_H

#include "ops/ops.h"

OSSL_FUNC_keymgmt_import_fn import_rsa;
OSSL_FUNC_keymgmt_import_fn import_ec;

/* Ed25519, Ed448, X25519, X448. */
OSSL_FUNC_keymgmt_import_fn import_raw;

#endif
