/* What an application has set of an operation, it may ask for, and a copy of the context has it as
 * well; what may be set of a key that is to be made; and searches of a store by something else than
 * a URI's attributes. */
#include "harness.h"
#include "operator.h"

#include <openssl/core_names.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <openssl/x509.h>

#include "pkcs11_bridge.h"

static OSSL_LIB_CTX *libctx, *plain;

static EVP_PKEY *load(const char *label)
{
    EVP_PKEY *key = key_load(libctx, label, "private");

    assert_non_null(key);
    return key;
}

static void check_text(EVP_PKEY_CTX *ctx, const char *name, const char *expected)
{
    char text[64] = "";
    OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(name, text, sizeof(text)),
                            OSSL_PARAM_construct_end() };

    assert_int_equal(EVP_PKEY_CTX_get_params(ctx, params), 1);
    assert_string_equal(text, expected);
}

/* The context itself goes: the copy owns what it has. */
static EVP_PKEY_CTX *copied(EVP_PKEY_CTX *ctx)
{
    EVP_PKEY_CTX *copy = EVP_PKEY_CTX_dup(ctx);

    assert_non_null(copy);
    EVP_PKEY_CTX_free(ctx);
    return copy;
}

static void test_contexts_of_decryption(void **state)
{
    EVP_PKEY *key = load("rsa2048"), *public = key_public_copy(key, plain);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL),
                 *to = EVP_PKEY_CTX_new_from_pkey(plain, public, NULL);
    unsigned char in[256], out[256], *label = NULL;
    size_t in_len = sizeof(in), len = sizeof(out);

    (void)state;
    assert_int_equal(EVP_PKEY_encrypt_init(to), 1);
    assert_int_equal(EVP_PKEY_decrypt_init(ctx), 1);
    check_text(ctx, OSSL_ASYM_CIPHER_PARAM_PAD_MODE, OSSL_PKEY_RSA_PAD_MODE_PKCSV15);
    for (int i = 0; i < 2; i++) {
        EVP_PKEY_CTX *one = i == 0 ? ctx : to;

        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(one, RSA_PKCS1_OAEP_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md_name(one, "SHA256", NULL), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_mgf1_md_name(one, "SHA1", NULL), 1);
        assert_int_equal(EVP_PKEY_CTX_set0_rsa_oaep_label(one, OPENSSL_strdup("label"), 5), 1);
    }
    ctx = copied(ctx);
    check_text(ctx, OSSL_ASYM_CIPHER_PARAM_PAD_MODE, OSSL_PKEY_RSA_PAD_MODE_OAEP);
    check_text(ctx, OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, "SHA2-256");
    check_text(ctx, OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, "SHA1");
    assert_int_equal(EVP_PKEY_CTX_get0_rsa_oaep_label(ctx, &label), 5);
    assert_memory_equal(label, "label", 5);
    assert_int_equal(EVP_PKEY_encrypt(to, in, &in_len, (const unsigned char *)"message", 7), 1);
    assert_int_equal(EVP_PKEY_decrypt(ctx, out, &len, in, in_len), 1);
    assert_int_equal(len, 7);
    assert_memory_equal(out, "message", 7);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_CTX_free(to);
    EVP_PKEY_free(key);
    EVP_PKEY_free(public);
}

static void test_contexts_of_signatures(void **state)
{
    static const unsigned char hash[32] = { 7 };
    EVP_PKEY *key = load("rsa2048");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    unsigned char sig[256];
    size_t len = sizeof(sig);
    int padding = 0, salt = 0;

    (void)state;
    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING), 1);
    assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, 20), 1);
    ctx = copied(ctx);
    assert_true(EVP_PKEY_CTX_get_rsa_padding(ctx, &padding) > 0);
    assert_int_equal(padding, RSA_PKCS1_PSS_PADDING);
    check_text(ctx, OSSL_SIGNATURE_PARAM_PAD_MODE, OSSL_PKEY_RSA_PAD_MODE_PSS);
    check_text(ctx, OSSL_SIGNATURE_PARAM_DIGEST, "SHA2-256");
    check_text(ctx, OSSL_SIGNATURE_PARAM_MGF1_DIGEST, "SHA2-256");
    check_text(ctx, OSSL_SIGNATURE_PARAM_PSS_SALTLEN, "20");
    assert_true(EVP_PKEY_CTX_get_rsa_pss_saltlen(ctx, &salt) > 0);
    assert_int_equal(salt, 20);
    assert_int_equal(EVP_PKEY_sign(ctx, sig, &len, hash, sizeof(hash)), 1);
    assert_int_equal(EVP_PKEY_verify_init(ctx), 1); /* begins anew */
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING), 1);
    assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, 20), 1);
    assert_int_equal(EVP_PKEY_verify(ctx, sig, len, hash, sizeof(hash)), 1);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
}

