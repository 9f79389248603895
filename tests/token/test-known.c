/* Known answers, with keys that are imported into the token: decryption with every kind of good and
 * bad padding, key agreement with points at the edges, and what software has to say of the same key
 * and the same input. */
#include "harness.h"
#include "operator.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

/* An RSA key of 1024 bits, in PKCS#8, and "known answer" encrypted with it by OpenSSL 3.0. */
static const char rsa_pkcs8[] =
    "30820275020100300d06092a864886f70d01010105000482025f3082025b02010002818100b68686ab0b60a7"
    "75aebc764a3b591f6cb347bbac5e1d96fd78b0618369074ef980694cf6f80a645d40614cbdc399daecc6f102"
    "cfab5673e4ef62a77b6b82add6bb9d907603c3a8c1eb86a6c8155359cc827231aba2ca010efe27ed993fcef7"
    "c34c58f4c9e377ca077417c6cbd0bc8ec5d65a6141595585757f1929da75a6d8a102030100010281801ce8b9"
    "b3a59dad684a40b74b9292cf135c61e42baccc6af9c27fcd320f148541a741065ba7759de7d726920d0c49f6"
    "0ec283b1ba4a9ceac63bd4184ac8006e9feba5bd24c37a391d2d7f4ea770b77d18efb3c8e72b384d6969dd19"
    "9300b5d7e339732d1fad0e69d6f55c97e2c9a72a9cf70d87a8d0540901e083c12d7d034001024100d8cf7d09"
    "350df403a0609e02ff34595418e7933b7ded0e2e603927fa1bb4b6f6ed8c17fa87c23fd3f826829aebaceb55"
    "1c107e52afa9ccd46fec61a6ee136981024100d7848fa9f4b72bd4863a8ccbcf6a211d0a9f0657f8ae2c26c6"
    "9d1a430b063650a0ef9f7a2b1f0677c5405a999fdbbdc6e86557dff6cb8d78ac628156caefbf210240760f6e"
    "4fe0330be819a1e30950bcc9d3d087f19598b9c85a1a8da5263d860787a8ccfb95b1ed65e2602360454a066c"
    "537927c611f293ecf4d5498bd76196f2810240346b25962cd33071ec83e922d93bf2f9e14f74778920b3d46a"
    "926384d2f59bd8588c6fb9832b74a344f2b6168f6f1ee57638cffac548150cb8c0ecbc737784810240672453"
    "a84d4649b82007ac7b2da64f8b1f91d0987c62003c04292ac2084b20f539902086d61a3d73f1ce45a2630cf4"
    "bf7d0be27aad742ac72d71b2985ec7e6f1";
static const char known_pkcs1[] =
    "830899c2e8bba604fc83c3d535bec9b8095c276403b0593b887ea0ed97821b8d2528e857e7220bbc2393d543"
    "ccbd4f9412cdef69ebb01677683bba7d61ef9c150a6a515ae6510189ad97c42175885f3efc7746f1198ecb80"
    "595a8fbdd85cfdfac558e02a9e1c70ee8bb6044e4e5fe448de4ade6470a44b7e9cd7c4edfe57c1a0";
static const char known_oaep[] =
    "952970349e81b2d8144263a4d5f4f186328b9516c5875a34993f3bde2de198a7908c27219c1c79cbfb50afb6"
    "ddefcf3cbbf7222fc3d5effa54d693f44ea932e87af2aac319e58c9c02c6a4a064ed21f72746c550a620956a"
    "3423ad0db2bfcf91bcfdfb544b208bb0fefcd05193a3de5d07376164e19268cfa2904af927514aaa";
static const char known_oaep_sha256[] = /* MGF1 with SHA-1, label "label" */
    "51ba51935e463622ca7f6443355d491ef9e85bf859ceaec685e3fc48cfea1e5505f95d9ded1e7166a1eaf7b0"
    "831c611e9e789f6284fee0d20177d4d7d991c8ddd200bf9fa2d70dd115fca38d74a61f442b30033542bf2944"
    "4355ca63fd539205f71a83f892088138a362926b6286bae45b71fd0f4f523bd5eb24257aca42ca05";

