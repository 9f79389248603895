/* Secret keys, from OpenSSL 3.5 on: ciphers, MACs and key derivation with an EVP_SKEY of the token,
 * and with one of software that has the same bytes. */
#include "likeness.h"
#include "skey.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>

#include "pkcs11_bridge.h"

#define DATA_MAX 4096
#define ROOM_MAX 700

static int (*kdf_set_skey)(EVP_KDF_CTX *ctx, SKEY *key, const char *name);

struct secret {
    EVP_CIPHER_CTX *cipher;
    bool begun;
    unsigned mode;
    unsigned char made[DATA_MAX]; /* by encryption so far */
    size_t made_len, taken;
    EVP_MAC_CTX *mac;
    bool mac_begun;
    EVP_KDF_CTX *kdf;
};

static const char *const modes[] = { "ECB", "CBC",     "CBC",  "CTR",      "CTR",
                                     "CFB", "CBC-CTS", "WRAP", "WRAP-PAD", "GCM" };
#define MODES COUNT_OF(modes)
#define GCM   9
#define SIZES 2
#define KEYS  3
static EVP_CIPHER *ciphers[SIDES][SIZES][MODES];
static EVP_MAC *hmac[SIDES], *cmac[SIDES];
static EVP_KDF *hkdf[SIDES];
static bool lacks[MODES], has_hkdf;
static unsigned char bytes[] =
    "a key that is known to nobody, and long, as SoftHSM wants those of HMAC";

static bool is_aes(const struct lane *lane)
{
    return strncmp(lane->twin->name, "AES", 3) == 0;
}

static unsigned size_of(const struct lane *lane)
{
    return strcmp(lane->twin->name, "AES-256") == 0;
}

static size_t len_of(const struct lane *lane)
{
    return strcmp(lane->twin->name, "AES-128") == 0   ? 16
           : strcmp(lane->twin->name, "AES-256") == 0 ? 32
                                                      : sizeof(bytes);
}

static unsigned char *iv_draw(struct lane *lane, unsigned char *iv)
{
    draw_bytes(lane, iv, 16);
    return iv;
}

/* A cipher */

static size_t iv_len_draw(struct lane *lane, const EVP_CIPHER *cipher)
{
    static const size_t others[] = { 0, 8, 12, 15, 16 };

    return draw(lane, 10) == 0 ? DRAW_OF(lane, others) : (size_t)EVP_CIPHER_get_iv_length(cipher);
}

static unsigned mode_draw(struct lane *lane)
{
    unsigned mode = draw(lane, MODES);

    while (lacks[mode])
        mode = (mode + 1) % MODES;
    return mode;
}

/* How a cipher is begun. */
struct beginning {
    const EVP_CIPHER *cipher; /* NULL: the same again */
    SKEY *key;                /* NULL: the same again */
    const unsigned char *iv;
    size_t iv_len;
    int encrypt; /* -1: as before */
    const OSSL_PARAM *params;
};

/* Without a key, libcrypto 3.5 has no EVP_CipherInit_SKEY: it calls a NULL. */
static int begin(struct lane *lane, const struct beginning *how)
{
    EVP_CIPHER_CTX *ctx = lane->secret->cipher;

    return how->key != NULL ? CALL(lane, EVP_CipherInit_SKEY, ctx, how->cipher, how->key, how->iv,
                                   how->iv_len, how->encrypt, how->params)
                            : CALL(lane, EVP_CipherInit_ex2, ctx, how->cipher, NULL, how->iv,
                                   how->encrypt, how->params);
}

/* Again with less than at first, or anew. Where software has no key, key unwrapping calls a NULL: a
 * cipher that wants another comes with it. An encryption with GCM has its IV, or this provider
 * makes one. */
