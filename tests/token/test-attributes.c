/* Objects whose attributes are odd: empty, no DER, another key's, in another encoding, too long. */
#include "harness.h"
#include "operator.h"

#include <unistd.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/store.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#ifndef CKA_PUBLIC_KEY_INFO
#define CKA_PUBLIC_KEY_INFO 0x129UL
#endif

static OSSL_LIB_CTX *plain, *libctx;
static EVP_PKEY *key;

/* What a test has put on the token. */
static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE made[16];
static size_t made_count;

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_BYTE p256[] = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 };

static int setup(void **state)
{
    (void)state;
    plain = libctx_new_plain();
    libctx = libctx_new_faulty("");
    key = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-256");
    assert_non_null(key);
    EVP_PKEY_free(key_load(libctx, "p256", "private")); /* the module is up, and logged in */
    session = operator_session(true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)p11->C_CloseSession(session);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
    return 0;
}

static int take_away(void **state)
{
    (void)state;
    while (made_count != 0)
        (void)p11->C_DestroyObject(session, made[--made_count]);
    return 0;
}

struct template
{
    CK_ATTRIBUTE list[16];
    CK_ULONG count;
};

static void add(struct template *t, CK_ATTRIBUTE_TYPE type, const void *value, size_t len)
{
    t->list[t->count++] = (CK_ATTRIBUTE){ type, (void *)(uintptr_t)value, len };
}

/* name: the label, and the CKA_ID. */
static void create(struct template *t, CK_OBJECT_CLASS class, const char *name)
{
    add(t, CKA_CLASS, &class, sizeof(class));
    add(t, CKA_TOKEN, &yes, sizeof(yes));
    add(t, CKA_PRIVATE, class == CKO_PRIVATE_KEY ? &yes : &no, sizeof(yes));
    add(t, CKA_LABEL, name, strlen(name));
    add(t, CKA_ID, name, strlen(name));
    assert_int_equal(p11->C_CreateObject(session, t->list, t->count, &made[made_count++]), CKR_OK);
}

static void add_ec(struct template *t)
{
    static CK_KEY_TYPE type = CKK_EC;

    add(t, CKA_KEY_TYPE, &type, sizeof(type));
    add(t, CKA_EC_PARAMS, p256, sizeof(p256));
}

static void put_private(const char *name, const void *spki, size_t spki_len)
{
    struct template t = { .count = 0 };
    unsigned char value[32];
    BIGNUM *bn = NULL;

    assert_int_equal(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &bn), 1);
    assert_int_equal(BN_bn2binpad(bn, value, sizeof(value)), sizeof(value));
    BN_clear_free(bn);
    add_ec(&t);
    add(&t, CKA_SIGN, &yes, sizeof(yes));
    add(&t, CKA_VALUE, value, sizeof(value));
    if (spki != NULL)
        add(&t, CKA_PUBLIC_KEY_INFO, spki, spki_len);
    create(&t, CKO_PRIVATE_KEY, name);
}

/* With the point behind these bytes, or none where it is NULL. */
static void put_public(const char *name, const char *before, size_t before_len)
{
    struct template t = { .count = 0 };
    unsigned char point[80];
    size_t len = 0;

    if (before != NULL) {
        memcpy(point, before, before_len);
        assert_int_equal(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY,
                                                         point + before_len,
                                                         sizeof(point) - before_len, &len),
                         1);
        len += before_len;
    }
    add_ec(&t);
    add(&t, CKA_EC_POINT, point, len);
    create(&t, CKO_PUBLIC_KEY, name);
}

static void put_certificate(const char *name, const void *der, size_t len)
{
    static CK_CERTIFICATE_TYPE type = CKC_X_509;
    struct template t = { .count = 0 };

    add(&t, CKA_CERTIFICATE_TYPE, &type, sizeof(type));
    add(&t, CKA_SUBJECT, name, 0);
    add(&t, CKA_VALUE, der, len);
    create(&t, CKO_CERTIFICATE, name);
}

static void assert_no_error(void)
{
    if (ERR_peek_error() == 0)
        return;
    ERR_print_errors_fp(stdout);
    fail();
}

/* What is loaded works, and leaves nothing on the error stack, which programs look at. */
static void assert_works(const char *name)
{
    char uri[100];
    EVP_PKEY *loaded;

    snprintf(uri, sizeof(uri), "pkcs11:token=soft;object=%s;type=private", name);
    ERR_clear_error();
    loaded = key_load_uri(libctx, uri);
    assert_no_error();
    assert_non_null(loaded);
    assert_true(key_signs(libctx, loaded));
    assert_no_error();
    assert_int_equal(EVP_PKEY_eq(loaded, key), 1);
    fault("C_SignInit 1 1 CKR_KEY_HANDLE_INVALID"); /* the key is found and read again */
    ERR_clear_error();
    assert_true(key_signs(libctx, loaded));
    fault("");
    assert_no_error();
    EVP_PKEY_free(loaded);
}

