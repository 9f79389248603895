#include "unit.h"

#include "module/names.h"

static void test_names(void **state)
{
    static const struct {
        CK_MECHANISM_TYPE mechanism;
        const char *name;
    } cases[] = {
        { CKM_RSA_PKCS, "CKM_RSA_PKCS" },
        { CKM_RSA_PKCS_OAEP, "CKM_RSA_PKCS_OAEP" },
        { CKM_ECDSA_SHA3_256, "CKM_ECDSA_SHA3_256" },
        { CKM_EDDSA, "CKM_EDDSA" },
        { CKM_ECDH1_DERIVE, "CKM_ECDH1_DERIVE" },
        { CKM_EC_MONTGOMERY_KEY_PAIR_GEN, "CKM_EC_MONTGOMERY_KEY_PAIR_GEN" },
        { 0x7fff0000, "unknown mechanism" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_text(mechanism_name(cases[i].mechanism), cases[i].name, cases[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_names) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
