/* The door to the module: every C_* call is made through P11_CALL, in src/module and nowhere else.
 * One that the module's list does not have is CKR_FUNCTION_NOT_SUPPORTED.
 * It is closed for good once the process ends (module/ending.h): RV_PROCESS_ENDS. It
 * also serialises the calls of a module that refused CKF_OS_LOCKING_OK, keeps errno as it was, and
 * tells each call where PKCS11_PROVIDER_DEBUG is set. The arguments are evaluated twice then, and
 * have the types of the prototype: 1UL for a CK_ULONG. */
#ifndef BRIDGE_DOOR_H
#define BRIDGE_DOOR_H

#include "module/call.h"
#include "module/module.h"
#include "module/trace.h"

#define LISTED_CALL(list, function, ...)                                                           \
    ((list)->function != NULL ? (list)->function(__VA_ARGS__) : CKR_FUNCTION_NOT_SUPPORTED)

#define MADE_CALL(module, call, function, ...)                                                     \
    __extension__({                                                                                \
        KEEP_ERRNO;                                                                                \
        call_enter((module), #function) ? call_leave(TRACED(call, ##__VA_ARGS__))                  \
                                        : RV_PROCESS_ENDS;                                         \
    })

#define P11_CALL(module, function, ...)                                                            \
    MADE_CALL(module, LISTED_CALL((module)->functions.v2_40, function, ##__VA_ARGS__), function,   \
              ##__VA_ARGS__)

/* The same for a function of a newer list (v3_0, v3_2 of module/interface.h). */
#define P11_CALL_NEWER(module, list, function, ...)                                                \
    MADE_CALL(module,                                                                              \
              (module)->functions.list != NULL                                                     \
                  ? LISTED_CALL((module)->functions.list, function, ##__VA_ARGS__)                 \
                  : CKR_FUNCTION_NOT_SUPPORTED,                                                    \
              function, ##__VA_ARGS__)

/* From a moment on when no call is under way (gate_close, gate_clear), the calls of other threads
 * to this module wait. */
void call_bar(struct module *module);
void call_unbar(struct module *module);

bool call_enter(struct module *module, const char *function);
CK_RV call_leave(CK_RV rv);

#endif
