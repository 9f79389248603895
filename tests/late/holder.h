/* What a program has of the provider, held until some time after main(). holder.c is built three
 * times, each with a hold() and a destructor of its own: into the program, into a library that it
 * is linked with, and into one that it loads. */
#ifndef BRIDGE_LATE_HOLDER_H
#define BRIDGE_LATE_HOLDER_H

#include <openssl/types.h>

/* Takes a key of the token and what is made of it, from libctx; providers, NULL-terminated, are
 * those that were loaded for it. what: a letter for each thing to hold, in the order of their
 * release (holder.c). Ends the process with 1 when that cannot be had. */
typedef void hold_function(OSSL_LIB_CTX *libctx, OSSL_PROVIDER **providers, const char *what);

hold_function hold, library_hold, plugin_hold;

/* Releases what hold() took and says so; once. */
void release(void);

#endif
