/* A program sees the same of a token's key as of the same key in software, whatever it calls in
 * whatever order: random sequences of calls, with both, in lock-step.
 *
 *     test-likeness                             a few seconds of sequences, always the same
 *     BRIDGE_LIKENESS="SEED COUNT"              these; with the seed 0, by one that it tells
 *     BRIDGE_LIKENESS_ERRORS=1                  with what is on the error stack after each call
 *     BRIDGE_LIKENESS_PATHS=1                   with what was done
 *     BRIDGE_LIKENESS_ROWS=1                    with the rows of differences that were met
 */
#include "likeness.h"
#include "skey.h"

#include <sys/random.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "pkcs11_bridge.h"

#define SEED      1
#define SEQUENCES 1000

/* Keys that both lanes have in their library contexts. */
enum peer {
    PEER_P256,
    PEER_P384,
    PEER_X25519,
    PEER_X448,
    PEER_ED25519,
    PEER_RSA,
    PEER_ZERO,
    PEERS
};
static EVP_PKEY *peers[SIDES][PEERS];

/* Messages that go through an EVP_MD_CTX. */

static void md_init(struct lane *lane)
{
    const char *digest = draw(lane, 8) == 0 || is_edwards(lane) ? NULL : DRAW_OF(lane, digests);
    bool again = lane->md_begun && draw(lane, 3) == 0;
    EVP_PKEY *key = again ? NULL : lane->key;
    OSSL_PARAM buf[5];
    const OSSL_PARAM *params = params_draw(lane, buf);

    if (!takes_digest(lane) && draw(lane, 8) == 0)
        digest = "SHA256";
    lane->md_signs = draw(lane, 2) == 0;
    note_text(lane, again ? "again with" : "with", digest != NULL ? digest : "NULL");
    if (lane->md_signs)
        lane->md_begun = CALL(lane, EVP_DigestSignInit_ex, lane->md, &lane->md_pkey, digest,
                              lane->libctx, NULL, key, params) == 1;
    else
        lane->md_begun = CALL(lane, EVP_DigestVerifyInit_ex, lane->md, &lane->md_pkey, digest,
                              lane->libctx, NULL, key, params) == 1;
    lane->message_len = 0;
    if (!again)
        lane->context_len = 0, lane->deterministic = lane->encoded = false;
}

static void md_update(struct lane *lane)
{
    static const size_t lengths[] = { 0, 1, 16, 55, 300, 600 };
    unsigned char piece[600];
    size_t len = DRAW_OF(lane, lengths);
    const unsigned char *from = len == 0 && draw(lane, 2) == 0 ? NULL : piece;
    int ret;

    if (!lane->md_begun || lane->message_len + len > MESSAGE_MAX)
        return;
    draw_bytes(lane, piece, len);
    ret = lane->md_signs ? CALL(lane, EVP_DigestSignUpdate, lane->md, from, len)
                         : CALL(lane, EVP_DigestVerifyUpdate, lane->md, from, len);
    if (ret == 1) {
        memcpy(lane->message + lane->message_len, piece, len);
        lane->message_len += len;
    }
}

static void note_signed_message(struct lane *lane, int ret, const struct room *room, size_t len)
{
    unsigned char hash[EVP_MAX_MD_SIZE];

    lane->size_asked = lane->size_asked || room->out == NULL;
    if (room_filled(lane, ret, room, len))
        note_signature(lane, lane->md_pkey, hash, hash_message(lane, hash), room->out, len);
}

static void md_sign_final(struct lane *lane)
{
    struct room room = room_draw(lane, (size_t)EVP_PKEY_get_size(lane->key));
    size_t len = room.size;
    int ret = CALL(lane, EVP_DigestSignFinal, lane->md, room.out, &len);

    note_signed_message(lane, ret, &room, len);
    free(room.out);
}

static void md_verify_final(struct lane *lane)
{
    unsigned char hash[EVP_MAX_MD_SIZE], sig[SHARED_MAX + 8];
    size_t len = hash_message(lane, hash);

    signature_share(lane, lane->md_pkey, hash, len);
    len = shared_spoilt(lane, sig, NULL);
    CALL(lane, EVP_DigestVerifyFinal, lane->md, sig, len);
}

static void md_final(struct lane *lane)
{
    if (!lane->md_begun || !takes_digest(lane)) /* where libcrypto 3.0 calls a NULL */
        return;
    if (draw(lane, 12) == 0 ? !lane->md_signs : lane->md_signs)
        md_sign_final(lane);
    else
        md_verify_final(lane);
}

/* The rest of the message, and the end. */
static void md_whole(struct lane *lane)
{
    size_t more = draw(lane, 100), before = lane->message_len;
    unsigned char *tail = lane->message + before;

    if (!lane->md_begun || before + more > MESSAGE_MAX)
        return;
    draw_bytes(lane, tail, more);
    lane->message_len += more;
    if (lane->md_signs) {
        struct room room = room_draw(lane, (size_t)EVP_PKEY_get_size(lane->key));
        size_t len = room.size;
        int ret = CALL(lane, EVP_DigestSign, lane->md, room.out, &len, tail, more);

        note_signed_message(lane, ret, &room, len);
        if (room.out == NULL)
            lane->message_len = before;
        else /* one message after the other here; software adds the next to this one */
            lane->md_begun = false;
        free(room.out);
    } else {
        unsigned char hash[EVP_MAX_MD_SIZE], sig[SHARED_MAX + 8];
        size_t len = hash_message(lane, hash);

        if (!takes_digest(lane))
            whole_share(lane);
        else
            signature_share(lane, lane->md_pkey, hash, len);
        len = shared_spoilt(lane, sig, NULL);
        CALL(lane, EVP_DigestVerify, lane->md, sig, len, tail, more);
    }
}

