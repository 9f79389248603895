/* What mechanisms are called, for messages. */
#ifndef BRIDGE_NAMES_H
#define BRIDGE_NAMES_H

#include "module/cryptoki.h"

/* The CKM_ name. */
const char *mechanism_name(CK_MECHANISM_TYPE mechanism);

#endif
