#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "key/operation.h"
#include "mech/unpad.h"
#include "module/call.h"
#include "module/ckr.h"

static CK_RV decrypt(struct session *session, struct handle handle, void *arg)
{
    struct operation *operation = arg;
    CK_RV rv = session_decrypt_init(session, &operation->mechanism.ck, handle);

    operation->answer = CKR_OK;
    operation->refused = rv != CKR_OK;
    if (rv == CKR_OK && operation->key->object->always_authenticate)
        rv = login_context(session, &operation->pins);
    if (rv == CKR_OK)
        rv = operation->answer = session_decrypt(session, operation->in, &operation->out);
    return rv;
}

/* "Lacked" by a slot whose module leaves the operation active when C_Decrypt says that the padding
 * is wrong: PKCS#11 lets it do that for a buffer that is too small only. */
#define END_OF_OPERATION (CKM_VENDOR_DEFINED | 0x454e44UL << 16)

/* Whether it is what a token says of data that it does not like. Asked of a right answer as well,
 * as if the token had said what most do: it is the same work. */
static bool says_wrong(CK_RV rv)
{
    CK_RV asked = rv != CKR_OK ? rv : CKR_ENCRYPTED_DATA_INVALID;

    return ckr_verdict(call_name(), asked).about_data && rv != CKR_OK;
}

/* The same where the token takes the padding off. That it is wrong must not be seen in the calls
 * that follow: it is an outcome of the task like any other. It is not tried again, and the session
 * is kept, or with modules that leave the operation active given up, as after a right one. */
static CK_RV decrypt_padded(struct session *session, struct handle handle, void *arg)
{
    struct operation *operation = arg;
    CK_RV rv = decrypt(session, handle, arg);
    bool wrong = says_wrong(rv), current = session_current(session);

    if (operation->refused && rv == CKR_OPERATION_ACTIVE)
        slot_learn_lack(session->slot, END_OF_OPERATION);
    if (!operation->refused)
        session->spoilt = slot_lacks(session->slot, END_OF_OPERATION);
    if (!wrong || operation->refused || !current)
        return rv;
    operation->out.len = 0;
    return CKR_OK;
}

static const struct operation_kind decryption_raw = { "decrypt", decrypt };
static const struct operation_kind decryption = { "decrypt", decrypt_padded };

/* What came of one. */
struct outcome {
    CK_MECHANISM_TYPE mechanism;
    size_t len;
    bool refused; /* by C_DecryptInit: the mechanism, not the data, is what it does not like */
    bool wrong;   /* the padding, says the token */
    bool login;   /* what failed is the login */
    bool nothing; /* CKR_OK, and CK_UNAVAILABLE_INFORMATION for a length */
};

/* Decrypts into out, which has key_signature_max bytes: raw, where request is NULL.
 * CKR_MECHANISM_INVALID, as if the token had said it, where PKCS#11 cannot name this kind of OAEP.
 */
static CK_RV run_decrypt(struct key *key, const struct cipher_request *request, struct view in,
                         uint8_t *out, struct outcome *outcome)
{
    struct operation_place place;
    _cleanup_(operation_end) struct operation *operation = NULL;
    struct cipher_request kept = request != NULL ? *request : (struct cipher_request){ 0 };
    CK_RV rv;

    *outcome = (struct outcome){ .mechanism = CKM_RSA_PKCS_OAEP, .refused = true };
    operation = operation_begin(&place, key, in, kept.label, key_signature_max(key));
    if (operation == NULL)
        return CKR_HOST_MEMORY;
    kept.label = operation->extra;
    if (request == NULL)
        cipher_mechanism_raw(&operation->mechanism.cipher);
    else if (!cipher_mechanism(&kept, &operation->mechanism.cipher))
        return CKR_MECHANISM_INVALID;
    rv = operation_run(operation, request == NULL ? &decryption_raw : &decryption);
    outcome->mechanism = operation->mechanism.ck.mechanism;
    outcome->refused = operation->refused;
    outcome->login = login_failed(rv);
    outcome->nothing = rv == RV_LENGTH && operation->out.len == CK_UNAVAILABLE_INFORMATION;
    if (rv == CKR_OK) {
        outcome->len = operation->out.len;
        outcome->wrong = operation->answer != CKR_OK;
        memcpy(out, operation->out.data,
               operation->out.size); /* all of it: the length may be a secret */
    }
    return rv;
}

