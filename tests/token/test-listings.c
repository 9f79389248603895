/* Listings: all that is there is found, with one search for each class and one call to read each
 * object, whatever happens meanwhile. */
#include "harness.h"
#include "operator.h"

#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/store.h>
#include <openssl/x509.h>

/* More than were found once. An object of SoftHSM is a file, which takes its time to make. */
#define MANY 70
#define KEYS 20

static OSSL_LIB_CTX *plain;

/* What a test has put on the token. */
static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE made[2 * MANY];
static size_t made_count;

static int teardown(void **state)
{
    (void)state;
    fault("");
    while (made_count != 0)
        (void)p11->C_DestroyObject(session, made[--made_count]);
    return 0;
}

static void create(CK_ATTRIBUTE *list, CK_ULONG count)
{
    assert_int_equal(p11->C_CreateObject(session, list, count, &made[made_count++]), CKR_OK);
}

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

/* The names of object n, "list-7": its CKA_ID and CKA_LABEL. */
struct names {
    char text[32];
    CK_ULONG len;
};

static struct names names_of(const char *prefix, unsigned n)
{
    struct names names;

    names.len = (CK_ULONG)snprintf(names.text, sizeof(names.text), "%s-%u", prefix, n);
    return names;
}

static void put_certificate(EVP_PKEY *key, const char *prefix, unsigned n)
{
    static unsigned char der[2000];
    CK_OBJECT_CLASS class = CKO_CERTIFICATE;
    CK_CERTIFICATE_TYPE type = CKC_X_509;
    struct names names = names_of(prefix, n);
    unsigned char *position = der;
    X509 *certificate = X509_new_ex(plain, NULL);
    int len;

    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 1000);
    assert_int_equal(X509_set_pubkey(certificate, key), 1);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    len = i2d_X509(certificate, &position);
    assert_true(len > 0);
    {
        CK_ATTRIBUTE list[] = {
            { CKA_CLASS, &class, sizeof(class) }, { CKA_TOKEN, &yes, sizeof(yes) },
            { CKA_PRIVATE, &no, sizeof(no) },     { CKA_CERTIFICATE_TYPE, &type, sizeof(type) },
            { CKA_ID, names.text, names.len },    { CKA_LABEL, names.text, names.len },
            { CKA_SUBJECT, names.text, 0 },       { CKA_VALUE, der, (CK_ULONG)len }
        };

        create(list, COUNT_OF(list));
    }
    X509_free(certificate);
}

static CK_BYTE p256[] = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 };

/* with_id: what tells the two halves to belong together; else it is the label. */
static void put_private(EVP_PKEY *key, const char *prefix, unsigned n, bool with_id)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_KEY_TYPE type = CKK_EC;
    struct names names = names_of(prefix, n);
    unsigned char value[32];
    BIGNUM *bn = NULL;
    CK_ATTRIBUTE list[] = {
        { CKA_CLASS, &class, sizeof(class) }, { CKA_KEY_TYPE, &type, sizeof(type) },
        { CKA_TOKEN, &yes, sizeof(yes) },     { CKA_PRIVATE, &yes, sizeof(yes) },
        { CKA_SIGN, &yes, sizeof(yes) },      { CKA_EC_PARAMS, p256, sizeof(p256) },
        { CKA_VALUE, value, sizeof(value) },  { CKA_LABEL, names.text, names.len },
        { CKA_ID, names.text, names.len }
    };

    assert_int_equal(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &bn), 1);
    assert_int_equal(BN_bn2binpad(bn, value, sizeof(value)), sizeof(value));
    BN_clear_free(bn);
    create(list, COUNT_OF(list) - !with_id);
}

static void put_public(EVP_PKEY *key, const char *prefix, unsigned n, bool with_id)
{
    CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
    CK_KEY_TYPE type = CKK_EC;
    struct names names = names_of(prefix, n);
    unsigned char point[67] = { 4, 65 };
    size_t len = 0;
    CK_ATTRIBUTE list[] = {
        { CKA_CLASS, &class, sizeof(class) },  { CKA_KEY_TYPE, &type, sizeof(type) },
        { CKA_TOKEN, &yes, sizeof(yes) },      { CKA_PRIVATE, &no, sizeof(no) },
        { CKA_EC_PARAMS, p256, sizeof(p256) }, { CKA_EC_POINT, point, sizeof(point) },
        { CKA_LABEL, names.text, names.len },  { CKA_ID, names.text, names.len }
    };

    assert_int_equal(
        EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point + 2, 65, &len), 1);
    create(list, COUNT_OF(list) - !with_id);
}

static EVP_PKEY *ec(void)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-256");

    assert_non_null(key);
    return key;
}

