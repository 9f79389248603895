/* Secret keys on a token behind EVP_SKEY, from OpenSSL 3.5 on. */
#include "operator.h"
#include "skey.h"

#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/store.h>

#include "pkcs11_bridge.h"

#define STORE_INFO_SKEY 7

static OSSL_LIB_CTX *libctx, *plain;

static const char *uri_of(const char *label, const char *more)
{
    static char uri[512];

    snprintf(uri, sizeof(uri), "%s;object=%s%s", token_uri(), label, more);
    return uri;
}

static SKEY *generate(const char *type, const char *label, size_t len, bool add)
{
    OSSL_PARAM params[4], *p = params;

    if (label != NULL)
        *p++ = TEXT_PARAM(PKCS11_BRIDGE_KEYGEN_URI, uri_of(label, ""));
    *p++ = OSSL_PARAM_construct_size_t(SKEY_KEY_LENGTH, &len);
    if (add)
        *p++ = TEXT_PARAM(PKCS11_BRIDGE_KEYGEN_IF_EXISTS, "add");
    *p = OSSL_PARAM_construct_end();
    return EVP_SKEY_generate(libctx, type, OURS, params);
}

static SKEY *open_uri(const char *type, const char *uri)
{
    const OSSL_PARAM params[] = { TEXT_PARAM(PKCS11_BRIDGE_KEYGEN_URI, uri),
                                  OSSL_PARAM_construct_end() };

    return EVP_SKEY_import(libctx, type, OURS, SKEY_ALL, params);
}

static SKEY *made(SKEY *key)
{
    char error[512];

    if (key == NULL)
        fail_msg("%s", last_error(error, sizeof(error)));
    return key;
}

static void assert_error(const char *part)
{
    char error[1024];

    last_error(error, sizeof(error));
    if (strstr(error, part) == NULL)
        fail_msg("'%s' is not in '%s'", part, error);
}

