#include "mech/hmac.h"

#include <stdbool.h>
#include <string.h>

#include <openssl/crypto.h>

#define BLOCK 64
#define WORDS (BLOCK / sizeof(uint32_t))

/* One word of each of several computations: what is written for one word is good for these. */
typedef uint32_t lanes __attribute__((vector_size(HMAC_LANES * sizeof(uint32_t))));

/* FIPS 180-4 §4.2.2 */
static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* §5.3.3 */
static const uint32_t start[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

/* gcc 12's analyzer does not know vectors: a word of 16 bytes is no integer of 16 bits to it. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wanalyzer-shift-count-overflow"
#pragma GCC diagnostic ignored "-Wanalyzer-use-of-uninitialized-value"
#endif

#define ROTATE(x, by) ((x) >> (by) | (x) << (32 - (by)))

/* §6.2.2, step 3, with the names moved on instead of the values. */
#define ROUND(a, b, c, d, e, f, g, h, i)                                                           \
    h += (ROTATE(e, 6) ^ ROTATE(e, 11) ^ ROTATE(e, 25)) + (g ^ (e & (f ^ g))) + constants[i] +     \
         schedule[i];                                                                              \
    d += h;                                                                                        \
    h += (ROTATE(a, 2) ^ ROTATE(a, 13) ^ ROTATE(a, 22)) + ((a & b) | (c & (a | b)));

/* A block, which is the first WORDS of schedule, into state. */
#define COMPRESSION(name, word)                                                                    \
    static void name(word *state, word *schedule)                                                  \
    {                                                                                              \
        word a = state[0], b = state[1], c = state[2], d = state[3];                               \
        word e = state[4], f = state[5], g = state[6], h = state[7];                               \
                                                                                                   \
        for (size_t i = WORDS; i < 64; i++) {                                                      \
            word x = schedule[i - 15], y = schedule[i - 2];                                        \
                                                                                                   \
            schedule[i] = schedule[i - 16] + (ROTATE(x, 7) ^ ROTATE(x, 18) ^ x >> 3) +             \
                          schedule[i - 7] + (ROTATE(y, 17) ^ ROTATE(y, 19) ^ y >> 10);             \
        }                                                                                          \
        for (size_t i = 0; i < 64; i += 8) {                                                       \
            ROUND(a, b, c, d, e, f, g, h, i)                                                       \
            ROUND(h, a, b, c, d, e, f, g, i + 1)                                                   \
            ROUND(g, h, a, b, c, d, e, f, i + 2)                                                   \
            ROUND(f, g, h, a, b, c, d, e, i + 3)                                                   \
            ROUND(e, f, g, h, a, b, c, d, i + 4)                                                   \
            ROUND(d, e, f, g, h, a, b, c, i + 5)                                                   \
            ROUND(c, d, e, f, g, h, a, b, i + 6)                                                   \
            ROUND(b, c, d, e, f, g, h, a, i + 7)                                                   \
        }                                                                                          \
        state[0] += a;                                                                             \
        state[1] += b;                                                                             \
        state[2] += c;                                                                             \
        state[3] += d;                                                                             \
        state[4] += e;                                                                             \
        state[5] += f;                                                                             \
        state[6] += g;                                                                             \
        state[7] += h;                                                                             \
    }

COMPRESSION(compress, uint32_t)
COMPRESSION(compress_lanes, lanes)

static uint32_t word_read(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void word_write(uint32_t word, uint8_t *bytes)
{
    bytes[0] = (uint8_t)(word >> 24);
    bytes[1] = (uint8_t)(word >> 16);
    bytes[2] = (uint8_t)(word >> 8);
    bytes[3] = (uint8_t)word;
}

/* The number of blocks that a message has with what is behind it. */
static size_t blocks_of(size_t len)
{
    return (len + 8) / BLOCK + 1;
}

/* One of them in words, §5.1.1. The length at the end of the last counts the key's block. */
static void block_read(const uint8_t *message, size_t len, size_t index, uint32_t *words)
{
    size_t at = index * BLOCK, rest = at < len ? len - at : 0;
    uint8_t block[BLOCK] = { 0 };

    if (rest != 0)
        memcpy(block, message + at, rest < BLOCK ? rest : BLOCK);
    if (at <= len && rest < BLOCK)
        block[rest] = 0x80;
    if (index + 1 == blocks_of(len))
        word_write((uint32_t)(BLOCK + len) * 8, block + BLOCK - 4);
    for (size_t i = 0; i < WORDS; i++)
        words[i] = word_read(block + 4 * i);
}

static void pad_hash(const uint8_t *key, uint8_t pad, uint32_t *state)
{
    uint32_t schedule[64];
    uint8_t block[BLOCK];

    for (size_t i = 0; i < BLOCK; i++)
        block[i] = (uint8_t)((i < HMAC_LEN ? key[i] : 0) ^ pad);
    for (size_t i = 0; i < WORDS; i++)
        schedule[i] = word_read(block + 4 * i);
    memcpy(state, start, sizeof(start));
    compress(state, schedule);
    OPENSSL_cleanse(schedule, sizeof(schedule));
    OPENSSL_cleanse(block, sizeof(block));
}

void hmac_key(const uint8_t *key, struct hmac_key *out)
{
    pad_hash(key, 0x36, out->inner);
    pad_hash(key, 0x5c, out->outer);
}

/* The block of a digest. */
#define DIGEST_BLOCK(schedule, digest)                                                             \
    do {                                                                                           \
        memcpy(schedule, digest, 8 * sizeof(*(schedule)));                                         \
        memset((schedule) + 8, 0, (WORDS - 8) * sizeof(*(schedule)));                              \
        (schedule)[8] += 0x80000000;                                                               \
        (schedule)[WORDS - 1] += (BLOCK + HMAC_LEN) * 8;                                           \
    } while (0)

void hmac(const struct hmac_key *key, struct view message, uint8_t *out)
{
    struct hmac_key state = *key;
    uint32_t schedule[64];

    for (size_t i = 0; i < blocks_of(message.len); i++) {
        block_read(message.data, message.len, i, schedule);
        compress(state.inner, schedule);
    }
    DIGEST_BLOCK(schedule, state.inner);
    compress(state.outer, schedule);
    for (size_t i = 0; i < 8; i++)
        word_write(state.outer[i], out + 4 * i);
    OPENSSL_cleanse(schedule, sizeof(schedule));
    OPENSSL_cleanse(&state, sizeof(state));
}

void hmac_lanes(const struct hmac_key *key, const uint8_t *const messages[HMAC_LANES], size_t len,
                uint8_t *out)
{
    lanes inner[8] = { { 0 } }, outer[8] = { { 0 } }, schedule[64];
    uint32_t words[WORDS];

    for (size_t i = 0; i < 8; i++) {
        inner[i] += key->inner[i];
        outer[i] += key->outer[i];
    }
    for (size_t i = 0; i < blocks_of(len); i++) {
        for (size_t lane = 0; lane < HMAC_LANES; lane++) {
            block_read(messages[lane], len, i, words);
            for (size_t j = 0; j < WORDS; j++)
                schedule[j][lane] = words[j];
        }
        compress_lanes(inner, schedule);
    }
    DIGEST_BLOCK(schedule, inner);
    compress_lanes(outer, schedule);
    for (size_t lane = 0; lane < HMAC_LANES; lane++)
        for (size_t i = 0; i < 8; i++)
            word_write(outer[i][lane], out + lane * HMAC_LEN + 4 * i);
    OPENSSL_cleanse(schedule, sizeof(schedule));
    OPENSSL_cleanse(inner, sizeof(inner));
    OPENSSL_cleanse(outer, sizeof(outer));
}
