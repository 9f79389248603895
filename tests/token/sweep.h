/* A sweep, not a sample: C_* functions × the CKR_ values that PKCS#11 lets them return, once and
 * for ever. Once: what passes by itself must not be noticed; what does not is an error that names
 * function and value. For ever: an error that names both, in time. Either way the next operation,
 * with the fault lifted, succeeds with the same keys in the same process. C_Login alone is called
 * once in an operation, whatever comes back. */
#ifndef BRIDGE_SWEEP_H
#define BRIDGE_SWEEP_H

#include <stdbool.h>
#include <stddef.h>

/* What functions may return, PKCS#11 v3.1 §5 */
#define MODULE "CKR_CRYPTOKI_NOT_INITIALIZED CKR_FUNCTION_FAILED CKR_GENERAL_ERROR CKR_HOST_MEMORY "

#define DEVICE  MODULE "CKR_DEVICE_ERROR CKR_DEVICE_MEMORY CKR_DEVICE_REMOVED "
#define SESSION DEVICE "CKR_SESSION_CLOSED CKR_SESSION_HANDLE_INVALID "
#define INIT                                                                                       \
    SESSION "CKR_FUNCTION_CANCELED CKR_KEY_FUNCTION_NOT_PERMITTED CKR_KEY_HANDLE_INVALID "         \
            "CKR_KEY_SIZE_RANGE CKR_KEY_TYPE_INCONSISTENT CKR_MECHANISM_INVALID "                  \
            "CKR_MECHANISM_PARAM_INVALID CKR_OPERATION_ACTIVE CKR_PIN_EXPIRED "                    \
            "CKR_USER_NOT_LOGGED_IN CKR_ARGUMENTS_BAD CKR_OPERATION_CANCEL_FAILED "
#define WORK                                                                                       \
    SESSION "CKR_ARGUMENTS_BAD CKR_BUFFER_TOO_SMALL CKR_DATA_INVALID CKR_DATA_LEN_RANGE "          \
            "CKR_FUNCTION_CANCELED CKR_FUNCTION_REJECTED CKR_OPERATION_NOT_INITIALIZED "           \
            "CKR_USER_NOT_LOGGED_IN CKR_TOKEN_RESOURCE_EXCEEDED "
#define TEMPLATE                                                                                   \
    "CKR_ATTRIBUTE_READ_ONLY CKR_ATTRIBUTE_TYPE_INVALID CKR_ATTRIBUTE_VALUE_INVALID "              \
    "CKR_TEMPLATE_INCOMPLETE CKR_TEMPLATE_INCONSISTENT CKR_SESSION_READ_ONLY "                     \
    "CKR_TOKEN_WRITE_PROTECTED CKR_PIN_EXPIRED CKR_USER_NOT_LOGGED_IN CKR_OPERATION_ACTIVE "       \
    "CKR_FUNCTION_CANCELED CKR_MECHANISM_INVALID CKR_MECHANISM_PARAM_INVALID "                     \
    "CKR_DOMAIN_PARAMS_INVALID CKR_ARGUMENTS_BAD CKR_TOKEN_RESOURCE_EXCEEDED "
#define FIND                                                                                       \
    SESSION "CKR_ARGUMENTS_BAD CKR_ATTRIBUTE_TYPE_INVALID CKR_ATTRIBUTE_VALUE_INVALID "            \
            "CKR_OPERATION_ACTIVE CKR_PIN_EXPIRED "
#define READ                                                                                       \
    SESSION "CKR_ARGUMENTS_BAD CKR_ATTRIBUTE_SENSITIVE CKR_ATTRIBUTE_TYPE_INVALID "                \
            "CKR_BUFFER_TOO_SMALL CKR_OBJECT_HANDLE_INVALID "

struct row {
    unsigned path;
    const char *function, *ckrs;
};

/* What a program sweeps over. */
struct paths {
    const char *const *names;
    void (*begin)(unsigned path); /* everything new, and no fault */
    bool (*walk)(unsigned path);  /* the operation; whether it succeeded */
    void (*end)(void);
};

/* Every row with each of its values. */
void sweep(const struct paths *paths, const struct row *rows, size_t count, bool once);

#endif
