/* Private keys and public halves that share a CKA_ID: each key has its own half, or is refused; and
 * what it costs to find out. */
#include "harness.h"
#include "operator.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/store.h>
#include <openssl/x509.h>

#ifndef CKM_EC_EDWARDS_KEY_PAIR_GEN
#define CKM_EC_EDWARDS_KEY_PAIR_GEN 0x1055UL
#endif
#ifndef CKK_EC_EDWARDS
#define CKK_EC_EDWARDS 0x40UL
#endif

static CK_SESSION_HANDLE session; /* stays open, and logged in, for the whole test */
static OSSL_LIB_CTX *plain;

/* What a test has put on the token, and takes away at its end. */
static CK_OBJECT_HANDLE made[64];
static size_t made_count;

static void clear(void)
{
    while (made_count != 0)
        assert_int_equal(p11->C_DestroyObject(session, made[--made_count]), CKR_OK);
}

static int teardown(void **state)
{
    (void)state;
    clear();
    return 0;
}

struct template
{
    CK_ATTRIBUTE list[24];
    CK_ULONG count;
    unsigned char values[24][1500];
};

static void add(struct template *t, CK_ATTRIBUTE_TYPE type, const void *value, size_t len)
{
    memcpy(t->values[t->count], value, len);
    t->list[t->count] = (CK_ATTRIBUTE){ type, t->values[t->count], len };
    t->count++;
}

static void add_bool(struct template *t, CK_ATTRIBUTE_TYPE type, bool yes)
{
    CK_BBOOL value = yes ? CK_TRUE : CK_FALSE;

    add(t, type, &value, sizeof(value));
}

static void add_bn(struct template *t, CK_ATTRIBUTE_TYPE type, EVP_PKEY *key, const char *name)
{
    unsigned char buf[600];
    BIGNUM *bn = NULL;

    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &bn), 1);
    add(t, type, buf, (size_t)BN_bn2bin(bn, buf));
    BN_clear_free(bn);
}

/* label: NULL for none */
static void add_names(struct template *t, const char *id, const char *label)
{
    if (id != NULL)
        add(t, CKA_ID, id, strlen(id));
    if (label != NULL)
        add(t, CKA_LABEL, label, strlen(label));
    add_bool(t, CKA_TOKEN, true);
}

static void begin(struct template *t, CK_OBJECT_CLASS class, const char *id, const char *label)
{
    *t = (struct template){ .count = 0 };
    add(t, CKA_CLASS, &class, sizeof(class));
    add_names(t, id, label);
    add_bool(t, CKA_PRIVATE, class == CKO_PRIVATE_KEY);
}

static void create(struct template *t)
{
    assert_int_equal(p11->C_CreateObject(session, t->list, t->count, &made[made_count++]), CKR_OK);
}

static bool is_rsa(EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "RSA");
}

static void add_key_type(struct template *t, EVP_PKEY *key)
{
    static const CK_BYTE p256[] = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 };
    static const CK_BYTE p384[] = { 6, 5, 0x2b, 0x81, 4, 0, 0x22 };
    CK_KEY_TYPE type = is_rsa(key) ? CKK_RSA : CKK_EC;

    add(t, CKA_KEY_TYPE, &type, sizeof(type));
    if (!is_rsa(key) && EVP_PKEY_get_bits(key) == 256)
        add(t, CKA_EC_PARAMS, p256, sizeof(p256));
    else if (!is_rsa(key))
        add(t, CKA_EC_PARAMS, p384, sizeof(p384));
}

/* What a private key may be used for. */
struct usage {
    bool sign, derive, always_authenticate;
};

static const struct usage all = { true, true, false };

/* An RSA key goes without its public exponent, as PKCS#11 allows: else it would have all that is
 * public with it. */
static void put_private_for(EVP_PKEY *key, const char *id, const char *label, struct usage usage)
{
    struct template t;

    begin(&t, CKO_PRIVATE_KEY, id, label);
    add_key_type(&t, key);
    add_bool(&t, CKA_SIGN, usage.sign);
    add_bool(&t, CKA_DERIVE, usage.derive);
    if (usage.always_authenticate)
        add_bool(&t, CKA_ALWAYS_AUTHENTICATE, true);
    for (size_t i = 0; is_rsa(key) && i < RSA_NUMBERS; i++)
        if (rsa_numbers[i].type != CKA_PUBLIC_EXPONENT)
            add_bn(&t, rsa_numbers[i].type, key, rsa_numbers[i].name);
    if (!is_rsa(key))
        add_bn(&t, CKA_VALUE, key, OSSL_PKEY_PARAM_PRIV_KEY);
    create(&t);
}

