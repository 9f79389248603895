#include <string.h>

#include <openssl/rand.h>

#include "base/rare.h"
#include "base/scope.h"
#include "der/ecdsa.h"
#include "key/operation.h"
#include "mech/pss.h"
#include "module/call.h"

/* A message that a single C_Sign takes; more goes through C_SignUpdate in pieces of this size,
 * unless the mechanism needs the message whole. */
#define SIGN_SINGLE_MAX (64UL * 1024)

static CK_RV sign_in_pieces(struct session *session, struct operation *operation)
{
    struct view rest = operation->in;

    while (rest.len != 0) {
        size_t len = rest.len < SIGN_SINGLE_MAX ? rest.len : SIGN_SINGLE_MAX;
        CK_RV rv = session_sign_update(session, (struct view){ rest.data, len });

        if (rv != CKR_OK)
            return rv;
        rest = (struct view){ rest.data + len, rest.len - len };
    }
    return session_sign_final(session, &operation->out);
}

CK_RV operation_sign(struct session *session, struct handle handle, void *arg)
{
    struct operation *operation = arg;
    CK_MECHANISM *mechanism = &operation->mechanism.ck;
    CK_RV rv = session_sign_init(session, mechanism, handle);

    operation->refused = rv != CKR_OK;
    if (rv == CKR_OK && operation->key->object->always_authenticate)
        rv = login_context(session, &operation->pins);
    if (rv != CKR_OK)
        return rv;
    if (operation->in.len > SIGN_SINGLE_MAX && !sign_is_whole(mechanism->mechanism))
        return sign_in_pieces(session, operation);
    return session_sign(session, operation->in, &operation->out);
}

static const struct operation_kind signing = { "sign", operation_sign };

bool key_takes_hash(const struct key *key, const struct sign_request *request)
{
    return key->object == NULL || object_allows(key->object, sign_type_hashed(request));
}

bool key_allows_pss(const struct key *key, const struct digest *digest)
{
    struct sign_request request = { .scheme = SIGN_RSA_PSS, .digest = digest, .mgf1 = digest };
    CK_MECHANISM_TYPE on_token = sign_type_token(&request);

    return key_takes_hash(key, &request) ||
           (on_token != SIGN_NO_MECHANISM && object_allows(key->object, on_token));
}

/* All that the answer of key_token_hashes hangs on, besides the key, in a number that is never 0:
 * what is known of the token so far, and what is asked. The lowest bit is left for the answer. */
#define ASKED  2U
#define HASHES 1U

static uint64_t hashing_asked(const struct key *key, const struct sign_request *request)
{
    _Static_assert(SIGN_KINDS << 2 <= 1U << 16, "a kind of request has its place");

    return slot_learnt(key->object->slot) << 16 | sign_kind(request) << 2 | ASKED;
}

/* Whether the token may be asked whether it has type. */
static bool may_hash(const struct key *key, const struct sign_request *request,
                     CK_MECHANISM_TYPE type)
{
    return type != SIGN_NO_MECHANISM && object_allows(key->object, type) &&
           !(request->scheme == SIGN_RSA_PSS && key_lacks_pss(key, request));
}

/* Keeps the answer, unless the token itself has to be asked, whose answer may be none. */
RARE static bool hashing_find(struct key *key, const struct sign_request *request, uint64_t asked)
{
    struct slot *slot = key->object->slot;
    CK_MECHANISM_TYPE type = sign_type_token(request);
    bool has = false;

    if (may_hash(key, request, type) && !slot_mechanism_known(slot, type, CKF_SIGN, &has))
        return run_mechanism(slot, type, CKF_SIGN, &has) == CKR_OK && has;
    atomic_store(&key->hashing, asked | (has ? HASHES : 0));
    return has;
}

bool key_token_hashes(struct key *key, const struct sign_request *request)
{
    uint64_t known = atomic_load(&key->hashing), asked;

    if (key->object == NULL)
        return false;
    asked = hashing_asked(key, request);
    return (known & ~(uint64_t)HASHES) == asked ? (known & HASHES) != 0
                                                : hashing_find(key, request, asked);
}

/* Brings what the token returned into OpenSSL's form. */
static bool signature_finish(const struct operation *operation, uint8_t *signature, size_t *len)
{
    const struct key *key = operation->key;

    if (key->type != KEY_EC) {
        *len = operation->out.len;
        memcpy(signature, operation->out.data, *len);
        return true;
    }
    *len = ecdsa_sig_to_der((struct view){ operation->out.data, operation->out.len }, signature,
                            key_signature_max(key));
    if (*len != 0)
        return true;
    error_raise(&key->provider->core, REASON_OPERATION,
                "the token returned an ECDSA signature of %lu bytes, which is none",
                (unsigned long)operation->out.len);
    return false;
}

