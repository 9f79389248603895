#include "module/ending.h"

#include <stdlib.h>

#include "base/libcrypto.h"

static atomic_bool begun;
static void (*follows)(void);

static void begin(void)
{
    if (!atomic_exchange(&begun, true))
        follows();
}

void ending_watch(void (*handler)(void))
{
    follows = handler;
    (void)atexit(begin);
    libcrypto_watch(begin);
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
