/* Signatures by algorithms that are named (EVP_SIGNATURE), from OpenSSL 3.4 on: of messages whole
 * and in pieces, and of their digests. */
#include "likeness.h"

#include <openssl/err.h>

static int (*sign_message_init)(EVP_PKEY_CTX *ctx, EVP_SIGNATURE *algorithm,
                                const OSSL_PARAM params[]);
static int (*verify_message_init)(EVP_PKEY_CTX *ctx, EVP_SIGNATURE *algorithm,
                                  const OSSL_PARAM params[]);
static int (*sign_init_ex2)(EVP_PKEY_CTX *ctx, EVP_SIGNATURE *algorithm, const OSSL_PARAM params[]);
static int (*verify_init_ex2)(EVP_PKEY_CTX *ctx, EVP_SIGNATURE *algorithm,
                              const OSSL_PARAM params[]);
static int (*sign_message_update)(EVP_PKEY_CTX *ctx, const unsigned char *in, size_t len);
static int (*verify_message_update)(EVP_PKEY_CTX *ctx, const unsigned char *in, size_t len);
static int (*sign_message_final)(EVP_PKEY_CTX *ctx, unsigned char *sig, size_t *len);
static int (*verify_message_final)(EVP_PKEY_CTX *ctx);
static int (*ctx_set_signature)(EVP_PKEY_CTX *ctx, const unsigned char *sig, size_t len);

bool messages_found(void)
{
    const struct newer functions[] = {
        { "EVP_PKEY_sign_message_init", &sign_message_init },
        { "EVP_PKEY_verify_message_init", &verify_message_init },
        { "EVP_PKEY_sign_init_ex2", &sign_init_ex2 },
        { "EVP_PKEY_verify_init_ex2", &verify_init_ex2 },
        { "EVP_PKEY_sign_message_update", &sign_message_update },
        { "EVP_PKEY_verify_message_update", &verify_message_update },
        { "EVP_PKEY_sign_message_final", &sign_message_final },
        { "EVP_PKEY_verify_message_final", &verify_message_final },
        { "EVP_PKEY_CTX_set_signature", &ctx_set_signature },
    };

    return newer_found(functions, COUNT_OF(functions));
}

static const struct kind {
    const char *type;
    const char *names[7];
} kinds[] = {
    { "RSA",
      { "RSA-SHA256", "RSA-SHA2-256", "RSA-SHA384", "RSA-SHA1", "RSA-SHA512/256", "RSA-SHA3-256",
        "RSA-SHA224" } },
    { "RSA-PSS", { "RSA-SHA256", "RSA-SHA512" } },
    { "EC",
      { "ECDSA-SHA256", "ECDSA-SHA2-256", "ECDSA-SHA384", "ECDSA-SHA1", "ECDSA-SHA3-256",
        "ECDSA-SHA512", "RSA-SHA256" } },
    { "ED25519",
      { "ED25519", "ED25519", "ED25519", "ED25519ph", "ED25519ctx", "ED448", "ECDSA-SHA256" } },
    { "ED448", { "ED448", "ED448", "ED448", "ED448", "ED448ph", "ED25519", "ED25519ph" } },
    { "ML-DSA-44",
      { "ML-DSA-44", "ML-DSA-44", "ML-DSA-44", "ML-DSA-44", "ML-DSA-44", "ML-DSA-65",
        "ECDSA-SHA256" } },
    { "ML-DSA-65",
      { "ML-DSA-65", "ML-DSA-65", "ML-DSA-65", "ML-DSA-65", "ML-DSA-65", "ML-DSA-44", "ED25519" } },
};

static const char *name_draw(struct lane *lane)
{
    size_t i = 0;

    while (i < COUNT_OF(kinds) - 1 && !is_a(lane, kinds[i].type))
        i++;
    return DRAW_OF(lane, kinds[i].names);
}

/* The lane's algorithm, of the provider that has its key. */
static EVP_SIGNATURE *algorithm_fetch(const struct lane *lane, enum side side)
{
    return EVP_SIGNATURE_fetch(libctxs[side], lane->algorithm,
                               side == TOKEN ? "provider=pkcs11" : NULL);
}

