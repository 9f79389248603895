/* A PKCS#11 3.2 token for tests, by libcrypto: ML-DSA, SLH-DSA, ML-KEM (OpenSSL >= 3.5) and P-256,
 * with what no packaged token does of them. It is a test fixture: small, nothing in it is
 * protected, and whoever can read its folder has its keys.
 *
 *   TOKEN32_DIR       the folder of the token's objects (NAME.object), of its PIN where it is not
 * 1234 (pin) and of how often it was refused (tries). Without it they live as long as the process.
 *   TOKEN32_SECRETS   of C_DecapsulateKey and C_EncapsulateKey: "give" (the default) as the
 * template wants them, "keep" never readable, whatever the template says, "refuse" a template that
 * wants them readable
 *
 * One slot, the token soft32 in it, one mutex over everything. */
#include <pthread.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "crypto.h"

#define SLOT            0
#define TRIES           3
#define PIN_MAX         32
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#define TRY(call)                                                                                  \
    do {                                                                                           \
        const ck_rv_t try_rv = (call);                                                             \
        if (try_rv != CKR_OK)                                                                      \
            return try_rv;                                                                         \
    } while (0)

/* What a session may have under way, each beside the others. */
enum work { SIGN, VERIFY, VERIFY_SIGNATURE, MESSAGE_SIGN, MESSAGE_VERIFY, WORKS };

struct operation {
    EVP_PKEY *pkey; /* owned; NULL: none under way */
    struct signing signing;
    bool begun;                /* a message, by parts */
    uint8_t *data, *signature; /* owned */
    size_t len, signature_len;
};

struct session {
    struct session *next;
    ck_session_handle_t handle;
    bool writes;
    bool finding;
    ck_object_handle_t *found; /* owned */
    size_t found_count, found_given;
    struct operation operations[WORKS];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool initialized, logged_in;
static bool inherited; /* what is in memory is the parent's, from before a fork */
static struct session *sessions;
static ck_session_handle_t last_session;
static unsigned tries; /* where there is no folder */

static void operation_end(struct operation *operation)
{
    EVP_PKEY_free(operation->pkey);
    free(operation->data);
    free(operation->signature);
    *operation = (struct operation){ 0 };
}

static void session_free(struct session *session)
{
    for (int work = 0; work < WORKS; work++)
        operation_end(&session->operations[work]);
    objects_forget(session->handle);
    free(session->found);
    free(session);
}

static void sessions_close(void)
{
    while (sessions != NULL) {
        struct session *first = sessions;

        sessions = first->next;
        session_free(first);
    }
    logged_in = false;
}

static void everything_close(void)
{
    sessions_close();
    objects_forget_all();
    crypto_close();
    initialized = inherited = false;
}

/* A child begins anew, with C_Initialize; its sessions and handles were its parent's. */
static void fork_before(void)
{
    (void)pthread_mutex_lock(&mutex);
}

static void fork_parent(void)
{
    (void)pthread_mutex_unlock(&mutex);
}

static void fork_child(void)
{
    inherited = inherited || initialized;
    initialized = false;
    (void)pthread_mutex_unlock(&mutex);
}

__attribute__((constructor)) static void fork_handlers(void)
{
    (void)pthread_atfork(fork_before, fork_parent, fork_child);
}

/* Every function holds the mutex from ENTER to its end, and leaves libcrypto's error stack as it
 * was. */
struct guard {
    ck_rv_t rv; /* why the function cannot go on */
};

static struct guard enter(void)
{
    (void)pthread_mutex_lock(&mutex);
    (void)ERR_set_mark();
    return (struct guard){ initialized ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED };
}

static void leave(const struct guard *guard)
{
    (void)guard;
    (void)ERR_pop_to_mark();
    (void)pthread_mutex_unlock(&mutex);
}

#define ENTER                                                                                      \
    __attribute__((cleanup(leave))) struct guard guard = enter();                                  \
    TRY(guard.rv)

static struct session *session_find(ck_session_handle_t handle)
{
    struct session *session = sessions;