static void md_copy(struct lane *lane)
{
    EVP_MD_CTX *copy = EVP_MD_CTX_new();

    if (!lane->md_begun) {
        EVP_MD_CTX_free(copy);
        return;
    }
    if (CALL(lane, EVP_MD_CTX_copy_ex, copy, lane->md) == 1) {
        lane->mds_copied[lane->copied++] = lane->md;
        lane->md = copy;
        lane->md_pkey = EVP_MD_CTX_get_pkey_ctx(copy);
    } else {
        EVP_MD_CTX_free(copy);
    }
}

static void md_reset(struct lane *lane)
{
    lane->md_begun = false;
    CALL(lane, EVP_MD_CTX_reset, lane->md);
}

static void md_state_note(struct lane *lane)
{
    snprintf(lane->state, sizeof(lane->state), " message %s ", lane->md_signs ? "sign" : "verify");
}

static void md_set(struct lane *lane)
{
    md_state_note(lane);
    if (lane->md_begun)
        set_something(lane, lane->md_pkey);
}

static void md_get(struct lane *lane)
{
    if (lane->md_begun)
        note_ctx(lane, lane->md_pkey);
}

/* An EVP_PKEY_CTX */

/* What the rows of differences go by: what is being done. */
static void pkey_state_note(struct lane *lane)
{
    static const struct {
        int operation;
        const char *name;
    } names[] = {
        { EVP_PKEY_OP_SIGN, " sign " },
        { EVP_PKEY_OP_VERIFY, " verify " },
        { EVP_PKEY_OP_VERIFYRECOVER, " recover " },
        { EVP_PKEY_OP_ENCRYPT, " encrypt " },
        { EVP_PKEY_OP_DECRYPT, " decrypt " },
        { EVP_PKEY_OP_ENCAPSULATE, " encapsulate " },
        { EVP_PKEY_OP_DECAPSULATE, " decapsulate " },
        { EVP_PKEY_OP_DERIVE, " derive " },
    };

    snprintf(lane->state, sizeof(lane->state), " - ");
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (names[i].operation == EVP_PKEY_CTX_get_operation(lane->pkey))
            snprintf(lane->state, sizeof(lane->state), "%s", names[i].name);
}

static void pkey_new(struct lane *lane)
{
    EVP_PKEY_CTX_free(lane->pkey);
    lane->pkey = EVP_PKEY_CTX_new_from_pkey(lane->libctx, lane->key, NULL);
    note(lane, "EVP_PKEY_CTX_new_from_pkey", lane->pkey != NULL);
    ERR_clear_error();
}

enum use { SIGN, VERIFY, RECOVER, ENCRYPT, DECRYPT, ENCAPSULATE, DECAPSULATE, DERIVE, USES };

/* What keys of the type are for, or now and then something else. */
static enum use use_draw(struct lane *lane)
{
    static const enum use of_rsa[] = { SIGN, SIGN, VERIFY, RECOVER, ENCRYPT, DECRYPT },
                          of_ec[] = { SIGN, VERIFY, DERIVE, DERIVE };

    if (draw(lane, 12) == 0 || is_edwards(lane) || is_pq_dsa(lane))
        return (enum use)draw(lane, USES);
    if (is_ml_kem(lane))
        return draw(lane, 3) == 0 ? ENCAPSULATE : DECAPSULATE;
    return is_rsa(lane) ? DRAW_OF(lane, of_rsa) : is_a(lane, "EC") ? DRAW_OF(lane, of_ec) : DERIVE;
}

static void pkey_init(struct lane *lane)
{
    OSSL_PARAM buf[5];
    enum use use = use_draw(lane);
    const OSSL_PARAM *params = params_draw(lane, buf);

    lane->state[0] = '\0';
    switch (use) {
    case SIGN:
        CALL(lane, EVP_PKEY_sign_init_ex, lane->pkey, params);
        break;
    case VERIFY:
        CALL(lane, EVP_PKEY_verify_init_ex, lane->pkey, params);
        break;
    case RECOVER:
        CALL(lane, EVP_PKEY_verify_recover_init_ex, lane->pkey, params);
        break;
    case ENCRYPT:
        CALL(lane, EVP_PKEY_encrypt_init_ex, lane->pkey, params);
        break;
    case DECRYPT:
        CALL(lane, EVP_PKEY_decrypt_init_ex, lane->pkey, params);
        break;
    case ENCAPSULATE:
        CALL(lane, EVP_PKEY_encapsulate_init, lane->pkey, params);
        break;
    case DECAPSULATE:
        CALL(lane, EVP_PKEY_decapsulate_init, lane->pkey, params);
        break;
    default:
        CALL(lane, EVP_PKEY_derive_init_ex, lane->pkey, params);
    }
}

static void pkey_dup(struct lane *lane)
{
    EVP_PKEY_CTX *copy = EVP_PKEY_CTX_dup(lane->pkey);

    note(lane, "EVP_PKEY_CTX_dup", copy != NULL);
    ERR_clear_error();
    if (copy == NULL)
        return;
    lane->pkeys_copied[lane->copied++] = lane->pkey;
    lane->pkey = copy;
}

static void pkey_set(struct lane *lane)
{
    pkey_state_note(lane);
    set_something(lane, lane->pkey);
}

static void pkey_get(struct lane *lane)
{
    pkey_state_note(lane);
    note_ctx(lane, lane->pkey);
}

/* Data as long as a digest is, or not. */
static size_t hash_draw(struct lane *lane, unsigned char *hash)
{
    static const size_t lengths[] = {
        32, 32, 32, 20, 48, 64, 36, 16, 0, 1, 100, 245, 246, 256, 257
    };
    size_t len = DRAW_OF(lane, lengths);

    note(lane, "of", (long)len);
    draw_bytes(lane, hash, 257);
    hash[0] = 0;
    return len;
}

