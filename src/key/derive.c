#include <openssl/crypto.h>

#include "key/key.h"
#include "scope.h"
#include "token/call.h"
#include "token/run.h"

struct derive_task {
    CK_MECHANISM mechanism;
    uint8_t *out;
    CK_ULONG out_size, out_len;
};

/* The secret is a session object for as long as it takes to read it. */
static CK_RV derive(struct session *session, CK_OBJECT_HANDLE handle, void *arg)
{
    struct derive_task *task = arg;
    struct module *module = session->slot->module;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE template[] = {
        { CKA_CLASS, &class, sizeof(class) },
        { CKA_KEY_TYPE, &type, sizeof(type) },
        { CKA_TOKEN, &no, sizeof(no) },
        { CKA_SENSITIVE, &no, sizeof(no) },
        { CKA_EXTRACTABLE, &yes, sizeof(yes) },
        { CKA_VALUE_LEN, &task->out_size, sizeof(task->out_size) },
    };
    CK_ATTRIBUTE value = { CKA_VALUE, task->out, task->out_size };
    CK_OBJECT_HANDLE secret = CK_INVALID_HANDLE;
    CK_RV rv = P11_CALL(module, C_DeriveKey, session->handle, &task->mechanism, handle, template,
                        COUNT(template), &secret);

    if (rv != CKR_OK)
        return rv;
    rv = P11_CALL(module, C_GetAttributeValue, session->handle, secret, &value, 1);
    task->out_len = value.ulValueLen;
    if (rv != CKR_OK)
        return rv; /* the session is closed, and the object with it */
    return P11_CALL(module, C_DestroyObject, session->handle, secret);
}

/* The peer's point: as it is, which every token takes (PKCS#11 v3.1 §6.3.16). Where it could be
 * read as an OCTET STRING, since 04 begins both and the next byte happens to be the length, it goes
 * as one: SoftHSM 2.6 takes the bare point for that, one time in 256 on some curves. */
static struct view public_data(const struct key *peer, uint8_t *der, size_t size)
{
    struct view point = view_bytes(&peer->point), rest = point, content;
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

bool key_derive(struct key *key, const struct key *peer, bool cofactor, uint8_t *out, size_t *len)
{
    struct pin_source pins = key_pins(key);
    uint8_t der[EC_POINT_MAX + 4];
    struct view data = public_data(peer, der, sizeof(der));
    CK_ECDH1_DERIVE_PARAMS params = { .kdf = CKD_NULL,
                                      .pPublicData = ck_input(data.data),
                                      .ulPublicDataLen = data.len };
    struct derive_task task = {
        .mechanism = { cofactor ? CKM_ECDH1_COFACTOR_DERIVE : CKM_ECDH1_DERIVE, &params,
                       sizeof(params) },
        .out = out,
        .out_size = curve_field_bytes(key->curve),
    };
    CK_RV rv;

    if (!key_permits(key, key->object->may_derive, "CKA_DERIVE", "derive",
                     task.mechanism.mechanism))
        return false;
    rv = run_on_object(key->object, &pins, derive, &task);
    if (rv != CKR_OK)
        return key_failed(key, "derive", task.mechanism.mechanism, rv);
    *len = task.out_len;
    if (*len == task.out_size && secret_is_zero(key, out, *len)) {
        error_raise(&key->provider->core, REASON_OPERATION,
                    "the peer's public key is of small order: the secret would be zero");
        return false;
    }
    if (*len == task.out_size)
        return true;
    error_raise(&key->provider->core, REASON_OPERATION,
                "the token derived a secret of %zu bytes, where the curve has %lu", *len,
                (unsigned long)task.out_size);
    return false;
}
