/* Ciphers with an EVP_SKEY of the token, and with one of software that has the same bytes. */
#include "likeness-secret.h"

#include <openssl/core_names.h>
#include <openssl/err.h>

#include "pkcs11_bridge.h"

static unsigned size_of(const struct lane *lane)
{
    return strcmp(lane->twin->name, "AES-256") == 0;
}

static unsigned char *iv_draw(struct lane *lane, unsigned char *iv)
{
    draw_bytes(lane, iv, 16);
    return iv;
}

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

/* What the rows of differences go by: the mode, the direction, and how far the message is. */
static void state_note(struct lane *lane)
{
    const struct secret *secret = lane->secret;

    snprintf(lane->state, sizeof(lane->state), " %s %s%s%s%s ", modes[secret->mode],
             EVP_CIPHER_CTX_is_encrypting(secret->cipher) ? "encrypt" : "decrypt",
             secret->has_iv ? "" : " no-iv", secret->tagged ? " tagged" : "",
             secret->through ? " through" : "");
}

/* What a careful caller may rely on after a refusal, where software goes on with what it had: that
 * nothing comes of the token's key. */
static void note_nothing_comes(struct lane *lane)
{
    unsigned char out[64], in[16] = { 0 };
    int len = 0;
    bool comes = false;

    if (lane->side == TOKEN)
        comes = EVP_CipherUpdate(lane->secret->cipher, out, &len, in, sizeof(in)) == 1 ||
                EVP_CipherFinal_ex(lane->secret->cipher, out, &len) == 1;
    ERR_clear_error();
    note(lane, "nothing comes after a refusal", !comes);
    lane->over = true;
}

/* Sometimes what was encrypted is decrypted, with its IV. */
static bool is_back(struct lane *lane, bool again)
{
    const struct secret *secret = lane->secret;

    return draw(lane, 3) == 0 && !again && secret->made.text_len != 0;
}

/* Whether it is begun with a cipher that wants a key of another length: what comes of that is the
 * end. */
static void begun_note(struct lane *lane, const struct beginning *how)
{
    struct secret *secret = lane->secret;
    struct sealed *made = &secret->made;

    secret->begun = begin(lane, how) == 1;
    secret->has_iv = how->iv != NULL || (secret->has_iv && how->cipher == NULL);
    secret->tagged = secret->tagged && !EVP_CIPHER_CTX_is_encrypting(secret->cipher);
    secret->through = false;
    made->taken = 0;
    if (secret->begun && EVP_CIPHER_CTX_is_encrypting(secret->cipher)) {
        made->text_len = made->aad_len = 0;
        made->is_whole = false;
        made->mode = secret->mode;
        if (how->iv != NULL)
            memcpy(made->iv, how->iv, sizeof(made->iv));
    }
    if (!secret->begun)
        note_nothing_comes(lane);
}

/* Again with less than at first, or anew. Where software has no key, key unwrapping calls a NULL: a
 * cipher that wants another comes with it. An encryption with GCM has its IV, or this provider
 * makes one. */