/* Whether the two are one key: what one encrypts, the other decrypts. */
static bool same(SKEY *a, SKEY *b)
{
    static const unsigned char text[16] = "sixteen bytes ..";
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(libctx, "PKCS11-AES-256-ECB", NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char buf[48], back[48];
    int len = 0, last = 0;
    bool ok;

    assert_non_null(cipher);
    assert_int_equal(EVP_CipherInit_SKEY(ctx, cipher, a, NULL, 0, 1, NULL), 1);
    assert_int_equal(EVP_CipherUpdate(ctx, buf, &len, text, 16), 1);
    assert_int_equal(EVP_CipherFinal(ctx, buf + len, &last), 1);
    assert_int_equal(len + last, 32);
    assert_int_equal(EVP_CipherInit_SKEY(ctx, cipher, b, NULL, 0, 0, NULL), 1);
    ok = EVP_CipherUpdate(ctx, back, &len, buf, 32) == 1 &&
         EVP_CipherFinal(ctx, back + len, &last) == 1 && memcmp(back, text, 16) == 0;
    ERR_clear_error();
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    return ok;
}

/* A key that is made on the token is opened by its label and by its id, and is not another. */
static void test_skey_token_object(void **state)
{
    SKEY *key = made(generate("AES", "skey-a", 32, false)), *other, *again;
    char id[1024];

    (void)state;
    assert_string_equal(EVP_SKEY_get0_provider_name(key), "pkcs11");
    snprintf(id, sizeof(id), "%s", EVP_SKEY_get0_key_id(key));
    assert_non_null(strstr(id, "object=skey-a"));
    assert_non_null(strstr(id, "type=secret-key"));
    again = made(open_uri("AES", id));
    assert_true(same(key, again));
    EVP_SKEY_free(again);
    again = made(open_uri("AES", uri_of("skey-a", "")));
    assert_true(same(key, again));
    other = made(generate("AES", "skey-b", 32, false));
    assert_false(same(key, other));
    EVP_SKEY_free(other);
    EVP_SKEY_free(again);
    EVP_SKEY_free(key);
}

static void test_skey_taken(void **state)
{
    SKEY *second;

    (void)state;
    EVP_SKEY_free(made(generate("AES", "skey-taken", 16, false)));
    assert_null(generate("AES", "skey-taken", 16, false));
    assert_error("has this label already");
    second = made(generate("AES", "skey-taken", 16, true));
    assert_null(open_uri("AES", uri_of("skey-taken", "")));
    assert_error("which fits several");
    EVP_SKEY_free(made(open_uri("AES", EVP_SKEY_get0_key_id(second))));
    EVP_SKEY_free(second);
}

static void test_skey_refused(void **state)
{
    unsigned char bytes[16] = { 0 };
    OSSL_PARAM none = OSSL_PARAM_construct_end();
    const OSSL_PARAM both[] = { TEXT_PARAM(PKCS11_BRIDGE_KEYGEN_URI, token_uri()),
                                OSSL_PARAM_construct_octet_string(SKEY_RAW_BYTES, bytes, 16),
                                OSSL_PARAM_construct_end() };
    void *nowhere = &none;
    const OSSL_PARAM reference[] = {
        OSSL_PARAM_construct_octet_string("reference", &nowhere, sizeof(nowhere)),
        OSSL_PARAM_construct_end(),
    };

    (void)state;
    assert_null(generate("AES", NULL, 17, false));
    assert_error("cannot have 17 bytes");
    assert_null(open_uri("AES", uri_of("skey-nowhere", "")));
    assert_error("no secret key matches");
    assert_null(open_uri("AES", uri_of("skey-nowhere", ";type=private")));
    ERR_clear_error();
    assert_null(EVP_SKEY_import(libctx, "AES", OURS, SKEY_ALL, &none));
    assert_error("pkcs11_uri, raw-bytes");
    assert_null(EVP_SKEY_import(libctx, "AES", OURS, SKEY_ALL, both));
    assert_error("pkcs11_uri, raw-bytes");
    assert_null(EVP_SKEY_import(libctx, "AES", OURS, SKEY_ALL, reference));
    ERR_clear_error();
    EVP_SKEY_free(made(generate("GENERIC-SECRET", "skey-generic", 40, false)));
    assert_null(open_uri("AES", uri_of("skey-generic", "")));
    assert_error("no AES key");
    EVP_SKEY_free(made(open_uri("GENERIC-SECRET", uri_of("skey-generic", ""))));
}

/* Neither keys that were made nor those that were imported come out again. */
static void test_skey_export(void **state)
{
    unsigned char bytes[32] = { 1 };
    SKEY *keys[] = { made(generate("AES", NULL, 32, false)),
                     made(EVP_SKEY_import_raw_key(libctx, "AES", bytes, 32, OURS)) };
    const unsigned char *raw = NULL;
    size_t len = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        assert_int_not_equal(EVP_SKEY_get0_raw_key(keys[i], &raw, &len), 1);
        assert_error("CKA_EXTRACTABLE is off");
        EVP_SKEY_free(keys[i]);
    }
}

/* A key that somebody else made, and that the token gives out. */
static void operator_make(CK_SESSION_HANDLE session, const char *label, unsigned char *value,
                          CK_ULONG len)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE list[] = {
        { CKA_CLASS, &class, sizeof(class) },
        { CKA_KEY_TYPE, &type, sizeof(type) },
        { CKA_TOKEN, &yes, sizeof(yes) },
        { CKA_PRIVATE, &yes, sizeof(yes) },
        { CKA_SENSITIVE, &no, sizeof(no) },
        { CKA_EXTRACTABLE, &yes, sizeof(yes) },
        { CKA_ENCRYPT, &yes, sizeof(yes) },
        { CKA_DECRYPT, &yes, sizeof(yes) },
        { CKA_UNWRAP, &yes, sizeof(yes) },
        { CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
        { CKA_ID, (void *)(uintptr_t)label, strlen(label) },
        { CKA_VALUE, value, len },
    };
    CK_OBJECT_HANDLE object;

    assert_int_equal(p11->C_CreateObject(session, list, COUNT_OF(list), &object), CKR_OK);
}

#define SOFTHSM_ONLY                                                                               \
    do {                                                                                           \
        if (getenv("BRIDGE_TOKEN_URI") != NULL)                                                    \
            skip();                                                                                \
        operator_open();                                                                           \
    } while (0)

