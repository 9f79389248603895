#include "key/derive.h"

#include <string.h>

#include "base/scope.h"
#include "key/operation.h"
#include "key/software.h"
#include "module/call.h"

void secret_template_make(struct secret_template *out, CK_ULONG size)
{
    *out = (struct secret_template){
        .list = { { CKA_CLASS, &out->class, sizeof(out->class) },
                  { CKA_KEY_TYPE, &out->type, sizeof(out->type) },
                  { CKA_TOKEN, &out->no, sizeof(out->no) },
                  { CKA_SENSITIVE, &out->no, sizeof(out->no) },
                  { CKA_EXTRACTABLE, &out->yes, sizeof(out->yes) },
                  { CKA_VALUE_LEN, &out->size, sizeof(out->size) } },
        .class = CKO_SECRET_KEY,
        .type = CKK_GENERIC_SECRET,
        .yes = CK_TRUE,
        .no = CK_FALSE,
        .size = size,
    };
}

CK_RV derive_begin(struct session *session, struct handle handle, CK_MECHANISM *mechanism,
                   CK_ULONG size, struct handle *secret)
{
    struct secret_template template;

    secret_template_make(&template, size);
    return session_derive(session, mechanism, handle, template.list, SECRET_TEMPLATE_COUNT, secret);
}

CK_RV derive_finish(struct session *session, struct handle secret, struct room *out)
{
    CK_RV rv = session_get_value(session, secret, CKA_VALUE, out);

    if (rv != CKR_OK)
        return rv; /* the session is closed, and the object with it */
    return session_destroy(session, secret);
}

/* The secret is a session object for as long as it takes to read it. */
static CK_RV derive(struct session *session, struct handle handle, void *arg)
{
    struct operation *operation = arg;
    struct handle secret;
    CK_RV rv =
        derive_begin(session, handle, &operation->mechanism.ck, operation->out.size, &secret);

    return rv == CKR_OK ? derive_finish(session, secret, &operation->out) : rv;
}

/* The peer's point: as it is, which every token takes (PKCS#11 v3.1 §6.3.16). Where it could be
 * read as an OCTET STRING, since 04 begins both and the next byte happens to be the length, it goes
 * as one: SoftHSM 2.6 takes the bare point for that, one time in 256 on some curves. */
struct view derive_public_data(struct view point, uint8_t *der, size_t size)
{
    struct view rest = point, content;
    struct der_writer writer = der_begin(der, size);
    size_t len;

    if (!der_read(&rest, DER_OCTET_STRING, &content) || rest.len != 0)
        return point;
    der_value(&writer, DER_OCTET_STRING, point);
    len = der_done(&writer);
    return len != 0 ? (struct view){ der, len } : point;
}

/* RFC 7748 §6: a peer's point of small order makes the secret zero, whatever the key. No branch on
 * the secret but this one, which both sides and whoever chose the point know the answer of. */
static bool secret_is_zero(const struct key *key, const uint8_t *secret, size_t len)
{
    uint8_t any = 0;

    if (key->type != KEY_X25519 && key->type != KEY_X448)
        return false;
    for (size_t i = 0; i < len; i++)
        any |= secret[i];
    return any == 0;
}

static bool small_order(const struct key *key)
{
    error_raise(&key->provider->core, REASON_OPERATION,
                "the peer's public key is of small order: the secret would be zero");
    return false;
}

/* What the token derived, if it is worth something. */
static bool secret_finish(const struct operation *operation, uint8_t *out, size_t *len)
{
    const struct key *key = operation->key;

    *len = operation->out.len;
    if (secret_is_zero(key, operation->out.data, *len))
        return small_order(key);
    memcpy(out, operation->out.data, *len);
    return true;
}

/* SEC 1 §3.2.2: what a token makes of a point that is on another curve tells of its key, and not
 * every token looks. The caller may have told libcrypto not to look either. */