static void cipher_init(struct lane *lane)
{
    static const unsigned char zeros[16];
    struct secret *secret = lane->secret;
    bool again = secret->begun && draw(lane, 3) == 0, other_size = draw(lane, 20) == 0;
    unsigned mode = again ? secret->mode : mode_draw(lane), padding = draw(lane, 2);
    const EVP_CIPHER *cipher = ciphers[lane->side][size_of(lane) ^ other_size][mode];
    unsigned char iv[16];
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_uint("padding", &padding),
                                  OSSL_PARAM_construct_end() };
    struct beginning how = {
        .cipher = again && draw(lane, 2) == 0 ? NULL : cipher,
        .key = again && draw(lane, 2) == 0 ? NULL : lane->twin->secret[lane->side],
        .iv = draw(lane, 5) != 0 || mode == GCM ? iv_draw(lane, iv) : NULL,
        .iv_len = iv_len_draw(lane, cipher),
        .encrypt = (int)draw(lane, again ? 3 : 2) - (again ? 1 : 0),
        .params = draw(lane, 6) == 0 ? params : NULL,
    };

    if (how.key == NULL) { /* for the other direction, software needs it */
        how.encrypt = -1;
        how.cipher = NULL;
    }
    note_text(lane, again ? "again" : "mode", modes[mode]);
    note(lane, "other size", other_size);
    note(lane, "key", how.key != NULL);
    note(lane, "encrypt", how.encrypt);
    note(lane, how.iv == NULL ? "no iv" : "iv", (long)how.iv_len);
    note(lane, "with padding", how.params != NULL ? (int)padding : -1);
    if (how.iv != NULL && mode != GCM && draw(lane, 10) == 0)
        how.iv = zeros;
    EVP_CIPHER_CTX_set_flags(secret->cipher, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    secret->mode = mode;
    secret->begun = begin(lane, &how) == 1;
    secret->taken = 0;
    if (secret->begun && EVP_CIPHER_CTX_is_encrypting(secret->cipher))
        secret->made_len = 0;
}

/* What goes in: of what was made before, to decrypt, or anything. */
static void data_draw(struct lane *lane, unsigned char *in, size_t len)
{
    struct secret *secret = lane->secret;
    bool made = !EVP_CIPHER_CTX_is_encrypting(secret->cipher) && draw(lane, 8) != 0 &&
                secret->made_len - secret->taken >= len;

    draw_bytes(lane, in, len);
    if (made && len != 0) {
        memcpy(in, secret->made + secret->taken, len);
        secret->taken += len;
    }
}

static void note_made(struct lane *lane, const unsigned char *out, int len)
{
    struct secret *secret = lane->secret;

    note_bytes(lane, "out", out, len > 0 ? (size_t)len : 0);
    if (len > 0 && EVP_CIPHER_CTX_is_encrypting(secret->cipher) &&
        secret->made_len + (size_t)len <= DATA_MAX) {
        memcpy(secret->made + secret->made_len, out, (size_t)len);
        secret->made_len += (size_t)len;
    }
}

static size_t len_draw(struct lane *lane)
{
    static const size_t lengths[] = { 0, 1, 7, 8, 15, 16, 16, 17, 24, 32, 32, 40, 48, 100, 600 };
    const struct secret *secret = lane->secret;
    size_t len = DRAW_OF(lane, lengths), left = secret->made_len - secret->taken;

    if (draw(lane, 2) == 0 && !EVP_CIPHER_CTX_is_encrypting(secret->cipher) && left != 0 &&
        left < ROOM_MAX - 32)
        len = left;
    note(lane, "of", (long)len);
    return len;
}

static void cipher_update(struct lane *lane)
{
    struct secret *secret = lane->secret;
    unsigned char in[ROOM_MAX];
    size_t len;
    int out_len = -7, ret;
    bool beside = secret->mode == GCM && draw(lane, 3) == 0;
    unsigned char *out;

    if (!secret->begun)
        return;
    len = len_draw(lane);
    out = beside ? NULL : malloc(len + 32);
    data_draw(lane, in, len);
    note(lane, "beside", beside);
    ret = CALL(lane, EVP_CipherUpdate, secret->cipher, out, &out_len, in, (int)len);
    lane->over = ret != 1 && secret->mode == GCM;
    if (ret == 1 && beside)
        note(lane, "len", out_len);
    else if (ret == 1)
        note_made(lane, out, out_len);
    free(out);
}

static void cipher_final(struct lane *lane)
{
    struct secret *secret = lane->secret;
    unsigned char *out;
    int len = -7;

    if (!secret->begun)
        return;
    out = malloc(32);
    if (CALL(lane, EVP_CipherFinal_ex, secret->cipher, out, &len) == 1)
        note_made(lane, out, len);
    else
        lane->over = true;
    free(out);
}

/* Not of an encryption with GCM, whose IV is good for one message: a copy of ours is of no use
 * before it is begun again. */
static void cipher_copy(struct lane *lane)
{
    struct secret *secret = lane->secret;
    EVP_CIPHER_CTX *copy = EVP_CIPHER_CTX_new();
    bool copies =
        secret->begun && !(secret->mode == GCM && EVP_CIPHER_CTX_is_encrypting(secret->cipher));

    if (!copies || CALL(lane, EVP_CIPHER_CTX_copy, copy, secret->cipher) != 1) {
        EVP_CIPHER_CTX_free(copy);
        return;
    }
    EVP_CIPHER_CTX_free(secret->cipher);
    secret->cipher = copy;
}

static void cipher_reset(struct lane *lane)
{
    struct secret *secret = lane->secret;

    secret->begun = false;
    CALL(lane, EVP_CIPHER_CTX_reset, secret->cipher);
}