#define SIZE 128 /* of the modulus */

static CK_SESSION_HANDLE session; /* stays open, and logged in, for the whole test */

struct template
{
    CK_ATTRIBUTE list[24];
    CK_ULONG count;
    unsigned char values[24][600];
};

static void add(struct template *t, CK_ATTRIBUTE_TYPE type, const void *value, size_t len)
{
    memcpy(t->values[t->count], value, len);
    t->list[t->count] = (CK_ATTRIBUTE){ type, t->values[t->count], len };
    t->count++;
}

static void add_bool(struct template *t, CK_ATTRIBUTE_TYPE type, CK_BBOOL value)
{
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

static void begin(struct template *t, CK_OBJECT_CLASS class, CK_KEY_TYPE type, const char *label)
{
    *t = (struct template){ .count = 0 };
    add(t, CKA_CLASS, &class, sizeof(class));
    add(t, CKA_KEY_TYPE, &type, sizeof(type));
    add(t, CKA_LABEL, label, strlen(label));
    add(t, CKA_ID, label, strlen(label));
    add_bool(t, CKA_TOKEN, CK_TRUE);
    add_bool(t, CKA_PRIVATE, class == CKO_PRIVATE_KEY);
}

static void create(struct template *t)
{
    CK_OBJECT_HANDLE object;

    assert_int_equal(p11->C_CreateObject(session, t->list, t->count, &object), CKR_OK);
}

static void import_rsa(EVP_PKEY *key, const char *label)
{
    struct template t;

    begin(&t, CKO_PRIVATE_KEY, CKK_RSA, label);
    add_bool(&t, CKA_DECRYPT, CK_TRUE);
    add_bool(&t, CKA_SIGN, CK_TRUE);
    for (size_t i = 0; i < RSA_NUMBERS; i++)
        add_bn(&t, rsa_numbers[i].type, key, rsa_numbers[i].name);
    create(&t);
    begin(&t, CKO_PUBLIC_KEY, CKK_RSA, label);
    for (size_t i = 0; i < RSA_PUBLIC_NUMBERS; i++)
        add_bn(&t, rsa_numbers[i].type, key, rsa_numbers[i].name);
    create(&t);
}

/* CKA_EC_PARAMS: the curve's OID, or its explicit parameters. */
static size_t ec_params(const char *group, int flag, unsigned char *der, size_t size)
{
    EC_GROUP *curve = EC_GROUP_new_by_curve_name(EC_curve_nist2nid(group));
    int len;

    EC_GROUP_set_asn1_flag(curve, flag);
    len = i2d_ECPKParameters(curve, NULL);
    assert_true(len > 0 && (size_t)len <= size);
    assert_int_equal(i2d_ECPKParameters(curve, &der), len);
    EC_GROUP_free(curve);
    return (size_t)len;
}

static bool length_in_one_byte; /* of a point, where DER has it in two */

static void import_ec_as(EVP_PKEY *key, const char *group, int flag, const char *label)
{
    unsigned char params[512], point[140];
    size_t params_len = ec_params(group, flag, params, sizeof(params)), len = 0;
    struct template t;

    begin(&t, CKO_PRIVATE_KEY, CKK_EC, label);
    add_bool(&t, CKA_DERIVE, CK_TRUE);
    add_bool(&t, CKA_SIGN, CK_TRUE);
    add(&t, CKA_EC_PARAMS, params, params_len);
    add_bn(&t, CKA_VALUE, key, OSSL_PKEY_PARAM_PRIV_KEY);
    create(&t);
    begin(&t, CKO_PUBLIC_KEY, CKK_EC, label);
    add(&t, CKA_EC_PARAMS, params, params_len);
    assert_int_equal(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point + 3,
                                                     sizeof(point) - 3, &len),
                     1);
    point[0] = 0x04; /* OCTET STRING */
    if (len > 127 && !length_in_one_byte) {
        point[1] = 0x81;
        point[2] = (unsigned char)len;
        add(&t, CKA_EC_POINT, point, len + 3);
    } else {
        point[1] = 0x04;
        point[2] = (unsigned char)len;
        add(&t, CKA_EC_POINT, point + 1, len + 2);
    }
    create(&t);
}