static void put_private(EVP_PKEY *key, const char *id, const char *label)
{
    put_private_for(key, id, label, all);
}

static void put_public(EVP_PKEY *key, const char *id, const char *label)
{
    unsigned char point[140] = { 4 }; /* OCTET STRING */
    struct template t;
    size_t len = 0;

    begin(&t, CKO_PUBLIC_KEY, id, label);
    add_key_type(&t, key);
    if (is_rsa(key)) {
        add_bn(&t, CKA_MODULUS, key, OSSL_PKEY_PARAM_RSA_N);
        add_bn(&t, CKA_PUBLIC_EXPONENT, key, OSSL_PKEY_PARAM_RSA_E);
    } else {
        assert_int_equal(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point + 2,
                                                         sizeof(point) - 2, &len),
                         1);
        point[1] = (unsigned char)len;
        add(&t, CKA_EC_POINT, point, len + 2);
    }
    create(&t);
}

/* A certificate of key, with words in its name that make it longer. */
static X509 *certify(EVP_PKEY *key, unsigned words)
{
    X509 *certificate = X509_new_ex(plain, NULL);
    X509_NAME *name = X509_get_subject_name(certificate);

    for (unsigned i = 0; i <= words; i++)
        assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                                    (const unsigned char *)"somebody or other", -1,
                                                    -1, 0),
                         1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 1000);
    assert_int_equal(X509_set_pubkey(certificate, key), 1);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    return certificate;
}

static void put_long_certificate(EVP_PKEY *key, const char *id, const char *label, unsigned words)
{
    static unsigned char der[20000];
    CK_CERTIFICATE_TYPE type = CKC_X_509;
    X509 *certificate = certify(key, words);
    unsigned char *position = der;
    struct template t;
    int len = i2d_X509(certificate, NULL);

    assert_true(len > 0 && (size_t)len <= sizeof(der));
    assert_int_equal(i2d_X509(certificate, &position), len);
    begin(&t, CKO_CERTIFICATE, id, label);
    add(&t, CKA_CERTIFICATE_TYPE, &type, sizeof(type));
    add(&t, CKA_SUBJECT, "", 0);
    t.list[t.count++] = (CK_ATTRIBUTE){ CKA_VALUE, der, (CK_ULONG)len };
    create(&t);
    X509_free(certificate);
}

static void put_certificate(EVP_PKEY *key, const char *id, const char *label)
{
    put_long_certificate(key, id, label, 0);
}

static EVP_PKEY *ec(void)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-256");

    assert_non_null(key);
    return key;
}

/* The keys of a whole URI; at most most of them, and their number. A load that works leaves no
 * errors. */
static size_t load(OSSL_LIB_CTX *libctx, const char *uri, EVP_PKEY **keys, size_t most)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    size_t count = 0;

    assert_non_null(store);
    assert_int_equal(OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY), 1);
    ERR_clear_error();
    while (!OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        if (info != NULL && count < most) {
            assert_int_equal(ERR_peek_error(), 0);
            keys[count++] = OSSL_STORE_INFO_get1_PKEY(info);
        }
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return count;
}

static EVP_PKEY *load_one(OSSL_LIB_CTX *libctx, const char *uri)
{
    EVP_PKEY *key = NULL;

    return load(libctx, uri, &key, 1) == 1 ? key : NULL;
}

/* Whether what the one signs, the other verifies: in the library context of each. */
static bool sign_and_verify(OSSL_LIB_CTX *libctx, EVP_PKEY *key, OSSL_LIB_CTX *verifiers,
                            EVP_PKEY *verifier)
{
    const char *digest = EVP_PKEY_is_a(key, "ED25519") ? NULL : "SHA256";
    EVP_MD_CTX *a = EVP_MD_CTX_new(), *b = EVP_MD_CTX_new();
    unsigned char sig[512];
    size_t len = sizeof(sig);
    bool ok;

    assert_int_equal(EVP_DigestSignInit_ex(a, NULL, digest, libctx, NULL, key, NULL), 1);
    assert_int_equal(EVP_DigestSign(a, sig, &len, (const unsigned char *)"m", 1), 1);
    assert_int_equal(EVP_DigestVerifyInit_ex(b, NULL, digest, verifiers, NULL, verifier, NULL), 1);
    ok = EVP_DigestVerify(b, sig, len, (const unsigned char *)"m", 1) == 1;
    ERR_clear_error();
    EVP_MD_CTX_free(a);
    EVP_MD_CTX_free(b);
    return ok;
}