    while (session != NULL && session->handle != handle)
        session = session->next;
    return session;
}

/* The session of this handle in a variable of this name. */
#define ENTER_SESSION(name, handle)                                                                \
    ENTER;                                                                                         \
    struct session *name = session_find(handle);                                                   \
    if (name == NULL)                                                                              \
    return CKR_SESSION_HANDLE_INVALID

ck_rv_t C_Initialize(void *args)
{
    (void)args;
    __attribute__((cleanup(leave))) struct guard guard = enter();

    if (guard.rv == CKR_OK)
        return CKR_CRYPTOKI_ALREADY_INITIALIZED;
    if (inherited)
        everything_close();
    if (!crypto_open())
        return CKR_GENERAL_ERROR;
    initialized = true;
    return CKR_OK;
}

ck_rv_t C_Finalize(void *reserved)
{
    (void)reserved;
    ENTER;
    everything_close();
    return CKR_OK;
}

static void text(unsigned char *field, size_t size, const char *value)
{
    memset(field, ' ', size);
    memcpy(field, value, strlen(value));
}
#define TEXT(field, value) text(field, sizeof(field), value)

ck_rv_t C_GetInfo(struct ck_info *info)
{
    ENTER;
    *info = (struct ck_info){ .cryptoki_version = { 3, 2 } };
    TEXT(info->manufacturer_id, "tests");
    TEXT(info->library_description, "token32");
    return CKR_OK;
}

ck_rv_t C_GetSlotList(unsigned char present, ck_slot_id_t *slots, unsigned long *count)
{
    const unsigned long room = *count;

    (void)present;
    ENTER;
    *count = 1;
    if (slots == NULL)
        return CKR_OK;
    if (room < 1)
        return CKR_BUFFER_TOO_SMALL;
    slots[0] = SLOT;
    return CKR_OK;
}

ck_rv_t C_GetSlotInfo(ck_slot_id_t slot, struct ck_slot_info *info)
{
    ENTER;
    if (slot != SLOT)
        return CKR_SLOT_ID_INVALID;
    *info = (struct ck_slot_info){ .flags = CKF_TOKEN_PRESENT };
    TEXT(info->slot_description, "token32");
    TEXT(info->manufacturer_id, "tests");
    return CKR_OK;
}

/* How often the PIN was refused; what other processes know as well. */
static unsigned tries_read(void)
{
    char number[16];

    if (folder_read("tries", number, sizeof(number)))
        tries = (unsigned)strtoul(number, NULL, 10);
    else if (getenv("TOKEN32_DIR") != NULL)
        tries = 0;
    return tries;
}

static void tries_write(unsigned count)
{
    char number[16];
    const int len = snprintf(number, sizeof(number), "%u", count);

    tries = count;
    (void)folder_write("tries", number, (size_t)len);
}

/* By how often the PIN was refused. */
static const ck_flags_t pin_flags[TRIES + 1] = { 0, CKF_USER_PIN_COUNT_LOW,
                                                 CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY,
                                                 CKF_USER_PIN_LOCKED };

ck_rv_t C_GetTokenInfo(ck_slot_id_t slot, struct ck_token_info *info)
{
    ENTER;
    if (slot != SLOT)
        return CKR_SLOT_ID_INVALID;
    memset(info, 0, sizeof(*info));
    TEXT(info->label, "soft32");
    TEXT(info->manufacturer_id, "tests");
    TEXT(info->model, "token32");
    TEXT(info->serial_number, "32");
    TEXT(info->utc_time, "");
    info->flags = CKF_RNG | CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED | CKF_TOKEN_INITIALIZED |
                  pin_flags[tries_read() < TRIES ? tries : TRIES];
    info->max_pin_len = PIN_MAX;
    info->total_public_memory = info->free_public_memory = CK_UNAVAILABLE_INFORMATION;
    info->total_private_memory = info->free_private_memory = CK_UNAVAILABLE_INFORMATION;
    return CKR_OK;
}

ck_rv_t C_GetMechanismList(ck_slot_id_t slot, ck_mechanism_type_t *list, unsigned long *count)
{
    const struct mechanism *mechanism = NULL;
    const unsigned long room = list != NULL ? *count : 0;

    ENTER;
    if (slot != SLOT)
        return CKR_SLOT_ID_INVALID;
    for (*count = 0; (mechanism = mechanism_next(mechanism)) != NULL; (*count)++)
        if (*count < room)
            list[*count] = mechanism->type;
    return list == NULL || *count <= room ? CKR_OK : CKR_BUFFER_TOO_SMALL;
}

ck_rv_t C_GetMechanismInfo(ck_slot_id_t slot, ck_mechanism_type_t type,
                           struct ck_mechanism_info *info)
{
    const struct mechanism *mechanism;