static void message_init(struct lane *lane)
{
    EVP_SIGNATURE *algorithm;
    OSSL_PARAM buf[5];
    const OSSL_PARAM *params = draw(lane, 3) == 0 ? params_draw(lane, buf) : NULL;
    int ret;

    lane->algorithm = name_draw(lane);
    lane->md_signs = draw(lane, 2) == 0;
    lane->of_message = draw(lane, 4) != 0;
    lane->message_len = lane->context_len = 0;
    lane->fed = false;
    lane->deterministic = lane->encoded = false;
    algorithm = algorithm_fetch(lane, lane->side);
    note_text(lane, "algorithm", lane->algorithm);
    note(lane, "fetched", algorithm != NULL);
    ERR_clear_error();
    lane->md_begun = false;
    if (algorithm == NULL)
        return;
    if (lane->of_message)
        ret = lane->md_signs ? CALL(lane, sign_message_init, lane->pkey, algorithm, params)
                             : CALL(lane, verify_message_init, lane->pkey, algorithm, params);
    else
        ret = lane->md_signs ? CALL(lane, sign_init_ex2, lane->pkey, algorithm, params)
                             : CALL(lane, verify_init_ex2, lane->pkey, algorithm, params);
    lane->md_begun = ret == 1;
    EVP_SIGNATURE_free(algorithm);
}

static void message_update(struct lane *lane)
{
    static const size_t lengths[] = { 0, 1, 16, 55, 300, 600 };
    size_t len = DRAW_OF(lane, lengths);
    unsigned char *piece = lane->message + lane->message_len;
    int ret;

    if (!lane->md_begun || lane->message_len + len > MESSAGE_MAX)
        return;
    draw_bytes(lane, piece, len);
    note(lane, "of", (long)len);
    lane->fed = true;
    ret = lane->md_signs ? CALL(lane, sign_message_update, lane->pkey, piece, len)
                         : CALL(lane, verify_message_update, lane->pkey, piece, len);
    if (ret == 1)
        lane->message_len += len;
}

/* A context of software for the same algorithm, of messages or of their digests. */
static EVP_PKEY_CTX *software_begin(const struct lane *lane, bool signs)
{
    EVP_PKEY_CTX *ctx =
        EVP_PKEY_CTX_new_from_pkey(libctxs[SOFTWARE], lane->twin->key[SOFTWARE], NULL);
    EVP_SIGNATURE *algorithm = algorithm_fetch(lane, SOFTWARE);
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string("context-string", octets,
                                                                    lane->context_len),
                                  OSSL_PARAM_construct_end() };
    const OSSL_PARAM *with = lane->context_len != 0 ? params : NULL;
    int ret = 0;

    if (lane->of_message)
        ret = (signs ? sign_message_init : verify_message_init)(ctx, algorithm, with);
    else
        ret = (signs ? sign_init_ex2 : verify_init_ex2)(ctx, algorithm, with);
    EVP_SIGNATURE_free(algorithm);
    if (ret != 1) {
        EVP_PKEY_CTX_free(ctx);
        ctx = NULL;
    }
    return ctx;
}

/* Of what is the same each time, itself; else whether software verifies it. */
static void note_made(struct lane *lane, const unsigned char *sig, size_t len)
{
    EVP_PKEY_CTX *ctx;

    if ((lane->deterministic && is_pq_dsa(lane)) || is_edwards(lane) || is_a(lane, "RSA"))
        note_bytes(lane, "signature", sig, len);
    if (lane->encoded || is_rsa(lane))
        return;
    ctx = software_begin(lane, false);
    if (!is_a(lane, "EC"))
        note(lane, "length", (long)len);
    note(lane, "verified",
         ctx != NULL && EVP_PKEY_verify(ctx, sig, len, lane->message, lane->message_len) == 1);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
}

static void message_sign_final(struct lane *lane)
{
    struct room room = room_draw(lane, (size_t)EVP_PKEY_get_size(lane->key));
    size_t len = room.size;
    int ret = CALL(lane, sign_message_final, lane->pkey, room.out, &len);

    lane->md_begun = room.out == NULL;
    if (room_filled(lane, ret, &room, len))
        note_made(lane, room.out, len);
    free(room.out);
}