static void pkey_sign(struct lane *lane)
{
    struct room room = room_draw(lane, (size_t)EVP_PKEY_get_size(lane->key));
    unsigned char hash[257];
    size_t hash_len = hash_draw(lane, hash), len = room.size;
    int ret = EVP_PKEY_sign(lane->pkey, room.out, &len, hash, hash_len);

    note_call(lane, hash_len != 0 ? "EVP_PKEY_sign" : "EVP_PKEY_sign of nothing", ret);
    if (room_filled(lane, ret, &room, len))
        note_signature(lane, lane->pkey, hash, hash_len, room.out, len);
    free(room.out);
}

static void pkey_verify(struct lane *lane)
{
    unsigned char hash[257], sig[SHARED_MAX + 8];
    size_t hash_len = hash_draw(lane, hash), len;

    signature_share(lane, lane->pkey, hash, hash_len);
    len = shared_spoilt(lane, sig, NULL);
    CALL(lane, EVP_PKEY_verify, lane->pkey, sig, len, hash, hash_len);
}

static void note_out(struct lane *lane, const char *what, int ret, const struct room *room,
                     size_t len)
{
    if (room_filled(lane, ret, room, len))
        note_bytes(lane, what, room->out, len);
}

/* Of a buffer that is too small, libcrypto 3.0 writes beyond the end. */
static void pkey_recover(struct lane *lane)
{
    unsigned char out[MODULUS] = { 0 }, hash[257], sig[SHARED_MAX + 8];
    struct room room = { draw(lane, 6) != 0 ? out : NULL, sizeof(out) };
    size_t hash_len = hash_draw(lane, hash), sig_len, len = room.size;
    int ret;

    signature_share(lane, lane->pkey, hash, hash_len);
    sig_len = shared_spoilt(lane, sig, NULL);
    ret = CALL(lane, EVP_PKEY_verify_recover, lane->pkey, room.out, &len, sig, sig_len);
    note_out(lane, "out", ret, &room, len);
}

static void pkey_encrypt(struct lane *lane)
{
    struct room room = room_draw(lane, (size_t)EVP_PKEY_get_size(lane->key));
    unsigned char text[257];
    size_t text_len = hash_draw(lane, text), len = room.size;
    int ret = CALL(lane, EVP_PKEY_encrypt, lane->pkey, room.out, &len, text, text_len);

    if (room_filled(lane, ret, &room, len))
        note_ciphertext(lane, room.out, len);
    free(room.out);
}

static void pkey_decrypt(struct lane *lane)
{
    struct room room = room_draw(lane, (size_t)EVP_PKEY_get_size(lane->key));
    unsigned char text[257], in[SHARED_MAX + 8];
    size_t in_len, len = room.size;
    bool whole;
    int ret;

    ciphertext_share(lane, text, hash_draw(lane, text));
    in_len = shared_spoilt(lane, in, &whole);
    ret = EVP_PKEY_decrypt(lane->pkey, room.out, &len, in, in_len);
    note_call(lane, whole ? "EVP_PKEY_decrypt" : "EVP_PKEY_decrypt of what is spoilt", ret);
    note_out(lane, whole ? "out" : "out of what is spoilt", ret, &room, len);
    free(room.out);
}

#define SECRET 32

static void pkey_encapsulate(struct lane *lane)
{
    struct room room = room_draw(lane, (size_t)EVP_PKEY_get_size(lane->key));
    struct room secret = room_draw(lane, SECRET);
    size_t len = room.size, secret_len = secret.size;
    int ret;

    if (secret.out != NULL || room.out == NULL) { /* software writes to no place */
        ret = CALL(lane, EVP_PKEY_encapsulate, lane->pkey, room.out, &len, secret.out, &secret_len);
        if (ret == 1 && room.out == NULL)
            note(lane, "size", (long)len), note(lane, "size of the secret", (long)secret_len);
        else if (ret == 1)
            note_encapsulated(lane, room.out, len, secret.out, secret_len);
    }
    free(room.out);
    free(secret.out);
}

/* Of a wrong ciphertext comes what this key's secret tells, and that is the same in both places. */
static void pkey_decapsulate(struct lane *lane)
{
    struct room room = room_draw(lane, SECRET);
    unsigned char in[SHARED_MAX + 8];
    size_t in_len, len = room.size;
    int ret;

    encapsulation_share(lane);
    in_len = shared_spoilt(lane, in, NULL);
    ret = CALL(lane, EVP_PKEY_decapsulate, lane->pkey, room.out, &len, in, in_len);
    note_out(lane, "out", ret, &room, len);
    free(room.out);
}

/* One that fits. */
static enum peer peer_of(const struct lane *lane)
{
    if (is_a(lane, "X25519"))
        return PEER_X25519;
    if (is_a(lane, "X448"))
        return PEER_X448;
    return strcmp(lane->twin->name, "P-384") == 0 ? PEER_P384 : PEER_P256;
}

static void pkey_set_peer(struct lane *lane)
{
    bool derives = EVP_PKEY_CTX_get_operation(lane->pkey) == EVP_PKEY_OP_DERIVE;
    EVP_PKEY *peer = peers[lane->side][draw(lane, PEERS)];

    if (draw(lane, 3) != 0)
        peer = peers[lane->side][peer_of(lane)];
    if (peer == NULL || (!derives && draw(lane, 20) != 0))
        return;
    if (draw(lane, 2) == 0)
        CALL(lane, EVP_PKEY_derive_set_peer, lane->pkey, peer);
    else
        CALL(lane, EVP_PKEY_derive_set_peer_ex, lane->pkey, peer, (int)draw(lane, 2));
}