static void assert_refused(const char *uri, const char *text)
{
    char error[1200];

    ERR_clear_error();
    assert_null(key_load_uri(libctx, uri));
    (void)last_error(error, sizeof(error));
    if (strstr(error, text) == NULL)
        fail_msg("%s: \"%s\"", uri, error);
}

/* CKA_PUBLIC_KEY_INFO that is none, or another key's type: the public half is looked for further.
 */
static void test_attributes_public_key_info(void **state)
{
    EVP_PKEY *rsa = EVP_PKEY_Q_keygen(plain, NULL, "RSA", (size_t)1024);
    unsigned char *other = NULL;
    int len = i2d_PUBKEY(rsa, &other);

    (void)state;
    put_private("no-spki", "\x30\x03junk", 6);
    put_public("no-spki", "\x04\x41", 2);
    assert_works("no-spki");
    put_private("cut-spki", other, (size_t)len / 2);
    put_public("cut-spki", "\x04\x41", 2);
    assert_works("cut-spki");
    put_private("other-spki", other, (size_t)len);
    put_public("other-spki", "\x04\x41", 2);
    assert_works("other-spki");
    OPENSSL_free(other);
    EVP_PKEY_free(rsa);
}

static void add_bn(struct template *t, CK_ATTRIBUTE_TYPE type, EVP_PKEY *rsa, const char *name,
                   unsigned char *buf)
{
    BIGNUM *bn = NULL;

    assert_int_equal(EVP_PKEY_get_bn_param(rsa, name, &bn), 1);
    add(t, type, buf, (size_t)BN_bn2bin(bn, buf));
    BN_clear_free(bn);
}

/* One that is another key's of the same type: the modulus is what the token signs with. */
static void test_attributes_public_key_info_of_another(void **state)
{
    EVP_PKEY *rsa = EVP_PKEY_Q_keygen(plain, NULL, "RSA", (size_t)1024);
    EVP_PKEY *other = EVP_PKEY_Q_keygen(plain, NULL, "RSA", (size_t)1024), *loaded;
    unsigned char values[RSA_NUMBERS][128], *spki = NULL;
    CK_KEY_TYPE type = CKK_RSA;
    struct template t = { .count = 0 };

    (void)state;
    add(&t, CKA_KEY_TYPE, &type, sizeof(type));
    add(&t, CKA_SIGN, &yes, sizeof(yes));
    add(&t, CKA_PUBLIC_KEY_INFO, NULL, (size_t)i2d_PUBKEY(other, &spki));
    t.list[t.count - 1].pValue = spki;
    for (size_t i = 0; i < RSA_NUMBERS; i++)
        add_bn(&t, rsa_numbers[i].type, rsa, rsa_numbers[i].name, values[i]);
    create(&t, CKO_PRIVATE_KEY, "rsa-spki");
    loaded = key_load_uri(libctx, "pkcs11:token=soft;object=rsa-spki;type=private");
    assert_non_null(loaded);
    assert_int_equal(EVP_PKEY_eq(loaded, rsa), 1);
    EVP_PKEY_free(loaded);
    EVP_PKEY_free(other);
    EVP_PKEY_free(rsa);
    OPENSSL_free(spki);
}

static void test_attributes_points(void **state)
{
    (void)state;
    put_private("octets", NULL, 0);
    put_public("octets", "\x04\x41", 2);
    assert_works("octets");
    put_private("bare", NULL, 0);
    put_public("bare", "", 0);
    assert_works("bare");
    put_private("bits", NULL, 0);
    put_public("bits", "\x03\x42\x00", 3);
    assert_works("bits");
}

/* What is empty, or not a point: the error says of which object. */
static void test_attributes_no_point(void **state)
{
    (void)state;
    put_private("empty", NULL, 0);
    put_public("empty", NULL, 0);
    assert_refused("pkcs11:token=soft;object=empty;type=private",
                   "the public key object that goes with it");
    assert_refused("pkcs11:token=soft;object=empty;type=public",
                   "the public key object that goes with it");
    put_private("longer", NULL, 0);
    put_public("longer", "\x04\x42\x04", 3);
    assert_refused("pkcs11:token=soft;object=longer;type=private",
                   "the public key object that goes with it");
}

/* The DER of a certificate with an extension of len bytes. */
static unsigned char *certificate(size_t len, int *der_len)
{
    X509 *x509 = X509_new_ex(plain, NULL);
    ASN1_OCTET_STRING *data = ASN1_OCTET_STRING_new();
    unsigned char *filler = OPENSSL_zalloc(len), *der = NULL;
    X509_EXTENSION *extension;

    assert_int_equal(ASN1_OCTET_STRING_set(data, filler, (int)len), 1);
    extension = X509_EXTENSION_create_by_NID(NULL, NID_netscape_comment, 0, data);
    assert_int_equal(X509_add_ext(x509, extension, -1), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), 0);
    X509_gmtime_adj(X509_getm_notAfter(x509), 1000);
    assert_int_equal(X509_set_pubkey(x509, key), 1);
    assert_true(X509_sign(x509, key, EVP_sha256()) > 0);
    *der_len = i2d_X509(x509, &der);
    assert_true(*der_len > 0);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(data);
    OPENSSL_free(filler);
    X509_free(x509);
    return der;
}