/* What is recovered is not written beyond a buffer that is too small. */
static void test_contexts_recover_into_little(void **state)
{
    EVP_PKEY *key = load("rsa2048");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    unsigned char sig[256], out[256] = { 0 };
    size_t len = sizeof(sig), small = 6, enough = 7;

    (void)state;
    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    assert_int_equal(EVP_PKEY_sign(ctx, sig, &len, (const unsigned char *)"message", 7), 1);
    assert_int_equal(EVP_PKEY_verify_recover_init(ctx), 1);
    assert_int_equal(EVP_PKEY_verify_recover(ctx, out, &small, sig, len), 0);
    assert_int_equal(out[0], 0);
    assert_int_equal(EVP_PKEY_verify_recover(ctx, out, &enough, sig, len), 1);
    assert_int_equal(enough, 7);
    assert_memory_equal(out, "message", 7);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
}

/* What ctx and peer agree on, in 40 bytes. */
static void agree(EVP_PKEY_CTX *ctx, unsigned char *out)
{
    size_t len = 40;
    char error[512];

    if (EVP_PKEY_derive(ctx, out, &len) != 1)
        fail_msg("%s", last_error(error, sizeof(error)));
    assert_int_equal(len, 40);
}

static void test_contexts_of_agreement(void **state)
{
    EVP_PKEY *key = load("p256"), *peer = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-256");
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL), *copy;
    unsigned char one[40], other[40];
    void *ukm = NULL;
    const EVP_MD *md = NULL;
    int len = 0;
    OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_ptr(OSSL_EXCHANGE_PARAM_KDF_UKM, &ukm, 0),
                            OSSL_PARAM_construct_end() };

    (void)state;
    assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
    check_text(ctx, OSSL_EXCHANGE_PARAM_KDF_TYPE, "");
    assert_int_equal(EVP_PKEY_CTX_get_ecdh_cofactor_mode(ctx), 0);
    assert_int_equal(EVP_PKEY_CTX_set_ecdh_cofactor_mode(ctx, 1), 1);
    assert_int_equal(EVP_PKEY_CTX_get_ecdh_cofactor_mode(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_ecdh_cofactor_mode(ctx, 0), 1);
    copy = EVP_PKEY_CTX_dup(ctx); /* without key material for a KDF */
    assert_non_null(copy);
    EVP_PKEY_CTX_free(copy);
    assert_int_equal(EVP_PKEY_CTX_set_ecdh_kdf_type(ctx, EVP_PKEY_ECDH_KDF_X9_63), 1);
    assert_int_equal(EVP_PKEY_CTX_set_ecdh_kdf_md(ctx, EVP_sha384()), 1);
    assert_int_equal(EVP_PKEY_CTX_set_ecdh_kdf_outlen(ctx, 40), 1);
    assert_int_equal(EVP_PKEY_CTX_set0_ecdh_kdf_ukm(ctx, OPENSSL_memdup("ukm", 3), 3), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(ctx, peer), 1);
    copy = EVP_PKEY_CTX_dup(ctx);
    agree(ctx, one);
    EVP_PKEY_CTX_free(ctx);
    assert_int_equal(EVP_PKEY_CTX_get_ecdh_kdf_type(copy), EVP_PKEY_ECDH_KDF_X9_63);
    assert_int_equal(EVP_PKEY_CTX_get_ecdh_kdf_md(copy, &md), 1);
    assert_true(EVP_MD_is_a(md, "SHA384"));
    assert_int_equal(EVP_PKEY_CTX_get_ecdh_kdf_outlen(copy, &len), 1);
    assert_int_equal(len, 40);
    assert_int_equal(EVP_PKEY_CTX_get_params(copy, params), 1);
    assert_int_equal(params[0].return_size, 3);
    assert_memory_equal(ukm, "ukm", 3);
    agree(copy, other);
    assert_memory_equal(one, other, sizeof(one));
    assert_true(EVP_PKEY_CTX_set_ecdh_cofactor_mode(copy, 2) <= 0);
    EVP_PKEY_CTX_free(copy);
    EVP_PKEY_free(key);
    EVP_PKEY_free(peer);
}