static void cipher_init(struct lane *lane)
{
    static const unsigned char zeros[16];
    struct secret *secret = lane->secret;
    bool again = secret->begun && draw(lane, 3) == 0, other_size = draw(lane, 20) == 0;
    bool back = is_back(lane, again);
    unsigned mode = again ? secret->mode : back ? secret->made.mode : mode_draw(lane);
    unsigned padding = draw(lane, 2);
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

    if (back) {
        how.iv = secret->made.iv;
        how.encrypt = 0;
    }
    if (how.key == NULL) { /* for the other direction, software needs it */
        how.encrypt = -1;
        how.cipher = NULL;
    }
    note_text(lane, again ? "again" : back ? "back" : "mode", modes[mode]);
    note(lane, "other size", other_size);
    note(lane, "key", how.key != NULL);
    note(lane, "encrypt", how.encrypt);
    note(lane, how.iv == NULL ? "no iv" : "iv", (long)how.iv_len);
    note(lane, "with padding", how.params != NULL ? (int)padding : -1);
    if (how.iv == iv && mode != GCM && draw(lane, 10) == 0)
        how.iv = zeros;
    EVP_CIPHER_CTX_set_flags(secret->cipher, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    secret->mode = mode;
    begun_note(lane, &how);
    state_note(lane);
}

/* What goes in: of what was made before, to decrypt, or anything. */
static void data_draw(struct lane *lane, unsigned char *in, size_t len)
{
    struct secret *secret = lane->secret;
    struct sealed *from = &secret->made;
    bool made = !EVP_CIPHER_CTX_is_encrypting(secret->cipher) && draw(lane, 8) != 0 &&
                from->text_len - from->taken >= len;

    draw_bytes(lane, in, len);
    if (made && len != 0) {
        memcpy(in, from->text + from->taken, len);
        from->taken += len;
    }
}

static void note_made(struct lane *lane, const unsigned char *out, int len)
{
    struct secret *secret = lane->secret;
    struct sealed *made = &secret->made;

    note_bytes(lane, "out", out, len > 0 ? (size_t)len : 0);
    if (len > 0 && EVP_CIPHER_CTX_is_encrypting(secret->cipher) &&
        made->text_len + (size_t)len <= DATA_MAX) {
        memcpy(made->text + made->text_len, out, (size_t)len);
        made->text_len += (size_t)len;
    }
}

static size_t len_draw(struct lane *lane)
{
    static const size_t lengths[] = { 0, 1, 7, 8, 15, 16, 16, 17, 24, 32, 32, 40, 48, 100, 600 };
    const struct secret *secret = lane->secret;
    size_t len = DRAW_OF(lane, lengths), left = secret->made.text_len - secret->made.taken;

    if (draw(lane, 2) == 0 && !EVP_CIPHER_CTX_is_encrypting(secret->cipher) && left != 0 &&
        left < ROOM_MAX - 32)
        len = left;
    note(lane, "of", (long)len);
    return len;
}

/* Of what is authenticated beside the message. */
static void cipher_beside(struct lane *lane)
{
    struct secret *secret = lane->secret;
    struct sealed *made = &secret->made;
    unsigned char in[ROOM_MAX];
    size_t len;
    int out_len = -7, ret;

    if (!secret->begun || secret->mode != GCM)
        return;
    state_note(lane);
    len = len_draw(lane);
    draw_bytes(lane, in, len);
    ret = CALL(lane, EVP_CipherUpdate, secret->cipher, NULL, &out_len, in, (int)len);
    lane->over = ret != 1;
    if (ret != 1)
        return;
    note(lane, "len", out_len);
    if (EVP_CIPHER_CTX_is_encrypting(secret->cipher) && made->aad_len + len <= DATA_MAX) {
        memcpy(made->aad + made->aad_len, in, len);
        made->aad_len += len;
    }
}

#define GUARD 16
#define EDGE  0xa5

/* Where a piece goes: to a place of its own or its own place, with bytes behind that nothing is to
 * be written to; libcrypto promises room for a block more than the piece has. */
struct place {
    unsigned char *all, *in, *out;
    size_t len, size;
};

static struct place place_draw(struct lane *lane, size_t len)
{
    static const int shifts[] = { 1, -1, 8, 16, -16, 5 };
    struct secret *secret = lane->secret;
    size_t block = (size_t)EVP_CIPHER_CTX_get_block_size(secret->cipher);
    struct place place = { .len = len, .size = len + (block == 1 ? 0 : block) };
    unsigned how = draw(lane, 12);

    place.all = malloc(2 * place.size + 4 * GUARD);
    memset(place.all, EDGE, 2 * place.size + 4 * GUARD);
    place.out = place.all + GUARD;
    place.in = how < 3 ? place.out : place.out + place.size + GUARD;
    if (how == 3)
        place.in = place.out + DRAW_OF(lane, shifts);
    /* what comes of overlapping is anything, as it is where a block that is held comes first */
    lane->over = how == 3 || (how < 3 && block == 16 && secret->through);
    note(lane, how < 3 ? "in place" : how == 3 ? "overlapping" : "to another place", 1);
    return place;
}

/* That nothing was written beside it, but where its bytes were. */
static void note_edges(struct lane *lane, const struct place *place)
{
    const unsigned char *after = place->out + place->size;
    bool ok = true;

    for (int i = 0; i < GUARD; i++) {
        const unsigned char *before = &place->all[i], *behind = &after[i];

        ok = ok && (*before == EDGE || (before >= place->in && before < place->in + place->len));
        ok = ok && (*behind == EDGE || (behind >= place->in && behind < place->in + place->len));
    }
    note(lane, "edges", ok);
}

/* Whether software, at the end, would say that this was the message with this tag. */
static bool would_open;

static void would_open_ask(const struct lane *lane)
{
    EVP_CIPHER_CTX *copy = EVP_CIPHER_CTX_new();
    unsigned char out[32];
    int len;

    if (lane->side != SOFTWARE)
        return;
    would_open = EVP_CIPHER_CTX_copy(copy, lane->secret->cipher) == 1 &&
                 EVP_CipherFinal_ex(copy, out, &len) == 1;
    EVP_CIPHER_CTX_free(copy);
    ERR_clear_error();
}

static void cipher_update(struct lane *lane)
{
    struct secret *secret = lane->secret;
    struct place place;
    bool over, opens;
    int out_len = -7, ret;
    const unsigned char *in;

    if (!secret->begun)
        return;
    state_note(lane);
    place = place_draw(lane, len_draw(lane));
    over = lane->over;
    data_draw(lane, place.in, place.len);
    in = place.len == 0 && draw(lane, 2) == 0 ? NULL : place.in;
    ret = EVP_CipherUpdate(secret->cipher, place.out, &out_len, in, (int)place.len);
    opens = secret->mode == GCM && !EVP_CIPHER_CTX_is_encrypting(secret->cipher);
    if (opens)
        would_open_ask(lane);
    note_call(lane,
              place.len == 0         ? "EVP_CipherUpdate of nothing"
              : !opens || would_open ? "EVP_CipherUpdate"
                                     : "EVP_CipherUpdate of no message",
              over && ret == 1 ? 1 : ret);
    note_edges(lane, &place);
    if (ret == 1 && !over)
        note_made(lane, place.out, out_len);
    if (ret != 1)
        note_nothing_comes(lane);
    free(place.all);
    secret->through = secret->through || place.len != 0;
}

/* The tag that was made. */
static void tag_keep(struct lane *lane)
{
    struct secret *secret = lane->secret;
    struct sealed *made = &secret->made;

    if (secret->mode != GCM || !EVP_CIPHER_CTX_is_encrypting(secret->cipher))
        return;
    made->is_whole =
        note_call(lane, "EVP_CIPHER_CTX_ctrl",
                  EVP_CIPHER_CTX_ctrl(secret->cipher, EVP_CTRL_AEAD_GET_TAG, 16, made->tag)) == 1;
    note_bytes(lane, "tag", made->tag, sizeof(made->tag));
}

static void cipher_final(struct lane *lane)
{
    struct secret *secret = lane->secret;
    unsigned char *out;
    int len = -7;

    if (!secret->begun)
        return;
    state_note(lane);
    out = malloc(32);
    if (CALL(lane, EVP_CipherFinal_ex, secret->cipher, out, &len) == 1) {
        note_made(lane, out, len);
        secret->through = true;
        tag_keep(lane);
    } else {
        note_nothing_comes(lane);
    }
    free(out);
}

/* What was encrypted with GCM, with its tag, or with a fault somewhere: whether it is opened, and
 * that else nothing is given out. The token gets it whole; software does not look at the tag before
 * the end. */
static void cipher_open(struct lane *lane)
{
    static const size_t tags[] = { 16, 16, 16, 12, 13, 4, 1 };
    struct secret *secret = lane->secret;
    struct sealed *made = &secret->made;
    size_t len = made->text_len, half = draw(lane, (unsigned)made->aad_len + 1);
    unsigned char in[DATA_MAX], out[DATA_MAX], tag[16];
    struct beginning how = { .cipher = ciphers[lane->side][size_of(lane)][GCM],
                             .key = lane->twin->secret[lane->side],
                             .iv = made->iv,
                             .iv_len = 12 };
    int n = 0, tag_len = (int)DRAW_OF(lane, tags);
    bool opens;

    if (!made->is_whole || made->mode != GCM || len == 0)
        return;
    memcpy(in, made->text, len);
    memcpy(tag, made->tag, sizeof(tag));
    memset(out, EDGE, sizeof(out));
    switch (draw(lane, 6)) {
    case 0:
        in[draw(lane, (unsigned)len)] ^= 1;
        break;
    case 1:
        tag[draw(lane, (unsigned)tag_len)] ^= 0x80;
        break;
    case 2:
        half += half != made->aad_len;
        len -= len > 1;
        break;
    default:
        break;
    }
    note(lane, "tag of", tag_len);
    secret->mode = GCM;
    begun_note(lane, &how);
    state_note(lane);
    opens = EVP_CIPHER_CTX_ctrl(secret->cipher, EVP_CTRL_AEAD_SET_TAG, tag_len, tag) == 1 &&
            EVP_CipherUpdate(secret->cipher, NULL, &n, made->aad, (int)half) == 1 &&
            EVP_CipherUpdate(secret->cipher, NULL, &n, made->aad + half,
                             (int)(made->aad_len - half)) == 1 &&
            EVP_CipherUpdate(secret->cipher, out, &n, in, (int)len) == 1 &&
            EVP_CipherFinal_ex(secret->cipher, out + n, &n) == 1;
    ERR_clear_error();
    note(lane, "opens", opens);
    if (opens)
        note_bytes(lane, "out", out, len);
    else
        note(lane, "gives nothing",
             lane->side == SOFTWARE || (out[0] == EDGE && out[len - 1] == EDGE));
    secret->begun = false;
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

    secret->begun = secret->has_iv = false;
    CALL(lane, EVP_CIPHER_CTX_reset, secret->cipher);
}

static int set_of_cipher(struct lane *lane, const OSSL_PARAM *one)
{
    const OSSL_PARAM params[] = { *one, OSSL_PARAM_construct_end() };
    struct secret *secret = lane->secret;
    char what[64];

    int before = EVP_CIPHER_CTX_get_iv_length(secret->cipher), ret;

    snprintf(what, sizeof(what), "set %s%s%s", one->key,
             strcmp(one->key, "cts_mode") == 0 ? " " : "",
             strcmp(one->key, "cts_mode") == 0 ? (const char *)one->data : "");
    ret = note_call(lane, what, EVP_CIPHER_CTX_set_params(secret->cipher, params));
    secret->has_iv = secret->has_iv && EVP_CIPHER_CTX_get_iv_length(secret->cipher) == before;
    return ret;
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
    if (set_of_cipher(lane, &one) == 1 && !none)
        lane->secret->tagged = true;
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

    int before = EVP_CIPHER_CTX_get_iv_length(secret->cipher);

    snprintf(what, sizeof(what), "ctrl %d %d", controls[which].type, controls[which].arg);
    if (note_call(lane, what,
                  EVP_CIPHER_CTX_ctrl(secret->cipher, controls[which].type, controls[which].arg,
                                      data)) == 1) {
        note_bytes(lane, "data", data, 17);
        secret->tagged = secret->tagged || controls[which].type == EVP_CTRL_AEAD_SET_TAG;
        secret->has_iv = secret->has_iv && EVP_CIPHER_CTX_get_iv_length(secret->cipher) == before;
    }
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

    if (!secret->begun)
        return;
    state_note(lane);
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
    state_note(lane);
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

static const struct step cipher_steps[] = {
    STEP(cipher_init, 3),  STEP(cipher_update, 8), STEP(cipher_final, 5),
    STEP(cipher_set, 3),   STEP(cipher_get, 4),    STEP(cipher_copy, 2),
    STEP(cipher_reset, 1), STEP(cipher_beside, 2), STEP(cipher_open, 3),
};

bool ciphers_found(void)
{
    return skey_functions();
}

const struct walk cipher_walk = { cipher_steps, COUNT_OF(cipher_steps), STEPS };
