#include "likeness.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#define DIGEST_NAME 64

OSSL_LIB_CTX *libctxs[SIDES];

static unsigned char shared[SHARED_MAX];
static size_t shared_len;
static bool shared_whole;

bool is_a(const struct lane *lane, const char *type)
{
    return EVP_PKEY_is_a(lane->key, type) == 1;
}

bool is_rsa(const struct lane *lane)
{
    return is_a(lane, "RSA") || is_a(lane, "RSA-PSS");
}

bool is_edwards(const struct lane *lane)
{
    return is_a(lane, "ED25519") || is_a(lane, "ED448");
}

bool is_pq_dsa(const struct lane *lane)
{
    return strstr(lane->twin->name, "-DSA-") != NULL; /* ML-DSA, SLH-DSA */
}

bool is_ml_kem(const struct lane *lane)
{
    return strncmp(lane->twin->name, "ML-KEM", 6) == 0;
}

bool takes_digest(const struct lane *lane)
{
    return !is_edwards(lane) && !is_pq_dsa(lane);
}

/* The parameters of a context, as the lane's own provider tells them. */
struct told {
    char digest[DIGEST_NAME], mgf1[DIGEST_NAME], oaep[DIGEST_NAME];
    int padding, salt;
    unsigned char label[64];
    size_t label_len;
};

static void ask_text(EVP_PKEY_CTX *ctx, const char *name, char *text, size_t size)
{
    OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(name, text, size),
                            OSSL_PARAM_construct_end() };

    text[0] = '\0';
    (void)EVP_PKEY_CTX_get_params(ctx, params);
}

static int ask_number(EVP_PKEY_CTX *ctx, const char *name)
{
    int number = 0;
    OSSL_PARAM params[] = { OSSL_PARAM_construct_int(name, &number), OSSL_PARAM_construct_end() };

    return EVP_PKEY_CTX_get_params(ctx, params) == 1 ? number : 0;
}

static struct told ask(const struct lane *lane, EVP_PKEY_CTX *ctx)
{
    struct told told = { .padding = 0 };
    void *label = NULL;
    OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_ptr(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL,
                                                           &label, 0),
                            OSSL_PARAM_construct_end() };

    ask_text(ctx, OSSL_SIGNATURE_PARAM_DIGEST, told.digest, sizeof(told.digest));
    if (is_rsa(lane)) {
        told.padding = ask_number(ctx, OSSL_SIGNATURE_PARAM_PAD_MODE);
        told.salt = ask_number(ctx, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
        ask_text(ctx, OSSL_SIGNATURE_PARAM_MGF1_DIGEST, told.mgf1, sizeof(told.mgf1));
        ask_text(ctx, OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, told.oaep, sizeof(told.oaep));
        if (EVP_PKEY_CTX_get_params(ctx, params) == 1 && label != NULL)
            memcpy(told.label, label, told.label_len = params[0].return_size);
    }
    ERR_clear_error();
    return told;
}

/* A context of software for one operation with the same key; NULL where it has no such. */
static EVP_PKEY_CTX *software(const struct lane *lane, int (*init)(EVP_PKEY_CTX *ctx))
{
    EVP_PKEY_CTX *ctx =
        EVP_PKEY_CTX_new_from_pkey(libctxs[SOFTWARE], lane->twin->key[SOFTWARE], NULL);

    if (init(ctx) != 1) {
        EVP_PKEY_CTX_free(ctx);
        ctx = NULL;
    }
    return ctx;
}

static int decapsulate_init(EVP_PKEY_CTX *ctx)
{
    return EVP_PKEY_decapsulate_init(ctx, NULL);
}

static void tell_signature(EVP_PKEY_CTX *ctx, const struct told *told, int salt)
{
    if (told->digest[0] != '\0')
        (void)EVP_PKEY_CTX_set_signature_md(ctx, EVP_get_digestbyname(told->digest));
    if (told->padding != 0)
        (void)EVP_PKEY_CTX_set_rsa_padding(ctx, told->padding);
    if (told->padding != RSA_PKCS1_PSS_PADDING)
        return;
    (void)EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, salt);
    if (told->mgf1[0] != '\0')
        (void)EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, told->mgf1, NULL);
}

