#include "token.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "material.h"

#define CKA_PUBLIC_KEY_INFO_  0x129UL /* newer than p11-kit's name for it */
#define CKK_EC_EDWARDS_       0x40UL
#define CKK_EC_MONTGOMERY_    0x41UL
#define CKK_ML_KEM_           0x49UL
#define CKK_ML_DSA_           0x4aUL
#define CKM_ML_KEM_PAIR_GEN_  0xfUL
#define CKM_ML_KEM_           0x17UL
#define CKM_ML_DSA_PAIR_GEN_  0x1cUL
#define CKM_ML_DSA_           0x1dUL
#define CKM_HKDF_DERIVE_      0x402aUL
#define CKM_KEY_WRAP_         0x2109UL
#define CKM_KEY_WRAP_KWP_     0x210bUL
#define CKM_RSA_AES_KEY_WRAP_ 0x1054UL
#define CKA_PARAMETER_SET_    0x61dUL
#define CKA_DECAPSULATE_      0x634UL
#define ML_DSA_PUBLIC         1312 /* ML-DSA-44, */
#define ML_DSA_SIGNATURE      2420
#define ML_KEM_PUBLIC         800 /* ML-KEM-512 */
#define ML_KEM_CIPHERTEXT     768

#define SLOTS     2
#define SESSIONS  64
#define OBJECTS   64
#define NAME_SIZE 64

/* Calls of one input; the device is dead then, so that no search goes on for ever. */
#define CALLS_MOST 4000

enum material { EC, TWIN, RSA, ED25519, X25519, SECRET, AES, ML_DSA, ML_KEM, MATERIALS };

struct object {
    ck_object_class_t class;
    enum material material;
    ck_slot_id_t slot;
    unsigned char id[NAME_SIZE], label[NAME_SIZE];
    unsigned long id_len, label_len;
    bool for_all; /* made with CKA_PRIVATE off, or before anybody had logged in */
};

struct session {
    bool open;
    ck_slot_id_t slot;
    bool found[OBJECTS]; /* and not given yet */
    ck_mechanism_type_t mechanism;
    enum material material;
};

/* Under the lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    unsigned features;
    void (*call_back)(void);
    bool initialized, logged_in;
    unsigned long removed; /* calls for which there is no token */
    unsigned long shift;   /* of handles */
    unsigned identity;     /* exchanged so often */
    unsigned calls;
    struct session sessions[SESSIONS];
    struct object objects[OBJECTS];
    unsigned object_count;
} token;

static unsigned generation; /* of serial numbers */
static bool pin_refused;

static void add(ck_object_class_t class, enum material material, ck_slot_id_t slot, const char *id,
                const char *label)
{
    struct object *object = &token.objects[token.object_count++];

    *object = (struct object){ .class = class, .material = material, .slot = slot };
    object->id_len = strlen(id);
    object->label_len = strlen(label);
    memcpy(object->id, id, object->id_len);
    memcpy(object->label, label, object->label_len);
}

static void add_pair(enum material material, ck_slot_id_t slot, const char *id, const char *label)
{
    add(CKO_PRIVATE_KEY, material, slot, id, label);
    if ((token.features & NO_PUBLIC_OBJECTS) == 0)
        add(CKO_PUBLIC_KEY, material, slot, id, label);
}

static void add_objects(void)
{
    add_pair(EC, 0, "\1", "ec");
    add_pair(RSA, 0, "\2", "rsa");
    add_pair(ED25519, 0, "\3", "ed");
    add_pair(X25519, 0, "\4", "x");
    add(CKO_CERTIFICATE, EC, 0, "\1", "ec");
    add(CKO_CERTIFICATE, RSA, 0, "\2", "rsa");
    add(CKO_SECRET_KEY, SECRET, 0, "\5", "secret");
    add(CKO_SECRET_KEY, AES, 0, "\7", "aes");
    if (token.features & TWINS) {
        add_pair(EC, 0, "\6", "twin");
        add_pair(TWIN, 0, "\6", "twin");
    }
    if (token.features & TWO_TOKENS)
        add_pair(EC, 1, "\1", "ec");
    if (token.features & NEWER) {
        add_pair(ML_DSA, 0, "\10", "dsa");
        add_pair(ML_KEM, 0, "\11", "kem");
    }
}

/* Another one where a PIN was refused: the provider does not show that a second time in a
 * process. */
static const char *serial_now(void)
{
    static char serial[17];

    (void)snprintf(serial, sizeof(serial), "%08u", generation);
    return serial;
}

static void drop_sessions(void)
{
    memset(token.sessions, 0, sizeof(token.sessions));
    token.logged_in = false;
}

static void before(const struct lie *lie)
{
    switch (lie->kind) {
    case EXCHANGE:
        token.identity += 1 + lie->arg % 4;
        if (lie->arg & 0x10)
            drop_sessions();
        if (lie->arg & 0x20)
            token.shift += 1;
        break;
    case REMOVE:
        token.removed = 1 + lie->arg;
        drop_sessions();
        break;
    case DROP:
        drop_sessions();
        break;
    case LOGOUT:
        token.logged_in = false;
        break;
    case FINALIZED:
        token.initialized = false;
        drop_sessions();
        break;
    case RENUMBER:
        token.shift += lie->arg;
        break;
    default:
        break;
    }
}

/* Every function begins with this: the lie's doings, and whether there is anything left to do. The
 * lock is held where there is; else the function returns *rv. */
static bool enter(enum function function, ck_rv_t *rv)
{
    const struct lie *lie = lie_begin(function);

    if (lie->kind == CALL_BACK)
        token.call_back();
    if (lie_answers(rv)) {
        pin_refused = pin_refused || function == INDEX_C_Login;
        return false;
    }
    (void)pthread_mutex_lock(&lock);
    before(lie);
    *rv = CKR_OK;
    if (function != INDEX_C_Initialize && !token.initialized)
        *rv = CKR_CRYPTOKI_NOT_INITIALIZED;
    else if (++token.calls > CALLS_MOST)
        *rv = CKR_DEVICE_ERROR;
    if (*rv != CKR_OK)
        (void)pthread_mutex_unlock(&lock);
    return *rv == CKR_OK;
}

static ck_rv_t leave(ck_rv_t rv)
{
    (void)pthread_mutex_unlock(&lock);
    return lie_answer(rv);
}

