/* A library that another is linked to, as libp11-kit is: its C_GetInterface is no interface of that
 * one. */
#include <stdlib.h>

__attribute__((visibility("default"))) unsigned long
C_GetInterface(unsigned char *name, void *version, void **interface, unsigned long flags);

unsigned long C_GetInterface(unsigned char *name, void *version, void **interface,
                             unsigned long flags)
{
    (void)name;
    (void)version;
    (void)interface;
    (void)flags;
    abort();
}
