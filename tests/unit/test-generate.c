#include "unit.h"

#include "mech/generate.h"

/* For every kind of key there is a way, and the ways end. */
static void test_generate_rows(void **state)
{
    static const struct {
        const char *name;
        CK_MECHANISM_TYPE first;
        size_t ways;
    } cases[] = {
        { "RSA", CKM_RSA_PKCS_KEY_PAIR_GEN, 2 },
        { "P-256", CKM_EC_KEY_PAIR_GEN, 1 },
        { "Ed25519", CKM_EC_EDWARDS_KEY_PAIR_GEN, 2 },
        { "Ed448", CKM_EC_EDWARDS_KEY_PAIR_GEN, 2 },
        { "X25519", CKM_EC_MONTGOMERY_KEY_PAIR_GEN, 3 },
        { "X448", CKM_EC_MONTGOMERY_KEY_PAIR_GEN, 3 },
        { "ML-DSA-44", CKM_ML_DSA_KEY_PAIR_GEN, 1 },
        { "SLH-DSA-SHAKE-256f", CKM_SLH_DSA_KEY_PAIR_GEN, 1 },
        { "ML-KEM-768", CKM_ML_KEM_KEY_PAIR_GEN, 1 },
        { "ML-DSA-87", CKM_ML_DSA_KEY_PAIR_GEN, 1 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct generate_kind kind = { curve_by_name(cases[i].name),
                                            set_by_name(cases[i].name) };
        const struct generate_row *row = generate_next(&kind, NULL);
        size_t ways = 0;

        check_case(row != NULL && row->mechanism == cases[i].first, cases[i].name);
        for (; row != NULL; row = generate_next(&kind, row))
            ways++;
        check_case(ways == cases[i].ways, cases[i].name);
    }
}

/* What is written for a curve is read as that curve. */
static void test_generate_params(void **state)
{
    static const char *const names[] = { "P-256", "brainpoolP512r1", "ED25519",
                                         "ED448", "X25519",          "X448" };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct curve *curve = curve_by_name(names[i]);
        const struct generate_kind kind = { curve, NULL };
        const struct generate_row *row = NULL;

        while ((row = generate_next(&kind, row)) != NULL) {
            uint8_t der[64];
            size_t len = generate_params(row, curve, der, sizeof(der));

            check_case(len != 0, names[i]);
            check_case(curve_by_params((struct view){ der, len }) == curve, names[i]);
        }
    }
}

static void test_generate_usage(void **state)
{
    static const struct {
        const char *names;
        bool ok;
        struct usage usage;
    } cases[] = {
        { "", true, { .sign = false } },
        { "digitalSignature", true, { .sign = true } },
        { "digitalSignature, keyAgreement", true, { .sign = true, .derive = true } },
        { " keyEncipherment  dataEncipherment ",
          true,
          { .decrypt = true, .unwrap = true, .decapsulate = true } },
        { "keyCertSign cRLSign nonRepudiation", true, { .sign = true } },
        { "digitalsignature", false, { .sign = false } },
        { "digitalSignature everything", false, { .sign = true } },
        { "digital", false, { .sign = false } },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct usage usage;

        check_case(usage_parse(cases[i].names, &usage) == cases[i].ok, cases[i].names);
        check_case(usage.sign == cases[i].usage.sign && usage.decrypt == cases[i].usage.decrypt &&
                       usage.unwrap == cases[i].usage.unwrap &&
                       usage.derive == cases[i].usage.derive &&
                       usage.decapsulate == cases[i].usage.decapsulate,
                   cases[i].names);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generate_rows),
        cmocka_unit_test(test_generate_params),
        cmocka_unit_test(test_generate_usage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