static int set_of_cipher(struct lane *lane, const OSSL_PARAM *one)
{
    const OSSL_PARAM params[] = { *one, OSSL_PARAM_construct_end() };
    struct secret *secret = lane->secret;
    char what[64];

    snprintf(what, sizeof(what), "set %s", one->key);
    return note_call(lane, what, EVP_CIPHER_CTX_set_params(secret->cipher, params));
}

static void cipher_set_number(struct lane *lane)
{
    static const struct {
        const char *name;
        size_t value;
    } numbers[] = {
        { "padding", 0 }, { "padding", 1 },  { "padding", 2 },    { "ivlen", 12 },
        { "ivlen", 16 },  { "ivlen", 0 },    { "ivlen", 200 },    { "keylen", 16 },
        { "keylen", 32 }, { "keylen", 5 },   { "num", 0 },        { "num", 3 },
        { "taglen", 12 }, { "use-bits", 1 }, { "unheard-of", 1 },
    };
    unsigned which = draw(lane, COUNT_OF(numbers));
    size_t value = numbers[which].value;
    unsigned small = (unsigned)value;
    OSSL_PARAM one = OSSL_PARAM_construct_size_t(numbers[which].name, &value);

    if (draw(lane, 2) == 0)
        one = OSSL_PARAM_construct_uint(numbers[which].name, &small);
    note(lane, "to", (long)value);
    set_of_cipher(lane, &one);
    lane->over = strcmp(one.key, "num") == 0; /* which is not offered here */
}

static void cipher_set_other(struct lane *lane)
{
    static const char *const names[] = { "padding", "ivlen", "cts_mode", "tag", "keylen" };
    char text[] = "CS1";
    const char *name = DRAW_OF(lane, names);
    OSSL_PARAM one = OSSL_PARAM_construct_utf8_string(name, text, 0);

    text[2] = (char)('1' + (int)draw(lane, 4));
    note_text(lane, "to", text);
    set_of_cipher(lane, &one);
}

static void cipher_set_tag(struct lane *lane)
{
    static const size_t lengths[] = { 16, 16, 16, 12, 4, 17, 0 };
    size_t len = DRAW_OF(lane, lengths);
    unsigned char tag[17];
    bool none = draw(lane, 6) == 0;
    OSSL_PARAM one = OSSL_PARAM_construct_octet_string("tag", none ? NULL : tag, len);

    draw_bytes(lane, tag, sizeof(tag));
    note(lane, none ? "length" : "tag", (long)len);
    set_of_cipher(lane, &one);
}

static void cipher_control(struct lane *lane)
{
    static const struct {
        int type, arg;
    } controls[] = {
        { EVP_CTRL_AEAD_SET_IVLEN, 12 }, { EVP_CTRL_AEAD_SET_IVLEN, 16 },
        { EVP_CTRL_AEAD_SET_IVLEN, 0 },  { EVP_CTRL_AEAD_GET_TAG, 16 },
        { EVP_CTRL_AEAD_GET_TAG, 12 },   { EVP_CTRL_AEAD_GET_TAG, 17 },
        { EVP_CTRL_AEAD_SET_TAG, 16 },   { EVP_CTRL_AEAD_SET_TAG, 12 },
        { EVP_CTRL_GET_IVLEN, 0 },
    };
    struct secret *secret = lane->secret;
    unsigned which = draw(lane, COUNT_OF(controls));
    unsigned char data[32] = { 0 };
    char what[64];

    snprintf(what, sizeof(what), "ctrl %d %d", controls[which].type, controls[which].arg);
    if (note_call(lane, what,
                  EVP_CIPHER_CTX_ctrl(secret->cipher, controls[which].type, controls[which].arg,
                                      data)) == 1)
        note_bytes(lane, "data", data, 17);
}

static void cipher_set_padding(struct lane *lane)
{
    struct secret *secret = lane->secret;

    CALL(lane, EVP_CIPHER_CTX_set_padding, secret->cipher, (int)draw(lane, 2));
}

static void cipher_set(struct lane *lane)
{
    void (*const ways[])(struct lane * lane) = { cipher_set_padding, cipher_set_padding,
                                                 cipher_set_number,  cipher_set_other,
                                                 cipher_set_tag,     cipher_control };
    const struct secret *secret = lane->secret;

    if (secret->begun)
        DRAW_OF(lane, ways)(lane);
}

