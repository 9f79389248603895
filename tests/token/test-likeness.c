/* A program sees the same of a token's key as of the same key in software, whatever it calls in
 * whatever order: random sequences of calls, with both, in lock-step.
 *
 *     test-likeness                             a few seconds of sequences, by a seed that it tells
 *     BRIDGE_LIKENESS="SEED COUNT"              these
 *     BRIDGE_LIKENESS_ERRORS=1                  with what is on the error stack after each call
 */
#include "likeness.h"

#include <sys/random.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "pkcs11_bridge.h"

#define SEQUENCES 1500

#define MODULUS     256 /* bytes of the RSA key's */
#define OUTPUT_MAX  1024
#define DIGEST_NAME 64

#define REFUSES   "1", "0, errors"
#define WHY       "a refusal says why"
#define NOT_ASKED "software says why there is no answer; a row of a table does not"
#define CURVE     "the name of the curve stands for its numbers"
#define NO_SUCH   "PKCS#11 has no signatures and no OAEP with it"
#define STRICT    "what it does not know, software takes for a number or passes over"
#define NO_X931   "PKCS#11 has X9.31 with its own digests, and nobody asks for it"
#define REJECTION                                                                                  \
    "of a wrong padding comes what only this key's secret tells, here with any libcrypto"
#define SIZE_FREES "software's answer to a question for the size lets the digest be set again"
#define NO_PARAMS  "this libcrypto has no parameters of these keys, and so refuses all"

#define NO_IDENTIFIER "there is none, which software tells by no bytes"
#define NO_BYTES      "0 bytes cbf29ce484222325 "
#define OFFERED       "where a digest is settled, software offers to set the same"
#define PASSED_OVER   "where a digest is settled, software passes over another; here it is refused"
#define PLAIN_ONLY    "SoftHSM has the plain instance only"
#define NO_UKM        "none stands for none, which is what it is without"
#define NO_ROOM       "of a salt that has no room there is no identifier"
#define NO_SHA3       "software has no identifier of PSS with it"

#define V3_2 0x30200000UL
#define V3_4 0x30400000UL
#define V3_6 0x30600000UL

