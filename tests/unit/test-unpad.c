#include "unit.h"

#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "mech/unpad.h"

#define BLOCK 128

/* 00 02, non-zero padding, 00, message: text with the rest before it filled up */
static void pkcs1_block(uint8_t *block, size_t size, const uint8_t *message, size_t len)
{
    memset(block, 0x5a, size);
    block[0] = 0;
    block[1] = 2;
    block[size - len - 1] = 0;
    if (len != 0)
        memcpy(block + size - len, message, len);
}

static void test_unpad_pkcs1_every_length(void **state)
{
    uint8_t message[BLOCK], block[BLOCK], out[BLOCK];

    (void)state;
    RAND_bytes(message, sizeof(message));
    for (size_t len = 0; len <= BLOCK - 11; len++) {
        size_t out_len = 0;

        pkcs1_block(block, BLOCK, message, len);
        assert_int_equal(unpad_pkcs1(VIEW(block), out, &out_len), ~(ct_mask)0);
        assert_int_equal(out_len, len);
        assert_memory_equal(out, message, len);
    }
}

static void test_unpad_pkcs1_wrong(void **state)
{
    static const struct {
        const char *name;
        size_t index;
        uint8_t value;
        size_t len;
    } cases[] = {
        { "first byte", 0, 1, 20 },
        { "block type 1", 1, 1, 20 },
        { "block type 0", 1, 0, 20 },
        { "block type 255", 1, 255, 20 },
        { "padding of no byte", 2, 0, 20 },
        { "padding of seven bytes", 9, 0, 20 },
        { "no zero at all", BLOCK - 21, 7, 20 },
    };
    uint8_t message[BLOCK], block[BLOCK], out[BLOCK];

    (void)state;
    memset(message, 0x33, sizeof(message));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t len;

        pkcs1_block(block, BLOCK, message, cases[i].len);
        block[cases[i].index] = cases[i].value;
        check_case(unpad_pkcs1(VIEW(block), out, &len) == 0, cases[i].name);
    }
}

/* A number with so many leading zeros, as a token that cuts them off returns it: at the start of a
 * buffer with something else behind it. */
static void test_unpad_lengthen(void **state)
{
    uint8_t block[BLOCK], cut[BLOCK];

    (void)state;
    for (size_t len = 0; len <= BLOCK; len++) {
        memset(block, 0, BLOCK);
        memset(cut, 0xee, BLOCK);
        RAND_bytes(cut, (int)len);
        memcpy(block + BLOCK - len, cut, len);
        unpad_lengthen(cut, BLOCK, len);
        assert_memory_equal(cut, block, BLOCK);
    }
}

static void test_unpad_pkcs1_fits(void **state)
{
    (void)state;
    assert_int_equal(unpad_pkcs1_fits(0, BLOCK), ~(ct_mask)0);
    assert_int_equal(unpad_pkcs1_fits(BLOCK - 11, BLOCK), ~(ct_mask)0);
    assert_int_equal(unpad_pkcs1_fits(BLOCK - 10, BLOCK), 0);
    assert_int_equal(unpad_pkcs1_fits(BLOCK, BLOCK), 0);
}

static struct hmac_key secret_of(uint8_t first, uint8_t step)
{
    uint8_t bytes[HMAC_LEN];
    struct hmac_key key;

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(first + i * step);
    hmac_key(bytes, &key);
    return key;
}

/* What processes of all versions have to agree on: the message's length and the beginning of its
 * SHA-256. */
