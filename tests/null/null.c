/* A PKCS#11 module that does nothing, at once: two tokens (soft and other, any PIN) with two keys
 * each, one of P-256 (p256) and one of RSA (rsa2048): its signatures, and decrypted blocks, are
 * all the same. What is counted with it is the provider's own work. */
#include <stdatomic.h>
#include <string.h>

#define CRYPTOKI_GNU
#include <p11-kit/pkcs11.h>

#define EXPORT __attribute__((visibility("default")))

#define PRIVATE     1
#define PUBLIC      2
#define RSA_PRIVATE 3
#define RSA_PUBLIC  4

static const char *const labels[] = { "soft", "other" };

#define TOKENS (sizeof(labels) / sizeof(labels[0]))

static const unsigned char p256[] = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 };

/* The generator of P-256: the public key of the private key 1. */
static const unsigned char point[] = {
    0x04, 0x41, 0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6,
    0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4,
    0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f,
    0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b,
    0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
};

#define MODULUS 256

/* An odd number of 2048 bits. */
static const unsigned char *modulus(void)
{
    static unsigned char n[MODULUS];

    memset(n, 0xc5, sizeof(n));
    return n;
}

static ck_rv_t initialize(void *args)
{
    (void)args;
    return CKR_OK;
}

static ck_rv_t get_slot_list(unsigned char present, ck_slot_id_t *slots, unsigned long *count)
{
    (void)present;
    for (ck_slot_id_t slot = 0; slots != NULL && slot < TOKENS && slot < *count; slot++)
        slots[slot] = slot;
    *count = TOKENS;
    return CKR_OK;
}

static ck_rv_t get_slot_info(ck_slot_id_t slot, struct ck_slot_info *info)
{
    (void)slot;
    memset(info, ' ', sizeof(*info));
    info->flags = CKF_TOKEN_PRESENT | CKF_HW_SLOT;
    return CKR_OK;
}

static ck_rv_t get_token_info(ck_slot_id_t slot, struct ck_token_info *info)
{
    memset(info, 0, sizeof(*info));
    memset(info->label, ' ', sizeof(info->label));
    memcpy(info->label, labels[slot], strlen(labels[slot]));
    memset(info->manufacturer_id, ' ', sizeof(info->manufacturer_id));
    memset(info->model, ' ', sizeof(info->model));
    memset(info->serial_number, ' ', sizeof(info->serial_number));
    info->flags = CKF_TOKEN_INITIALIZED | CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED;
    return CKR_OK;
}

static ck_rv_t open_session(ck_slot_id_t slot, ck_flags_t flags, void *application,
                            ck_notify_t notify, ck_session_handle_t *session)
{
    static atomic_ulong sessions;

    (void)slot;
    (void)flags;
    (void)application;
    (void)notify;
    *session = atomic_fetch_add(&sessions, 1) + 1;
    return CKR_OK;
}

static ck_rv_t close_session(ck_session_handle_t session)
{
    (void)session;
    return CKR_OK;
}

static ck_rv_t get_session_info(ck_session_handle_t session, struct ck_session_info *info)
{
    (void)session;
    memset(info, 0, sizeof(*info));
    info->state = CKS_RO_USER_FUNCTIONS;
    info->flags = CKF_SERIAL_SESSION;
    return CKR_OK;
}

static ck_rv_t login(ck_session_handle_t session, ck_user_type_t user, unsigned char *pin,
                     unsigned long len)
{
    (void)session;
    (void)user;
    (void)pin;
    (void)len;
    return CKR_OK;
}

static _Thread_local unsigned long found, last; /* by the search under way, and to be found */

static ck_rv_t find_init(ck_session_handle_t session, struct ck_attribute *template,
                         unsigned long count)
{
    (void)session;
    found = 0;
    last = PUBLIC;
    for (unsigned long i = 0; i < count; i++)
        if (template[i].type == CKA_LABEL && template[i].value_len == 7) {
            found = PUBLIC;
            last = RSA_PUBLIC;
        }
    return CKR_OK;
}

static ck_rv_t find(ck_session_handle_t session, ck_object_handle_t *objects, unsigned long most,
                    unsigned long *count)
{
    (void)session;
    for (*count = 0; *count < most && found < last; (*count)++)
        objects[*count] = ++found;
    return CKR_OK;
}

static ck_rv_t find_final(ck_session_handle_t session)
{
    (void)session;
    return CKR_OK;
}

static ck_rv_t give(struct ck_attribute *attribute, const void *value, unsigned long len)
{
    ck_rv_t rv = attribute->value_len >= len ? CKR_OK : CKR_BUFFER_TOO_SMALL;

    if (rv == CKR_OK)
        memcpy(attribute->value, value, len);
    attribute->value_len = len;
    return rv;
}

