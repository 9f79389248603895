#include "unit.h"

#include <stdlib.h>

#include <stdlib.h>

#include <p11-kit/p11-kit.h>

#include "uri/uri.h"

static CK_TOKEN_INFO token(const char *label, const char *manufacturer, const char *model,
                           const char *serial)
{
    CK_TOKEN_INFO info;

    memset(&info, ' ', sizeof(info));
    memcpy(info.label, label, strlen(label));
    memcpy(info.manufacturerID, manufacturer, strlen(manufacturer));
    memcpy(info.model, model, strlen(model));
    memcpy(info.serialNumber, serial, strlen(serial));
    return info;
}

/* RFC 7512 §3, every example, with what it means. */
static void test_uri_rfc7512_examples(void **state)
{
    static const struct {
        const char *text;
        const char *label, *id;
        size_t id_len;
        long class;
        const char *pin_file;
        const char *impossible;
        bool token, slot, library;
    } cases[] = {
        { "pkcs11:", NULL, NULL, 0, -1, NULL, NULL, false, false, false },
        { "pkcs11:object=my-pubkey;type=public", "my-pubkey", NULL, 0, CKO_PUBLIC_KEY, NULL, NULL,
          false, false, false },
        { "pkcs11:object=my-key;type=private?pin-source=file:/etc/token", "my-key", NULL, 0,
          CKO_PRIVATE_KEY, "/etc/token", NULL, false, false, false },
        { "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;"
          "model=1.0;object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial="
          "?pin-source=file:/etc/token_pin",
          "my-certificate", "\x69\x95\x3e\x5c\xf4\xbd\xec\x91", 8, CKO_CERTIFICATE,
          "/etc/token_pin", NULL, true, false, false },
        { "pkcs11:object=my-sign-key;type=private?pin-source=file:/etc/token_pin", "my-sign-key",
          NULL, 0, CKO_PRIVATE_KEY, "/etc/token_pin", NULL, false, false, false },
        { "pkcs11:slot-description=Sun%20Metaslot", NULL, NULL, 0, -1, NULL, NULL, false, true,
          false },
        { "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%"
          "20Library"
          ";library-version=1.23",
          NULL, NULL, 0, -1, NULL, NULL, false, false, true },
        { "pkcs11:token=My%20token%25%20created%20by%20Joe;library-version=3;"
          "id=%01%02%03%Ba%dd%Ca%fe%04%05%06",
          NULL, "\x01\x02\x03\xba\xdd\xca\xfe\x04\x05\x06", 10, -1, NULL, NULL, true, false, true },
        { "pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert",
          "my-certificate", NULL, 0, CKO_CERTIFICATE, NULL, NULL, true, false, false },
        { "pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1;object=my-certificate;"
          "type=cert",
          "my-certificate", NULL, 0, CKO_CERTIFICATE, NULL, "the attribute token is too long", true,
          false, false },
        { "pkcs11:token=my-token;\n    object=my-certificate;\n    type=cert;\n    "
          "vendor-aaa=value-a\n"
          "    ?pin-source=file:/etc/token_pin\n    &vendor-bbb=value-b",
          "my-certificate", NULL, 0, CKO_CERTIFICATE, "/etc/token_pin",
          "the attribute vendor-aaa is unknown", true, false, false },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *name = cases[i].text;
        CK_OBJECT_CLASS class = 0;
        struct uri uri;
        char why[512] = "";

        if (!uri_parse(cases[i].text, false, &uri, why, sizeof(why)))
            fail_msg("%s: %s", name, why);
        check_case((uri_label(&uri) != NULL) == (cases[i].label != NULL), name);
        if (cases[i].label != NULL)
            check_case(
                uri_label(&uri)->ulValueLen == strlen(cases[i].label) &&
                    memcmp(uri_label(&uri)->pValue, cases[i].label, strlen(cases[i].label)) == 0,
                name);
        check_case((uri_id(&uri) != NULL) == (cases[i].id != NULL), name);
        if (cases[i].id != NULL)
            check_case(uri_id(&uri)->ulValueLen == cases[i].id_len &&
                           memcmp(uri_id(&uri)->pValue, cases[i].id, cases[i].id_len) == 0,
                       name);
        check_case(uri_class(&uri, &class) == (cases[i].class >= 0), name);
        check_case(cases[i].class < 0 || class == (CK_OBJECT_CLASS)cases[i].class, name);
        check_text(uri.pin_file != NULL ? uri.pin_file : "",
                   cases[i].pin_file != NULL ? cases[i].pin_file : "", name);
        check_text(uri.impossible != NULL ? uri.impossible : "",
                   cases[i].impossible != NULL ? cases[i].impossible : "", name);
        check_case(uri.names_token == cases[i].token, name);
        check_case(uri.names_slot == cases[i].slot, name);
        check_case(uri.names_library == cases[i].library, name);
        uri_clear(&uri);
    }
}

