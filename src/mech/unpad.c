#include "mech/unpad.h"

#include <string.h>

#include <openssl/crypto.h>

#include "mech/hmac.h"
#include "mech/mgf1.h"

/* Keeps the compiler from knowing that a mask is one. */
static ct_mask opaque(ct_mask mask)
{
    __asm__("" : "+r"(mask));
    return mask;
}

static ct_mask is_zero(uint32_t a)
{
    return opaque(0 - ((~a & (a - 1)) >> 31));
}

static ct_mask equal(uint32_t a, uint32_t b)
{
    return is_zero(a ^ b);
}

/* For numbers below 2^31. */
static ct_mask less(uint32_t a, uint32_t b)
{
    return opaque(0 - ((a - b) >> 31));
}

static uint32_t choose(ct_mask mask, uint32_t yes, uint32_t no)
{
    return (mask & yes) | (~mask & no);
}

/* Eight bytes of from in place of those at bytes, or not. */
static void choose_word(ct_mask mask, uint8_t *bytes, const uint8_t *from)
{
    uint64_t wide = (uint64_t)mask << 32 | mask, here, there;

    memcpy(&here, bytes, sizeof(here));
    memcpy(&there, from, sizeof(there));
    here = (wide & there) | (~wide & here);
    memcpy(bytes, &here, sizeof(here));
}

#define WORD sizeof(uint64_t)

/* From the first to the last: yes may be what is behind bytes. */
static void choose_bytes(ct_mask mask, uint8_t *bytes, const uint8_t *yes, size_t len)
{
    size_t i = 0;

    for (; i + WORD <= len; i += WORD)
        choose_word(mask, bytes + i, yes + i);
    for (; i < len; i++)
        bytes[i] = (uint8_t)choose(mask, yes[i], bytes[i]);
}

/* Moves bytes to the left by shift, which nobody may see: one step for each of its bits. */
static void shift_left(uint8_t *bytes, size_t len, uint32_t shift)
{
    for (uint32_t step = 1; step < len; step <<= 1)
        choose_bytes(~is_zero(shift & step), bytes, bytes + step, len - step);
}

/* The same to the right, with zeros behind it, by as much as all of len. */
static void shift_right(uint8_t *bytes, size_t len, uint32_t shift)
{
    static const uint8_t zeros[UNPAD_MAX];

    for (uint32_t step = 1; step <= len; step <<= 1) {
        ct_mask now = ~is_zero(shift & step);
        size_t i = len;

        for (; i >= step + WORD; i -= WORD)
            choose_word(now, bytes + i - WORD, bytes + i - WORD - step);
        for (; i > step; i--)
            bytes[i - 1] = (uint8_t)choose(now, bytes[i - 1 - step], bytes[i - 1]);
        choose_bytes(now, bytes, zeros, step);
    }
}

void unpad_lengthen(uint8_t *block, size_t size, size_t len)
{
    shift_right(block, size, (uint32_t)(size - len));
}

#define PADDING_MIN 8 /* bytes of non-zero padding, RFC 8017 §7.2.1 */

ct_mask unpad_pkcs1_fits(size_t len, size_t size)
{
    return ~less((uint32_t)(size - 3 - PADDING_MIN), (uint32_t)len);
}

ct_mask unpad_pkcs1(struct view block, uint8_t *out, size_t *len)
{
    ct_mask good = is_zero(block.data[0]) & equal(block.data[1], 2);
    ct_mask looking = ~(ct_mask)0;
    uint32_t zero = 0;

    for (size_t i = 2; i < block.len; i++) {
        ct_mask here = looking & is_zero(block.data[i]);

        zero |= here & (uint32_t)i;
        looking &= ~here;
    }
    good &= ~looking & ~less(zero, 2 + PADDING_MIN);
    memcpy(out, block.data, block.len);
    shift_left(out, block.len, zero + 1);
    *len = block.len - 1 - zero;
    return good;
}

void unpad_choose(ct_mask good, uint8_t *out, size_t *len, const uint8_t *substitute,
                  size_t substitute_len, size_t size)
{
    choose_bytes(~good, out, substitute, size);
    *len = choose(good, (uint32_t)*len, (uint32_t)substitute_len);
}

/* HMAC(key, counter || label || bits) for counter 0, 1, ...: size bytes of it. */
static void expand(const struct hmac_key *key, const char *label, uint8_t *out, size_t size)
{
    size_t label_len = strlen(label);
    uint8_t inputs[HMAC_LANES][2 + 16 + 2], hashes[HMAC_LANES * HMAC_LEN];
    const uint8_t *messages[HMAC_LANES];
    size_t counter = 0;

    for (size_t done = 0; done < size; done += sizeof(hashes)) {
        for (size_t i = 0; i < HMAC_LANES; i++, counter++) {
            inputs[i][0] = (uint8_t)(counter >> 8);
            inputs[i][1] = (uint8_t)counter;
            memcpy(inputs[i] + 2, label, label_len);
            inputs[i][2 + label_len] = (uint8_t)(size * 8 >> 8);
            inputs[i][3 + label_len] = (uint8_t)(size * 8);
            messages[i] = inputs[i];
        }
        hmac_lanes(key, messages, label_len + 4, hashes);
        memcpy(out + done, hashes, size - done < sizeof(hashes) ? size - done : sizeof(hashes));
    }
    OPENSSL_cleanse(hashes, sizeof(hashes));
}

