/* The interfaces of token32: the lists of functions of v2.40, v3.0 and v3.2. */
#include <stdbool.h>
#include <string.h>

#include "pkcs11_3.h"

#define EXPORT __attribute__((visibility("default")))

#define F(name, parameters, arguments) .name = name,
static struct ck_function_list v2_40 = {
    .version = { 2, 40 },
    .C_GetFunctionList = C_GetFunctionList,
#include "../fault/functions.h"
};

static struct functions_3 v3_2 = {
    .v2 = {
        .version = { 3, 2 },
        .C_GetFunctionList = C_GetFunctionList,
#include "../fault/functions.h"
    },
#include "functions_3.h"
};

#undef FUNCTIONS_3_2
static struct functions_3 v3_0 = {
    .v2 = {
        .version = { 3, 0 },
        .C_GetFunctionList = C_GetFunctionList,
#include "../fault/functions.h"
    },
#include "functions_3.h"
};
#undef F

/* The newest first: who names no version gets it. Not CKF_INTERFACE_FORK_SAFE, which promises that
 * a child has its parent's sessions. */
static char interface_name[] = "PKCS 11";
static struct ck_interface interfaces[] = {
    { interface_name, &v3_2, 0 },
    { interface_name, &v3_0, 0 },
    { interface_name, &v2_40, 0 },
};
#define INTERFACES (sizeof(interfaces) / sizeof(interfaces[0]))

EXPORT ck_rv_t C_GetFunctionList(struct ck_function_list **list)
{
    *list = &v2_40;
    return CKR_OK;
}

EXPORT ck_rv_t C_GetInterfaceList(struct ck_interface *list, unsigned long *count)
{
    const unsigned long room = *count;

    *count = INTERFACES;
    if (list == NULL)
        return CKR_OK;
    if (room < INTERFACES)
        return CKR_BUFFER_TOO_SMALL;
    memcpy(list, interfaces, sizeof(interfaces));
    return CKR_OK;
}

static bool is_wanted(const struct ck_interface *interface, const char *name,
                      const struct ck_version *version, ck_flags_t flags)
{
    const struct ck_version *offered = interface->function_list_ptr;

    return (name == NULL || strcmp(name, interface->interface_name_ptr) == 0) &&
           (version == NULL ||
            (version->major == offered->major && version->minor == offered->minor)) &&
           (interface->flags & flags) == flags;
}

EXPORT ck_rv_t C_GetInterface(unsigned char *name, struct ck_version *version,
                              struct ck_interface **found, ck_flags_t flags)
{
    for (unsigned i = 0; i < INTERFACES; i++)
        if (is_wanted(&interfaces[i], (const char *)name, version, flags)) {
            *found = &interfaces[i];
            return CKR_OK;
        }
    return CKR_ARGUMENTS_BAD;
}
