#include "unit.h"

#include "mech/generate.h"

/* For every kind of key there is a way, and the ways end. */
static void test_generate_rows(void **state)
{
    static const struct {
        const char *name;
        bool rsa;
        enum curve_kind kind;
        CK_MECHANISM_TYPE first;
        size_t ways;
    } cases[] = {
        { "RSA", true, CURVE_EC, CKM_RSA_PKCS_KEY_PAIR_GEN, 2 },
        { "EC", false, CURVE_EC, CKM_EC_KEY_PAIR_GEN, 1 },
        { "Ed25519", false, CURVE_ED25519, CKM_EC_EDWARDS_KEY_PAIR_GEN, 2 },
        { "Ed448", false, CURVE_ED448, CKM_EC_EDWARDS_KEY_PAIR_GEN, 2 },
        { "X25519", false, CURVE_X25519, CKM_EC_MONTGOMERY_KEY_PAIR_GEN, 3 },
        { "X448", false, CURVE_X448, CKM_EC_MONTGOMERY_KEY_PAIR_GEN, 3 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct generate_row *row = generate_next(cases[i].rsa, cases[i].kind, NULL);
        size_t ways = 0;

        check_case(row != NULL && row->mechanism == cases[i].first, cases[i].name);
        for (; row != NULL; row = generate_next(cases[i].rsa, cases[i].kind, row))
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
        const struct generate_row *row = NULL;

        while ((row = generate_next(false, curve->kind, row)) != NULL) {
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
        { "", true, { false, false, false, false } },
        { "digitalSignature", true, { .sign = true } },
        { "digitalSignature, keyAgreement", true, { .sign = true, .derive = true } },
        { " keyEncipherment  dataEncipherment ", true, { .decrypt = true, .unwrap = true } },
        { "keyCertSign cRLSign nonRepudiation", true, { .sign = true } },
        { "digitalsignature", false, { false, false, false, false } },
        { "digitalSignature everything", false, { .sign = true } },
        { "digital", false, { false, false, false, false } },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct usage usage;

        check_case(usage_parse(cases[i].names, &usage) == cases[i].ok, cases[i].names);
        check_case(usage.sign == cases[i].usage.sign && usage.decrypt == cases[i].usage.decrypt &&
                       usage.unwrap == cases[i].usage.unwrap &&
                       usage.derive == cases[i].usage.derive,
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