static void test_unpad_substitute_known(void **state)
{
    static const struct {
        size_t size, len;
        const char *hash;
    } cases[] = {
        { 64, 0, "e3b0c44298fc1c14" },     { 96, 24, "7b6ca7d4b355efb5" },
        { 128, 52, "3bc04d8b276ca0e8" },   { 129, 98, "e261f8217923c5ea" },
        { 250, 226, "a99670becbf74b4c" },  { 256, 6, "4515b1632debdf2d" },
        { 384, 76, "583d86617126a087" },   { 512, 20, "eea8b37c414aa46d" },
        { 1000, 683, "0c2641ee1ec5812b" }, { 2048, 530, "367225223c67d14d" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t ciphertext[UNPAD_MAX], out[UNPAD_MAX], hash[32];
        struct hmac_key secret = secret_of((uint8_t)i, 7);
        char text[17], name[16];
        size_t len = 0;

        for (size_t k = 0; k < cases[i].size; k++)
            ciphertext[k] = (uint8_t)(k * k + k + i);
        unpad_substitute(&secret, (struct view){ ciphertext, cases[i].size }, out, &len,
                         cases[i].size);
        (void)snprintf(name, sizeof(name), "%zu bytes", cases[i].size);
        check_case(len == cases[i].len, name);
        check_case(EVP_Digest(out, len, hash, NULL, EVP_sha256(), NULL) == 1, name);
        for (size_t k = 0; k < 8; k++)
            (void)snprintf(text + 2 * k, 3, "%02x", hash[k]);
        check_text(text, cases[i].hash, name);
    }
}

static void test_unpad_substitute(void **state)
{
    struct hmac_key secret = secret_of(1, 0), other = secret_of(2, 0);
    uint8_t ciphertext[BLOCK] = { 3 };
    uint8_t a[BLOCK], b[BLOCK];
    size_t a_len = 0, b_len = 0, lengths = 0;
    size_t seen[BLOCK] = { 0 };

    (void)state;
    unpad_substitute(&secret, VIEW(ciphertext), a, &a_len, BLOCK);
    unpad_substitute(&secret, VIEW(ciphertext), b, &b_len, BLOCK);
    assert_int_equal(a_len, b_len);
    assert_memory_equal(a, b, a_len);
    unpad_substitute(&other, VIEW(ciphertext), b, &b_len, BLOCK);
    assert_true(a_len != b_len || memcmp(a, b, a_len) != 0);
    /* every length that a message may have, and no other */
    for (unsigned n = 0; n < 4000; n++) {
        ciphertext[1] = (uint8_t)n;
        ciphertext[2] = (uint8_t)(n >> 8);
        unpad_substitute(&secret, VIEW(ciphertext), a, &a_len, BLOCK);
        assert_true(a_len <= BLOCK - 11);
        lengths += seen[a_len]++ == 0;
    }
    assert_int_equal(lengths, BLOCK - 10);
}

static void test_unpad_choose(void **state)
{
    static const uint8_t substitute[] = "SUBSTITUTE";
    uint8_t out[] = "the message";
    size_t len = 11;

    (void)state;
    unpad_choose(~(ct_mask)0, out, &len, substitute, 3, sizeof(substitute));
    assert_int_equal(len, 11);
    assert_memory_equal(out, "the message", 11);
    unpad_choose(0, out, &len, substitute, 3, sizeof(substitute));
    assert_int_equal(len, 3);
    assert_memory_equal(out, "SUB", 3);
}

static void test_unpad_tls(void **state)
{
    static const struct {
        const char *name;
        long index; /* of a byte to change; negative: from the end */
        uint8_t value;
        unsigned client, alt;
        bool good;
    } cases[] = {
        { "right", 10, 0x5a, 0x0303, 0, true },
        { "another version", 10, 0x5a, 0x0302, 0, false },
        { "another version that is allowed", 10, 0x5a, 0x0302, 0x0303, true },
        { "first byte", 0, 1, 0x0303, 0, false },
        { "block type", 1, 1, 0x0303, 0, false },
        { "zero in the padding", 20, 0, 0x0303, 0, false },
        { "zero at the padding's start", 2, 0, 0x0303, 0, false },
        { "no zero before the secret", -49, 1, 0x0303, 0, false },
        { "secret too short", -48, 0, 0x0303, 0, false },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t secret[PREMASTER_LEN] = { 3, 3, 9 }, block[BLOCK], out[PREMASTER_LEN];

        memset(out, 0xee, sizeof(out));
        pkcs1_block(block, BLOCK, secret, sizeof(secret));
        block[cases[i].index >= 0 ? cases[i].index : BLOCK + cases[i].index] = cases[i].value;
        unpad_tls(VIEW(block), cases[i].client, cases[i].alt, out);
        check_case(cases[i].good ? memcmp(out, secret, sizeof(out)) == 0
                                 : out[0] == 0xee && out[47] == 0xee,
                   cases[i].name);
    }
}

/* What the default provider pads, as a raw block: encrypted with OAEP, decrypted without padding.
 */
static bool oaep_block(EVP_PKEY *key, const char *md, const char *mgf1, const char *label,
                       const uint8_t *message, size_t len, uint8_t *block, size_t *block_len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    uint8_t encrypted[512];
    size_t encrypted_len = sizeof(encrypted);
    bool ok = EVP_PKEY_encrypt_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
              EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, md, NULL) == 1 &&
              EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, mgf1, NULL) == 1 &&
              (label[0] == '\0' || EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, OPENSSL_strdup(label),
                                                                    (int)strlen(label)) == 1) &&
              EVP_PKEY_encrypt(ctx, encrypted, &encrypted_len, message, len) == 1;

    EVP_PKEY_CTX_free(ctx);
    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    *block_len = 512;
    ok = ok && EVP_PKEY_decrypt_init(ctx) == 1 &&
         EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) == 1 &&
         EVP_PKEY_decrypt(ctx, block, block_len, encrypted, encrypted_len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static void test_unpad_oaep(void **state)
{
    static const char *const names[] = { "SHA1", "SHA224", "SHA256", "SHA512", "SHA3-256" };
    static const char *const labels[] = { "", "a label" };
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    uint8_t message[200], block[512], out[512];

    (void)state;
    RAND_bytes(message, sizeof(message));
    for (size_t d = 0; d < COUNT_OF(names); d++)
        for (size_t m = 0; m < COUNT_OF(names); m++)
            for (size_t l = 0; l < COUNT_OF(labels); l++) {
                EVP_MD *md = EVP_MD_fetch(NULL, names[d], NULL);
                EVP_MD *mgf1 = EVP_MD_fetch(NULL, names[m], NULL);
                struct view label = { (const uint8_t *)labels[l], strlen(labels[l]) };
                size_t most = 256 - 2 * (size_t)EVP_MD_get_size(md) - 2, block_len, out_len = 0;
                ct_mask good = 0;

                for (size_t len = 0; len <= most && len <= sizeof(message); len += most / 3) {
                    check_case(oaep_block(key, names[d], names[m], labels[l], message, len, block,
                                          &block_len),
                               names[d]);
                    check_case(unpad_oaep((struct view){ block, block_len }, md, mgf1, label, out,
                                          &out_len, &good),
                               names[d]);
                    check_case(good == ~(ct_mask)0 && out_len == len, names[d]);
                    assert_memory_equal(out, message, len);
                }
                /* another label, another first byte, another bit anywhere */
                unpad_oaep((struct view){ block, block_len }, md, mgf1, (struct view){ block, 3 },
                           out, &out_len, &good);
                check_case(good == 0, names[d]);
                for (size_t i = 0; i < block_len; i += 17) {
                    block[i] ^= 1;
                    unpad_oaep((struct view){ block, block_len }, md, mgf1, label, out, &out_len,
                               &good);
                    check_case(good == 0, names[d]);
                    block[i] ^= 1;
                }
                EVP_MD_free(md);
                EVP_MD_free(mgf1);
            }
    EVP_PKEY_free(key);
}

static void test_unpad_oaep_too_short(void **state)
{
    EVP_MD *md = EVP_MD_fetch(NULL, "SHA512", NULL);
    uint8_t block[129] = { 0 }, out[129];
    size_t len;
    ct_mask good;

    (void)state;
    assert_false(unpad_oaep(VIEW(block), md, md, (struct view){ NULL, 0 }, out, &len, &good));
    EVP_MD_free(md);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unpad_pkcs1_every_length),
        cmocka_unit_test(test_unpad_pkcs1_wrong),
        cmocka_unit_test(test_unpad_lengthen),
        cmocka_unit_test(test_unpad_pkcs1_fits),
        cmocka_unit_test(test_unpad_substitute_known),
        cmocka_unit_test(test_unpad_substitute),
        cmocka_unit_test(test_unpad_choose),
        cmocka_unit_test(test_unpad_tls),
        cmocka_unit_test(test_unpad_oaep),
        cmocka_unit_test(test_unpad_oaep_too_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