/* The certificates of the token, to the end; error: what was said last of those that are none. */
static unsigned certificates(const char *uri, char *error, size_t size)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    unsigned count = 0;

    ERR_clear_error();
    assert_non_null(store);
    while (!OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        count += info != NULL && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_CERT;
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    (void)last_error(error, size);
    return count;
}

/* The same of the URI in a PEM file, as docs/configuration.md has it. */
static unsigned certificates_of_pem(const char *uri, char *error, size_t size)
{
    static const char before[] = "\x1a\x19PKCS#11 Provider URI v1.0\x0c";
    char path[] = "/tmp/bridge-pem-XXXXXX";
    unsigned char der[128] = "\x30";
    size_t len = sizeof(before) + strlen(uri);
    FILE *file = fdopen(mkstemp(path), "w");
    unsigned count;

    assert_true(len < 126);
    der[1] = (unsigned char)len;
    memcpy(der + 2, before, sizeof(before) - 1);
    der[1 + sizeof(before)] = (unsigned char)strlen(uri);
    memcpy(der + 2 + sizeof(before), uri, strlen(uri));
    assert_true(PEM_write(file, "PKCS#11 PROVIDER URI", "", der, (long)len + 2) > 0);
    fclose(file);
    count = certificates(path, error, size);
    unlink(path);
    return count;
}

static void test_attributes_certificates(void **state)
{
    static unsigned char zeros[65536];
    char error[1200];
    int len, long_len;
    unsigned char *der = certificate(10, &len), *long_der = certificate(64000, &long_len);

    (void)state;
    put_certificate("whole", der, (size_t)len);
    put_certificate("cut", der, (size_t)len - 1);
    put_certificate("zeros", zeros, sizeof(zeros));
    put_certificate("none", zeros, 0);
    put_certificate("long", long_der, (size_t)long_len);
    put_certificate("last", der, (size_t)len);
    assert_int_equal(certificates("pkcs11:token=soft;type=cert", error, sizeof(error)), 3);
    assert_int_equal(certificates("pkcs11:token=soft;object=cut;type=cert", error, sizeof(error)),
                     0);
    assert_non_null(strstr(error, "object=cut"));
    assert_non_null(strstr(error, "on the token 'soft' (CKA_VALUE, "));
    assert_int_equal(certificates("pkcs11:token=soft;object=zeros;type=cert", error, sizeof(error)),
                     0);
    assert_non_null(strstr(error, "65536 bytes) is none in DER"));
    assert_int_equal(certificates("pkcs11:token=soft;object=none;type=cert", error, sizeof(error)),
                     0);
    assert_non_null(strstr(error, "without CKA_VALUE"));
    assert_int_equal(
        certificates_of_pem("pkcs11:token=soft;object=long;type=cert", error, sizeof(error)), 1);
    assert_int_equal(
        certificates_of_pem("pkcs11:token=soft;object=cut;type=cert", error, sizeof(error)), 0);
    assert_non_null(strstr(error, "is none in DER"));
    OPENSSL_free(der);
    OPENSSL_free(long_der);
}

/* libcrypto drops the whole text of an error that is too long for it. */
static void test_attributes_long_names(void **state)
{
    static char uri[8000] = "pkcs11:token=soft;object=";
    static const size_t lengths[] = { 300, 700, 1000, 2000, 7000 };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        size_t before = strlen("pkcs11:token=soft;object=");

        memset(uri + before, 'x', lengths[i]);
        uri[before + lengths[i]] = '\0';
        assert_refused(uri, "matches pkcs11:token=soft;object=xxx");
        assert_refused(uri, "on the token 'soft': openssl storeutl -noout -text");
    }
}

/* A library that is another than the URI names is not a module without tokens. */
static void test_attributes_library(void **state)
{
    (void)state;
    assert_refused("pkcs11:library-description=nobody;object=p256",
                   "is another library than the URI names");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_attributes_public_key_info, take_away),
        cmocka_unit_test_teardown(test_attributes_public_key_info_of_another, take_away),
        cmocka_unit_test_teardown(test_attributes_points, take_away),
        cmocka_unit_test_teardown(test_attributes_no_point, take_away),
        cmocka_unit_test_teardown(test_attributes_certificates, take_away),
        cmocka_unit_test(test_attributes_long_names),
        cmocka_unit_test(test_attributes_library),
    };

    operator_open();
    return cmocka_run_group_tests(tests, setup, teardown);
}
