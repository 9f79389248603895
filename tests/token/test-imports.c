/* Private keys of other providers, with pkcs11-module-import. */
#include "harness.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

#include "operator.h"

#define SESSION "pkcs11-module-import = session\n"
#define HERE    "?provider=pkcs11"

static EVP_PKEY *soft_rsa(OSSL_LIB_CTX *libctx)
{
    return EVP_PKEY_Q_keygen(libctx, "provider=default", "RSA", (size_t)2048);
}

static EVP_PKEY *soft_ec(OSSL_LIB_CTX *libctx)
{
    return EVP_PKEY_Q_keygen(libctx, "provider=default", "EC", "P-256");
}

static EVP_PKEY *soft_ed25519(OSSL_LIB_CTX *libctx)
{
    return EVP_PKEY_Q_keygen(libctx, "provider=default", "ED25519");
}

static EVP_PKEY *(*const makers[])(OSSL_LIB_CTX *libctx) = { soft_rsa, soft_ec, soft_ed25519 };

/* Whether key signs where this provider is preferred, and the default provider agrees with the same
 * key, which it has. */
static bool signs_as(OSSL_LIB_CTX *libctx, EVP_PKEY *key, EVP_PKEY *theirs)
{
    static const unsigned char message[] = "message";
    bool hashed =
        EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "RSA-PSS") || EVP_PKEY_is_a(key, "EC");
    const char *digest = hashed ? "SHA256" : NULL;
    EVP_MD_CTX *sign = EVP_MD_CTX_new(), *verify = EVP_MD_CTX_new();
    unsigned char signature[4000];
    size_t len = sizeof(signature);
    bool done = EVP_DigestSignInit_ex(sign, NULL, digest, libctx, HERE, key, NULL) == 1 &&
                EVP_DigestSign(sign, signature, &len, message, sizeof(message)) == 1 &&
                EVP_DigestVerifyInit_ex(verify, NULL, digest, libctx, "provider=default", theirs,
                                        NULL) == 1 &&
                EVP_DigestVerify(verify, signature, len, message, sizeof(message)) == 1;

    EVP_MD_CTX_free(sign);
    EVP_MD_CTX_free(verify);
    return done;
}

static bool signs_here(OSSL_LIB_CTX *libctx, EVP_PKEY *key)
{
    return signs_as(libctx, key, key);
}

/* The only private session object that there is, or CK_INVALID_HANDLE. */
static CK_OBJECT_HANDLE session_object(CK_SESSION_HANDLE session)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
                                { CKA_TOKEN, &no, sizeof(no) } };
    CK_OBJECT_HANDLE found[2] = { CK_INVALID_HANDLE, CK_INVALID_HANDLE };
    CK_ULONG count = 0;

    assert_int_equal(p11->C_FindObjectsInit(session, template, COUNT_OF(template)), CKR_OK);
    assert_int_equal(p11->C_FindObjects(session, found, COUNT_OF(found), &count), CKR_OK);
    assert_int_equal(p11->C_FindObjectsFinal(session), CKR_OK);
    assert_true(count <= 1);
    return count == 1 ? found[0] : CK_INVALID_HANDLE;
}

static void must_be_kept_secret(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    CK_BBOOL private = CK_FALSE, sensitive = CK_FALSE, extractable = CK_TRUE;
    CK_ATTRIBUTE list[] = { { CKA_PRIVATE, &private, 1 },
                            { CKA_SENSITIVE, &sensitive, 1 },
                            { CKA_EXTRACTABLE, &extractable, 1 } };

    assert_int_equal(p11->C_GetAttributeValue(session, object, list, COUNT_OF(list)), CKR_OK);
    assert_true(private && sensitive && !extractable);
}

/* A session object of the token, which keeps it secret, for all uses of the EVP_PKEY, and gone with
 * it. */