/* A new library context with an audit trail, of which this is the path. */
static const char *audit_begin(void)
{
    static char path[2048];
    char settings[4096];

    (void)snprintf(path, sizeof(path), "%s/skey-trail", getenv("BRIDGE_DIR"));
    (void)unlink(path);
    (void)snprintf(settings, sizeof(settings), "pkcs11-audit = %s\n", path);
    libctx = libctx_new(settings);
    return path;
}

/* Whoever has the bytes is in the trail. */
static void export_audited(void)
{
    const char *path = audit_begin();
    const unsigned char *raw = NULL;
    size_t len = 0;
    SKEY *key;

    key = made(open_uri("AES", uri_of("skey-open", "")));
    assert_int_equal(EVP_SKEY_get0_raw_key(key, &raw, &len), 1);
    assert_int_equal(lines_with(path, "\"operation\":\"export\""), 1);
    assert_int_equal(lines_with(path, "\"label\":\"skey-open\""), 1);
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* What the token gives out, libcrypto gets, unless the configuration is against it. */
static void test_skey_export_open(void **state)
{
    OSSL_LIB_CTX *kept = libctx;
    unsigned char bytes[32] = { 5, 6, 7 };
    const unsigned char *raw = NULL;
    CK_SESSION_HANDLE session;
    size_t len = 0;
    SKEY *key;

    (void)state;
    SOFTHSM_ONLY;
    EVP_SKEY_free(made(generate("AES", NULL, 32, false))); /* the module is up */
    session = operator_session(false);
    operator_make(session, "skey-open", bytes, sizeof(bytes));
    key = made(open_uri("AES", uri_of("skey-open", "")));
    for (int i = 0; i < 2; i++) {
        if (EVP_SKEY_get0_raw_key(key, &raw, &len) != 1)
            assert_error("nothing");
        assert_int_equal(len, sizeof(bytes));
        assert_memory_equal(raw, bytes, sizeof(bytes));
    }
    EVP_SKEY_free(key);
    libctx = libctx_new("pkcs11-module-allow-export = 1\n");
    key = made(open_uri("AES", uri_of("skey-open", "")));
    assert_int_not_equal(EVP_SKEY_get0_raw_key(key, &raw, &len), 1);
    assert_error("pkcs11-module-allow-export is off");
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
    export_audited();
    libctx = libctx_new_faulty("");
    key = made(open_uri("AES", uri_of("skey-open", "")));
    fault("C_GetAttributeValue 1 1 - len=+40");
    assert_int_not_equal(EVP_SKEY_get0_raw_key(key, &raw, &len), 1);
    assert_error("C_GetAttributeValue returned");
    fault("");
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
    libctx = kept;
    operator_destroy(session, "skey-open");
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
}

/* A key that is another object now is found again, another key in its place is an error. */
static void test_skey_found_again(void **state)
{
    OSSL_LIB_CTX *kept = libctx;
    unsigned char bytes[32] = { 8, 9 };
    CK_SESSION_HANDLE session;
    SKEY *key;
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *ctx;
    unsigned char out[32];
    int len = 0;

    (void)state;
    SOFTHSM_ONLY;
    ctx = EVP_CIPHER_CTX_new();
    libctx = libctx_new("pkcs11-module-cache-keys = false\n");
    cipher = EVP_CIPHER_fetch(libctx, "PKCS11-AES-256-ECB", NULL);
    EVP_SKEY_free(made(generate("AES", NULL, 32, false)));
    session = operator_session(false);
    operator_make(session, "skey-again", bytes, sizeof(bytes));
    key = made(open_uri("AES", uri_of("skey-again", "")));
    assert_true(same(key, key));
    operator_destroy(session, "skey-again");
    operator_make(session, "skey-again", bytes, sizeof(bytes));
    assert_true(same(key, key));
    operator_destroy(session, "skey-again");
    operator_make(session, "skey-again", bytes, 16);
    assert_int_equal(EVP_CipherInit_SKEY(ctx, cipher, key, NULL, 0, 1, NULL), 1);
    assert_int_not_equal(EVP_CipherUpdate(ctx, out, &len, bytes, 16), 1);
    assert_error("skey-again");
    operator_destroy(session, "skey-again");
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
    libctx = kept;
}

/* A key without a place on the token goes with its EVP_SKEY. */
static void test_skey_session_objects(void **state)
{
    OSSL_LIB_CTX *kept = libctx;
    unsigned char bytes[32] = { 1 };
    SKEY *made_here, *imported;

    (void)state;
    libctx = libctx_new_faulty("");
    made_here = made(generate("AES", NULL, 32, false));
    imported = made(EVP_SKEY_import_raw_key(libctx, "AES", bytes, 32, OURS));
    assert_true(same(imported, imported));
    calls_reset();
    EVP_SKEY_free(made_here);
    assert_int_equal(calls("C_DestroyObject"), 1);
    EVP_SKEY_free(imported);
    assert_int_equal(calls("C_DestroyObject"), 2);
    fault("C_GetAttributeValue 1 * CKR_ARGUMENTS_BAD"); /* it is made, and then nothing is said of
                                                           it */
    assert_null(generate("AES", NULL, 32, false));
    assert_error("C_GetAttributeValue");
    fault("");
    assert_int_equal(calls("C_DestroyObject"), 3);
    OSSL_LIB_CTX_free(libctx);
    libctx = kept;
}

/* OpenSSL 4.0 */
static void test_skey_store(void **state)
{
    SKEY *(*get1)(const OSSL_STORE_INFO *) = NULL;
    SKEY *key = made(generate("AES", "skey-store", 32, false)), *stored = NULL;
    OSSL_STORE_CTX *store;
    OSSL_STORE_INFO *info;

    (void)state;
    *(void **)&get1 = dlsym(RTLD_DEFAULT, "OSSL_STORE_INFO_get1_SKEY");
    if (get1 == NULL) {
        EVP_SKEY_free(key);
        skip();
    }
    store = OSSL_STORE_open_ex(uri_of("skey-store", ";type=secret-key"), libctx, NULL, NULL, NULL,
                               NULL, NULL, NULL);
    assert_non_null(store);
    info = OSSL_STORE_load(store);
    assert_non_null(info);
    assert_int_equal(OSSL_STORE_INFO_get_type(info), STORE_INFO_SKEY);
    stored = get1(info);
    assert_true(same(key, stored));
    OSSL_STORE_INFO_free(info);
    OSSL_STORE_close(store);
    EVP_SKEY_free(stored);
    EVP_SKEY_free(key);
}

/* RFC 3394, in software; 8 bytes more. */
static void wrap_software(const unsigned char *with, const unsigned char *value, int len,
                          unsigned char *out)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(plain, "AES-256-WRAP", NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;

    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    assert_int_equal(EVP_EncryptInit_ex2(ctx, cipher, with, NULL, NULL), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, out, &n, value, len), 1);
    assert_int_equal(n, len + 8);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
}

