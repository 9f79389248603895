#include "module/ending.h"

#include <stdlib.h>

#include <openssl/crypto.h>

static atomic_bool begun;

static void begin(void)
{
    atomic_store(&begun, true);
}

void ending_watch(void)
{
    (void)atexit(begin);
    (void)OPENSSL_atexit(begin);
}

bool ending_begun(void)
{
    return atomic_load(&begun);
}

void ending_first(atomic_flag *once, void (*handler)(void))
{
    if (!atomic_flag_test_and_set(once))
        (void)atexit(handler);
}
