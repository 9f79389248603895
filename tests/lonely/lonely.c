/* A PKCS#11 module of v2.40, whose functions are those of the one that FAULT_MODULE names. It has
 * no C_GetInterface, and is linked to a library that has one (stranger.c). */
#include <dlfcn.h>
#include <stdlib.h>

typedef unsigned long get_function_list(void **list);

__attribute__((visibility("default"))) get_function_list C_GetFunctionList;

unsigned long C_GetFunctionList(void **list)
{
    void *library = dlopen(getenv("FAULT_MODULE"), RTLD_NOW | RTLD_LOCAL);
    get_function_list *real = NULL;

    if (library != NULL)
        *(void **)&real = dlsym(library, "C_GetFunctionList");
    return real != NULL ? real(list) : 5; /* CKR_GENERAL_ERROR */
}
