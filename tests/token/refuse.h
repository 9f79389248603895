/* libcrypto and the system refuse: what the provider calls of them, and may be told no by, is
 * defined by the program that is linked with refuse.c, and passed on or not. Calls from anywhere
 * else are passed on always. */
#ifndef BRIDGE_REFUSE_H
#define BRIDGE_REFUSE_H

#include <stdbool.h>

/* Asked at each call of the provider's, with the function's name: whether it is to fail. NULL: none
 * is, and it is not looked whose calls they are, which takes time. */
extern bool (*_Atomic refuse_now)(const char *function);

#endif