static const struct difference differences[] = {
    { NULL, NULL, "0", "0, errors", NULL, 0, false, WHY },
    { NULL, NULL, "-1", "-1, errors", NULL, 0, false, WHY },
    { NULL, NULL, "-2", "-2, errors", NULL, 0, false, WHY },
    { NULL, NULL, "1, errors", "1", NULL, 0, false, "software leaves entries of what it tried" },
    { NULL, "get *", "0, errors", "0", NULL, 0, false, NOT_ASKED },
    { NULL, "EVP_PKEY_get_*", "0, errors", "0", NULL, 0, false, NOT_ASKED },
    { "P-*", "data *", "yes", "no", NULL, 0, false, CURVE },
    { "P-*", "key has include-public", "yes", "no", NULL, 0, false, "it has no private bytes" },
    { "P-*", "key takes *", "yes", "no", NULL, 0, false, "a key of a token does not change" },
    { "ED25519", "key takes encoded-pub-key", "no", "yes", NULL, 0, false,
      "one list for all keys that are a point" },
    { NULL, "EVP_Digest*Init_ex", REFUSES, "MD5]", 0, true, NO_SUCH },
    { NULL, "EVP_Digest*Init_ex", REFUSES, "SHAKE128]", 0, true, NO_SUCH },
    { NULL, "EVP_PKEY_CTX_set_*md*", REFUSES, "MD5]", 0, true, NO_SUCH },
    { NULL, "EVP_PKEY_CTX_set_*md*", REFUSES, "SHAKE128]", 0, true, NO_SUCH },
    { NULL, "EVP_PKEY_CTX_set_*md*", REFUSES, "MD5-SHA1]", 0, true, NO_SUCH },
    { NULL, "X509_REQ_sign", REFUSES, "MD5]", 0, true, NO_SUCH },
    { NULL, "EVP_PKEY_digestsign_supports_digest", "1", "0", NULL, 0, false, NO_SUCH },
    { "RSA", "EVP_*", REFUSES, "MD5-SHA1]", 0, true, NO_SUCH },
    { "RSA", "EVP_*init_ex", REFUSES, "with: pad-mode", 0, true, STRICT },
    { "RSA", "EVP_*Init_ex", REFUSES, "with: pad-mode", 0, true, STRICT },
    { "RSA", "set pad-mode *", REFUSES, NULL, 0, true, STRICT },
    { "RSA", "ctrl_str rsa_padding_mode:*", REFUSES, NULL, 0, true, STRICT },
    { "RSA", "ctrl_str rsa_pss_saltlen:nothing", REFUSES, NULL, 0, true, STRICT },
    { "RSA", "set saltlen \"*", REFUSES, NULL, 0, true, STRICT },
    { "RSA", "EVP_PKEY_CTX_dup", "0", "1", NULL, 0, true,
      "software has no copy of an empty label" },
    { "RSA", "EVP_PKEY_CTX_set_rsa_padding", REFUSES, "padding: 5]", 0, true, NO_X931 },
    { "RSA", "EVP_PKEY_CTX_set_rsa_padding", REFUSES, "padding: 6]", 0, true, STRICT },
    { "RSA", "EVP_PKEY_CTX_set_rsa_padding", REFUSES, "padding: 0]", 0, true, STRICT },
    { "RSA", "EVP_PKEY_CTX_set_rsa_padding", REFUSES, "padding: -1]", 0, true, STRICT },
    { "RSA", "EVP_PKEY_CTX_set_rsa_padding", REFUSES, "padding: 99]", 0, true, STRICT },
    { "RSA", "EVP_PKEY_decrypt of what is spoilt", "0, errors", "1", NULL, V3_2, true, REJECTION },
    { "RSA", "out of what is spoilt", NULL, NULL, NULL, 0, true, REJECTION },
    { "P-*", "get algorithm-id", "0", "0, errors", NULL, 0, false, NO_IDENTIFIER },
    { "P-*", "get algorithm-id", NO_BYTES, "0, errors", NULL, 0, false, NO_IDENTIFIER },
    { "RSA", "X509_REQ_sign_ctx", "0, errors", "1", "SHA3-256]", 0, true, NO_SHA3 },
    { "RSA", "get algorithm-id", "0, errors", NULL, "SHA3-256]", 0, false, NO_SHA3 },
    { "RSA", "get saltlen", "0", "2", NULL, 0, false, "software does not know a number's length" },
    { "RSA", "get pad-mode", "no answer", NULL, NULL, 0, false, "software has no name of TLS'" },
    { "RSA", "get algorithm-id", NULL, "0, errors", "saltlen 500", 0, false, NO_ROOM },
    { "RSA", "get algorithm-id", NULL, "0, errors", "salt: 400", 0, false, NO_ROOM },
    { "RSA", "algorithm", NULL, NO_BYTES, "saltlen 500", 0, false, NO_ROOM },
    { "RSA", "algorithm", NULL, NO_BYTES, "salt: 400", 0, false, NO_ROOM },
    { "ED25519", "gettable *", "yes", "no", NULL, V3_6, false, "listed, and never answered" },
    { "P-*", "* nonce-type", "yes", "no", NULL, 0, false, "tokens choose their nonces" },
    { "P-*", "EVP_DigestVerify*", "0, errors", "-1, errors", NULL, 0, false,
      "no bytes are no signature, as for EVP_PKEY_verify" },
    { "P-*", "settable *", "yes", "no", "Init_ex", 0, false, OFFERED },
    { "P-*", "ctrl_str digest:*", "0, errors", "-2, errors", "Init_ex", 0, false, OFFERED },
    { "P-*", "ctrl_str digest:*", "1", "-2, errors", "Init_ex", 0, true, OFFERED },
    { "RSA", "set digest *", REFUSES, "Init_ex", 0, true, PASSED_OVER },
    { "RSA", "EVP_PKEY_CTX_set_signature_md", REFUSES, "Init_ex", 0, true, PASSED_OVER },
    { "RSA", "EVP_Digest*Init_ex", REFUSES, "again with", 0, true, PASSED_OVER },
    { "P-*", "get kdf-digest", "SHAKE-128", NULL, "SHAKE128]", 0, false,
      "software keeps what it has refused" },
    { NULL, "key has security-category", "no", "yes", NULL, V3_6, false, "libcrypto's is newer" },
    { NULL, "get security-category", "no answer", NULL, NULL, V3_6, false, "libcrypto's is newer" },
    { "ED25519", "EVP_PKEY_*_init_ex", "1", "-2, errors", NULL, 0, true,
      "software takes what Ed25519ph has hashed before; PKCS#11 hashes by itself" },
    { "RSA", "EVP_PKEY_decrypt of what is spoilt", REFUSES, NULL, 0, true,
      "a ciphertext is as long as the modulus" },
    { NULL, "ctrl_str digest:*", "1", "-2, errors", "[size: ", 0, true, SIZE_FREES },
    { NULL, "settable digest*", "yes", "no", "[size: ", 0, false, SIZE_FREES },
    { NULL, "settable properties", "yes", "no", "[size: ", 0, false, SIZE_FREES },
    { NULL, "EVP_PKEY_CTX_set_signature_md", REFUSES, "[size: ", 0, true, SIZE_FREES },
    { NULL, "EVP_Digest*Init_ex", REFUSES, "[size: ", 0, true, SIZE_FREES },
    { NULL, "set digest *", REFUSES, "[size: ", 0, true, SIZE_FREES },
    { NULL, "ctrl_str digest:*", REFUSES, "[size: ", 0, true, SIZE_FREES },
    { NULL, "settable digest-size", "yes", "no", NULL, 0, false,
      "a digest's size is known by its name" },
    { NULL, "EVP_PKEY_sign of nothing", REFUSES, NULL, 0, true, "tokens do not sign nothing" },
    { "P-*", "EVP_PKEY_CTX_set0_ecdh_kdf_ukm", "0", "1", NULL, 0, true, NO_UKM },
    { "P-*", "EVP_PKEY_CTX_set0_ecdh_kdf_ukm", "0, errors", "1", NULL, 0, true, NO_UKM },
    { "RSA", "* implicit-rejection", "no", "yes", NULL, V3_2, false, "here it is always" },
    { "RSA", "get implicit-rejection", "no answer", NULL, NULL, V3_2, false, "here it is always" },
    { "ED25519", "EVP_DigestSign", REFUSES, "[set instance", 0, true, PLAIN_ONLY },
    { "ED25519", "EVP_DigestSign", REFUSES, "[set context-string", 0, true, PLAIN_ONLY },
    { "ED25519", "X509_REQ_sign_ctx", REFUSES, "[set instance", 0, true, PLAIN_ONLY },
    { "ED25519", "X509_REQ_sign_ctx", REFUSES, "[set context-string", 0, true, PLAIN_ONLY },
    { "ED25519", "set instance \"Ed448\"", REFUSES, NULL, 0, true, STRICT },
    { "X25519", "get *", "0", "no answer", NULL, V3_4, false, NO_PARAMS },
    { NULL, NULL, NULL, NULL, NULL, 0, false, NULL },
};

static OSSL_LIB_CTX *libctxs[SIDES];

