#include "unit.h"

#include "der/pem_uri.h"

static struct view text(const char *string)
{
    return (struct view){ (const uint8_t *)string, strlen(string) };
}

static void test_pem_uri_round_trip(void **state)
{
    static char longer[2000];
    const char *const uris[] = { "", "pkcs11:token=a;object=b?pin-source=file:/p", longer };

    (void)state;
    memset(longer, 'a', sizeof(longer) - 1);
    for (size_t i = 0; i < COUNT_OF(uris); i++) {
        uint8_t der[2100];
        size_t len = pem_uri_write(text(uris[i]), der, strlen(uris[i]) + PEM_URI_OVERHEAD);
        struct view uri;

        assert_int_not_equal(len, 0);
        assert_true(pem_uri_read((struct view){ der, len }, &uri));
        assert_true(view_equal(uri, text(uris[i])));
        assert_int_equal(pem_uri_write(text(uris[i]), der, len - 1), 0);
    }
}

/* The bytes that pkcs11-provider writes for pkcs11:a */
static void test_pem_uri_bytes(void **state)
{
    static const uint8_t expected[] = "\x30\x25\x1a\x19PKCS#11 Provider URI v1.0\x0c\x08pkcs11:a";
    uint8_t der[64];

    (void)state;
    assert_int_equal(pem_uri_write(text("pkcs11:a"), der, sizeof(der)), sizeof(expected) - 1);
    assert_memory_equal(der, expected, sizeof(expected) - 1);
}

/* A script that knows no length before it writes it takes the same number of bytes for each. */
static void test_pem_uri_longer_lengths(void **state)
{
    static const struct {
        const char *name, *der;
        size_t len;
    } cases[] = {
        { "one byte more", "\x30\x81\x27\x1a\x81\x19PKCS#11 Provider URI v1.0\x0c\x81\x08pkcs11:a",
          42 },
        { "two bytes more",
          "\x30\x82\x00\x27\x1a\x19PKCS#11 Provider URI v1.0\x0c\x82\x00\x08pkcs11:a", 43 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct view der = { (const uint8_t *)cases[i].der, cases[i].len }, uri;

        check_case(pem_uri_read(der, &uri) && view_equal(uri, text("pkcs11:a")), cases[i].name);
    }
}

static void test_pem_uri_read_refuses(void **state)
{
    static const struct {
        const char *name, *der;
        size_t len;
    } cases[] = {
        { "nothing", "", 0 },
        { "another description", "\x30\x25\x1a\x19PKCS#11 Provider URI v2.0\x0c\x08pkcs11:a", 39 },
        { "something behind", "\x30\x25\x1a\x19PKCS#11 Provider URI v1.0\x0c\x08pkcs11:a\x05\x00",
          41 },
        { "something more inside",
          "\x30\x27\x1a\x19PKCS#11 Provider URI v1.0\x0c\x08pkcs11:a\x05\x00", 41 },
        { "cut off", "\x30\x25\x1a\x19PKCS#11 Provider URI v1.0\x0c\x08pkcs11:", 38 },
        { "no URI", "\x30\x1b\x1a\x19PKCS#11 Provider URI v1.0", 29 },
        { "an RSA key's beginning", "\x30\x82\x04\xa4\x02\x01\x00", 7 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct view uri;

        check_case(
            !pem_uri_read((struct view){ (const uint8_t *)cases[i].der, cases[i].len }, &uri),
            cases[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pem_uri_round_trip),
        cmocka_unit_test(test_pem_uri_bytes),
        cmocka_unit_test(test_pem_uri_longer_lengths),
        cmocka_unit_test(test_pem_uri_read_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
