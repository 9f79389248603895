#include "unit.h"

#include "module/ckr.h"

static void test_ckr_names(void **state)
{
    (void)state;
    assert_string_equal(ckr_describe(CKR_PIN_INCORRECT)->name, "CKR_PIN_INCORRECT");
    assert_non_null(ckr_describe(CKR_PIN_INCORRECT)->advice);
    assert_string_equal(ckr_describe(CKR_OK)->name, "CKR_OK");
}

static void test_ckr_own_outcomes_have_advice_only(void **state)
{
    (void)state;
    for (CK_RV rv = RV_PIN_MISSING; rv <= RV_RECURSION; rv++) {
        assert_null(ckr_describe(rv)->name);
        assert_non_null(ckr_describe(rv)->advice);
    }
}

static void test_ckr_unknown(void **state)
{
    (void)state;
    assert_null(ckr_describe(0x7ffffff0)->name);
    assert_null(ckr_describe(0x7ffffff0)->advice);
    assert_int_equal(ckr_describe(0x7ffffff0)->repair, REPAIR_NOTHING);
}

static void test_ckr_advice_depends_on_the_call(void **state)
{
    (void)state;
    assert_null(ckr_advice("C_GenerateKeyPair", CKR_TEMPLATE_INCONSISTENT));
    assert_non_null(ckr_advice("C_DecapsulateKey", CKR_TEMPLATE_INCONSISTENT));
    assert_ptr_equal(ckr_advice("C_DecapsulateKey", CKR_DEVICE_REMOVED),
                     ckr_describe(CKR_DEVICE_REMOVED)->advice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ckr_names),
        cmocka_unit_test(test_ckr_own_outcomes_have_advice_only),
        cmocka_unit_test(test_ckr_unknown),
        cmocka_unit_test(test_ckr_advice_depends_on_the_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