static void import_ec(EVP_PKEY *key, const char *group, const char *label)
{
    import_ec_as(key, group, OPENSSL_EC_NAMED_CURVE, label);
}

struct pair {
    OSSL_LIB_CTX *libctx, *plain;
    EVP_PKEY *token, *software;
};

static void pair_free(struct pair *pair)
{
    EVP_PKEY_free(pair->token);
    EVP_PKEY_free(pair->software);
    OSSL_LIB_CTX_free(pair->libctx);
    OSSL_LIB_CTX_free(pair->plain);
}

static struct pair rsa_pair(const char *label)
{
    struct pair pair = { .libctx = libctx_new(""), .plain = libctx_new_plain() };
    long len = 0;
    unsigned char *der = OPENSSL_hexstr2buf(rsa_pkcs8, &len);
    const unsigned char *position = der;

    pair.software = d2i_AutoPrivateKey_ex(NULL, &position, len, pair.plain, NULL);
    assert_non_null(pair.software);
    import_rsa(pair.software, label);
    pair.token = key_load(pair.libctx, label, "private");
    assert_non_null(pair.token);
    OPENSSL_free(der);
    return pair;
}

struct padding {
    int mode;
    const char *digest, *mgf1, *label;
};

static EVP_PKEY_CTX *decryption(OSSL_LIB_CTX *libctx, EVP_PKEY *key, const struct padding *padding)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);

    assert_int_equal(EVP_PKEY_decrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, padding->mode), 1);
    if (padding->digest != NULL)
        assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, padding->digest, NULL), 1);
    if (padding->mgf1 != NULL)
        assert_int_equal(EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, padding->mgf1, NULL), 1);
    if (padding->label != NULL)
        assert_int_equal(EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, OPENSSL_strdup(padding->label),
                                                          (int)strlen(padding->label)),
                         1);
    return ctx;
}

static void test_known_ciphertexts(void **state)
{
    static const struct {
        const char *hex;
        struct padding padding;
    } cases[] = {
        { known_pkcs1, { RSA_PKCS1_PADDING, NULL, NULL, NULL } },
        { known_oaep, { RSA_PKCS1_OAEP_PADDING, NULL, NULL, NULL } },
        { known_oaep_sha256, { RSA_PKCS1_OAEP_PADDING, "SHA256", "SHA1", "label" } },
    };
    struct pair pair = rsa_pair("known-ciphertexts");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        EVP_PKEY_CTX *ctx = decryption(pair.libctx, pair.token, &cases[i].padding);
        unsigned char *in = OPENSSL_hexstr2buf(cases[i].hex, NULL), out[SIZE];
        size_t len = sizeof(out);

        assert_int_equal(EVP_PKEY_decrypt(ctx, out, &len, in, SIZE), 1);
        assert_int_equal(len, 12);
        assert_memory_equal(out, "known answer", 12);
        OPENSSL_free(in);
        EVP_PKEY_CTX_free(ctx);
    }
    pair_free(&pair);
}

/* The ciphertext of a whole block, padding and all. */
static void encrypt_block(const struct pair *pair, const unsigned char *block, unsigned char *out)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(pair->plain, pair->software, NULL);
    size_t len = SIZE;

    assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING), 1);
    assert_int_equal(EVP_PKEY_encrypt(ctx, out, &len, block, SIZE), 1);
    EVP_PKEY_CTX_free(ctx);
}

