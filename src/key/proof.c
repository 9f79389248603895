#include "key/proof.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "der/ecdsa.h"
#include "key/derive.h"
#include "key/software.h"
#include "module/call.h"
#include "module/ckr.h"
#include "token/witness.h"

/* What is signed says what it is for, and nobody can know it before. */
#define PURPOSE     "pkcs11-bridge: are these two halves of one key pair?"
#define NONCE_LEN   32
#define MESSAGE_LEN (sizeof(PURPOSE) + NONCE_LEN)
#define ECDSA_MAX   256 /* its signatures, and shared secrets */

struct question {
    struct session *session;
    struct handle handle;
    const struct object *usage; /* of the private key */
    struct key *const *halves;
    size_t count;
    uint8_t message[MESSAGE_LEN], hash[DIGEST_MAX];
    size_t hash_len;
    struct room room; /* the token's answer: a signature or a shared secret */
};

/* What a public key has to say of the token's answer. */
enum opinion { SAYS_NO, SAYS_YES, SAYS_UNKNOWN };

typedef enum opinion judge_fn(const struct question *question, struct key *half, const void *arg);

static bool refused(CK_RV rv)
{
    return rv != CKR_OK && ckr_verdict(call_name(), rv).repair == REPAIR_NOTHING;
}

static enum proof judge_all(const struct question *question, judge_fn *judge, const void *arg,
                            size_t *which)
{
    HOST_WORK;
    enum proof proof = PROOF_NONE;

    (void)ERR_set_mark();
    for (size_t i = 0; i < question->count && proof != PROOF_FOUND; i++) {
        enum opinion opinion = judge(question, question->halves[i], arg);

        if (opinion == SAYS_UNKNOWN)
            proof = PROOF_IMPOSSIBLE;
        if (opinion != SAYS_YES)
            continue;
        proof = PROOF_FOUND;
        *which = i;
    }
    (void)ERR_pop_to_mark();
    return proof;
}

/* The ways to sign; the first that the key and the token take. */
static const struct way {
    enum sign_scheme scheme;
    const char *digest;
    enum sign_column column;
} ways[] = {
    { SIGN_EDDSA, NULL, SIGN_TOKEN_HASHES },        { SIGN_SET, NULL, SIGN_TOKEN_HASHES },
    { SIGN_ECDSA, "SHA2-256", SIGN_HASHED_BEFORE }, { SIGN_ECDSA, "SHA2-256", SIGN_TOKEN_HASHES },
    { SIGN_ECDSA, "SHA2-384", SIGN_TOKEN_HASHES },  { SIGN_ECDSA, "SHA2-512", SIGN_TOKEN_HASHES },
};

static bool way_fits(const struct way *way, enum key_type type)
{
    if (way->scheme == SIGN_SET)
        return key_type_is_set(type) && key_type_set(type)->algorithm->signs;
    return way->scheme == SIGN_EDDSA ? type == KEY_ED25519 || type == KEY_ED448 : type == KEY_EC;
}

static void way_mechanism(const struct way *way, enum key_type type, struct sign_mechanism *out)
{
    struct sign_request request = { .scheme = way->scheme,
                                    .digest = way->digest != NULL ? digest_find(way->digest) : NULL,
                                    .eddsa_params = type == KEY_ED448,
                                    .set = key_type_set_or_none(type) };

    /* each of these has one */
    sign_mechanism(&request, sign_type(&request, way->column), request.context, out);
}

static struct view way_input(const struct way *way, const struct question *question)
{
    size_t hash_len = question->hash_len, order;

    if (way->column == SIGN_TOKEN_HASHES)
        return (struct view){ question->message, MESSAGE_LEN };
    order = curve_order_bytes(question->halves[0]->curve);
    return (struct view){ question->hash, hash_len < order ? hash_len : order };
}