/* The block with its padding: as long as the modulus, whatever the token cuts off. */
static CK_RV decrypt_raw(struct key *key, struct view in, uint8_t *block, struct outcome *outcome)
{
    CK_RV rv = run_decrypt(key, NULL, in, block, outcome);

    if (rv == CKR_OK)
        unpad_lengthen(block, key_signature_max(key), outcome->len);
    return rv;
}

/* For a block of our own: key_decrypt has asked. */
static bool has_raw(struct key *key)
{
    bool has;

    return key_has_mechanism(key, CKM_RSA_X_509, CKF_DECRYPT, &has) == CKR_OK && has;
}

#define REJECTION_LEN 32

static bool sha256(struct key *key, const uint8_t *data, size_t len, uint8_t *hash)
{
    HOST_WORK;
    size_t hash_len = 0;

    return EVP_Q_digest(key->provider->host.libctx, "SHA256", NULL, data, len, hash, &hash_len) ==
           1;
}

/* What is signed for it: no DigestInfo, so that no message has this signature. */
static const uint8_t rejection_text[] = "pkcs11-bridge: secret for implicit rejection";

#define REJECTION_TEXT ((struct view){ rejection_text, sizeof(rejection_text) - 1 })

/* Its signature with PKCS#1 v1.5 (RFC 8017 §8.2.1), which is the same whoever pads: the token, or
 * this function. out: key_signature_max bytes. */
static CK_RV sign_raw(struct key *key, uint8_t *out)
{
    uint8_t block[UNPAD_MAX];
    struct view text = REJECTION_TEXT;
    size_t size = key_signature_max(key);
    struct outcome outcome;

    if (size < text.len + 11)
        return CKR_KEY_SIZE_RANGE;
    memset(block, 0xff, size);
    block[0] = 0;
    block[1] = 1;
    block[size - text.len - 1] = 0;
    memcpy(block + size - text.len, text.data, text.len);
    return decrypt_raw(key, (struct view){ block, size }, out, &outcome);
}

static CK_RV sign_padded(struct key *key, uint8_t *out)
{
    size_t len = 0;
    CK_RV rv = key_sign_pkcs1(key, REJECTION_TEXT, out, &len);

    if (rv == CKR_OK)
        unpad_lengthen(out, key_signature_max(key), len);
    return rv;
}

/* Whether the token lists the mechanism is not asked: it says so itself, and nothing that passes
 * can be taken for a no. */
static bool may_sign(struct key *key)
{
    return key->object->may_sign && object_allows(key->object, CKM_RSA_PKCS);
}

/* Whether the token will never do it: it does not take key, mechanism or text. */
static bool is_refusal(CK_RV rv)
{
    static const CK_RV values[] = {
        CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_TYPE_INCONSISTENT,   CKR_KEY_SIZE_RANGE,
        CKR_MECHANISM_INVALID,          CKR_MECHANISM_PARAM_INVALID, CKR_FUNCTION_NOT_SUPPORTED
    };
    bool refusal = ckr_verdict("C_Decrypt", rv).about_data; /* what it does not like about data */

    for (size_t i = 0; i < COUNT(values); i++)
        refusal = refusal || values[i] == rv;
    return refusal && !login_failed(rv);
}

/* CKR_KEY_FUNCTION_NOT_PERMITTED, or another refusal, where the key can do it in no way. */
static CK_RV rejection_signature(struct key *key, uint8_t *out, CK_MECHANISM_TYPE *mechanism)
{
    static const struct {
        CK_MECHANISM_TYPE mechanism;
        bool (*has)(struct key *key);
        CK_RV (*sign)(struct key *key, uint8_t *out);
    } ways[] = {
        { CKM_RSA_X_509, has_raw, sign_raw },
        { CKM_RSA_PKCS, may_sign, sign_padded },
    };
    CK_RV rv = CKR_KEY_FUNCTION_NOT_PERMITTED;

    for (size_t i = 0; i < COUNT(ways) && is_refusal(rv); i++)
        if (ways[i].has(key)) {
            *mechanism = ways[i].mechanism;
            rv = ways[i].sign(key, out);
        }
    return rv;
}

/* Puts secret in place unless another thread was first; what is there then. */
static struct secret *secret_publish(_Atomic(struct secret *) *place, struct secret *secret)
{
    struct secret *none = NULL;