/* 00 02, no zeros, then a zero at each of the positions, 0 for none. */
struct block {
    const char *name;
    unsigned char first, second;
    size_t zeros[3];
    int message; /* its length, -1: the padding is wrong */
};

static const struct block blocks[] = {
    { "longest padding", 0, 2, { SIZE - 1 }, 0 },
    { "one byte", 0, 2, { SIZE - 2 }, 1 },
    { "shortest padding", 0, 2, { 10 }, SIZE - 11 },
    { "a zero in the message", 0, 2, { 10, 20, 30 }, SIZE - 11 },
    { "padding of 7 bytes", 0, 2, { 9 }, -1 },
    { "padding of 1 byte", 0, 2, { 3 }, -1 },
    { "no padding", 0, 2, { 2 }, -1 },
    { "zeros in the padding", 0, 2, { 5, 40 }, -1 },
    { "zero at the end of the padding, another later", 0, 2, { 9, 100 }, -1 },
    { "no zero", 0, 2, { 0 }, -1 },
    { "type 0", 0, 0, { 50 }, -1 },
    { "type 1", 0, 1, { 50 }, -1 },
    { "type 3", 0, 3, { 50 }, -1 },
    { "type 255", 0, 255, { 50 }, -1 },
    { "first byte 1", 1, 2, { 50 }, -1 },
    { "first byte 128", 128, 2, { 50 }, -1 },
};

static void block_make(const struct block *block, unsigned char *out)
{
    for (size_t i = 0; i < SIZE; i++)
        out[i] = (unsigned char)(i + 1);
    out[0] = block->first;
    out[1] = block->second;
    for (size_t i = 0; i < COUNT_OF(block->zeros) && block->zeros[i] != 0; i++)
        out[block->zeros[i]] = 0;
}

/* One decryption with or without implicit rejection: what comes out and how long it is. */
static bool decrypt_pkcs1(const struct pair *pair, unsigned implicit, const unsigned char *in,
                          unsigned char *out, size_t *len)
{
    static const struct padding padding = { RSA_PKCS1_PADDING, NULL, NULL, NULL };
    EVP_PKEY_CTX *ctx = decryption(pair->libctx, pair->token, &padding);
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_uint("implicit-rejection", &implicit),
                                  OSSL_PARAM_construct_end() };
    bool ok;

    assert_int_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
    *len = SIZE;
    ok = EVP_PKEY_decrypt(ctx, out, len, in, SIZE) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static void test_known_pkcs1_paddings(void **state)
{
    struct pair pair = rsa_pair("known-pkcs1");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        unsigned char block[SIZE], in[SIZE], out[SIZE], again[SIZE];
        size_t len, again_len, message = (size_t)blocks[i].message;
        bool good = blocks[i].message >= 0;

        if (blocks[i].first == 128)
            continue; /* above this modulus */
        block_make(&blocks[i], block);
        encrypt_block(&pair, block, in);
        if (decrypt_pkcs1(&pair, 0, in, out, &len) != good)
            fail_msg("%s: explicit", blocks[i].name);
        if (good && (len != message || memcmp(out, block + SIZE - len, len) != 0))
            fail_msg("%s: another message", blocks[i].name);
        if (!decrypt_pkcs1(&pair, 1, in, out, &len) ||
            !decrypt_pkcs1(&pair, 1, in, again, &again_len))
            fail_msg("%s: implicit rejection fails", blocks[i].name);
        if (len != again_len || memcmp(out, again, len) != 0)
            fail_msg("%s: implicit rejection is not deterministic", blocks[i].name);
        if (good && (len != message || memcmp(out, block + SIZE - len, len) != 0))
            fail_msg("%s: implicit rejection of a good one", blocks[i].name);
        if (!good && (len > SIZE - 11 || (len > 8 && memcmp(out, block + SIZE - len, len) == 0)))
            fail_msg("%s: part of the block", blocks[i].name);
    }
    ERR_clear_error();
    pair_free(&pair);
}

