#include "module/interface.h"

#include <dlfcn.h>
#include <string.h>

#include "base/scope.h"
#include "module/call.h"

#define INTERFACE_NAME "PKCS 11"

/* Where a symbol's file lies in memory; NULL: nowhere. */
static const void *file_of(const void *symbol)
{
    Dl_info info;

    return symbol != NULL && dladdr(symbol, &info) != 0 ? info.dli_fbase : NULL;
}

/* C_GetInterface of the same file as C_GetFunctionList: dlsym also looks in what the library is
 * linked to, and with libp11-kit that is p11-kit's own, which leads to other modules than this one.
 */
static get_interface_fn *get_interface_of(void *library)
{
    get_interface_fn *get_interface = NULL;
    void *symbol = dlsym(library, "C_GetInterface");
    const void *file = file_of(symbol);

    if (file != NULL && file == file_of(dlsym(library, "C_GetFunctionList")))
        *(void **)&get_interface = symbol;
    return get_interface;
}

static const CK_FUNCTION_LIST *list_find(get_interface_fn *get_interface, CK_VERSION version)
{
    CK_UTF8CHAR name[] = INTERFACE_NAME;
    struct interface *found = NULL;
    const CK_FUNCTION_LIST *list;

    if (get_interface(name, &version, &found, 0) != CKR_OK || found == NULL ||
        found->functions == NULL || found->name == NULL ||
        strcmp((const char *)found->name, INTERFACE_NAME) != 0)
        return NULL;
    list = found->functions;
    return list->C_Initialize != NULL ? list : NULL;
}

/* Whether a list that was asked for by wanted is of that version: a longer one than the module has
 * is not read. */
static bool is_of_version(const CK_FUNCTION_LIST *list, CK_VERSION wanted)
{
    return list != NULL && list->version.major == wanted.major &&
           list->version.minor >= wanted.minor;
}

static bool from_interface(get_interface_fn *get_interface, struct functions *out)
{
    static const CK_VERSION versions[] = { { 3, 2 }, { 3, 0 } };

    call_named("C_GetInterface");
    for (size_t i = 0; i < COUNT(versions); i++) {
        const CK_FUNCTION_LIST *list = list_find(get_interface, versions[i]);

        if (!is_of_version(list, versions[i]))
            continue;
        out->v2_40 = list;
        out->v3_0 = (const struct functions_3_0 *)(const void *)list;
        out->v3_2 =
            versions[i].minor >= 2 ? (const struct functions_3_2 *)(const void *)list : NULL;
        return true;
    }
    return false;
}

static bool from_list(void *library, struct functions *out)
{
    CK_C_GetFunctionList get_function_list;
    CK_FUNCTION_LIST *list = NULL;

    call_named("C_GetFunctionList");
    *(void **)&get_function_list = dlsym(library, "C_GetFunctionList");
    if (get_function_list == NULL || get_function_list(&list) != CKR_OK)
        return false;
    *out = (struct functions){ .v2_40 = list };
    return list != NULL;
}

bool functions_find(void *library, struct functions *out)
{
    get_interface_fn *get_interface = get_interface_of(library);

    return (get_interface != NULL && from_interface(get_interface, out)) || from_list(library, out);
}
