#include "base/jobs.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/scope.h"

static const struct jobs linked = {
    .get_current_job = ASYNC_get_current_job,
    .get_wait_ctx = ASYNC_get_wait_ctx,
    .pause_job = ASYNC_pause_job,
    .get_fd = ASYNC_WAIT_CTX_get_fd,
    .set_wait_fd = ASYNC_WAIT_CTX_set_wait_fd,
    .clear_fd = ASYNC_WAIT_CTX_clear_fd,
};

static const struct {
    const char *name;
    size_t place;
} functions[] = {
    { "ASYNC_get_current_job", offsetof(struct jobs, get_current_job) },
    { "ASYNC_get_wait_ctx", offsetof(struct jobs, get_wait_ctx) },
    { "ASYNC_pause_job", offsetof(struct jobs, pause_job) },
    { "ASYNC_WAIT_CTX_get_fd", offsetof(struct jobs, get_fd) },
    { "ASYNC_WAIT_CTX_set_wait_fd", offsetof(struct jobs, set_wait_fd) },
    { "ASYNC_WAIT_CTX_clear_fd", offsetof(struct jobs, clear_fd) },
};

static bool find_all(void *library, struct jobs *out)
{
    for (size_t i = 0; i < COUNT(functions); i++) {
        void *symbol = dlsym(library, functions[i].name);

        if (symbol == NULL)
            return false;
        *(void **)((char *)out + functions[i].place) = symbol;
    }
    return true;
}

/* The file that a function is in; not where it is a program's. */
static void *library_of(void (*function)(void))
{
    Dl_info info;

    return dladdr(*(void **)&function, &info) != 0
               ? dlopen(info.dli_fname, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD)
               : NULL;
}

struct jobs jobs_of(void (*upcall)(void))
{
    void *library = library_of(upcall);
    struct jobs found;
    const bool all = library != NULL && find_all(library, &found);

    if (library != NULL)
        (void)dlclose(library); /* it is there for as long as it calls the provider */
    return all ? found : linked;
}