/* Lengths other than the modulus', and a number above it. */
static void test_known_wrong_lengths(void **state)
{
    static const size_t lengths[] = { 0, 1, SIZE - 1, SIZE + 1, SIZE + 8 };
    static const struct padding paddings[] = { { RSA_PKCS1_PADDING, NULL, NULL, NULL },
                                               { RSA_PKCS1_OAEP_PADDING, NULL, NULL, NULL },
                                               { RSA_PKCS1_OAEP_PADDING, "SHA256", NULL, NULL },
                                               { RSA_NO_PADDING, NULL, NULL, NULL } };
    struct pair pair = rsa_pair("known-lengths");
    unsigned char in[SIZE + 8], out[SIZE];

    (void)state;
    memset(in, 0xff, sizeof(in));
    for (size_t p = 0; p < COUNT_OF(paddings); p++) {
        EVP_PKEY_CTX *ctx = decryption(pair.libctx, pair.token, &paddings[p]);
        size_t len = sizeof(out);

        for (size_t i = 0; i < COUNT_OF(lengths); i++, len = sizeof(out))
            assert_true(EVP_PKEY_decrypt(ctx, out, &len, in, lengths[i]) <= 0);
        assert_true(EVP_PKEY_decrypt(ctx, out, &len, in, SIZE) <= 0);
        EVP_PKEY_CTX_free(ctx);
    }
    ERR_clear_error();
    pair_free(&pair);
}

/* RFC 8017 §7.1.1, with a mistake of choice. */
enum mistake { NO_MISTAKE, FIRST_BYTE, LABEL_HASH, NO_ONE, PADDING_BYTE, ONE_IS_TWO, MISTAKES };

static void mgf1_xor(const char *digest, const unsigned char *seed, size_t seed_len,
                     unsigned char *data, size_t len)
{
    unsigned char input[SIZE + 4], mask[EVP_MAX_MD_SIZE];
    size_t size = 1, done = 0;

    memcpy(input, seed, seed_len);
    for (unsigned char n = 0; done < len; n++) {
        const unsigned char counter[] = { 0, 0, 0, n };

        memcpy(input + seed_len, counter, sizeof(counter));
        assert_int_equal(EVP_Q_digest(NULL, digest, NULL, input, seed_len + 4, mask, &size), 1);
        for (size_t i = 0; i < size && done < len; i++)
            data[done++] ^= mask[i];
    }
}

static void oaep_make(const char *digest, enum mistake mistake, unsigned char *block)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned char *seed = block + 1, *db;
    size_t h = 0, db_len, one;

    memset(block, 0, SIZE);
    assert_int_equal(EVP_Q_digest(NULL, digest, NULL, "", 0, hash, &h), 1);
    db = seed + h;
    db_len = SIZE - 1 - h;
    one = db_len - 8; /* before a message of 7 bytes */
    memset(seed, 0x5a, h);
    memcpy(db, hash, h);
    db[one] = 1;
    memcpy(db + one + 1, "message", 7);
    block[0] = mistake == FIRST_BYTE;
    db[0] ^= mistake == LABEL_HASH;
    if (mistake == NO_ONE)
        memset(db + h, 0, db_len - h);
    if (mistake == PADDING_BYTE)
        db[h] = 0x80;
    if (mistake == ONE_IS_TWO)
        db[one] = 2;
    mgf1_xor(digest, seed, h, db, db_len);
    mgf1_xor(digest, db, db_len, seed, h);
}

