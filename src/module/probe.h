/* Where a tracer (bpftrace, perf, SystemTap, GDB) can look on at C_* calls from outside: a nop each
 * in the code and a note in the file, that of sys/sdt.h, where that was there when this was built.
 * docs/metrics.md has a line that uses them. */
#ifndef BRIDGE_PROBE_H
#define BRIDGE_PROBE_H

#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>

/* The name of the function; and what the module returned, on the same thread. */
#define PROBE_CALL_BEGIN(function) DTRACE_PROBE1(pkcs11_bridge, call_begin, (function))
#define PROBE_CALL_END(rv)         DTRACE_PROBE1(pkcs11_bridge, call_end, (rv))
#else
#define PROBE_CALL_BEGIN(function) (void)0
#define PROBE_CALL_END(rv)         (void)0
#endif

#endif
