/* RSA keys whose CKA_ALLOWED_MECHANISMS has PSS alone are RSA-PSS keys to OpenSSL. */
#include "harness.h"
#include "operator.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "pkcs11_bridge.h"

static unsigned char message[100000];

static EVP_PKEY *generate(OSSL_LIB_CTX *libctx, const char *uri, const char *digest)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "RSA-PSS", "provider=pkcs11");
    EVP_PKEY *key = NULL;
    OSSL_PARAM params[3], *p = params;

    *p++ = OSSL_PARAM_construct_utf8_string(PKCS11_BRIDGE_KEYGEN_URI, (char *)(uintptr_t)uri, 0);
    if (digest != NULL)
        *p++ = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_RSA_DIGEST,
                                                (char *)(uintptr_t)digest, 0);
    *p = OSSL_PARAM_construct_end();
    if (EVP_PKEY_keygen_init(ctx) != 1 || EVP_PKEY_CTX_set_params(ctx, params) != 1 ||
        EVP_PKEY_generate(ctx, &key) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static bool sign(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const char *digest, bool whole,
                 unsigned char *sig, size_t *len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestSignInit_ex(ctx, NULL, digest, libctx, NULL, key, NULL) == 1;

    if (ok && whole)
        ok = EVP_DigestSign(ctx, sig, len, message, sizeof(message)) == 1;
    else if (ok)
        ok = EVP_DigestSignUpdate(ctx, message, 7) == 1 &&
             EVP_DigestSignUpdate(ctx, message + 7, sizeof(message) - 7) == 1 &&
             EVP_DigestSignFinal(ctx, sig, len) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool verify(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const char *digest,
                   const unsigned char *sig, size_t len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit_ex(ctx, NULL, digest, libctx, NULL, key, NULL) == 1 &&
              EVP_DigestVerify(ctx, sig, len, message, sizeof(message)) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

/* Every digest of an unrestricted key; of one restricted to SHA2-384 that one, streamed as well,
 * which the token then hashes, and no other. */
static void test_rsa_pss_signs(void **state)
{
    static const char *const digests[] = { "SHA1", "SHA224", "SHA256", "SHA384", "SHA512" };
    static const char *const restrictions[] = { NULL, "SHA384" };
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();

    (void)state;
    for (size_t r = 0; r < COUNT_OF(restrictions); r++) {
        char uri[64], error[512];
        EVP_PKEY *made, *key, *public;

        snprintf(uri, sizeof(uri), "pkcs11:token=soft;object=pss-%zu", r);
        made = generate(libctx, uri, restrictions[r]);
        if (made == NULL)
            fail_msg("%s", last_error(error, sizeof(error)));
        strcat(uri, ";type=private");
        key = key_load_uri(libctx, uri);
        assert_non_null(key);
        assert_true(EVP_PKEY_is_a(key, "RSA-PSS"));
        assert_false(EVP_PKEY_is_a(key, "RSA"));
        public = key_public_copy(key, plain);
        assert_true(EVP_PKEY_is_a(public, "RSA-PSS"));
        assert_int_equal(EVP_PKEY_eq(key, public), 1);
        for (size_t d = 0; d < COUNT_OF(digests); d++)
            for (int whole = 0; whole < 2; whole++) {
                bool may = restrictions[r] == NULL || strcmp(restrictions[r], digests[d]) == 0;
                unsigned char sig[512];
                size_t len = sizeof(sig);

                if (sign(libctx, key, digests[d], whole, sig, &len) != may)
                    fail_msg("%zu %s: %s", r, digests[d], last_error(error, sizeof(error)));
                if (may)
                    assert_true(verify(plain, public, digests[d], sig, len));
                else
                    assert_non_null(
                        strstr(last_error(error, sizeof(error)), "CKA_ALLOWED_MECHANISMS"));
            }
        EVP_PKEY_free(made);
        EVP_PKEY_free(key);
        EVP_PKEY_free(public);
    }
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* The default digest is one that the key allows: openssl dgst and req ask for it. */
static void test_rsa_pss_default_digest(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();
    EVP_PKEY *key = generate(libctx, "pkcs11:token=soft;object=pss-default", "SHA384");
    EVP_PKEY *public = key_public_copy(key, plain);
    unsigned char sig[512];
    size_t len = sizeof(sig);
    char name[32];

    (void)state;
    assert_int_equal(EVP_PKEY_get_default_digest_name(key, name, sizeof(name)), 1);
    assert_string_equal(name, "SHA384");
    assert_true(sign(libctx, key, NULL, true, sig, &len));
    assert_true(verify(plain, public, "SHA384", sig, len));
    EVP_PKEY_free(key);
    EVP_PKEY_free(public);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

static void test_rsa_pss_nothing_else(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *key = generate(libctx, "pkcs11:token=soft;object=pss-else", NULL);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);

    (void)state;
    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    assert_true(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) <= 0);
    assert_true(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) <= 0);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING), 1);
    assert_true(EVP_PKEY_decrypt_init(ctx) <= 0);
    ERR_clear_error();
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* What no token can promise is refused at generation. */
static void test_rsa_pss_generation_refuses(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "RSA-PSS", "provider=pkcs11");
    int salt = 32;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, &salt),
        OSSL_PARAM_construct_end(),
    };
    char error[512];

    (void)state;
    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_not_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
    assert_non_null(strstr(last_error(error, sizeof(error)), "a PSS salt length"));
    EVP_PKEY_CTX_free(ctx);
    OSSL_LIB_CTX_free(libctx);
}