static void test_known_oaep_paddings(void **state)
{
    static const char *const digests[] = { "SHA1", "SHA256" }; /* by the token, by the host */
    struct pair pair = rsa_pair("known-oaep");

    (void)state;
    for (size_t d = 0; d < COUNT_OF(digests); d++)
        for (enum mistake mistake = 0; mistake < MISTAKES; mistake++) {
            const struct padding padding = { RSA_PKCS1_OAEP_PADDING, digests[d], NULL, NULL };
            EVP_PKEY_CTX *ctx = decryption(pair.libctx, pair.token, &padding);
            unsigned char block[SIZE], in[SIZE], out[SIZE];
            size_t len = sizeof(out);
            bool good = mistake == NO_MISTAKE;

            oaep_make(digests[d], mistake, block);
            encrypt_block(&pair, block, in);
            if ((EVP_PKEY_decrypt(ctx, out, &len, in, SIZE) == 1) != good)
                fail_msg("%s mistake %u", digests[d], mistake);
            if (good)
                assert_memory_equal(out, "message", len);
            EVP_PKEY_CTX_free(ctx);
        }
    ERR_clear_error();
    pair_free(&pair);
}

static EVP_PKEY *ec_key(OSSL_LIB_CTX *libctx, const char *propq, const char *group,
                        const unsigned char *point, size_t point_len, const BIGNUM *private)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctx, "EC", propq);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params;
    EVP_PKEY *key = NULL;

    OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
    OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, point_len);
    if (private != NULL)
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, private);
    params = OSSL_PARAM_BLD_to_param(builder);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    if (EVP_PKEY_fromdata(ctx, &key, private != NULL ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY,
                          params) != 1)
        key = NULL;
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static bool derive(OSSL_LIB_CTX *libctx, EVP_PKEY *key, EVP_PKEY *peer, unsigned char *out,
                   size_t *len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(libctx, key, NULL);
    bool ok = EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, peer) == 1 &&
              EVP_PKEY_derive(ctx, out, len) == 1;

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* The private key 3, 2^64 + 1 or one of full length: small ones have long runs of zeros. */
static EVP_PKEY *software_key(OSSL_LIB_CTX *libctx, const char *group, EC_GROUP *curve, int n)
{
    BIGNUM *d = BN_dup(EC_GROUP_get0_order(curve));
    EC_POINT *q = EC_POINT_new(curve);
    unsigned char point[140];
    size_t len;
    EVP_PKEY *key;

    if (n == 0)
        BN_set_word(d, 3);
    else
        BN_sub_word(d, 12345);
    assert_int_equal(EC_POINT_mul(curve, q, d, NULL, NULL, NULL), 1);
    len = EC_POINT_point2oct(curve, q, POINT_CONVERSION_UNCOMPRESSED, point, sizeof(point), NULL);
    key = ec_key(libctx, NULL, group, point, len, d);
    EC_POINT_free(q);
    BN_free(d);
    return key;
}

/* With the peer whose x coordinate is x: as software has it. False where there is no such point. */
static bool compare_derived(const struct pair *pair, const char *group, EC_GROUP *curve,
                            const BIGNUM *x, int y)
{
    EC_POINT *point = EC_POINT_new(curve);
    bool there = EC_POINT_set_compressed_coordinates(curve, point, x, y, NULL) == 1;
    unsigned char encoded[140], a[80], b[80];
    size_t a_len = sizeof(a), b_len = sizeof(b), len;
    EVP_PKEY *peer;

    if (there) {
        len = EC_POINT_point2oct(curve, point, POINT_CONVERSION_UNCOMPRESSED, encoded,
                                 sizeof(encoded), NULL);
        peer = ec_key(pair->plain, NULL, group, encoded, len, NULL);
        assert_non_null(peer);
        assert_true(derive(pair->plain, pair->software, peer, a, &a_len));
        assert_true(derive(pair->libctx, pair->token, peer, b, &b_len));
        assert_int_equal(a_len, b_len);
        assert_memory_equal(a, b, a_len);
        EVP_PKEY_free(peer);
    }
    EC_POINT_free(point);
    ERR_clear_error();
    return there;
}