static const struct asked of_cipher_ctx[] = {
    { "keylen", OSSL_PARAM_UNSIGNED_INTEGER },
    { "ivlen", OSSL_PARAM_UNSIGNED_INTEGER },
    { "padding", OSSL_PARAM_UNSIGNED_INTEGER },
    { "num", OSSL_PARAM_UNSIGNED_INTEGER },
    { "iv", OSSL_PARAM_OCTET_STRING },
    { "updated-iv", OSSL_PARAM_OCTET_STRING },
    { "iv", OSSL_PARAM_OCTET_PTR },
    { "taglen", OSSL_PARAM_UNSIGNED_INTEGER },
    { "tag", OSSL_PARAM_OCTET_STRING },
    { "cts_mode", OSSL_PARAM_UTF8_STRING },
    { "keylen", OSSL_PARAM_INTEGER },
    { "unheard-of", OSSL_PARAM_UNSIGNED_INTEGER },
    { "keylen", OSSL_PARAM_UTF8_STRING },
};

static const struct asked of_cipher[] = {
    { "mode", OSSL_PARAM_UNSIGNED_INTEGER },
    { "keylen", OSSL_PARAM_UNSIGNED_INTEGER },
    { "ivlen", OSSL_PARAM_UNSIGNED_INTEGER },
    { "blocksize", OSSL_PARAM_UNSIGNED_INTEGER },
    { "aead", OSSL_PARAM_INTEGER },
    { "custom-iv", OSSL_PARAM_INTEGER },
    { "cts", OSSL_PARAM_INTEGER },
    { "tls-multi", OSSL_PARAM_INTEGER },
    { "has-randkey", OSSL_PARAM_INTEGER },
    { "encrypt-then-mac", OSSL_PARAM_INTEGER },
    { "unheard-of", OSSL_PARAM_INTEGER },
};

static const char *const listed_of_cipher[] = {
    "mode",      "keylen",   "ivlen",     "blocksize",   "aead",
    "custom-iv", "cts",      "tls-multi", "has-randkey", "encrypt-then-mac",
    "padding",   "num",      "iv",        "updated-iv",  "taglen",
    "tag",       "cts_mode", "use-bits"
};

static int get_of_cipher_ctx(void *ctx, OSSL_PARAM *params)
{
    return EVP_CIPHER_CTX_get_params(ctx, params);
}

static int get_of_cipher(void *cipher, OSSL_PARAM *params)
{
    return EVP_CIPHER_get_params(cipher, params);
}

static void note_cipher_facts(struct lane *lane)
{
    struct secret *secret = lane->secret;

    CALL(lane, EVP_CIPHER_CTX_get_iv_length, secret->cipher);
    CALL(lane, EVP_CIPHER_CTX_get_key_length, secret->cipher);
    CALL(lane, EVP_CIPHER_CTX_get_tag_length, secret->cipher);
    CALL(lane, EVP_CIPHER_CTX_get_block_size, secret->cipher);
    CALL(lane, EVP_CIPHER_CTX_get_num, secret->cipher);
    CALL(lane, EVP_CIPHER_CTX_is_encrypting, secret->cipher);
    note(lane, "flags", (long)EVP_CIPHER_get_flags(EVP_CIPHER_CTX_get0_cipher(secret->cipher)));
    note(lane, "mode", EVP_CIPHER_get_mode(EVP_CIPHER_CTX_get0_cipher(secret->cipher)));
}

static void note_cipher_ivs(struct lane *lane)
{
    static const size_t sizes[] = { 16, 16, 12, 8, 20, 0 };
    struct secret *secret = lane->secret;
    unsigned char iv[20] = { 0 };
    size_t size = DRAW_OF(lane, sizes);

    note(lane, "size", (long)size);
    if (CALL(lane, EVP_CIPHER_CTX_get_original_iv, secret->cipher, iv, size) == 1)
        note_bytes(lane, "original", iv, sizeof(iv));
    if (CALL(lane, EVP_CIPHER_CTX_get_updated_iv, secret->cipher, iv, size) == 1)
        note_bytes(lane, "updated", iv, sizeof(iv));
}

static void cipher_get(struct lane *lane)
{
    struct secret *secret = lane->secret;
    const EVP_CIPHER *cipher = ciphers[lane->side][size_of(lane)][secret->mode];

    if (!secret->begun)
        return;
    switch (draw(lane, 8)) {
    case 0:
        note_list(lane, "settable", EVP_CIPHER_CTX_settable_params(secret->cipher),
                  listed_of_cipher, COUNT_OF(listed_of_cipher));
        break;
    case 1:
        note_list(lane, "gettable", EVP_CIPHER_CTX_gettable_params(secret->cipher),
                  listed_of_cipher, COUNT_OF(listed_of_cipher));
        break;
    case 2:
        note_cipher_facts(lane);
        break;
    case 3:
        note_cipher_ivs(lane);
        break;
    case 4:
        note_answer(lane, &DRAW_OF(lane, of_cipher), get_of_cipher, (void *)(uintptr_t)cipher);
        break;
    default:
        note_answer(lane, &DRAW_OF(lane, of_cipher_ctx), get_of_cipher_ctx, secret->cipher);
    }
}

