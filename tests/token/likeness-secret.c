/* Secret keys, from OpenSSL 3.5 on: ciphers, MACs and key derivation with an EVP_SKEY of the token,
 * and with one of software that has the same bytes. */
#include "likeness-secret.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>

#include "pkcs11_bridge.h"

static int (*kdf_set_skey)(EVP_KDF_CTX *ctx, SKEY *key, const char *name);

EVP_CIPHER *ciphers[SIDES][SIZES][MODES];
bool lacks[MODES];
const char *const modes[MODES] = { "ECB", "CBC",     "CBC",  "CTR",      "CTR", "CFB",
                                   "OFB", "CBC-CTS", "WRAP", "WRAP-PAD", "GCM" };
static EVP_MAC *hmac[SIDES], *cmac[SIDES];
static EVP_KDF *hkdf[SIDES];
static bool has_hkdf, has_skeys;
static unsigned char bytes[] =
    "a key that is known to nobody, and long, as SoftHSM wants those of HMAC";

static bool is_aes(const struct lane *lane)
{
    return strncmp(lane->twin->name, "AES", 3) == 0;
}

static size_t len_of(const struct lane *lane)
{
    return strcmp(lane->twin->name, "AES-128") == 0   ? 16
           : strcmp(lane->twin->name, "AES-256") == 0 ? 32
                                                      : sizeof(bytes);
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

/* What the rows of differences go by: whether a cipher or digest is set, and how far the message
 * is. */
static void mac_state_note(struct lane *lane)
{
    const struct secret *secret = lane->secret;

    snprintf(lane->state, sizeof(lane->state), " MAC %s%s ",
             secret->mac_named ? "named" : "unnamed",
             secret->mac_ended   ? " ended"
             : secret->mac_begun ? " begun"
                                 : "");
}

static bool names(const struct lane *lane, const OSSL_PARAM *param)
{
    return strcmp(param->key, is_aes(lane) ? "cipher" : "digest") == 0;
}

static void mac_init(struct lane *lane)
{
    struct secret *secret = lane->secret;
    char text[32];
    size_t number;
    OSSL_PARAM params[] = { OSSL_PARAM_construct_end(), OSSL_PARAM_construct_end() };
    const OSSL_PARAM *with = draw(lane, 4) == 0 ? NULL : params;
    bool again = draw(lane, 4) == 0;
    int ret;

    mac_state_note(lane);
    if (with != NULL)
        params[0] = mac_param_draw(lane, text, sizeof(text), &number);
    if (again)
        ret = CALL(lane, EVP_MAC_init, secret->mac, NULL, 0, with);
    else if (lane->side == SOFTWARE) /* before OpenSSL 3.6 it has no MACs with an EVP_SKEY */
        ret = note_call(lane, "EVP_MAC_init_SKEY",
                        EVP_MAC_init(secret->mac, bytes, len_of(lane), with));
    else
        ret = CALL(lane, EVP_MAC_init_SKEY, secret->mac, lane->twin->secret[TOKEN], with);
    note_set(lane, with, ret, !again);
    secret->mac_named = secret->mac_named || (with != NULL && ret == 1 && names(lane, with));
    secret->mac_begun = ret == 1;
    secret->mac_ended = false;
}

static void mac_set(struct lane *lane)
{
    struct secret *secret = lane->secret;
    char text[32];
    size_t number;
    OSSL_PARAM params[] = { mac_param_draw(lane, text, sizeof(text), &number),
                            OSSL_PARAM_construct_end() };
    int ret;

    mac_state_note(lane);
    ret = CALL(lane, EVP_MAC_CTX_set_params, secret->mac, params);
    secret->mac_named = secret->mac_named || (ret == 1 && names(lane, params));
    note_set(lane, params, ret, !secret->mac_begun);
}

static void mac_update(struct lane *lane)
{
    static const size_t lengths[] = { 0, 1, 16, 17, 64, 600 };
    struct secret *secret = lane->secret;
    unsigned char piece[600];
    size_t len = DRAW_OF(lane, lengths);

    mac_state_note(lane);
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

    mac_state_note(lane);
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
    secret->mac_ended = secret->mac_ended || (ret == 1 && room.out != NULL);
    free(room.out);
}

static void mac_copy(struct lane *lane)
{
    struct secret *secret = lane->secret;
    EVP_MAC_CTX *copy = EVP_MAC_CTX_dup(secret->mac);

    mac_state_note(lane);
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

    mac_state_note(lane);
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

static const struct step mac_steps[] = {
    STEP(mac_init, 4), STEP(mac_update, 6), STEP(mac_final, 5),
    STEP(mac_set, 2),  STEP(mac_get, 2),    STEP(mac_copy, 1),
}, kdf_steps[] = {
    STEP(kdf_key, 3),  STEP(kdf_set, 6),   STEP(kdf_derive, 6),
    STEP(kdf_copy, 1), STEP(kdf_reset, 1), STEP(kdf_get, 2),
};

static const struct walk mac_walk = { mac_steps, COUNT_OF(mac_steps), STEPS },
                         kdf_walk = { kdf_steps, COUNT_OF(kdf_steps), STEPS };

const struct walk *secret_walk_draw(struct lane *chooser, const struct twin *twin)
{
    unsigned which = draw(chooser, 6);

    if (has_skeys && draw(chooser, 10) == 0)
        return &skey_walk;
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
    EVP_SKEY_free(lane->secret->skey);
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
    } kinds[SECRETS] = { { "AES-128", "AES", 16 },
                         { "AES-256", "AES", 32 },
                         { "GENERIC-SECRET", "GENERIC-SECRET", sizeof(bytes) } };
    const struct newer function = { "EVP_KDF_CTX_set_SKEY", &kdf_set_skey };
    size_t count = 0;

    if (!skey_functions() || !ciphers_found())
        return 0;
    (void)newer_found(&function, 1);
    has_skeys = skeys_found();
    fetch_all(SOFTWARE);
    fetch_all(TOKEN);
    for (size_t i = 0; i < SECRETS; i++) {
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
    has_hkdf = count == SECRETS && kdf_set_skey != NULL && derives(twins[2].secret[TOKEN]);
    return count;
}
