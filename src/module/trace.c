#include "module/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/environment.h"
#include "base/log.h"
#include "base/scope.h"
#include "base/text.h"
#include "meter/meter.h"
#include "module/call.h"
#include "module/ckr.h"
#include "module/names.h"
#include "pkcs11_bridge.h"

atomic_uint traced;

static struct descriptor file = { .fd = -1 };
static bool to_stderr; /* wherever that goes, in the place of file */

/* The arguments of a function, a letter for each:
 *
 *     s o u   a session, an object, a number     f  flags
 *     S O U   where one of these goes            b  yes or no
 *     m       a mechanism                        d  data and its length; D: where both go
 *     t       a template and its length          x  not told
 *     l       a list of objects and its length   p  a PIN and its length
 *     i       what is told of a token */
static const struct signature {
    const char *function, *arguments;
} signatures[] = {
    { "C_Initialize", "x" },
    { "C_Finalize", "x" },
    { "C_GetInfo", "x" },
    { "C_GetSlotList", "bxU" },
    { "C_GetSlotInfo", "ux" },
    { "C_GetTokenInfo", "ui" },
    { "C_GetMechanismInfo", "uux" },
    { "C_OpenSession", "ufxxS" },
    { "C_CloseSession", "s" },
    { "C_GetSessionInfo", "sx" },
    { "C_Login", "sup" },
    { "C_SetPIN", "spp" },
    { "C_FindObjectsInit", "st" },
    { "C_FindObjects", "slU" },
    { "C_FindObjectsFinal", "s" },
    { "C_GetAttributeValue", "sot" },
    { "C_SetAttributeValue", "sot" },
    { "C_CopyObject", "sotO" },
    { "C_CreateObject", "stO" },
    { "C_DestroyObject", "so" },
    { "C_GenerateKey", "smtO" },
    { "C_GenerateKeyPair", "smttOO" },
    { "C_WrapKey", "smooD" },
    { "C_UnwrapKey", "smodtO" },
    { "C_DeriveKey", "smotO" },
    { "C_SignInit", "smo" },
    { "C_Sign", "sdD" },
    { "C_SignUpdate", "sd" },
    { "C_SignFinal", "sD" },
    { "C_VerifyInit", "smo" },
    { "C_Verify", "sdd" },
    { "C_EncryptInit", "smo" },
    { "C_Encrypt", "sdD" },
    { "C_DecryptInit", "smo" },
    { "C_Decrypt", "sdD" },
    { "C_GenerateRandom", "sd" },
    { "C_SessionCancel", "sf" },
    { "C_EncapsulateKey", "smotDO" },
    { "C_DecapsulateKey", "smotdO" },
};

/* One line, written at once, so that those of other threads and processes stay apart from it. */
struct line {
    char text[2048];
    size_t len;
    bool after; /* the call is over: what it wrote can be read */
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *format, ...)
{
    size_t room = sizeof(line->text) - line->len;
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(line->text + line->len, room, format, args);
    va_end(args);
    if (n > 0)
        line->len += (size_t)n < room ? (size_t)n : room - 1;
}

static unsigned level(unsigned who)
{
    return who & TRACE_LEVEL;
}

static void line_begin(struct line *line)
{
    struct timespec now;
    struct tm day;

    line->len = 0;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)localtime_r(&now.tv_sec, &day);
    line->len = strftime(line->text, sizeof(line->text), "%Y-%m-%d %H:%M:%S", &day);
    add(line, ".%06ld %ld ", now.tv_nsec / 1000, (long)syscall(SYS_gettid));
}

static void line_write(struct line *line)
{
    size_t len = line->len < sizeof(line->text) - 1 ? line->len : sizeof(line->text) - 2;

    line->text[len++] = '\n';
    if (to_stderr)
        log_write_stderr(line->text, len);
    else if (descriptor_is_open(&file))
        log_write(file.fd, line->text, len);
    else
        log_once("the program has closed the file of " PKCS11_BRIDGE_ENV_DEBUG
                 ": no more calls are told");
}

/* What says which object is meant, and nothing of what it holds. */
static bool is_telling(const CK_ATTRIBUTE *attribute)
{
    static const CK_ATTRIBUTE_TYPE types[] = { CKA_CLASS,   CKA_KEY_TYPE, CKA_TOKEN,
                                               CKA_PRIVATE, CKA_LABEL,    CKA_ID,
                                               CKA_SIGN,    CKA_DECRYPT,  CKA_DERIVE };

    for (size_t i = 0; i < COUNT(types); i++)
        if (types[i] == attribute->type)
            return attribute->pValue != NULL &&
                   attribute->ulValueLen != CK_UNAVAILABLE_INFORMATION &&
                   attribute->ulValueLen <= 64;
    return false;
}

