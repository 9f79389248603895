/* What surrounds every C_* call (module/door.h), for those who make none themselves.
 *
 * A call marks its thread as being inside the module, so that a module which uses libcrypto itself
 * is not led back into this provider; it is remembered by name for error messages; and it passes a
 * gate, which is shut while the process forks or a module is started anew. */
#ifndef BRIDGE_CALL_H
#define BRIDGE_CALL_H

#include <stdbool.h>

#include "base/scope.h"

/* True while this thread is inside a C_* call. */
bool call_inside(void);

/* The C_* function that this thread called last. */
const char *call_name(void);
void call_named(const char *function);

/* What this library has to say of an outcome of its own (RV_SESSIONS_BUSY, RV_LENGTH), for the
 * error message of this thread. */
#define CALL_DETAIL_MAX 700
__attribute__((format(printf, 1, 2))) void call_detail_set(const char *format, ...);
const char *call_detail(void);

/* The gate keeps calls out while the process forks or a module is started anew: no thread is in the
 * middle of one then, and no lock of a module is found taken. gate_close waits until the calls
 * under way have come back, but no longer than wait_ms. False: another thread has it shut for that
 * long. The thread that closed it passes, and may close it again: it opens with the last gate_open.
 */
bool gate_close(unsigned wait_ms);
void gate_open(void);

/* For the thread that closed it: whether it did not have to give up on a call. */
bool gate_clear(void);

/* Several calls that belong together pass the gate once, and work in the child library context
 * passes it as well: libcrypto's locks there are not found taken after a fork either. For the rest
 * of the scope that it stands in, among its declarations. */
#define WITHIN_GATE                                                                                \
    _cleanup_(gate_passed) __attribute__((unused)) const unsigned within_gate_ = gate_pass()
#define HOST_WORK WITHIN_GATE

unsigned gate_pass(void);
void gate_passed(const unsigned *entered);

/* In the child of a fork, where the other threads are gone. */
void gate_reset(void);

#endif