    if (secret == NULL || atomic_compare_exchange_strong(place, &none, secret))
        return secret;
    secret_free(secret);
    return none;
}

/* Of this process and of the children that it has from then on. */
static _Atomic(struct secret *) rejection_origin;

/* The kernel's: a key is opened in the middle of a task, where a random number generator on the
 * token might wait for the session that the task has. */
static const uint8_t *origin(void)
{
    struct secret *secret = atomic_load(&rejection_origin);
    uint8_t random[REJECTION_LEN];

    if (secret == NULL && getentropy(random, sizeof(random)) == 0)
        secret = secret_publish(&rejection_origin, secret_new(random, sizeof(random)));
    OPENSSL_cleanse(random, sizeof(random));
    return secret != NULL ? (const uint8_t *)secret_data(secret) : NULL;
}

void key_decrypt_begin(struct key *key)
{
    if (key->type == KEY_RSA && key->object->may_decrypt && !may_sign(key))
        (void)origin();
}

/* The same for the same key and origin. */
static bool rejection_random(struct key *key, uint8_t *hash)
{
    const uint8_t *data = origin();
    uint8_t input[REJECTION_LEN + UNPAD_MAX];
    bool ok;

    if (data == NULL)
        return false;
    memcpy(input, data, REJECTION_LEN);
    memcpy(input + REJECTION_LEN, key->n.data, key->n.len);
    ok = sha256(key, input, REJECTION_LEN + key->n.len, hash);
    OPENSSL_cleanse(input, REJECTION_LEN);
    return ok;
}

/* The secret behind implicit rejection: from the private key where that can sign, so that every
 * process has the same (ADR 13); else from the origin. A failure that passes is not taken for a
 * refusal: the secret would be another one from then on. */
static struct secret *rejection_make(struct key *key)
{
    uint8_t out[UNPAD_MAX], hash[REJECTION_LEN];
    struct hmac_key hmac;
    struct secret *secret = NULL;
    CK_MECHANISM_TYPE mechanism = CKM_RSA_PKCS;
    CK_RV rv = rejection_signature(key, out, &mechanism);

    if (rv != CKR_OK && !is_refusal(rv)) {
        (void)key_failed(key, "make the secret of implicit rejection", mechanism, rv);
        return NULL;
    }
    if (rv == CKR_OK ? sha256(key, out, key_signature_max(key), hash)
                     : rejection_random(key, hash)) {
        hmac_key(hash, &hmac);
        secret = secret_new(&hmac, sizeof(hmac));
    }
    if (secret == NULL)
        error_raise(&key->provider->core, REASON_OPERATION,
                    "cannot make the secret of implicit rejection");
    OPENSSL_cleanse(out, sizeof(out));
    OPENSSL_cleanse(hash, sizeof(hash));
    OPENSSL_cleanse(&hmac, sizeof(hmac));
    return secret;
}

static bool rejection_secret(struct key *key, struct hmac_key *out)
{
    struct secret *secret = atomic_load(&key->rejection);

    if (secret == NULL)
        secret = secret_publish(&key->rejection, rejection_make(key));
    if (secret == NULL)
        return false;
    memcpy(out, secret_data(secret), sizeof(*out));
    return true;
}

/* The result of a decryption, with good in all ones or all zeros: what stands for a wrong one takes
 * its place, without a trace of which it is. */
static bool reject_implicitly(struct key *key, struct view in, ct_mask good, uint8_t *out,
                              size_t *len)
{
    size_t size = key_signature_max(key), substitute_len = 0;
    uint8_t substitute[UNPAD_MAX];
    struct hmac_key secret;

    if (!rejection_secret(key, &secret))
        return false;
    unpad_substitute(&secret, in, substitute, &substitute_len, size);
    OPENSSL_cleanse(&secret, sizeof(secret));
    unpad_choose(good, out, len, substitute, substitute_len, size);
    OPENSSL_cleanse(substitute, size);
    return true;
}

static bool padding_wrong(const struct key *key)
{
    error_raise(&key->provider->core, REASON_OPERATION, "cannot decrypt: the padding is wrong");
    return false;
}

/* The token's own message, and whether it is one. */
static ct_mask accept_pkcs1(const struct outcome *outcome, size_t size, size_t *len)
{
    *len = outcome->len;
    return ((ct_mask)outcome->wrong - 1) & unpad_pkcs1_fits(outcome->len, size);
}

