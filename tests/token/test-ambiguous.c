/* A private key that is wanted by a URI which does not tell it from others: its use is an error
 * that lists them; and what is a listing stays one. */
#include "harness.h"
#include "operator.h"

#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/store.h>

static OSSL_LIB_CTX *plain;

/* The token has so many private keys of its own. */
#define OWN 12

/* The first object of a URI, with a private key expected, as programs take it that want one key. */
static EVP_PKEY *take(OSSL_LIB_CTX *libctx, const char *uri)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    OSSL_STORE_INFO *info;
    EVP_PKEY *key;

    ERR_clear_error();
    assert_non_null(store);
    assert_int_equal(OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY), 1);
    info = OSSL_STORE_load(store);
    assert_non_null(info);
    key = OSSL_STORE_INFO_get1_PKEY(info);
    OSSL_STORE_INFO_free(info);
    assert_int_equal(OSSL_STORE_close(store), 1);
    assert_non_null(key);
    return key;
}

/* Which of the token's keys is the first is SoftHSM's choice: uses that its type does not have are
 * replaced by one that it has. */
static bool is_edwards(EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "ED25519");
}

/* Uses of a key that fail with an error, each of which programs begin with. */
static bool use_sign(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const char *digest = is_edwards(key) ? NULL : "SHA256";
    unsigned char sig[1024];
    size_t len = sizeof(sig);
    bool ok = EVP_DigestSignInit_ex(ctx, NULL, digest, libctx, NULL, key, NULL) == 1 &&
              EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"message", 7) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool use_copy(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    EVP_PKEY *copy = EVP_PKEY_dup(key);
    bool ok = copy != NULL && use_sign(libctx, copy);

    EVP_PKEY_free(copy);
    return ok;
}

static bool use_context(OSSL_LIB_CTX *libctx, EVP_PKEY *key, int (*init)(EVP_PKEY_CTX *))
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    bool ok = ctx != NULL && init(ctx) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool use_sign_digest(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    return is_edwards(key) ? use_sign(libctx, key) : use_context(libctx, key, EVP_PKEY_sign_init);
}

/* What the type of key is for beside signatures. */
static bool use_other(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    if (is_edwards(key))
        return use_sign(libctx, key);
    return use_context(libctx, key,
                       EVP_PKEY_is_a(key, "RSA") ? EVP_PKEY_decrypt_init : EVP_PKEY_derive_init);
}

static bool use_verify(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const char *digest = is_edwards(key) ? NULL : "SHA256";
    bool ok = EVP_DigestVerifyInit_ex(ctx, NULL, digest, libctx, NULL, key, NULL) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool use_check(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    return use_context(libctx, key, EVP_PKEY_check);
}

static bool use_encrypt(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "RSA") ? use_context(libctx, key, EVP_PKEY_encrypt_init)
                                     : use_verify(libctx, key);
}

static bool write_key(EVP_PKEY *key, int (*write)(BIO *, EVP_PKEY *))
{
    BIO *out = BIO_new(BIO_s_mem());
    bool ok = write(out, key) == 1;

    BIO_free(out);
    return ok;
}

static int write_private(BIO *out, EVP_PKEY *key)
{
    return PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL);
}

static int write_public(BIO *out, EVP_PKEY *key)
{
    return PEM_write_bio_PUBKEY(out, key);
}

static int write_text(BIO *out, EVP_PKEY *key)
{
    return EVP_PKEY_print_private(out, key, 0, NULL);
}

static bool use_private_pem(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    (void)libctx;
    return write_key(key, write_private);
}

static bool use_public_pem(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    (void)libctx;
    return write_key(key, write_public);
}

static bool use_text(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    (void)libctx;
    return write_key(key, write_text);
}

/* A key of the same type that everybody can tell. */
static EVP_PKEY *other_key(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    const char *label = EVP_PKEY_is_a(key, "RSA") ? "rsa2048"
                        : is_edwards(key)         ? "ed25519"
                                                  : "p256";

    return key_load(libctx, label, "private");
}

/* As TLS servers see whether the key is the certificate's. */
static bool use_compare(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    EVP_PKEY *other = other_key(libctx, key), *certified = key_public_copy(other, plain);
    bool ok;

    ERR_clear_error();
    (void)EVP_PKEY_eq(certified, key);
    ok = ERR_peek_error() == 0;
    EVP_PKEY_free(certified);
    EVP_PKEY_free(other);
    return ok;
}

/* With another key of the provider, in either order. */
static bool compare_on_token(OSSL_LIB_CTX *libctx, EVP_PKEY *key, bool first)
{
    EVP_PKEY *other = other_key(libctx, key);
    bool ok;

    ERR_clear_error();
    (void)(first ? EVP_PKEY_eq(key, other) : EVP_PKEY_eq(other, key));
    ok = ERR_peek_error() == 0;
    EVP_PKEY_free(other);
    return ok;
}

static bool use_compare_first(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    return compare_on_token(libctx, key, true);
}