static void test_uri_pin(void **state)
{
    static const struct {
        const char *text, *pin, *file;
    } cases[] = {
        { "pkcs11:object=a?pin-value=1234", "1234", "" },
        { "pkcs11:slot-id=0;object=my-tls-key;pin-value=1234", "1234", "" },
        { "pkcs11:object=a?pin-value=%20a%3Bb%26", " a;b&", "" },
        { "pkcs11:object=a?pin-value=", "", "" },
        { "pkcs11:object=a?pin-source=/run/pin", "", "/run/pin" },
        { "pkcs11:object=a?pin-source=file:///run/pin", "", "/run/pin" },
        { "pkcs11:object=a?pin-source=file:%2Frun%2Fa%20pin", "", "/run/a pin" },
        { "pkcs11:object=a;pin-source=file:/run/pin;type=private", "", "/run/pin" },
        { "pkcs11:object=a?pin-source=env:BRIDGE_TEST_PIN", "76 54", "" },
        { "pkcs11:object=a?pin-source=env:BRIDGE_TEST_PIN&pin-value=99", "99", "" },
        { "pkcs11:object=a?pin-value=99&pin-source=env:BRIDGE_TEST_PIN", "99", "" },
        { "pkcs11:object=a;pinfile=/run/pin", "", "/run/pin" },
    };

    (void)state;
    setenv("BRIDGE_TEST_PIN", "76 54", 1);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct uri uri;
        char why[512] = "";

        check_case(uri_parse(cases[i].text, false, &uri, why, sizeof(why)), cases[i].text);
        check_text(uri.pin != NULL ? secret_data(uri.pin) : "", cases[i].pin, cases[i].text);
        check_text(uri.pin_file != NULL ? uri.pin_file : "", cases[i].file, cases[i].text);
        check_case(strstr(uri.text, "1234") == NULL, cases[i].text);
        uri_clear(&uri);
    }
}

static void test_uri_bad(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        { "pkcs12:object=a", "does not begin" },
        { "object=a", "does not begin" },
        { "pkcs11:object", "\"object\"" },
        { "pkcs11:=a", "\"=a\"" },
        { "pkcs11:object=a;;id=%01", "name=value" },
        { "pkcs11:object=%4", "object=%4" },
        { "pkcs11:id=%zz", "id=%zz" },
        { "pkcs11:slot-id=one", "slot-id" },
        { "pkcs11:slot-id=", "slot-id" },
        { "pkcs11:slot-id=99999999999999999999", "slot-id" },
        { "pkcs11:type=key", "type=key" },
        { "pkcs11:type=c   ert", "type=c   ert is malformed" },
        { "pkcs11:library-version=1.", "library-version" },
        { "pkcs11:object=a;object=b", "twice" },
        { "pkcs11:object=a;pin-value=1?pin-value=2", "twice" },
        { "pkcs11:object=a?pin-value=%1", "pin-value is malformed" },
        { "pkcs11:object=a?pin-source=|cat%20/etc/pin", "program" },
        { "pkcs11:object=a?pin-source=pin.txt", "absolute" },
        { "pkcs11:object=a?pin-source=env:BRIDGE_TEST_NO_PIN", "BRIDGE_TEST_NO_PIN has no PIN" },
        { "pkcs11:object=a?pin-source=env:1234", "wants the name" },
        { "pkcs11:object=a?pin-source=http://host/pin", "absolute" },
        { "pkcs11:object=a?module-path=/lib/m.so", "pkcs11-allow-uri-module" },
        { "pkcs11:object=a?module-name=m", "pkcs11-allow-uri-module" },
        { "pkcs11:object=a\x01", "control character" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct uri uri;
        char why[512] = "";

        check_case(!uri_parse(cases[i].text, false, &uri, why, sizeof(why)), cases[i].text);
        check_contains(why, cases[i].why, cases[i].text);
        check_case(uri.p11 == NULL && uri.text == NULL && uri.pin == NULL, cases[i].text);
    }
}

