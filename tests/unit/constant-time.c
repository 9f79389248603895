/* Secrets are declared undefined, and valgrind's memcheck finds each branch and each index that
 * depends on an undefined byte. Built by gcc and by clang at -O2, whatever the rest is built with:
 * it is the compiler that makes branches of expressions.
 *
 *     constant-time          what must have none
 *     constant-time leak     a branch and an index that must be found
 *
 * Not here: the block of PSS (mech/pss.c), which whoever has the public key sees. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <valgrind/memcheck.h>

#include "der/ecdsa.h"
#include "mech/hmac.h"
#include "mech/unpad.h"

#define UNDEFINED(data, len) (void)VALGRIND_MAKE_MEM_UNDEFINED(data, len)
#define DEFINED(data, len)   (void)VALGRIND_MAKE_MEM_DEFINED(data, len)

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "constant-time: %s\n", what);
    exit(1);
}

/* What the token gave out, of which nobody may see where its zeros are, and which message. */
struct secrets {
    uint8_t block[UNPAD_MAX], origin[HMAC_LEN];
    size_t cut;
};

/* right: PKCS#1 v1.5, with a premaster secret for TLS in it. */
static void secrets_make(struct secrets *secrets, size_t size, bool right)
{
    must(RAND_bytes(secrets->block, (int)size) == 1 && RAND_bytes(secrets->origin, HMAC_LEN) == 1,
         "RAND_bytes");
    secrets->cut = size;
    if (right) {
        memset(secrets->block, 0x5a, size - PREMASTER_LEN);
        memcpy(secrets->block, (const uint8_t[]){ 0, 2 }, 2);
        memcpy(secrets->block + size - PREMASTER_LEN - 1, (const uint8_t[]){ 0, 3, 3 }, 3);
    }
    UNDEFINED(secrets->block, size);
    UNDEFINED(secrets->origin, HMAC_LEN);
    UNDEFINED(&secrets->cut, sizeof(secrets->cut));
}

/* With implicit rejection, as key/decrypt.c has it. */
static void pkcs1(size_t size, bool right)
{
    static const uint8_t ciphertext[UNPAD_MAX] = { 2 };
    uint8_t out[UNPAD_MAX], substitute[UNPAD_MAX];
    size_t len = 0, substitute_len = 0;
    struct secrets secrets;
    struct hmac_key key;
    ct_mask good;

    secrets_make(&secrets, size, right);
    unpad_lengthen(secrets.block, size, secrets.cut);
    good = unpad_pkcs1((struct view){ secrets.block, size }, out, &len);
    good &= unpad_pkcs1_fits(len, size);
    hmac_key(secrets.origin, &key);
    unpad_substitute(&key, (struct view){ ciphertext, size }, substitute, &substitute_len, size);
    unpad_choose(good, out, &len, substitute, substitute_len, size);
    DEFINED(&len, sizeof(len));
    must(right ? len == PREMASTER_LEN : len <= size - 11, "PKCS#1 v1.5");
}

static void tls(size_t size, bool right)
{
    uint8_t premaster[PREMASTER_LEN] = { 0 };
    struct secrets secrets;

    secrets_make(&secrets, size, right);
    UNDEFINED(premaster, sizeof(premaster));
    unpad_tls((struct view){ secrets.block, size }, 0x0303, 0x0302, premaster);
    DEFINED(premaster, sizeof(premaster));
    must((premaster[0] == 3) == right, "TLS");
}

/* Of a wrong padding it is public that it is wrong, but not where. */
static void oaep(size_t size)
{
    EVP_MD *md = EVP_MD_fetch(NULL, "SHA256", NULL), *mgf1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    uint8_t out[UNPAD_MAX];
    struct secrets secrets;
    size_t len = 0;
    ct_mask good = 0;

    secrets_make(&secrets, size, false);
    must(unpad_oaep((struct view){ secrets.block, size }, md, mgf1, (struct view){ NULL, 0 }, out,
                    &len, &good),
         "unpad_oaep");
    DEFINED(&good, sizeof(good));
    must(good == 0, "OAEP");
    EVP_MD_free(md);
    EVP_MD_free(mgf1);
}

/* A number of half bytes with so many zeros before it. What DER shows of a number by its length is
 * where it begins and its first bit; nothing else may be looked at. */
static void number_make(uint8_t *number, size_t half, size_t zeros, uint8_t first)
{
    must(RAND_bytes(number, (int)half) == 1, "RAND_bytes");
    memset(number, 0, zeros);
    if (zeros < half)
        number[zeros] = first;
    if (zeros + 1 < half)
        UNDEFINED(number + zeros + 1, half - zeros - 1);
}

static void ecdsa(size_t half, size_t zeros, uint8_t first)
{
    uint8_t rs[2 * 66], back[2 * 66], der[ECDSA_SIG_DER_MAX(66)];
    size_t len;

    number_make(rs, half, zeros, first);
    number_make(rs + half, half, half - zeros, first);
    len = ecdsa_sig_to_der((struct view){ rs, 2 * half }, der, sizeof(der));
    must(len != 0, "ecdsa_sig_to_der");
    must(ecdsa_sig_from_der((struct view){ der, len }, half, back), "ecdsa_sig_from_der");
    DEFINED(rs, sizeof(rs));
    DEFINED(back, sizeof(back));
    must(memcmp(rs, back, 2 * half) == 0, "r||s");
}

static volatile unsigned sink;

static void leak(void)
{
    static const uint8_t table[256] = { 1 };
    struct secrets secrets;

    secrets_make(&secrets, 128, false);
    if (secrets.block[7] == 0)
        sink++;
    sink += table[secrets.block[8]];
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = { 96, 128, 129, 250, 256, 384, 512, 1024, 2048 };
    static const size_t halves[] = { 20, 32, 48, 64, 66 };

    if (argc > 1 && strcmp(argv[1], "leak") == 0) {
        leak();
        return 0;
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        pkcs1(sizes[i], true);
        pkcs1(sizes[i], false);
        tls(sizes[i], true);
        tls(sizes[i], false);
        oaep(sizes[i]);
    }
    for (size_t i = 0; i < sizeof(halves) / sizeof(halves[0]); i++)
        for (size_t zeros = 0; zeros <= halves[i]; zeros++) {
            ecdsa(halves[i], zeros, 0x7f);
            ecdsa(halves[i], zeros, 0x80);
        }
    return 0;
}