static bool use_compare_second(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    return compare_on_token(libctx, key, false);
}

/* The key is the peer of another. */
static bool use_peer(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    EVP_PKEY *other = key_load(libctx, "p256", "private");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, other, NULL);
    bool ok;

    ERR_clear_error();
    ok = EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer_ex(ctx, key, 0) == 1;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(other);
    return ok;
}

static bool use_peer_if_possible(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    char group[32] = "";

    (void)EVP_PKEY_get_group_name(key, group, sizeof(group), NULL);
    return strcmp(group, "prime256v1") == 0 ? use_peer(libctx, key) : use_verify(libctx, key);
}

static bool use_values(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    OSSL_PARAM *values = NULL;
    bool ok = EVP_PKEY_todata(key, EVP_PKEY_PUBLIC_KEY, &values) == 1;

    (void)libctx;
    OSSL_PARAM_free(values);
    return ok;
}

static const struct use {
    bool (*works)(OSSL_LIB_CTX *libctx, EVP_PKEY *key);
    bool private;
    const char *name;
} uses[] = {
    { use_sign, true, "sign" },
    { use_copy, true, "sign with a copy" },
    { use_sign_digest, true, "sign a digest" },
    { use_other, true, "decrypt or derive" },
    { use_verify, false, "verify" },
    { use_encrypt, false, "encrypt" },
    { use_check, false, "check" },
    { use_private_pem, false, "write the URI" },
    { use_public_pem, false, "write the public half" },
    { use_text, false, "print" },
    { use_compare, false, "compare" },
    { use_compare_first, false, "compare with one on the token" },
    { use_compare_second, false, "compare one on the token with it" },
    { use_peer_if_possible, false, "agree with it" },
    { use_values, false, "export" },
};

static void check_error(const char *uri, const char *what, const char *const *says)
{
    char error[1100];

    (void)last_error(error, sizeof(error));
    for (; *says != NULL; says++)
        if (strstr(error, *says) == NULL)
            fail_msg("%s: %s: \"%s\" is not in \"%s\"", uri, what, *says, error);
}

/* says: what the error has in it, whatever the key is used for; NULL: there is none. */
static void check(OSSL_LIB_CTX *libctx, const char *uri, const char *const *says)
{
    EVP_PKEY *key = take(libctx, uri);

    if (says == NULL)
        assert_true(use_sign(libctx, key));
    for (size_t i = 0; says != NULL && i < COUNT_OF(uses); i++) {
        ERR_clear_error();
        if (uses[i].works(libctx, key))
            fail_msg("%s: %s", uri, uses[i].name);
        check_error(uri, uses[i].name, says);
    }
    EVP_PKEY_free(key);
}

/* The keys are listed by what tells them apart, ten of them. */
static void test_ambiguous_keys(void **state)
{
    static const char *const says[] = { "cannot tell which private key pkcs11:token=soft",
                                        "pkcs11:token=soft;id=%0",
                                        ";object=",
                                        ", pkcs11:token=soft;id=%0",
                                        " and others",
                                        "object= or id=",
                                        "openssl storeutl lists them",
                                        "pkcs11-ambiguous = first",
                                        NULL };
    static const char *const uris[] = { "pkcs11:token=soft", "pkcs11:token=soft;type=private",
                                        "pkcs11:" };
    OSSL_LIB_CTX *libctx = libctx_new(""), *first = libctx_new("pkcs11-ambiguous = first\n");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(uris); i++) {
        check(libctx, uris[i], i < 2 ? says : says + 1);
        check(first, uris[i], NULL);
    }
    check(libctx, "pkcs11:token=soft;object=p256", NULL);
    check(libctx, "pkcs11:token=soft;id=%05", NULL);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(first);
}

/* Where nothing is expected, it is a listing, whose first object is the first key. */
static void test_ambiguous_listing(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *key = key_load_uri(libctx, "pkcs11:token=soft;type=private");

    (void)state;
    assert_true(use_sign(libctx, key));
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* All private keys of a URI where a program asks for one after the other, and for private keys
 * alone; the first has been looked at before the second was asked for. Those that sign are counted.
 */
static unsigned list_all(OSSL_LIB_CTX *libctx, const char *uri, const char *const *says)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    EVP_PKEY *keys[20];
    unsigned count = 0, signing = 0;

    assert_int_equal(OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY), 1);
    while (!OSSL_STORE_eof(store) && count < COUNT_OF(keys)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info == NULL)
            continue;
        keys[count++] = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
        for (size_t i = 0; i < COUNT_OF(uses) && count == 1; i++) {
            ERR_clear_error();
            if (uses[i].works(libctx, keys[0]) == uses[i].private)
                fail_msg("%s: the first: %s", uri, uses[i].name);
            if (uses[i].private)
                check_error(uri, uses[i].name, says);
        }
    }
    OSSL_STORE_close(store);
    for (unsigned i = 0; i < count; i++) {
        signing += use_sign(libctx, keys[i]);
        EVP_PKEY_free(keys[i]);
    }
    assert_int_equal(signing, count);
    return count;
}