/* Brings a digest into the form that the mechanism wants, in input. */
static bool data_make(struct key *key, const struct sign_request *request, enum sign_column column,
                      struct view *data, uint8_t *input)
{
    if (column == SIGN_TOKEN_HASHES)
        return true;
    *data = sign_input(request, key->curve, *data, input);
    if (data->len != 0)
        return true;
    error_raise(&key->provider->core, REASON_PARAMETER, "the data to sign is empty or too long");
    return false;
}

bool key_sign_input(struct key *key, const struct sign_request *request, enum sign_column column,
                    CK_MECHANISM_TYPE *type, struct view *data, uint8_t *input)
{
    *type = sign_type(request, column);
    if (*type != SIGN_NO_MECHANISM)
        return data_make(key, request, column, data, input);
    error_raise(&key->provider->core, REASON_UNSUPPORTED,
                "PKCS#11 has no mechanism that hashes with this digest");
    return false;
}

/* The bytes that C_Sign returns: RSA as many as the modulus has, ECDSA twice as many as the order
 * (PKCS#11 v3.1 §6.3.12), others as they are known. */
static size_t raw_signature_len(const struct key *key)
{
    return key->type == KEY_EC ? 2 * curve_order_bytes(key->curve) : key_signature_max(key);
}

/* Whether the token says that it does not have PSS with these parameters. What it does not like in
 * the data, C_Sign says: there CKR_ARGUMENTS_BAD may be about that. */
static bool pss_refused(const struct operation *operation, CK_RV rv)
{
    return !login_failed(rv) && (rv == CKR_MECHANISM_INVALID || rv == CKR_MECHANISM_PARAM_INVALID ||
                                 (operation->refused && rv == CKR_ARGUMENTS_BAD));
}

/* What to make of the token's rv, as sign_on_token. */
RARE static bool sign_failed(const struct operation *operation, const struct sign_request *request,
                             CK_RV rv, bool *lacks)
{
    const struct key *key = operation->key;

    if (request->scheme == SIGN_RSA_PSS && pss_refused(operation, rv)) {
        slot_learn_lack(key->object->slot, sign_pss_variant(request));
        if (lacks != NULL) {
            *lacks = true;
            return false;
        }
    }
    return key_failed(key, "sign", operation->mechanism.ck.mechanism, rv);
}

/* False with an error raised; none is, but *lacks is set, where the token lacks this kind of PSS
 * and the caller wants to know. */
static bool sign_on_token(struct key *key, const struct sign_request *request,
                          enum sign_column column, struct view data, uint8_t *signature,
                          size_t *len, bool *lacks)
{
    struct operation_place place;
    _cleanup_(operation_end) struct operation *operation = NULL;
    CK_MECHANISM_TYPE type;
    uint8_t input[SIGN_INPUT_MAX];
    CK_RV rv;

    if (!key_sign_input(key, request, column, &type, &data, input) ||
        !key_permits(key, key->object->may_sign, "CKA_SIGN", "sign", type))
        return false;
    operation = operation_begin(&place, key, data, request->context, raw_signature_len(key));
    if (operation == NULL)
        return false;
    operation->out.exact = true;
    sign_mechanism(request, type, operation->extra, &operation->mechanism.sign);
    rv = operation_run(operation, &signing);
    return rv == CKR_OK ? signature_finish(operation, signature, len)
                        : sign_failed(operation, request, rv, lacks);
}

/* The block that is signed raw: the salt is the host's, and so is the digest where the token was to
 * hash. */
static bool pad_here(struct key *key, const struct sign_request *request, enum sign_column column,
                     struct view data, uint8_t *block)
{
    HOST_WORK;
    struct host *host = &key->provider->host;
    _cleanup_(md_scoped) EVP_MD *md = host_md(host, request->digest, NULL);
    _cleanup_(md_scoped) EVP_MD *mgf1 = host_md(host, request->mgf1, NULL);
    uint8_t hash[DIGEST_MAX], salt[SIGN_INPUT_MAX];