static enum opinion judge_signature(const struct question *question, struct key *half,
                                    const void *arg)
{
    HOST_WORK;
    const struct way *way = arg;
    OSSL_LIB_CTX *libctx = half->provider->host.libctx;
    uint8_t der[ECDSA_SIG_DER_MAX(ECDSA_MAX / 2)];
    struct view signature = { question->room.data, question->room.len };
    EVP_PKEY *host = key_host(half);
    EVP_MD_CTX *ctx = host != NULL ? EVP_MD_CTX_new() : NULL;
    enum opinion opinion = SAYS_UNKNOWN;

    if (half->type == KEY_EC)
        signature = (struct view){ der, ecdsa_sig_to_der(signature, der, sizeof(der)) };
    if (ctx != NULL &&
        EVP_DigestVerifyInit_ex(ctx, NULL, way->digest, libctx, HOST_PROPERTIES, host, NULL) == 1)
        opinion = EVP_DigestVerify(ctx, signature.data, signature.len, question->message,
                                   MESSAGE_LEN) == 1
                      ? SAYS_YES
                      : SAYS_NO;
    md_ctx_release(ctx);
    return opinion;
}

/* The outcome of C_SignInit in *refusal: then nothing was begun. */
static CK_RV sign(struct question *question, const struct way *way, CK_RV *refusal)
{
    struct session *session = question->session;
    struct view in = way_input(way, question);
    const struct key *half = question->halves[0];
    struct sign_mechanism mechanism;

    way_mechanism(way, half->type, &mechanism);
    *refusal = CKR_MECHANISM_INVALID;
    if (!object_allows(question->usage, mechanism.ck.mechanism))
        return CKR_OK;
    *refusal = session_sign_init(session, &mechanism.ck, question->handle);
    if (*refusal != CKR_OK)
        return refused(*refusal) ? CKR_OK : *refusal;
    question->room.size =
        half->type == KEY_EC ? 2 * curve_order_bytes(half->curve) : key_signature_max(half);
    question->room.exact = true;
    return session_sign(session, in, &question->room);
}

static CK_RV by_signature(struct question *question, enum proof *proof, size_t *which)
{
    for (const struct way *way = ways; way < ways + COUNT(ways); way++) {
        CK_RV refusal, rv;

        if (!way_fits(way, question->halves[0]->type))
            continue;
        rv = sign(question, way, &refusal);
        if (rv != CKR_OK)
            return rv;
        if (refusal != CKR_OK)
            continue;
        *proof = judge_all(question, judge_signature, way, which);
        return CKR_OK;
    }
    return CKR_OK;
}

static enum opinion judge_agreement(const struct question *question, struct key *half,
                                    const void *arg)
{
    HOST_WORK;
    EVP_PKEY *own = (EVP_PKEY *)(uintptr_t)arg, *host = key_host(half);
    _cleanup_(pkey_ctx_scoped) EVP_PKEY_CTX *ctx =
        EVP_PKEY_CTX_new_from_pkey(half->provider->host.libctx, own, HOST_PROPERTIES);
    uint8_t secret[ECDSA_MAX];
    size_t len = sizeof(secret);
    bool same;

    if (host == NULL || ctx == NULL || EVP_PKEY_derive_init(ctx) != 1 ||
        EVP_PKEY_derive_set_peer(ctx, host) != 1 || EVP_PKEY_derive(ctx, secret, &len) != 1)
        return SAYS_UNKNOWN;
    same = len == question->room.len && CRYPTO_memcmp(secret, question->room.data, len) == 0;
    OPENSSL_cleanse(secret, sizeof(secret));
    return same ? SAYS_YES : SAYS_NO;
}

/* A key on the curve, for this one agreement, and its point. */
static EVP_PKEY *own_key(const struct key *half, uint8_t *point, size_t size, size_t *len)
{
    HOST_WORK;
    OSSL_LIB_CTX *libctx = half->provider->host.libctx;
    char name[32];
    EVP_PKEY *own;

    (void)ERR_set_mark();
    (void)curve_name(half->curve, name, sizeof(name));
    own = half->type == KEY_EC ? EVP_PKEY_Q_keygen(libctx, HOST_PROPERTIES, "EC", name)
                               : EVP_PKEY_Q_keygen(libctx, HOST_PROPERTIES, name);
    if (own != NULL &&
        EVP_PKEY_get_octet_string_param(own, OSSL_PKEY_PARAM_PUB_KEY, point, size, len) != 1)
        *len = 0;
    (void)ERR_pop_to_mark();
    return own;
}