/* What lists private keys alone, as openssl storeutl -keys does. */
static void test_ambiguous_listing_of_keys(void **state)
{
    static const char *const says[] = { "cannot tell which private key", "fits several", NULL };
    OSSL_LIB_CTX *libctx = libctx_new("");

    (void)state;
    assert_int_equal(list_all(libctx, "pkcs11:token=soft", says), OWN);
    assert_int_equal(list_all(libctx, "pkcs11:token=soft;type=private", says), OWN);
    OSSL_LIB_CTX_free(libctx);
}

/* A PEM file is for one key: the error comes when it is read. */
static void test_ambiguous_pem(void **state)
{
    static const char *const says[] = { "cannot tell which private key", "fits several", NULL };
    /* the DER of "PKCS#11 Provider URI v1.0", "pkcs11:token=soft" */
    static const char text[] = "-----BEGIN PKCS#11 PROVIDER URI-----\n"
                               "MC4aGVBLQ1MjMTEgUHJvdmlkZXIgVVJJIHYxLjAMEXBrY3MxMTp0b2tlbj1zb2Z0\n"
                               "-----END PKCS#11 PROVIDER URI-----\n";
    OSSL_LIB_CTX *libctx = libctx_new("");
    BIO *pem = BIO_new_mem_buf(text, -1);

    (void)state;
    ERR_clear_error();
    assert_null(PEM_read_bio_PrivateKey_ex(pem, NULL, NULL, NULL, libctx, NULL));
    check_error("in a PEM file", "read", says);
    BIO_free(pem);
    OSSL_LIB_CTX_free(libctx);
}

/* Several keys of one name on one token: each of them is what was named. */
static void test_ambiguous_name(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *keep = key_load(libctx, "p256", "private");
    CK_SESSION_HANDLE session = operator_session(true);

    (void)state;
    operator_generate(session, "double");
    operator_generate(session, "double");
    check(libctx, "pkcs11:token=soft;object=double", NULL);
    operator_destroy(session, "double");
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    EVP_PKEY_free(keep);
    OSSL_LIB_CTX_free(libctx);
}

/* Two tokens of one label. */
static void test_ambiguous_tokens(void **state)
{
    static const char *const says[] = { "several tokens", "'twin' (serial ", "serial=", NULL };
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *keep;
    CK_SLOT_ID slots[2];
    CK_TOKEN_INFO info;
    char uri[256], serial[32];
    const char *const in_list[] = { serial, NULL };

    (void)state;
    for (int n = 0; n < 2; n++)
        assert_int_equal(system("softhsm2-util --init-token --free --label twin --pin 1234 "
                                "--so-pin 12345678 > /dev/null"),
                         0);
    libctx = libctx_new_faulty("");
    keep = key_load(libctx, "p256", "private");
    assert_int_equal(operator_slots("twin", slots, 2), 2);
    for (size_t i = 0; i < 2; i++) {
        CK_SESSION_HANDLE session = operator_session_on(slots[i], true);

        if (i == 0)
            operator_generate(session, "alone");
        operator_generate(session, "key");
        assert_int_equal(p11->C_Logout(session), CKR_OK);
        assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    }
    for (int again = 0; again < 2; again++) {
        calls_reset();
        check(libctx, "pkcs11:token=twin;object=key?pin-value=1234", says);
        /* the token that was only looked at has not been shown a PIN for it */
        assert_true(calls("C_Login") <= 1);
        check(libctx, "pkcs11:token=twin;object=alone?pin-value=1234", NULL);
        check(libctx, "pkcs11:object=p256", NULL);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(p11->C_GetTokenInfo(slots[i], &info), CKR_OK);
        snprintf(uri, sizeof(uri), "pkcs11:token=twin;serial=%.16s;object=key?pin-value=1234",
                 (char *)info.serialNumber);
        check(libctx, uri, NULL);
        snprintf(serial, sizeof(serial), "(serial %.16s", (char *)info.serialNumber);
        check(libctx, "pkcs11:token=twin;object=key?pin-value=1234", in_list);
    }
    assert_int_equal(list_all(libctx, "pkcs11:token=twin;object=key?pin-value=1234", says), 2);
    EVP_PKEY_free(keep);
    OSSL_LIB_CTX_free(libctx);
    libctx = libctx_new("pkcs11-ambiguous = first\n");
    check(libctx, "pkcs11:token=twin;object=key?pin-value=1234", NULL);
    OSSL_LIB_CTX_free(libctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ambiguous_keys),
        cmocka_unit_test(test_ambiguous_listing),
        cmocka_unit_test(test_ambiguous_listing_of_keys),
        cmocka_unit_test(test_ambiguous_pem),
        cmocka_unit_test(test_ambiguous_name),
        cmocka_unit_test(test_ambiguous_tokens),
    };

    int failed;

    operator_open();
    plain = libctx_new_plain();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    OSSL_LIB_CTX_free(plain);
    return failed;
}