    if (md == NULL || mgf1 == NULL || request->salt_len > sizeof(salt))
        return false;
    if (column == SIGN_TOKEN_HASHES) {
        if (!host_hash(host, request->digest, NULL, data, hash))
            return false;
        data = (struct view){ hash, request->digest->size };
    }
    return (request->salt_len == 0 ||
            RAND_bytes_ex(host->libctx, salt, request->salt_len, 0) == 1) &&
           pss_encode(md, mgf1, data, (struct view){ salt, request->salt_len }, key_bits(key),
                      block);
}

static bool sign_padded_here(struct key *key, const struct sign_request *request,
                             enum sign_column column, struct view data, uint8_t *signature,
                             size_t *len)
{
    static const struct sign_request raw = { .scheme = SIGN_RSA_RAW };
    uint8_t block[SIGN_INPUT_MAX];
    const struct view padded = { block, key_signature_max(key) };

    if (pad_here(key, request, column, data, block))
        return sign_on_token(key, &raw, SIGN_HASHED_BEFORE, padded, signature, len, NULL);
    error_raise(&key->provider->core, REASON_OPERATION,
                "cannot make the padding of a PSS signature on the host");
    return false;
}

bool key_lacks_pss(const struct key *key, const struct sign_request *request)
{
    return key->object != NULL && (!sign_pss_has_name(request) ||
                                   slot_lacks(key->object->slot, sign_pss_variant(request)));
}

/* Whether it is worth asking the token. */
static bool may_have_pss(const struct key *key, const struct sign_request *request,
                         enum sign_column column)
{
    return !key_lacks_pss(key, request) && object_allows(key->object, sign_type(request, column));
}

static bool pss_impossible(struct key *key)
{
    char uri[512];

    error_raise(&key->provider->core, REASON_UNSUPPORTED,
                "cannot sign with %s: PKCS#11 has no name for PSS with this digest and MGF1, and "
                "the token does not sign raw (CKM_RSA_X_509)",
                key_describe(key, uri, sizeof(uri)));
    return false;
}

/* The token's PSS where it has it, with the salt that is asked for or, where the application left
 * that open, with one as long as the digest (tokens by FIPS 186 have none that is longer). Where it
 * has neither and signs raw, the padding is made here; else the token says again what it lacks. */
static bool sign_pss(struct key *key, const struct sign_request *request, enum sign_column column,
                     struct view data, uint8_t *signature, size_t *len)
{
    struct sign_request ways[] = { *request, *request };
    size_t count = request->salt_free && request->salt_len > request->digest->size ? 2 : 1;
    bool raw;
    CK_RV rv;

    ways[1].salt_len = request->digest->size;
    for (size_t i = 0; i < count; i++) {
        bool lacks = false;

        if (!may_have_pss(key, &ways[i], column))
            continue;
        if (sign_on_token(key, &ways[i], column, data, signature, len, &lacks))
            return true;
        if (!lacks)
            return false;
    }
    rv = key_has_mechanism(key, CKM_RSA_X_509, CKF_SIGN, &raw);
    if (rv != CKR_OK)
        return key_failed(key, "sign", CKM_RSA_X_509, rv);
    if (raw)
        return sign_padded_here(key, request, column, data, signature, len);
    return sign_pss_has_name(request)
               ? sign_on_token(key, &ways[count - 1], column, data, signature, len, NULL)
               : pss_impossible(key);
}

RARE static bool refuse_public(const struct key *key)
{
    error_raise(&key->provider->core, REASON_KEY, "cannot sign with a public key");
    return false;
}

bool key_sign(struct key *key, const struct sign_request *request, enum sign_column column,
              struct view data, uint8_t *signature, size_t *len)
{
    if (key->object == NULL)
        return refuse_public(key);
    return request->scheme == SIGN_RSA_PSS
               ? sign_pss(key, request, column, data, signature, len)
               : sign_on_token(key, request, column, data, signature, len, NULL);
}

CK_RV key_sign_pkcs1(struct key *key, struct view data, uint8_t *signature, size_t *len)
{
    struct operation_place place;
    _cleanup_(operation_end) struct operation *operation = NULL;
    CK_RV rv;

    operation =
        operation_begin(&place, key, data, (struct view){ NULL, 0 }, key_signature_max(key));
    if (operation == NULL)
        return CKR_HOST_MEMORY;
    operation->out.exact = true;
    operation->mechanism.ck = (CK_MECHANISM){ .mechanism = CKM_RSA_PKCS };
    rv = operation_run(operation, &signing);
    *len = operation->out.len;
    if (rv == CKR_OK)
        memcpy(signature, operation->out.data, operation->out.size);
    return rv;
}