static bool agrees(OSSL_LIB_CTX *libctx, EVP_PKEY *key, EVP_PKEY *own)
{
    EVP_PKEY *peer = EVP_PKEY_is_a(key, "EC")
                         ? EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-256")
                         : EVP_PKEY_Q_keygen(plain, NULL, EVP_PKEY_get0_type_name(key));
    unsigned char x[32], y[32];
    bool ok;

    assert_true(key_derives(libctx, key, peer, x));
    assert_true(key_derives(plain, peer, own, y));
    ok = memcmp(x, y, sizeof(x)) == 0;
    EVP_PKEY_free(peer);
    return ok;
}

/* Whether the public half that key shows is its own. */
static bool right(OSSL_LIB_CTX *libctx, EVP_PKEY *key, bool signs)
{
    EVP_PKEY *own = key_public_copy(key, plain);
    bool ok = signs ? sign_and_verify(libctx, key, plain, own) : agrees(libctx, key, own);

    EVP_PKEY_free(own);
    return ok;
}

/* Whether key shows the public half of this software key. */
static bool is_half_of(EVP_PKEY *key, EVP_PKEY *software)
{
    EVP_PKEY *copy = key_public_copy(key, plain);
    bool same = EVP_PKEY_eq(copy, software) == 1;

    EVP_PKEY_free(copy);
    return same;
}

/* Loads a URI that must give exactly these keys, each with its own half, however often. asks: how
 * many keys are asked for it each time, which is one signature each. */
static void check(OSSL_LIB_CTX *libctx, const char *uri, EVP_PKEY *const *software, size_t count,
                  unsigned asks)
{
    for (unsigned n = 0; n < 3; n++) {
        unsigned long before = calls("C_Sign");
        EVP_PKEY *keys[8];
        size_t loaded = load(libctx, uri, keys, COUNT_OF(keys));
        unsigned long signatures = calls("C_Sign") - before;
        unsigned seen = 0;

        if (loaded != count)
            fail_msg("%s: %zu keys and not %zu", uri, loaded, count);
        for (size_t i = 0; i < loaded; i++) {
            if (!right(libctx, keys[i], true))
                fail_msg("%s: key %zu shows another's public half", uri, i);
            for (size_t s = 0; s < count; s++)
                seen |= (unsigned)is_half_of(keys[i], software[s]) << s;
            EVP_PKEY_free(keys[i]);
        }
        if (seen != (1U << count) - 1)
            fail_msg("%s: not every key is there", uri);
        if (signatures != asks)
            fail_msg("%s: %lu signatures to load it and not %u", uri, signatures, asks);
    }
}

static void check_one(OSSL_LIB_CTX *libctx, const char *uri, EVP_PKEY *software, unsigned asks)
{
    check(libctx, uri, &software, 1, asks);
}

#define OTHERS    "belong to other keys, as it shows when it is asked"
#define AMBIGUOUS "it cannot be asked"

static void check_none(OSSL_LIB_CTX *libctx, const char *uri, const char *why)
{
    char error[1024];
    EVP_PKEY *key = load_one(libctx, uri);

    if (key != NULL)
        fail_msg("%s: a key, with %s half", uri,
                 right(libctx, key, true) ? "its own" : "another's");
    if (strstr(last_error(error, sizeof(error)), why) == NULL)
        fail_msg("%s: \"%s\" is not in \"%s\"", uri, why, error);
}

#define BY_ID          "pkcs11:token=soft;id=pairs;type=private"
#define BY(label)      "pkcs11:token=soft;object=" label ";type=private"
#define BY_BOTH(label) "pkcs11:token=soft;id=pairs;object=" label ";type=private"

/* Two EC keys, to be put on the token with one CKA_ID. */
struct two {
    OSSL_LIB_CTX *libctx;
    EVP_PKEY *key[2];
};

static struct two two_begin(const char *settings)
{
    struct two two = { libctx_new_faulty(settings), { ec(), ec() } };

    assert_non_null(two.libctx);
    return two;
}

static void two_end(struct two *two)
{
    fault("");
    clear();
    EVP_PKEY_free(two->key[0]);
    EVP_PKEY_free(two->key[1]);
    OSSL_LIB_CTX_free(two->libctx);
}

/* Private halves in another order than public ones. labels: of private 0 and 1, public 0 and 1 */
static void two_put(const struct two *two, const char *const labels[4])
{
    put_private(two->key[0], "pairs", labels[0]);
    put_private(two->key[1], "pairs", labels[1]);
    put_public(two->key[1], "pairs", labels[3]);
    put_public(two->key[0], "pairs", labels[2]);
}