/* What a listing gave. */
struct listing {
    unsigned keys, public, certificates;
    unsigned right; /* of keys: those whose public half is one of ours, as many times */
    char error[1024];
};

static struct listing list(OSSL_LIB_CTX *libctx, const char *uri, EVP_PKEY *const *ours,
                           size_t count)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    struct listing listing = { 0 };

    ERR_clear_error();
    while (store != NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        int type = info != NULL ? OSSL_STORE_INFO_get_type(info) : 0;

        listing.keys += type == OSSL_STORE_INFO_PKEY;
        listing.public += type == OSSL_STORE_INFO_PUBKEY;
        listing.certificates += type == OSSL_STORE_INFO_CERT;
        for (size_t i = 0; type == OSSL_STORE_INFO_PKEY && i < count; i++)
            listing.right += EVP_PKEY_eq(OSSL_STORE_INFO_get0_PKEY(info), ours[i]) == 1;
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    (void)last_error(listing.error, sizeof(listing.error));
    return listing;
}

/* A library context that is logged in, and knows the token. */
static OSSL_LIB_CTX *begin(const char *settings)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty(settings);

    EVP_PKEY_free(key_load(libctx, "p256", "private"));
    session = operator_session(true);
    return libctx;
}

static void end(OSSL_LIB_CTX *libctx)
{
    (void)teardown(NULL);
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    OSSL_LIB_CTX_free(libctx);
}

static void check_calls(unsigned long searches, unsigned long reads)
{
    if (calls("C_FindObjectsInit") > searches || calls("C_GetAttributeValue") > reads)
        fail_msg("%lu searches and %lu reads, and not %lu and %lu", calls("C_FindObjectsInit"),
                 calls("C_GetAttributeValue"), searches, reads);
}

/* The token has 12 keys of its own, 4 of them RSA. */
#define OWN 12

static void test_listings_of_certificates(void **state)
{
    OSSL_LIB_CTX *libctx = begin("");
    EVP_PKEY *key = ec();

    (void)state;
    for (unsigned n = 0; n < MANY; n++)
        put_certificate(key, "list", n);
    calls_reset();
    assert_int_equal(list(libctx, "pkcs11:token=soft;type=cert", NULL, 0).certificates, MANY);
    check_calls(1, MANY);
    EVP_PKEY_free(key);
    end(libctx);
}

/* Each key's halves are read once, and searched for together, but for that of the first. */
static void test_listings_of_keys(void **state)
{
    static const struct {
        const char *uri;
        bool with_id, public, certificates;
        unsigned keys, publics, certs;
        unsigned long searches, reads;
    } cases[] = {
        { "pkcs11:token=soft;type=private", true, true, false, KEYS + OWN, 0, 0, 1 + 1 + 1,
          2 * (KEYS + OWN) + 1 },
        { "pkcs11:token=soft;type=private", false, true, false, KEYS + OWN, 0, 0, 1 + 1 + 1,
          2 * (KEYS + OWN) + 1 },
        /* by certificates: both are looked through */
        { "pkcs11:token=soft;type=private", true, false, true, KEYS + OWN, 0, 0, 1 + 2 + 2,
          2 * (KEYS + OWN) + 2 },
        /* what was found and read for the private keys is not again; secret keys are looked for */
        { "pkcs11:token=soft", true, true, true, KEYS + OWN, KEYS + OWN, KEYS, 3 + 1 + 1,
          2 * (KEYS + OWN) + KEYS + 1 },
        { "pkcs11:token=soft", true, false, true, KEYS + OWN, OWN, KEYS, 2 + 2 + 2,
          2 * OWN + 2 * KEYS + 2 },
        { "pkcs11:token=soft;type=public", true, true, false, 0, KEYS + OWN, 0, 1 + 1 + 1,
          2 * (KEYS + OWN) + 1 },
    };

    (void)state;
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        OSSL_LIB_CTX *libctx = begin("");
        EVP_PKEY *ours[KEYS];
        struct listing listing;

        for (unsigned n = 0; n < KEYS; n++) {
            ours[n] = ec();
            put_private(ours[n], "list", n, cases[c].with_id);
            if (cases[c].public)
                put_public(ours[n], "list", n, cases[c].with_id);
            if (cases[c].certificates)
                put_certificate(ours[n], "list", n);
        }
        printf("case %zu\n", c);
        calls_reset();
        listing = list(libctx, cases[c].uri, ours, KEYS);
        assert_int_equal(listing.keys, cases[c].keys);
        assert_int_equal(listing.public, cases[c].publics);
        assert_int_equal(listing.certificates, cases[c].certs);
        assert_int_equal(listing.right, cases[c].keys != 0 ? KEYS : 0);
        assert_string_equal(listing.error, "");
        check_calls(cases[c].searches, cases[c].reads);
        for (unsigned n = 0; n < KEYS; n++)
            EVP_PKEY_free(ours[n]);
        end(libctx);
    }
}

