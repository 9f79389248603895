/* The end of the process.
 *
 * exit() runs its handlers in the reverse order of their registration, and C++ destructors count
 * among them. So a handler that was registered after a module was loaded and initialised finds the
 * module, and the libcrypto that it may use, as they were; one that was registered before finds of
 * them what is left. The first is the place to finalise a module, the second closes that door. */
#ifndef BRIDGE_ENDING_H
#define BRIDGE_ENDING_H

#include <stdatomic.h>
#include <stdbool.h>

/* Once, before any module is loaded. handler is run once, when what ending_begun tells begins. */
void ending_watch(void (*handler)(void));

/* Whether exit() has got back to what was registered before ending_watch, or OPENSSL_cleanup has
 * begun: no module may be called any more. */
bool ending_begun(void);

/* Has handler run by exit() before all that was registered up to now; once for each flag. */
void ending_first(atomic_flag *once, void (*handler)(void));

#endif