/* A key that comes wrapped is the key that was wrapped, and does not come out; with a byte less or
 * another one, there is none. */
static void test_skey_import_wrapped(void **state)
{
    unsigned char with[32] = { 11, 12 }, value[32] = { 13, 14, 15 }, wrapped[40];
    char with_uri[512];
    OSSL_PARAM params[] = { TEXT_PARAM(PKCS11_BRIDGE_KEYGEN_URI, uri_of("skey-arrived", "")),
                            TEXT_PARAM(PKCS11_BRIDGE_IMPORT_WITH, with_uri),
                            TEXT_PARAM(PKCS11_BRIDGE_IMPORT_BY, "aes-kw"),
                            OSSL_PARAM_construct_octet_string(PKCS11_BRIDGE_IMPORT_WRAPPED, wrapped,
                                                              sizeof(wrapped)),
                            OSSL_PARAM_construct_end() };
    CK_SESSION_HANDLE session;
    const unsigned char *raw = NULL;
    size_t len = 0;
    SKEY *key, *other;
    char place[512];

    (void)state;
    SOFTHSM_ONLY;
    EVP_SKEY_free(made(generate("AES", NULL, 32, false))); /* the module is up */
    session = operator_session(false);
    operator_make(session, "skey-with", with, sizeof(with));
    snprintf(with_uri, sizeof(with_uri), "%s", uri_of("skey-with", ""));
    snprintf(place, sizeof(place), "%s", uri_of("skey-arrived", ""));
    params[0] = TEXT_PARAM(PKCS11_BRIDGE_KEYGEN_URI, place);
    params[1] = TEXT_PARAM(PKCS11_BRIDGE_IMPORT_WITH, with_uri);
    wrap_software(with, value, sizeof(value), wrapped);
    wrapped[39] ^= 1;
    assert_null(EVP_SKEY_import(libctx, "AES", OURS, SKEY_ALL, params));
    assert_error("C_UnwrapKey");
    wrapped[39] ^= 1;
    params[3].data_size = 39;
    assert_null(EVP_SKEY_import(libctx, "AES", OURS, SKEY_ALL, params));
    ERR_clear_error();
    params[3].data_size = sizeof(wrapped);
    key = made(EVP_SKEY_import(libctx, "AES", OURS, SKEY_ALL, params));
    other = made(EVP_SKEY_import_raw_key(libctx, "AES", value, sizeof(value), OURS));
    assert_true(same(key, other));
    assert_int_not_equal(EVP_SKEY_get0_raw_key(key, &raw, &len), 1);
    assert_error("CKA_EXTRACTABLE is off");
    assert_non_null(strstr(EVP_SKEY_get0_key_id(key), "object=skey-arrived"));
    assert_null(EVP_SKEY_import(libctx, "AES", OURS, SKEY_ALL, params));
    assert_error("has this label already");
    EVP_SKEY_free(other);
    EVP_SKEY_free(key);
    operator_destroy(session, "skey-with");
    assert_int_equal(p11->C_CloseSession(session), CKR_OK);
}