static void test_imports_live_with_their_key(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty(SESSION);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(makers); i++) {
        EVP_PKEY *key = makers[i](libctx);
        CK_SESSION_HANDLE session;

        calls_reset();
        assert_true(signs_here(libctx, key));
        assert_true(signs_here(libctx, key));
        assert_int_equal(calls("C_Sign"), 2);
        assert_int_equal(calls("C_CreateObject"), 2); /* both halves, once */
        session = operator_session(false);
        must_be_kept_secret(session, session_object(session));
        EVP_PKEY_free(key);
        assert_int_equal(calls("C_DestroyObject"), 2);
        assert_int_equal(session_object(session), CK_INVALID_HANDLE);
        assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    }
    OSSL_LIB_CTX_free(libctx);
}

static EVP_PKEY *soft_pss(OSSL_LIB_CTX *libctx)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "RSA-PSS", "provider=default");
    EVP_PKEY *key = NULL;

    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_keygen_md(ctx, EVP_sha256()), 1);
    assert_int_equal(EVP_PKEY_generate(ctx, &key), 1);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static EVP_PKEY *soft_strange(OSSL_LIB_CTX *libctx)
{
    return EVP_PKEY_Q_keygen(libctx, "provider=default", "EC", "secp224k1");
}

static EVP_PKEY *soft_x25519(OSSL_LIB_CTX *libctx)
{
    return EVP_PKEY_Q_keygen(libctx, "provider=default", "X25519");
}

static EVP_PKEY *soft_ml_dsa(OSSL_LIB_CTX *libctx)
{
    return EVP_PKEY_Q_keygen(libctx, "provider=default", "ML-DSA-44");
}

static EVP_PKEY *soft_ml_kem(OSSL_LIB_CTX *libctx)
{
    return EVP_PKEY_Q_keygen(libctx, "provider=default", "ML-KEM-512");
}

/* Whether libcrypto knows the kind of key. */
static bool made_here(EVP_PKEY *(*maker)(OSSL_LIB_CTX *))
{
    return OpenSSL_version_num() >= 0x30500000UL || (maker != soft_ml_dsa && maker != soft_ml_kem);
}

static bool agrees_only(const EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "X25519") || EVP_PKEY_is_a(key, "ML-KEM-512");
}

/* The same key as one of this provider's; NULL where it is not taken. */
static EVP_PKEY *brought(OSSL_LIB_CTX *libctx, EVP_PKEY *key, int selection)
{
    const char *type = EVP_PKEY_get0_type_name(key);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, type, "provider=pkcs11");
    OSSL_PARAM *params = NULL;
    EVP_PKEY *ours = NULL;

    assert_int_equal(EVP_PKEY_todata(key, selection, &params), 1);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    (void)EVP_PKEY_fromdata(ctx, &ours, selection, params);
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    return ours;
}

static EVP_PKEY *soft_brought(OSSL_LIB_CTX *libctx, EVP_PKEY *(*maker)(OSSL_LIB_CTX *))
{
    EVP_PKEY *theirs = maker(libctx), *ours = brought(libctx, theirs, EVP_PKEY_KEYPAIR);

    assert_non_null(ours);
    EVP_PKEY_free(theirs);
    return ours;
}

/* Whether the values of both are the same, as far as they are exported. */
static bool exports_same(EVP_PKEY *a, EVP_PKEY *b, int selection)
{
    OSSL_PARAM *of_a = NULL, *of_b = NULL;
    bool same;

    assert_int_equal(EVP_PKEY_todata(a, selection, &of_a), 1);
    assert_int_equal(EVP_PKEY_todata(b, selection, &of_b), 1);
    same = of_a[0].key != NULL;
    for (size_t i = 0; same && of_a[i].key != NULL; i++) {
        const OSSL_PARAM *p = OSSL_PARAM_locate(of_b, of_a[i].key);

        same = p != NULL && p->data_size == of_a[i].data_size &&
               memcmp(p->data, of_a[i].data, p->data_size) == 0;
    }
    OSSL_PARAM_free(of_a);
    OSSL_PARAM_free(of_b);
    return same;
}