static void pkey_derive(struct lane *lane)
{
    static const size_t enough[] = { 32, 48, 40, 100 };
    struct room room = room_draw(lane, DRAW_OF(lane, enough));
    size_t len = room.size;
    int ret = CALL(lane, EVP_PKEY_derive, lane->pkey, room.out, &len);

    note_out(lane, "out", ret, &room, len);
    free(room.out);
}

/* What was begun, or now and then something else. */
static void pkey_do(struct lane *lane)
{
    static const struct {
        int operation;
        void (*function)(struct lane *lane);
    } uses[] = {
        { EVP_PKEY_OP_SIGN, pkey_sign },
        { EVP_PKEY_OP_VERIFY, pkey_verify },
        { EVP_PKEY_OP_VERIFYRECOVER, pkey_recover },
        { EVP_PKEY_OP_ENCRYPT, pkey_encrypt },
        { EVP_PKEY_OP_DECRYPT, pkey_decrypt },
        { EVP_PKEY_OP_ENCAPSULATE, pkey_encapsulate },
        { EVP_PKEY_OP_DECAPSULATE, pkey_decapsulate },
        { EVP_PKEY_OP_DERIVE, pkey_derive },
    };
    size_t use = draw(lane, 20 * COUNT_OF(uses));

    pkey_state_note(lane);
    if (use >= COUNT_OF(uses))
        for (use = 0; use < COUNT_OF(uses) - 1; use++)
            if (uses[use].operation == EVP_PKEY_CTX_get_operation(lane->pkey))
                break;
    uses[use].function(lane);
}

static void pkey_check(struct lane *lane)
{
    int (*const checks[])(EVP_PKEY_CTX *
                          ctx) = { EVP_PKEY_public_check,   EVP_PKEY_public_check_quick,
                                   EVP_PKEY_param_check,    EVP_PKEY_param_check_quick,
                                   EVP_PKEY_pairwise_check, EVP_PKEY_private_check,
                                   EVP_PKEY_check };
    static const char *const names[] = { "EVP_PKEY_public_check",   "EVP_PKEY_public_check_quick",
                                         "EVP_PKEY_param_check",    "EVP_PKEY_param_check_quick",
                                         "EVP_PKEY_pairwise_check", "EVP_PKEY_private_check",
                                         "EVP_PKEY_check" };
    unsigned which = draw(lane, COUNT_OF(checks));

    if (is_rsa(lane) && which > 3 && draw(lane, 8) != 0)
        return; /* they are slow */
    note_call(lane, names[which], checks[which](lane->pkey));
}

/* The key by itself */

static const struct asked of_key[] = {
    { "bits", OSSL_PARAM_INTEGER },
    { "security-bits", OSSL_PARAM_INTEGER },
    { "max-size", OSSL_PARAM_INTEGER },
    { "default-digest", OSSL_PARAM_UTF8_STRING },
    { "mandatory-digest", OSSL_PARAM_UTF8_STRING },
    { "n", OSSL_PARAM_UNSIGNED_INTEGER },
    { "e", OSSL_PARAM_UNSIGNED_INTEGER },
    { "group", OSSL_PARAM_UTF8_STRING },
    { "pub", OSSL_PARAM_OCTET_STRING },
    { "encoded-pub-key", OSSL_PARAM_OCTET_STRING },
    { "qx", OSSL_PARAM_UNSIGNED_INTEGER },
    { "point-format", OSSL_PARAM_UTF8_STRING },
    { "encoding", OSSL_PARAM_UTF8_STRING },
    { "field-type", OSSL_PARAM_UTF8_STRING },
    { "generator", OSSL_PARAM_OCTET_STRING },
    { "cofactor", OSSL_PARAM_UNSIGNED_INTEGER },
    { "use-cofactor-flag", OSSL_PARAM_INTEGER },
    { "include-public", OSSL_PARAM_INTEGER },
    { "decoded-from-explicit", OSSL_PARAM_INTEGER },
    { "basis-type", OSSL_PARAM_UTF8_STRING },
    { "seed", OSSL_PARAM_OCTET_STRING },
    { "digest", OSSL_PARAM_UTF8_STRING },
    { "saltlen", OSSL_PARAM_INTEGER },
    { "tls-group-name", OSSL_PARAM_UTF8_STRING },
    { "fips-indicator", OSSL_PARAM_INTEGER },
    { "security-category", OSSL_PARAM_INTEGER },
    { "unheard-of", OSSL_PARAM_INTEGER },
};

static const char *const listed_of_key[] = { "bits",
                                             "security-bits",
                                             "max-size",
                                             "default-digest",
                                             "mandatory-digest",
                                             "n",
                                             "e",
                                             "group",
                                             "pub",
                                             "encoded-pub-key",
                                             "qx",
                                             "qy",
                                             "point-format",
                                             "encoding",
                                             "field-type",
                                             "p",
                                             "a",
                                             "b",
                                             "generator",
                                             "order",
                                             "cofactor",
                                             "use-cofactor-flag",
                                             "include-public",
                                             "decoded-from-explicit",
                                             "seed",
                                             "security-category" };

static int get_of_key(void *key, OSSL_PARAM *params)
{
    return EVP_PKEY_get_params(key, params);
}

static void key_get(struct lane *lane)
{
    if (draw(lane, 8) == 0)
        note_list(lane, "key has", EVP_PKEY_gettable_params(lane->key), listed_of_key,
                  COUNT_OF(listed_of_key));
    else if (draw(lane, 8) == 0)
        note_list(lane, "key takes", EVP_PKEY_settable_params(lane->key), listed_of_key,
                  COUNT_OF(listed_of_key));
    else
        for (int i = 0; i < 3; i++)
            note_answer(lane, &DRAW_OF(lane, of_key), get_of_key, lane->key);
}

