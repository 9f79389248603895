/* The door to the module: every C_* call is made through P11_CALL. It is closed for good once the
 * process ends and the module was finalised: RV_PROCESS_ENDS.
 *
 * It marks the thread as being inside the module, so that a module which uses libcrypto itself is
 * not led back into this provider; it remembers the function's name for error messages; and it
 * serialises the calls of a module that refused CKF_OS_LOCKING_OK. */
#ifndef BRIDGE_CALL_H
#define BRIDGE_CALL_H

#include <stdbool.h>

#include "base/scope.h"
#include "module/module.h"

#define P11_CALL(module, function, ...)                                                            \
    (call_enter((module), #function)                                                               \
         ? call_leave((module), (module)->functions->function(__VA_ARGS__))                        \
         : RV_PROCESS_ENDS)

bool call_enter(struct module *module, const char *function);
CK_RV call_leave(struct module *module, CK_RV rv);

/* The same for an entry that is not in the function list (C_GetFunctionList). */
void call_named(const char *function);

/* True while this thread is inside a C_* call. */
bool call_inside(void);

/* The C_* function that this thread called last. */
const char *call_name(void);

/* What this library has to say of an outcome of its own (RV_SESSIONS_BUSY), for the error message
 * of this thread. */
__attribute__((format(printf, 1, 2))) void call_detail_set(const char *format, ...);
const char *call_detail(void);

/* The gate keeps calls out while the process forks or a module is started anew: no thread is in the
 * middle of one then, and no lock of a module is found taken. gate_close waits until the calls
 * under way have come back, but no longer than wait_ms. False: another thread has it shut for that
 * long. The thread that closed it passes. */
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