/* Whether one that was brought here answers what it did before. */
static bool answers_same(EVP_PKEY *before, EVP_PKEY *now)
{
    const OSSL_PARAM *asked = EVP_PKEY_gettable_params(before);

    for (; asked->key != NULL; asked++) {
        unsigned char a[4000] = { 0 }, b[4000] = { 0 };
        size_t a_len = 0, b_len = 0;

        if (asked->data_type != OSSL_PARAM_OCTET_STRING ||
            EVP_PKEY_get_octet_string_param(before, asked->key, a, sizeof(a), &a_len) != 1)
            continue;
        if (EVP_PKEY_get_octet_string_param(now, asked->key, b, sizeof(b), &b_len) != 1 ||
            a_len != b_len || memcmp(a, b, a_len) != 0) {
            print_message("%s of %s is another\n", asked->key, EVP_PKEY_get0_type_name(before));
            return false;
        }
    }
    return true;
}

/* Without the setting a key that is brought here stays what it is, and no call is spent on it. */
static void test_imports_stay_on_the_host(void **state)
{
    static EVP_PKEY *(*const all[])(OSSL_LIB_CTX *) = { soft_rsa,     soft_pss,     soft_ec,
                                                        soft_strange, soft_ed25519, soft_x25519,
                                                        soft_ml_dsa,  soft_ml_kem };
    static const int selections[] = { EVP_PKEY_KEYPAIR, EVP_PKEY_PUBLIC_KEY };
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");

    (void)state;
    calls_reset();
    for (size_t i = 0; i < COUNT_OF(all) * COUNT_OF(selections); i++) {
        EVP_PKEY *theirs, *ours, *copy;

        if (!made_here(all[i / 2]))
            continue;
        theirs = all[i / 2](libctx);
        ours = brought(libctx, theirs, selections[i % 2]);
        assert_non_null(ours);
        copy = EVP_PKEY_dup(ours);
        assert_non_null(copy);
        assert_int_equal(EVP_PKEY_eq(ours, theirs), 1);
        assert_int_equal(EVP_PKEY_eq(ours, copy), 1);
        assert_true(exports_same(theirs, ours, selections[i % 2]));
        assert_true(exports_same(theirs, copy, selections[i % 2]));
        assert_int_equal(EVP_PKEY_get_bits(ours), EVP_PKEY_get_bits(theirs));
        assert_int_equal(EVP_PKEY_get_size(ours), EVP_PKEY_get_size(theirs));
        assert_int_equal(EVP_PKEY_get_security_bits(ours), EVP_PKEY_get_security_bits(theirs));
        assert_true(i % 2 != 0 || answers_same(theirs, ours));
        if (!agrees_only(theirs))
            assert_int_equal(signs_as(libctx, copy, theirs), i % 2 == 0);
        EVP_PKEY_free(copy);
        EVP_PKEY_free(ours);
        EVP_PKEY_free(theirs);
    }
    assert_int_equal(calls(NULL), 0);
    ERR_clear_error();
    OSSL_LIB_CTX_free(libctx);
}

static void check_form(EVP_PKEY *key, const char *right)
{
    char form[32];

    assert_int_equal(EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT,
                                                    form, sizeof(form), NULL),
                     1);
    assert_string_equal(form, right);
}