/* Keys that both lanes have in their library contexts, some with their halves missing. */
enum peer { PEER_P256, PEER_P384, PEER_X25519, PEER_ED25519, PEER_RSA, PEER_ZERO, PEERS };
static EVP_PKEY *peers[SIDES][PEERS];

/* What is made in software, once for both lanes: by the first, which is that of software. */
static unsigned char shared[OUTPUT_MAX];
static size_t shared_len;
static bool shared_whole; /* and not something in its place */

static bool is_a(const struct lane *lane, const char *type)
{
    return EVP_PKEY_is_a(lane->key, type) == 1;
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
    if (is_a(lane, "RSA")) {
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

/* Notes a signature of hash by a lane's context. */
static void note_signature(struct lane *lane, EVP_PKEY_CTX *ctx, const unsigned char *hash,
                           size_t hash_len, const unsigned char *sig, size_t len)
{
    struct told told = ask(lane, ctx);

    if (is_a(lane, "RSA") && told.padding == RSA_PKCS1_PSS_PADDING)
        note(lane, "salt", salt_in(lane, &told, hash, hash_len, sig, len));
    else if (is_a(lane, "EC"))
        note(lane, "verified", software_verifies(lane, &told, 0, hash, hash_len, sig, len));
    else
        note_bytes(lane, "signature", sig, len);
}

static size_t hash_message(const struct lane *lane, unsigned char *hash)
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

/* A signature of hash for a lane that verifies with ctx, and what may have become of it. */
static void signature_share(struct lane *lane, EVP_PKEY_CTX *ctx, const unsigned char *hash,
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

/* The same of a message for Ed25519, by its plain instance. */
static void whole_share(const struct lane *lane)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    if (lane->side == SOFTWARE) {
        shared_len = sizeof(shared);
        assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, NULL, libctxs[SOFTWARE], NULL,
                                               lane->twin->key[SOFTWARE], NULL),
                         1);
        assert_int_equal(EVP_DigestSign(ctx, shared, &shared_len, lane->message, lane->message_len),
                         1);
    }
    EVP_MD_CTX_free(ctx);
}

/* The length of the shared bytes as a lane is given them, in out. */
static size_t shared_spoilt(struct lane *lane, unsigned char *out)
{
    size_t len = shared_len;
    unsigned at = draw(lane, 64);

    memcpy(out, shared, len);
    memset(out + len, 0, 8);
    switch (draw(lane, 10)) {
    case 0:
        out[at % (len + 1)] ^= 1;
        return len;
    case 1:
        return len - (len != 0);
    case 2:
        return len + 1;
    case 3:
        return 0;
    default:
        return len;
    }
}

static const char *const digests[] = { "SHA256", "SHA256",   "SHA1",     "SHA384",    "SHA512",
                                       "SHA224", "SHA3-256", "SHA2-256", "MD5",       "MD5-SHA1",
                                       "",       "SHA9",     "SHAKE128", "SHA512-256" };

static void note_list(struct lane *lane, const char *what, const OSSL_PARAM *list,
                      const char *const *names, size_t count)
{
    char text[96];

    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "%s %s", what, names[i]);
        if (list == NULL || OSSL_PARAM_locate_const(list, names[i]) == NULL)
            note_text(lane, text, "no");
        else
            note_text(lane, text, "yes");
    }
}

/* What a context tells, in the types in which programs ask. */
static const struct asked {
    const char *name;
    unsigned type;
} asked[] = {
    { "digest", OSSL_PARAM_UTF8_STRING },
    { "digest-size", OSSL_PARAM_UNSIGNED_INTEGER },
    { "algorithm-id", OSSL_PARAM_OCTET_STRING },
    { "pad-mode", OSSL_PARAM_UTF8_STRING },
    { "pad-mode", OSSL_PARAM_INTEGER },
    { "saltlen", OSSL_PARAM_UTF8_STRING },
    { "saltlen", OSSL_PARAM_INTEGER },
    { "mgf1-digest", OSSL_PARAM_UTF8_STRING },
    { "oaep-digest", OSSL_PARAM_UTF8_STRING }, /* OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST is "digest" */
    { "oaep-label", OSSL_PARAM_OCTET_PTR },
    { "tls-client-version", OSSL_PARAM_UNSIGNED_INTEGER },
    { "tls-negotiated-version", OSSL_PARAM_UNSIGNED_INTEGER },
    { "implicit-rejection", OSSL_PARAM_UNSIGNED_INTEGER },
    { "ecdh-cofactor-mode", OSSL_PARAM_INTEGER },
    { "kdf-type", OSSL_PARAM_UTF8_STRING },
    { "kdf-digest", OSSL_PARAM_UTF8_STRING },
    { "kdf-outlen", OSSL_PARAM_UNSIGNED_INTEGER },
    { "kdf-ukm", OSSL_PARAM_OCTET_PTR },
    { "instance", OSSL_PARAM_UTF8_STRING },
    { "context-string", OSSL_PARAM_OCTET_STRING },
    { "unheard-of", OSSL_PARAM_INTEGER },
};

static const char *const listed[] = { "digest",
                                      "digest-size",
                                      "properties",
                                      "algorithm-id",
                                      "pad-mode",
                                      "saltlen",
                                      "mgf1-digest",
                                      "mgf1-properties",
                                      "oaep-label",
                                      "digest-props",
                                      "implicit-rejection",
                                      "tls-client-version",
                                      "tls-negotiated-version",
                                      "ecdh-cofactor-mode",
                                      "kdf-type",
                                      "kdf-digest",
                                      "kdf-digest-props",
                                      "kdf-outlen",
                                      "kdf-ukm",
                                      "instance",
                                      "context-string",
                                      "nonce-type" };