static void test_contexts_of_eddsa(void **state)
{
    static const unsigned char ed25519[] = { 0x30, 5, 6, 3, 0x2b, 0x65, 0x70 };
    EVP_PKEY *key = load("ed25519");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new(), *copy = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pkey_ctx = NULL;
    unsigned char sig[64], other[64], algorithm[32];
    size_t len = sizeof(sig), other_len = sizeof(other);
    OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID,
                                                              algorithm, sizeof(algorithm)),
                            OSSL_PARAM_construct_end() };

    (void)state;
    assert_int_equal(EVP_DigestSignInit_ex(ctx, &pkey_ctx, NULL, libctx, NULL, key, NULL), 1);
    assert_int_equal(EVP_PKEY_CTX_get_params(pkey_ctx, params), 1);
    assert_int_equal(params[0].return_size, sizeof(ed25519));
    assert_memory_equal(algorithm, ed25519, sizeof(ed25519));
    assert_int_equal(EVP_MD_CTX_copy_ex(copy, ctx), 1);
    assert_int_equal(EVP_DigestSign(ctx, sig, &len, (const unsigned char *)"message", 7), 1);
    EVP_MD_CTX_free(ctx);
    assert_int_equal(EVP_DigestSign(copy, other, &other_len, (const unsigned char *)"message", 7),
                     1);
    assert_memory_equal(sig, other, sizeof(sig));
    EVP_MD_CTX_free(copy);
    EVP_PKEY_free(key);
}

/* Whether ctx takes a value of text. */
static bool takes(EVP_PKEY_CTX *ctx, const char *name, const char *value)
{
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(name, (char *)(uintptr_t)value, 0),
        OSSL_PARAM_construct_end(),
    };
    bool taken = EVP_PKEY_CTX_set_params(ctx, params) == 1;

    ERR_clear_error();
    return taken;
}

static void test_contexts_refuse(void **state)
{
    static const struct {
        const char *label;
        int (*init)(EVP_PKEY_CTX *ctx);
        const char *name, *value;
    } cases[] = {
        { "rsa2048", EVP_PKEY_decrypt_init, OSSL_ASYM_CIPHER_PARAM_PAD_MODE, "no padding" },
        { "rsa2048", EVP_PKEY_decrypt_init, OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, "no digest" },
        { "rsa2048", EVP_PKEY_decrypt_init, OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, "no digest" },
        { "rsa2048", EVP_PKEY_sign_init, OSSL_SIGNATURE_PARAM_PAD_MODE, "no padding" },
        { "rsa2048", EVP_PKEY_sign_init, OSSL_SIGNATURE_PARAM_DIGEST, "no digest" },
        { "rsa2048", EVP_PKEY_sign_init, OSSL_SIGNATURE_PARAM_MGF1_DIGEST, "no digest" },
        { "rsa2048", EVP_PKEY_sign_init, OSSL_SIGNATURE_PARAM_PSS_SALTLEN, "no length" },
        { "p256", EVP_PKEY_sign_init, OSSL_SIGNATURE_PARAM_DIGEST, "no digest" },
        { "p256", EVP_PKEY_derive_init, OSSL_EXCHANGE_PARAM_KDF_TYPE, "no KDF" },
        { "p256", EVP_PKEY_derive_init, OSSL_EXCHANGE_PARAM_KDF_DIGEST, "no digest" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        EVP_PKEY *key = load(cases[i].label);
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);

        assert_int_equal(cases[i].init(ctx), 1);
        if (takes(ctx, cases[i].name, cases[i].value))
            fail_msg("%s: %s is taken", cases[i].name, cases[i].value);
        EVP_PKEY_CTX_free(ctx);
        EVP_PKEY_free(key);
    }
}