/* The form of a point can be changed, and that of a copy alone. */
static void test_imports_copy_changes_alone(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *key = soft_brought(libctx, soft_ec), *copy = EVP_PKEY_dup(key);

    (void)state;
    assert_int_equal(EVP_PKEY_set_utf8_string_param(
                         copy, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "compressed"),
                     1);
    check_form(copy, "compressed");
    check_form(key, "uncompressed");
    EVP_PKEY_free(copy);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* A message in pieces, of which a copy is taken in between. */
static void test_imports_sign_in_pieces(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *(*const some[])(OSSL_LIB_CTX *) = { soft_rsa, soft_pss, soft_ec, soft_strange };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(some); i++) {
        EVP_PKEY *key = soft_brought(libctx, some[i]);
        EVP_MD_CTX *sign = EVP_MD_CTX_new(), *copy = EVP_MD_CTX_new(), *verify = EVP_MD_CTX_new();
        EVP_MD_CTX *signers[] = { sign, copy };

        assert_int_equal(EVP_DigestSignInit_ex(sign, NULL, "SHA256", libctx, NULL, key, NULL), 1);
        assert_int_equal(EVP_DigestSignUpdate(sign, "mess", 4), 1);
        assert_int_equal(EVP_MD_CTX_copy_ex(copy, sign), 1);
        for (size_t s = 0; s < COUNT_OF(signers); s++) {
            unsigned char sig[512];
            size_t len = 0;

            assert_int_equal(EVP_DigestSignUpdate(signers[s], "age", 3), 1);
            assert_int_equal(EVP_DigestSignFinal(signers[s], NULL, &len), 1);
            assert_true(len <= sizeof(sig));
            assert_int_equal(EVP_DigestSignFinal(signers[s], sig, &len), 1);
            for (int changed = 0; changed < 2; changed++) {
                sig[len / 2] ^= (unsigned char)changed;
                assert_int_equal(
                    EVP_DigestVerifyInit_ex(verify, NULL, "SHA256", libctx, NULL, key, NULL), 1);
                assert_int_equal(EVP_DigestVerifyUpdate(verify, "mes", 3), 1);
                assert_int_equal(EVP_DigestVerifyUpdate(verify, "sage", 4), 1);
                assert_int_equal(EVP_DigestVerifyFinal(verify, sig, len) == 1, changed == 0);
                EVP_MD_CTX_reset(verify);
            }
        }
        EVP_MD_CTX_free(sign);
        EVP_MD_CTX_free(copy);
        EVP_MD_CTX_free(verify);
        EVP_PKEY_free(key);
    }
    ERR_clear_error();
    OSSL_LIB_CTX_free(libctx);
}

/* A curve without a point is valid, one that tokens have and one that they do not. */
static void test_imports_validate_parameters(void **state)
{
    EVP_PKEY *(*const some[])(OSSL_LIB_CTX *) = { soft_ec, soft_strange };
    OSSL_LIB_CTX *libctx = libctx_new("");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(some); i++) {
        EVP_PKEY *key = some[i](libctx);
        EVP_PKEY *ours = brought(libctx, key, EVP_PKEY_KEY_PARAMETERS);
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, ours, NULL);

        assert_int_equal(EVP_PKEY_param_check(ctx), 1);
        assert_int_equal(EVP_PKEY_param_check_quick(ctx), 1);
        assert_int_not_equal(EVP_PKEY_public_check(ctx), 1);
        EVP_PKEY_CTX_free(ctx);
        EVP_PKEY_free(ours);
        EVP_PKEY_free(key);
    }
    ERR_clear_error();
    OSSL_LIB_CTX_free(libctx);
}

/* The context is freed. */
static EVP_PKEY_CTX *copy_for(EVP_PKEY_CTX *ctx)
{
    EVP_PKEY_CTX *copy = EVP_PKEY_CTX_dup(ctx);

    assert_non_null(copy);
    EVP_PKEY_CTX_free(ctx);
    return copy;
}

/* More than one secret with one context, and with a copy of it. */
static void test_imports_encapsulate(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty("");
    EVP_PKEY *key;
    EVP_PKEY_CTX *seal, *open;

    (void)state;
    if (!made_here(soft_ml_kem))
        skip();
    calls_reset();
    key = soft_brought(libctx, soft_ml_kem);
    seal = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    open = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    assert_int_equal(EVP_PKEY_encapsulate_init(seal, NULL), 1);
    assert_int_equal(EVP_PKEY_decapsulate_init(open, NULL), 1);
    for (int i = 0; i < 3; i++) {
        unsigned char sealed[1000], secret[32], again[32];
        size_t len = 0, secret_len = 0, again_len = sizeof(again);

        if (i == 2) {
            seal = copy_for(seal);
            open = copy_for(open);
        }

        assert_int_equal(EVP_PKEY_encapsulate(seal, NULL, &len, NULL, &secret_len), 1);
        assert_int_equal(len, 768);
        assert_int_equal(EVP_PKEY_encapsulate(seal, sealed, &len, secret, &secret_len), 1);
        assert_int_equal(EVP_PKEY_decapsulate(open, again, &again_len, sealed, len), 1);
        assert_int_equal(again_len, sizeof(secret));
        assert_memory_equal(again, secret, sizeof(secret));
    }
    assert_int_equal(calls(NULL), 0);
    EVP_PKEY_CTX_free(seal);
    EVP_PKEY_CTX_free(open);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* The premaster secret of TLS 1.2's RSA key exchange, through a copy of the context. */
static void test_imports_decrypt_premaster(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *key = soft_brought(libctx, soft_rsa);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL), *copy;
    unsigned char secret[48] = { 3, 3, 1, 2, 3 }, encrypted[256], out[256];
    size_t len = sizeof(encrypted), out_len = sizeof(out);
    unsigned version = 0x303;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, &version),
        OSSL_PARAM_construct_end(),
    };

    (void)state;
    assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_encrypt(ctx, encrypted, &len, secret, sizeof(secret)), 1);
    assert_int_equal(EVP_PKEY_decrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_WITH_TLS_PADDING), 1);
    assert_int_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
    copy = EVP_PKEY_CTX_dup(ctx);
    assert_int_equal(EVP_PKEY_decrypt(copy, out, &out_len, encrypted, len), 1);
    assert_int_equal(out_len, sizeof(secret));
    assert_memory_equal(out, secret, sizeof(secret));
    EVP_PKEY_CTX_free(copy);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* With X9.63's KDF, between one that was brought here with its peer and both where they were. */
