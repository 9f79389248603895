#include "module/call.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include <openssl/err.h>

#include "module/retry.h"

static _Thread_local unsigned depth;
static _Thread_local const char *name = "";
static _Thread_local char detail[200];
static _Thread_local bool gate_keeper;
static _Thread_local bool serialised; /* the outermost call holds its module's serial_lock */

/* Threads that are inside the gate, and whether others have to wait before it. */
static atomic_uint under_way;
static atomic_bool gate_shut;

static void wait_a_little(void)
{
    const struct timespec pause = { 0, 200000 };

    (void)nanosleep(&pause, NULL);
}

/* What this thread has entered and not left. Counted for all threads is only the outermost. */
static _Thread_local unsigned inside;

/* In this order: whoever shuts the gate either sees this thread or is seen by it. */
static void gate_enter(void)
{
    if (inside++ != 0)
        return;
    atomic_fetch_add(&under_way, 1);
    while (atomic_load(&gate_shut) && !gate_keeper) {
        atomic_fetch_sub(&under_way, 1);
        wait_a_little();
        atomic_fetch_add(&under_way, 1);
    }
}

static void gate_leave(void)
{
    if (--inside == 0)
        atomic_fetch_sub(&under_way, 1);
}

bool gate_close(unsigned wait_ms)
{
    uint64_t deadline = clock_ms() + wait_ms;
    unsigned own = inside != 0;
    bool open = false;

    while (!atomic_compare_exchange_strong(&gate_shut, &open, true)) {
        if (gate_keeper || clock_ms() >= deadline)
            return false;
        open = false;
        wait_a_little();
    }
    gate_keeper = true;
    while (atomic_load(&under_way) > own && clock_ms() < deadline)
        wait_a_little();
    return true;
}

bool gate_clear(void)
{
    return atomic_load(&under_way) == (inside != 0);
}

void gate_open(void)
{
    if (!gate_keeper)
        return;
    gate_keeper = false;
    atomic_store(&gate_shut, false);
}

void gate_reset(void)
{
    atomic_store(&under_way, inside != 0);
    atomic_store(&gate_shut, false);
    gate_keeper = false;
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

bool call_enter(struct module *module, const char *function)
{
    gate_enter();
    name = function;
    if (atomic_load(&module->ended)) {
        gate_leave();
        return false;
    }
    /* within the gate: whoever shuts it waits for those who wait here */
    if (depth == 0 && atomic_load(&module->serial)) {
        (void)pthread_mutex_lock(&module->serial_lock);
        serialised = true;
    }
    depth++;
    (void)ERR_set_mark();
    return true;
}

CK_RV call_leave(struct module *module, CK_RV rv)
{
    /* What a module that uses libcrypto left on this thread's error stack is not the caller's. */
    (void)ERR_pop_to_mark();
    depth--;
    if (depth == 0 && serialised) { /* whatever another thread has learnt of the module since */
        serialised = false;
        (void)pthread_mutex_unlock(&module->serial_lock);
    }
    gate_leave();
    return rv;
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