/* What is asked for is too much for the buffer, or cannot be had of that key. */
static void test_contexts_of_mistakes(void **state)
{
    EVP_PKEY *rsa = load("rsa2048"), *ec = load("p256"), *ed = load("ed25519");
    EVP_PKEY *peer = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-384");
    EVP_PKEY_CTX *decrypts = EVP_PKEY_CTX_new_from_pkey(libctx, rsa, NULL),
                 *derives = EVP_PKEY_CTX_new_from_pkey(libctx, ec, NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char in[256] = { 0 }, out[256];
    size_t len = 255;

    (void)state;
    assert_int_equal(EVP_PKEY_decrypt_init(decrypts), 1);
    assert_int_not_equal(EVP_PKEY_decrypt(decrypts, out, &len, in, sizeof(in)), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(decrypts, RSA_PKCS1_WITH_TLS_PADDING), 1);
    len = sizeof(out);
    assert_int_not_equal(EVP_PKEY_decrypt(decrypts, out, &len, in, sizeof(in)), 1);
    assert_int_equal(EVP_PKEY_derive_init(derives), 1);
    assert_int_not_equal(EVP_PKEY_derive_set_peer(derives, peer), 1);
    assert_int_not_equal(EVP_PKEY_derive_set_peer(derives, ed), 1);
    len = sizeof(out);
    assert_int_not_equal(EVP_PKEY_derive(derives, out, &len), 1);
    assert_int_not_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", libctx, NULL, ed, NULL), 1);
    EVP_MD_CTX_free(ctx);
    ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, NULL, libctx, NULL, ed, NULL), 1);
    assert_int_equal(EVP_DigestSign(ctx, NULL, &len, in, sizeof(in)), 1);
    assert_int_equal(len, 64);
    len = 63; /* the last that OpenSSL 3.4 does with ctx */
    assert_int_not_equal(EVP_DigestSign(ctx, out, &len, in, sizeof(in)), 1);
    EVP_MD_CTX_free(ctx);
    ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, NULL, libctx, NULL, ed, NULL), 1);
    assert_int_not_equal(EVP_DigestVerify(ctx, out, 63, in, sizeof(in)), 1);
    assert_int_not_equal(EVP_DigestVerify(ctx, out, 64, in, sizeof(in)), 1);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_CTX_free(decrypts);
    EVP_PKEY_CTX_free(derives);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(ed);
    EVP_PKEY_free(peer);
    ERR_clear_error();
}

/* A certificate of its own for each number n, "CN=contexts-n", of serial 0x80 + n; the object. */
static X509 *certificate_put(CK_SESSION_HANDLE session, long n, CK_OBJECT_HANDLE *object)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-256");
    X509 *certificate = X509_new_ex(plain, NULL);
    CK_OBJECT_CLASS class = CKO_CERTIFICATE;
    CK_CERTIFICATE_TYPE type = CKC_X_509;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    unsigned char *der = NULL, *name = NULL, *serial = NULL;
    char text[32];
    CK_ULONG len = (CK_ULONG)snprintf(text, sizeof(text), "contexts-%ld", n);
    X509_NAME *subject = X509_get_subject_name(certificate);

    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(certificate), 0x80 + n), 1);
    assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                                (const unsigned char *)text, -1, -1, 0),
                     1);
    assert_int_equal(X509_set_issuer_name(certificate, subject), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 1000);
    assert_int_equal(X509_set_pubkey(certificate, key), 1);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    {
        CK_ULONG der_len = (CK_ULONG)i2d_X509(certificate, &der);
        CK_ULONG name_len = (CK_ULONG)i2d_X509_NAME(subject, &name);
        CK_ULONG serial_len =
            (CK_ULONG)i2d_ASN1_INTEGER(X509_get_serialNumber(certificate), &serial);
        CK_ATTRIBUTE list[] = { { CKA_CLASS, &class, sizeof(class) },
                                { CKA_TOKEN, &yes, sizeof(yes) },
                                { CKA_PRIVATE, &no, sizeof(no) },
                                { CKA_LABEL, text, len },
                                { CKA_ID, text, len },
                                { CKA_CERTIFICATE_TYPE, &type, sizeof(type) },
                                { CKA_SUBJECT, name, name_len },
                                { CKA_ISSUER, name, name_len },
                                { CKA_SERIAL_NUMBER, serial, serial_len },
                                { CKA_VALUE, der, der_len } };

        assert_int_equal(p11->C_CreateObject(session, list, COUNT_OF(list), object), CKR_OK);
    }
    OPENSSL_free(der);
    OPENSSL_free(name);
    OPENSSL_free(serial);
    EVP_PKEY_free(key);
    return certificate;
}

