/* Paddings, against what anybody would write who need not mind the time that it takes. */
#include "fuzz.h"

#include <openssl/evp.h>

#include "mech/mgf1.h"
#include "mech/unpad.h"

#define BLOCK_MIN (PREMASTER_LEN + 11)

static const EVP_MD *md_of(uint8_t n)
{
    return n % 3 == 0 ? EVP_sha1() : n % 3 == 1 ? EVP_sha256() : EVP_sha512();
}

static bool plain_pkcs1(struct view block, struct view *message)
{
    size_t zero = 2;

    if (block.data[0] != 0 || block.data[1] != 2)
        return false;
    while (zero < block.len && block.data[zero] != 0)
        zero++;
    if (zero == block.len || zero < 10)
        return false;
    *message = (struct view){ block.data + zero + 1, block.len - zero - 1 };
    return true;
}

static void pkcs1(struct view block)
{
    uint8_t *out = malloc(block.len), substitute[UNPAD_MAX], secret[HMAC_LEN] = { 9 };
    struct view message = { NULL, 0 };
    size_t len = 0, substitute_len = 0;
    ct_mask good = unpad_pkcs1(block, out, &len);
    bool right = plain_pkcs1(block, &message);
    struct hmac_key key;

    hold(good == (right ? ~(ct_mask)0 : 0));
    hold(!right || view_equal((struct view){ out, len }, message));
    hold(!right || unpad_pkcs1_fits(len, block.len) != 0);
    hmac_key(secret, &key);
    unpad_substitute(&key, block, substitute, &substitute_len, block.len);
    hold(unpad_pkcs1_fits(substitute_len, block.len) != 0);
    unpad_choose(good, out, &len, substitute, substitute_len, block.len);
    if (!right)
        message = (struct view){ substitute, substitute_len };
    hold(view_equal((struct view){ out, len }, message));
    free(out);
}

static bool has_version(struct view message, unsigned version)
{
    return message.data[0] == version >> 8 && message.data[1] == (version & 0xff);
}

static void tls(struct view block, unsigned client, unsigned alt)
{
    uint8_t premaster[PREMASTER_LEN], random[PREMASTER_LEN];
    struct view message, wanted = VIEW(random);

    memset(random, 0xa5, sizeof(random));
    memcpy(premaster, random, sizeof(random));
    unpad_tls(block, client, alt, premaster);
    if (plain_pkcs1(block, &message) && message.len == PREMASTER_LEN &&
        (has_version(message, client) || (alt != 0 && has_version(message, alt))))
        wanted = message;
    hold(view_equal(VIEW(premaster), wanted));
}

static void lengthen(struct view block, size_t len)
{
    uint8_t *number = malloc(block.len);

    memcpy(number, block.data, block.len);
    unpad_lengthen(number, block.len, len);
    for (size_t i = 0; i < block.len - len; i++)
        hold(number[i] == 0);
    hold(memcmp(number + block.len - len, block.data, len) == 0);
    free(number);
}

/* DB = lHash || 0... || 1 || message, unmasked. */
static bool plain_oaep(const uint8_t *db, size_t db_len, const EVP_MD *md, struct view label,
                       struct view *message)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    size_t at = (size_t)EVP_MD_get_size(md);

    hold(EVP_Digest(label.data, label.len, hash, NULL, md, NULL) == 1);
    if (memcmp(db, hash, at) != 0)
        return false;
    while (at < db_len && db[at] == 0)
        at++;
    if (at == db_len || db[at] != 1)
        return false;
    *message = (struct view){ db + at + 1, db_len - at - 1 };
    return true;
}

/* The input is what is behind the masks, so that right ones are met. */
static void oaep(uint8_t *block, size_t size, uint8_t first, const EVP_MD *md, const EVP_MD *mgf1)
{
    static const uint8_t text[] = "label";
    size_t hash_len = (size_t)EVP_MD_get_size(md), db_len = size - 1 - hash_len, len = 0;
    uint8_t *out = malloc(size), plain[UNPAD_MAX];
    struct view label = { text, first % 5 }, message = { NULL, 0 };
    ct_mask good = 0;
    bool right;

    if (size < 2 * hash_len + 2) {
        hold(!unpad_oaep((struct view){ block, size }, md, mgf1, label, out, &len, &good));
        free(out);
        return;
    }
    if (first % 2 == 0)
        hold(EVP_Digest(label.data, label.len, block + 1 + hash_len, NULL, md, NULL) == 1);
    memcpy(plain, block + 1 + hash_len, db_len);
    hold(mgf1_mask(mgf1, block + 1, hash_len, block + 1 + hash_len, db_len));
    hold(mgf1_mask(mgf1, block + 1 + hash_len, db_len, block + 1, hash_len));
    right = plain_oaep(plain, db_len, md, label, &message) && block[0] == 0;
    hold(unpad_oaep((struct view){ block, size }, md, mgf1, label, out, &len, &good));
    hold(good == (right ? ~(ct_mask)0 : 0));
    hold(!right || view_equal((struct view){ out, len }, message));
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = { data, size };
    uint8_t how = input_byte(&input), first = input_byte(&input);
    unsigned client = 0x0300 + input_byte(&input) % 8u, alt = input_byte(&input) % 2 ? 0x0303 : 0;
    size_t len = UNPAD_MAX;
    uint8_t *block = input_copy(&input, &len, false);

    if (len < BLOCK_MIN) {
        free(block);
        return 0;
    }
    if (how % 4 == 0)
        pkcs1((struct view){ block, len });
    else if (how % 4 == 1)
        tls((struct view){ block, len }, client, alt);
    else if (how % 4 == 2)
        lengthen((struct view){ block, len }, first * len / 255);
    else
        oaep(block, len, first, md_of((uint8_t)client), md_of(how / 4));
    free(block);
    return 0;
}
