/* What is said where a URI names nothing that can be used. */
#ifndef BRIDGE_KEY_LOAD_ERROR_H
#define BRIDGE_KEY_LOAD_ERROR_H

#include "key/load.h"

/* "open <uri>" failed, at the module itself or at a slot or further on. */
void load_raise_failure(const struct load *load, enum reason reason, CK_RV rv);

/* Nothing was found: says why, the most telling reason first. */
void load_raise_nothing(const struct load *load);

#endif
