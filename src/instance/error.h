/* Every failure leaves one entry on OpenSSL's error stack: what was asked, of which token, which
 * C_* call came back with what, and what to do. Never a PIN. What keeps a key from being used, and
 * will do so again, is told in the log as well, once, with its cause first: many programs drop what
 * is on the stack, and so does libcrypto while it reads a PEM file. */
#ifndef BRIDGE_ERROR_H
#define BRIDGE_ERROR_H

#include <stdarg.h>

#include <openssl/core.h>

#include "module/ckr.h"

/* The core's error functions, as OSSL_provider_init got them (provider-base(7)). */
struct core {
    const OSSL_CORE_HANDLE *handle;
    void (*new_error)(const OSSL_CORE_HANDLE *handle);
    void (*set_error_debug)(const OSSL_CORE_HANDLE *handle, const char *file, int line,
                            const char *function);
    void (*vset_error)(const OSSL_CORE_HANDLE *handle, uint32_t reason, const char *format,
                       va_list args);
    unsigned long version; /* as OpenSSL_version_num() has it, of the libcrypto that loaded this
                              provider; a process may have another beside it */
    char unknown[256];     /* keys of the section that nobody knows; or "" */
};

/* Reasons, for programs; the text of an entry is for people, who get to see no more than the
 * reason's name from some programs. */
enum reason {
    REASON_CONFIGURATION = 1,
    REASON_URI,
    REASON_MODULE,
    REASON_TOKEN,
    REASON_OBJECT,
    REASON_PIN,
    REASON_KEY,
    REASON_PARAMETER,
    REASON_UNSUPPORTED,
    REASON_OPERATION,
    REASON_MEMORY,
    REASON_TOKEN_FAILED,
    REASON_SEARCH, /* a search that found nothing, which is an answer like any other */
};

/* The reason texts, in the form that OSSL_FUNC_provider_get_reason_strings returns. */
const OSSL_ITEM *error_reasons(void);

#define error_raise(core, reason, ...)                                                             \
    error_raise_at(__FILE__, __LINE__, __func__, (core), (reason), __VA_ARGS__)

__attribute__((format(printf, 6, 7))) void
error_raise_at(const char *file, int line, const char *function, const struct core *core,
               enum reason reason, const char *format, ...);

/* Raises "cannot <what>: C_Function: CKR_NAME: <what to do>" for the last C_* call of this thread,
 * where what is the formatted text. */
#define error_raise_ckr(core, reason, rv, ...)                                                     \
    error_raise_ckr_at(__FILE__, __LINE__, __func__, (core), (reason), (rv), __VA_ARGS__)

__attribute__((format(printf, 7, 8))) void
error_raise_ckr_at(const char *file, int line, const char *function, const struct core *core,
                   enum reason reason, CK_RV rv, const char *format, ...);

/* Tells it in the log alone, once: what will be an error at the first use. */
void error_tell(const char *text);

#endif