/* A MAC */

static const char *const mac_digests[] = { "SHA256", "SHA256",   "SHA1", "SHA384", "SHA512",
                                           "SHA224", "SHA2-256", "",     "SHA9",   "SHAKE128" };
static const char *const mac_ciphers[] = { "AES-256-CBC",     "AES-128-CBC", "AES-128-CBC",
                                           "AES-256-ECB",     "AES-9",       "",
                                           "CAMELLIA-128-CBC" };

static EVP_MAC *mac_of(const struct lane *lane)
{
    return (is_aes(lane) ? cmac : hmac)[lane->side];
}

/* A parameter that programs set, or another; text is where its value is. */
static OSSL_PARAM mac_param_draw(struct lane *lane, char *text, size_t size, size_t *number)
{
    static const char *const names[] = { "size",          "block-size", "digest-noinit",
                                         "tls-data-size", "key",        "properties",
                                         "unheard-of",    "digest",     "cipher" };
    bool digest = !is_aes(lane), usual = draw(lane, 6) != 0;
    const char *name = usual ? (digest ? "digest" : "cipher") : DRAW_OF(lane, names);
    OSSL_PARAM param;

    snprintf(text, size, "%s", digest ? DRAW_OF(lane, mac_digests) : DRAW_OF(lane, mac_ciphers));
    *number = 10;
    if (!usual && draw(lane, 2) == 0)
        param = OSSL_PARAM_construct_size_t(name, number);
    else
        param = OSSL_PARAM_construct_utf8_string(name, text, 0);
    note_text(lane, name, param.data_type == OSSL_PARAM_UTF8_STRING ? text : "10");
    return param;
}

/* What software has refused, it may have kept; what is set after the key is of no account before
 * the next one. */
static void note_set(struct lane *lane, const OSSL_PARAM *with, int ret, bool before_key)
{
    if (with != NULL && (ret != 1 || !before_key))
        lane->over = true;
}

static void mac_init(struct lane *lane)
{
    struct secret *secret = lane->secret;
    char text[32];
    size_t number;
    OSSL_PARAM params[] = { mac_param_draw(lane, text, sizeof(text), &number),
                            OSSL_PARAM_construct_end() };
    const OSSL_PARAM *with = draw(lane, 4) == 0 ? NULL : params;
    bool again = draw(lane, 4) == 0;
    int ret;

    note(lane, "with", with != NULL);
    if (again)
        ret = CALL(lane, EVP_MAC_init, secret->mac, NULL, 0, with);
    else if (lane->side == SOFTWARE) /* before OpenSSL 3.6 it has no MACs with an EVP_SKEY */
        ret = note_call(lane, "EVP_MAC_init_SKEY",
                        EVP_MAC_init(secret->mac, bytes, len_of(lane), with));
    else
        ret = CALL(lane, EVP_MAC_init_SKEY, secret->mac, lane->twin->secret[TOKEN], with);
    note_set(lane, with, ret, !again);
    secret->mac_begun = ret == 1;
}

static void mac_set(struct lane *lane)
{
    struct secret *secret = lane->secret;
    char text[32];
    size_t number;
    OSSL_PARAM params[] = { mac_param_draw(lane, text, sizeof(text), &number),
                            OSSL_PARAM_construct_end() };
    int ret = CALL(lane, EVP_MAC_CTX_set_params, secret->mac, params);

    note_set(lane, params, ret, !secret->mac_begun);
}

static void mac_update(struct lane *lane)
{
    static const size_t lengths[] = { 0, 1, 16, 17, 64, 600 };
    struct secret *secret = lane->secret;
    unsigned char piece[600];
    size_t len = DRAW_OF(lane, lengths);

    note(lane, "of", (long)len);
    draw_bytes(lane, piece, len);
    CALL(lane, EVP_MAC_update, secret->mac, len == 0 && draw(lane, 2) == 0 ? NULL : piece, len);
}

/* Where libcrypto knows no size, it does not look at that of the buffer, and writes beyond it. */
static void mac_final(struct lane *lane)
{
    struct secret *secret = lane->secret;
    size_t enough = secret->mac_begun ? EVP_MAC_CTX_get_mac_size(secret->mac) : 0, len = 0;
    struct room room;
    int ret;

    room = room_draw(lane, enough != 0 ? enough : EVP_MAX_MD_SIZE);
    if (enough == 0 && room.size < EVP_MAX_MD_SIZE) {
        free(room.out);
        return;
    }
    ret = CALL(lane, EVP_MAC_final, secret->mac, room.out, &len, room.size);
    if (ret == 1)
        note(lane, "len", (long)len);
    if (ret == 1 && room.out != NULL)
        note_bytes(lane, "mac", room.out, len);
    free(room.out);
}

