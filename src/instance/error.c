#include "instance/error.h"

#include <stdarg.h>
#include <stdio.h>

#include <openssl/bio.h>

#include "base/scope.h"
#include "module/call.h"

static const OSSL_ITEM reasons[] = {
    { REASON_CONFIGURATION, "configuration" },
    { REASON_URI, "bad pkcs11 URI" },
    { REASON_MODULE, "PKCS#11 module" },
    { REASON_TOKEN, "token" },
    { REASON_OBJECT, "object not found" },
    { REASON_PIN, "PIN" },
    { REASON_KEY, "key" },
    { REASON_PARAMETER, "bad parameter" },
    { REASON_UNSUPPORTED, "not supported" },
    { REASON_OPERATION, "operation failed" },
    { REASON_MEMORY, "out of memory" },
    { 0, NULL },
};

const OSSL_ITEM *error_reasons(void)
{
    return reasons;
}

__attribute__((format(printf, 3, 4))) static void set(const struct core *core, enum reason reason,
                                                      const char *format, ...)
{
    va_list args;

    va_start(args, format);
    core->vset_error(core->handle, (uint32_t)reason, format, args);
    va_end(args);
}

/* Whether a key of the section that nobody knows may be why. */
static bool may_be_misspelt(const struct core *core, enum reason reason)
{
    return core->unknown[0] != '\0' &&
           (reason == REASON_PIN || reason == REASON_MODULE || reason == REASON_CONFIGURATION);
}

void error_raise_at(const char *file, int line, const char *function, const struct core *core,
                    enum reason reason, const char *format, ...)
{
    char text[1800];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    core->new_error(core->handle);
    core->set_error_debug(core->handle, file, line, function);
    if (may_be_misspelt(core, reason))
        set(core, reason, "%s; nobody knows this: %s", text, core->unknown);
    else
        set(core, reason, "%s", text);
}

void error_raise_ckr_at(const char *file, int line, const char *function, const struct core *core,
                        enum reason reason, CK_RV rv, const char *format, ...)
{
    const struct ckr *ckr = ckr_describe(rv);
    char what[700];
    char unknown[32];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    if (ckr->name == NULL && ckr->advice != NULL) {
        error_raise_at(file, line, function, core, reason, "cannot %s: %s", what,
                       ckr->detailed ? call_detail() : ckr->advice);
        return;
    }
    (void)snprintf(unknown, sizeof(unknown), "CKR 0x%08lx", (unsigned long)rv);
    error_raise_at(file, line, function, core, reason, "cannot %s: %s: %s%s%s", what, call_name(),
                   ckr->name != NULL ? ckr->name : unknown, ckr->advice != NULL ? ": " : "",
                   ckr->advice != NULL ? ckr->advice : "");
}