static void add_value(struct line *line, const CK_ATTRIBUTE *attribute)
{
    const uint8_t *value = attribute->pValue;
    char text[65];

    add(line, "=");
    if (attribute->type == CKA_LABEL) {
        text_printable(value, attribute->ulValueLen, text);
        add(line, "'%s'", text);
        return;
    }
    for (CK_ULONG i = 0; i < attribute->ulValueLen; i++)
        add(line, "%02x", value[i]);
}

static void add_attribute(struct line *line, const CK_ATTRIBUTE *attribute, bool given)
{
    if (attribute_name(attribute->type) != NULL)
        add(line, " %s", attribute_name(attribute->type));
    else
        add(line, " 0x%lx", (unsigned long)attribute->type);
    if (attribute->ulValueLen == CK_UNAVAILABLE_INFORMATION)
        add(line, "(none)");
    else
        add(line, "(%lu)", (unsigned long)attribute->ulValueLen);
    if (given && is_telling(attribute))
        add_value(line, attribute);
}

/* given: the call does not write it. What it wrote is not checked yet, and not read here. */
static void add_template(struct line *line, const CK_ATTRIBUTE *list, CK_ULONG count, bool given)
{
    add(line, "%lu attributes", (unsigned long)count);
    if (level(atomic_load(&traced)) < 2)
        return;
    add(line, " {");
    for (CK_ULONG i = 0; i < count; i++)
        add_attribute(line, &list[i], given);
    add(line, " }");
}

static void add_mechanism(struct line *line, const CK_MECHANISM *mechanism)
{
    add(line, "mechanism %s", mechanism_name(mechanism->mechanism));
    if (mechanism->ulParameterLen != 0)
        add(line, " (%lu bytes of parameters)", (unsigned long)mechanism->ulParameterLen);
}

static void add_out(struct line *line, const char *what, const CK_ULONG *out)
{
    if (line->after && out != NULL)
        add(line, "-> %s%lu", what, (unsigned long)*out);
    else
        add(line, "->");
}

static void add_token(struct line *line, const CK_TOKEN_INFO *info)
{
    char label[sizeof(info->label) + 1];
    size_t len = sizeof(info->label);

    if (!line->after)
        return;
    while (len > 0 && (info->label[len - 1] == ' ' || info->label[len - 1] == '\0'))
        len--;
    text_printable(info->label, len, label);
    add(line, "-> '%s', flags 0x%lx", label, (unsigned long)info->flags);
}

static void add_argument(struct line *line, char letter, va_list *args, bool given)
{
    const void *pointer;

    switch (letter) {
    case 's':
        add(line, "session %lu", va_arg(*args, CK_ULONG));
        break;
    case 'o':
        add(line, "object %lu", va_arg(*args, CK_ULONG));
        break;
    case 'u':
        add(line, "0x%lx", va_arg(*args, CK_ULONG));
        break;
    case 'f':
        add(line, "flags 0x%lx", va_arg(*args, CK_ULONG));
        break;
    case 'b':
        add(line, "%s", va_arg(*args, int) != 0 ? "true" : "false");
        break;
    case 'S':
        add_out(line, "session ", va_arg(*args, CK_ULONG *));
        break;
    case 'O':
        add_out(line, "object ", va_arg(*args, CK_ULONG *));
        break;
    case 'U':
        add_out(line, "", va_arg(*args, CK_ULONG *));
        break;
    case 'm':
        add_mechanism(line, va_arg(*args, const CK_MECHANISM *));
        break;
    case 'i':
        add_token(line, va_arg(*args, const CK_TOKEN_INFO *));
        break;
    case 'd':
        (void)va_arg(*args, const void *);
        add(line, "%lu bytes", va_arg(*args, CK_ULONG));
        break;
    case 'D':
        (void)va_arg(*args, const void *);
        add_out(line, "bytes ", va_arg(*args, CK_ULONG *));
        break;
    case 't':
        pointer = va_arg(*args, const void *);
        add_template(line, pointer, va_arg(*args, CK_ULONG), given);
        break;
    case 'l':
        (void)va_arg(*args, const void *);
        add(line, "at most %lu", va_arg(*args, CK_ULONG));
        break;
    case 'p':
        (void)va_arg(*args, const void *);
        (void)va_arg(*args, CK_ULONG);
        add(line, "PIN not shown");
        break;
    default:
        (void)va_arg(*args, const void *);
        add(line, "...");
        break;
    }
}