/* OpenSSL 3.6 */
static SKEY *(*derive_skey)(EVP_PKEY_CTX *, void *, const char *, const char *, size_t,
                            const OSSL_PARAM *);

/* A pair on the token; NULL where it does not make such a one. */
static EVP_PKEY *token_pair(const char *type, const char *group)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, type, OURS);
    const OSSL_PARAM params[] = { TEXT_PARAM(PKCS11_BRIDGE_KEYGEN_URI, uri_of(type, "")),
                                  TEXT_PARAM(PKCS11_BRIDGE_KEYGEN_IF_EXISTS, "add"),
                                  OSSL_PARAM_construct_end() };
    EVP_PKEY *pair = NULL;

    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_true(group == NULL || EVP_PKEY_CTX_set_group_name(ctx, group) == 1);
    assert_int_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
    (void)EVP_PKEY_generate(ctx, &pair);
    EVP_PKEY_CTX_free(ctx);
    return pair;
}

static EVP_PKEY *software_pair(const char *type, const char *group)
{
    EVP_PKEY *pair = group != NULL ? EVP_PKEY_Q_keygen(plain, NULL, type, group)
                                   : EVP_PKEY_Q_keygen(plain, NULL, type);

    assert_non_null(pair);
    return pair;
}

/* What the peer, in software, has of it. */
static size_t agree(EVP_PKEY *own, EVP_PKEY *other, unsigned char *secret, size_t len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(plain, own, NULL);
    EVP_PKEY *copy = key_public_copy(other, plain);

    assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(ctx, copy), 1);
    assert_int_equal(EVP_PKEY_derive(ctx, secret, &len), 1);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(copy);
    return len;
}

static EVP_PKEY_CTX *derivation(EVP_PKEY *key, EVP_PKEY *peer)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, OURS);

    assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(ctx, peer), 1);
    return ctx;
}