/* Points with the smallest and the largest x, and with long runs of zeros or ones in it. */
static unsigned compare_edges(const struct pair *pair, const char *group, EC_GROUP *curve)
{
    BIGNUM *p = BN_new(), *x = BN_new();
    int bits = EC_GROUP_get_degree(curve);
    unsigned count = 0;

    assert_int_equal(EC_GROUP_get_curve(curve, p, NULL, NULL, NULL), 1);
    for (unsigned n = 0; n < 24; n++)
        for (int y = 0; y < 2; y++) {
            BN_set_word(x, n);
            count += compare_derived(pair, group, curve, x, y);
            BN_copy(x, p);
            BN_sub_word(x, n + 1);
            count += compare_derived(pair, group, curve, x, y);
            BN_zero(x);
            BN_set_bit(x, bits / 2 + (int)n);
            count += compare_derived(pair, group, curve, x, y);
            BN_sub_word(x, 1);
            count += compare_derived(pair, group, curve, x, y);
        }
    BN_free(p);
    BN_free(x);
    return count;
}

static void test_known_ecdh_edges(void **state)
{
    static const char *const groups[] = { "P-256", "P-384", "P-521" };

    (void)state;
    for (size_t g = 0; g < COUNT_OF(groups); g++)
        for (int n = 0; n < 2; n++) {
            struct pair pair = { .libctx = libctx_new(""), .plain = libctx_new_plain() };
            EC_GROUP *curve = EC_GROUP_new_by_curve_name(EC_curve_nist2nid(groups[g]));
            char label[32];

            snprintf(label, sizeof(label), "known-%s-%d", groups[g], n);
            pair.software = software_key(pair.plain, groups[g], curve, n);
            assert_non_null(pair.software);
            import_ec(pair.software, groups[g], label);
            pair.token = key_load(pair.libctx, label, "private");
            assert_non_null(pair.token);
            if (compare_edges(&pair, groups[g], curve) < 50)
                fail_msg("%s: too few points", groups[g]);
            EC_GROUP_free(curve);
            pair_free(&pair);
        }
}

