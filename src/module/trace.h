/* PKCS11_PROVIDER_DEBUG=file:PATH,level:N: every C_* call as a line of a file, with its arguments,
 * what it returned and how long that took; from level 2 on another line before the call, for those
 * that do not come back, and the attributes of templates. PINs, keys, messages and what is made of
 * them are in neither: of data there is the length. Its place is in P11_CALL (module/door.h). */
#ifndef BRIDGE_TRACE_H
#define BRIDGE_TRACE_H

#include <stdatomic.h>
#include <stdint.h>

#include "module/cryptoki.h"

/* The level, 0 where nobody asked. */
extern atomic_uint trace_level;

/* Takes what the environment has; once in a process, nothing in set-user-id programs. */
void trace_begin(void);

/* Around the call that call_enter has named, with its arguments as the function's prototype has
 * them: what is a CK_ULONG there must be one here. trace_before returns a time for trace_after,
 * which returns rv. */
uint64_t trace_before(unsigned level, ...);
CK_RV trace_after(CK_RV rv, uint64_t began, ...);

/* The value of call, which is told where somebody asked. */
#define TRACED(call, ...)                                                                          \
    (__builtin_expect(atomic_load_explicit(&trace_level, memory_order_relaxed) == 0, 1)            \
         ? (call)                                                                                  \
         : __extension__({                                                                         \
               uint64_t began_ = trace_before(trace_level, ##__VA_ARGS__);                         \
                                                                                                   \
               trace_after((call), began_, ##__VA_ARGS__);                                         \
           }))

#endif
