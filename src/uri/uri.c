#include "uri/uri.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/crypto.h>

#include "base/scope.h"

/* A piece of the text that is being parsed. */
struct span {
    const char *start;
    size_t len;
};

static struct span after(struct span text, size_t len)
{
    return (struct span){ text.start + len, text.len - len };
}

/* Whatever the case of its letters. */
static bool begins(struct span text, const char *word)
{
    return text.len >= strlen(word) && strncasecmp(text.start, word, strlen(word)) == 0;
}

struct parse {
    struct uri *uri;
    bool allow_module;
    char normal[URI_MAX]; /* what p11-kit gets: no PIN, no module, blanks encoded */
    size_t normal_len;
    unsigned long seen; /* bit n: attribute n of the table */
    char *why;
    size_t why_size;
};

enum place { IN_PATH = 1, IN_QUERY = 2 };

struct attribute {
    const char *name;
    unsigned places;
    /* Takes the value where p11-kit is not to get it. */
    bool (*take)(struct parse *parse, const struct attribute *attribute, struct span value);
    size_t flag; /* the bool of struct uri that this attribute sets */
};

__attribute__((format(printf, 2, 3))) static bool fail(const struct parse *parse,
                                                       const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(parse->why, parse->why_size, format, args);
    va_end(args);
    return false;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decodes %xx into out (size bytes, NUL added). The length, or -1 on a bad or too long value. */
static long percent_decode(struct span value, char *out, size_t size)
{
    size_t len = 0;

    for (size_t i = 0; i < value.len; i++) {
        int c = (unsigned char)value.start[i];

        if (c == '%') {
            int high = i + 1 < value.len ? hex_value(value.start[i + 1]) : -1;
            int low = i + 2 < value.len ? hex_value(value.start[i + 2]) : -1;

            if (high < 0 || low < 0)
                return -1;
            c = high * 16 + low;
            i += 2;
        }
        if (len + 1 >= size)
            return -1;
        out[len++] = (char)c;
    }
    out[len] = '\0';
    return (long)len;
}

static bool take_pin_value(struct parse *parse, const struct attribute *attribute,
                           struct span value)
{
    char pin[SECRET_MAX + 1];
    long len = percent_decode(value, pin, sizeof(pin));

    secret_free(MOVE(parse->uri->pin));
    if (len >= 0)
        parse->uri->pin = secret_new(pin, (size_t)len);
    OPENSSL_cleanse(pin, sizeof(pin));
    return parse->uri->pin != NULL || fail(parse, "%s is malformed", attribute->name);
}

static bool take_variable(struct parse *parse, const char *name)
{
    char why[256];
    struct secret *pin = secret_from_variable(name, why, sizeof(why));

    if (pin == NULL)
        return fail(parse, "pin-source: %s", why);
    if (parse->uri->pin == NULL) /* pin-value comes first */
        parse->uri->pin = MOVE(pin);
    secret_free(pin);
    return true;
}

static bool take_source(struct parse *parse, const struct attribute *attribute, const char *path)
{
    if (path[0] == '|')
        return fail(parse, "%s names a program, which is not run: use file:/path", attribute->name);
    if (strncmp(path, "env:", 4) == 0)
        return take_variable(parse, path + 4);
    if (strncmp(path, "file:", 5) == 0)
        path += 5;
    if (strncmp(path, "//", 2) == 0)
        path += 2;
    if (path[0] != '/')
        return fail(parse, "%s: only file:/path, absolute paths and env:NAME are accepted",
                    attribute->name); /* it may be the PIN itself */
    parse->uri->pin_file = OPENSSL_strdup(path);
    return parse->uri->pin_file != NULL || fail(parse, "out of memory");
}

static bool take_pin_source(struct parse *parse, const struct attribute *attribute,
                            struct span value)
{
    char source[URI_MAX];
    long len = percent_decode(value, source, sizeof(source));
    bool ok = len >= 0 && strlen(source) == (size_t)len
                  ? take_source(parse, attribute, source)
                  : fail(parse, "%s is malformed", attribute->name);

    OPENSSL_cleanse(source, sizeof(source)); /* it may be the PIN itself */
    return ok;
}

static bool take_module(struct parse *parse, const struct attribute *attribute, struct span value)
{
    char path[URI_MAX];

    if (!parse->allow_module)
        return fail(parse,
                    "%s is refused in a URI unless pkcs11-allow-uri-module = yes, because it "
                    "loads code",
                    attribute->name);
    if (strcmp(attribute->name, "module-path") != 0)
        return fail(parse, "%s is not supported: use module-path", attribute->name);
    if (percent_decode(value, path, sizeof(path)) <= 0 || path[0] != '/')
        return fail(parse, "module-path is malformed: an absolute path is wanted");
    parse->uri->module_path = OPENSSL_strdup(path);
    return parse->uri->module_path != NULL || fail(parse, "out of memory");
}

#define FLAG(name) offsetof(struct uri, name)
#define NO_FLAG    ((size_t)-1)

/* RFC 7512 §2.3, §2.4; pinfile is what drafts of it called pin-source. */
static const struct attribute attributes[] = {
    { "token", IN_PATH, NULL, FLAG(names_token) },
    { "manufacturer", IN_PATH, NULL, FLAG(names_token) },
    { "serial", IN_PATH, NULL, FLAG(names_token) },
    { "model", IN_PATH, NULL, FLAG(names_token) },
    { "library-manufacturer", IN_PATH, NULL, FLAG(names_library) },
    { "library-version", IN_PATH, NULL, FLAG(names_library) },
    { "library-description", IN_PATH, NULL, FLAG(names_library) },
    { "slot-id", IN_PATH, NULL, FLAG(names_token) },
    { "slot-description", IN_PATH, NULL, FLAG(names_slot) },
    { "slot-manufacturer", IN_PATH, NULL, FLAG(names_slot) },
    { "object", IN_PATH, NULL, FLAG(names_object) },
    { "id", IN_PATH, NULL, FLAG(names_object) },
    { "type", IN_PATH, NULL, NO_FLAG },
    { "object-type", IN_PATH, NULL, NO_FLAG },
    { "pin-value", IN_PATH | IN_QUERY, take_pin_value, NO_FLAG },
    { "pin-source", IN_PATH | IN_QUERY, take_pin_source, NO_FLAG },
    { "pinfile", IN_PATH | IN_QUERY, take_pin_source, NO_FLAG },
    { "module-name", IN_QUERY, take_module, NO_FLAG },
    { "module-path", IN_QUERY, take_module, NO_FLAG },
};

static const struct attribute *attribute_find(struct span name, enum place place)
{
    for (size_t i = 0; i < COUNT(attributes); i++)
        if (strlen(attributes[i].name) == name.len && (attributes[i].places & place) != 0 &&
            memcmp(attributes[i].name, name.start, name.len) == 0)
            return &attributes[i];
    return NULL;
}

static bool normal_add(struct parse *parse, const char *text, size_t len)
{
    if (parse->normal_len + len >= sizeof(parse->normal))
        return fail(parse, "the URI is too long");
    memcpy(parse->normal + parse->normal_len, text, len);
    parse->normal_len += len;
    parse->normal[parse->normal_len] = '\0';
    return true;
}

/* Adds one attribute for p11-kit; a blank within a value counts as the %20 that it should be. */
static bool normal_add_attribute(struct parse *parse, struct span attribute)
{
    bool first = parse->normal_len == P11_KIT_URI_SCHEME_LEN + 1;
    bool ok = first || normal_add(parse, ";", 1);

    for (size_t i = 0; ok && i < attribute.len; i++)
        ok = attribute.start[i] == ' ' ? normal_add(parse, "%20", 3)
                                       : normal_add(parse, attribute.start + i, 1);
    return ok;
}

/* Whether text begins like an attribute with a PIN: the name, and what may stand for the = after
 * it. The name alone may be in any label. */
static bool begins_pin(struct span text)
{
    static const char *const names[] = { "pin-value", "pin-source", "pinfile" };
    static const char *const marks[] = { "=", ":", "%3d", "%3a" };
    size_t n = 0, m = 0;

    while (n < COUNT(names) && !begins(text, names[n]))
        n++;
    if (n == COUNT(names))
        return false;
    text = after(text, strlen(names[n]));
    while (begins(text, " ") || begins(text, "%20"))
        text = after(text, begins(text, " ") ? 1 : 3);
    while (m < COUNT(marks) && !begins(text, marks[m]))
        m++;
    return m < COUNT(marks);
}

/* After another separator than the one that belongs there a PIN is part of what stands before it,
 * and would be told with that. */
static bool hides_pin(struct span whole)
{
    for (size_t at = 1; at < whole.len; at++)
        if (begins_pin(after(whole, at)))
            return true;
    return false;
}

/* Remembers why nothing can match; the first reason is kept. */
static bool impossible(struct parse *parse, const char *name, size_t len, const char *why)
{
    char text[128];

    if (parse->uri->impossible != NULL)
        return true;
    if (parse->uri->pin != NULL || begins_pin((struct span){ name, len }))
        len = 0; /* it may be the PIN, or the rest of one */
    (void)snprintf(text, sizeof(text), "%s%.*s %s", len != 0 ? "the attribute " : "an attribute",
                   (int)(len < 64 ? len : 64), name, why);
    parse->uri->impossible = OPENSSL_strdup(text);
    return parse->uri->impossible != NULL || fail(parse, "out of memory");
}

/* Lets p11-kit judge the attribute by itself, so that an error can name it; in its normal form,
 * because p11-kit passes over blanks. */
static bool attribute_check(struct parse *parse, const struct attribute *known, struct span value,
                            const char *normal)
{
    char one[URI_MAX + 32];
    P11KitUri *uri = p11_kit_uri_new();
    int rv, unrecognized;
    int quoted = parse->uri->pin == NULL ? (int)value.len : 0; /* it may be the rest of the PIN */

    (void)snprintf(one, sizeof(one), "pkcs11:%s=%s", known->name, strchr(normal, '=') + 1);
    rv = p11_kit_uri_parse(one, P11_KIT_URI_FOR_ANY, uri);
    unrecognized = rv == P11_KIT_URI_OK && p11_kit_uri_any_unrecognized(uri);
    p11_kit_uri_free(uri);
    if (strcmp(known->name, "slot-id") == 0 && (value.len == 0 || value.len > 18))
        return fail(parse, "the attribute slot-id is malformed: a number is wanted");
    if (rv != P11_KIT_URI_OK)
        return fail(parse, "the attribute %s=%.*s is malformed: %s", known->name, quoted,
                    value.start, p11_kit_uri_message(rv));
    if (unrecognized && strstr(known->name, "type") != NULL)
        return fail(parse,
                    "the attribute %s=%.*s is malformed: it may be cert, public, private, "
                    "secret-key or data",
                    known->name, quoted, value.start);
    return !unrecognized || impossible(parse, known->name, strlen(known->name), "is too long");
}

static bool attribute_known(struct parse *parse, const struct attribute *known, struct span whole,
                            struct span value)
{
    unsigned long bit = 1UL << (known - attributes);
    const char *normal = parse->normal + parse->normal_len;

    if ((parse->seen & bit) != 0)
        return fail(parse, "the attribute %s is given twice", known->name);
    parse->seen |= bit;
    if (known->take != NULL)
        return known->take(parse, known, value);
    if (known->flag != NO_FLAG)
        *(bool *)((char *)parse->uri + known->flag) = true;
    return normal_add_attribute(parse, whole) && attribute_check(parse, known, value, normal);
}

/* RFC 7512 leaves room for vendors: an unknown path attribute makes the URI match nothing, an
 * unknown query attribute is nothing to us. */
static bool attribute_unknown(struct parse *parse, struct span name, enum place place)
{
    return place == IN_QUERY || impossible(parse, name.start, name.len, "is unknown");
}

static struct span trim(struct span span)
{
    while (span.len > 0 && isspace((unsigned char)span.start[0]))
        span = (struct span){ span.start + 1, span.len - 1 };
    while (span.len > 0 && isspace((unsigned char)span.start[span.len - 1]))
        span.len--;
    return span;
}

/* What is no attribute may be a piece of a PIN, and is not told. */
static bool malformed(const struct parse *parse, struct span whole, enum place place)
{
    bool nameless =
        whole.len != 0 && whole.start[0] == '=' && parse->uri->pin == NULL && !hides_pin(whole);

    if (!nameless && attribute_find(whole, place) == NULL)
        return fail(parse, "one of the attributes is malformed: name=value is wanted");
    return fail(parse, "the attribute \"%.*s\" is malformed: name=value is wanted", (int)whole.len,
                whole.start);
}

static bool attribute_parse(struct parse *parse, struct span whole, enum place place)
{
    const char *equals = memchr(whole.start, '=', whole.len);
    const struct attribute *known;
    struct span name, value;

    if (equals == NULL || equals == whole.start)
        return malformed(parse, whole, place);
    if (hides_pin(whole))
        return fail(parse, "a PIN stands within another attribute: ; separates attributes, ? "
                           "comes before those of the query, and & separates these");
    name = (struct span){ whole.start, (size_t)(equals - whole.start) };
    value = (struct span){ equals + 1, whole.len - name.len - 1 };
    known = attribute_find(name, place);
    return known != NULL ? attribute_known(parse, known, whole, value)
                         : attribute_unknown(parse, name, place);
}

/* Parses attributes that separator divides; an empty list is a valid one. */
static bool list_parse(struct parse *parse, struct span list, char separator, enum place place)
{
    if (trim(list).len == 0)
        return true;
    for (;;) {
        const char *end = memchr(list.start, separator, list.len);
        size_t len = end != NULL ? (size_t)(end - list.start) : list.len;

        if (!attribute_parse(parse, trim((struct span){ list.start, len }), place))
            return false;
        if (end == NULL)
            return true;
        list = (struct span){ end + 1, list.len - len - 1 };
    }
}

static bool characters_check(const struct parse *parse, const char *text)
{
    for (const char *c = text; *c != '\0'; c++)
        if (iscntrl((unsigned char)*c) && !isspace((unsigned char)*c))
            return fail(parse, "a control character is not allowed");
    return true;
}

static bool split(struct parse *parse, const char *text)
{
    const char *path = text + P11_KIT_URI_SCHEME_LEN + 1;
    const char *question = strchr(path, '?');
    struct span attrs = { path, question != NULL ? (size_t)(question - path) : strlen(path) };

    if (!list_parse(parse, attrs, ';', IN_PATH))
        return false;
    if (question == NULL)
        return true;
    return list_parse(parse, (struct span){ question + 1, strlen(question + 1) }, '&', IN_QUERY);
}

/* For messages, which have room for other things too. */
static bool text_keep(struct parse *parse)
{
    static const char more[] = "...";

    parse->uri->text = OPENSSL_strndup(parse->normal, URI_SHOWN_MAX);
    if (parse->uri->text != NULL && parse->normal_len > URI_SHOWN_MAX)
        memcpy(parse->uri->text + URI_SHOWN_MAX + 1 - sizeof(more), more, sizeof(more));
    return parse->uri->text != NULL || fail(parse, "out of memory");
}

static bool finish(struct parse *parse)
{
    int rv;

    parse->uri->p11 = p11_kit_uri_new();
    if (parse->uri->p11 == NULL)
        return fail(parse, "out of memory");
    rv = p11_kit_uri_parse(parse->normal, P11_KIT_URI_FOR_ANY, parse->uri->p11);
    if (rv != P11_KIT_URI_OK)
        return fail(parse, "%s", p11_kit_uri_message(rv));
    return text_keep(parse);
}

static bool parse_all(struct parse *parse, const char *text)
{
    if (strncasecmp(text, P11_KIT_URI_SCHEME ":", P11_KIT_URI_SCHEME_LEN + 1) != 0)
        return fail(parse, "it does not begin with \"pkcs11:\"");
    if (strlen(text) >= URI_MAX)
        return fail(parse, "the URI is too long");
    return characters_check(parse, text) && normal_add(parse, "pkcs11:", 7) && split(parse, text) &&
           finish(parse);
}

bool uri_parse(const char *text, bool allow_module, struct uri *out, char *why, size_t size)
{
    struct parse parse = { .uri = out, .allow_module = allow_module, .why = why, .why_size = size };

    *out = (struct uri){ 0 };
    if (parse_all(&parse, text))
        return true;
    uri_clear(out);
    return false;
}

void uri_clear(struct uri *uri)
{
    p11_kit_uri_free(uri->p11);
    OPENSSL_free(uri->text);
    OPENSSL_free(uri->pin_file);
    OPENSSL_free(uri->module_path);
    OPENSSL_free(uri->impossible);
    secret_free(uri->pin);
    *uri = (struct uri){ 0 };
}

bool uri_matches_token(const struct uri *uri, CK_SLOT_ID id, const CK_TOKEN_INFO *token)
{
    CK_SLOT_ID wanted = p11_kit_uri_get_slot_id(uri->p11);

    return (wanted == (CK_SLOT_ID)-1 || wanted == id) &&
           p11_kit_uri_match_token_info(uri->p11, token);
}

bool uri_names_one_token(const struct uri *uri)
{
    CK_UTF8CHAR first = p11_kit_uri_get_token_info(uri->p11)->serialNumber[0];

    return (first != '\0' && first != ' ') || p11_kit_uri_get_slot_id(uri->p11) != (CK_SLOT_ID)-1;
}

void uri_default_slot(struct uri *uri, CK_SLOT_ID id)
{
    if (uri->names_token || uri->names_slot)
        return;
    p11_kit_uri_set_slot_id(uri->p11, id);
    uri->names_token = true;
}

bool uri_matches_slot(const struct uri *uri, const CK_SLOT_INFO *slot)
{
    return p11_kit_uri_match_slot_info(uri->p11, slot);
}

bool uri_matches_library(const struct uri *uri, const CK_INFO *library)
{
    return p11_kit_uri_match_module_info(uri->p11, library);
}

const CK_ATTRIBUTE *uri_id(const struct uri *uri)
{
    return p11_kit_uri_get_attribute(uri->p11, CKA_ID);
}

const CK_ATTRIBUTE *uri_label(const struct uri *uri)
{
    return p11_kit_uri_get_attribute(uri->p11, CKA_LABEL);
}

CK_ULONG uri_add_names(const struct uri *uri, CK_ATTRIBUTE *template, CK_ULONG count)
{
    if (uri_id(uri) != NULL)
        template[count++] = *uri_id(uri);
    if (uri_label(uri) != NULL)
        template[count++] = *uri_label(uri);
    return count;
}

bool uri_class(const struct uri *uri, CK_OBJECT_CLASS *class)
{
    const CK_ATTRIBUTE *attribute = p11_kit_uri_get_attribute(uri->p11, CKA_CLASS);

    if (attribute == NULL || attribute->ulValueLen != sizeof(*class))
        return false;
    memcpy(class, attribute->pValue, sizeof(*class));
    return true;
}

static void attribute_set(P11KitUri *uri, CK_ATTRIBUTE_TYPE type, const void *value, size_t len)
{
    CK_ATTRIBUTE attribute = { type, (void *)(uintptr_t)value, len };

    if (len != 0)
        (void)p11_kit_uri_set_attribute(uri, &attribute);
}

/* Labels of C modules end in NUL; URIs want blanks, and nothing where there is nothing. */
static void copy_text(CK_UTF8CHAR *to, const CK_UTF8CHAR *from, size_t len)
{
    size_t used = 0;

    for (size_t i = 0; i < len; i++)
        if (from[i] != ' ' && from[i] != '\0')
            used = i + 1;
    if (used == 0)
        return;
    memset(to, ' ', len);
    memcpy(to, from, used);
}

/* Frees uri. */
static char *format_object(P11KitUri *uri, const void *id, size_t id_len, const void *label,
                           size_t label_len)
{
    char *text = NULL;

    attribute_set(uri, CKA_ID, id, id_len);
    attribute_set(uri, CKA_LABEL, label, label_len);
    if (p11_kit_uri_format(uri, P11_KIT_URI_FOR_OBJECT_ON_TOKEN, &text) != P11_KIT_URI_OK)
        text = NULL;
    p11_kit_uri_free(uri);
    return text;
}

char *uri_format(const CK_TOKEN_INFO *token, CK_OBJECT_CLASS class, const void *id, size_t id_len,
                 const void *label, size_t label_len)
{
    P11KitUri *uri = p11_kit_uri_new();
    CK_TOKEN_INFO *info;

    if (uri == NULL)
        return NULL;
    info = p11_kit_uri_get_token_info(uri);
    copy_text(info->label, token->label, sizeof(info->label));
    copy_text(info->manufacturerID, token->manufacturerID, sizeof(info->manufacturerID));
    copy_text(info->model, token->model, sizeof(info->model));
    copy_text(info->serialNumber, token->serialNumber, sizeof(info->serialNumber));
    attribute_set(uri, CKA_CLASS, &class, sizeof(class));
    return format_object(uri, id, id_len, label, label_len);
}

char *uri_format_short(const CK_TOKEN_INFO *token, const void *id, size_t id_len, const void *label,
                       size_t label_len)
{
    P11KitUri *uri = p11_kit_uri_new();

    if (uri == NULL)
        return NULL;
    copy_text(p11_kit_uri_get_token_info(uri)->label, token->label, sizeof(token->label));
    return format_object(uri, id, id_len, label, label_len);
}

/* The length of the URI that text begins with: up to a blank, and without what ends a clause. */
static size_t uri_len(const char *text)
{
    size_t len = strcspn(text, " \t\n\"'()");

    while (len > P11_KIT_URI_SCHEME_LEN + 1 && strchr(":,;.", text[len - 1]) != NULL)
        len--;
    return len;
}

/* The attribute of that name in a URI of len bytes; of length 0 where there is none. */
static struct span uri_attribute(const char *text, size_t len, const char *name)
{
    const char *end = text + len;

    for (const char *at = text + P11_KIT_URI_SCHEME_LEN + 1; at < end; at++) {
        size_t one = strcspn(at, ";?&");

        one = one < (size_t)(end - at) ? one : (size_t)(end - at);
        if (strncmp(at, name, strlen(name)) == 0 && at[strlen(name)] == '=')
            return (struct span){ at, one };
        at += one;
    }
    return (struct span){ NULL, 0 };
}

static size_t shorten_one(const char *uri, size_t len, char *out, size_t size)
{
    struct span token = uri_attribute(uri, len, "token");
    struct span object = uri_attribute(uri, len, "object");

    if (object.len == 0)
        object = uri_attribute(uri, len, "id");
    if (token.len == 0 && object.len == 0)
        return (size_t)snprintf(out, size, "%.*s", (int)len, uri);
    return (size_t)snprintf(out, size, "pkcs11:%.*s%s%.*s", (int)token.len, token.start,
                            token.len != 0 && object.len != 0 ? ";" : "", (int)object.len,
                            object.start);
}

void uri_shorten(const char *text, char *out, size_t size)
{
    size_t used = 0;

    while (*text != '\0' && used + 1 < size) {
        size_t len = strncmp(text, "pkcs11:", 7) == 0 ? uri_len(text) : 0;

        if (len == 0) {
            out[used++] = *text++;
            continue;
        }
        used += shorten_one(text, len, out + used, size - used);
        text += len;
    }
    out[used < size ? used : size - 1] = '\0';
}