static void key_bn(struct lane *lane)
{
    static const char *const names[] = { "n",   "e",     "qx",        "qy",       "p",
                                         "a",   "b",     "order",     "cofactor", "bits",
                                         "pub", "group", "unheard-of" };
    const char *name = DRAW_OF(lane, names);
    unsigned char number[600];
    BIGNUM *bn = NULL;
    char what[64];

    snprintf(what, sizeof(what), "EVP_PKEY_get_bn_param %s", name);
    if (note_call(lane, what, EVP_PKEY_get_bn_param(lane->key, name, &bn)) == 1)
        note_bytes(lane, name, number, (size_t)BN_bn2bin(bn, number));
    BN_free(bn);
}

/* Asked in any type, into a buffer that may be too small or none. */
static void key_typed(struct lane *lane)
{
    static const size_t sizes[] = { 3000, 3000, 3000, 20, 1, 0 };
    const char *name = DRAW_OF(lane, of_key).name;
    size_t size = DRAW_OF(lane, sizes), len = 77, number = 77;
    unsigned char *out =
        calloc(1, size + (size == 0)); /* of no size, libcrypto reads a text there */
    void *to = draw(lane, 6) == 0 ? NULL : out;
    int small = 77;

    note_text(lane, "of", name);
    note(lane, to != NULL ? "room" : "no room", (long)size);
    switch (draw(lane, 4)) {
    case 0:
        if (CALL(lane, EVP_PKEY_get_utf8_string_param, lane->key, name, to, size, &len) == 1)
            note(lane, "len", (long)len);
        break;
    case 1:
        if (CALL(lane, EVP_PKEY_get_octet_string_param, lane->key, name, to, size, &len) == 1)
            note_bytes(lane, "octets", to, to != NULL ? len : 0);
        break;
    case 2:
        if (CALL(lane, EVP_PKEY_get_int_param, lane->key, name, &small) == 1)
            note(lane, "int", small);
        break;
    default:
        if (CALL(lane, EVP_PKEY_get_size_t_param, lane->key, name, &number) == 1)
            note(lane, "size_t", (long)number);
    }
    free(out);
}

/* What cannot be set, in any type, of the key that other sequences have as well, or of a copy. */
static void key_set(struct lane *lane)
{
    static const char *const names[] = { "unheard-of", "bits", "n", "group", "digest" };
    const char *name = DRAW_OF(lane, names);
    EVP_PKEY *copy = EVP_PKEY_dup(lane->key);

    if (draw(lane, 2) == 0) {
        EVP_PKEY_free(copy);
        copy = lane->key;
        EVP_PKEY_up_ref(copy);
    }
    note_text(lane, "of", name);
    switch (draw(lane, 3)) {
    case 0:
        CALL(lane, EVP_PKEY_set_int_param, copy, name, 1);
        break;
    case 1:
        CALL(lane, EVP_PKEY_set_utf8_string_param, copy, name, "text");
        break;
    default:
        CALL(lane, EVP_PKEY_set_octet_string_param, copy, name, octets, 5);
    }
    EVP_PKEY_free(copy);
}

static void key_facts(struct lane *lane)
{
    static const char *const types[] = { "RSA",
                                         "EC",
                                         "ED25519",
                                         "X25519",
                                         "ED448",
                                         "X448",
                                         "rsaEncryption",
                                         "1.2.840.113549.1.1.1",
                                         "id-ecPublicKey",
                                         "RSA-PSS",
                                         "1.3.101.112",
                                         "DSA",
                                         "ML-DSA-44",
                                         "ML-KEM-512",
                                         "id-ml-dsa-65",
                                         "2.16.840.1.101.3.4.4.2" };
    char text[64] = "";
    size_t len = 0;
    int nid = 0;

    CALL(lane, EVP_PKEY_get_id, lane->key);
    CALL(lane, EVP_PKEY_get_base_id, lane->key);
    CALL(lane, EVP_PKEY_get_bits, lane->key);
    CALL(lane, EVP_PKEY_get_security_bits, lane->key);
    CALL(lane, EVP_PKEY_get_size, lane->key);
    CALL(lane, EVP_PKEY_can_sign, lane->key);
    CALL(lane, EVP_PKEY_missing_parameters, lane->key);
    CALL(lane, EVP_PKEY_get_ec_point_conv_form, lane->key);
    CALL(lane, EVP_PKEY_get_field_type, lane->key);
    CALL(lane, EVP_PKEY_is_a, lane->key, DRAW_OF(lane, types));
    if (CALL(lane, EVP_PKEY_get_default_digest_name, lane->key, text, sizeof(text)) > 0)
        note_text(lane, "default digest", text);
    if (CALL(lane, EVP_PKEY_get_default_digest_nid, lane->key, &nid) > 0)
        note(lane, "default digest", nid);
    if (CALL(lane, EVP_PKEY_get_group_name, lane->key, text, draw(lane, sizeof(text)), &len) == 1)
        note(lane, "group name", (long)len);
    note(lane, "type name", EVP_PKEY_get0_type_name(lane->key) != NULL);
    CALL(lane, EVP_PKEY_digestsign_supports_digest, lane->key, lane->libctx, DRAW_OF(lane, digests),
         NULL);
}

static void note_public(struct lane *lane, const char *what, EVP_PKEY *key)
{
    unsigned char *der = NULL;
    int len = note_call(lane, what, i2d_PUBKEY(key, &der));

    if (len > 0)
        note_bytes(lane, "public key", der, (size_t)len);
    OPENSSL_free(der);
}