static void test_uri_error_has_no_pin(void **state)
{
    static const char *const texts[] = {
        "pkcs11:object=a;pin-value=47114711?pin-value=47114711",
        "pkcs11:pin-value=47114711;object=%4",
        "pkcs11:pin-value=47114711%1",
        "pkcs11:object=a?pin-value=47114711&module-path=/x",
        "pkcs11:pin-value=12;type=47114711",
        "pkcs11:pin-value=12;slot-id=47114711x",
        "pkcs11:pin-value=12;id=%x4711",
        "pkcs11:object=a,pin-value=47114711",
        "pkcs11:object=a%26PIN-VALUE%3D47114711",
        "pkcs11:object=a,pin-source %20:47114711",
        "pkcs11:object=a;=b&pin-value=47114711",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct uri uri;
        char why[512] = "";

        check_case(!uri_parse(texts[i], false, &uri, why, sizeof(why)), texts[i]);
        check_case(strstr(why, "4711") == NULL, texts[i]);
    }
}

/* The same where the URI, though well formed, can match nothing. */
static void test_uri_impossible_has_no_pin(void **state)
{
    struct uri uri;
    char why[512];

    (void)state;
    assert_true(uri_parse("pkcs11:object=a;pin-value:47114711=1", false, &uri, why, sizeof(why)));
    assert_non_null(uri.impossible);
    assert_null(strstr(uri.impossible, "4711"));
    uri_clear(&uri);
}

static void test_uri_module_path_when_allowed(void **state)
{
    struct uri uri;
    char why[512] = "";

    (void)state;
    assert_true(uri_parse("pkcs11:object=a?module-path=/lib/m.so", true, &uri, why, sizeof(why)));
    assert_string_equal(uri.module_path, "/lib/m.so");
    uri_clear(&uri);
    assert_false(uri_parse("pkcs11:?module-path=m.so", true, &uri, why, sizeof(why)));
    assert_false(uri_parse("pkcs11:?module-name=m", true, &uri, why, sizeof(why)));
}

static void test_uri_too_long(void **state)
{
    static char text[URI_MAX + 100] = "pkcs11:object=";
    struct uri uri;
    char why[512] = "";

    (void)state;
    memset(text + strlen(text), 'a', URI_MAX);
    assert_false(uri_parse(text, false, &uri, why, sizeof(why)));
    assert_non_null(strstr(why, "too long"));
    /* blanks count three times once they are encoded */
    memset(text + 14, ' ', URI_MAX - 20);
    strcpy(text + URI_MAX - 10, "x");
    assert_false(uri_parse(text, false, &uri, why, sizeof(why)));
}

static void test_uri_matches(void **state)
{
    static const struct {
        const char *text;
        bool token, slot, library;
    } cases[] = {
        { "pkcs11:", true, true, true },
        { "pkcs11:token=ca%20one", true, true, true },
        { "pkcs11:token=ca one", true, true, true },
        { "pkcs11:token=ca", false, true, true },
        { "pkcs11:manufacturer=Acme;model=Box;serial=42", true, true, true },
        { "pkcs11:serial=43", false, true, true },
        { "pkcs11:slot-id=7", true, true, true },
        { "pkcs11:slot-id=8", false, true, true },
        { "pkcs11:slot-description=bay%201", true, true, true },
        { "pkcs11:slot-manufacturer=Other", true, false, true },
        { "pkcs11:library-description=lib;library-version=2.5", true, true, true },
        { "pkcs11:library-version=2.6", true, true, false },
        /* a value may end like the scheme does */
        { "pkcs11:object=web:;token=ca one", true, true, true },
        { "pkcs11:object=web:;token=other", false, true, true },
    };
    const CK_TOKEN_INFO info = token("ca one", "Acme", "Box", "42");
    CK_SLOT_INFO slot;
    CK_INFO library;

    (void)state;
    memset(&slot, ' ', sizeof(slot));
    memset(&library, ' ', sizeof(library));
    memcpy(slot.slotDescription, "bay 1", 5);
    memcpy(library.libraryDescription, "lib", 3);
    library.libraryVersion = (CK_VERSION){ 2, 5 };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct uri uri;
        char why[512];

        check_case(uri_parse(cases[i].text, false, &uri, why, sizeof(why)), cases[i].text);
        check_case(uri_matches_token(&uri, 7, &info) == cases[i].token, cases[i].text);
        check_case(uri_matches_slot(&uri, &slot) == cases[i].slot, cases[i].text);
        check_case(uri_matches_library(&uri, &library) == cases[i].library, cases[i].text);
        uri_clear(&uri);
    }
}