static void mac_copy(struct lane *lane)
{
    struct secret *secret = lane->secret;
    EVP_MAC_CTX *copy = EVP_MAC_CTX_dup(secret->mac);

    note(lane, "EVP_MAC_CTX_dup", copy != NULL);
    ERR_clear_error();
    if (copy == NULL)
        return;
    EVP_MAC_CTX_free(secret->mac);
    secret->mac = copy;
}

static const struct asked of_mac[] = {
    { "size", OSSL_PARAM_UNSIGNED_INTEGER },
    { "block-size", OSSL_PARAM_UNSIGNED_INTEGER },
    { "size", OSSL_PARAM_INTEGER },
    { "digest", OSSL_PARAM_UTF8_STRING },
    { "unheard-of", OSSL_PARAM_UNSIGNED_INTEGER },
};

static int get_of_mac(void *ctx, OSSL_PARAM *params)
{
    return EVP_MAC_CTX_get_params(ctx, params);
}

static void mac_get(struct lane *lane)
{
    static const char *const listed[] = { "size",   "block-size", "digest",
                                          "cipher", "key",        "properties" };
    struct secret *secret = lane->secret;

    note(lane, "size", (long)EVP_MAC_CTX_get_mac_size(secret->mac));
    note(lane, "block size", (long)EVP_MAC_CTX_get_block_size(secret->mac));
    ERR_clear_error();
    note_answer(lane, &DRAW_OF(lane, of_mac), get_of_mac, secret->mac);
    if (draw(lane, 4) != 0)
        return;
    note_list(lane, "settable", EVP_MAC_CTX_settable_params(secret->mac), listed, COUNT_OF(listed));
    note_list(lane, "gettable", EVP_MAC_CTX_gettable_params(secret->mac), listed, COUNT_OF(listed));
}

/* HKDF, from OpenSSL 3.6 on */

static void kdf_key(struct lane *lane)
{
    static const char *const names[] = { "key", "key", "key", "key", "salt", "unheard-of" };
    struct secret *secret = lane->secret;
    const char *name = DRAW_OF(lane, names);

    note_text(lane, "as", name);
    note_call(lane, "EVP_KDF_CTX_set_SKEY",
              kdf_set_skey(secret->kdf, lane->twin->secret[lane->side], name));
}

static OSSL_PARAM kdf_param_draw(struct lane *lane, unsigned char *value)
{
    static const char *const kdf_modes[] = { "EXTRACT_AND_EXPAND", "EXTRACT_ONLY", "EXPAND_ONLY",
                                             "NONSENSE", "" };
    static const int numbers[] = { 0, 1, 2, 3, -1 };
    static const char *const others[] = { "salt", "info", "info", "mode", "digest", "unheard-of" };
    const char *text;
    int number;

    switch (draw(lane, 5)) {
    case 0:
    case 1:
        text = DRAW_OF(lane, mac_digests);
        note_text(lane, "digest", text);
        return OSSL_PARAM_construct_utf8_string("digest", (char *)(uintptr_t)text, 0);
    case 2:
        text = DRAW_OF(lane, kdf_modes);
        note_text(lane, "mode", text);
        return OSSL_PARAM_construct_utf8_string("mode", (char *)(uintptr_t)text, 0);
    case 3:
        number = DRAW_OF(lane, numbers);
        note(lane, "mode", number);
        memcpy(value, &number, sizeof(number));
        return OSSL_PARAM_construct_int("mode", (int *)(void *)value);
    default:
        text = DRAW_OF(lane, others);
        number = (int)draw(lane, 40);
        note(lane, text, number);
        draw_bytes(lane, value, 40);
        return OSSL_PARAM_construct_octet_string(text, value, (size_t)number);
    }
}

static void kdf_set(struct lane *lane)
{
    struct secret *secret = lane->secret;
    _Alignas(int) unsigned char value[40];
    const OSSL_PARAM params[] = { kdf_param_draw(lane, value), OSSL_PARAM_construct_end() };

    CALL(lane, EVP_KDF_CTX_set_params, secret->kdf, params);
}

static void kdf_derive(struct lane *lane)
{
    static const size_t lengths[] = { 32, 32, 32, 20, 64, 48, 16, 1, 0, 600 };
    struct secret *secret = lane->secret;
    _Alignas(int) unsigned char value[40];
    OSSL_PARAM params[] = { kdf_param_draw(lane, value), OSSL_PARAM_construct_end() };
    size_t len = DRAW_OF(lane, lengths);
    unsigned char *out = malloc(len + (len == 0));

    note(lane, "of", (long)len);
    if (CALL(lane, EVP_KDF_derive, secret->kdf, out, len, draw(lane, 2) == 0 ? NULL : params) == 1)
        note_bytes(lane, "out", out, len);
    free(out);
}