static void key_encodings(struct lane *lane)
{
    unsigned char *der = NULL, raw[3000];
    size_t len = draw(lane, 3) == 0 ? 3 : sizeof(raw), encoded;
    int der_len;
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    long text_len;

    note_public(lane, "i2d_PUBKEY", lane->key);
    der_len = CALL(lane, i2d_PublicKey, lane->key, &der);
    if (der_len > 0)
        note_bytes(lane, "i2d_PublicKey", der, (size_t)der_len);
    OPENSSL_free(der);
    der = NULL;
    if (CALL(lane, EVP_PKEY_get_raw_public_key, lane->key, raw, &len) == 1)
        note_bytes(lane, "raw", raw, len);
    encoded = EVP_PKEY_get1_encoded_public_key(lane->key, &der);
    note_bytes(lane, "EVP_PKEY_get1_encoded_public_key", der, encoded);
    OPENSSL_free(der);
    ERR_clear_error();
    CALL(lane, EVP_PKEY_print_public, bio, lane->key, (int)draw(lane, 3), NULL);
    text_len = BIO_get_mem_data(bio, &text);
    note_bytes(lane, "printed", text, (size_t)text_len);
    CALL(lane, EVP_PKEY_print_params, bio, lane->key, 0, NULL);
    BIO_free(bio);
}

static void key_data(struct lane *lane)
{
    static const int selections[] = { EVP_PKEY_PUBLIC_KEY, EVP_PKEY_KEY_PARAMETERS };
    OSSL_PARAM *params = NULL;
    int selection = DRAW_OF(lane, selections);

    if (CALL(lane, EVP_PKEY_todata, lane->key, selection, &params) == 1)
        note_list(lane, "data", params, listed_of_key, COUNT_OF(listed_of_key));
    OSSL_PARAM_free(params);
}

/* With the same key elsewhere, which in both lanes is another provider's: keys that have no
 * parameters libcrypto then finds comparable, or not, by what was compared and set before. The copy
 * has no such past. */
static void key_elsewhere(struct lane *lane, EVP_PKEY *copy)
{
    EVP_PKEY *twin = key_public_copy(lane->twin->key[SOFTWARE], libctxs[TOKEN]);

    CALL(lane, EVP_PKEY_eq, lane->key, twin);
    CALL(lane, EVP_PKEY_eq, twin, lane->key);
    if (copy != NULL) {
        note_call(lane, "EVP_PKEY_parameters_eq anew", EVP_PKEY_parameters_eq(copy, twin));
        CALL(lane, EVP_PKEY_eq, copy, twin);
        CALL(lane, EVP_PKEY_parameters_eq, copy, twin);
        CALL(lane, EVP_PKEY_set_int_param, draw(lane, 2) == 0 ? twin : copy, "unheard-of", 1);
        note_call(lane, "EVP_PKEY_parameters_eq anew", EVP_PKEY_parameters_eq(copy, twin));
        CALL(lane, EVP_PKEY_eq, twin, copy);
    }
    EVP_PKEY_free(twin);
}

/* Comparison with others, and a copy in the place of the original. */
static void key_others(struct lane *lane)
{
    EVP_PKEY *other = peers[lane->side][draw(lane, PEERS)];
    EVP_PKEY *copy = EVP_PKEY_dup(lane->key);

    ERR_clear_error();
    note(lane, "EVP_PKEY_dup", copy != NULL);
    if (copy != NULL) {
        CALL(lane, EVP_PKEY_eq, lane->key, copy);
        note_public(lane, "i2d_PUBKEY of a copy", copy);
        CALL(lane, EVP_PKEY_copy_parameters, copy, lane->key);
    }
    if (other != NULL) {
        CALL(lane, EVP_PKEY_eq, lane->key, other);
        CALL(lane, EVP_PKEY_eq, other, lane->key);
        CALL(lane, EVP_PKEY_parameters_eq, lane->key, other);
    }
    key_elsewhere(lane, copy);
    EVP_PKEY_free(copy);
}

/* Notes what a request was signed with, and whether it is verified in software. */
static void note_request(struct lane *lane, X509_REQ *request, bool is_signed)
{
    const X509_ALGOR *algorithm = NULL;
    const ASN1_BIT_STRING *signature = NULL;
    unsigned char *der = NULL;
    int len;

    X509_REQ_get0_signature(request, &signature, &algorithm);
    len = i2d_X509_ALGOR(algorithm, &der);
    ERR_clear_error();
    note_bytes(lane, "algorithm", der, len > 0 ? (size_t)len : 0);
    OPENSSL_free(der);
    if (is_signed)
        CALL(lane, X509_REQ_verify, request, lane->twin->key[SOFTWARE]);
}

static void request_sign(struct lane *lane)
{
    X509_REQ *request = X509_REQ_new_ex(lane->libctx, NULL);
    const char *digest = !takes_digest(lane) ? NULL : DRAW_OF(lane, digests);
    int ret;

    note_text(lane, "with", digest != NULL ? digest : "NULL");
    X509_REQ_set_version(request, 0);
    (void)CALL(lane, X509_REQ_set_pubkey, request, lane->key);
    ret = X509_REQ_sign(request, lane->key, digest != NULL ? EVP_get_digestbyname(digest) : NULL);
    note_call(lane, "X509_REQ_sign", ret > 0);
    note_request(lane, request, ret > 0);
    X509_REQ_free(request);
}

/* As in PSS certificates */
static void request_sign_ctx(struct lane *lane)
{
    X509_REQ *request;
    int ret;

    if (!lane->md_begun || !lane->md_signs || lane->message_len != 0)
        return;
    request = X509_REQ_new_ex(lane->libctx, NULL);
    X509_REQ_set_version(request, 0);
    (void)X509_REQ_set_pubkey(request, lane->key);
    ret = X509_REQ_sign_ctx(request, lane->md);
    note_call(lane, "X509_REQ_sign_ctx", ret > 0);
    note_request(lane, request, ret > 0);
    md_reset(lane);
    X509_REQ_free(request);
}