/* By label nobody has to be asked; by id there are two public keys to choose from. */
static void test_pairs_two_labels(void **state)
{
    struct two two = two_begin("");

    (void)state;
    two_put(&two, (const char *const[]){ "pair-a", "pair-b", "pair-a", "pair-b" });
    check(two.libctx, BY_ID, two.key, 2, 2);
    check_one(two.libctx, BY("pair-a"), two.key[0], 0);
    check_one(two.libctx, BY("pair-b"), two.key[1], 0);
    check_one(two.libctx, BY_BOTH("pair-a"), two.key[0], 0);
    check_one(two.libctx, BY_BOTH("pair-b"), two.key[1], 0);
    two_end(&two);
}

/* The same where nothing is remembered and the objects are too many to be read for their name. */
static void test_pairs_two_labels_among_many(void **state)
{
    struct two two = two_begin("");

    (void)state;
    two_put(&two, (const char *const[]){ "pair-a", "pair-b", "pair-a", "pair-b" });
    put_certificate(two.key[1], "pairs", "pair-b");
    put_certificate(two.key[0], "pairs", "pair-a");
    check(two.libctx, BY_ID, two.key, 2, 2);
    check_one(two.libctx, BY("pair-a"), two.key[0], 0);
    check_one(two.libctx, BY("pair-b"), two.key[1], 0);
    two_end(&two);
}

static void test_pairs_labels_do_not_tell(void **state)
{
    static const struct {
        const char *labels[4];
        unsigned by_label; /* the questions; 0: this is not tried */
    } cases[] = {
        { { NULL, NULL, NULL, NULL }, 0 },
        { { "pair", "pair", "pair", "pair" }, 2 },
        { { "pair", "pair", NULL, NULL }, 2 },
        { { NULL, NULL, "pair", "pair" }, 0 },
        { { "pair", "pair", "other", "other" }, 2 },
        { { "pair", "pair", "pair", "other" }, 3 }, /* the label is no reason to be the second's */
        { { "pair", NULL, "other", "pair" }, 0 },
        { { "pair-a", "pair-b", "pair-b", "pair-a" }, 0 }, /* crossed */
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct two two = two_begin("");

        printf("labels %zu\n", i);
        two_put(&two, cases[i].labels);
        check(two.libctx, BY_ID, two.key, 2, 2);
        if (cases[i].by_label != 0) {
            check(two.libctx, BY("pair"), two.key, 2, cases[i].by_label);
            check(two.libctx, BY_BOTH("pair"), two.key, 2, cases[i].by_label);
        }
        two_end(&two);
    }
}

/* Without a CKA_ID the label is all there is. */
static void test_pairs_without_id(void **state)
{
    struct two two = two_begin("");

    (void)state;
    for (size_t i = 0; i < 2; i++)
        put_private(two.key[i], NULL, "pair");
    for (size_t i = 2; i-- > 0;)
        put_public(two.key[i], NULL, "pair");
    check(two.libctx, BY("pair"), two.key, 2, 2);
    two_end(&two);
}

/* All keys of the token, found by their class. */
static void test_pairs_in_a_list(void **state)
{
    struct two two = two_begin("pkcs11-ambiguous = first\n");
    EVP_PKEY *keys[64];
    size_t count, own = 0;

    (void)state;
    two_put(&two, (const char *const[]){ NULL, NULL, NULL, NULL });
    count = load(two.libctx, "pkcs11:token=soft;type=private", keys, COUNT_OF(keys));
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < 2; k++)
            if (is_half_of(keys[i], two.key[k])) {
                assert_true(right(two.libctx, keys[i], true));
                own |= k + 1;
            }
        EVP_PKEY_free(keys[i]);
    }
    assert_int_equal(own, 3);
    two_end(&two);
}

/* Three pairs, one of them on another curve, and a public object that is there twice. */
static void test_pairs_of_curves_and_copies(void **state)
{
    struct two two = two_begin("");
    EVP_PKEY *p384 = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-384");

    (void)state;
    put_public(p384, "pairs", "pair");
    put_public(two.key[0], "pairs", "pair");
    put_public(two.key[0], "pairs", "copy");
    put_private(two.key[0], "pairs", "pair");
    check_one(two.libctx, BY_ID, two.key[0], 0); /* it can be no other's, and labels agree */
    OSSL_LIB_CTX_free(two.libctx);               /* and the places that it remembers */
    two.libctx = libctx_new_faulty("");
    put_private(p384, "pairs", "pair");
    put_public(two.key[1], "pairs", "pair");
    check(two.libctx, BY_ID, (EVP_PKEY *[]){ two.key[0], p384 }, 2, 1);
    EVP_PKEY_free(p384);
    two_end(&two);
}

/* A public object that is named otherwise than the private one, the only one there is: asked, and
 * taken or refused. */