static void assert_hmac(SKEY *key, unsigned char *value, size_t len)
{
    EVP_MAC *mac = EVP_MAC_fetch(libctx, "PKCS11-HMAC", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    const OSSL_PARAM params[] = { TEXT_PARAM(OSSL_MAC_PARAM_DIGEST, "SHA256"),
                                  OSSL_PARAM_construct_end() };
    unsigned char ours[32], theirs[32];
    size_t our_len = 0, their_len = 0;
    char error[512];

    assert_int_equal(EVP_MAC_init_SKEY(ctx, key, params), 1);
    assert_int_equal(EVP_MAC_update(ctx, value, 1), 1);
    if (EVP_MAC_final(ctx, ours, &our_len, sizeof(ours)) != 1)
        fail_msg("%s", last_error(error, sizeof(error)));
    assert_non_null(EVP_Q_mac(libctx, "HMAC", "provider=default", "SHA256", NULL, value, len, value,
                              1, theirs, sizeof(theirs), &their_len));
    assert_int_equal(our_len, their_len);
    assert_memory_equal(ours, theirs, our_len);
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
}

static void assert_aes(SKEY *key, unsigned char *value, size_t len)
{
    SKEY *other = made(EVP_SKEY_import_raw_key(libctx, "AES", value, len, OURS));

    assert_true(same(key, other));
    EVP_SKEY_free(other);
}

/* The secret of a key agreement is a key of the token, which does not come out. */
static void test_skey_derive(void **state)
{
    static const struct {
        const char *group, *type;
        size_t len;
    } cases[] = { { "P-256", "AES", 32 },
                  { "P-256", "GENERIC-SECRET", 32 },
                  { "P-384", "GENERIC-SECRET", 48 } };
    const unsigned char *raw = NULL;
    size_t raw_len = 0;

    (void)state;
    if (derive_skey == NULL)
        skip();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        EVP_PKEY *key = token_pair("EC", cases[i].group), *peer;
        unsigned char secret[66];
        EVP_PKEY_CTX *ctx;
        SKEY *derived;

        assert_non_null(key);
        peer = software_pair("EC", cases[i].group);
        assert_int_equal(agree(peer, key, secret, sizeof(secret)), cases[i].len);
        ctx = derivation(key, peer);
        derived = made(derive_skey(ctx, NULL, cases[i].type, OURS, cases[i].len, NULL));
        assert_string_equal(EVP_SKEY_get0_provider_name(derived), "pkcs11");
        assert_int_not_equal(EVP_SKEY_get0_raw_key(derived, &raw, &raw_len), 1);
        assert_error("CKA_EXTRACTABLE is off");
        if (strcmp(cases[i].type, "AES") == 0)
            assert_aes(derived, secret, cases[i].len);
        else
            assert_hmac(derived, secret, cases[i].len);
        EVP_SKEY_free(derived);
        EVP_PKEY_CTX_free(ctx);
        EVP_PKEY_free(peer);
        EVP_PKEY_free(key);
    }
}

/* The trail names the key that it is derived from. */
static void test_skey_derive_audited(void **state)
{
    OSSL_LIB_CTX *kept = libctx;
    EVP_PKEY *key, *peer;
    EVP_PKEY_CTX *ctx;
    const char *path;

    (void)state;
    if (derive_skey == NULL)
        skip();
    path = audit_begin();
    key = token_pair("EC", "P-256");
    peer = software_pair("EC", "P-256");
    ctx = derivation(key, peer);
    EVP_SKEY_free(made(derive_skey(ctx, NULL, "AES", OURS, 32, NULL)));
    assert_int_equal(lines_with(path, "\"mechanism\":\"CKM_ECDH1_DERIVE\""), 1);
    assert_int_equal(lines_with(path, "\"with-label\":\"EC\""), 1);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
    libctx = kept;
}

/* For a key management in software, and with a key in software, the bytes are on the host. */
static void test_skey_derive_bytes(void **state)
{
    EVP_PKEY *key, *peer, *soft;
    unsigned char secret[66];
    const unsigned char *raw = NULL;
    size_t raw_len = 0;
    EVP_PKEY_CTX *ctx;
    SKEY *derived;

    (void)state;
    if (derive_skey == NULL)
        skip();
    key = token_pair("EC", "P-256");
    peer = software_pair("EC", "P-256");
    (void)agree(peer, key, secret, sizeof(secret));
    ctx = derivation(key, peer);
    derived = made(derive_skey(ctx, NULL, "GENERIC-SECRET", "provider=default", 32, NULL));
    assert_string_equal(EVP_SKEY_get0_provider_name(derived), "default");
    assert_int_equal(EVP_SKEY_get0_raw_key(derived, &raw, &raw_len), 1);
    assert_int_equal(raw_len, 32);
    assert_memory_equal(raw, secret, 32);
    EVP_SKEY_free(derived);
    EVP_PKEY_CTX_free(ctx);
    soft = EVP_PKEY_Q_keygen(libctx, OURS, "EC", "P-256"); /* nobody asks a token for it */
    (void)agree(peer, soft, secret, sizeof(secret));
    ctx = derivation(soft, peer);
    derived = made(derive_skey(ctx, NULL, "AES", OURS, 32, NULL));
    assert_string_equal(EVP_SKEY_get0_provider_name(derived), "pkcs11");
    assert_aes(derived, secret, 32);
    EVP_SKEY_free(derived);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(soft);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(key);
}