static ck_rv_t get_attributes(ck_session_handle_t session, ck_object_handle_t object,
                              struct ck_attribute *template, unsigned long count)
{
    const ck_object_class_t class =
        object == PRIVATE || object == RSA_PRIVATE ? CKO_PRIVATE_KEY : CKO_PUBLIC_KEY;
    const int rsa = object >= RSA_PRIVATE;
    const ck_key_type_t type = rsa ? CKK_RSA : CKK_EC;
    const char *name = rsa ? "rsa2048" : "p256";
    ck_rv_t rv = CKR_OK;

    (void)session;
    for (unsigned long i = 0; i < count; i++)
        switch (template[i].type) {
        case CKA_CLASS:
            rv = give(&template[i], &class, sizeof(class));
            break;
        case CKA_KEY_TYPE:
            rv = give(&template[i], &type, sizeof(type));
            break;
        case CKA_ID:
        case CKA_LABEL:
            rv = give(&template[i], name, strlen(name));
            break;
        case CKA_MODULUS:
        case CKA_PUBLIC_EXPONENT:
            if (rsa) {
                rv = template[i].type == CKA_MODULUS ? give(&template[i], modulus(), MODULUS)
                                                     : give(&template[i], "\1\0\1", 3);
                break;
            }
            template[i].value_len = (unsigned long)-1;
            rv = CKR_ATTRIBUTE_TYPE_INVALID;
            break;
        case CKA_EC_PARAMS:
            if (!rsa) {
                rv = give(&template[i], p256, sizeof(p256));
                break;
            }
            template[i].value_len = (unsigned long)-1;
            rv = CKR_ATTRIBUTE_TYPE_INVALID;
            break;
        case CKA_EC_POINT:
            if (object == PUBLIC) {
                rv = give(&template[i], point, sizeof(point));
                break;
            }
            /* fall through */
        default:
            template[i].value_len = (unsigned long)-1;
            rv = CKR_ATTRIBUTE_TYPE_INVALID;
        }
    return rv;
}

static _Thread_local unsigned long signature_len; /* of the operation under way */

static ck_rv_t sign_init(ck_session_handle_t session, struct ck_mechanism *mechanism,
                         ck_object_handle_t key)
{
    (void)session;
    (void)mechanism;
    signature_len = key == RSA_PRIVATE ? MODULUS : 64;
    return CKR_OK;
}

static ck_rv_t sign(ck_session_handle_t session, unsigned char *data, unsigned long data_len,
                    unsigned char *signature, unsigned long *len)
{
    (void)session;
    (void)data;
    (void)data_len;
    memset(signature, 0x55, signature_len);
    *len = signature_len;
    return CKR_OK;
}

static ck_rv_t decrypt(ck_session_handle_t session, unsigned char *data, unsigned long data_len,
                       unsigned char *out, unsigned long *len)
{
    (void)session;
    (void)data;
    (void)data_len;
    memset(out, 0x55, MODULUS);
    out[0] = 0;
    out[1] = 2;
    out[MODULUS - 33] = 0;
    *len = MODULUS;
    return CKR_OK;
}

static ck_rv_t get_mechanism_info(ck_slot_id_t slot, ck_mechanism_type_t type,
                                  struct ck_mechanism_info *info)
{
    (void)slot;
    *info = (struct ck_mechanism_info){ .flags = type == CKM_ECDSA ? CKF_SIGN : CKF_DECRYPT };
    return type == CKM_ECDSA || type == CKM_RSA_X_509 ? CKR_OK : CKR_MECHANISM_INVALID;
}

static struct ck_function_list functions = {
    .version = { 2, 40 },
    .C_Initialize = initialize,
    .C_Finalize = initialize,
    .C_GetSlotList = get_slot_list,
    .C_GetSlotInfo = get_slot_info,
    .C_GetTokenInfo = get_token_info,
    .C_GetMechanismInfo = get_mechanism_info,
    .C_OpenSession = open_session,
    .C_CloseSession = close_session,
    .C_GetSessionInfo = get_session_info,
    .C_Login = login,
    .C_FindObjectsInit = find_init,
    .C_FindObjects = find,
    .C_FindObjectsFinal = find_final,
    .C_GetAttributeValue = get_attributes,
    .C_SignInit = sign_init,
    .C_Sign = sign,
    .C_DecryptInit = sign_init,
    .C_Decrypt = decrypt,
};

EXPORT ck_rv_t C_GetFunctionList(struct ck_function_list **list)
{
    *list = &functions;
    return CKR_OK;
}