    ENTER;
    mechanism = mechanism_find(type);
    if (slot != SLOT)
        return CKR_SLOT_ID_INVALID;
    if (mechanism == NULL)
        return CKR_MECHANISM_INVALID;
    *info = (struct ck_mechanism_info){ .flags = mechanism->flags };
    if (mechanism->key_type == CKK_EC)
        info->min_key_size = info->max_key_size = 256;
    return CKR_OK;
}

ck_rv_t C_OpenSession(ck_slot_id_t slot, ck_flags_t flags, void *application, ck_notify_t notify,
                      ck_session_handle_t *handle)
{
    struct session *session;

    (void)application;
    (void)notify;
    ENTER;
    if (slot != SLOT)
        return CKR_SLOT_ID_INVALID;
    if ((flags & CKF_SERIAL_SESSION) == 0)
        return CKR_SESSION_PARALLEL_NOT_SUPPORTED;
    session = calloc(1, sizeof(*session));
    if (session == NULL)
        return CKR_HOST_MEMORY;
    session->next = sessions;
    sessions = session;
    session->writes = (flags & CKF_RW_SESSION) != 0;
    *handle = session->handle = ++last_session;
    return CKR_OK;
}

ck_rv_t C_CloseSession(ck_session_handle_t handle)
{
    struct session **place = &sessions;

    ENTER_SESSION(session, handle);
    while (*place != session)
        place = &(*place)->next;
    *place = session->next;
    session_free(session);
    logged_in = logged_in && sessions != NULL;
    return CKR_OK;
}

ck_rv_t C_CloseAllSessions(ck_slot_id_t slot)
{
    ENTER;
    if (slot != SLOT)
        return CKR_SLOT_ID_INVALID;
    sessions_close();
    return CKR_OK;
}

ck_rv_t C_GetSessionInfo(ck_session_handle_t handle, struct ck_session_info *info)
{
    ENTER_SESSION(session, handle);
    *info = (struct ck_session_info){ .slot_id = SLOT, .flags = CKF_SERIAL_SESSION };
    if (session->writes)
        info->flags |= CKF_RW_SESSION;
    if (logged_in)
        info->state = session->writes ? CKS_RW_USER_FUNCTIONS : CKS_RO_USER_FUNCTIONS;
    else
        info->state = session->writes ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION;
    return CKR_OK;
}

static bool pin_is(const unsigned char *pin, unsigned long len)
{
    char right[PIN_MAX + 1];

    if (!folder_read("pin", right, sizeof(right)))
        strcpy(right, "1234");
    return pin != NULL && len == strlen(right) && memcmp(pin, right, len) == 0;
}

ck_rv_t C_Login(ck_session_handle_t handle, ck_user_type_t user, unsigned char *pin,
                unsigned long len)
{
    ENTER_SESSION(session, handle);
    if (user != CKU_USER)
        return CKR_USER_TYPE_INVALID;
    if (logged_in)
        return CKR_USER_ALREADY_LOGGED_IN;
    if (tries_read() >= TRIES)
        return CKR_PIN_LOCKED;
    logged_in = pin_is(pin, len);
    tries_write(logged_in ? 0 : tries + 1);
    return logged_in ? CKR_OK : CKR_PIN_INCORRECT;
}

ck_rv_t C_LoginUser(ck_session_handle_t handle, ck_user_type_t user, unsigned char *pin,
                    unsigned long len, unsigned char *name, unsigned long name_len)
{
    (void)name;
    return name_len == 0 ? C_Login(handle, user, pin, len) : CKR_ARGUMENTS_BAD;
}

ck_rv_t C_Logout(ck_session_handle_t handle)
{
    ENTER_SESSION(session, handle);
    if (!logged_in)
        return CKR_USER_NOT_LOGGED_IN;
    logged_in = false;
    return CKR_OK;
}

ck_rv_t C_SetPIN(ck_session_handle_t handle, unsigned char *old, unsigned long old_len,
                 unsigned char *pin, unsigned long len)
{
    ENTER_SESSION(session, handle);
    if (!session->writes)
        return CKR_SESSION_READ_ONLY;
    if (!pin_is(old, old_len))
        return CKR_PIN_INCORRECT;
    if (len > PIN_MAX)
        return CKR_PIN_LEN_RANGE;
    return folder_write("pin", pin, len) ? CKR_OK : CKR_DEVICE_ERROR;
}

static bool is_visible(const struct object *object)
{
    return logged_in || !object_is(object, CKA_PRIVATE);
}

static struct object *visible(ck_object_handle_t handle)
{
    struct object *object = object_by_handle(handle);

    return object != NULL && is_visible(object) ? object : NULL;
}

/* What an object is unless its template says otherwise, by class. */
static const struct {
    ck_object_class_t class;
    ck_attribute_type_t type;
    bool value;
} defaults[] = {
    { CKO_PRIVATE_KEY, CKA_PRIVATE, true },
    { CKO_PRIVATE_KEY, CKA_SENSITIVE, true },
    { CKO_PRIVATE_KEY, CKA_EXTRACTABLE, false },
    { CKO_PRIVATE_KEY, CKA_ALWAYS_AUTHENTICATE, false },
    { CKO_SECRET_KEY, CKA_PRIVATE, true },
    { CKO_SECRET_KEY, CKA_SENSITIVE, true },
    { CKO_SECRET_KEY, CKA_EXTRACTABLE, false },
};

/* What a key can be used for unless its template says otherwise. */
static const struct {
    ck_object_class_t class;
    ck_key_type_t type;
    ck_attribute_type_t use;
} uses[] = {
    { CKO_PRIVATE_KEY, CKK_EC, CKA_SIGN },
    { CKO_PUBLIC_KEY, CKK_EC, CKA_VERIFY },
    { CKO_PRIVATE_KEY, CKK_ML_DSA, CKA_SIGN },
    { CKO_PUBLIC_KEY, CKK_ML_DSA, CKA_VERIFY },
    { CKO_PRIVATE_KEY, CKK_SLH_DSA, CKA_SIGN },
    { CKO_PUBLIC_KEY, CKK_SLH_DSA, CKA_VERIFY },
    { CKO_PRIVATE_KEY, CKK_ML_KEM, CKA_DECAPSULATE },
    { CKO_PUBLIC_KEY, CKK_ML_KEM, CKA_ENCAPSULATE },
};

static void set_missing(struct object *object, ck_attribute_type_t type, bool value)
{
    if (object_get(object, type) == NULL)
        object_set_bool(object, type, value);
}

static void set_defaults(struct object *object)
{
    const ck_object_class_t class = object_ulong(object, CKA_CLASS);

    set_missing(object, CKA_TOKEN, false);
    set_missing(object, CKA_PRIVATE, class == CKO_PRIVATE_KEY || class == CKO_SECRET_KEY);
    for (size_t i = 0; i < COUNT_OF(defaults); i++)
        if (defaults[i].class == class)
            set_missing(object, defaults[i].type, defaults[i].value);
    for (size_t i = 0; i < COUNT_OF(uses); i++)
        if (uses[i].class == class && uses[i].type == object_ulong(object, CKA_KEY_TYPE))
            set_missing(object, uses[i].use, true);
}

/* Whether this session may make such an object. */
static ck_rv_t may_make(const struct session *session, const struct object *object)
{
    if (object_is(object, CKA_TOKEN) && !session->writes)
        return CKR_SESSION_READ_ONLY;
    return is_visible(object) ? CKR_OK : CKR_USER_NOT_LOGGED_IN;
}

/* Takes an object that is complete, or frees it. */
static ck_rv_t keep(const struct session *session, struct object *object,
                    ck_object_handle_t *handle)
{
    ck_rv_t rv = may_make(session, object);

    if (rv != CKR_OK) {
        object_free(object);
        return rv;
    }
    rv = object_add(object, object_is(object, CKA_TOKEN) ? 0 : session->handle);
    *handle = object->handle;
    return rv;
}

static bool is_asymmetric(const struct object *object)
{
    const ck_object_class_t class = object_ulong(object, CKA_CLASS);

    return class == CKO_PRIVATE_KEY || class == CKO_PUBLIC_KEY;
}

ck_rv_t C_CreateObject(ck_session_handle_t handle, struct ck_attribute *templ, unsigned long count,
                       ck_object_handle_t *created)
{
    struct object *object;

    ENTER_SESSION(session, handle);
    object = object_new();
    object_set_all(object, templ, count);
    set_defaults(object);
    if (is_asymmetric(object) && object_pkey(object) == NULL) {
        object_free(object);
        return CKR_TEMPLATE_INCONSISTENT;
    }
    if (is_asymmetric(object))
        object_set_public_key_info(object);
    return keep(session, object, created);
}

ck_rv_t C_CopyObject(ck_session_handle_t handle, ck_object_handle_t from,
                     struct ck_attribute *templ, unsigned long count, ck_object_handle_t *copied)
{
    struct object *original, *object;