static const struct step message_steps[] = {
    STEP(md_init, 5), STEP(md_update, 5), STEP(md_final, 5), STEP(md_whole, 2), STEP(md_copy, 2),
    STEP(md_set, 6),  STEP(md_get, 3),    STEP(md_reset, 1), STEP(request_sign_ctx, 1),
}, pkey_steps[] = {
    STEP(pkey_init, 3), STEP(pkey_set, 7), STEP(pkey_do, 8), STEP(pkey_set_peer, 3),
    STEP(pkey_dup, 2),  STEP(pkey_get, 2), STEP(pkey_new, 1), STEP(pkey_check, 1),
}, key_steps[] = {
    STEP(key_get, 4),       STEP(key_bn, 2), STEP(key_typed, 4), STEP(key_set, 1),   STEP(key_facts, 1),    STEP(key_encodings, 1),
    STEP(key_data, 1),      STEP(key_others, 1), STEP(request_sign, 1), STEP(cms_sign, 1), STEP(cms_decrypt, 1),
};

static const struct walk walks[] = {
    { message_steps, COUNT_OF(message_steps), STEPS },
    { message_steps, COUNT_OF(message_steps), STEPS },
    { pkey_steps, COUNT_OF(pkey_steps), STEPS },
    { pkey_steps, COUNT_OF(pkey_steps), STEPS },
    { key_steps, COUNT_OF(key_steps), 4 },
};

static const struct step *step_draw(struct lane *lane, const struct walk *walk)
{
    unsigned total = 0, lot, i = 0;

    if (lane->path[0] == '\0')
        return walk->steps;
    for (size_t j = 0; j < walk->count; j++)
        total += walk->steps[j].weight;
    lot = draw(lane, total);
    while (lot >= walk->steps[i].weight)
        lot -= walk->steps[i++].weight;
    return &walk->steps[i];
}

static void path_add(struct lane *lane, const char *name)
{
    size_t at = strlen(lane->path);

    at += (size_t)snprintf(lane->path + at, sizeof(lane->path) - at, "\n    %s:", name);
    for (size_t i = 0; i < lane->noted && at < sizeof(lane->path); i++)
        at += (size_t)snprintf(lane->path + at, sizeof(lane->path) - at, " [%s: %s]",
                               lane->notes[i].what, lane->notes[i].value);
}

/* One step on both; whether they may go on. */
static bool step_both(struct lane lanes[SIDES], const struct walk *walk, uint64_t seed)
{
    for (int side = 0; side < SIDES; side++) {
        struct lane *lane = &lanes[side];
        const struct step *step = step_draw(lane, walk);

        lane->noted = 0;
        memset(lane->notes, 0, sizeof(lane->notes));
        step->function(lane);
        path_add(lane, step->name);
    }
    return likeness_compare(lanes, likeness_differences, seed);
}

static void lane_begin(struct lane *lane, enum side side, const struct twin *twin, uint64_t seed)
{
    memset(lane, 0, sizeof(*lane));
    lane->side = side;
    lane->libctx = libctxs[side];
    lane->twin = twin;
    lane->key = twin->key[side];
    lane->lots = seed;
    if (twin->secret[side] != NULL) {
        secret_begin(lane);
        return;
    }
    lane->md = EVP_MD_CTX_new();
    lane->pkey = EVP_PKEY_CTX_new_from_pkey(lane->libctx, lane->key, NULL);
}

static void lane_end(struct lane *lane)
{
    if (lane->secret != NULL)
        secret_end(lane);
    EVP_MD_CTX_free(lane->md);
    EVP_PKEY_CTX_free(lane->pkey);
    for (size_t i = 0; i < lane->copied; i++) {
        EVP_MD_CTX_free(lane->mds_copied[i]);
        EVP_PKEY_CTX_free(lane->pkeys_copied[i]);
    }
}

static struct twin twins[16 + SECRETS];
static size_t twin_count, secret_count; /* the last are secret keys */

static bool has_messages;

static const struct walk *walk_draw(struct lane *chooser, const struct twin *twin)
{
    if (twin->secret[SOFTWARE] != NULL)
        return secret_walk_draw(chooser, twin);
    return has_messages && draw(chooser, 4) == 0 ? &message_walk : &DRAW_OF(chooser, walks);
}

static void sequence(uint64_t seed)
{
    static struct lane lanes[SIDES];
    struct lane chooser = { .lots = seed };
    const struct twin *twin = &twins[draw(&chooser, (unsigned)twin_count)];
    const struct walk *walk = walk_draw(&chooser, twin);
    size_t i = 0;

    for (int side = 0; side < SIDES; side++)
        lane_begin(&lanes[side], (enum side)side, twin, chooser.lots);
    while (i < walk->most && step_both(lanes, walk, seed))
        i++;
    if (getenv("BRIDGE_LIKENESS_PATHS") != NULL)
        printf("%s%s\n", twin->name, lanes[TOKEN].path);
    for (int side = 0; side < SIDES; side++)
        lane_end(&lanes[side]);
}

/* The same key in the token, as a program brings it there; NULL where the token has no such keys.
 */
static EVP_PKEY *brought(EVP_PKEY *key, const char *label)
{
    char uri[96];
    OSSL_PARAM *values = NULL, *params;
    OSSL_PARAM place[] = { OSSL_PARAM_construct_utf8_string(PKCS11_BRIDGE_KEYGEN_URI, uri,
                                                            sizeof(uri)),
                           OSSL_PARAM_construct_end() };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctxs[TOKEN], EVP_PKEY_get0_type_name(key),
                                                   PKCS11_BRIDGE_PROPERTY);
    EVP_PKEY *made = NULL;

    snprintf(uri, sizeof(uri), "%s;object=%s", token_uri(), label);
    assert_int_equal(EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &values), 1);
    params = OSSL_PARAM_merge(values, place);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    (void)EVP_PKEY_fromdata(ctx, &made, EVP_PKEY_KEYPAIR, params);
    OSSL_PARAM_free(params);
    OSSL_PARAM_free(values);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return made;
}