static void test_pairs_public_with_another_label(void **state)
{
    struct two two = two_begin("");

    (void)state;
    put_private(two.key[0], "pairs", "pair");
    put_public(two.key[1], "pairs", "other");
    check_none(two.libctx, BY("pair"), OTHERS);
    check_none(two.libctx, BY_ID, OTHERS);
    put_public(two.key[0], "pairs", "another");
    check_one(two.libctx, BY("pair"), two.key[0], 1);
    check_one(two.libctx, BY_ID, two.key[0], 1);
    assert_int_equal(p11->C_DestroyObject(session, made[1]), CKR_OK);
    made[1] = made[--made_count];
    check_one(two.libctx, BY("pair"), two.key[0], 1);
    two_end(&two);
}

/* Two private keys and one public object between them: the name is not what gives it to either. */
static void test_pairs_rivals(void **state)
{
    static const char *const cases[][2] = { { "pair", "pair" }, { "pair", NULL }, { NULL, NULL } };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (size_t own = 0; own < 2; own++) {
            struct two two = two_begin("");

            for (size_t k = 0; k < 2; k++)
                put_private(two.key[k], "pairs", cases[i][0]);
            put_public(two.key[own], "pairs", cases[i][1]);
            check_one(two.libctx, BY_ID, two.key[own], 2);
            two_end(&two);
        }
}

/* What the labels say of certificates, where there is no public object. */
static void test_pairs_certificates(void **state)
{
    struct two two = two_begin("");

    (void)state;
    put_private(two.key[0], "pairs", "pair");
    put_certificate(two.key[1], "pairs", "other");
    check_none(two.libctx, BY("pair"), OTHERS);
    check_none(two.libctx, BY_ID, OTHERS);
    put_certificate(two.key[0], "pairs", "a certificate");
    check_one(two.libctx, BY("pair"), two.key[0], 1);
    check_one(two.libctx, BY_ID, two.key[0], 1);
    two_end(&two);
}

/* One key's certificates, renewed and renewed: no doubt. One is longer than what is read at once.
 */
static void test_pairs_renewed_certificates(void **state)
{
    struct two two = two_begin("");

    (void)state;
    put_private(two.key[0], "pairs", "pair");
    put_long_certificate(two.key[0], "pairs", "pair", 150);
    check_one(two.libctx, BY("pair"), two.key[0], 0);
    put_certificate(two.key[0], "pairs", "2024");
    put_certificate(two.key[0], "pairs", "2025");
    check_one(two.libctx, BY("pair"), two.key[0], 0);
    check_one(two.libctx, BY_ID, two.key[0], 0);
    two_end(&two);
}

/* A certificate of another type of key, or of a curve with points of the same length, with the
 * CKA_ID of a key that has its own. */
static void test_pairs_certificates_of_other_types(void **state)
{
    static const char *const types[] = { "RSA", "brainpoolP256r1", "secp256k1" };
    struct two two = two_begin("");

    (void)state;
    put_private(two.key[0], "pairs", "pair");
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        EVP_PKEY *other = i == 0 ? EVP_PKEY_Q_keygen(plain, NULL, "RSA", (size_t)2048)
                                 : EVP_PKEY_Q_keygen(plain, NULL, "EC", types[i]);

        put_certificate(other, "pairs", "pair");
        check_none(two.libctx, BY("pair"), "its public half is not on the token");
        EVP_PKEY_free(other);
    }
    put_certificate(two.key[0], "pairs", "pair");
    check_one(two.libctx, BY("pair"), two.key[0], 0);
    two_end(&two);
}

/* Public objects of other keys, and the key's own certificate. */
static void test_pairs_certificate_after_objects(void **state)
{
    struct two two = two_begin("");

    (void)state;
    put_private(two.key[0], "pairs", "pair");
    put_public(two.key[1], "pairs", "other");
    put_certificate(two.key[1], "pairs", "pair");
    check_none(two.libctx, BY("pair"), OTHERS);
    put_certificate(two.key[0], "pairs", "pair");
    check_one(two.libctx, BY("pair"), two.key[0], 2); /* once for each kind */
    two_end(&two);
}

/* RSA keys that do not show their public exponent: the modulus tells, better than the labels, which
 * are crossed here, and nobody is asked. (SoftHSM cannot sign with such keys.) */