    ENTER_SESSION(session, handle);
    original = visible(from);
    if (original == NULL)
        return CKR_OBJECT_HANDLE_INVALID;
    object = object_new();
    object_set_all(object, original->attributes, original->count);
    object_set_all(object, templ, count);
    return keep(session, object, copied);
}

ck_rv_t C_DestroyObject(ck_session_handle_t handle, ck_object_handle_t which)
{
    struct object *object;

    ENTER_SESSION(session, handle);
    object = visible(which);
    if (object == NULL)
        return CKR_OBJECT_HANDLE_INVALID;
    TRY(may_make(session, object));
    object_destroy(object);
    return CKR_OK;
}

static bool is_hidden(const struct object *object, ck_attribute_type_t type)
{
    const ck_object_class_t class = object_ulong(object, CKA_CLASS);

    return (type == CKA_VALUE || type == CKA_SEED) &&
           (class == CKO_PRIVATE_KEY || class == CKO_SECRET_KEY) &&
           (object_is(object, CKA_SENSITIVE) || !object_is(object, CKA_EXTRACTABLE));
}

static ck_rv_t attribute_give(const struct object *object, struct ck_attribute *attribute)
{
    const struct ck_attribute *found = object_get(object, attribute->type);
    const unsigned long room = attribute->value_len;

    attribute->value_len = CK_UNAVAILABLE_INFORMATION;
    if (is_hidden(object, attribute->type))
        return CKR_ATTRIBUTE_SENSITIVE;
    if (found == NULL)
        return CKR_ATTRIBUTE_TYPE_INVALID;
    if (attribute->value != NULL && room < found->value_len)
        return CKR_BUFFER_TOO_SMALL;
    attribute->value_len = found->value_len;
    if (attribute->value != NULL)
        memcpy(attribute->value, found->value, found->value_len);
    return CKR_OK;
}

ck_rv_t C_GetAttributeValue(ck_session_handle_t handle, ck_object_handle_t which,
                            struct ck_attribute *templ, unsigned long count)
{
    const struct object *object;
    ck_rv_t rv = CKR_OK;

    ENTER_SESSION(session, handle);
    object = visible(which);
    if (object == NULL)
        return CKR_OBJECT_HANDLE_INVALID;
    for (unsigned long i = 0; i < count; i++) {
        const ck_rv_t one = attribute_give(object, &templ[i]);

        rv = one != CKR_OK ? one : rv;
    }
    return rv;
}

ck_rv_t C_SetAttributeValue(ck_session_handle_t handle, ck_object_handle_t which,
                            struct ck_attribute *templ, unsigned long count)
{
    struct object *object;