static bool derives(OSSL_LIB_CTX *libctx, EVP_PKEY *key, EVP_PKEY *peer, unsigned char *out,
                    size_t size)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    bool ok = EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_CTX_set_ecdh_cofactor_mode(ctx, 1) == 1 &&
              EVP_PKEY_CTX_set_ecdh_kdf_type(ctx, EVP_PKEY_ECDH_KDF_X9_63) == 1 &&
              EVP_PKEY_CTX_set_ecdh_kdf_md(ctx, EVP_sha256()) == 1 &&
              EVP_PKEY_CTX_set_ecdh_kdf_outlen(ctx, (int)size) == 1 &&
              EVP_PKEY_derive_set_peer(ctx, peer) == 1 && EVP_PKEY_derive(ctx, out, &size) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static void test_imports_derive(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *(*const some[])(OSSL_LIB_CTX *) = { soft_ec, soft_strange };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(some); i++) {
        EVP_PKEY *key = some[i](libctx), *peer = some[i](libctx);
        EVP_PKEY *ours = brought(libctx, key, EVP_PKEY_KEYPAIR);
        unsigned char right[100], secret[100];

        assert_true(derives(libctx, peer, key, right, sizeof(right)));
        assert_true(derives(libctx, ours, peer, secret, sizeof(secret)));
        assert_memory_equal(secret, right, sizeof(secret));
        EVP_PKEY_free(key);
        EVP_PKEY_free(peer);
        EVP_PKEY_free(ours);
    }
    OSSL_LIB_CTX_free(libctx);
}

/* A module that uses libcrypto keeps its own keys, whatever this provider is preferred for. */
static struct {
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key;
    unsigned tried, taken;
} within;

static void bring_within(void)
{
    EVP_PKEY *ours = brought(within.libctx, within.key, EVP_PKEY_KEYPAIR);

    within.tried++;
    within.taken += ours != NULL;
    EVP_PKEY_free(ours);
}

static void test_imports_not_within_a_call(void **state)
{
    EVP_PKEY *key;

    (void)state;
    within.libctx = libctx_new_faulty("");
    within.key = soft_ec(within.libctx);
    key = key_load(within.libctx, "p256", "private");
    fault_callback(bring_within);
    fault("C_Sign 1 1 - callback");
    assert_true(key_signs(within.libctx, key));
    fault("");
    fault_callback(NULL);
    assert_int_equal(within.tried, 1);
    assert_int_equal(within.taken, 0);
    ERR_clear_error();
    EVP_PKEY_free(key);
    EVP_PKEY_free(within.key);
    OSSL_LIB_CTX_free(within.libctx);
}

/* A key pair that such a module makes for itself, as a TPM's library does for each of its sessions,
 * is made on the host. libcrypto may take this provider for it, in whatever order they are listed.
 */