/* What is found on the token by search, which goes: the certificate where it is one, and how many.
 */
static X509 *search(OSSL_STORE_SEARCH *search, unsigned *count)
{
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex("pkcs11:token=soft", libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    X509 *found = NULL;

    *count = 0;
    assert_non_null(store);
    assert_int_equal(OSSL_STORE_expect(store, OSSL_STORE_INFO_CERT), 1);
    assert_int_equal(OSSL_STORE_find(store, search), 1);
    while (!OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info != NULL && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_CERT) {
            X509_free(found);
            found = OSSL_STORE_INFO_get1_CERT(info);
            ++*count;
        }
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    OSSL_STORE_SEARCH_free(search);
    return found;
}

static void test_contexts_of_searches(void **state)
{
    CK_OBJECT_HANDLE objects[2];
    EVP_PKEY *key = load("p256"); /* the module is up, and logged in */
    CK_SESSION_HANDLE session = operator_session(false);
    X509 *certificates[2], *found;
    unsigned count;

    (void)state;
    for (long n = 0; n < 2; n++)
        certificates[n] = certificate_put(session, n, &objects[n]);
    for (int n = 0; n < 2; n++) {
        X509_NAME *name = X509_get_subject_name(certificates[n]);
        OSSL_STORE_SEARCH *searches[] = {
            OSSL_STORE_SEARCH_by_name(name),
            OSSL_STORE_SEARCH_by_issuer_serial(name, X509_get_serialNumber(certificates[n])),
            OSSL_STORE_SEARCH_by_alias(n == 0 ? "contexts-0" : "contexts-1"),
        };

        for (size_t i = 0; i < COUNT_OF(searches); i++) {
            found = search(searches[i], &count);
            if (count != 1 || X509_cmp(found, certificates[n]) != 0)
                fail_msg("search %zu for certificate %d: %u found", i, n, count);
            X509_free(found);
        }
    }
    /* the one's name, the other's number */
    found = search(OSSL_STORE_SEARCH_by_issuer_serial(X509_get_subject_name(certificates[0]),
                                                      X509_get_serialNumber(certificates[1])),
                   &count);
    assert_int_equal(count, 0);
    assert_null(found);
    assert_null(search(OSSL_STORE_SEARCH_by_alias("contexts"), &count));
    for (int n = 0; n < 2; n++) {
        assert_int_equal(p11->C_DestroyObject(session, objects[n]), CKR_OK);
        X509_free(certificates[n]);
    }
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    EVP_PKEY_free(key);
    ERR_clear_error();
}

/* A session key of this type with what param says of it as well; NULL where that is refused. */
static EVP_PKEY *made(const char *type, OSSL_PARAM param)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, type, PKCS11_BRIDGE_PROPERTY);
    char uri[] = "pkcs11:token=soft", yes[] = "yes", sha256[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(PKCS11_BRIDGE_KEYGEN_URI, uri, 0),
        OSSL_PARAM_construct_utf8_string(PKCS11_BRIDGE_KEYGEN_EPHEMERAL, yes, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_RSA_DIGEST, sha256, 0),
        param,
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *key = NULL;

    if (strcmp(type, "RSA-PSS") != 0)
        params[2] = param;
    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    if (EVP_PKEY_CTX_set_params(ctx, params) == 1)
        assert_int_equal(EVP_PKEY_generate(ctx, &key), 1);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return key;
}