#define ENTER(name)                                                                                \
    do {                                                                                           \
        ck_rv_t entered_;                                                                          \
        if (!enter(INDEX_##name, &entered_))                                                       \
            return entered_;                                                                       \
    } while (0)

static bool present(ck_slot_id_t slot)
{
    if (token.removed != 0) {
        token.removed--;
        return false;
    }
    return slot == 0 || (slot == 1 && (token.features & TWO_TOKENS) != 0);
}

static struct session *session_of(ck_session_handle_t handle)
{
    struct session *session =
        handle >= 1 && handle <= SESSIONS ? &token.sessions[handle - 1] : NULL;

    return session != NULL && session->open ? session : NULL;
}

static unsigned long handle_of(const struct object *object)
{
    return (unsigned long)(object - token.objects) + 1 + token.shift;
}

static struct object *object_of(ck_object_handle_t handle)
{
    unsigned long index = handle - 1 - token.shift;
    struct object *object = index < token.object_count ? &token.objects[index] : NULL;

    return object != NULL && object->class != ~0UL ? object : NULL;
}

static bool is_private(const struct object *object)
{
    return (object->class == CKO_PRIVATE_KEY || object->class == CKO_SECRET_KEY) &&
           !object->for_all && (token.features & NO_LOGIN) == 0;
}

static bool visible(const struct object *object, const struct session *session)
{
    return object->class != ~0UL && object->slot == session->slot &&
           (token.logged_in || !is_private(object));
}

/* What is called by a session, and by an object of its token. */
#define SESSION(name, handle)                                                                      \
    struct session *session;                                                                       \
    ENTER(name);                                                                                   \
    session = session_of(handle);                                                                  \
    if (session == NULL)                                                                           \
    return leave(CKR_SESSION_HANDLE_INVALID)

#define OBJECT(handle)                                                                             \
    struct object *object = object_of(handle);                                                     \
    if (object == NULL || !visible(object, session))                                               \
    return leave(CKR_OBJECT_HANDLE_INVALID)

static ck_rv_t token_C_Initialize(void *args)
{
    const struct ck_c_initialize_args *how = args;

    ENTER(C_Initialize);
    if (token.initialized)
        return leave(CKR_CRYPTOKI_ALREADY_INITIALIZED);
    if ((token.features & CANNOT_LOCK) != 0 && how != NULL && (how->flags & CKF_OS_LOCKING_OK) != 0)
        return leave(CKR_CANT_LOCK);
    token.initialized = true;
    return leave(CKR_OK);
}

static ck_rv_t token_C_Finalize(void *reserved)
{
    (void)reserved;
    ENTER(C_Finalize);
    token.initialized = false;
    drop_sessions();
    return leave(CKR_OK);
}

static void text(unsigned char *out, size_t size, const char *value)
{
    size_t len = strlen(value);

    memset(out, ' ', size);
    memcpy(out, value, len < size ? len : size);
}

static ck_rv_t token_C_GetInfo(struct ck_info *info)
{
    ENTER(C_GetInfo);
    memset(info, 0, sizeof(*info));
    info->cryptoki_version = (struct ck_version){ 2, 40 };
    text(info->manufacturer_id, sizeof(info->manufacturer_id), "maker");
    text(info->library_description, sizeof(info->library_description), "library");
    lie_structure(info, sizeof(*info));
    return leave(CKR_OK);
}

static ck_rv_t token_C_GetSlotList(unsigned char with_token, ck_slot_id_t *list,
                                   unsigned long *count)
{
    ck_slot_id_t slots[SLOTS];
    unsigned long bytes = *count <= ~0UL / sizeof(*list) ? *count * sizeof(*list) : ~0UL, n = 0;
    ck_rv_t rv;

    (void)with_token;
    ENTER(C_GetSlotList);
    for (ck_slot_id_t slot = 0; slot < SLOTS; slot++)
        if (present(slot))
            slots[n++] = slot;
    rv = lie_bytes(0, list, &bytes, slots, n * sizeof(slots[0]));
    *count = lie_is(LENGTH) || lie_is(NOT_THERE) ? bytes : bytes / sizeof(*list);
    return leave(rv);
}

static ck_rv_t token_C_GetSlotInfo(ck_slot_id_t slot, struct ck_slot_info *info)
{
    ENTER(C_GetSlotInfo);
    if (slot >= SLOTS)
        return leave(CKR_SLOT_ID_INVALID);
    memset(info, 0, sizeof(*info));
    text(info->slot_description, sizeof(info->slot_description), "bay");
    text(info->manufacturer_id, sizeof(info->manufacturer_id), "maker");
    info->flags = lie_number(CKF_TOKEN_PRESENT | CKF_REMOVABLE_DEVICE);
    lie_structure(info, sizeof(*info));
    return leave(CKR_OK);
}

static ck_rv_t token_C_GetTokenInfo(ck_slot_id_t slot, struct ck_token_info *info)
{
    char serial[17];

    ENTER(C_GetTokenInfo);
    if (!present(slot))
        return leave(slot < SLOTS ? CKR_TOKEN_NOT_PRESENT : CKR_SLOT_ID_INVALID);
    memset(info, 0, sizeof(*info));
    (void)snprintf(serial, sizeof(serial), "%s%c%u", serial_now(), slot == 0 ? 'a' : 'b',
                   token.identity % 1000);
    text(info->label, sizeof(info->label), slot == 1 || token.identity % 3 == 1 ? "other" : "soft");
    text(info->manufacturer_id, sizeof(info->manufacturer_id), "maker");
    text(info->model, sizeof(info->model), "model");
    text(info->serial_number, sizeof(info->serial_number),
         token.identity % 4 == 2 ? serial_now() : serial);
    info->flags = CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED | CKF_RNG;
    if ((token.features & NO_LOGIN) == 0)
        info->flags |= CKF_LOGIN_REQUIRED;
    info->flags = lie_number(info->flags);
    info->max_session_count = info->max_rw_session_count = SESSIONS;
    info->max_pin_len = 255;
    lie_structure(info, sizeof(*info));
    return leave(CKR_OK);
}

static const struct {
    ck_mechanism_type_t type;
    ck_flags_t flags;
} mechanisms[] = {
    { CKM_RSA_X_509, CKF_SIGN | CKF_DECRYPT | CKF_VERIFY | CKF_ENCRYPT },
    { CKM_RSA_PKCS, CKF_SIGN | CKF_DECRYPT | CKF_VERIFY | CKF_ENCRYPT },
    { CKM_RSA_PKCS_OAEP, CKF_DECRYPT | CKF_ENCRYPT | CKF_WRAP | CKF_UNWRAP },
    { CKM_RSA_AES_KEY_WRAP_, CKF_WRAP | CKF_UNWRAP },
    { CKM_RSA_PKCS_PSS, CKF_SIGN | CKF_VERIFY },
    { CKM_SHA256_RSA_PKCS, CKF_SIGN | CKF_VERIFY },
    { CKM_SHA256_RSA_PKCS_PSS, CKF_SIGN | CKF_VERIFY },
    { CKM_RSA_PKCS_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR },
    { CKM_ECDSA, CKF_SIGN | CKF_VERIFY },
    { CKM_ECDSA_SHA1 + 2, CKF_SIGN | CKF_VERIFY }, /* SHA-256 */
    { CKM_ECDH1_DERIVE, CKF_DERIVE },
    { CKM_ECDSA_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR },
    { 0x1055, CKF_GENERATE_KEY_PAIR }, /* EC_EDWARDS_KEY_PAIR_GEN */
    { 0x1056, CKF_GENERATE_KEY_PAIR }, /* EC_MONTGOMERY_KEY_PAIR_GEN */
    { 0x1057, CKF_SIGN | CKF_VERIFY }, /* EDDSA */
    { CKM_ML_DSA_PAIR_GEN_, CKF_GENERATE_KEY_PAIR },
    { CKM_ML_DSA_, CKF_SIGN | CKF_VERIFY },
    { CKM_ML_KEM_PAIR_GEN_, CKF_GENERATE_KEY_PAIR },
    { CKM_ML_KEM_, 0x30000000UL }, /* CKF_ENCAPSULATE, CKF_DECAPSULATE */
    { CKM_AES_KEY_GEN, CKF_GENERATE },
    { CKM_GENERIC_SECRET_KEY_GEN, CKF_GENERATE },
    { CKM_AES_ECB, CKF_ENCRYPT | CKF_DECRYPT },
    { CKM_AES_CBC, CKF_ENCRYPT | CKF_DECRYPT },
    { CKM_AES_CTR, CKF_ENCRYPT | CKF_DECRYPT },
    { 0x1089, CKF_ENCRYPT | CKF_DECRYPT }, /* AES_CTS */
    { 0x2104, CKF_ENCRYPT | CKF_DECRYPT }, /* AES_OFB */
    { 0x2107, CKF_ENCRYPT | CKF_DECRYPT }, /* AES_CFB128 */
    { CKM_KEY_WRAP_, CKF_ENCRYPT | CKF_DECRYPT },
    { CKM_KEY_WRAP_KWP_, CKF_ENCRYPT | CKF_DECRYPT | CKF_WRAP | CKF_UNWRAP },
    { CKM_AES_GCM, CKF_ENCRYPT | CKF_DECRYPT },
    { CKM_AES_CCM, CKF_ENCRYPT | CKF_DECRYPT },
    { CKM_AES_CMAC, CKF_SIGN | CKF_VERIFY },
    { CKM_SHA256_HMAC, CKF_SIGN | CKF_VERIFY },
    { CKM_HKDF_DERIVE_, CKF_DERIVE },
};

static bool mechanism_lacked(ck_mechanism_type_t type)
{
    for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++)
        if (mechanisms[i].type == type)
            return (type == CKM_RSA_X_509 || type == CKM_RSA_AES_KEY_WRAP_) &&
                   (token.features & NO_RAW_RSA) != 0;
    return true;
}

static ck_rv_t token_C_GetMechanismInfo(ck_slot_id_t slot, ck_mechanism_type_t type,
                                        struct ck_mechanism_info *info)
{
    ENTER(C_GetMechanismInfo);
    if (!present(slot) || mechanism_lacked(type))
        return leave(CKR_MECHANISM_INVALID);
    memset(info, 0, sizeof(*info));
    for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++)
        if (mechanisms[i].type == type)
            info->flags = lie_number(mechanisms[i].flags);
    info->min_key_size = 1;
    info->max_key_size = 4096;
    lie_structure(info, sizeof(*info));
    return leave(CKR_OK);
}