/* A digest by the first of its names: software answers with the one that it was told. */
static void note_digest(struct lane *lane, const char *what, const char *name)
{
    EVP_MD *md = EVP_MD_fetch(libctxs[SOFTWARE], name, NULL);

    note_text(lane, what, md != NULL ? EVP_MD_get0_name(md) : name);
    EVP_MD_free(md);
    ERR_clear_error();
}

/* Asks for one parameter; a buffer that is too small is one of those that are drawn. */
static void note_answer(struct lane *lane, const struct asked *one,
                        int (*get)(void *from, OSSL_PARAM *params), void *from)
{
    unsigned char buf[600] = { 0 };
    const size_t sizes[] = { sizeof(buf) - 1, sizeof(buf) - 1, sizeof(buf) - 1, 3, 0 };
    bool digest = one->type == OSSL_PARAM_UTF8_STRING && strstr(one->name, "digest") != NULL;
    size_t size = digest ? sizes[0] : DRAW_OF(lane, sizes);
    void *pointer = NULL;
    OSSL_PARAM params[] = { { one->name, one->type, buf, size, OSSL_PARAM_UNMODIFIED },
                            OSSL_PARAM_construct_end() };
    char what[64];
    int ret;

    if (one->type == OSSL_PARAM_OCTET_PTR)
        params[0].data = &pointer, params[0].data_size = 0;
    else if (one->type != OSSL_PARAM_UTF8_STRING && one->type != OSSL_PARAM_OCTET_STRING)
        params[0].data_size = size < 8 ? 4 : 8;
    else if (!digest && draw(lane, 6) == 0)
        params[0].data = NULL;
    snprintf(what, sizeof(what), "get %s", one->name);
    ret = get(from, params);
    if (ret != 1) {
        note_call(lane, what, ret);
        return;
    }
    ERR_clear_error();
    if (!OSSL_PARAM_modified(params)) {
        note_text(lane, what, "no answer");
        return;
    }
    if (one->type == OSSL_PARAM_OCTET_PTR)
        note_bytes(lane, what, pointer, pointer != NULL ? params[0].return_size : 0);
    else if (params[0].data == NULL)
        note(lane, what, (long)params[0].return_size);
    else if (digest)
        note_digest(lane, what, (const char *)buf);
    else if (one->type == OSSL_PARAM_UTF8_STRING)
        note_text(lane, what, (const char *)buf);
    else
        note_bytes(lane, what, buf, params[0].return_size);
}

static int get_of_ctx(void *ctx, OSSL_PARAM *params)
{
    return EVP_PKEY_CTX_get_params(ctx, params);
}

static int get_of_key(void *key, OSSL_PARAM *params)
{
    return EVP_PKEY_get_params(key, params);
}

static void note_ctx(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    if (draw(lane, 8) == 0)
        note_list(lane, "settable", EVP_PKEY_CTX_settable_params(ctx), listed, COUNT_OF(listed));
    else if (draw(lane, 8) == 0)
        note_list(lane, "gettable", EVP_PKEY_CTX_gettable_params(ctx), listed, COUNT_OF(listed));
    else
        for (int i = 0; i < 3; i++)
            note_answer(lane, &DRAW_OF(lane, asked), get_of_ctx, ctx);
}

/* What software has refused, it may have kept all the same: no padding beside a digest, X9.31,
 * another digest. And a digest that is set after a question for the size, the same or not, makes it
 * forget the message. */
static void note_refused(struct lane *lane, const char *name, int ret)
{
    static const char *const kept[] = { "digest", "pad-mode", "saltlen" };

    for (size_t i = 0; i < COUNT_OF(kept); i++)
        if (strcmp(name, kept[i]) == 0 && (ret <= 0 || (i == 0 && lane->size_asked)))
            lane->over = true;
}

/* Values as programs set them, and as they should not. */
static void set_text(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    static const char *const texts[][2] = {
        { "pad-mode", "pkcs1" },
        { "pad-mode", "pss" },
        { "pad-mode", "oaep" },
        { "pad-mode", "none" },
        { "pad-mode", "x931" },
        { "pad-mode", "pss" },
        { "pad-mode", "" },
        { "pad-mode", "nonsense" },
        { "saltlen", "digest" },
        { "saltlen", "max" },
        { "saltlen", "auto" },
        { "saltlen", "20" },
        { "saltlen", "-7" },
        { "saltlen", "x" },
        { "saltlen", "" },
        { "mgf1-digest", "SHA1" },
        { "mgf1-digest", "SHA9" },
        { "mgf1-properties", "" },
        { "digest", "SHA256" },
        { "digest", "SHA384" },
        { "digest", "SHA9" },
        { "digest", "" },
        { "properties", "" },
        { "digest-props", "" },
        { "kdf-type", "X963KDF" },
        { "kdf-type", "" },
        { "kdf-type", "HKDF" },
        { "kdf-digest", "SHA1" },
        { "kdf-digest", "SHA9" },
        { "unheard-of", "x" },
        { "instance", "Ed25519" },
        { "instance", "Ed25519ph" },
        { "instance", "Ed25519ctx" },
        { "instance", "Ed448" },
        { "saltlen", "auto-digestmax" },
    };
    const char *const *one = DRAW_OF(lane, texts);
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string((char *)(uintptr_t)one[0],
                                                                   (char *)(uintptr_t)one[1], 0),
                                  OSSL_PARAM_construct_end() };
    char what[64];

    snprintf(what, sizeof(what), "set %s \"%s\"", one[0], one[1]);
    note_refused(lane, one[0], note_call(lane, what, EVP_PKEY_CTX_set_params(ctx, params)));
}