static void kdf_copy(struct lane *lane)
{
    struct secret *secret = lane->secret;
    EVP_KDF_CTX *copy = EVP_KDF_CTX_dup(secret->kdf);

    note(lane, "EVP_KDF_CTX_dup", copy != NULL);
    ERR_clear_error();
    if (copy == NULL)
        return;
    EVP_KDF_CTX_free(secret->kdf);
    secret->kdf = copy;
}

static void kdf_reset(struct lane *lane)
{
    const struct secret *secret = lane->secret;

    EVP_KDF_CTX_reset(secret->kdf);
    note(lane, "EVP_KDF_CTX_reset", ERR_peek_error() != 0);
    ERR_clear_error();
}

static int get_of_kdf(void *ctx, OSSL_PARAM *params)
{
    return EVP_KDF_CTX_get_params(ctx, params);
}

static void kdf_get(struct lane *lane)
{
    static const struct asked of_kdf[] = {
        { "size", OSSL_PARAM_UNSIGNED_INTEGER }, { "digest", OSSL_PARAM_UTF8_STRING },
        { "mode", OSSL_PARAM_INTEGER },          { "info", OSSL_PARAM_OCTET_STRING },
        { "salt", OSSL_PARAM_OCTET_STRING },     { "unheard-of", OSSL_PARAM_UNSIGNED_INTEGER },
    };
    static const char *const listed[] = { "size", "digest", "mode",      "info",
                                          "salt", "key",    "properties" };
    struct secret *secret = lane->secret;

    note(lane, "size", (long)EVP_KDF_CTX_get_kdf_size(secret->kdf));
    ERR_clear_error();
    note_answer(lane, &DRAW_OF(lane, of_kdf), get_of_kdf, secret->kdf);
    if (draw(lane, 4) != 0)
        return;
    note_list(lane, "settable", EVP_KDF_CTX_settable_params(secret->kdf), listed, COUNT_OF(listed));
    note_list(lane, "gettable", EVP_KDF_CTX_gettable_params(secret->kdf), listed, COUNT_OF(listed));
}

static const struct step cipher_steps[] = {
    STEP(cipher_init, 3), STEP(cipher_update, 8), STEP(cipher_final, 5), STEP(cipher_set, 3),
    STEP(cipher_get, 4),  STEP(cipher_copy, 1),   STEP(cipher_reset, 1),
}, mac_steps[] = {
    STEP(mac_init, 4), STEP(mac_update, 6), STEP(mac_final, 5),
    STEP(mac_set, 2),  STEP(mac_get, 2),    STEP(mac_copy, 1),
}, kdf_steps[] = {
    STEP(kdf_key, 3),  STEP(kdf_set, 6),   STEP(kdf_derive, 6),
    STEP(kdf_copy, 1), STEP(kdf_reset, 1), STEP(kdf_get, 2),
};

static const struct walk cipher_walk = { cipher_steps, COUNT_OF(cipher_steps), STEPS },
                         mac_walk = { mac_steps, COUNT_OF(mac_steps), STEPS },
                         kdf_walk = { kdf_steps, COUNT_OF(kdf_steps), STEPS };

const struct walk *secret_walk_draw(struct lane *chooser, const struct twin *twin)
{
    unsigned which = draw(chooser, 6);

    if (strncmp(twin->name, "AES", 3) == 0)
        return which < 4 ? &cipher_walk : &mac_walk;
    return which < 3 || !has_hkdf ? &mac_walk : &kdf_walk;
}

void secret_begin(struct lane *lane)
{
    lane->secret = calloc(1, sizeof(*lane->secret));
    assert_non_null(lane->secret);
    lane->secret->cipher = EVP_CIPHER_CTX_new();
    lane->secret->mac = EVP_MAC_CTX_new(mac_of(lane));
    if (hkdf[lane->side] != NULL)
        lane->secret->kdf = EVP_KDF_CTX_new(hkdf[lane->side]);
}

void secret_end(struct lane *lane)
{
    EVP_CIPHER_CTX_free(lane->secret->cipher);
    EVP_MAC_CTX_free(lane->secret->mac);
    EVP_KDF_CTX_free(lane->secret->kdf);
    free(lane->secret);
}