/* Who takes the first key of a token does not pay for the others. */
static void test_listings_first_key(void **state)
{
    OSSL_LIB_CTX *libctx = begin("");
    EVP_PKEY *key = ec(), *first;

    (void)state;
    for (unsigned n = 0; n < KEYS; n++) {
        put_private(key, "list", n, true);
        put_public(key, "list", n, true);
    }
    calls_reset();
    first = key_load_uri(libctx, "pkcs11:token=soft");
    assert_non_null(first);
    assert_true(calls("C_GetAttributeValue") <= 2);
    EVP_PKEY_free(first);
    EVP_PKEY_free(key);
    end(libctx);
}

/* The token loses its sessions, its login or its handles in the middle, at every call for a time:
 * all is found. */
static void test_listings_outlive_faults(void **state)
{
    static const char *const effects[] = { "- drop-sessions", "- logout", "CKR_DEVICE_ERROR",
                                           "CKR_OBJECT_HANDLE_INVALID",
                                           "CKR_SESSION_HANDLE_INVALID" };
    static const unsigned at[] = { 1, 2, 3, 4, 5, 7, 11, 30, 60 };
    OSSL_LIB_CTX *libctx = begin("pkcs11-log = none\n");
    EVP_PKEY *ours[5];

    (void)state;
    for (unsigned n = 0; n < COUNT_OF(ours); n++) {
        ours[n] = ec();
        put_private(ours[n], "list", n, true);
        put_public(ours[n], "list", n, true);
    }
    for (size_t e = 0; e < COUNT_OF(effects); e++)
        for (size_t i = 0; i < COUNT_OF(at); i++) {
            struct listing listing;
            char rule[128];

            snprintf(rule, sizeof(rule), "C_GetAttributeValue %u 1 %s", at[i], effects[e]);
            fault(rule);
            listing = list(libctx, "pkcs11:token=soft", ours, COUNT_OF(ours));
            fault("");
            if (listing.keys != OWN + COUNT_OF(ours) || listing.public != OWN + COUNT_OF(ours) ||
                listing.right != COUNT_OF(ours))
                fail_msg("%s: %u keys, %u of ours, %u public: %s", rule, listing.keys,
                         listing.right, listing.public, listing.error);
            session = operator_session(true); /* it was closed with the others */
        }
    for (unsigned n = 0; n < COUNT_OF(ours); n++) {
        char label[16];

        snprintf(label, sizeof(label), "list-%u", n);
        operator_destroy(session, label);
        EVP_PKEY_free(ours[n]);
    }
    made_count = 0;
    end(libctx);
}

static void destroy_two(void)
{
    for (unsigned n = 10; n < 12; n++) {
        char label[16];

        snprintf(label, sizeof(label), "list-%u", n);
        operator_destroy(session, label);
    }
}

/* What is deleted between the search and the call that reads it is not there, and hides nothing. */
static void test_listings_of_what_goes(void **state)
{
    static const unsigned at[] = { 1, 3, 5, 20 };
    OSSL_LIB_CTX *libctx = begin("pkcs11-log = none\n");
    EVP_PKEY *key = ec();

    (void)state;
    fault_callback(destroy_two);
    for (size_t i = 0; i < COUNT_OF(at); i++) {
        struct listing listing;
        char rule[64];

        for (unsigned n = 0; n < 20; n++) {
            put_private(key, "list", n, true);
            put_public(key, "list", n, true);
        }
        snprintf(rule, sizeof(rule), "C_GetAttributeValue %u 1 - callback", at[i]);
        fault(rule);
        listing = list(libctx, "pkcs11:token=soft", &key, 1);
        fault("");
        if (listing.right < 18 || listing.right > 20 || listing.public < OWN + 18)
            fail_msg("%s: %u keys, %u public: %s", rule, listing.right, listing.public,
                     listing.error);
        (void)teardown(NULL);
    }
    EVP_PKEY_free(key);
    end(libctx);
}

/* Two pairs with one CKA_ID: each has its own half, also when it comes from the index. */
static void test_listings_of_one_id(void **state)
{
    OSSL_LIB_CTX *libctx = begin("");
    EVP_PKEY *ours[2] = { ec(), ec() }, *others = ec();
    struct listing listing;

    (void)state;
    for (unsigned n = 0; n < 10; n++) {
        put_private(others, "other", n, true);
        put_public(others, "other", n, true);
    }
    for (unsigned n = 0; n < 2; n++) {
        put_private(ours[n], "twin", 0, true);
        put_public(ours[1 - n], "twin", 0, true);
    }
    put_public(ours[0], "twin", 0, true);
    listing = list(libctx, "pkcs11:token=soft", ours, 2);
    assert_int_equal(listing.right, 2);
    assert_int_equal(listing.keys, OWN + 12);
    for (unsigned n = 0; n < 2; n++)
        EVP_PKEY_free(ours[n]);
    EVP_PKEY_free(others);
    end(libctx);
}

