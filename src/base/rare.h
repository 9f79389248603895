/* For functions that hardly any operation comes to, because something failed, is waited for, or is
 * made once: they stay out of the code of those that others come through. */
#ifndef BRIDGE_RARE_H
#define BRIDGE_RARE_H

#define RARE __attribute__((cold, noinline))

#endif