static bool software_verifies(const struct lane *lane, const struct told *told, int salt,
                              const unsigned char *hash, size_t hash_len, const unsigned char *sig,
                              size_t len)
{
    EVP_PKEY_CTX *ctx = software(lane, EVP_PKEY_verify_init);
    bool ok;

    tell_signature(ctx, told, salt);
    ok = EVP_PKEY_verify(ctx, sig, len, hash, hash_len) == 1;
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

/* The length of the salt in a PSS signature of hash, of those that steps come to; -1 for another.
 */
static int salt_in(const struct lane *lane, const struct told *told, const unsigned char *hash,
                   size_t hash_len, const unsigned char *sig, size_t len)
{
    const int lengths[] = { 32, (int)hash_len, MODULUS - (int)hash_len - 2, 0, 7, 20 };

    for (size_t i = 0; i < COUNT_OF(lengths); i++)
        if (software_verifies(lane, told, lengths[i], hash, hash_len, sig, len))
            return lengths[i];
    return -1;
}

/* A context of software for messages whole, with the lane's context string. */
static EVP_MD_CTX *whole_begin(const struct lane *lane,
                               int (*init)(EVP_MD_CTX *ctx, EVP_PKEY_CTX **pkey, const char *digest,
                                           OSSL_LIB_CTX *libctx, const char *properties,
                                           EVP_PKEY *key, const OSSL_PARAM params[]))
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string("context-string", octets,
                                                                    lane->context_len),
                                  OSSL_PARAM_construct_end() };

    assert_int_equal(init(ctx, NULL, NULL, libctxs[SOFTWARE], NULL, lane->twin->key[SOFTWARE],
                          is_pq_dsa(lane) ? params : NULL),
                     1);
    return ctx;
}

/* Of ML-DSA: itself, where nothing in it is random, or whether software verifies it. */
static void note_pq_dsa(struct lane *lane, const unsigned char *sig, size_t len)
{
    EVP_MD_CTX *ctx;

    note(lane, "length", (long)len);
    if (lane->deterministic)
        note_bytes(lane, "signature", sig, len);
    if (lane->deterministic || lane->encoded)
        return;
    ctx = whole_begin(lane, EVP_DigestVerifyInit_ex);
    note(lane, "verified", EVP_DigestVerify(ctx, sig, len, lane->message, lane->message_len));
    ERR_clear_error();
    EVP_MD_CTX_free(ctx);
}

void note_signature(struct lane *lane, EVP_PKEY_CTX *ctx, const unsigned char *hash,
                    size_t hash_len, const unsigned char *sig, size_t len)
{
    struct told told = ask(lane, ctx);

    if (is_pq_dsa(lane))
        note_pq_dsa(lane, sig, len);
    else if (is_rsa(lane) && told.padding == RSA_PKCS1_PSS_PADDING)
        note(lane, "salt", salt_in(lane, &told, hash, hash_len, sig, len));
    else if (is_a(lane, "EC"))
        note(lane, "verified", software_verifies(lane, &told, 0, hash, hash_len, sig, len));
    else
        note_bytes(lane, "signature", sig, len);
}

size_t hash_message(const struct lane *lane, unsigned char *hash)
{
    char name[DIGEST_NAME];
    size_t len = 0;

    ask_text(lane->md_pkey, OSSL_SIGNATURE_PARAM_DIGEST, name, sizeof(name));
    if (name[0] != '\0')
        (void)EVP_Q_digest(libctxs[SOFTWARE], name, NULL, lane->message, lane->message_len, hash,
                           &len);
    ERR_clear_error();
    return len;
}

void signature_share(struct lane *lane, EVP_PKEY_CTX *ctx, const unsigned char *hash,
                     size_t hash_len)
{
    EVP_PKEY_CTX *signing;
    struct told told;
    bool ok;

    if (lane->side != SOFTWARE)
        return;
    told = ask(lane, ctx);
    signing = software(lane, EVP_PKEY_sign_init);
    if (signing != NULL)
        tell_signature(signing, &told, told.salt);
    shared_len = sizeof(shared);
    ok = signing != NULL && EVP_PKEY_sign(signing, shared, &shared_len, hash, hash_len) == 1;
    if (!ok) {
        shared_len = (size_t)EVP_PKEY_get_size(lane->key);
        memset(shared, 7, shared_len);
    }
    EVP_PKEY_CTX_free(signing);
    ERR_clear_error();
}