/* What comes of two blocks, into out (64 bytes); false where nothing does. */
static bool try_mode(enum side side, unsigned mode, SKEY *key, unsigned char *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    const EVP_CIPHER *cipher = ciphers[side][1][mode];
    unsigned char iv[16] = { 0 };
    int len = 0;
    bool ok;

    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    ok = EVP_CipherInit_SKEY(ctx, cipher, key, iv, (size_t)EVP_CIPHER_get_iv_length(cipher), 1,
                             NULL) == 1 &&
         EVP_CipherUpdate(ctx, out, &len, bytes, 32) == 1;
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

/* Whether the token has not the mode, which it says when it gets a block; or not with an IV, to
 * which NSS 3.110 does not look in AES-KWP. */
static bool is_lacking(unsigned mode, const struct twin *twin)
{
    unsigned char ours[64] = { 0 }, theirs[64] = { 0 };

    if (!try_mode(TOKEN, mode, twin->secret[TOKEN], ours))
        return true;
    return strcmp(modes[mode], "WRAP-PAD") == 0 &&
           try_mode(SOFTWARE, mode, twin->secret[SOFTWARE], theirs) &&
           memcmp(ours, theirs, sizeof(ours)) != 0;
}

/* Whether the token has HKDF, as SoftHSM has not. */
static bool derives(SKEY *key)
{
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(hkdf[TOKEN]);
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string("digest", digest, 0),
                                  OSSL_PARAM_construct_end() };
    unsigned char out[32];
    bool ok =
        kdf_set_skey(ctx, key, "key") == 1 && EVP_KDF_derive(ctx, out, sizeof(out), params) == 1;

    EVP_KDF_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

static void fetch_all(enum side side)
{
    const char *prefix = side == TOKEN ? PKCS11_BRIDGE_CIPHER_PREFIX : "";
    char name[64];

    for (unsigned size = 0; size < SIZES; size++)
        for (unsigned mode = 0; mode < MODES; mode++) {
            snprintf(name, sizeof(name), "%sAES-%u-%s", prefix, size == 0 ? 128 : 256, modes[mode]);
            ciphers[side][size][mode] = EVP_CIPHER_fetch(libctxs[side], name, NULL);
            assert_non_null(ciphers[side][size][mode]);
        }
    snprintf(name, sizeof(name), "%sHMAC", prefix);
    hmac[side] = EVP_MAC_fetch(libctxs[side], name, NULL);
    snprintf(name, sizeof(name), "%sCMAC", prefix);
    cmac[side] = EVP_MAC_fetch(libctxs[side], name, NULL);
    snprintf(name, sizeof(name), "%sHKDF", prefix);
    if (kdf_set_skey != NULL)
        hkdf[side] = EVP_KDF_fetch(libctxs[side], name, NULL);
}

void secrets_free(struct twin *twins, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (int side = 0; side < SIDES; side++)
            EVP_SKEY_free(twins[i].secret[side]);
    for (int side = 0; side < SIDES; side++) {
        for (unsigned i = 0; i < SIZES * MODES; i++) {
            EVP_CIPHER_free(ciphers[side][i / MODES][i % MODES]);
            ciphers[side][i / MODES][i % MODES] = NULL;
        }
        EVP_MAC_free(hmac[side]);
        EVP_MAC_free(cmac[side]);
        EVP_KDF_free(hkdf[side]);
        hmac[side] = cmac[side] = NULL;
        hkdf[side] = NULL;
    }
}

size_t secrets_make(struct twin *twins)
{
    static const struct {
        const char *name, *type;
        size_t len;
    } kinds[KEYS] = { { "AES-128", "AES", 16 },
                      { "AES-256", "AES", 32 },
                      { "GENERIC-SECRET", "GENERIC-SECRET", sizeof(bytes) } };
    const struct newer function = { "EVP_KDF_CTX_set_SKEY", &kdf_set_skey };
    size_t count = 0;

    if (!skey_functions())
        return 0;
    (void)newer_found(&function, 1);
    fetch_all(SOFTWARE);
    fetch_all(TOKEN);
    for (size_t i = 0; i < KEYS; i++) {
        struct twin *twin = &twins[count];

        *twin = (struct twin){ .name = kinds[i].name };
        for (int side = 0; side < SIDES; side++)
            twin->secret[side] = EVP_SKEY_import_raw_key(libctxs[side], kinds[i].type, bytes,
                                                         kinds[i].len, side == TOKEN ? OURS : NULL);
        if (twin->secret[SOFTWARE] != NULL && twin->secret[TOKEN] != NULL)
            count++;
        else
            printf("no %s\n", kinds[i].name);
    }
    for (unsigned mode = 0; count > 1 && mode < MODES; mode++)
        lacks[mode] = is_lacking(mode, &twins[1]);
    if (lacks[0]) { /* it has nothing of AES */
        printf("no secret keys\n");
        secrets_free(twins, count);
        return 0;
    }
    has_hkdf = count == KEYS && kdf_set_skey != NULL && derives(twins[2].secret[TOKEN]);
    return count;
}