static ck_rv_t token_C_GetMechanismList(ck_slot_id_t slot, ck_mechanism_type_t *list,
                                        unsigned long *count)
{
    ck_mechanism_type_t types[sizeof(mechanisms) / sizeof(mechanisms[0])];
    unsigned long bytes = *count * sizeof(*list);
    ck_rv_t rv;

    ENTER(C_GetMechanismList);
    if (!present(slot))
        return leave(CKR_TOKEN_NOT_PRESENT);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        types[i] = mechanisms[i].type;
    rv = lie_bytes(0, list, &bytes, types, sizeof(types));
    *count = lie_is(LENGTH) || lie_is(NOT_THERE) ? bytes : bytes / sizeof(*list);
    return leave(rv);
}

static ck_rv_t token_C_OpenSession(ck_slot_id_t slot, ck_flags_t flags, void *application,
                                   ck_notify_t notify, ck_session_handle_t *handle)
{
    (void)flags;
    (void)application;
    (void)notify;
    ENTER(C_OpenSession);
    if (!present(slot))
        return leave(CKR_TOKEN_NOT_PRESENT);
    for (unsigned long i = 0; i < SESSIONS; i++)
        if (!token.sessions[i].open) {
            token.sessions[i] = (struct session){ .open = true, .slot = slot };
            *handle = lie_number(i + 1);
            return leave(CKR_OK);
        }
    return leave(CKR_SESSION_COUNT);
}

static ck_rv_t token_C_CloseSession(ck_session_handle_t handle)
{
    SESSION(C_CloseSession, handle);
    session->open = false;
    return leave(CKR_OK);
}

static ck_rv_t token_C_CloseAllSessions(ck_slot_id_t slot)
{
    (void)slot;
    ENTER(C_CloseAllSessions);
    drop_sessions();
    return leave(CKR_OK);
}

static ck_rv_t token_C_GetSessionInfo(ck_session_handle_t handle, struct ck_session_info *info)
{
    SESSION(C_GetSessionInfo, handle);
    *info = (struct ck_session_info){ .slot_id = lie_number(session->slot),
                                      .state = token.logged_in ? CKS_RW_USER_FUNCTIONS
                                                               : CKS_RW_PUBLIC_SESSION,
                                      .flags = CKF_SERIAL_SESSION | CKF_RW_SESSION };
    lie_structure(info, sizeof(*info));
    return leave(CKR_OK);
}

static ck_rv_t token_C_Login(ck_session_handle_t handle, ck_user_type_t user, unsigned char *pin,
                             unsigned long len)
{
    SESSION(C_Login, handle);
    (void)user;
    (void)pin;
    (void)len;
    if (token.logged_in && user != CKU_CONTEXT_SPECIFIC)
        return leave(CKR_USER_ALREADY_LOGGED_IN);
    token.logged_in = true;
    pin_refused = pin_refused || lie_is(ANSWER_AFTER);
    return leave(CKR_OK);
}

static ck_rv_t token_C_Logout(ck_session_handle_t handle)
{
    SESSION(C_Logout, handle);
    token.logged_in = false;
    return leave(CKR_OK);
}