static EVP_PKEY *made_with_text(const char *type, const char *name, const char *value)
{
    return made(type, OSSL_PARAM_construct_utf8_string(name, (char *)(uintptr_t)value, 0));
}

static EVP_PKEY *made_with_number(const char *name, int value)
{
    return made("RSA-PSS", OSSL_PARAM_construct_int(name, &value));
}

static void test_contexts_of_generation(void **state)
{
    unsigned char exponent[3]; /* in the order of this machine */
    OSSL_PARAM param = OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_E, exponent, sizeof(exponent));
    BIGNUM *e = BN_new();
    EVP_PKEY *key;

    (void)state;
    assert_int_equal(BN_set_word(e, 0x010003), 1);
    assert_int_equal(BN_bn2nativepad(e, exponent, sizeof(exponent)), sizeof(exponent));
    key = made("RSA", param);
    assert_non_null(key);
    assert_int_equal(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e), 1);
    assert_int_equal(BN_get_word(e), 0x010003);
    BN_free(e);
    EVP_PKEY_free(key);
    key = made_with_text("RSA-PSS", OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, "SHA256");
    assert_non_null(key);
    assert_true(EVP_PKEY_is_a(key, "RSA-PSS"));
    EVP_PKEY_free(key);
    assert_null(made_with_text("RSA-PSS", OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, "SHA1"));
    assert_null(made_with_text("RSA-PSS", OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, "no digest"));
    assert_null(made_with_number(OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, 32));
    assert_null(made_with_number(OSSL_PKEY_PARAM_RSA_BITS, 1023));
    assert_null(made_with_number(OSSL_PKEY_PARAM_RSA_BITS, 16385));
    assert_null(made_with_text("EC", OSSL_PKEY_PARAM_GROUP_NAME, "no curve"));
    assert_null(made_with_text("EC", OSSL_PKEY_PARAM_GROUP_NAME, "X25519"));
    assert_null(made_with_text("EC", PKCS11_BRIDGE_KEYGEN_USAGE, "no usage"));
    assert_null(made_with_text("EC", PKCS11_BRIDGE_KEYGEN_IF_EXISTS, "no way"));
}

/* The public half in PKCS#1, as the default provider writes it. */
static void test_contexts_of_encoding(void **state)
{
    EVP_PKEY *key = load("rsa2048"), *public = key_public_copy(key, plain);
    static const char *const forms[] = { "DER", "PEM" };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        EVP_PKEY *keys[] = { key, public };
        unsigned char *out[] = { NULL, NULL };
        size_t len[] = { 0, 0 };

        for (int n = 0; n < 2; n++) {
            OSSL_ENCODER_CTX *ctx = OSSL_ENCODER_CTX_new_for_pkey(
                keys[n], OSSL_KEYMGMT_SELECT_PUBLIC_KEY, forms[i], "type-specific", NULL);

            assert_int_equal(OSSL_ENCODER_to_data(ctx, &out[n], &len[n]), 1);
            OSSL_ENCODER_CTX_free(ctx);
        }
        assert_int_equal(len[0], len[1]);
        assert_memory_equal(out[0], out[1], len[0]);
        OPENSSL_free(out[0]);
        OPENSSL_free(out[1]);
    }
    EVP_PKEY_free(key);
    EVP_PKEY_free(public);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contexts_of_decryption),
        cmocka_unit_test(test_contexts_of_signatures),
        cmocka_unit_test(test_contexts_recover_into_little),
        cmocka_unit_test(test_contexts_of_agreement),
        cmocka_unit_test(test_contexts_of_eddsa),
        cmocka_unit_test(test_contexts_refuse),
        cmocka_unit_test(test_contexts_of_mistakes),
        cmocka_unit_test(test_contexts_of_generation),
        cmocka_unit_test(test_contexts_of_encoding),
        cmocka_unit_test(test_contexts_of_searches),
    };
    int failed;

    operator_open();
    plain = libctx_new_plain();
    libctx = libctx_new("");
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
    return failed;
}