static void set_number(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    static const struct {
        const char *name;
        int value;
    } numbers[] = {
        { "pad-mode", 1 },
        { "pad-mode", 3 },
        { "pad-mode", 4 },
        { "pad-mode", 6 },
        { "pad-mode", 7 },
        { "pad-mode", 99 },
        { "pad-mode", -1 },
        { "saltlen", 0 },
        { "saltlen", -1 },
        { "saltlen", -2 },
        { "saltlen", -3 },
        { "saltlen", -4 },
        { "saltlen", -5 },
        { "saltlen", 500 },
        { "digest", 3 },
        { "mgf1-digest", 3 },
        { "kdf-type", 1 },
        { "ecdh-cofactor-mode", 0 },
        { "oaep-label", 3 },
        { "ecdh-cofactor-mode", 1 },
        { "ecdh-cofactor-mode", -1 },
        { "ecdh-cofactor-mode", 2 },
        { "ecdh-cofactor-mode", -2 },
        { "unheard-of", 3 },
    };
    unsigned which = draw(lane, COUNT_OF(numbers));
    int value = numbers[which].value;
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_int(numbers[which].name, &value),
                                  OSSL_PARAM_construct_end() };
    char what[64];

    snprintf(what, sizeof(what), "set %s %d", numbers[which].name, value);
    note_refused(lane, numbers[which].name,
                 note_call(lane, what, EVP_PKEY_CTX_set_params(ctx, params)));
}

static void set_octets(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    static const char *const names[] = {
        "context-string", "oaep-label", "kdf-ukm",     "digest",
        "pad-mode",       "saltlen",    "mgf1-digest", "kdf-outlen"
    };
    unsigned char octets[] = "octets";
    const char *name = DRAW_OF(lane, names);
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(name, octets,
                                                                    draw(lane, sizeof(octets))),
                                  OSSL_PARAM_construct_end() };
    char what[64];

    snprintf(what, sizeof(what), "set %s by octets", name);
    note_refused(lane, name, note_call(lane, what, EVP_PKEY_CTX_set_params(ctx, params)));
}

/* By the functions of OpenSSL 1.1's macros. */
static void set_by_function(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    static const int paddings[] = { RSA_PKCS1_PADDING,
                                    RSA_PKCS1_PSS_PADDING,
                                    RSA_PKCS1_PSS_PADDING,
                                    RSA_PKCS1_PSS_PADDING,
                                    RSA_PKCS1_OAEP_PADDING,
                                    RSA_PKCS1_OAEP_PADDING,
                                    RSA_NO_PADDING,
                                    RSA_X931_PADDING,
                                    RSA_PKCS1_WITH_TLS_PADDING,
                                    0,
                                    -1,
                                    99 };
    static const int salts[] = { 0, 7, 20, 32, 32, 400, -1, -1, -2, -3, -4, -5 };
    static const int lengths[] = { 0, 1, 16, 32, 40, 100, -1 };
    const char *digest = DRAW_OF(lane, digests);
    const EVP_MD *md = EVP_get_digestbyname(digest);
    int value = 0;
    size_t len = draw(lane, 6);

    note_text(lane, "digest", digest);
    switch (draw(lane, 18)) {
    case 0:
    case 1:
        value = DRAW_OF(lane, paddings);
        note(lane, "padding", value);
        note_refused(lane, "pad-mode", CALL(lane, EVP_PKEY_CTX_set_rsa_padding, ctx, value));
        break;
    case 2:
        value = DRAW_OF(lane, salts);
        note(lane, "salt", value);
        note_refused(lane, "saltlen", CALL(lane, EVP_PKEY_CTX_set_rsa_pss_saltlen, ctx, value));
        break;
    case 3:
        CALL(lane, EVP_PKEY_CTX_set_rsa_mgf1_md_name, ctx, digest, NULL);
        break;
    case 4:
        CALL(lane, EVP_PKEY_CTX_set_rsa_mgf1_md, ctx, md);
        break;
    case 5:
        CALL(lane, EVP_PKEY_CTX_set_rsa_oaep_md_name, ctx, digest, NULL);
        break;
    case 6:
        CALL(lane, EVP_PKEY_CTX_set_rsa_oaep_md, ctx, md);
        break;
    case 7: {
        void *label = len != 0 ? OPENSSL_memdup("label", len) : NULL;

        if (CALL(lane, EVP_PKEY_CTX_set0_rsa_oaep_label, ctx, label, (int)len) <= 0)
            OPENSSL_free(label);
        break;
    }
    case 8:
        note_refused(lane, "digest", CALL(lane, EVP_PKEY_CTX_set_signature_md, ctx, md));
        break;
    case 9: /* of other keys, libcrypto 3.0 writes the answer to where nothing is */
        if (is_a(lane, "RSA") && CALL(lane, EVP_PKEY_CTX_get_rsa_padding, ctx, &value) > 0)
            note(lane, "padding", value);
        break;
    case 10:
        if (is_a(lane, "RSA") && CALL(lane, EVP_PKEY_CTX_get_rsa_pss_saltlen, ctx, &value) > 0)
            note(lane, "saltlen", value);
        break;
    case 11:
        CALL(lane, EVP_PKEY_CTX_set_ecdh_cofactor_mode, ctx, (int)draw(lane, 4) - 1);
        break;
    case 12:
        CALL(lane, EVP_PKEY_CTX_set_ecdh_kdf_type, ctx, (int)draw(lane, 4));
        break;
    case 13:
        CALL(lane, EVP_PKEY_CTX_set_ecdh_kdf_md, ctx, md);
        break;
    case 14:
        CALL(lane, EVP_PKEY_CTX_set_ecdh_kdf_outlen, ctx, DRAW_OF(lane, lengths));
        break;
    case 15: {
        void *ukm = len != 0 ? OPENSSL_memdup("label", len) : NULL;

        if (CALL(lane, EVP_PKEY_CTX_set0_ecdh_kdf_ukm, ctx, ukm, (int)len) <= 0)
            OPENSSL_free(ukm);
        break;
    }
    case 16:
        CALL(lane, EVP_PKEY_CTX_get_ecdh_kdf_type, ctx);
        break;
    default:
        CALL(lane, EVP_PKEY_CTX_get_ecdh_cofactor_mode, ctx);
    }
}