/* The public key of the material as it is encoded in a certificate. */
static const unsigned char *point_of(enum material material, size_t *len)
{
    *len = material == EC || material == TWIN ? 65 : 32;
    switch (material) {
    case EC:
        return ec_key + sizeof(ec_key) - 65;
    case TWIN:
        return twin_key + sizeof(twin_key) - 65;
    case ED25519:
        return ed25519;
    default:
        return x25519;
    }
}

struct value {
    unsigned char data[ML_DSA_PUBLIC];
    unsigned long len;
};

static bool value_set(struct value *value, const void *data, size_t len)
{
    memcpy(value->data, data, len);
    value->len = len;
    return true;
}

static bool value_bool(struct value *value, bool yes)
{
    return value_set(value, &(unsigned char){ yes }, 1);
}

static bool value_number(struct value *value, unsigned long number)
{
    return value_set(value, &number, sizeof(number));
}

static bool curve_value(enum material material, struct value *value)
{
    static const unsigned char oids[][10] = {
        [EC] = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 },
        [TWIN] = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 },
        [ED25519] = { 6, 3, 0x2b, 0x65, 0x70 },
        [X25519] = { 6, 3, 0x2b, 0x65, 0x6e },
        [MATERIALS] = { 0 }
    };

    return oids[material][0] != 0 && value_set(value, oids[material], oids[material][1] + 2u);
}

static bool point_value(enum material material, struct value *value)
{
    size_t len;
    const unsigned char *point = point_of(material, &len);

    value->data[0] = 4;
    value->data[1] = (unsigned char)len;
    memcpy(value->data + 2, point, len);
    value->len = len + 2;
    return true;
}

/* SubjectPublicKeyInfo of P-256 alone. */
static bool info_value(enum material material, struct value *value)
{
    static const unsigned char head[] = { 0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48,
                                          0xce, 0x3d, 2,    1,    6, 8, 0x2a, 0x86, 0x48,
                                          0xce, 0x3d, 3,    1,    7, 3, 0x42, 0 };
    size_t len;
    const unsigned char *point = point_of(material, &len);

    if (len != 65)
        return false;
    memcpy(value->data, head, sizeof(head));
    memcpy(value->data + sizeof(head), point, len);
    value->len = sizeof(head) + len;
    return true;
}

/* The name, for subject and issuer, and the serial number, as they stand in a certificate. */
struct certificate {
    struct value name, serial;
};

static void certificate_read(const unsigned char *der, size_t len, struct certificate *out)
{
    X509 *certificate = d2i_X509(NULL, &der, (long)len);
    unsigned char *name = out->name.data, *serial = out->serial.data;

    out->name.len = (unsigned long)i2d_X509_NAME(X509_get_subject_name(certificate), &name);
    out->serial.len = (unsigned long)i2d_ASN1_INTEGER(X509_get_serialNumber(certificate), &serial);
    X509_free(certificate);
}

static struct certificate certificates[2];

static void certificates_read(void)
{
    certificate_read(ec_certificate, sizeof(ec_certificate), &certificates[0]);
    certificate_read(rsa_certificate, sizeof(rsa_certificate), &certificates[1]);
}

static bool certificate_value(enum material material, ck_attribute_type_t type, struct value *value)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const struct certificate *certificate = &certificates[material != EC];

    (void)pthread_once(&once, certificates_read);
    if (type != CKA_VALUE)
        *value = type == CKA_SERIAL_NUMBER ? certificate->serial : certificate->name;
    else if (material == EC)
        return value_set(value, ec_certificate, sizeof(ec_certificate));
    else
        return value_set(value, rsa_certificate, sizeof(rsa_certificate));
    return true;
}

static ck_key_type_t key_type_of(enum material material)
{
    static const ck_key_type_t types[] = { [EC] = CKK_EC,
                                           [TWIN] = CKK_EC,
                                           [RSA] = CKK_RSA,
                                           [ED25519] = CKK_EC_EDWARDS_,
                                           [X25519] = CKK_EC_MONTGOMERY_,
                                           [SECRET] = CKK_GENERIC_SECRET,
                                           [AES] = CKK_AES,
                                           [ML_DSA] = CKK_ML_DSA_,
                                           [ML_KEM] = CKK_ML_KEM_ };

    return types[material];
}

static bool is_secret(enum material material)
{
    return material == SECRET || material == AES;
}

static bool is_set(enum material material)
{
    return material == ML_DSA || material == ML_KEM;
}

/* What only tokens with newer keys have. */
static bool newer_value(const struct object *object, ck_attribute_type_t type, struct value *value)
{
    enum material material = object->material;
    bool private = object->class == CKO_PRIVATE_KEY;

    switch (type) {
    case CKA_PARAMETER_SET_:
        return is_set(material) && value_number(value, 1);
    case CKA_DECAPSULATE_:
        return material == ML_KEM && private && value_bool(value, true);
    case CKA_VALUE:
        if (!is_set(material) || private)
            return false;
        value->len = material == ML_DSA ? ML_DSA_PUBLIC : ML_KEM_PUBLIC;
        memset(value->data, 0x11, value->len);
        return true;
    case CKA_VALUE_LEN:
        return is_secret(material) && value_number(value, material == AES ? 16 : 32);
    case CKA_EXTRACTABLE:
        return is_secret(material) && value_bool(value, true);
    case CKA_SENSITIVE:
        return is_secret(material) && value_bool(value, false);
    case CKA_CHECK_VALUE:
        return is_secret(material) && value_set(value, "\1\2\3", 3);
    case CKA_ENCRYPT:
        return material == AES && value_bool(value, true);
    default:
        return false;
    }
}

static bool key_value(const struct object *object, ck_attribute_type_t type, struct value *value)
{
    enum material material = object->material;
    bool private = object->class == CKO_PRIVATE_KEY;

    switch (type) {
    case CKA_KEY_TYPE:
        return value_number(value, key_type_of(material));
    case CKA_MODULUS:
        return material == RSA && value_set(value, modulus, sizeof(modulus));
    case CKA_PUBLIC_EXPONENT:
        return material == RSA && value_set(value, "\1\0\1", 3);
    case CKA_EC_PARAMS:
        return material != RSA && curve_value(material, value);
    case CKA_EC_POINT:
        return !private && material != RSA && material < SECRET && point_value(material, value);
    case CKA_PUBLIC_KEY_INFO_:
        return (token.features & PUBLIC_KEY_INFO) != 0 && material < SECRET &&
               info_value(material, value);
    case CKA_ALWAYS_AUTHENTICATE:
        return value_bool(value, private && (token.features & ALWAYS_AUTHENTICATE) != 0);
    case CKA_SIGN:
        return value_bool(value, is_secret(material) || (private && material != X25519));
    case CKA_DECRYPT:
        return value_bool(value, material == AES || (private && material == RSA));
    case CKA_DERIVE:
        return value_bool(value, material == SECRET ||
                                     (private && material != RSA && material != ED25519));
    case CKA_VALUE:
        if (is_secret(material))
            return value_set(value, ed25519, material == AES ? 16 : sizeof(ed25519));
        break;
    default:
        break;
    }
    return newer_value(object, type, value);
}

