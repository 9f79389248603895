/* The gate that calls pass, and what who has it shut sees of those who come meanwhile. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "module/call.h"

#define COMERS 300

static atomic_uint through;
static atomic_bool all_came;

static void *come(void *arg)
{
    WITHIN_GATE;

    (void)arg;
    atomic_fetch_add(&through, 1);
    return NULL;
}

static void *send_comers(void *threads)
{
    for (unsigned t = 0; t < COMERS; t++)
        if (pthread_create(&((pthread_t *)threads)[t], NULL, come, NULL) != 0)
            abort();
    atomic_store(&all_came, true);
    return NULL;
}

static void test_call_comers_are_not_inside(void **state)
{
    pthread_t sender, threads[COMERS];
    unsigned long looks = 0, wrong = 0;

    (void)state;
    assert_true(gate_close(1000));
    assert_int_equal(pthread_create(&sender, NULL, send_comers, threads), 0);
    for (; !atomic_load(&all_came); looks++)
        wrong += !gate_clear();
    if (wrong != 0)
        fail_msg("%lu of %lu looks saw somebody inside", wrong, looks);
    assert_int_equal(atomic_load(&through), 0);
    gate_open();
    pthread_join(sender, NULL);
    for (unsigned t = 0; t < COMERS; t++)
        pthread_join(threads[t], NULL);
    assert_int_equal(atomic_load(&through), COMERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call_comers_are_not_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