/* A peer that is not on the curve never gets to the token. */
static void test_known_ecdh_off_the_curve(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *key = key_load(libctx, "p256", "private");
    EVP_PKEY *peer;
    unsigned char point[65] = { 4, 1, 2, 3 }, out[80];
    size_t len = sizeof(out);

    (void)state;
    peer = ec_key(libctx, "provider=pkcs11", "P-256", point, sizeof(point), NULL);
    assert_true(peer == NULL || !derive(libctx, key, peer, out, &len));
    ERR_clear_error();
    EVP_PKEY_free(peer);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* Points of small order: the secret would be zero, whatever the key (RFC 7748 §6.1). */
static void test_known_x25519_small_order(void **state)
{
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    };
    OSSL_LIB_CTX *libctx = libctx_new("");
    EVP_PKEY *key = EVP_PKEY_Q_keygen(libctx, "provider=pkcs11", "X25519");

    (void)state;
    assert_non_null(key);
    for (size_t i = 0; i < COUNT_OF(points); i++) {
        long point_len = 0;
        unsigned char *point = OPENSSL_hexstr2buf(points[i], &point_len), out[32];
        EVP_PKEY *peer =
            EVP_PKEY_new_raw_public_key_ex(libctx, "X25519", NULL, point, (size_t)point_len);
        size_t len = sizeof(out);

        assert_non_null(peer);
        assert_false(derive(libctx, key, peer, out, &len));
        EVP_PKEY_free(peer);
        OPENSSL_free(point);
    }
    ERR_clear_error();
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

static bool ecdsa_sign(OSSL_LIB_CTX *libctx, EVP_PKEY *key, unsigned n, unsigned char *sig,
                       size_t *len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestSignInit_ex(ctx, NULL, "SHA256", libctx, NULL, key, NULL) == 1 &&
              EVP_DigestSign(ctx, sig, len, (const unsigned char *)&n, sizeof(n)) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool ecdsa_verify(OSSL_LIB_CTX *libctx, EVP_PKEY *key, unsigned n, const unsigned char *sig,
                         size_t len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", libctx, NULL, key, NULL) == 1 &&
              EVP_DigestVerify(ctx, sig, len, (const unsigned char *)&n, sizeof(n)) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

/* Signatures whose r or s begins with zeros, one in 256 each: shorter in DER, and valid. */
static void test_known_ecdsa_short_numbers(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();
    EVP_PKEY *key = key_load(libctx, "p256", "private");
    EVP_PKEY *public = key_public_copy(key, plain);
    unsigned short_r = 0, short_s = 0;

    (void)state;
    for (unsigned n = 0; n < 20000 && (short_r == 0 || short_s == 0); n++) {
        unsigned char sig[80];
        size_t len = sizeof(sig);

        assert_true(ecdsa_sign(libctx, key, n, sig, &len));
        short_r += sig[3] < 32;
        short_s += sig[4 + sig[3] + 1] < 32;
        if (sig[3] < 32 || sig[4 + sig[3] + 1] < 32)
            assert_true(ecdsa_verify(plain, public, n, sig, len));
    }
    assert_true(short_r != 0 && short_s != 0);
    EVP_PKEY_free(key);
    EVP_PKEY_free(public);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* A key whose token spells out the numbers of its curve. */
static void test_known_explicit_curves(void **state)
{
    static const char *const groups[] = { "P-256", "P-384", "P-521" };
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();

    (void)state;
    for (size_t i = 0; i < COUNT_OF(groups); i++) {
        EVP_PKEY *software = EVP_PKEY_Q_keygen(plain, NULL, "EC", groups[i]), *key;
        char label[32], error[512];
        unsigned char sig[160];
        size_t len = sizeof(sig);

        snprintf(label, sizeof(label), "explicit-%s", groups[i]);
        import_ec_as(software, groups[i], OPENSSL_EC_EXPLICIT_CURVE, label);
        ERR_clear_error();
        key = key_load(libctx, label, "private");
        if (key == NULL)
            fail_msg("%s: %s", groups[i], last_error(error, sizeof(error)));
        assert_int_equal(EVP_PKEY_eq(key, software), 1);
        assert_true(ecdsa_sign(libctx, key, 1, sig, &len));
        assert_true(ecdsa_verify(plain, software, 1, sig, len));
        EVP_PKEY_free(key);
        EVP_PKEY_free(software);
    }
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

/* As tpm2-pkcs11 has it. */
static void test_known_length_in_one_byte(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_new(""), *plain = libctx_new_plain();
    EVP_PKEY *software = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-521"), *key;
    char error[512];

    (void)state;
    length_in_one_byte = true;
    import_ec(software, "P-521", "one-byte");
    length_in_one_byte = false;
    ERR_clear_error();
    key = key_load(libctx, "one-byte", "private");
    if (key == NULL)
        fail_msg("%s", last_error(error, sizeof(error)));
    assert_int_equal(EVP_PKEY_eq(key, software), 1);
    EVP_PKEY_free(key);
    EVP_PKEY_free(software);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_ciphertexts),
        cmocka_unit_test(test_known_pkcs1_paddings),
        cmocka_unit_test(test_known_wrong_lengths),
        cmocka_unit_test(test_known_oaep_paddings),
        cmocka_unit_test(test_known_ecdh_edges),
        cmocka_unit_test(test_known_ecdh_off_the_curve),
        cmocka_unit_test(test_known_x25519_small_order),
        cmocka_unit_test(test_known_ecdsa_short_numbers),
        cmocka_unit_test(test_known_explicit_curves),
        cmocka_unit_test(test_known_length_in_one_byte),
    };

    operator_open();
    assert_int_equal(p11->C_Initialize(NULL), CKR_OK);
    session = operator_session(true);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