/* More public keys of one CKA_ID than are compared: an error, and not another's key. */
static void test_listings_of_a_crowd(void **state)
{
    OSSL_LIB_CTX *libctx = begin("");
    EVP_PKEY *key = ec();
    char error[1024];

    (void)state;
    for (unsigned n = 0; n < MANY; n++) {
        EVP_PKEY *other = ec();

        put_public(other, "crowd", 0, true);
        EVP_PKEY_free(other);
    }
    put_private(key, "crowd", 0, true);
    ERR_clear_error();
    assert_null(key_load_uri(libctx, "pkcs11:token=soft;object=crowd-0;type=private"));
    assert_non_null(strstr(last_error(error, sizeof(error)), "so many public keys"));
    EVP_PKEY_free(key);
    end(libctx);
}

/* A search that never ends is an error that says so, and so is one that goes round in circles. */
static void test_listings_without_end(void **state)
{
    static const struct {
        const char *kind, *says;
    } cases[] = { { "new", "C_FindObjects gave more than" }, { "same", "twice in one search" } };
    OSSL_LIB_CTX *libctx = begin("");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char rule[64];
        struct listing listing;

        snprintf(rule, sizeof(rule), "C_FindObjects 1 * - endless=%s", cases[i].kind);
        fault(rule);
        listing = list(libctx, "pkcs11:token=soft;type=cert", NULL, 0);
        fault("");
        if (strstr(listing.error, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].kind, listing.error);
    }
    assert_int_equal(list(libctx, "pkcs11:token=soft;type=public", NULL, 0).public, OWN);
    end(libctx);
}

/* A module that gives fewer objects than it has and is asked for. */
static void test_listings_in_small_pieces(void **state)
{
    OSSL_LIB_CTX *libctx = begin("");

    (void)state;
    fault("C_FindObjects 1 * - pieces=5"); /* as a search that takes several calls */
    assert_int_equal(list(libctx, "pkcs11:token=soft;type=private", NULL, 0).keys, OWN);
    end(libctx);
}

/* The key that is used is found again among more than 64 of its CKA_ID and label. */
static void test_listings_find_again(void **state)
{
    OSSL_LIB_CTX *libctx = begin("pkcs11-log = none\npkcs11-module-cache-keys = false\n");
    EVP_PKEY *key = key_load(libctx, "rsa2048", "private");
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_KEY_TYPE type = CKK_RSA;
    CK_BYTE id = 2, number[128], exponent[] = { 1, 0, 1 };
    CK_ATTRIBUTE list[] = { { CKA_CLASS, &class, sizeof(class) },
                            { CKA_KEY_TYPE, &type, sizeof(type) },
                            { CKA_TOKEN, &yes, sizeof(yes) },
                            { CKA_PRIVATE, &yes, sizeof(yes) },
                            { CKA_ID, &id, 1 },
                            { CKA_LABEL, (void *)(uintptr_t) "rsa2048", 7 },
                            { CKA_MODULUS, number, sizeof(number) },
                            { CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent) },
                            { CKA_PRIVATE_EXPONENT, number, sizeof(number) } };

    (void)state;
    assert_true(key_signs(libctx, key));
    memset(number, 0x5b, sizeof(number));
    for (unsigned n = 0; n < MANY; n++)
        create(list, COUNT_OF(list));
    for (unsigned n = 0; n < 3; n++) {
        fault("C_SignInit 1 1 CKR_KEY_HANDLE_INVALID");
        assert_true(key_signs(libctx, key));
    }
    EVP_PKEY_free(key);
    end(libctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_listings_of_certificates, teardown),
        cmocka_unit_test_teardown(test_listings_of_keys, teardown),
        cmocka_unit_test_teardown(test_listings_first_key, teardown),
        cmocka_unit_test_teardown(test_listings_outlive_faults, teardown),
        cmocka_unit_test_teardown(test_listings_of_what_goes, teardown),
        cmocka_unit_test_teardown(test_listings_of_one_id, teardown),
        cmocka_unit_test_teardown(test_listings_of_a_crowd, teardown),
        cmocka_unit_test_teardown(test_listings_without_end, teardown),
        cmocka_unit_test_teardown(test_listings_in_small_pieces, teardown),
        cmocka_unit_test_teardown(test_listings_find_again, teardown),
    };
    int failed;

    operator_open();
    plain = libctx_new_plain();
    limit(300);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    OSSL_LIB_CTX_free(plain);
    return failed;
}