/* Below limit: the last of the candidates that is, masked to the bits of limit. */
static uint32_t pick_length(const uint8_t *candidates, size_t count, uint32_t limit)
{
    uint32_t mask = limit, length = 0;

    for (unsigned shift = 1; shift < 16; shift <<= 1)
        mask |= mask >> shift;
    for (size_t i = 0; i < count; i++) {
        uint32_t candidate = ((uint32_t)candidates[2 * i] << 8 | candidates[2 * i + 1]) & mask;

        length = choose(less(candidate, limit), candidate, length);
    }
    return length;
}

#define CANDIDATES 128

void unpad_substitute(const struct hmac_key *secret, struct view ciphertext, uint8_t *out,
                      size_t *len, size_t size)
{
    uint8_t candidates[2 * CANDIDATES], hash[HMAC_LEN];
    struct hmac_key key;
    uint32_t length;

    hmac(secret, ciphertext, hash);
    hmac_key(hash, &key);
    expand(&key, "length", candidates, sizeof(candidates));
    expand(&key, "message", out, size);
    length = pick_length(candidates, CANDIDATES, (uint32_t)size - 2 - PADDING_MIN);
    shift_left(out, size, (uint32_t)size - length);
    *len = length;
    OPENSSL_cleanse(&key, sizeof(key));
    OPENSSL_cleanse(hash, sizeof(hash));
    OPENSSL_cleanse(candidates, sizeof(candidates));
}

static ct_mask has_version(const uint8_t *premaster, unsigned version)
{
    return equal(premaster[0], version >> 8 & 0xff) & equal(premaster[1], version & 0xff);
}

void unpad_tls(struct view block, unsigned client_version, unsigned alt_version, uint8_t *premaster)
{
    size_t zero = block.len - PREMASTER_LEN - 1;
    const uint8_t *secret = block.data + zero + 1;
    ct_mask good = is_zero(block.data[0]) & equal(block.data[1], 2) & is_zero(block.data[zero]);
    ct_mask version = has_version(secret, client_version);

    for (size_t i = 2; i < zero; i++)
        good &= ~is_zero(block.data[i]);
    if (alt_version != 0) /* a public setting: an option of the server */
        version |= has_version(secret, alt_version);
    choose_bytes(good & version, premaster, secret, PREMASTER_LEN);
}

/* DB = lHash || zeros || 01 || message: finds the message and says whether all of it is right. */
static ct_mask oaep_check(const uint8_t *db, size_t db_len, const uint8_t *label_hash,
                          size_t hash_len, uint32_t *start)
{
    ct_mask good = ~(ct_mask)0, looking = ~(ct_mask)0;
    uint32_t one = 0;

    for (size_t i = 0; i < hash_len; i++)
        good &= equal(db[i], label_hash[i]);
    for (size_t i = hash_len; i < db_len; i++) {
        ct_mask here = looking & equal(db[i], 1);

        one = choose(here, (uint32_t)i, one);
        looking &= ~here;
        good &= ~looking | is_zero(db[i]);
    }
    *start = one + 1;
    return good & ~looking;
}

bool unpad_oaep(struct view block, const EVP_MD *md, const EVP_MD *mgf1, struct view label,
                uint8_t *out, size_t *len, ct_mask *good)
{
    size_t hash_len = (size_t)EVP_MD_get_size(md);
    size_t db_len = block.len - 1 - hash_len;
    uint8_t em[UNPAD_MAX], label_hash[EVP_MAX_MD_SIZE];
    uint8_t *seed = em + 1, *db = em + 1 + hash_len;
    uint32_t start = 0;
    bool ok;

    if (block.len > sizeof(em) || block.len < 2 * hash_len + 2)
        return false;
    memcpy(em, block.data, block.len);
    ok = EVP_Digest(label.data, label.len, label_hash, NULL, md, NULL) == 1 &&
         mgf1_mask(mgf1, db, db_len, seed, hash_len) && mgf1_mask(mgf1, seed, hash_len, db, db_len);
    if (ok) {
        *good = oaep_check(db, db_len, label_hash, hash_len, &start) & is_zero(em[0]);
        shift_left(db, db_len, start);
        memcpy(out, db, db_len);
        *len = db_len - start;
    }
    OPENSSL_cleanse(em, sizeof(em));
    return ok;
}
