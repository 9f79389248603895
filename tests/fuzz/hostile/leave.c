#include "leave.h"

#include "instance/instance.h"

void hostile_leave(void *provctx)
{
    struct module *module = provider_module(provctx, NULL);
    unsigned users;

    if (module == NULL)
        return;
    users = module->users;
    module->users = 1;
    module_close(module, true);
    module->users = users;
}
