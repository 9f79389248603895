#include "unit.h"

#include "der/der.h"

static void test_der_lengths(void **state)
{
    static const struct {
        size_t len;
        uint8_t header[5];
        size_t header_len;
    } cases[] = {
        { 0, { 0x04, 0x00 }, 2 },
        { 127, { 0x04, 0x7f }, 2 },
        { 128, { 0x04, 0x81, 0x80 }, 3 },
        { 255, { 0x04, 0x81, 0xff }, 3 },
        { 256, { 0x04, 0x82, 0x01, 0x00 }, 4 },
        { 65535, { 0x04, 0x82, 0xff, 0xff }, 4 },
        { 65536, { 0x04, 0x83, 0x01, 0x00, 0x00 }, 5 },
    };
    static uint8_t content[65536], der[65536 + 8];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct der_writer writer = der_begin(der, cases[i].len + cases[i].header_len);
        struct view in, read;
        size_t len;

        der_value(&writer, DER_OCTET_STRING, (struct view){ content, cases[i].len });
        len = der_done(&writer);
        assert_int_equal(len, cases[i].len + cases[i].header_len);
        assert_memory_equal(der, cases[i].header, cases[i].header_len);
        in = (struct view){ der, len };
        assert_true(der_read(&in, DER_OCTET_STRING, &read));
        assert_int_equal(read.len, cases[i].len);
        assert_int_equal(in.len, 0);

        writer = der_begin(der, cases[i].len + cases[i].header_len - 1);
        der_value(&writer, DER_OCTET_STRING, (struct view){ content, cases[i].len });
        assert_int_equal(der_done(&writer), 0);
    }
}

static void test_der_unsigned(void **state)
{
    static const struct {
        uint8_t number[4];
        size_t number_len;
        uint8_t der[8];
        size_t der_len;
    } cases[] = {
        { { 0 }, 0, { 0x02, 0x01, 0x00 }, 3 },
        { { 0, 0 }, 2, { 0x02, 0x01, 0x00 }, 3 },
        { { 0x7f }, 1, { 0x02, 0x01, 0x7f }, 3 },
        { { 0x80 }, 1, { 0x02, 0x02, 0x00, 0x80 }, 4 },
        { { 0, 0, 0x80, 1 }, 4, { 0x02, 0x03, 0x00, 0x80, 0x01 }, 5 },
        { { 1, 0, 1 }, 3, { 0x02, 0x03, 1, 0, 1 }, 5 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t der[16];
        struct der_writer writer = der_begin(der, sizeof(der));
        struct view in, read, number = { cases[i].number, cases[i].number_len };

        der_unsigned(&writer, number);
        assert_int_equal(der_done(&writer), cases[i].der_len);
        assert_memory_equal(der, cases[i].der, cases[i].der_len);
        in = (struct view){ der, cases[i].der_len };
        assert_true(der_read_unsigned(&in, &read));
        assert_true(view_equal(read, view_strip(number)));
    }
}

static void test_der_read_refuses(void **state)
{
    static const struct {
        const char *name;
        uint8_t der[8];
        size_t len;
    } cases[] = {
        { "nothing", { 0 }, 0 },
        { "tag only", { 0x02 }, 1 },
        { "another tag", { 0x04, 0x01, 0x00 }, 3 },
        { "longer than there is", { 0x02, 0x02, 0x01 }, 3 },
        { "indefinite length", { 0x02, 0x80, 0x01, 0x00, 0x00 }, 5 },
        { "long form for a short length", { 0x02, 0x81, 0x01, 0x05 }, 4 },
        { "long form with a zero", { 0x02, 0x82, 0x00, 0x81, 0x05 }, 5 },
        { "length of five bytes", { 0x02, 0x85, 1, 1, 1, 1, 1 }, 7 },
        { "length cut off", { 0x02, 0x82, 0x01 }, 3 },
        { "empty number", { 0x02, 0x00 }, 2 },
        { "negative number", { 0x02, 0x01, 0x80 }, 3 },
        { "number with a zero too many", { 0x02, 0x02, 0x00, 0x01 }, 4 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct view in = { cases[i].der, cases[i].len }, read;

        check_case(!der_read_unsigned(&in, &read), cases[i].name);
        check_case(in.data == cases[i].der && in.len == cases[i].len, cases[i].name);
    }
}

static void test_der_wrap(void **state)
{
    static const uint8_t expected[] = {
        0x30, 0x08, 0x02, 0x01, 0x05, 0xa1, 0x03, 0x02, 0x01, 0x06
    };
    uint8_t der[32];
    struct der_writer writer = der_begin(der, sizeof(der));
    const uint8_t *end = der_mark(&writer);

    (void)state;
    der_small(&writer, 6);
    der_wrap(&writer, DER_CONTEXT + 1, end);
    der_small(&writer, 5);
    der_wrap(&writer, DER_SEQUENCE, end);
    assert_int_equal(der_done(&writer), sizeof(expected));
    assert_memory_equal(der, expected, sizeof(expected));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_der_lengths),
        cmocka_unit_test(test_der_unsigned),
        cmocka_unit_test(test_der_read_refuses),
        cmocka_unit_test(test_der_wrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