static void set_by_text(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    static const char *const texts[][2] = {
        { "rsa_padding_mode", "pss" },    { "rsa_padding_mode", "pkcs1" },
        { "rsa_padding_mode", "oaep" },   { "rsa_padding_mode", "nonsense" },
        { "rsa_pss_saltlen", "digest" },  { "rsa_pss_saltlen", "-2" },
        { "rsa_pss_saltlen", "auto" },    { "rsa_mgf1_md", "sha384" },
        { "rsa_oaep_md", "sha256" },      { "rsa_oaep_label", "6c6162" },
        { "digest", "sha512" },           { "ecdh_kdf_md", "sha256" },
        { "ecdh_cofactor_mode", "1" },    { "unheard-of", "1" },
        { "rsa_pss_saltlen", "nothing" }, { "rsa_keygen_bits", "2048" },
    };
    const char *const *one = DRAW_OF(lane, texts);
    char what[64];

    snprintf(what, sizeof(what), "ctrl_str %s:%s", one[0], one[1]);
    note_refused(lane, one[0], note_call(lane, what, EVP_PKEY_CTX_ctrl_str(ctx, one[0], one[1])));
}

static void set_something(struct lane *lane, EVP_PKEY_CTX *ctx)
{
    void (*const ways[])(struct lane * lane,
                         EVP_PKEY_CTX * ctx) = { set_by_function, set_by_function, set_by_function,
                                                 set_text,        set_number,      set_octets,
                                                 set_by_text };

    DRAW_OF(lane, ways)(lane, ctx);
}

/* Parameters for the beginning of an operation, none of them twice; NULL as often. */
static const OSSL_PARAM *params_draw(struct lane *lane, OSSL_PARAM *params)
{
    static int salt = 20;
    static char pss[] = "pss", oaep[] = "oaep", digest[] = "SHA256";
    char *padding = draw(lane, 2) == 0 ? pss : oaep;
    const OSSL_PARAM all[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, padding, 0),
        OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, &salt),
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_int("unheard-of", &salt),
    };
    size_t count = 0;

    if (draw(lane, 2) == 0)
        return NULL;
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (draw(lane, 3) == 0) {
            params[count++] = all[i];
            note_text(lane, "with", all[i].key);
        }
    params[count] = OSSL_PARAM_construct_end();
    return params;
}

/* Messages that go through an EVP_MD_CTX. */

static void md_init(struct lane *lane)
{
    const char *digest =
        draw(lane, 8) == 0 || is_a(lane, "ED25519") ? NULL : DRAW_OF(lane, digests);
    bool again = lane->md_begun && draw(lane, 3) == 0;
    EVP_PKEY *key = again ? NULL : lane->key;
    OSSL_PARAM buf[5];
    const OSSL_PARAM *params = params_draw(lane, buf);

    if (is_a(lane, "ED25519") && draw(lane, 8) == 0)
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
    if (ret == 1 && room->out == NULL)
        note(lane, "size", (long)len);
    else if (ret == 1)
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
    unsigned char hash[EVP_MAX_MD_SIZE], sig[OUTPUT_MAX + 8];
    size_t len = hash_message(lane, hash);

    signature_share(lane, lane->md_pkey, hash, len);
    len = shared_spoilt(lane, sig);
    CALL(lane, EVP_DigestVerifyFinal, lane->md, sig, len);
}