static bool decrypt_pkcs1(struct key *key, const struct cipher_request *request, bool raw,
                          struct view in, uint8_t *out, size_t *len)
{
    uint8_t block[UNPAD_MAX];
    size_t size = key_signature_max(key);
    struct outcome outcome;
    ct_mask good;
    CK_RV rv;

    rv = raw ? decrypt_raw(key, in, block, &outcome) : run_decrypt(key, request, in, out, &outcome);
    if (rv != CKR_OK)
        return key_failed(key, "decrypt", outcome.mechanism, rv);
    good = raw ? unpad_pkcs1((struct view){ block, size }, out, len)
               : accept_pkcs1(&outcome, size, len);
    OPENSSL_cleanse(block, size);
    if (request->implicit_rejection)
        return reject_implicitly(key, in, good, out, len);
    return good != 0 || padding_wrong(key);
}

static bool premaster_random(struct key *key, uint8_t *out)
{
    HOST_WORK;

    return RAND_priv_bytes_ex(key->provider->host.libctx, out, PREMASTER_LEN, 0) == 1;
}

/* Never says whether the padding was right: a wrong one yields a random premaster secret. */
static bool decrypt_tls(struct key *key, const struct cipher_request *request, bool raw,
                        struct view in, uint8_t *out, size_t *len)
{
    uint8_t block[UNPAD_MAX];
    size_t size = key_signature_max(key);
    struct outcome outcome;
    CK_RV rv;

    if (!raw) {
        error_raise(&key->provider->core, REASON_UNSUPPORTED,
                    "TLS with RSA key exchange needs CKM_RSA_X_509, which the token does not have");
        return false;
    }
    if (!premaster_random(key, out)) {
        error_raise(&key->provider->core, REASON_OPERATION,
                    "cannot decrypt: there are no random numbers");
        return false;
    }
    rv = decrypt_raw(key, in, block, &outcome);
    if (rv != CKR_OK)
        return key_failed(key, "decrypt", outcome.mechanism, rv);
    unpad_tls((struct view){ block, size }, request->client_version, request->alt_version, out);
    OPENSSL_cleanse(block, size);
    *len = PREMASTER_LEN;
    return true;
}

/* Whether the token says that it does not have OAEP with these parameters. openCryptoki says so in
 * C_Decrypt only, and calls it CKR_BUFFER_TOO_SMALL where it does not know the MGF1 digest: our
 * buffer never is. That of Debian 13 calls it CKR_OK, with no length. */
static bool lacks_oaep(const struct outcome *outcome, CK_RV rv)
{
    if (outcome->login)
        return false;
    return rv == CKR_MECHANISM_INVALID || rv == CKR_MECHANISM_PARAM_INVALID ||
           (outcome->refused ? rv == CKR_ARGUMENTS_BAD
                             : rv == CKR_BUFFER_TOO_SMALL || outcome->nothing);
}

static EVP_MD *request_md(struct key *key, const struct digest *digest)
{
    return host_md(&key->provider->host, digest, NULL);
}

static bool oaep_unpad(const struct cipher_request *request, const EVP_MD *md, const EVP_MD *mgf1,
                       struct view block, uint8_t *out, size_t *len, ct_mask *good)
{
    HOST_WORK;

    return unpad_oaep(block, md, mgf1, request->label, out, len, good);
}

static bool decrypt_oaep_host(struct key *key, const struct cipher_request *request, struct view in,
                              uint8_t *out, size_t *len)
{
    _cleanup_(md_scoped) EVP_MD *md = request_md(key, request->digest);
    _cleanup_(md_scoped) EVP_MD *mgf1 = request_md(key, request->mgf1);
    uint8_t block[UNPAD_MAX];
    size_t size = key_signature_max(key);
    struct outcome outcome;
    ct_mask good = 0;
    CK_RV rv;
    bool ok;

    if (md == NULL || mgf1 == NULL) {
        error_raise(&key->provider->core, REASON_UNSUPPORTED,
                    "cannot decrypt: no other provider has the digest of OAEP or of its MGF1");
        return false;
    }
    rv = decrypt_raw(key, in, block, &outcome);
    if (rv != CKR_OK)
        return key_failed(key, "decrypt", outcome.mechanism, rv);
    ok = oaep_unpad(request, md, mgf1, (struct view){ block, size }, out, len, &good);
    OPENSSL_cleanse(block, size);
    return (ok && good != 0) || padding_wrong(key);
}