static bool value_of(const struct object *object, ck_attribute_type_t type, struct value *value)
{
    switch (type) {
    case CKA_CLASS:
        return value_number(value, object->class);
    case CKA_ID:
        return value_set(value, object->id, object->id_len);
    case CKA_LABEL:
        return value_set(value, object->label, object->label_len);
    case CKA_TOKEN:
        return value_bool(value, true);
    case CKA_PRIVATE:
        return value_bool(value, is_private(object));
    case CKA_VALUE:
    case CKA_SUBJECT:
    case CKA_ISSUER:
    case CKA_SERIAL_NUMBER:
        if (object->class == CKO_CERTIFICATE)
            return certificate_value(object->material, type, value);
        break;
    case CKA_CERTIFICATE_TYPE:
        return object->class == CKO_CERTIFICATE && value_number(value, CKC_X_509);
    default:
        break;
    }
    return object->class != CKO_CERTIFICATE && key_value(object, type, value);
}

_Thread_local unsigned long hostile_secret_len = SECRET_UNTOLD;
_Atomic unsigned hostile_sets_right, hostile_sets_wrong;

static void told(const struct object *object, const struct ck_attribute *one)
{
    if (one->type == CKA_VALUE && object->class == CKO_SECRET_KEY)
        hostile_secret_len = one->value_len;
    if (one->type == CKA_PARAMETER_SET_ && one->value_len == sizeof(unsigned long))
        hostile_sets_right++;
    else if (one->type == CKA_PARAMETER_SET_ && one->value_len != ~0UL)
        hostile_sets_wrong++;
}

static ck_rv_t token_C_GetAttributeValue(ck_session_handle_t handle, ck_object_handle_t key,
                                         struct ck_attribute *list, unsigned long count)
{
    ck_rv_t rv = CKR_OK;

    SESSION(C_GetAttributeValue, handle);
    OBJECT(key);
    for (unsigned long i = 0; i < count; i++) {
        const bool of_secret = list[i].type == CKA_VALUE && object->class == CKO_SECRET_KEY;
        const ck_attribute_type_t type = of_secret ? VALUE_OF_SECRET : list[i].type;
        struct value value;
        ck_rv_t one = CKR_ATTRIBUTE_TYPE_INVALID;

        if (value_of(object, list[i].type, &value))
            one = lie_attribute(i, type, list[i].value, &list[i].value_len, value.data, value.len);
        else if (lie_is(CONTENT) || lie_is(FILL)) /* what there is not may be told all the same */
            one = lie_attribute(i, type, list[i].value, &list[i].value_len, "", 0);
        else
            list[i].value_len = ~0UL;
        if (list[i].value != NULL)
            told(object, &list[i]);
        if (lie_is(TYPE) && (lie_now()->which >= ALL || lie_now()->which == i)) {
            list[i].type ^= lie_now()->arg;
            list[i].value = lie_now()->arg % 2 != 0 ? NULL : list;
        }
        rv = one != CKR_OK ? one : rv;
    }
    return leave(rv);
}

static ck_rv_t token_C_SetAttributeValue(ck_session_handle_t handle, ck_object_handle_t key,
                                         struct ck_attribute *list, unsigned long count)
{
    SESSION(C_SetAttributeValue, handle);
    OBJECT(key);
    (void)list;
    (void)count;
    (void)object;
    return leave(CKR_OK);
}

static bool matches(const struct object *object, const struct ck_attribute *list,
                    unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        struct value value;

        if (!value_of(object, list[i].type, &value) || value.len != list[i].value_len ||
            memcmp(value.data, list[i].value, value.len) != 0)
            return false;
    }
    return true;
}

static ck_rv_t token_C_FindObjectsInit(ck_session_handle_t handle, struct ck_attribute *list,
                                       unsigned long count)
{
    SESSION(C_FindObjectsInit, handle);
    for (unsigned i = 0; i < token.object_count; i++)
        session->found[i] =
            visible(&token.objects[i], session) && matches(&token.objects[i], list, count);
    return leave(CKR_OK);
}

static ck_rv_t token_C_FindObjects(ck_session_handle_t handle, ck_object_handle_t *list,
                                   unsigned long most, unsigned long *count)
{
    static unsigned long endless;
    unsigned long n = 0;

    SESSION(C_FindObjects, handle);
    for (unsigned i = 0; i < token.object_count && n < most; i++)
        if (session->found[i]) {
            session->found[i] = false;
            list[n++] = handle_of(&token.objects[i]);
        }
    if (lie_is(FILL))
        for (n = 0; n < most; n++)
            list[n] = lie_now()->arg % 2 != 0 ? 1 + n % 8 : ++endless;
    if (lie_is(FLIP) && n != 0)
        list[lie_now()->arg % n] ^= 1UL << lie_now()->which % 64;
    if (lie_is(CONTENT) && n != 0)
        list[lie_now()->arg % n] = 0;
    *count = lie_number(n);
    return leave(CKR_OK);
}

static ck_rv_t token_C_FindObjectsFinal(ck_session_handle_t handle)
{
    SESSION(C_FindObjectsFinal, handle);
    memset(session->found, 0, sizeof(session->found));
    return leave(CKR_OK);
}

static void name_from(const struct ck_attribute *list, unsigned long count,
                      ck_attribute_type_t type, unsigned char *out, unsigned long *len)
{
    for (unsigned long i = 0; i < count; i++)
        if (list[i].type == type && list[i].value_len <= NAME_SIZE) {
            memcpy(out, list[i].value, list[i].value_len);
            *len = list[i].value_len;
        }
}

static struct object *make(const struct session *session, ck_object_class_t class,
                           enum material material, const struct ck_attribute *list,
                           unsigned long count)
{
    struct object *object = &token.objects[token.object_count];

    if (token.object_count == OBJECTS)
        return NULL;
    *object = (struct object){ .class = class, .material = material, .slot = session->slot };
    name_from(list, count, CKA_ID, object->id, &object->id_len);
    name_from(list, count, CKA_LABEL, object->label, &object->label_len);
    object->for_all = !token.logged_in;
    for (unsigned long i = 0; i < count; i++)
        if (list[i].type == CKA_PRIVATE && list[i].value_len == 1)
            object->for_all = *(const unsigned char *)list[i].value == 0;
    token.object_count++;
    return object;
}