static void make_within(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(within.libctx, "EC", "provider=pkcs11");

    within.tried++;
    if (EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_CTX_set_group_name(ctx, "P-256") == 1)
        (void)EVP_PKEY_generate(ctx, &within.key);
    EVP_PKEY_CTX_free(ctx);
}

static void test_imports_pairs_within_a_call(void **state)
{
    EVP_PKEY *key;

    (void)state;
    within.libctx = libctx_new_faulty("");
    within.key = NULL;
    within.tried = 0;
    key = key_load(within.libctx, "p256", "private");
    fault_callback(make_within);
    fault("C_Sign 1 1 - callback");
    calls_reset();
    assert_true(key_signs(within.libctx, key));
    fault("");
    fault_callback(NULL);
    assert_int_equal(within.tried, 1);
    assert_non_null(within.key);
    assert_int_equal(calls("C_GenerateKeyPair"), 0);
    assert_true(key_signs(within.libctx, within.key));
    assert_int_equal(calls("C_Sign"), 1);
    EVP_PKEY_free(key);
    EVP_PKEY_free(within.key);
    OSSL_LIB_CTX_free(within.libctx);
}

/* They stay where they are without the setting, and where the token does not take them. */
static void test_imports_go_elsewhere(void **state)
{
    static const struct {
        const char *settings, *rule;
        unsigned long destroyed;
    } cases[] = { { "", "", 0 },
                  { "pkcs11-module-import = software\n", "", 0 },
                  { SESSION, "C_CreateObject 1 * CKR_TEMPLATE_INCONSISTENT", 0 },
                  { SESSION, "C_CreateObject 2 * CKR_TEMPLATE_INCONSISTENT", 1 },
                  { SESSION "pkcs11-retry-ms = 0\n", "C_GetSlotList 1 * - count=0", 0 } };

    (void)state;
    for (size_t c = 0; c < COUNT_OF(cases); c++)
        for (size_t i = 0; i < COUNT_OF(makers); i++) {
            OSSL_LIB_CTX *libctx = libctx_new_faulty(cases[c].settings);
            EVP_PKEY *key = makers[i](libctx);

            calls_reset();
            fault(cases[c].rule);
            assert_true(signs_here(libctx, key));
            assert_int_equal(calls("C_Sign"), 0);
            assert_int_equal(calls("C_DestroyObject"), cases[c].destroyed);
            fault("");
            ERR_clear_error();
            EVP_PKEY_free(key);
            OSSL_LIB_CTX_free(libctx);
        }
}

/* What a token does that loses its sessions, as at a reboot, ends the key, and the error says so.
 */
static void test_imports_end_with_their_session(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty(SESSION);
    EVP_PKEY *key = soft_ec(libctx);
    char error[512];

    (void)state;
    assert_true(signs_here(libctx, key));
    fault("C_SignInit 1 1 - drop-sessions");
    assert_false(signs_here(libctx, key));
    assert_non_null(strstr(last_error(error, sizeof(error)), "a session key lives as long as"));
    fault("");
    ERR_clear_error();
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* A pair that is lost between its making and its first use is made again. */
static void test_imports_are_made_again(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new_faulty(SESSION);
    EVP_PKEY *key = soft_ec(libctx);

    (void)state;
    calls_reset();
    fault("C_GetAttributeValue 1 1 - drop-sessions");
    assert_true(signs_here(libctx, key));
    assert_int_equal(calls("C_Sign"), 1);
    fault("");
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_imports_live_with_their_key),
        cmocka_unit_test(test_imports_stay_on_the_host),
        cmocka_unit_test(test_imports_copy_changes_alone),
        cmocka_unit_test(test_imports_sign_in_pieces),
        cmocka_unit_test(test_imports_validate_parameters),
        cmocka_unit_test(test_imports_encapsulate),
        cmocka_unit_test(test_imports_decrypt_premaster),
        cmocka_unit_test(test_imports_derive),
        cmocka_unit_test(test_imports_not_within_a_call),
        cmocka_unit_test(test_imports_pairs_within_a_call),
        cmocka_unit_test(test_imports_go_elsewhere),
        cmocka_unit_test(test_imports_end_with_their_session),
        cmocka_unit_test(test_imports_are_made_again),
    };

    operator_open();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