static bool peer_is_fit(const struct key *key, struct key *peer)
{
    bool fit = key_on_curve(peer);

    if (!fit)
        error_raise(&key->provider->core, REASON_KEY,
                    "cannot derive: the peer's public key is not a point of the curve, or no other "
                    "provider has the curve");
    return fit;
}

/* Where the cofactor is 1, both mechanisms derive the same; few tokens have the second. */
static CK_MECHANISM_TYPE mechanism_type(const struct key *key)
{
    return !object_allows(key->object, CKM_ECDH1_DERIVE) &&
                   object_allows(key->object, CKM_ECDH1_COFACTOR_DERIVE)
               ? CKM_ECDH1_COFACTOR_DERIVE
               : CKM_ECDH1_DERIVE;
}

static void mechanism_make(struct derive_mechanism *mechanism, CK_MECHANISM_TYPE type,
                           struct view point)
{
    mechanism->params = (CK_ECDH1_DERIVE_PARAMS){ .kdf = CKD_NULL,
                                                  .pPublicData = ck_input(point.data),
                                                  .ulPublicDataLen = point.len };
    mechanism->ck = (CK_MECHANISM){ type, &mechanism->params, sizeof(mechanism->params) };
}

static bool may(const struct key *key, struct key *peer, CK_MECHANISM_TYPE type)
{
    return key_permits(key, key->object->may_derive, "CKA_DERIVE", "derive", type) &&
           peer_is_fit(key, peer);
}

static const struct operation_kind derivation = { "derive", derive };

bool key_derive(struct key *key, struct key *peer, uint8_t *out, size_t *len)
{
    struct operation_place place;
    _cleanup_(operation_end) struct operation *operation = NULL;
    const struct view nothing = { NULL, 0 };
    const CK_MECHANISM_TYPE type = mechanism_type(key);
    uint8_t der[EC_POINT_MAX + 4];
    CK_RV rv;

    if (!may(key, peer, type))
        return false;
    operation = operation_begin(&place, key, nothing,
                                derive_public_data(view_bytes(&peer->point), der, sizeof(der)),
                                curve_field_bytes(key->curve));
    if (operation == NULL)
        return false;
    operation->out.exact = true;
    mechanism_make(&operation->mechanism.derive, type, operation->extra);
    rv = operation_run(operation, &derivation);
    if (rv != CKR_OK)
        return key_failed(key, "derive", type, rv);
    return secret_finish(operation, out, len);
}

/* Tokens keep the end of a secret that is too long for a key (PKCS#11 v3.1 §6.3.17), libcrypto its
 * beginning: there is a key of all of it, or none. */
static bool is_whole(const struct key *key, size_t len)
{
    const size_t whole = curve_field_bytes(key->curve);

    if (len != whole)
        error_raise(&key->provider->core, REASON_PARAMETER,
                    "cannot derive a key of %zu bytes: the secret has %zu, and there is a key of "
                    "all of it, or of what HKDF makes of that",
                    len, whole);
    return len == whole;
}

/* Of a secret that stays on the token nobody sees that it is zero. It is for any key of the curve,
 * or for none: one on the host tells. */
static bool is_never_zero(const struct key *key, struct key *peer)
{
    return (key->type != KEY_X25519 && key->type != KEY_X448) || software_agrees(peer) ||
           small_order(key);
}

struct key *key_derive_key(struct key *key, struct key *peer, const struct secret_kind *kind,
                           size_t len)
{
    struct derive_mechanism mechanism;
    uint8_t der[EC_POINT_MAX + 4];
    const CK_MECHANISM_TYPE type = mechanism_type(key);
    const struct secret_order order = {
        .provider = key->provider, .kind = kind, .len = len, .base = key, .derive = &mechanism.ck
    };

    if (!is_whole(key, len) || !may(key, peer, type) || !is_never_zero(key, peer))
        return NULL;
    mechanism_make(&mechanism, type,
                   derive_public_data(view_bytes(&peer->point), der, sizeof(der)));
    return secret_key_make(&order);
}