static void test_pairs_rsa(void **state)
{
    static const char *const uris[] = { BY("pair-a"), BY("pair-b") };
    struct two two = two_begin("");

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        EVP_PKEY_free(two.key[i]);
        two.key[i] = EVP_PKEY_Q_keygen(plain, NULL, "RSA", (size_t)2048);
    }
    two_put(&two, (const char *const[]){ "pair-a", "pair-b", "pair-b", "pair-a" });
    calls_reset();
    for (size_t i = 0; i < 2; i++) {
        EVP_PKEY *key = load_one(two.libctx, uris[i]);

        assert_true(key != NULL && is_half_of(key, two.key[i]));
        EVP_PKEY_free(key);
    }
    assert_int_equal(calls("C_SignInit"), 0);
    two_end(&two);
}

/* Keys that may only agree are asked by that. */
static void test_pairs_that_only_agree(void **state)
{
    struct two two = two_begin("");
    unsigned long signatures, agreements, secrets_gone;
    EVP_PKEY *keys[3];

    (void)state;
    for (size_t i = 0; i < 2; i++)
        put_private_for(two.key[i], "pairs", "pair", (struct usage){ .derive = true });
    for (size_t i = 2; i-- > 0;)
        put_public(two.key[i], "pairs", "pair");
    for (unsigned n = 0; n < 3; n++) {
        calls_reset();
        assert_int_equal(load(two.libctx, BY_ID, keys, COUNT_OF(keys)), 2);
        signatures = calls("C_SignInit");
        agreements = calls("C_DeriveKey");
        secrets_gone = calls("C_DestroyObject");
        for (size_t i = 0; i < 2; i++) {
            assert_true(right(two.libctx, keys[i], false));
            EVP_PKEY_free(keys[i]);
        }
        assert_int_equal(signatures, 0);
        assert_int_equal(agreements, 2);
        assert_int_equal(secrets_gone, 2);
    }
    two_end(&two);
}

/* The same where the token does not have the mechanism to sign with. */
static void test_pairs_mechanism_missing(void **state)
{
    struct two two = two_begin("");
    EVP_PKEY *keys[3];

    (void)state;
    two_put(&two, (const char *const[]){ NULL, NULL, NULL, NULL });
    fault("C_SignInit 1 * CKR_MECHANISM_INVALID");
    assert_int_equal(load(two.libctx, BY_ID, keys, COUNT_OF(keys)), 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(right(two.libctx, keys[i], false));
        EVP_PKEY_free(keys[i]);
    }
    two_end(&two);
}

/* Keys that cannot be asked, because they may do neither, or want a login for it each time. */
static const struct usage unasked[] = {
    { .sign = false, .derive = false, .always_authenticate = false },
    { .sign = true, .derive = true, .always_authenticate = true }
};

/* With one public key there is nothing to choose, whatever it is called; with several the label
 * says; and where it does not, the key is refused. */
static void test_pairs_that_cannot_be_asked(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(unasked); i++) {
        struct two two = two_begin("");
        EVP_PKEY *key;

        calls_reset();
        put_private_for(two.key[0], "pairs", "pair", unasked[i]);
        put_public(two.key[0], "pairs", "other");
        key = load_one(two.libctx, BY("pair"));
        assert_true(key != NULL && is_half_of(key, two.key[0]));
        EVP_PKEY_free(key);
        put_public(two.key[1], "pairs", "another");
        check_none(two.libctx, BY("pair"), AMBIGUOUS);
        check_none(two.libctx, BY_ID, AMBIGUOUS);
        put_public(two.key[0], "pairs", "pair");
        key = load_one(two.libctx, BY_ID);
        assert_true(key != NULL && is_half_of(key, two.key[0]));
        EVP_PKEY_free(key);
        put_private_for(two.key[1], "pairs", "pair", unasked[i]); /* whose is the label now? */
        check_none(two.libctx, BY("pair"), AMBIGUOUS);
        assert_int_equal(calls("C_SignInit") + calls("C_DeriveKey"), 0);
        two_end(&two);
    }
}

/* Edwards and Montgomery pairs, which SoftHSM makes with one mechanism. */
static void put_raw_pair(const char *curve, bool signs)
{
    CK_MECHANISM mechanism = { CKM_EC_EDWARDS_KEY_PAIR_GEN, NULL, 0 };
    unsigned char params[32] = { 0x13, (unsigned char)strlen(curve) }; /* PrintableString */
    struct template public = { .count = 0 }, private = { .count = 0 };

    memcpy(params + 2, curve, strlen(curve));
    add_names(&public, "pairs", NULL);
    add(&public, CKA_EC_PARAMS, params, 2 + strlen(curve));
    add_names(&private, "pairs", NULL);
    add_bool(&private, CKA_PRIVATE, true);
    add_bool(&private, CKA_SIGN, signs);
    add_bool(&private, CKA_DERIVE, !signs);
    assert_int_equal(p11->C_GenerateKeyPair(session, &mechanism, public.list, public.count,
                                            private.list, private.count, &made[made_count],
                                            &made[made_count + 1]),
                     CKR_OK);
    made_count += 2;
}

