#include "module/door.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include <openssl/err.h>

#include "base/clock.h"
#include "base/rare.h"
#include "module/ending.h"
#include "module/probe.h"

static _Thread_local unsigned depth;
static _Thread_local const char *name = "";
static _Thread_local char detail[CALL_DETAIL_MAX];
static _Thread_local unsigned gate_kept;          /* how often this thread has closed it */
static _Thread_local bool gate_was_clear;         /* and whether it has seen nobody inside since */
static _Thread_local pthread_mutex_t *serialised; /* held by the outermost call */

/* Threads that are inside the gate, and whether others have to wait before it. They are counted in
 * many places, each in a cache line of its own: one counter for all would be what threads on
 * different processors wait for. */
#define COUNTERS 64

static struct {
    _Alignas(64) atomic_uint inside;
} under_way[COUNTERS];
static atomic_bool gate_shut;

/* What this thread has entered and not left. Counted for all threads is only the outermost. */
static _Thread_local unsigned inside;
static _Thread_local atomic_uint *own_counter;

static atomic_uint *counter(void)
{
    static atomic_uint threads;

    if (own_counter == NULL)
        own_counter = &under_way[atomic_fetch_add(&threads, 1) % COUNTERS].inside;
    return own_counter;
}

static unsigned count_inside(void)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < COUNTERS; i++)
        sum += atomic_load(&under_way[i].inside);
    return sum;
}

static bool gate_stops(void)
{
    return gate_kept == 0 && atomic_load(&gate_shut);
}

RARE static void gate_wait(atomic_uint *count)
{
    while (gate_stops()) {
        atomic_fetch_sub(count, 1);
        while (gate_stops())
            clock_rest();
        atomic_fetch_add(count, 1);
    }
}

/* Counted first, looked at then: whoever shuts the gate either sees this thread or is seen by it.
 */
static void gate_enter(void)
{
    atomic_uint *count;

    if (inside++ != 0)
        return;
    count = counter();
    atomic_fetch_add(count, 1);
    if (atomic_load(&gate_shut))
        gate_wait(count);
}

static void gate_leave(void)
{
    if (--inside == 0)
        atomic_fetch_sub(own_counter, 1);
}

static bool gate_shut_by(uint64_t deadline)
{
    bool open = false;

    if (gate_kept != 0)
        return true;
    while (!atomic_compare_exchange_strong(&gate_shut, &open, true)) {
        if (clock_ms() >= deadline)
            return false;
        open = false;
        clock_rest();
    }
    return true;
}

bool gate_close(unsigned wait_ms)
{
    uint64_t deadline = clock_ms() + wait_ms;

    if (!gate_shut_by(deadline))
        return false;
    if (gate_kept++ == 0)
        gate_was_clear = false;
    while (!gate_clear() && clock_ms() < deadline)
        clock_rest();
    return true;
}

/* Once is enough: nobody gets in while it is shut, and who comes to look is counted for a moment.
 */
bool gate_clear(void)
{
    if (!gate_was_clear)
        gate_was_clear = count_inside() == (inside != 0);
    return gate_was_clear;
}

void gate_open(void)
{
    if (gate_kept != 0 && --gate_kept == 0)
        atomic_store(&gate_shut, false);
}

void gate_reset(void)
{
    for (unsigned i = 0; i < COUNTERS; i++)
        atomic_store(&under_way[i].inside, 0);
    atomic_store(counter(), inside != 0);
    atomic_store(&gate_shut, false);
    gate_kept = 0;
}

unsigned gate_pass(void)
{
    gate_enter();
    return inside;
}

void gate_passed(const unsigned *entered)
{
    (void)entered;
    gate_leave();
}

void call_named(const char *function)
{
    name = function;
}

static _Thread_local const struct module *barred; /* by this thread */

void call_bar(struct module *module)
{
    barred = module;
    atomic_fetch_or(&module->heed, HEED_BARRED);
}

void call_unbar(struct module *module)
{
    atomic_fetch_and(&module->heed, ~HEED_BARRED);
    barred = NULL;
}

static bool heeds(const struct module *module, enum heed what)
{
    return (atomic_load(&module->heed) & what) != 0;
}

/* False where no call is made any more. */
RARE static bool heed(struct module *module)
{
    /* not within the gate, so that nobody who shuts that has to wait as well */
    while (heeds(module, HEED_BARRED) && barred != module) {
        gate_leave();
        clock_rest();
        gate_enter();
    }
    if (heeds(module, HEED_ENDED) || ending_begun())
        return false;
    /* within the gate: whoever shuts it waits for those who wait here */
    if (depth == 0 && heeds(module, HEED_SERIAL)) {
        serialised = &module->serial_lock;
        (void)pthread_mutex_lock(serialised);
    }
    return true;
}

bool call_enter(struct module *module, const char *function)
{
    gate_enter();
    name = function;
    if ((atomic_load(&module->heed) != 0 || ending_begun()) && !heed(module)) {
        gate_leave();
        return false;
    }
    depth++;
    (void)ERR_set_mark();
    PROBE_CALL_BEGIN(function);
    return true;
}

/* Whatever another thread has learnt of the module since. */
RARE static void serial_end(void)
{
    (void)pthread_mutex_unlock(serialised);
    serialised = NULL;
}

CK_RV call_leave(CK_RV rv)
{
    PROBE_CALL_END(rv);
    /* What a module that uses libcrypto left on this thread's error stack is not the caller's. */
    (void)ERR_pop_to_mark();
    if (--depth == 0 && serialised != NULL)
        serial_end();
    gate_leave();
    /* what is said by this library alone, no module says */
    return rv_is_own(rv) ? CKR_VENDOR_DEFINED : rv;
}

bool call_inside(void)
{
    return depth != 0;
}

const char *call_name(void)
{
    return name;
}

void call_detail_set(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
}

const char *call_detail(void)
{
    return detail;
}
