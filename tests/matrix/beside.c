/* Starts a program that was built as a library beside a libcrypto of any version:
 *
 *   matrix-beside LIBCRYPTO LIBRARY ARGUMENT...     calls its start(argc, argv) */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    void *library = NULL;
    int (*start)(int, char **) = NULL;

    if (argc > 2 && dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) != NULL)
        library = dlopen(argv[2], RTLD_NOW);
    if (library != NULL)
        *(void **)&start = dlsym(library, "start");
    if (start == NULL) {
        fprintf(stderr, "%s\n", argc > 2 ? dlerror() : "arguments");
        return 2;
    }
    return start(argc - 2, argv + 2);
}
