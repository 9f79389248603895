/* What a token said of a mechanism before another life of it began is not kept for that one,
 * however late the answer comes. */
#include "unit.h"

#include "module/lock.h"
#include "token/slot.h"

void __real_lock_take(void);
void __wrap_lock_take(void);
CK_RV __wrap_module_mechanism_info(struct module *module, CK_SLOT_ID slot, CK_MECHANISM_TYPE type,
                                   CK_MECHANISM_INFO *info);

static struct slot slot;
static bool another_was_first; /* to take the lock, and ended the epoch under it */

void __wrap_lock_take(void)
{
    __real_lock_take();
    if (another_was_first)
        atomic_fetch_add(&slot.pool.epoch, 1);
    another_was_first = false;
}

CK_RV __wrap_module_mechanism_info(struct module *module, CK_SLOT_ID id, CK_MECHANISM_TYPE type,
                                   CK_MECHANISM_INFO *info)
{
    (void)module;
    (void)id;
    (void)type;
    info->flags = CKF_SIGN;
    return CKR_OK;
}

static bool asks(void)
{
    const struct session session = { .slot = &slot,
                                     .epoch = atomic_load(&slot.pool.epoch),
                                     .now = &slot.pool.epoch };
    bool has = false;

    assert_int_equal(slot_mechanism(&session, CKM_ECDSA, CKF_SIGN, &has), CKR_OK);
    return has;
}

static void test_slot_mechanism_asked_before(void **state)
{
    bool has;

    (void)state;
    atomic_store(&slot.pool.epoch, 1);
    another_was_first = true;
    assert_true(asks());
    assert_false(slot_mechanism_known(&slot, CKM_ECDSA, CKF_SIGN, &has));
    assert_true(asks());
    assert_true(slot_mechanism_known(&slot, CKM_ECDSA, CKF_SIGN, &has));
    assert_true(has);
    assert_true(slot_mechanism_known(&slot, CKM_ECDSA, CKF_DERIVE, &has));
    assert_false(has);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_slot_mechanism_asked_before) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
