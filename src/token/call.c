#include "token/call.h"

#include <openssl/err.h>

static _Thread_local unsigned depth;
static _Thread_local const char *name = "";

void call_named(const char *function)
{
    name = function;
}

void call_enter(struct module *module, const char *function)
{
    if (module->serial)
        (void)pthread_mutex_lock(&module->serial_lock);
    name = function;
    depth++;
    (void)ERR_set_mark();
}

CK_RV call_leave(struct module *module, CK_RV rv)
{
    /* What a module that uses libcrypto left on this thread's error stack is not the caller's. */
    (void)ERR_pop_to_mark();
    depth--;
    if (module->serial)
        (void)pthread_mutex_unlock(&module->serial_lock);
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