/* The token took the parameters and says that the padding is wrong. Some tokens do not heed all of
 * them: SoftHSM 2.6 not the label, tpm2-pkcs11 not the MGF1 digest, openCryptoki 3.8 has not every
 * digest. Then the host finds the padding right, and gets the next one at once. */
static bool oaep_second_opinion(struct key *key, const struct cipher_request *request, bool raw,
                                struct view in, uint8_t *out, size_t *len)
{
    if (!raw)
        return padding_wrong(key);
    if (!decrypt_oaep_host(key, request, in, out, len))
        return false;
    slot_learn_lack(key->object->slot, cipher_oaep_variant(request));
    return true;
}

/* What a token took out of the padding must be no longer than what can have been in it. */
static bool oaep_fits(const struct key *key, const struct cipher_request *request, size_t len)
{
    return len + 2 * request->digest->size + 2 <= key_signature_max(key);
}

/* On the token, where it has this variant of OAEP; what it lacks is remembered. */
static bool decrypt_oaep(struct key *key, const struct cipher_request *request, bool raw,
                         struct view in, uint8_t *out, size_t *len)
{
    struct slot *slot = key->object->slot;
    CK_MECHANISM_TYPE variant = cipher_oaep_variant(request);
    struct outcome outcome = { .mechanism = CKM_RSA_PKCS_OAEP, .refused = true };
    CK_RV rv = CKR_MECHANISM_INVALID;

    if (object_allows(key->object, CKM_RSA_PKCS_OAEP) && !slot_lacks(slot, variant))
        rv = run_decrypt(key, request, in, out, &outcome);
    if (lacks_oaep(&outcome, rv)) {
        slot_learn_lack(slot, variant);
        return raw ? decrypt_oaep_host(key, request, in, out, len)
                   : key_failed(key, "decrypt", outcome.mechanism, rv);
    }
    if (rv != CKR_OK)
        return key_failed(key, "decrypt", outcome.mechanism, rv);
    *len = outcome.len;
    return (!outcome.wrong && oaep_fits(key, request, outcome.len)) ||
           oaep_second_opinion(key, request, raw, in, out, len);
}

static bool decrypt_none(struct key *key, const struct cipher_request *request, bool raw,
                         struct view in, uint8_t *out, size_t *len)
{
    struct outcome outcome;
    CK_RV rv = decrypt_raw(key, in, out, &outcome);

    (void)request;
    (void)raw;
    *len = key_signature_max(key);
    return rv == CKR_OK || key_failed(key, "decrypt", outcome.mechanism, rv);
}

bool key_decrypt(struct key *key, const struct cipher_request *request, struct view in,
                 uint8_t *out, size_t *len)
{
    static bool (*const by_padding[])(struct key * key, const struct cipher_request *request,
                                      bool raw, struct view in, uint8_t *out, size_t *len) = {
        [CIPHER_PKCS1] = decrypt_pkcs1,
        [CIPHER_TLS] = decrypt_tls,
        [CIPHER_OAEP] = decrypt_oaep,
        [CIPHER_RAW] = decrypt_none,
    };
    bool raw; /* whether the token decrypts without padding; asked once, here */
    CK_RV rv;

    if (key->object == NULL) {
        error_raise(&key->provider->core, REASON_KEY, "cannot decrypt with a public key");
        return false;
    }
    rv = key_has_mechanism(key, CKM_RSA_X_509, CKF_DECRYPT, &raw);
    if (rv != CKR_OK)
        return key_failed(key, "decrypt", CKM_RSA_X_509, rv);
    if (!raw || !key->object->may_decrypt) {
        struct cipher_mechanism mechanism;

        (void)cipher_mechanism(request, &mechanism);
        if (!key_permits(key, key->object->may_decrypt, "CKA_DECRYPT", "decrypt",
                         mechanism.ck.mechanism))
            return false;
    }
    if (in.len != key_signature_max(key)) {
        error_raise(&key->provider->core, REASON_PARAMETER,
                    "cannot decrypt: the ciphertext has %zu bytes, the modulus %zu", in.len,
                    key_signature_max(key));
        return false;
    }
    return by_padding[request->padding](key, request, raw, in, out, len);
}