static void test_uri_format(void **state)
{
    const CK_TOKEN_INFO info = token("ca;one", "Acme", "", "42");
    char *text = uri_format(&info, CKO_PRIVATE_KEY, "\x00\xff", 2, "k\xc3\xa4y", 4);

    (void)state;
    assert_string_equal(text, "pkcs11:manufacturer=Acme;serial=42;token=ca%3Bone;id=%00%FF;"
                              "object=k%C3%A4y;type=private");
    free(text);
    text = uri_format(&info, CKO_PUBLIC_KEY, NULL, 0, NULL, 0);
    assert_string_equal(text, "pkcs11:manufacturer=Acme;serial=42;token=ca%3Bone;type=public");
    free(text);
}

/* What is written is read as the same, whatever the key is called. */
static void test_uri_format_names_like_pins(void **state)
{
    static const char *const labels[] = { "pin-source", "my pinfile", "Pin-Value of ca",
                                          "pinfile/1" };
    const CK_TOKEN_INFO info = token("pinfile", "Acme", "", "42");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(labels); i++) {
        size_t len = strlen(labels[i]);
        char *text = uri_format(&info, CKO_PRIVATE_KEY, "\x01", 1, labels[i], len);
        char why[512] = "";
        struct uri uri;

        check_case(uri_parse(text, false, &uri, why, sizeof(why)), why);
        check_case(uri_label(&uri)->ulValueLen == len, labels[i]);
        assert_memory_equal(uri_label(&uri)->pValue, labels[i], len);
        check_case(uri_matches_token(&uri, 0, &info), labels[i]);
        uri_clear(&uri);
        free(text);
    }
}

static void test_uri_shorten(void **state)
{
    static const struct {
        const char *text, *shorter;
    } cases[] = {
        { "", "" },
        { "no URI in it", "no URI in it" },
        { "cannot open pkcs11:model=SoftHSM%20v2;token=ca;id=%01;object=root;type=private: gone",
          "cannot open pkcs11:token=ca;object=root: gone" },
        { "pkcs11:id=%01%02;token=ca?pin-source=/run/pin, or", "pkcs11:token=ca;id=%01%02, or" },
        { "(cannot open pkcs11:object=a:b)", "(cannot open pkcs11:object=a:b)" },
        { "pkcs11:serial=1;type=cert", "pkcs11:serial=1;type=cert" },
        { "no pkcs11: URI, pkcs11:;", "no pkcs11: URI, pkcs11:;" },
        { "pkcs11:token=a pkcs11:object=b;id=c", "pkcs11:token=a pkcs11:object=b" },
        { "pkcs11:token;object", "pkcs11:token;object" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char out[128];

        uri_shorten(cases[i].text, out, sizeof(out));
        check_text(out, cases[i].shorter, cases[i].text);
        for (size_t size = 1; size < 40; size++) {
            memset(out, 'x', sizeof(out));
            uri_shorten(cases[i].text, out, size);
            check_case(strlen(out) < size && out[size] == 'x', cases[i].text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uri_rfc7512_examples),
        cmocka_unit_test(test_uri_shorten),
        cmocka_unit_test(test_uri_pin),
        cmocka_unit_test(test_uri_bad),
        cmocka_unit_test(test_uri_error_has_no_pin),
        cmocka_unit_test(test_uri_impossible_has_no_pin),
        cmocka_unit_test(test_uri_module_path_when_allowed),
        cmocka_unit_test(test_uri_too_long),
        cmocka_unit_test(test_uri_matches),
        cmocka_unit_test(test_uri_format),
        cmocka_unit_test(test_uri_format_names_like_pins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