static EVP_PKEY *issuer;

static void twin_add(const char *name, EVP_PKEY *key)
{
    char label[64];
    EVP_PKEY *made;

    if (key == NULL) /* libcrypto knows none */
        return;
    snprintf(label, sizeof(label), "like-%s", name);
    made = brought(key, label);
    if (made == NULL) {
        printf("the token does not take %s\n", name);
        EVP_PKEY_free(key);
        return;
    }
    EVP_PKEY_free(made);
    twins[twin_count] = (struct twin){ .name = name,
                                       .key = { key, key_load(libctxs[TOKEN], label, "private") },
                                       .certificate = certificate_make(key, issuer) };
    assert_non_null(twins[twin_count].key[TOKEN]);
    twin_count++;
}

static void peers_make(void)
{
    static const unsigned char zero[32];
    EVP_PKEY *made[PEERS] = {
        [PEER_P256] = EVP_PKEY_Q_keygen(libctxs[SOFTWARE], NULL, "EC", "P-256"),
        [PEER_P384] = EVP_PKEY_Q_keygen(libctxs[SOFTWARE], NULL, "EC", "P-384"),
        [PEER_X25519] = EVP_PKEY_Q_keygen(libctxs[SOFTWARE], NULL, "X25519"),
        [PEER_X448] = EVP_PKEY_Q_keygen(libctxs[SOFTWARE], NULL, "X448"),
        [PEER_ED25519] = EVP_PKEY_Q_keygen(libctxs[SOFTWARE], NULL, "ED25519"),
        [PEER_RSA] = EVP_PKEY_Q_keygen(libctxs[SOFTWARE], NULL, "RSA", (size_t)2048),
        [PEER_ZERO] =
            EVP_PKEY_new_raw_public_key_ex(libctxs[SOFTWARE], "X25519", NULL, zero, sizeof(zero)),
    };

    for (int i = 0; i < PEERS; i++) {
        peers[SOFTWARE][i] = key_public_copy(made[i], libctxs[SOFTWARE]);
        peers[TOKEN][i] = key_public_copy(made[i], libctxs[TOKEN]);
        EVP_PKEY_free(made[i]);
    }
}

/* One that nothing restricts but its type. */
static EVP_PKEY *pss_make(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctxs[SOFTWARE], "RSA-PSS", NULL);
    EVP_PKEY *key = NULL;

    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 8 * MODULUS), 1);
    assert_int_equal(EVP_PKEY_generate(ctx, &key), 1);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static int setup(void **state)
{
    static const char *const sets[] = {
        "ML-DSA-44",  "ML-DSA-65",   "ML-DSA-87",         "ML-KEM-512",
        "ML-KEM-768", "ML-KEM-1024", "SLH-DSA-SHA2-128f", "SLH-DSA-SHAKE-128f",
    };
    OSSL_LIB_CTX *plain = libctxs[SOFTWARE] = libctx_new_plain();

    (void)state;
    libctxs[TOKEN] = libctx_new("pkcs11-gcm-caller-iv = yes\n");
    assert_non_null(libctxs[TOKEN]);
    issuer = EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-256");
    twin_add("RSA", EVP_PKEY_Q_keygen(plain, NULL, "RSA", (size_t)(8 * MODULUS)));
    if (!key_lacking("ecdh")) /* where curves are for signatures alone, that differs */
        twin_add("P-256", EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-256"));
    twin_add("P-384", EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-384"));
    twin_add("ED25519", EVP_PKEY_Q_keygen(plain, NULL, "ED25519"));
    twin_add("X25519", EVP_PKEY_Q_keygen(plain, NULL, "X25519"));
    twin_add("RSA-PSS", pss_make());
    twin_add("ED448", EVP_PKEY_Q_keygen(plain, NULL, "ED448"));
    twin_add("X448", EVP_PKEY_Q_keygen(plain, NULL, "X448"));
    for (size_t i = 0; i < COUNT_OF(sets); i++)
        twin_add(sets[i], EVP_PKEY_Q_keygen(plain, NULL, sets[i]));
    ERR_clear_error();
    has_messages = messages_found();
    peers_make();
    secret_count = secrets_make(twins + twin_count);
    twin_count += secret_count;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(issuer);
    secrets_free(twins + twin_count - secret_count, secret_count);
    for (int side = 0; side < SIDES; side++) {
        for (size_t i = 0; i < twin_count; i++) {
            EVP_PKEY_free(twins[i].key[side]);
            if (side == TOKEN)
                X509_free(twins[i].certificate);
        }
        for (int i = 0; i < PEERS; i++)
            EVP_PKEY_free(peers[side][i]);
        OSSL_LIB_CTX_free(libctxs[side]);
    }
    return 0;
}

static void test_likeness(void **state)
{
    const char *text = getenv("BRIDGE_LIKENESS");
    unsigned long long seed = SEED, count = SEQUENCES / at_leisure(1);

    (void)state;
    if (twin_count == 0) /* the token has what this libcrypto has not */
        skip();
    if (text != NULL)
        assert_int_equal(sscanf(text, "%llu %llu", &seed, &count), 2);
    if (seed == 0)
        assert_int_equal(getrandom(&seed, 6, 0), 6);
    printf("BRIDGE_LIKENESS=\"%llu %llu\"\n", seed, count);
    for (unsigned long long i = 0; i < count; i++)
        sequence(seed + i);
    assert_int_equal(findings(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_likeness),
    };

    setvbuf(stdout, NULL, _IOLBF, 0);
    return cmocka_run_group_tests(tests, setup, teardown);
}