static CK_RV agree(struct question *question, struct view point, CK_RV *refusal)
{
    uint8_t der[EC_POINT_MAX + 4];
    struct view data = derive_public_data(point, der, sizeof(der));
    CK_ECDH1_DERIVE_PARAMS params = { .kdf = CKD_NULL,
                                      .pPublicData = ck_input(data.data),
                                      .ulPublicDataLen = data.len };
    CK_MECHANISM mechanism = { CKM_ECDH1_DERIVE, &params, sizeof(params) };
    CK_ULONG size = curve_field_bytes(question->halves[0]->curve);
    struct handle secret;

    *refusal = derive_begin(question->session, question->handle, &mechanism, size, &secret);
    if (*refusal != CKR_OK)
        return refused(*refusal) ? CKR_OK : *refusal;
    question->room.size = size;
    question->room.exact = false;
    return derive_finish(question->session, secret, &question->room);
}

static CK_RV by_agreement(struct question *question, enum proof *proof, size_t *which)
{
    _cleanup_(pkey_scoped) EVP_PKEY *own = NULL;
    uint8_t point[EC_POINT_MAX];
    size_t len = 0;
    CK_RV refusal = CKR_OK, rv;

    if (!object_allows(question->usage, CKM_ECDH1_DERIVE))
        return CKR_OK;
    own = own_key(question->halves[0], point, sizeof(point), &len);
    if (own == NULL || len == 0)
        return CKR_OK;
    rv = agree(question, (struct view){ point, len }, &refusal);
    if (rv == CKR_OK && refusal == CKR_OK)
        *proof = judge_all(question, judge_agreement, own, which);
    return rv;
}

/* *refusal: C_DecapsulateKey's outcome; then there is no answer. */
static CK_RV open_sealed(struct question *question, const struct set *set, const uint8_t *sealed,
                         CK_RV *refusal)
{
    CK_MECHANISM mechanism = { set->algorithm->mechanism, NULL, 0 };
    struct secret_template template;
    struct handle opened;

    secret_template_make(&template, KEM_SECRET_LEN);
    *refusal =
        session_decapsulate(question->session, &mechanism, question->handle, template.list,
                            SECRET_TEMPLATE_COUNT, (struct view){ sealed, set->out_len }, &opened);
    if (*refusal != CKR_OK)
        return refused(*refusal) ? CKR_OK : *refusal;
    question->room.size = KEM_SECRET_LEN;
    question->room.exact = true;
    return derive_finish(question->session, opened, &question->room);
}

/* What a public key's owner alone can open. */
static CK_RV ask_owner(struct question *question, struct key *half, CK_RV *refusal, bool *is_owner)
{
    uint8_t ciphertext[KEM_CIPHERTEXT_MAX], secret[KEM_SECRET_LEN];
    CK_RV rv = CKR_OK;

    *refusal = RV_HOST_LACKS;
    if (software_encapsulate(half, ciphertext, secret))
        rv = open_sealed(question, key_set(half), ciphertext, refusal);
    *is_owner = rv == CKR_OK && *refusal == CKR_OK &&
                CRYPTO_memcmp(secret, question->room.data, sizeof(secret)) == 0;
    OPENSSL_cleanse(secret, sizeof(secret));
    return rv;
}

static CK_RV by_encapsulation(struct question *question, enum proof *proof, size_t *which)
{
    CK_RV refusal = CKR_OK, rv = CKR_OK;
    bool is_owner = false;
    size_t i = 0;

    (void)ERR_set_mark();
    while (i < question->count && rv == CKR_OK && refusal == CKR_OK && !is_owner)
        rv = ask_owner(question, question->halves[i++], &refusal, &is_owner);
    (void)ERR_pop_to_mark();
    if (rv != CKR_OK || refusal != CKR_OK)
        return rv;
    *proof = is_owner ? PROOF_FOUND : PROOF_NONE;
    *which = i - 1;
    return CKR_OK;
}