void whole_share(const struct lane *lane)
{
    EVP_MD_CTX *ctx;

    if (lane->side != SOFTWARE)
        return;
    ctx = whole_begin(lane, EVP_DigestSignInit_ex);
    shared_len = sizeof(shared);
    assert_int_equal(EVP_DigestSign(ctx, shared, &shared_len, lane->message, lane->message_len), 1);
    EVP_MD_CTX_free(ctx);
}

void encapsulation_share(const struct lane *lane)
{
    EVP_PKEY_CTX *ctx;
    unsigned char secret[64];
    size_t len = sizeof(secret);

    if (lane->side != SOFTWARE)
        return;
    ctx = EVP_PKEY_CTX_new_from_pkey(libctxs[SOFTWARE], lane->twin->key[SOFTWARE], NULL);
    shared_len = 256;
    if (is_ml_kem(lane)) {
        shared_len = sizeof(shared);
        assert_int_equal(EVP_PKEY_encapsulate_init(ctx, NULL), 1);
        assert_int_equal(EVP_PKEY_encapsulate(ctx, shared, &shared_len, secret, &len), 1);
    }
    EVP_PKEY_CTX_free(ctx);
}

void note_encapsulated(struct lane *lane, const unsigned char *wrapped, size_t len,
                       const unsigned char *secret, size_t secret_len)
{
    EVP_PKEY_CTX *ctx = software(lane, decapsulate_init);
    unsigned char found[64];
    size_t found_len = sizeof(found);

    note(lane, "ciphertext", (long)len);
    note(lane, "found",
         EVP_PKEY_decapsulate(ctx, found, &found_len, wrapped, len) == 1 &&
             found_len == secret_len && memcmp(found, secret, found_len) == 0);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
}

void shared_set(const unsigned char *bytes, size_t len)
{
    memcpy(shared, bytes, len);
    shared_len = len;
}

size_t shared_spoilt(struct lane *lane, unsigned char *out, bool *is_whole)
{
    size_t len = shared_len;
    unsigned at = draw(lane, 64), way = draw(lane, 10);

    memcpy(out, shared, len);
    memset(out + len, 0, 8);
    if (way == 0)
        out[at % (len + 1)] ^= 1;
    else if (way <= 3)
        len = way == 1 ? len - (len != 0) : way == 2 ? len + 1 : 0;
    if (is_whole != NULL)
        *is_whole = shared_whole && len == shared_len && memcmp(out, shared, len) == 0;
    return len;
}

static void tell_cipher(EVP_PKEY_CTX *ctx, const struct told *told)
{
    (void)EVP_PKEY_CTX_set_rsa_padding(ctx, told->padding);
    if (told->padding != RSA_PKCS1_OAEP_PADDING)
        return;
    if (told->digest[0] != '\0')
        (void)EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, told->digest, NULL);
    if (told->mgf1[0] != '\0')
        (void)EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, told->mgf1, NULL);
    if (told->label_len != 0)
        (void)EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, OPENSSL_memdup(told->label, told->label_len),
                                               (int)told->label_len);
}

void note_ciphertext(struct lane *lane, const unsigned char *in, size_t in_len)
{
    struct told told = ask(lane, lane->pkey);
    EVP_PKEY_CTX *ctx = software(lane, EVP_PKEY_decrypt_init);
    unsigned char out[MODULUS];
    size_t len = sizeof(out);

    tell_cipher(ctx, &told);
    note_bytes(lane, "decrypted", out, EVP_PKEY_decrypt(ctx, out, &len, in, in_len) == 1 ? len : 0);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
}

void ciphertext_share(struct lane *lane, const unsigned char *text, size_t len)
{
    EVP_PKEY_CTX *ctx;
    struct told told;

    if (lane->side != SOFTWARE)
        return;
    told = ask(lane, lane->pkey);
    shared_len = sizeof(shared);
    ctx = software(lane, EVP_PKEY_encrypt_init);
    if (ctx != NULL)
        tell_cipher(ctx, &told);
    shared_whole = ctx != NULL && EVP_PKEY_encrypt(ctx, shared, &shared_len, text, len) == 1;
    if (!shared_whole)
        memset(shared, 7, shared_len = MODULUS);
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
}