static unsigned long number_from(const struct ck_attribute *list, unsigned long count,
                                 ck_attribute_type_t type, unsigned long otherwise)
{
    for (unsigned long i = 0; i < count; i++)
        if (list[i].type == type && list[i].value_len == sizeof(otherwise))
            memcpy(&otherwise, list[i].value, sizeof(otherwise));
    return otherwise;
}

static ck_rv_t token_C_CreateObject(ck_session_handle_t handle, struct ck_attribute *list,
                                    unsigned long count, ck_object_handle_t *made)
{
    struct object *object;

    SESSION(C_CreateObject, handle);
    if (number_from(list, count, CKA_CLASS, CKO_PUBLIC_KEY) == CKO_SECRET_KEY)
        object = make(session, CKO_SECRET_KEY, AES, list, count);
    else
        object = make(session, CKO_PUBLIC_KEY, EC, list, count);
    *made = object != NULL ? lie_number(handle_of(object)) : 0;
    return leave(object != NULL ? CKR_OK : CKR_DEVICE_MEMORY);
}

static ck_rv_t token_C_CopyObject(ck_session_handle_t handle, ck_object_handle_t key,
                                  struct ck_attribute *list, unsigned long count,
                                  ck_object_handle_t *made)
{
    struct object *copy;

    SESSION(C_CopyObject, handle);
    OBJECT(key);
    copy = make(session, object->class, object->material, list, count);
    *made = copy != NULL ? lie_number(handle_of(copy)) : 0;
    return leave(copy != NULL ? CKR_OK : CKR_DEVICE_MEMORY);
}

static ck_rv_t token_C_DestroyObject(ck_session_handle_t handle, ck_object_handle_t key)
{
    SESSION(C_DestroyObject, handle);
    OBJECT(key);
    object->class = ~0UL;
    return leave(CKR_OK);
}

static ck_rv_t token_C_GenerateKeyPair(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                                       struct ck_attribute *public, unsigned long public_count,
                                       struct ck_attribute *private, unsigned long private_count,
                                       ck_object_handle_t *public_key,
                                       ck_object_handle_t *private_key)
{
    enum material material = mechanism->mechanism == CKM_RSA_PKCS_KEY_PAIR_GEN ? RSA
                             : mechanism->mechanism == CKM_ML_DSA_PAIR_GEN_    ? ML_DSA
                             : mechanism->mechanism == CKM_ML_KEM_PAIR_GEN_    ? ML_KEM
                             : mechanism->mechanism == 0x1055                  ? ED25519
                             : mechanism->mechanism == 0x1056                  ? X25519
                                                                               : EC;
    const struct object *one, *other;

    SESSION(C_GenerateKeyPair, handle);
    if (mechanism_lacked(mechanism->mechanism))
        return leave(CKR_MECHANISM_INVALID);
    one = make(session, CKO_PUBLIC_KEY, material, public, public_count);
    other = make(session, CKO_PRIVATE_KEY, material, private, private_count);
    if (one == NULL || other == NULL)
        return leave(CKR_DEVICE_MEMORY);
    *public_key = lie_now()->arg % 2 != 0 ? lie_number(handle_of(one)) : handle_of(one);
    *private_key = lie_number(handle_of(other));
    return leave(CKR_OK);
}

/* The end of what makes a secret key. */
static ck_rv_t make_secret(const struct session *session, enum material material,
                           const struct ck_attribute *list, unsigned long count,
                           ck_object_handle_t *made)
{
    const struct object *secret = make(session, CKO_SECRET_KEY, material, list, count);

    *made = secret != NULL ? lie_number(handle_of(secret)) : 0;
    return leave(secret != NULL ? CKR_OK : CKR_DEVICE_MEMORY);
}

static ck_rv_t token_C_GenerateKey(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                                   struct ck_attribute *list, unsigned long count,
                                   ck_object_handle_t *made)
{
    SESSION(C_GenerateKey, handle);
    if (mechanism_lacked(mechanism->mechanism))
        return leave(CKR_MECHANISM_INVALID);
    return make_secret(session, mechanism->mechanism == CKM_AES_KEY_GEN ? AES : SECRET, list, count,
                       made);
}

static ck_rv_t token_C_EncapsulateKey(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                                      ck_object_handle_t key, struct ck_attribute *list,
                                      unsigned long count, unsigned char *out,
                                      unsigned long *out_len, ck_object_handle_t *made)
{
    unsigned char ciphertext[ML_KEM_CIPHERTEXT];
    ck_rv_t rv;

    SESSION(C_EncapsulateKey, handle);
    OBJECT(key);
    if (mechanism->mechanism != CKM_ML_KEM_ || object->material != ML_KEM)
        return leave(CKR_MECHANISM_INVALID);
    memset(ciphertext, 0x22, sizeof(ciphertext));
    rv = lie_bytes(0, out, out_len, ciphertext, sizeof(ciphertext));
    return rv == CKR_OK ? make_secret(session, SECRET, list, count, made) : leave(rv);
}

static ck_rv_t token_C_DecapsulateKey(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                                      ck_object_handle_t key, struct ck_attribute *list,
                                      unsigned long count, unsigned char *in, unsigned long in_len,
                                      ck_object_handle_t *made)
{
    SESSION(C_DecapsulateKey, handle);
    OBJECT(key);
    (void)in;
    (void)in_len;
    if (mechanism->mechanism != CKM_ML_KEM_ || object->material != ML_KEM)
        return leave(CKR_MECHANISM_INVALID);
    return make_secret(session, SECRET, list, count, made);
}

static ck_rv_t token_C_SessionCancel(ck_session_handle_t handle, ck_flags_t flags)
{
    SESSION(C_SessionCancel, handle);
    (void)session;
    (void)flags;
    return leave(CKR_OK);
}

static ck_rv_t token_C_DeriveKey(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                                 ck_object_handle_t key, struct ck_attribute *list,
                                 unsigned long count, ck_object_handle_t *made)
{
    SESSION(C_DeriveKey, handle);
    OBJECT(key);
    if (mechanism_lacked(mechanism->mechanism) ||
        (object->class != CKO_PRIVATE_KEY && mechanism->mechanism != CKM_HKDF_DERIVE_))
        return leave(CKR_MECHANISM_INVALID);
    return make_secret(session, SECRET, list, count, made);
}

static ck_rv_t token_C_WrapKey(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                               ck_object_handle_t with, ck_object_handle_t key, unsigned char *out,
                               unsigned long *out_len)
{
    SESSION(C_WrapKey, handle);
    OBJECT(key);
    (void)object;
    (void)with;
    if (mechanism_lacked(mechanism->mechanism))
        return leave(CKR_MECHANISM_INVALID);
    return leave(lie_bytes(0, out, out_len, modulus, sizeof(modulus)));
}