/* Here one message may come after the other, also after a buffer that was too small, and the rest
 * of one whole; software refuses that, with the one kind of keys this and with the other that. */
static void message_final(struct lane *lane)
{
    if (!lane->md_begun || (is_pq_dsa(lane) && !lane->fed)) /* software wants an empty piece */
        return;
    if (lane->md_signs) {
        message_sign_final(lane);
    } else {
        CALL(lane, verify_message_final, lane->pkey);
        lane->md_begun = false;
    }
}

/* In software, for both, of the message so far. */
static void share(struct lane *lane)
{
    static unsigned char sig[SHARED_MAX];
    size_t len = sizeof(sig);
    EVP_PKEY_CTX *ctx;

    if (lane->side != SOFTWARE)
        return;
    ctx = software_begin(lane, true);
    if (ctx == NULL || EVP_PKEY_sign(ctx, sig, &len, lane->message, lane->message_len) != 1) {
        len = (size_t)EVP_PKEY_get_size(lane->key);
        memset(sig, 7, len);
    }
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    shared_set(sig, len);
}

static void message_signature(struct lane *lane)
{
    unsigned char sig[SHARED_MAX + 8];
    size_t len;

    if (!lane->md_begun)
        return;
    share(lane);
    len = shared_spoilt(lane, sig, NULL);
    CALL(lane, ctx_set_signature, lane->pkey, sig, len);
}

/* All in one call: more of the message, or its digest. */
static void message_whole(struct lane *lane)
{
    static const size_t lengths[] = { 32, 32, 32, 48, 20, 64, 0, 1, 300 };
    size_t len = DRAW_OF(lane, lengths), before = lane->message_len;
    unsigned char *tail = lane->message + before, sig[SHARED_MAX + 8];
    struct room room;

    if (!lane->md_begun || lane->fed)
        return;
    draw_bytes(lane, tail, len);
    note(lane, "of", (long)len);
    lane->message_len += len;
    if (lane->md_signs) {
        int ret;

        room = room_draw(lane, (size_t)EVP_PKEY_get_size(lane->key));
        lane->md_begun = room.out == NULL;
        len = room.size;
        ret = EVP_PKEY_sign(lane->pkey, room.out, &len, tail, lane->message_len - before);
        note_call(lane, lane->message_len != before ? "EVP_PKEY_sign" : "EVP_PKEY_sign of nothing",
                  ret);
        if (room_filled(lane, ret, &room, len))
            note_made(lane, room.out, len);
        free(room.out);
    } else {
        size_t sig_len;

        share(lane);
        sig_len = shared_spoilt(lane, sig, NULL);
        lane->md_begun = false;
        CALL(lane, EVP_PKEY_verify, lane->pkey, sig, sig_len, tail, len);
    }
    lane->message_len = before;
}

/* Of ML-DSA it is settled by the first piece in software, by the end here. */
static void message_set(struct lane *lane)
{
    if (lane->md_begun && !(is_pq_dsa(lane) && lane->fed))
        set_something(lane, lane->pkey);
}

static void message_get(struct lane *lane)
{
    if (lane->md_begun)
        note_ctx(lane, lane->pkey);
}

static void message_dup(struct lane *lane)
{
    EVP_PKEY_CTX *copy = EVP_PKEY_CTX_dup(lane->pkey);

    note(lane, "EVP_PKEY_CTX_dup", copy != NULL);
    ERR_clear_error();
    if (copy == NULL)
        return;
    lane->pkeys_copied[lane->copied++] = lane->pkey;
    lane->pkey = copy;
}

static const struct step steps[] = {
    STEP(message_init, 3),      STEP(message_update, 6), STEP(message_final, 4),
    STEP(message_signature, 3), STEP(message_whole, 4),  STEP(message_set, 3),
    STEP(message_get, 2),       STEP(message_dup, 1),
};

const struct walk message_walk = { steps, COUNT_OF(steps), STEPS };
