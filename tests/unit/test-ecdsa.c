#include "unit.h"

#include <openssl/bn.h>
#include <openssl/ecdsa.h>

#include "der/ecdsa.h"

static void compare(const uint8_t *rs, size_t half)
{
    uint8_t der[ECDSA_SIG_DER_MAX(66)], back[132];
    ECDSA_SIG *sig = ECDSA_SIG_new();
    unsigned char *expected = NULL;
    int expected_len;
    size_t len = ecdsa_sig_to_der((struct view){ rs, 2 * half }, der, ECDSA_SIG_DER_MAX(half));

    ECDSA_SIG_set0(sig, BN_bin2bn(rs, (int)half, NULL), BN_bin2bn(rs + half, (int)half, NULL));
    expected_len = i2d_ECDSA_SIG(sig, &expected);
    assert_int_equal(len, expected_len);
    assert_memory_equal(der, expected, len);
    assert_true(ecdsa_sig_from_der((struct view){ der, len }, half, back));
    assert_memory_equal(back, rs, 2 * half);
    for (size_t cut = 0; cut < len; cut++)
        assert_false(ecdsa_sig_from_der((struct view){ der, cut }, half, back));
    OPENSSL_free(expected);
    ECDSA_SIG_free(sig);
}

/* Every number of leading zeros, with and without the top bit behind them. */
static void test_ecdsa_leading_zeros(void **state)
{
    static const size_t halves[] = { 24, 28, 32, 40, 48, 64, 66 };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(halves); i++) {
        size_t half = halves[i];

        for (size_t zeros = 0; zeros <= half; zeros++) {
            uint8_t rs[132];

            memset(rs, 0x7f, sizeof(rs));
            memset(rs + half, 0xff, half);
            memset(rs, 0, zeros);
            memset(rs + half, 0, zeros);
            compare(rs, half);
        }
    }
}

/* RFC 3279 §2.2.3 in DER, and nothing else. */
static void test_ecdsa_bad_der(void **state)
{
    static const struct {
        const char *name;
        uint8_t der[16];
        size_t len;
    } cases[] = {
        { "trailing byte", { 0x30, 6, 2, 1, 1, 2, 1, 1, 0 }, 9 },
        { "trailing byte inside", { 0x30, 7, 2, 1, 1, 2, 1, 1, 0 }, 9 },
        { "negative", { 0x30, 6, 2, 1, 0x81, 2, 1, 1 }, 8 },
        { "leading zero", { 0x30, 7, 2, 2, 0, 1, 2, 1, 1 }, 9 },
        { "long length", { 0x30, 0x81, 6, 2, 1, 1, 2, 1, 1 }, 9 },
        { "one number", { 0x30, 3, 2, 1, 1 }, 5 },
        { "another tag", { 0x30, 6, 4, 1, 1, 2, 1, 1 }, 8 },
        { "too long a number", { 0x30, 10, 2, 5, 1, 2, 3, 4, 5, 2, 1, 1 }, 12 },
    };
    uint8_t rs[8];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_case(!ecdsa_sig_from_der((struct view){ cases[i].der, cases[i].len }, 4, rs),
                   cases[i].name);
}

static void test_ecdsa_bad_lengths(void **state)
{
    static const uint8_t rs[64] = { 1 };
    uint8_t der[80];

    (void)state;
    assert_int_equal(ecdsa_sig_to_der((struct view){ rs, 0 }, der, sizeof(der)), 0);
    assert_int_equal(ecdsa_sig_to_der((struct view){ rs, 63 }, der, sizeof(der)), 0);
    assert_int_equal(ecdsa_sig_to_der((struct view){ rs, 64 }, der, 5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ecdsa_leading_zeros),
        cmocka_unit_test(test_ecdsa_bad_lengths),
        cmocka_unit_test(test_ecdsa_bad_der),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
