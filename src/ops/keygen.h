/* Key generation, for the tables of keymgmt.c. The functions are those of provider-keymgmt(7). */
#ifndef BRIDGE_KEYGEN_H
#define BRIDGE_KEYGEN_H

#include "ops/ops.h"

void *keygen_init(void *provctx, enum key_type type, int selection, const OSSL_PARAM params[]);

/* By the type and not by a context: libcrypto asks before there is one. */
const OSSL_PARAM *keygen_settable_params(enum key_type type);

OSSL_FUNC_keymgmt_gen_set_template_fn keygen_set_template;
OSSL_FUNC_keymgmt_gen_set_params_fn keygen_set_params;
OSSL_FUNC_keymgmt_gen_fn keygen_gen;
OSSL_FUNC_keymgmt_gen_cleanup_fn keygen_cleanup;

#endif
