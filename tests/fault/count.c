/* A PKCS#11 module that forwards every call to the one that COUNT_MODULE names, and counts them.
 *
 * A test in the same process opens it with dlopen and asks count_calls; of another process, the
 * file that COUNT_FILE names says at its end "NAME NUMBER" for each function that was called. */
#define CRYPTOKI_GNU
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <p11-kit/pkcs11.h>

#define EXPORT __attribute__((visibility("default")))

enum function {
#define F(name, parameters, arguments) INDEX_##name,
#include "functions.h"
#undef F
    FUNCTIONS
};

static const char *const names[FUNCTIONS] = {
#define F(name, parameters, arguments) #name,
#include "functions.h"
#undef F
};

static struct ck_function_list *real;
static atomic_ulong counts[FUNCTIONS];

#define F(name, parameters, arguments)                                                             \
    static ck_rv_t count_##name parameters                                                         \
    {                                                                                              \
        atomic_fetch_add(&counts[INDEX_##name], 1);                                                \
        return real->name arguments;                                                               \
    }
#include "functions.h"
#undef F

/* Its own address goes in at run time: a list that counts itself is no constant. */
static struct ck_function_list counting = {
    .version = { 2, 40 },
#define F(name, parameters, arguments) .name = count_##name,
#include "functions.h"
#undef F
};

EXPORT ck_rv_t C_GetFunctionList(struct ck_function_list **list)
{
    const char *path = getenv("COUNT_MODULE");
    void *library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    CK_C_GetFunctionList get = NULL;
    ck_rv_t rv;

    if (library == NULL)
        return CKR_GENERAL_ERROR;
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    rv = get != NULL ? get(&real) : CKR_GENERAL_ERROR;
    counting.C_GetFunctionList = C_GetFunctionList;
    *list = &counting;
    return rv;
}

EXPORT unsigned long count_calls(const char *name);
EXPORT void count_reset(void);

/* How often name was called since the last reset, or all functions where name is NULL. */
unsigned long count_calls(const char *name)
{
    unsigned long sum = 0;

    for (size_t i = 0; i < FUNCTIONS; i++)
        if (name == NULL || strcmp(names[i], name) == 0)
            sum += atomic_load(&counts[i]);
    return sum;
}

void count_reset(void)
{
    for (size_t i = 0; i < FUNCTIONS; i++)
        atomic_store(&counts[i], 0);
}

__attribute__((destructor)) static void write_counts(void)
{
    const char *path = getenv("COUNT_FILE");
    FILE *file = path != NULL ? fopen(path, "w") : NULL;

    for (size_t i = 0; file != NULL && i < FUNCTIONS; i++)
        if (atomic_load(&counts[i]) != 0)
            (void)fprintf(file, "%s %lu\n", names[i], atomic_load(&counts[i]));
    if (file != NULL)
        (void)fclose(file);
}
