#include "token/call.h"

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
}

CK_RV call_leave(struct module *module, CK_RV rv)
{
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