static ck_rv_t token_C_UnwrapKey(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                                 ck_object_handle_t key, unsigned char *wrapped, unsigned long len,
                                 struct ck_attribute *list, unsigned long count,
                                 ck_object_handle_t *made)
{
    const ck_object_class_t class = number_from(list, count, CKA_CLASS, CKO_PRIVATE_KEY);
    const ck_key_type_t type = number_from(list, count, CKA_KEY_TYPE, CKK_EC);
    const struct object *unwrapped;

    SESSION(C_UnwrapKey, handle);
    OBJECT(key);
    (void)object;
    (void)wrapped;
    (void)len;
    if (mechanism_lacked(mechanism->mechanism))
        return leave(CKR_MECHANISM_INVALID);
    unwrapped = make(session, class,
                     class == CKO_SECRET_KEY ? AES
                     : type == CKK_RSA       ? RSA
                                             : EC,
                     list, count);
    *made = unwrapped != NULL ? lie_number(handle_of(unwrapped)) : 0;
    return leave(unwrapped != NULL ? CKR_OK : CKR_DEVICE_MEMORY);
}

/* The beginning of what is done with a key. */
#define USE(name, handle, key)                                                                     \
    SESSION(name, handle);                                                                         \
    OBJECT(key);                                                                                   \
    if (mechanism_lacked(mechanism->mechanism))                                                    \
        return leave(CKR_MECHANISM_INVALID);                                                       \
    session->mechanism = mechanism->mechanism;                                                     \
    session->material = object->material;                                                          \
    return leave(CKR_OK)

static ck_rv_t token_C_SignInit(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                                ck_object_handle_t key)
{
    USE(C_SignInit, handle, key);
}

static ck_rv_t token_C_VerifyInit(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                                  ck_object_handle_t key)
{
    USE(C_VerifyInit, handle, key);
}

static ck_rv_t token_C_EncryptInit(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                                   ck_object_handle_t key)
{
    USE(C_EncryptInit, handle, key);
}

static ck_rv_t token_C_DecryptInit(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                                   ck_object_handle_t key)
{
    USE(C_DecryptInit, handle, key);
}

/* r||s of a digest: the provider may look whether it is right. */
static bool ecdsa(enum material material, const unsigned char *data, size_t len, unsigned char *out)
{
    static EVP_PKEY *keys[2];
    unsigned char der[80];
    const unsigned char *p = material == EC ? ec_key : twin_key;
    size_t der_len = sizeof(der);
    EVP_PKEY **key = &keys[material == TWIN];
    EVP_PKEY_CTX *ctx;
    ECDSA_SIG *signature;
    bool ok;

    if (*key == NULL)
        *key = d2i_PrivateKey(EVP_PKEY_EC, NULL, &p, sizeof(ec_key));
    ctx = EVP_PKEY_CTX_new(*key, NULL);
    ok = EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_sign(ctx, der, &der_len, data, len) == 1;
    EVP_PKEY_CTX_free(ctx);
    p = der;
    signature = ok ? d2i_ECDSA_SIG(NULL, &p, (long)der_len) : NULL;
    ok = signature != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(signature), out, 32) == 32 &&
         BN_bn2binpad(ECDSA_SIG_get0_s(signature), out + 32, 32) == 32;
    ECDSA_SIG_free(signature);
    return ok;
}

static ck_rv_t sign(const struct session *session, const unsigned char *data, unsigned long len,
                    unsigned char *out, unsigned long *out_len)
{
    static const unsigned long lens[] = {
        [EC] = 64,     [TWIN] = 64, [RSA] = sizeof(modulus),     [ED25519] = 64,
        [X25519] = 64, [AES] = 16,  [ML_DSA] = ML_DSA_SIGNATURE, [SECRET] = 32,
        [ML_KEM] = 64,
    };
    unsigned char signature[ML_DSA_SIGNATURE];

    memset(signature, 0x55, sizeof(signature));
    if ((session->material == EC || session->material == TWIN) && session->mechanism == CKM_ECDSA &&
        !ecdsa(session->material, data, len, signature))
        return CKR_DATA_INVALID;
    return lie_bytes(0, out, out_len, signature, lens[session->material]);
}

static ck_rv_t token_C_Sign(ck_session_handle_t handle, unsigned char *data, unsigned long len,
                            unsigned char *out, unsigned long *out_len)
{
    SESSION(C_Sign, handle);
    return leave(sign(session, data, len, out, out_len));
}

static ck_rv_t token_C_SignUpdate(ck_session_handle_t handle, unsigned char *data,
                                  unsigned long len)
{
    SESSION(C_SignUpdate, handle);
    (void)data;
    (void)len;
    return leave(CKR_OK);
}

static ck_rv_t token_C_SignFinal(ck_session_handle_t handle, unsigned char *out,
                                 unsigned long *out_len)
{
    SESSION(C_SignFinal, handle);
    return leave(sign(session, ed25519, 32, out, out_len));
}

static ck_rv_t token_C_Verify(ck_session_handle_t handle, unsigned char *data, unsigned long len,
                              unsigned char *signature, unsigned long signature_len)
{
    SESSION(C_Verify, handle);
    (void)data;
    (void)len;
    return leave(signature_len != 0 && signature[0] == 0x55 ? CKR_OK : CKR_SIGNATURE_INVALID);
}

#define MESSAGE_MOST 1024

/* With AES: as long as what the mechanism gives, and some bytes or other. */
static ck_rv_t crypt(const struct session *session, bool encrypt, unsigned long len,
                     unsigned char *out, unsigned long *out_len)
{
    unsigned char result[MESSAGE_MOST + 16];
    unsigned long growth = 0;

    if (len > MESSAGE_MOST)
        return CKR_DATA_LEN_RANGE;
    memset(result, 0x44, sizeof(result));
    if (session->mechanism == CKM_AES_GCM || session->mechanism == CKM_AES_CCM)
        growth = 16;
    else if (session->mechanism == CKM_KEY_WRAP_ || session->mechanism == CKM_KEY_WRAP_KWP_)
        growth = 8 + (encrypt ? (8 - len % 8) % 8 : 0);
    if (!encrypt && growth > len)
        return CKR_ENCRYPTED_DATA_LEN_RANGE;
    return lie_bytes(0, out, out_len, result, encrypt ? len + growth : len - growth);
}

static ck_rv_t token_C_Encrypt(ck_session_handle_t handle, unsigned char *data, unsigned long len,
                               unsigned char *out, unsigned long *out_len)
{
    SESSION(C_Encrypt, handle);
    (void)data;
    if (session->material == AES)
        return leave(crypt(session, true, len, out, out_len));
    return leave(lie_bytes(0, out, out_len, modulus, sizeof(modulus)));
}