static bool encapsulates(const struct key *half)
{
    return key_has_set(half) && !key_set(half)->algorithm->signs;
}

/* By what a key does that does not sign, if it may. */
static CK_RV by_secret(struct question *question, enum proof *proof, size_t *which)
{
    const struct object *usage = question->usage;
    const struct key *half = question->halves[0];

    if (encapsulates(half))
        return usage->may_decapsulate && object_allows(usage, key_set(half)->algorithm->mechanism)
                   ? by_encapsulation(question, proof, which)
                   : CKR_OK;
    return usage->may_derive && half->curve != NULL ? by_agreement(question, proof, which) : CKR_OK;
}

static bool question_write(struct question *question)
{
    HOST_WORK;
    OSSL_LIB_CTX *libctx = question->halves[0]->provider->host.libctx;

    memcpy(question->message, PURPOSE, sizeof(PURPOSE));
    return RAND_bytes_ex(libctx, question->message + sizeof(PURPOSE), NONCE_LEN, 0) == 1 &&
           EVP_Q_digest(libctx, "SHA256", NULL, question->message, MESSAGE_LEN, question->hash,
                        &question->hash_len) == 1;
}

/* What the private key may be used for. It points into attributes. */
static struct object usage_of(const struct attributes *attributes)
{
    const CK_ATTRIBUTE *allowed = attribute(attributes, CKA_ALLOWED_MECHANISMS);
    struct object usage = {
        .may_sign = attribute_bool(attributes, CKA_SIGN, true),
        .may_derive = attribute_bool(attributes, CKA_DERIVE, true),
        .may_decapsulate = attribute_bool(attributes, CKA_DECAPSULATE, true),
        .always_authenticate = attribute_bool(attributes, CKA_ALWAYS_AUTHENTICATE, false),
    };

    if (allowed != NULL)
        usage.allowed = (struct bytes){ allowed->pValue, allowed->ulValueLen };
    return usage;
}

static CK_RV ask(struct session *session, struct handle handle, const struct attributes *attributes,
                 struct key *const *halves, size_t count, enum proof *proof, size_t *which)
{
    struct object usage = usage_of(attributes);
    struct question question = {
        .session = session, .handle = handle, .usage = &usage, .halves = halves, .count = count
    };
    CK_RV rv = CKR_OK;
    size_t size;

    *proof = PROOF_IMPOSSIBLE;
    if (key_type_is_rsa(halves[0]->type) || usage.always_authenticate)
        return CKR_OK;
    if (!question_write(&question))
        return RV_HOST_LACKS;
    size = ECDSA_MAX > key_signature_max(halves[0]) ? ECDSA_MAX : key_signature_max(halves[0]);
    question.room.data = OPENSSL_malloc(size);
    if (question.room.data == NULL)
        return CKR_HOST_MEMORY;
    if (usage.may_sign)
        rv = by_signature(&question, proof, which);
    if (rv == CKR_OK && *proof == PROOF_IMPOSSIBLE)
        rv = by_secret(&question, proof, which);
    OPENSSL_clear_free(question.room.data, size);
    return rv;
}

/* The private key is used: a witness is told, as of any other use. */
CK_RV proof_ask(struct session *session, struct handle handle, const struct attributes *attributes,
                struct key *const *halves, size_t count, enum proof *proof, size_t *which)
{
    struct witness *witness = halves[0]->provider->pins.witness;
    struct deed deed = { .what = "prove",
                         .object = { view_attribute(attributes, CKA_LABEL),
                                     view_attribute(attributes, CKA_ID) } };
    CK_RV rv = witness_before(witness, &deed, session->slot);

    if (rv != CKR_OK)
        return rv;
    rv = ask(session, handle, attributes, halves, count, proof, which);
    witness_after_step(witness, &deed, session, rv);
    return rv;
}