/* A certificate of its own is signed with PSS and verifies. */
static void test_rsa_pss_certificate(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();
    EVP_PKEY *key = generate(libctx, "pkcs11:token=soft;object=pss-x509", "SHA256");
    EVP_PKEY *public = key_public_copy(key, plain);
    X509 *certificate = X509_new_ex(libctx, NULL);
    EVP_MD *md = EVP_MD_fetch(libctx, "SHA256", NULL);

    (void)state;
    assert_int_equal(X509_set_pubkey(certificate, key), 1);
    assert_true(X509_sign(certificate, key, md) > 0);
    assert_int_equal(X509_check_private_key(certificate, key), 1);
    assert_int_equal(X509_get_signature_nid(certificate), NID_rsassaPss);
    assert_int_equal(X509_verify(certificate, public), 1);
    X509_free(certificate);
    EVP_MD_free(md);
    EVP_PKEY_free(key);
    EVP_PKEY_free(public);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* A pair of which one half alone says that it is for PSS: both are of that type, in whichever order
 * and by which way they are read, and the token verifies. */
static void test_rsa_pss_of_one_half(void **state)
{
    static const char *const uris[] = { "pkcs11:token=soft;object=half;type=public",
                                        "pkcs11:token=soft;object=half;type=private" };
    static const char *const settings[] = { "", "pkcs11-public-operations = token\n" };
    CK_MECHANISM mechanism = { CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0 };
    CK_MECHANISM_TYPE pss[] = { CKM_SHA256_RSA_PKCS_PSS, CKM_RSA_PKCS_PSS };
    CK_ULONG bits = 2048;
    CK_BBOOL yes = CK_TRUE;
    CK_BYTE exponent[] = { 1, 0, 1 };

    (void)state;
    for (int half = 0; half < 2; half++) {
        OSSL_LIB_CTX *libctx = libctx_new("");
        EVP_PKEY *keep = key_load(libctx, "p256", "private");
        CK_SESSION_HANDLE session = operator_session(true);
        CK_OBJECT_HANDLE a, b;
        CK_ATTRIBUTE public[] = { { CKA_TOKEN, &yes, 1 },
                                  { CKA_VERIFY, &yes, 1 },
                                  { CKA_LABEL, (void *)(uintptr_t) "half", 4 },
                                  { CKA_ID, (void *)(uintptr_t) "half", 4 },
                                  { CKA_MODULUS_BITS, &bits, sizeof(bits) },
                                  { CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent) },
                                  { CKA_ALLOWED_MECHANISMS, pss, sizeof(pss) } };
        CK_ATTRIBUTE private[] = { { CKA_TOKEN, &yes, 1 },
                                   { CKA_PRIVATE, &yes, 1 },
                                   { CKA_SIGN, &yes, 1 },
                                   { CKA_LABEL, (void *)(uintptr_t) "half", 4 },
                                   { CKA_ID, (void *)(uintptr_t) "half", 4 },
                                   { CKA_ALLOWED_MECHANISMS, pss, sizeof(pss) } };

        assert_int_equal(p11->C_GenerateKeyPair(session, &mechanism, public,
                                                COUNT_OF(public) - (half == 1), private,
                                                COUNT_OF(private) - (half == 0), &a, &b),
                         CKR_OK);
        for (int order = 0; order < 4; order++) {
            OSSL_LIB_CTX *fresh = libctx_new(settings[order / 2]);
            EVP_PKEY *first = key_load_uri(fresh, uris[order % 2]);
            EVP_PKEY *second = key_load_uri(fresh, uris[1 - order % 2]);
            EVP_PKEY *again = key_load_uri(fresh, uris[1]);
            EVP_PKEY *signer = order % 2 == 0 ? second : first;
            unsigned char sig[512];
            size_t len = sizeof(sig);
            char error[512];

            if (!EVP_PKEY_is_a(first, "RSA-PSS") || !EVP_PKEY_is_a(second, "RSA-PSS") ||
                !EVP_PKEY_is_a(again, "RSA-PSS"))
                fail_msg("half %d, order %d", half, order);
            if (!sign(fresh, signer, "SHA256", true, sig, &len) ||
                !verify(fresh, first, "SHA256", sig, len) ||
                !verify(fresh, second, "SHA256", sig, len))
                fail_msg("half %d, order %d: %s", half, order, last_error(error, sizeof(error)));
            EVP_PKEY_free(first);
            EVP_PKEY_free(second);
            EVP_PKEY_free(again);
            OSSL_LIB_CTX_free(fresh);
        }
        operator_destroy(session, "half");
        assert_int_equal(p11->C_CloseSession(session), CKR_OK);
        EVP_PKEY_free(keep);
        OSSL_LIB_CTX_free(libctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rsa_pss_signs),
        cmocka_unit_test(test_rsa_pss_default_digest),
        cmocka_unit_test(test_rsa_pss_nothing_else),
        cmocka_unit_test(test_rsa_pss_generation_refuses),
        cmocka_unit_test(test_rsa_pss_certificate),
        cmocka_unit_test(test_rsa_pss_of_one_half),
    };

    operator_open();
    memset(message, 'm', sizeof(message));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