    ENTER_SESSION(session, handle);
    object = visible(which);
    if (object == NULL)
        return CKR_OBJECT_HANDLE_INVALID;
    TRY(may_make(session, object));
    for (unsigned long i = 0; i < count; i++)
        if (templ[i].type != CKA_LABEL && templ[i].type != CKA_ID)
            return CKR_ATTRIBUTE_READ_ONLY;
    object_set_all(object, templ, count);
    return object->session == 0 ? object_save(object) : CKR_OK;
}

static void find_add(struct session *session, ck_object_handle_t handle)
{
    session->found = realloc(session->found, (session->found_count + 1) * sizeof(*session->found));
    if (session->found == NULL)
        abort();
    session->found[session->found_count++] = handle;
}

ck_rv_t C_FindObjectsInit(ck_session_handle_t handle, struct ck_attribute *templ,
                          unsigned long count)
{
    ENTER_SESSION(session, handle);
    if (session->finding)
        return CKR_OPERATION_ACTIVE;
    objects_scan();
    session->finding = true;
    session->found_count = session->found_given = 0;
    for (const struct object *object = object_first(); object != NULL; object = object->next)
        if (is_visible(object) && object_matches(object, templ, count))
            find_add(session, object->handle);
    return CKR_OK;
}

ck_rv_t C_FindObjects(ck_session_handle_t handle, ck_object_handle_t *objects, unsigned long most,
                      unsigned long *count)
{
    ENTER_SESSION(session, handle);
    if (!session->finding)
        return CKR_OPERATION_NOT_INITIALIZED;
    for (*count = 0; *count < most && session->found_given < session->found_count; (*count)++)
        objects[*count] = session->found[session->found_given++];
    return CKR_OK;
}

ck_rv_t C_FindObjectsFinal(ck_session_handle_t handle)
{
    ENTER_SESSION(session, handle);
    if (!session->finding)
        return CKR_OPERATION_NOT_INITIALIZED;
    session->finding = false;
    return CKR_OK;
}

/* The mechanism, where the token has it for this use and libcrypto can do it; NULL. */
static const struct mechanism *mechanism_for(const struct ck_mechanism *given, ck_flags_t flag)
{
    const struct mechanism *mechanism = mechanism_find(given->mechanism);

    return mechanism != NULL && (mechanism->flags & flag) != 0 ? mechanism : NULL;
}

/* An object as a key of this mechanism. */
static ck_rv_t key_for(const struct mechanism *mechanism, ck_object_handle_t handle,
                       ck_attribute_type_t use, EVP_PKEY **pkey)
{
    struct object *object = visible(handle);

    if (object == NULL || !is_asymmetric(object))
        return CKR_KEY_HANDLE_INVALID;
    if (object_ulong(object, CKA_KEY_TYPE) != mechanism->key_type)
        return CKR_KEY_TYPE_INCONSISTENT;
    if (!object_is(object, use))
        return CKR_KEY_FUNCTION_NOT_PERMITTED;
    *pkey = object_pkey(object);
    return *pkey != NULL ? CKR_OK : CKR_KEY_HANDLE_INVALID;
}

/* What each kind of work needs of a mechanism and of a key. */
static const struct {
    ck_flags_t flag;
    ck_attribute_type_t use;
} works[WORKS] = {
    [SIGN] = { CKF_SIGN, CKA_SIGN },
    [VERIFY] = { CKF_VERIFY, CKA_VERIFY },
    [VERIFY_SIGNATURE] = { CKF_VERIFY, CKA_VERIFY },
    [MESSAGE_SIGN] = { CKF_MESSAGE_SIGN, CKA_SIGN },
    [MESSAGE_VERIFY] = { CKF_MESSAGE_VERIFY, CKA_VERIFY },
};

static ck_rv_t work_init(struct session *session, enum work work, const struct ck_mechanism *given,
                         ck_object_handle_t key)
{
    struct operation *operation = &session->operations[work];
    const struct mechanism *mechanism;
    EVP_PKEY *pkey;

    if (operation->pkey != NULL)
        return CKR_OPERATION_ACTIVE;
    mechanism = mechanism_for(given, works[work].flag);
    if (mechanism == NULL)
        return CKR_MECHANISM_INVALID;
    TRY(key_for(mechanism, key, works[work].use, &pkey));
    TRY(signing_init(&operation->signing, mechanism, given->parameter, given->parameter_len));
    if (EVP_PKEY_up_ref(pkey) != 1)
        return CKR_HOST_MEMORY;
    operation->pkey = pkey;
    return CKR_OK;
}

static void append(uint8_t **data, size_t *len, const uint8_t *part, size_t part_len)
{
    *data = realloc(*data, *len + part_len + 1);
    if (*data == NULL)
        abort();
    if (part_len > 0)
        memcpy(*data + *len, part, part_len);
    *len += part_len;
}

static ck_rv_t work_update(struct session *session, enum work work, const uint8_t *part, size_t len)
{
    struct operation *operation = &session->operations[work];

    if (operation->pkey == NULL)
        return CKR_OPERATION_NOT_INITIALIZED;
    append(&operation->data, &operation->len, part, len);
    return CKR_OK;
}

/* Signs what came in parts and this last one; *len is the room. asked: nothing was done but that
 * the length was told, and the operation goes on. */
static ck_rv_t work_sign(struct operation *operation, const uint8_t *data, size_t data_len,
                         uint8_t *out, unsigned long *len, bool *asked)
{
    const unsigned long room = *len;
    uint8_t *signature;
    size_t made;
    ck_rv_t rv;

    *len = signature_size(operation->pkey);
    *asked = out == NULL || room < *len;
    if (*asked)
        return out == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL;
    append(&operation->data, &operation->len, data, data_len);
    signature = malloc(SIGNATURE_MAX);
    if (signature == NULL)
        return CKR_HOST_MEMORY;
    rv = signature_make(operation->pkey, &operation->signing, operation->data, operation->len,
                        signature, &made);
    if (rv == CKR_OK)
        memcpy(out, signature, made);
    free(signature);
    return rv;
}

static ck_rv_t sign_last(struct session *session, const uint8_t *data, size_t data_len,
                         uint8_t *signature, unsigned long *len)
{
    struct operation *operation = &session->operations[SIGN];
    bool asked;
    ck_rv_t rv;

    if (operation->pkey == NULL)
        return CKR_OPERATION_NOT_INITIALIZED;
    rv = work_sign(operation, data, data_len, signature, len, &asked);
    if (!asked)
        operation_end(operation);
    return rv;
}

static ck_rv_t work_check(struct operation *operation, const uint8_t *data, size_t data_len,
                          const uint8_t *signature, size_t len)
{
    append(&operation->data, &operation->len, data, data_len);
    return signature_check(operation->pkey, &operation->signing, operation->data, operation->len,
                           signature, len);
}

static ck_rv_t verify_last(struct session *session, enum work work, const uint8_t *data,
                           size_t data_len, const uint8_t *signature, size_t len)
{
    struct operation *operation = &session->operations[work];
    ck_rv_t rv;

    if (operation->pkey == NULL)
        return CKR_OPERATION_NOT_INITIALIZED;
    rv = work_check(operation, data, data_len, signature, len);
    operation_end(operation);
    return rv;
}

ck_rv_t C_SignInit(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                   ck_object_handle_t key)
{
    ENTER_SESSION(session, handle);
    return work_init(session, SIGN, mechanism, key);
}

ck_rv_t C_Sign(ck_session_handle_t handle, unsigned char *data, unsigned long data_len,
               unsigned char *signature, unsigned long *len)
{
    ENTER_SESSION(session, handle);
    return sign_last(session, data, data_len, signature, len);
}

ck_rv_t C_SignUpdate(ck_session_handle_t handle, unsigned char *part, unsigned long len)
{
    ENTER_SESSION(session, handle);
    return work_update(session, SIGN, part, len);
}

ck_rv_t C_SignFinal(ck_session_handle_t handle, unsigned char *signature, unsigned long *len)
{
    ENTER_SESSION(session, handle);
    return sign_last(session, NULL, 0, signature, len);
}

ck_rv_t C_VerifyInit(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                     ck_object_handle_t key)
{
    ENTER_SESSION(session, handle);
    return work_init(session, VERIFY, mechanism, key);
}

ck_rv_t C_Verify(ck_session_handle_t handle, unsigned char *data, unsigned long data_len,
                 unsigned char *signature, unsigned long len)
{
    ENTER_SESSION(session, handle);
    return verify_last(session, VERIFY, data, data_len, signature, len);
}

ck_rv_t C_VerifyUpdate(ck_session_handle_t handle, unsigned char *part, unsigned long len)
{
    ENTER_SESSION(session, handle);
    return work_update(session, VERIFY, part, len);
}

ck_rv_t C_VerifyFinal(ck_session_handle_t handle, unsigned char *signature, unsigned long len)
{
    ENTER_SESSION(session, handle);
    return verify_last(session, VERIFY, NULL, 0, signature, len);
}

ck_rv_t C_VerifySignatureInit(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                              ck_object_handle_t key, unsigned char *signature, unsigned long len)
{
    struct operation *operation;

    ENTER_SESSION(session, handle);
    TRY(work_init(session, VERIFY_SIGNATURE, mechanism, key));
    operation = &session->operations[VERIFY_SIGNATURE];
    append(&operation->signature, &operation->signature_len, signature, len);
    return CKR_OK;
}

static ck_rv_t verify_signature_last(struct session *session, const uint8_t *data, size_t len)
{
    const struct operation *operation = &session->operations[VERIFY_SIGNATURE];

    return verify_last(session, VERIFY_SIGNATURE, data, len, operation->signature,
                       operation->signature_len);
}

ck_rv_t C_VerifySignature(ck_session_handle_t handle, unsigned char *data, unsigned long len)
{
    ENTER_SESSION(session, handle);
    return verify_signature_last(session, data, len);
}

ck_rv_t C_VerifySignatureUpdate(ck_session_handle_t handle, unsigned char *part, unsigned long len)
{
    ENTER_SESSION(session, handle);
    return work_update(session, VERIFY_SIGNATURE, part, len);
}

ck_rv_t C_VerifySignatureFinal(ck_session_handle_t handle)
{
    ENTER_SESSION(session, handle);
    return verify_signature_last(session, NULL, 0);
}

/* The parameter of one message, instead of the one that the operation began with. */
static ck_rv_t message_parameter(struct operation *operation, const void *parameter, size_t len)
{
    const struct mechanism *mechanism = operation->signing.mechanism;

    if (operation->pkey == NULL)
        return CKR_OPERATION_NOT_INITIALIZED;
    return parameter != NULL ? signing_init(&operation->signing, mechanism, parameter, len)
                             : CKR_OK;
}

static void message_end(struct operation *operation)
{
    free(operation->data);
    operation->data = NULL;
    operation->len = 0;
    operation->begun = false;
}

static ck_rv_t message_begin(struct session *session, enum work work, const void *parameter,
                             size_t len)
{
    struct operation *operation = &session->operations[work];

    TRY(message_parameter(operation, parameter, len));
    if (operation->begun)
        return CKR_OPERATION_ACTIVE;
    operation->begun = true;
    return CKR_OK;
}

static ck_rv_t message_sign(struct operation *operation, const uint8_t *data, size_t data_len,
                            uint8_t *signature, unsigned long *len)
{
    bool asked;
    const ck_rv_t rv = work_sign(operation, data, data_len, signature, len, &asked);

    if (!asked)
        message_end(operation);
    return rv;
}

static ck_rv_t message_check(struct operation *operation, const uint8_t *data, size_t data_len,
                             const uint8_t *signature, size_t len)
{
    const ck_rv_t rv = work_check(operation, data, data_len, signature, len);

    message_end(operation);
    return rv;
}

static ck_rv_t message_final(struct session *session, enum work work)
{
    if (session->operations[work].pkey == NULL)
        return CKR_OPERATION_NOT_INITIALIZED;
    operation_end(&session->operations[work]);
    return CKR_OK;
}

ck_rv_t C_MessageSignInit(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                          ck_object_handle_t key)
{
    ENTER_SESSION(session, handle);
    return work_init(session, MESSAGE_SIGN, mechanism, key);
}

ck_rv_t C_SignMessage(ck_session_handle_t handle, void *parameter, unsigned long parameter_len,
                      unsigned char *data, unsigned long data_len, unsigned char *signature,
                      unsigned long *len)
{
    struct operation *operation;

    ENTER_SESSION(session, handle);
    operation = &session->operations[MESSAGE_SIGN];
    TRY(message_parameter(operation, parameter, parameter_len));
    if (operation->begun)
        return CKR_OPERATION_ACTIVE;
    return message_sign(operation, data, data_len, signature, len);
}

ck_rv_t C_SignMessageBegin(ck_session_handle_t handle, void *parameter, unsigned long parameter_len)
{
    ENTER_SESSION(session, handle);
    return message_begin(session, MESSAGE_SIGN, parameter, parameter_len);
}

/* len NULL: more parts are to come. */
ck_rv_t C_SignMessageNext(ck_session_handle_t handle, void *parameter, unsigned long parameter_len,
                          unsigned char *data, unsigned long data_len, unsigned char *signature,
                          unsigned long *len)
{
    struct operation *operation;

    ENTER_SESSION(session, handle);
    operation = &session->operations[MESSAGE_SIGN];
    TRY(message_parameter(operation, parameter, parameter_len));
    if (!operation->begun)
        return CKR_OPERATION_NOT_INITIALIZED;
    return len == NULL ? work_update(session, MESSAGE_SIGN, data, data_len)
                       : message_sign(operation, data, data_len, signature, len);
}

ck_rv_t C_MessageSignFinal(ck_session_handle_t handle)
{
    ENTER_SESSION(session, handle);
    return message_final(session, MESSAGE_SIGN);
}

ck_rv_t C_MessageVerifyInit(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                            ck_object_handle_t key)
{
    ENTER_SESSION(session, handle);
    return work_init(session, MESSAGE_VERIFY, mechanism, key);
}

ck_rv_t C_VerifyMessage(ck_session_handle_t handle, void *parameter, unsigned long parameter_len,
                        unsigned char *data, unsigned long data_len, unsigned char *signature,
                        unsigned long len)
{
    struct operation *operation;

    ENTER_SESSION(session, handle);
    operation = &session->operations[MESSAGE_VERIFY];
    TRY(message_parameter(operation, parameter, parameter_len));
    if (operation->begun)
        return CKR_OPERATION_ACTIVE;
    return message_check(operation, data, data_len, signature, len);
}

ck_rv_t C_VerifyMessageBegin(ck_session_handle_t handle, void *parameter,
                             unsigned long parameter_len)
{
    ENTER_SESSION(session, handle);
    return message_begin(session, MESSAGE_VERIFY, parameter, parameter_len);
}

/* signature NULL: more parts are to come. */
ck_rv_t C_VerifyMessageNext(ck_session_handle_t handle, void *parameter,
                            unsigned long parameter_len, unsigned char *data,
                            unsigned long data_len, unsigned char *signature, unsigned long len)
{
    struct operation *operation;

    ENTER_SESSION(session, handle);
    operation = &session->operations[MESSAGE_VERIFY];
    TRY(message_parameter(operation, parameter, parameter_len));
    if (!operation->begun)
        return CKR_OPERATION_NOT_INITIALIZED;
    return signature == NULL ? work_update(session, MESSAGE_VERIFY, data, data_len)
                             : message_check(operation, data, data_len, signature, len);
}

ck_rv_t C_MessageVerifyFinal(ck_session_handle_t handle)
{
    ENTER_SESSION(session, handle);
    return message_final(session, MESSAGE_VERIFY);
}

ck_rv_t C_SessionCancel(ck_session_handle_t handle, ck_flags_t flags)
{
    ENTER_SESSION(session, handle);
    if ((flags & CKF_FIND_OBJECTS) != 0)
        session->finding = false;
    for (int work = 0; work < WORKS; work++)
        if ((flags & works[work].flag) != 0)
            operation_end(&session->operations[work]);
    return CKR_OK;
}

/* A new key of a template, as it is before its numbers are there. */
static struct object *key_new(ck_object_class_t class, ck_key_type_t type,
                              const struct ck_attribute *templ, unsigned long count)
{
    struct object *object = object_new();

    object_set_all(object, templ, count);
    object_set_ulong(object, CKA_CLASS, class);
    object_set_ulong(object, CKA_KEY_TYPE, type);
    object_set_bool(object, CKA_LOCAL, true);
    set_defaults(object);
    return object;
}

static ck_rv_t pair_fill(ck_key_type_t type, struct object *public_key, struct object *private_key)
{
    TRY(pair_generate(type, public_key, private_key));
    object_set_public_key_info(public_key);
    object_set_public_key_info(private_key);
    return CKR_OK;
}

static ck_rv_t pair_make(const struct session *session, ck_key_type_t type,
                         struct object *public_key, struct object *private_key,
                         ck_object_handle_t *public_handle, ck_object_handle_t *private_handle)
{
    ck_rv_t rv = may_make(session, private_key);

    if (rv == CKR_OK)
        rv = may_make(session, public_key);
    if (rv == CKR_OK)
        rv = pair_fill(type, public_key, private_key);
    if (rv != CKR_OK) {
        object_free(public_key);
        object_free(private_key);
        return rv;
    }
    TRY(keep(session, public_key, public_handle));
    return keep(session, private_key, private_handle);
}

ck_rv_t C_GenerateKeyPair(ck_session_handle_t handle, struct ck_mechanism *given,
                          struct ck_attribute *public_template, unsigned long public_count,
                          struct ck_attribute *private_template, unsigned long private_count,
                          ck_object_handle_t *public_handle, ck_object_handle_t *private_handle)
{
    const struct mechanism *mechanism;
    ck_key_type_t type;

    ENTER_SESSION(session, handle);
    mechanism = mechanism_for(given, CKF_GENERATE_KEY_PAIR);
    if (mechanism == NULL)
        return CKR_MECHANISM_INVALID;
    type = mechanism->key_type;
    return pair_make(session, type, key_new(CKO_PUBLIC_KEY, type, public_template, public_count),
                     key_new(CKO_PRIVATE_KEY, type, private_template, private_count), public_handle,
                     private_handle);
}

static bool secrets_are(const char *how)
{
    const char *set = getenv("TOKEN32_SECRETS");

    return set != NULL && strcmp(set, how) == 0;
}

/* Keeps a secret key of this template and value. */
static ck_rv_t secret_keep(const struct session *session, const struct ck_attribute *templ,
                           unsigned long count, const uint8_t *secret, ck_object_handle_t *handle)
{
    struct object *object = key_new(CKO_SECRET_KEY, CKK_GENERIC_SECRET, templ, count);
    const ck_key_type_t type = CKK_GENERIC_SECRET;

    for (unsigned long i = 0; i < count; i++) /* it may be another, CKK_AES */
        if (templ[i].type == CKA_KEY_TYPE && templ[i].value_len == sizeof(type))
            object_set(object, CKA_KEY_TYPE, templ[i].value, templ[i].value_len);
    object_set(object, CKA_VALUE, secret, SECRET_SIZE);
    object_set_ulong(object, CKA_VALUE_LEN, SECRET_SIZE);
    if (secrets_are("refuse") && !is_hidden(object, CKA_VALUE)) {
        object_free(object);
        return CKR_TEMPLATE_INCONSISTENT;
    }
    if (secrets_are("keep"))
        object_set_bool(object, CKA_SENSITIVE, true);
    return keep(session, object, handle);
}

static ck_rv_t kem_key(const struct ck_mechanism *given, ck_object_handle_t key, bool encapsulates,
                       EVP_PKEY **pkey)
{
    const struct mechanism *mechanism =
        mechanism_for(given, encapsulates ? CKF_ENCAPSULATE : CKF_DECAPSULATE);

    if (mechanism == NULL)
        return CKR_MECHANISM_INVALID;
    if (given->parameter_len != 0)
        return CKR_MECHANISM_PARAM_INVALID;
    return key_for(mechanism, key, encapsulates ? CKA_ENCAPSULATE : CKA_DECAPSULATE, pkey);
}

ck_rv_t C_EncapsulateKey(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                         ck_object_handle_t public_key, struct ck_attribute *templ,
                         unsigned long count, unsigned char *ciphertext, unsigned long *len,
                         ck_object_handle_t *key)
{
    const unsigned long room = *len;
    uint8_t made[CIPHERTEXT_MAX], secret[SECRET_SIZE];
    size_t made_len;
    EVP_PKEY *pkey;

    ENTER_SESSION(session, handle);
    TRY(kem_key(mechanism, public_key, true, &pkey));
    if (!kem_encapsulate(pkey, made, &made_len, secret))
        return CKR_FUNCTION_FAILED;
    *len = made_len;
    if (ciphertext == NULL || room < made_len)
        return ciphertext == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL;
    memcpy(ciphertext, made, made_len);
    return secret_keep(session, templ, count, secret, key);
}

ck_rv_t C_DecapsulateKey(ck_session_handle_t handle, struct ck_mechanism *mechanism,
                         ck_object_handle_t private_key, struct ck_attribute *templ,
                         unsigned long count, unsigned char *ciphertext, unsigned long len,
                         ck_object_handle_t *key)
{
    uint8_t secret[SECRET_SIZE];
    EVP_PKEY *pkey;

    ENTER_SESSION(session, handle);
    TRY(kem_key(mechanism, private_key, false, &pkey));
    if (!kem_decapsulate(pkey, ciphertext, len, secret))
        return CKR_WRAPPED_KEY_LEN_RANGE;
    return secret_keep(session, templ, count, secret, key);
}

ck_rv_t C_SeedRandom(ck_session_handle_t handle, unsigned char *seed, unsigned long len)
{
    (void)seed;
    (void)len;
    ENTER_SESSION(session, handle);
    return CKR_RANDOM_SEED_NOT_SUPPORTED;
}

ck_rv_t C_GenerateRandom(ck_session_handle_t handle, unsigned char *out, unsigned long len)
{
    ENTER_SESSION(session, handle);
    return crypto_random(out, len) ? CKR_OK : CKR_FUNCTION_FAILED;
}