static void md_final(struct lane *lane)
{
    if (!lane->md_begun || is_a(lane, "ED25519")) /* where libcrypto 3.0 calls a NULL */
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
        unsigned char hash[EVP_MAX_MD_SIZE], sig[OUTPUT_MAX + 8];
        size_t len = hash_message(lane, hash);

        if (is_a(lane, "ED25519"))
            whole_share(lane);
        else
            signature_share(lane, lane->md_pkey, hash, len);
        len = shared_spoilt(lane, sig);
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

static void md_set(struct lane *lane)
{
    if (lane->md_begun)
        set_something(lane, lane->md_pkey);
}

static void md_get(struct lane *lane)
{
    if (lane->md_begun)
        note_ctx(lane, lane->md_pkey);
}

/* An EVP_PKEY_CTX */

static void pkey_new(struct lane *lane)
{
    EVP_PKEY_CTX_free(lane->pkey);
    lane->pkey = EVP_PKEY_CTX_new_from_pkey(lane->libctx, lane->key, NULL);
    note(lane, "EVP_PKEY_CTX_new_from_pkey", lane->pkey != NULL);
    ERR_clear_error();
}

static void pkey_init(struct lane *lane)
{
    OSSL_PARAM buf[5];
    const OSSL_PARAM *params = params_draw(lane, buf);

    switch (draw(lane, 8)) {
    case 0:
    case 1:
        CALL(lane, EVP_PKEY_sign_init_ex, lane->pkey, params);
        break;
    case 2:
        CALL(lane, EVP_PKEY_verify_init_ex, lane->pkey, params);
        break;
    case 3:
        CALL(lane, EVP_PKEY_verify_recover_init_ex, lane->pkey, params);
        break;
    case 4:
        CALL(lane, EVP_PKEY_encrypt_init_ex, lane->pkey, params);
        break;
    case 5:
        CALL(lane, EVP_PKEY_decrypt_init_ex, lane->pkey, params);
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
    set_something(lane, lane->pkey);
}

static void pkey_get(struct lane *lane)
{
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
    if (ret == 1 && room.out == NULL)
        note(lane, "size", (long)len);
    else if (ret == 1)
        note_signature(lane, lane->pkey, hash, hash_len, room.out, len);
    free(room.out);
}

static void pkey_verify(struct lane *lane)
{
    unsigned char hash[257], sig[OUTPUT_MAX + 8];
    size_t hash_len = hash_draw(lane, hash), len;

    signature_share(lane, lane->pkey, hash, hash_len);
    len = shared_spoilt(lane, sig);
    CALL(lane, EVP_PKEY_verify, lane->pkey, sig, len, hash, hash_len);
}

static void note_out(struct lane *lane, const char *what, int ret, const struct room *room,
                     size_t len)
{
    if (ret == 1 && room->out == NULL)
        note(lane, "size", (long)len);
    else if (ret == 1)
        note_bytes(lane, what, room->out, len);
}

/* Of a buffer that is too small, libcrypto 3.0 writes beyond the end. */
static void pkey_recover(struct lane *lane)
{
    unsigned char out[MODULUS] = { 0 }, hash[257], sig[OUTPUT_MAX + 8];
    struct room room = { draw(lane, 6) != 0 ? out : NULL, sizeof(out) };
    size_t hash_len = hash_draw(lane, hash), sig_len, len = room.size;

    signature_share(lane, lane->pkey, hash, hash_len);
    sig_len = shared_spoilt(lane, sig);
    note_out(lane, "out",
             CALL(lane, EVP_PKEY_verify_recover, lane->pkey, room.out, &len, sig, sig_len), &room,
             len);
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

/* What software makes of a ciphertext that a lane has made. */
static void note_ciphertext(struct lane *lane, const unsigned char *in, size_t in_len)
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

static void pkey_encrypt(struct lane *lane)
{
    struct room room = room_draw(lane, (size_t)EVP_PKEY_get_size(lane->key));
    unsigned char text[257];
    size_t text_len = hash_draw(lane, text), len = room.size;
    int ret = CALL(lane, EVP_PKEY_encrypt, lane->pkey, room.out, &len, text, text_len);

    if (ret == 1 && room.out == NULL)
        note(lane, "size", (long)len);
    else if (ret == 1)
        note_ciphertext(lane, room.out, len);
    free(room.out);
}

static void ciphertext_share(struct lane *lane, const unsigned char *text, size_t len)
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

static void pkey_decrypt(struct lane *lane)
{
    struct room room = room_draw(lane, (size_t)EVP_PKEY_get_size(lane->key));
    unsigned char text[257], in[OUTPUT_MAX + 8];
    size_t in_len, len = room.size;
    bool spoilt;
    int ret;

    ciphertext_share(lane, text, hash_draw(lane, text));
    in_len = shared_spoilt(lane, in);
    spoilt = !shared_whole || in_len != shared_len || memcmp(in, shared, in_len) != 0;
    ret = EVP_PKEY_decrypt(lane->pkey, room.out, &len, in, in_len);
    note_call(lane, spoilt ? "EVP_PKEY_decrypt of what is spoilt" : "EVP_PKEY_decrypt", ret);
    note_out(lane, spoilt ? "out of what is spoilt" : "out", ret, &room, len);
    free(room.out);
}

static void pkey_set_peer(struct lane *lane)
{
    EVP_PKEY *peer = peers[lane->side][draw(lane, PEERS)];

    if (draw(lane, 3) != 0)
        peer = peers[lane->side][is_a(lane, "X25519")                     ? PEER_X25519
                                 : strcmp(lane->twin->name, "P-384") == 0 ? PEER_P384
                                                                          : PEER_P256];
    if (peer == NULL)
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

    note_out(lane, "out", CALL(lane, EVP_PKEY_derive, lane->pkey, room.out, &len), &room, len);
    free(room.out);
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

    if (is_a(lane, "RSA") && which > 3 && draw(lane, 8) != 0)
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

static void key_facts(struct lane *lane)
{
    static const char *const types[] = { "RSA",
                                         "EC",
                                         "ED25519",
                                         "X25519",
                                         "rsaEncryption",
                                         "1.2.840.113549.1.1.1",
                                         "id-ecPublicKey",
                                         "RSA-PSS",
                                         "1.3.101.112",
                                         "DSA" };
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
    unsigned char *der = NULL, raw[200];
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

/* Comparison with others, and a copy in the place of the original. */
static void key_others(struct lane *lane)
{
    EVP_PKEY *other = peers[lane->side][draw(lane, PEERS)];
    EVP_PKEY *copy = EVP_PKEY_dup(lane->key), *twin = lane->twin->key[SOFTWARE];

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
    CALL(lane, EVP_PKEY_eq, lane->key, twin);
    CALL(lane, EVP_PKEY_eq, twin, lane->key);
    CALL(lane, EVP_PKEY_parameters_eq, lane->key, twin);
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
    const char *digest = is_a(lane, "ED25519") ? NULL : DRAW_OF(lane, digests);
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

#define STEP(function, weight)                                                                     \
    {                                                                                              \
#function, function, weight                                                                \
    }

static const struct step {
    const char *name;
    void (*function)(struct lane *lane);
    unsigned weight;
} message_steps[] = {
    STEP(md_init, 5), STEP(md_update, 5), STEP(md_final, 5), STEP(md_whole, 2), STEP(md_copy, 2),
    STEP(md_set, 6),  STEP(md_get, 3),    STEP(md_reset, 1), STEP(request_sign_ctx, 1),
}, pkey_steps[] = {
    STEP(pkey_init, 5),   STEP(pkey_set, 7),     STEP(pkey_sign, 3),   STEP(pkey_verify, 2),
    STEP(pkey_recover, 1), STEP(pkey_encrypt, 2), STEP(pkey_decrypt, 2), STEP(pkey_set_peer, 3),
    STEP(pkey_derive, 3), STEP(pkey_dup, 2),     STEP(pkey_get, 3),    STEP(pkey_new, 1),
    STEP(pkey_check, 1),
}, key_steps[] = {
    STEP(key_get, 4),       STEP(key_bn, 2),   STEP(key_facts, 1),    STEP(key_encodings, 1),
    STEP(key_data, 1),      STEP(key_others, 1), STEP(request_sign, 1),
};

static const struct walk {
    const struct step *steps;
    size_t count, most; /* steps that there are, and that are made */
} walks[] = {
    { message_steps, COUNT_OF(message_steps), STEPS },
    { message_steps, COUNT_OF(message_steps), STEPS },
    { pkey_steps, COUNT_OF(pkey_steps), STEPS },
    { pkey_steps, COUNT_OF(pkey_steps), STEPS },
    { key_steps, COUNT_OF(key_steps), 4 },
};

static const struct step *step_draw(struct lane *lane, const struct walk *walk)
{
    unsigned total = 0, lot, i = 0;

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
    return likeness_compare(lanes, differences, seed);
}

static void lane_begin(struct lane *lane, enum side side, const struct twin *twin, uint64_t seed)
{
    memset(lane, 0, sizeof(*lane));
    lane->side = side;
    lane->libctx = libctxs[side];
    lane->twin = twin;
    lane->key = twin->key[side];
    lane->lots = seed;
    lane->md = EVP_MD_CTX_new();
    lane->pkey = EVP_PKEY_CTX_new_from_pkey(lane->libctx, lane->key, NULL);
}

static void lane_end(struct lane *lane)
{
    EVP_MD_CTX_free(lane->md);
    EVP_PKEY_CTX_free(lane->pkey);
    for (size_t i = 0; i < lane->copied; i++) {
        EVP_MD_CTX_free(lane->mds_copied[i]);
        EVP_PKEY_CTX_free(lane->pkeys_copied[i]);
    }
}

static struct twin twins[5];
static size_t twin_count;

static void sequence(uint64_t seed)
{
    static struct lane lanes[SIDES];
    struct lane chooser = { .lots = seed };
    const struct twin *twin = &twins[draw(&chooser, (unsigned)twin_count)];
    const struct walk *walk = &DRAW_OF(&chooser, walks);
    size_t i = 0;

    for (int side = 0; side < SIDES; side++)
        lane_begin(&lanes[side], (enum side)side, twin, chooser.lots);
    while (i < walk->most && step_both(lanes, walk, seed))
        i++;
    for (int side = 0; side < SIDES; side++)
        lane_end(&lanes[side]);
}

/* The same key in the token, as a program brings it there; NULL where the token has no such keys.
 */
static EVP_PKEY *brought(EVP_PKEY *key, const char *name)
{
    char uri[64];
    OSSL_PARAM *values = NULL, *params;
    OSSL_PARAM place[] = { OSSL_PARAM_construct_utf8_string(PKCS11_BRIDGE_KEYGEN_URI, uri,
                                                            sizeof(uri)),
                           OSSL_PARAM_construct_end() };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(libctxs[TOKEN], EVP_PKEY_get0_type_name(key),
                                                   PKCS11_BRIDGE_PROPERTY);
    EVP_PKEY *made = NULL;

    snprintf(uri, sizeof(uri), "pkcs11:token=soft;object=like-%s", name);
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

static void twin_add(const char *name, EVP_PKEY *key)
{
    char label[64];
    EVP_PKEY *made = brought(key, name);

    snprintf(label, sizeof(label), "like-%s", name);
    if (made == NULL) {
        printf("the token does not take %s\n", name);
        EVP_PKEY_free(key);
        return;
    }
    EVP_PKEY_free(made);
    twins[twin_count] = (struct twin){ name, { key, key_load(libctxs[TOKEN], label, "private") } };
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

static int setup(void **state)
{
    OSSL_LIB_CTX *plain = libctxs[SOFTWARE] = libctx_new_plain();

    (void)state;
    libctxs[TOKEN] = libctx_new("");
    assert_non_null(libctxs[TOKEN]);
    twin_add("RSA", EVP_PKEY_Q_keygen(plain, NULL, "RSA", (size_t)(8 * MODULUS)));
    twin_add("P-256", EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-256"));
    twin_add("P-384", EVP_PKEY_Q_keygen(plain, NULL, "EC", "P-384"));
    twin_add("ED25519", EVP_PKEY_Q_keygen(plain, NULL, "ED25519"));
    twin_add("X25519", EVP_PKEY_Q_keygen(plain, NULL, "X25519"));
    peers_make();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int side = 0; side < SIDES; side++) {
        for (size_t i = 0; i < twin_count; i++)
            EVP_PKEY_free(twins[i].key[side]);
        for (int i = 0; i < PEERS; i++)
            EVP_PKEY_free(peers[side][i]);
        OSSL_LIB_CTX_free(libctxs[side]);
    }
    return 0;
}

static void test_likeness(void **state)
{
    const char *text = getenv("BRIDGE_LIKENESS");
    unsigned long long seed = 0, count = SEQUENCES / at_leisure(1);

    (void)state;
    if (text != NULL)
        assert_int_equal(sscanf(text, "%llu %llu", &seed, &count), 2);
    else
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