static void test_pairs_edwards_and_montgomery(void **state)
{
    static const struct {
        const char *curve;
        bool signs;
    } cases[] = { { "edwards25519", true }, { "curve25519", false } };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct two two = two_begin("");
        unsigned long signatures, agreements;
        EVP_PKEY *keys[3];

        put_raw_pair(cases[i].curve, cases[i].signs);
        put_raw_pair(cases[i].curve, cases[i].signs);
        calls_reset();
        assert_int_equal(load(two.libctx, BY_ID, keys, COUNT_OF(keys)), 2);
        signatures = calls("C_Sign");
        agreements = calls("C_DeriveKey");
        for (size_t k = 0; k < 2; k++) {
            assert_true(right(two.libctx, keys[k], cases[i].signs));
            EVP_PKEY_free(keys[k]);
        }
        assert_int_equal(signatures, cases[i].signs ? 2 : 0);
        assert_int_equal(agreements, cases[i].signs ? 0 : 2);
        two_end(&two);
    }
}

/* Public operations on the token take the public object that is the key's own. */
static void test_pairs_public_operations(void **state)
{
    static const char *const cases[][4] = { { "pair-a", "pair-b", "pair-a", "pair-b" },
                                            { "pair", "pair", "pair", "pair" },
                                            { NULL, NULL, NULL, NULL } };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct two two = two_begin("pkcs11-public-operations = token\n");
        EVP_PKEY *keys[3];

        two_put(&two, cases[i]);
        assert_int_equal(load(two.libctx, BY_ID, keys, COUNT_OF(keys)), 2);
        for (size_t k = 0; k < 2; k++) {
            calls_reset();
            assert_true(right(two.libctx, keys[k], true));
            assert_true(sign_and_verify(two.libctx, keys[k], two.libctx, keys[k]));
            assert_false(sign_and_verify(two.libctx, keys[k], two.libctx, keys[1 - k]));
            assert_int_equal(calls("C_Verify"), 2);
        }
        for (size_t k = 0; k < 2; k++)
            EVP_PKEY_free(keys[k]);
        two_end(&two);
    }
}

/* A key whose handle went stale is found again among its namesakes: by asking, where that was
 * needed. */
static void test_pairs_found_again(void **state)
{
    static const bool public[][2] = { { true, true }, { true, false }, { false, true } };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(public); i++) {
        struct two two = two_begin("");
        EVP_PKEY *keys[3];
        size_t count;

        for (size_t k = 0; k < 2; k++)
            put_private(two.key[k], "pairs", "pair");
        for (size_t k = 0; k < 2; k++)
            if (public[i][k])
                put_public(two.key[k], "pairs", "pair");
        count = load(two.libctx, BY_ID, keys, COUNT_OF(keys));
        assert_int_equal(count, (size_t) public[i][0] + public[i][1]);
        for (size_t k = 0; k < count; k++) {
            fault("C_SignInit 1 1 CKR_KEY_HANDLE_INVALID");
            assert_true(right(two.libctx, keys[k], true));
            EVP_PKEY_free(keys[k]);
        }
        two_end(&two);
    }
}

/* Trouble with the token while a key is asked is mended as at any other time. */
static void test_pairs_trouble(void **state)
{
    static const char *const rules[] = {
        "C_SignInit 1 1 CKR_DEVICE_ERROR",
        "C_Sign 1 1 CKR_DEVICE_ERROR",
        "C_Sign 2 1 CKR_SESSION_HANDLE_INVALID",
        "C_SignInit 2 1 CKR_KEY_HANDLE_INVALID",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        struct two two = two_begin("");

        two_put(&two, (const char *const[]){ NULL, NULL, NULL, NULL });
        fault(rules[i]);
        printf("%s\n", rules[i]);
        for (unsigned n = 0; n < 2; n++) {
            EVP_PKEY *keys[3];

            assert_int_equal(load(two.libctx, BY_ID, keys, COUNT_OF(keys)), 2);
            for (size_t k = 0; k < 2; k++) {
                assert_true(right(two.libctx, keys[k], true));
                EVP_PKEY_free(keys[k]);
            }
        }
        two_end(&two);
    }
}

/* A token that refuses to sign does not make the first public key the right one. */
static void test_pairs_refused(void **state)
{
    struct two two = two_begin("");

    (void)state;
    two_put(&two, (const char *const[]){ NULL, NULL, NULL, NULL });
    fault("C_Sign 1 * CKR_FUNCTION_REJECTED");
    check_none(two.libctx, BY_ID, "CKR_FUNCTION_REJECTED");
    fault("");
    check(two.libctx, BY_ID, two.key, 2, 2);
    two_end(&two);
}

