/* Deleting objects from a token. */
#ifndef BRIDGE_DELETE_H
#define BRIDGE_DELETE_H

#include "key/load.h"

/* Deletes the one object that load's URI names: a private key, a public key or a certificate. False
 * with an error raised when there is none, when there are several (the two halves of a key without
 * type= are two), or when the token refuses. */
bool delete_object(struct load *load);

#endif
