#include "base/process.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"

/* A page that is zero in each new process (MADV_WIPEONFORK); NULL: there is none. */
static _Atomic(uint64_t) *page;

static void make_page(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return;
    /* qemu-user 7.2 says yes to any advice, and takes none. */
    if (madvise(memory, size, -1) != 0 && madvise(memory, size, MADV_WIPEONFORK) == 0)
        page = memory;
    else
        (void)munmap(memory, size);
}

static uint64_t fresh_number(void)
{
    uint64_t fresh = clock_ns() << 22 ^ (uint64_t)getpid(), none = 0;

    fresh = fresh != 0 ? fresh : 1;
    return atomic_compare_exchange_strong(page, &none, fresh) ? fresh : none;
}

uint64_t process_number(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    uint64_t number;

    (void)pthread_once(&once, make_page);
    if (page == NULL)
        return (uint64_t)getpid();
    number = atomic_load_explicit(page, memory_order_relaxed);
    return number != 0 ? number : fresh_number();
}