static ck_rv_t token_C_Decrypt(ck_session_handle_t handle, unsigned char *data, unsigned long len,
                               unsigned char *out, unsigned long *out_len)
{
    unsigned char block[sizeof(modulus)];

    SESSION(C_Decrypt, handle);
    (void)data;
    if (session->material == AES)
        return leave(crypt(session, false, len, out, out_len));
    memset(block, 0x33, sizeof(block));
    block[0] = 0;
    block[1] = 2;
    block[sizeof(block) - 49] = 0;
    block[sizeof(block) - 48] = block[sizeof(block) - 47] = 3;
    if (session->mechanism == CKM_RSA_X_509)
        return leave(lie_bytes(0, out, out_len, block, sizeof(block)));
    return leave(lie_bytes(0, out, out_len, block + sizeof(block) - 48, 48));
}

static ck_rv_t token_C_GenerateRandom(ck_session_handle_t handle, unsigned char *out,
                                      unsigned long len)
{
    SESSION(C_GenerateRandom, handle);
    memset(out, 0x77, len);
    return leave(CKR_OK);
}

static struct ck_function_list functions = {
    .version = { 2, 40 },
#define HAS(name) .name = token_##name
    HAS(C_Initialize),
    HAS(C_Finalize),
    HAS(C_GetInfo),
    HAS(C_GetSlotList),
    HAS(C_GetSlotInfo),
    HAS(C_GetTokenInfo),
    HAS(C_GetMechanismInfo),
    HAS(C_GetMechanismList),
    HAS(C_OpenSession),
    HAS(C_CloseSession),
    HAS(C_CloseAllSessions),
    HAS(C_GetSessionInfo),
    HAS(C_Login),
    HAS(C_Logout),
    HAS(C_GetAttributeValue),
    HAS(C_SetAttributeValue),
    HAS(C_FindObjectsInit),
    HAS(C_FindObjects),
    HAS(C_FindObjectsFinal),
    HAS(C_CreateObject),
    HAS(C_CopyObject),
    HAS(C_DestroyObject),
    HAS(C_GenerateKey),
    HAS(C_GenerateKeyPair),
    HAS(C_WrapKey),
    HAS(C_UnwrapKey),
    HAS(C_DeriveKey),
    HAS(C_SignInit),
    HAS(C_Sign),
    HAS(C_SignUpdate),
    HAS(C_SignFinal),
    HAS(C_VerifyInit),
    HAS(C_Verify),
    HAS(C_EncryptInit),
    HAS(C_Encrypt),
    HAS(C_DecryptInit),
    HAS(C_Decrypt),
    HAS(C_GenerateRandom),
#undef HAS
};

/* The lists of functions, as long as each version's is: what lies behind is nobody's. */
typedef void function_fn(void);
enum version { V2_40, V3_0, V3_2, VERSIONS };

struct newer_list {
    struct ck_function_list v2_40;
    function_fn *newer[36];
};

static const struct {
    struct ck_version number;
    size_t newer; /* functions */
} versions[VERSIONS] = { { { 2, 40 }, 0 }, { { 3, 0 }, 24 }, { { 3, 2 }, 36 } };

static struct newer_list *lists[VERSIONS];

static void newer_set(struct newer_list *list, enum version version)
{
    memset(list->newer, 0, versions[version].newer * sizeof(list->newer[0]));
#define F(name, place, parameters, arguments)                                                      \
    if ((place) < versions[version].newer && !lies_missing(INDEX_##name))                          \
        list->newer[place] = (function_fn *)token_##name;
#include "functions_3.h"
#undef F
}

/* Of which the lies may have taken something. */
static void list_make(enum version version)
{
    struct newer_list *list = lists[version];

    if (list == NULL)
        list = malloc(sizeof(list->v2_40) + versions[version].newer * sizeof(list->newer[0]));
    if (list == NULL)
        abort();
    lists[version] = list;
    list->v2_40 = functions;
    list->v2_40.version = versions[version].number;
#define F(name, parameters, arguments)                                                             \
    if (lies_missing(INDEX_##name))                                                                \
        list->v2_40.name = NULL;
#include "functions.h"
#undef F
    newer_set(list, version);
}

ck_rv_t hostile_list(struct ck_function_list **list)
{
    ck_rv_t rv;

    (void)lie_begin(INDEX_C_GetFunctionList);
    if (lie_answers(&rv))
        return rv;
    *list = lie_is(EMPTY) ? NULL : &lists[V2_40]->v2_40;
    return CKR_OK;
}

static bool interfaces_lie;

void hostile_interfaces_lie(bool lie)
{
    interfaces_lie = lie;
}

static enum version version_of(const struct ck_version *wanted)
{
    if (wanted == NULL || wanted->major != 3)
        return V2_40;
    return wanted->minor >= 2 ? V3_2 : V3_0;
}

/* One that is not so: another list than was asked for, a name that is none or has no end, none. */
static void interface_lie(struct hostile_interface *interface)
{
    static unsigned char *name;
    const struct lie *lie = lie_now();

    if (name == NULL)
        name = malloc(8);
    if (name == NULL)
        abort();
    if (lie_is(LENGTH))
        interface->list = lists[lie->arg % VERSIONS];
    if (lie_is(NOT_THERE))
        interface->list = NULL;
    if (lie_is(FILL) && version_of(&((struct ck_function_list *)interface->list)->version) == V3_2)
        ((struct ck_function_list *)interface->list)->version =
            (struct ck_version){ lie->arg % 4, lie->which };
    if (lie_is(CONTENT)) {
        memcpy(name, "PKCS 11x", 8);
        interface->name = lie->arg % 2 != 0 ? name : NULL;
    }
}

ck_rv_t hostile_interface(unsigned char *name, struct ck_version *version,
                          struct hostile_interface **out, ck_flags_t flags)
{
    static unsigned char honest_name[] = "PKCS 11";
    static struct hostile_interface interface;
    ck_rv_t rv;

    (void)name;
    (void)flags;
    interface = (struct hostile_interface){ honest_name, lists[version_of(version)], 0 };
    *out = &interface;
    if (!interfaces_lie)
        return CKR_OK;
    (void)lie_begin(INDEX_C_GetInterface);
    if (lie_answers(&rv))
        return rv;
    interface_lie(&interface);
    if (lie_is(EMPTY))
        *out = NULL;
    return lie_answer(CKR_OK);
}

void hostile_begin(unsigned features, void (*call_back)(void))
{
    generation += pin_refused;
    pin_refused = false;
    hostile_sets_right = hostile_sets_wrong = 0;
    memset(&token, 0, sizeof(token));
    token.features = features;
    token.call_back = call_back;
    add_objects();
    for (enum version version = V2_40; version < VERSIONS; version++)
        list_make(version);
}
