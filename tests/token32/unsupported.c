/* Every function that a module of PKCS#11 v3.2 may have. They are weak: what is elsewhere comes
 * instead. */
#define C_GetInterfaceList                                                                         \
    unused_1 /* lists.c exports these two: nothing hidden has their names                          \
              */
#define C_GetInterface unused_2
#include "pkcs11_3.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"
#define F(name, parameters, arguments)                                                             \
    __attribute__((weak)) ck_rv_t name parameters                                                  \
    {                                                                                              \
        return CKR_FUNCTION_NOT_SUPPORTED;                                                         \
    }
#include "../fault/functions.h"
#include "functions_3.h"
