#include "unit.h"

#include "mech/crypt.h"

static const uint8_t iv[16] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
};

static void test_crypt_parameters(void **state)
{
    struct crypt_request request = { .row = &crypt_rows[CRYPT_GCM],
                                     .encrypt = true,
                                     .iv = { iv, 12 },
                                     .aad = { iv, 3 },
                                     .tag_len = 16,
                                     .len = 100 };
    struct crypt_mechanism mechanism;

    (void)state;
    crypt_mechanism(&request, &mechanism);
    assert_int_equal(mechanism.ck.mechanism, CKM_AES_GCM);
    assert_int_equal(mechanism.params.gcm.ulIvBits, 96);
    assert_int_equal(mechanism.params.gcm.ulAADLen, 3);
    assert_int_equal(mechanism.params.gcm.ulTagBits, 128);
    request.row = &crypt_rows[CRYPT_CCM];
    crypt_mechanism(&request, &mechanism);
    assert_int_equal(mechanism.ck.ulParameterLen, sizeof(struct ccm_params));
    assert_int_equal(mechanism.params.ccm.ulDataLen, 100);
    assert_int_equal(mechanism.params.ccm.ulMACLen, 16);
    request.row = &crypt_rows[CRYPT_CTR];
    request.iv.len = 16;
    crypt_mechanism(&request, &mechanism);
    assert_int_equal(mechanism.params.ctr.ulCounterBits, 128);
    assert_memory_equal(mechanism.params.ctr.cb, iv, 16);
    request.row = &crypt_rows[CRYPT_KW];
    request.iv.len = 0;
    crypt_mechanism(&request, &mechanism);
    assert_null(mechanism.ck.pParameter);
    assert_int_equal(mechanism.ck.ulParameterLen, 0);
}

/* RFC 3394 §2.2.1, RFC 5649 §4.1 */
static void test_crypt_len(void **state)
{
    static const struct {
        enum crypt_mode mode;
        bool encrypt;
        size_t len, becomes;
    } cases[] = {
        { CRYPT_CBC, true, 32, 32 },  { CRYPT_CTS, true, 17, 17 }, { CRYPT_GCM, true, 5, 5 },
        { CRYPT_KW, true, 16, 24 },   { CRYPT_KW, false, 24, 16 }, { CRYPT_KWP, true, 1, 16 },
        { CRYPT_KWP, true, 8, 16 },   { CRYPT_KWP, true, 9, 24 },  { CRYPT_KWP, false, 16, 8 },
        { CRYPT_CTS, false, 17, 17 }, { CRYPT_KW, false, 7, 0 },   { CRYPT_KWP, false, 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(crypt_len(&crypt_rows[cases[i].mode], cases[i].encrypt, cases[i].len),
                         cases[i].becomes);
}

static void check_counter(const uint8_t *from, size_t blocks, const uint8_t *to)
{
    uint8_t counter[16];

    memcpy(counter, from, 16);
    crypt_advance(&crypt_rows[CRYPT_CTR], true, counter, iv, iv, blocks);
    assert_memory_equal(counter, to, 16);
}

static void test_crypt_counter(void **state)
{
    static const uint8_t last[16] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    static const uint8_t zero[16] = { 0 }, carried[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 9 };
    static const uint8_t more[16] = { [13] = 0x12, 0x34, 0x56 };

    (void)state;
    check_counter(last, 1, zero);
    check_counter(iv, 1, carried);
    check_counter(zero, 0x123456, more);
}

static void test_crypt_advance(void **state)
{
    uint8_t in[16], out[16], next[16];

    (void)state;
    memset(in, 0x5a, 16);
    memset(out, 0xa5, 16);
    crypt_advance(&crypt_rows[CRYPT_CBC], true, next, in, out, 1);
    assert_memory_equal(next, out, 16);
    crypt_advance(&crypt_rows[CRYPT_CBC], false, next, in, out, 1);
    assert_memory_equal(next, in, 16);
    crypt_advance(&crypt_rows[CRYPT_CFB], true, next, in, out, 1);
    assert_memory_equal(next, out, 16);
    crypt_advance(&crypt_rows[CRYPT_OFB], false, next, in, out, 1);
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(next[i], 0xff);
    memcpy(next, iv, 16);
    crypt_advance(&crypt_rows[CRYPT_ECB], true, next, in, out, 1);
    assert_memory_equal(next, iv, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crypt_parameters),
        cmocka_unit_test(test_crypt_len),
        cmocka_unit_test(test_crypt_counter),
        cmocka_unit_test(test_crypt_advance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