/* A part of the secret, and what a KDF makes of it. */
static void test_skey_derive_refused(void **state)
{
    const OSSL_PARAM kdf[] = { TEXT_PARAM(OSSL_EXCHANGE_PARAM_KDF_TYPE, OSSL_KDF_NAME_X963KDF),
                               TEXT_PARAM(OSSL_EXCHANGE_PARAM_KDF_DIGEST, "SHA256"),
                               OSSL_PARAM_construct_end() };
    EVP_PKEY *key, *peer;
    EVP_PKEY_CTX *ctx;

    (void)state;
    if (derive_skey == NULL)
        skip();
    key = token_pair("EC", "P-256");
    peer = software_pair("EC", "P-256");
    ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, OURS);
    assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
    assert_null(derive_skey(ctx, NULL, "AES", OURS, 32, NULL));
    assert_error("no key or no peer is set");
    assert_int_equal(EVP_PKEY_derive_set_peer(ctx, peer), 1);
    assert_null(derive_skey(ctx, NULL, "AES", OURS, 16, NULL));
    assert_error("a key of all of it");
    assert_null(derive_skey(ctx, NULL, "AES", OURS, 32, kdf));
    assert_error("derive without it");
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(key);
}

/* X25519, where the token has it: a point of small order makes every secret zero. */
static void test_skey_derive_x25519(void **state)
{
    const unsigned char zero[32] = { 0 };
    unsigned char secret[32];
    EVP_PKEY *key = token_pair("X25519", NULL), *peer = software_pair("X25519", NULL);
    EVP_PKEY *bad = EVP_PKEY_new_raw_public_key_ex(plain, "X25519", NULL, zero, 32);
    EVP_PKEY_CTX *ctx;
    SKEY *derived;

    (void)state;
    if (key != NULL && derive_skey != NULL) {
        (void)agree(peer, key, secret, sizeof(secret));
        ctx = derivation(key, peer);
        derived = made(derive_skey(ctx, NULL, "AES", OURS, 32, NULL));
        assert_aes(derived, secret, 32);
        EVP_SKEY_free(derived);
        EVP_PKEY_CTX_free(ctx);
        ctx = derivation(key, bad);
        assert_null(derive_skey(ctx, NULL, "AES", OURS, 32, NULL));
        assert_error("of small order");
        EVP_PKEY_CTX_free(ctx);
    } else {
        puts("the token does not have X25519, or libcrypto no EVP_PKEY_derive_SKEY");
    }
    EVP_PKEY_free(bad);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(key);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_skey_token_object),    cmocka_unit_test(test_skey_taken),
        cmocka_unit_test(test_skey_refused),         cmocka_unit_test(test_skey_export),
        cmocka_unit_test(test_skey_session_objects), cmocka_unit_test(test_skey_store),
        cmocka_unit_test(test_skey_export_open),     cmocka_unit_test(test_skey_found_again),
        cmocka_unit_test(test_skey_import_wrapped),  cmocka_unit_test(test_skey_derive),
        cmocka_unit_test(test_skey_derive_bytes),    cmocka_unit_test(test_skey_derive_refused),
        cmocka_unit_test(test_skey_derive_x25519),   cmocka_unit_test(test_skey_derive_audited),
    };
    int failed;

    if (!skey_functions()) {
        puts("this libcrypto does not know EVP_SKEY");
        return SKIPPED;
    }
    *(void **)&derive_skey = dlsym(RTLD_DEFAULT, "EVP_PKEY_derive_SKEY");
    libctx = libctx_new("");
    plain = libctx_new_plain();
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    OSSL_LIB_CTX_free(plain);
    OSSL_LIB_CTX_free(libctx);
    return failed;
}
