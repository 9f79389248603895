/* A PKCS#11 3.2 token for tests, by libcrypto: ML-DSA, SLH-DSA, ML-KEM (OpenSSL >= 3.5) and P-256,
 * with what no packaged token does of them. It is a test fixture: small, nothing in it is
 * protected, and whoever can read its folder has its keys.
 *
 *   TOKEN32_DIR
 *       The folder of the token's objects (NAME.object), of its PIN where it is not 1234 (pin) and
 *       of how often it was refused (tries). Without it they live as long as the process.
 *   TOKEN32_SECRETS
 *       What C_DecapsulateKey and C_EncapsulateKey make: "give" (the default) what the template
 *       wants, "keep" keys that cannot be read, whatever the template says, "refuse" no key that
 *       could be read.
 *   TOKEN32_NO_CONTEXTS
 *       Context strings are passed over, and that what is signed was hashed before.
 *
 * One slot, the token soft32 in it, one mutex over everything. */
#include "token32.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#define SLOT    0
#define TRIES   3
#define PIN_MAX 32

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool initialized, logged_in;
static bool inherited; /* what is in memory is the parent's, from before a fork */
static struct session *sessions;
static ck_session_handle_t last_session;
static unsigned tries; /* where there is no folder */

void operation_end(struct operation *operation)
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

struct guard enter(void)
{
    (void)pthread_mutex_lock(&mutex);
    (void)ERR_set_mark();
    return (struct guard){ initialized ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED };
}

void leave(const struct guard *guard)
{
    (void)guard;
    (void)ERR_pop_to_mark();
    (void)pthread_mutex_unlock(&mutex);
}

struct session *session_find(ck_session_handle_t handle)
{
    struct session *session = sessions;

    while (session != NULL && session->handle != handle)
        session = session->next;
    return session;
}

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

bool is_logged_in(void)
{
    return logged_in;
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