static const char *arguments_of(const char *function)
{
    for (size_t i = 0; i < COUNT(signatures); i++)
        if (strcmp(signatures[i].function, function) == 0)
            return signatures[i].arguments;
    return "";
}

static void add_call(struct line *line, const char *function, va_list *args)
{
    bool given = strcmp(function, "C_GetAttributeValue") != 0;

    add(line, "%s(", function);
    for (const char *letter = arguments_of(function); *letter != '\0'; letter++) {
        add_argument(line, *letter, args, given);
        add(line, "%s", letter[1] != '\0' ? ", " : "");
    }
    add(line, ")");
}

static void tell_before(va_list *args)
{
    struct line line = { .after = false };

    line_begin(&line);
    add_call(&line, call_name(), args);
    line_write(&line);
}

uint64_t trace_before(unsigned who, ...)
{
    KEEP_ERRNO;
    va_list args;

    va_start(args, who);
    if (level(who) >= 2)
        tell_before(&args);
    va_end(args);
    return clock_ns();
}

static void tell_after(CK_RV rv, uint64_t ns, va_list *args)
{
    const char *name = ckr_describe(rv)->name;
    struct line line = { .after = true };

    line_begin(&line);
    add_call(&line, call_name(), args);
    if (name != NULL)
        add(&line, " = %s", name);
    else
        add(&line, " = 0x%lx", (unsigned long)rv);
    add(&line, " in %llu us", (unsigned long long)(ns / 1000));
    line_write(&line);
}

static void count(CK_RV rv, uint64_t ns)
{
    const struct meter_event event = { .family = SERIES_CALL,
                                       .name = call_name(),
                                       .mechanism = SERIES_NOTHING,
                                       .result = rv,
                                       .ns = ns,
                                       .tries = 1 };

    meter_count(&event);
}

CK_RV trace_after(CK_RV rv, uint64_t began, ...)
{
    KEEP_ERRNO;
    uint64_t ns = clock_ns() - began;
    unsigned who = atomic_load_explicit(&traced, memory_order_relaxed);
    va_list args;

    if ((who & TRACE_METER) != 0)
        count(rv, ns);
    va_start(args, began);
    if (level(who) != 0)
        tell_after(rv, ns, &args);
    va_end(args);
    return rv;
}

/* file:PATH and level:N, divided by commas. */
static unsigned options(char *text, const char **path)
{
    unsigned wanted = 1;
    char *rest = NULL;

    for (char *one = strtok_r(text, ",", &rest); one != NULL; one = strtok_r(NULL, ",", &rest)) {
        if (strncmp(one, "file:", 5) == 0)
            *path = one + 5;
        else if (strncmp(one, "level:", 6) == 0)
            wanted = strtoul(one + 6, NULL, 10) > 1 ? 2 : 1;
    }
    return wanted;
}

/* A FIFO that nobody reads, or reads too slowly, holds up no call: what does not fit is lost. */
static bool open_file(const char *path)
{
    if (descriptor_take(
            &file,
            open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600)))
        return true;
    log_line("cannot write to the file of " PKCS11_BRIDGE_ENV_DEBUG ", %s: %s", path,
             strerror(errno));
    return false;
}

static void begin(const char *value)
{
    _cleanup_(free_scoped) char *text = OPENSSL_strdup(value);
    const char *path = "/dev/stderr";
    unsigned wanted;

    if (text == NULL)
        return;
    wanted = options(text, &path);
    to_stderr = strcmp(path, "/dev/stderr") == 0;
    if (to_stderr || open_file(path))
        (void)atomic_fetch_or(&traced, wanted);
}

void trace_begin(const char *configured)
{
    static atomic_bool begun;
    const char *value = environment(PKCS11_BRIDGE_ENV_DEBUG);

    if (value == NULL || value[0] == '\0')
        value = configured;
    if (value != NULL && !atomic_exchange(&begun, true))
        begin(value);
}

void trace_count(void)
{
    (void)atomic_fetch_or(&traced, TRACE_METER);
}
