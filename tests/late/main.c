/* late-exit CONTEXT WHEN WHAT: ends with things of the provider that are released after main().
 * CONTEXT: default, as openssl.cnf has it; own, with the provider loaded by OSSL_PROVIDER_load.
 * WHEN: handler, an exit handler that was registered before anything else; destructor, of the
 * program; library, the destructor of one that is linked; plugin, of one that was loaded
 * (LATE_PLUGIN). WHAT: see holder.c. */
#include "holder.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/provider.h>

static hold_function *plugin(void)
{
    void *library = dlopen(getenv("LATE_PLUGIN"), RTLD_NOW | RTLD_LOCAL);
    hold_function *function = NULL;

    if (library != NULL)
        *(void **)&function = dlsym(library, "plugin_hold");
    return function;
}

static hold_function *holder(const char *when)
{
    if (strcmp(when, "plugin") == 0)
        return plugin();
    return strcmp(when, "library") == 0 ? library_hold : hold;
}

/* Where the provider has no section, the environment has its module, and the URI its PIN. */
static OSSL_LIB_CTX *own_context(void)
{
    OSSL_LIB_CTX *libctx = OSSL_LIB_CTX_new();

    if (OSSL_PROVIDER_set_default_search_path(libctx, getenv("LATE_PROVIDERS")) != 1)
        exit(2);
    return libctx;
}

static OSSL_PROVIDER *loaded[3];

static void load(OSSL_LIB_CTX *libctx)
{
    loaded[0] = OSSL_PROVIDER_load(libctx, "default");
    loaded[1] = OSSL_PROVIDER_load(libctx, "pkcs11");
    if (loaded[0] == NULL || loaded[1] == NULL)
        exit(2);
}

int main(int argc, char **argv)
{
    OSSL_LIB_CTX *libctx;
    hold_function *take;

    if (argc != 4 || (strcmp(argv[2], "handler") == 0 && atexit(release) != 0))
        return 2;
    take = holder(argv[2]);
    if (take == NULL)
        return 2;
    libctx = strcmp(argv[1], "own") == 0 ? own_context() : NULL;
    if (libctx != NULL)
        load(libctx);
    take(libctx, loaded, argv[3]);
    return 0;
}
