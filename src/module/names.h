/* What mechanisms and attributes are called, for messages. */
#ifndef BRIDGE_NAMES_H
#define BRIDGE_NAMES_H

#include "module/cryptoki.h"

/* The CKM_ name. */
const char *mechanism_name(CK_MECHANISM_TYPE mechanism);

/* The CKA_ name of an attribute that this library reads or writes; NULL for others. */
const char *attribute_name(CK_ATTRIBUTE_TYPE type);

#endif
