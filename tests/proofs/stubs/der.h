/* What is read, for proofs of what reads with the functions of der.c. */
#ifndef BRIDGE_PROOF_DER_H
#define BRIDGE_PROOF_DER_H

#include "proof.h"

/* Any input below 2^32 bytes: all that the proof reads is of it. */
struct view any_input(void);

#endif
