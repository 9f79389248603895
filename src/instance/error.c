#include "instance/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/bio.h>

#include "base/log.h"
#include "base/scope.h"
#include "base/user.h"
#include "module/call.h"
#include "uri/uri.h"

#define TEXT_MAX 1800

static const OSSL_ITEM reasons[] = {
    { REASON_CONFIGURATION, "mistake in the pkcs11 section of openssl.cnf" },
    { REASON_URI, "bad pkcs11 URI" },
    { REASON_MODULE, "cannot load the PKCS#11 module" },
    { REASON_TOKEN, "token not found" },
    { REASON_OBJECT, "object not found" },
    { REASON_PIN, "PIN missing or refused" },
    { REASON_KEY, "the key cannot be used" },
    { REASON_PARAMETER, "bad parameter" },
    { REASON_UNSUPPORTED, "not supported" },
    { REASON_OPERATION, "operation failed" },
    { REASON_MEMORY, "out of memory" },
    { REASON_TOKEN_FAILED, "the token or its PKCS#11 module failed" },
    { REASON_SEARCH, "object not found" },
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

/* libcrypto keeps nothing at all of a text that is longer: ERR_MAX_DATA_SIZE of its err.c. */
#define KEPT_MAX 1024

/* Cuts text to what libcrypto keeps, at the end of a character. */
static void cut(char *text)
{
    static const char more[] = "...";
    size_t end = KEPT_MAX - sizeof(more);

    if (strlen(text) < KEPT_MAX)
        return;
    while ((text[end] & 0xc0) == 0x80)
        end--;
    memcpy(text + end, more, sizeof(more));
}

static void raise(const char *file, int line, const char *function, const struct core *core,
                  enum reason reason, const char *text)
{
    bool misspelt = may_be_misspelt(core, reason);
    char whole[TEXT_MAX];

    (void)snprintf(whole, sizeof(whole), "%s%s%s", text, misspelt ? "; nobody knows this: " : "",
                   misspelt ? core->unknown : "");
    cut(whole);
    core->new_error(core->handle);
    core->set_error_debug(core->handle, file, line, function);
    set(core, reason, "%s", whole);
}

/* Whether it is the key, or the way to it, that is at fault, and not what was asked of it. */
static bool lasts(enum reason reason)
{
    static const enum reason these[] = { REASON_CONFIGURATION, REASON_URI,    REASON_MODULE,
                                         REASON_TOKEN,         REASON_OBJECT, REASON_PIN,
                                         REASON_TOKEN_FAILED };

    for (size_t i = 0; i < COUNT(these); i++)
        if (these[i] == reason)
            return true;
    return false;
}

void error_tell(const char *text)
{
    char line[TEXT_MAX];

    uri_shorten(text, line, sizeof(line));
    log_once(line);
}

void error_raise_at(const char *file, int line, const char *function, const struct core *core,
                    enum reason reason, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    raise(file, line, function, core, reason, text);
    if (lasts(reason))
        error_tell(text);
}

/* "C_Function: CKR_NAME: <what to do>", or the sentence of an outcome of our own. */
static void describe(CK_RV rv, char *cause, size_t size)
{
    const struct ckr *ckr = ckr_describe(rv);
    const char *advice = ckr_advice(call_name(), rv);
    char unknown[32];

    (void)snprintf(unknown, sizeof(unknown), "CKR 0x%08lx", (unsigned long)rv);
    if (ckr->name == NULL && advice != NULL)
        (void)snprintf(cause, size, "%s", ckr->detailed ? call_detail() : advice);
    else
        (void)snprintf(cause, size, "%s: %s%s%s%s%s", call_name(),
                       ckr->name != NULL ? ckr->name : unknown, advice != NULL ? ": " : "",
                       advice != NULL ? advice : "", ckr->detailed ? "; " : "",
                       ckr->detailed ? call_detail() : "");
}

/* Who it is that does not see what others may. */
static void add_user(CK_RV rv, char *cause, size_t size)
{
    bool gone = rv == RV_KEY_GONE || rv == RV_TOKEN_GONE;
    bool blind = ckr_is_blind(call_name(), rv);
    char name[USER_NAME_MAX];
    size_t used = strlen(cause);

    if (blind || (gone && user_changed()))
        (void)snprintf(cause + used, size - used,
                       "%s this process runs as %s%s: check who may read the token's files, the "
                       "module's configuration and its devices",
                       gone ? ", or is not shown:" : ";", user_name(name),
                       user_changed() ? ", which is not the user who loaded the provider" : "");
}

void error_raise_ckr_at(const char *file, int line, const char *function, const struct core *core,
                        enum reason reason, CK_RV rv, const char *format, ...)
{
    char what[700], cause[900], text[TEXT_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    describe(rv, cause, sizeof(cause));
    add_user(rv, cause, sizeof(cause));
    (void)snprintf(text, sizeof(text), "cannot %s: %s", what, cause);
    raise(file, line, function, core, reason, text);
    if (!lasts(reason) && !ckr_is_lasting(rv) && !ckr_is_blind(call_name(), rv))
        return;
    (void)snprintf(text, sizeof(text), "%s (cannot %s)", cause, what);
    error_tell(text);
}
