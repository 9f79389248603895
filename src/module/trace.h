/* Who looks on at C_* calls. PKCS11_PROVIDER_DEBUG or pkcs11-debug = file:PATH,level:N: every C_*
 * call as a line of a file, with its arguments, what it returned and how long that took; from level
 * 2 on another line before the call, for those that do not come back, and the attributes of
 * templates. PINs, keys, messages and what is made of them are in neither: of data there is the
 * length. And pkcs11-metrics (meter/meter.h), which counts them. Its place is in P11_CALL
 * (module/door.h). */
#ifndef BRIDGE_TRACE_H
#define BRIDGE_TRACE_H

#include <stdatomic.h>
#include <stdint.h>

#include "module/cryptoki.h"

/* The level of the debug log, and whether calls are counted; 0 where nobody looks on. */
#define TRACE_LEVEL 0xffU
#define TRACE_METER 0x100U
extern atomic_uint traced;

/* Takes what the environment has (nothing in set-user-id programs), or else what is configured, or
 * NULL; the first that there is, once in a process. */
void trace_begin(const char *configured);

/* Calls are counted from now on. */
void trace_count(void);

/* Around the call that call_enter has named, with its arguments as the function's prototype has
 * them: what is a CK_ULONG there must be one here. trace_before returns a time for trace_after,
 * which returns rv. */
uint64_t trace_before(unsigned who, ...);
CK_RV trace_after(CK_RV rv, uint64_t began, ...);

/* The value of call, which is told to who looks on. */
#define TRACED(call, ...)                                                                          \
    (__builtin_expect(atomic_load_explicit(&traced, memory_order_relaxed) == 0, 1)                 \
         ? (call)                                                                                  \
         : __extension__({                                                                         \
               uint64_t began_ = trace_before(traced, ##__VA_ARGS__);                              \
                                                                                                   \
               trace_after((call), began_, ##__VA_ARGS__);                                         \
           }))

#endif