/* What the ordinary cases cost, to the call: as it was when no key was ever asked. first: with what
 * a process pays that begins (token/calls has the list, and the calls of C_GetTokenInfo, which are
 * left out here); again: the second time. */
static void test_pairs_calls(void **state)
{
    static const struct {
        const char *private, *public, *certificate; /* labels; "": the object is not there */
        const char *uri;
        unsigned long first, again;
    } cases[] = {
        { "pair", "pair", "", BY("pair"), 9, 2 },
        { "pair", "pair", "", BY_ID, 9, 2 },
        { "pair", "pair", "", BY_BOTH("pair"), 9, 2 },
        { "pair", "pair", "pair", BY("pair"), 10, 2 },
        { "pair", "pair", "pair", BY_ID, 10, 2 },
        { "pair", "pair", "pair", BY_BOTH("pair"), 10, 2 },
        { "pair", "pair", "a certificate", BY_ID, 10, 2 },
        { "pair", NULL, "pair", BY_ID, 10, 2 },
        { NULL, "pair", "pair", BY_ID, 10, 2 },
        { NULL, NULL, NULL, BY_ID, 10, 2 },
        { "pair", NULL, "pair", BY("pair"), 13, 5 },
        { "pair", "", "pair", BY_ID, 16, 8 },
        { "pair", "", NULL, BY_ID, 16, 8 },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *const label[] = { cases[i].public, cases[i].certificate };
        struct two two = two_begin("");

        put_private(two.key[0], "pairs", cases[i].private);
        if (label[0] == NULL || label[0][0] != '\0')
            put_public(two.key[0], "pairs", label[0]);
        if (label[1] == NULL || label[1][0] != '\0')
            put_certificate(two.key[0], "pairs", label[1]);
        for (unsigned n = 0; n < 3; n++) {
            EVP_PKEY *key;
            unsigned long expected = n == 0 ? cases[i].first : cases[i].again, count;

            calls_reset();
            key = key_load_uri(two.libctx, cases[i].uri);
            count = calls(NULL) - calls("C_GetTokenInfo");
            assert_true(key != NULL && is_half_of(key, two.key[0]));
            EVP_PKEY_free(key);
            if (count != expected)
                fail_msg("case %zu, time %u: %lu calls and not %lu", i, n, count, expected);
        }
        two_end(&two);
    }
}

/* With the name of a test, or a pattern of names: these alone. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_pairs_two_labels, teardown),
        cmocka_unit_test_teardown(test_pairs_two_labels_among_many, teardown),
        cmocka_unit_test_teardown(test_pairs_labels_do_not_tell, teardown),
        cmocka_unit_test_teardown(test_pairs_without_id, teardown),
        cmocka_unit_test_teardown(test_pairs_in_a_list, teardown),
        cmocka_unit_test_teardown(test_pairs_of_curves_and_copies, teardown),
        cmocka_unit_test_teardown(test_pairs_public_with_another_label, teardown),
        cmocka_unit_test_teardown(test_pairs_rivals, teardown),
        cmocka_unit_test_teardown(test_pairs_certificates, teardown),
        cmocka_unit_test_teardown(test_pairs_renewed_certificates, teardown),
        cmocka_unit_test_teardown(test_pairs_certificates_of_other_types, teardown),
        cmocka_unit_test_teardown(test_pairs_certificate_after_objects, teardown),
        cmocka_unit_test_teardown(test_pairs_rsa, teardown),
        cmocka_unit_test_teardown(test_pairs_that_only_agree, teardown),
        cmocka_unit_test_teardown(test_pairs_mechanism_missing, teardown),
        cmocka_unit_test_teardown(test_pairs_that_cannot_be_asked, teardown),
        cmocka_unit_test_teardown(test_pairs_edwards_and_montgomery, teardown),
        cmocka_unit_test_teardown(test_pairs_public_operations, teardown),
        cmocka_unit_test_teardown(test_pairs_found_again, teardown),
        cmocka_unit_test_teardown(test_pairs_trouble, teardown),
        cmocka_unit_test_teardown(test_pairs_refused, teardown),
        cmocka_unit_test_teardown(test_pairs_calls, teardown),
    };
    int failed;

    plain = libctx_new_plain();
    operator_open();
    assert_int_equal(p11->C_Initialize(NULL), CKR_OK);
    session = operator_session(true);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    OSSL_LIB_CTX_free(plain);
    return failed;
}
