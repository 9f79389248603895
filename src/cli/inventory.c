#include "cli/inventory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/scope.h"
#include "base/text.h"
#include "cli/json.h"
#include "cli/say.h"
#include "key/key.h"
#include "key/open.h"
#include "mech/curve.h"
#include "token/run.h"

static const CK_ATTRIBUTE_TYPE names[] = {
    CKA_CLASS,   CKA_KEY_TYPE,     CKA_LABEL,     CKA_ID,
    CKA_MODULUS, CKA_MODULUS_BITS, CKA_EC_PARAMS, CKA_VALUE_LEN,
};
static const CK_ATTRIBUTE_TYPE uses[] = {
    CKA_PRIVATE,     CKA_SENSITIVE,
    CKA_EXTRACTABLE, CKA_LOCAL,
    CKA_SIGN,        CKA_VERIFY,
    CKA_DECRYPT,     CKA_ENCRYPT,
    CKA_DERIVE,      CKA_WRAP,
    CKA_UNWRAP,      CKA_ALWAYS_AUTHENTICATE,
    CKA_MODIFIABLE,  CKA_ALLOWED_MECHANISMS,
};

static void items_clear(struct inventory *inventory)
{
    for (CK_ULONG i = 0; i < inventory->count; i++) {
        OPENSSL_free(inventory->items[i].names);
        OPENSSL_free(inventory->items[i].uses);
        bytes_clear(&inventory->items[i].certificate);
    }
    OPENSSL_free(inventory->items);
    inventory->items = NULL;
    inventory->count = inventory->room = 0;
}

static struct item *item_add(struct inventory *inventory)
{
    CK_ULONG room = inventory->room != 0 ? 2 * inventory->room : 64;
    struct item *items;

    if (inventory->count == inventory->room) {
        items = OPENSSL_realloc(inventory->items, room * sizeof(*items));
        if (items == NULL)
            return NULL;
        inventory->items = items;
        inventory->room = room;
    }
    inventory->items[inventory->count] = (struct item){ .class = CKO_DATA };
    return &inventory->items[inventory->count++];
}

static CK_RV read_some(struct session *session, struct handle handle,
                       const CK_ATTRIBUTE_TYPE *types, CK_ULONG count, struct attributes **out)
{
    _cleanup_(free_scoped) struct attributes *read = OPENSSL_malloc(sizeof(*read));
    size_t size;
    CK_RV rv;

    if (read == NULL)
        return CKR_HOST_MEMORY;
    rv = attributes_read(session, handle, types, count, read);
    if (rv == CKR_OK)
        *out = attributes_pack(read, &size);
    return rv != CKR_OK || *out != NULL ? rv : CKR_HOST_MEMORY;
}

static CK_RV read_item(struct session *session, struct handle handle, struct inventory *inventory)
{
    struct item *item = item_add(inventory);
    CK_RV rv = item != NULL ? read_some(session, handle, names, COUNT(names), &item->names)
                            : CKR_HOST_MEMORY;

    if (rv != CKR_OK)
        return rv;
    item->class = attribute_ulong(item->names, CKA_CLASS, CKO_DATA);
    if (!inventory->in_full)
        return CKR_OK;
    rv = read_some(session, handle, uses, COUNT(uses), &item->uses);
    if (rv == CKR_OK && item->class == CKO_CERTIFICATE)
        rv = attribute_value(session, handle, CKA_VALUE, &item->certificate);
    return rv;
}

/* All that the URI names on one token. */
static CK_RV read_all(struct session *session, void *arg)
{
    struct inventory *inventory = arg;
    _cleanup_(handles_clear) struct handles handles = { NULL, 0, 0 };
    CK_ATTRIBUTE template[TEMPLATE_MAX];
    CK_OBJECT_CLASS class;
    CK_ULONG count = 0;
    CK_RV rv;

    items_clear(inventory); /* of a try before this */
    if (uri_class(&inventory->uri, &class))
        template[count++] = (CK_ATTRIBUTE){ CKA_CLASS, &class, sizeof(class) };
    count = uri_add_names(&inventory->uri, template, count);
    rv = session_find_all(session, template, count, END_WHEN_NONE, &handles);
    for (CK_ULONG i = 0; rv == CKR_OK && i < handles.count; i++)
        rv = read_item(session, handles.list[i], inventory);
    return rv;
}

static CK_RV read_with(struct inventory *inventory, bool login)
{
    struct run run = { .slot = inventory->slot,
                       .purpose = TO_READ,
                       .login = login,
                       .elsewhere = true,
                       .pins = &inventory->pins,
                       .task = read_all,
                       .arg = inventory };

    return run_task(&run);
}

bool inventory_begin(struct inventory *inventory, struct context *context, const char *text,
                     bool in_full)
{
    struct provider *provider = context->provider;
    struct module *module;

    *inventory = (struct inventory){ .context = context, .in_full = in_full };
    if (open_uri(provider, text, "the URI", &inventory->uri, &inventory->pins) &&
        (module = provider_module(provider, inventory->uri.module_path)) != NULL) {
        context_ask(&inventory->pins);
        scan_begin(&inventory->scan, module, &inventory->uri, &provider->config.limits);
        scan_all(&inventory->scan);
        return true;
    }
    complain_openssl("the URI cannot be used");
    inventory->failed = true;
    return false;
}

static void raise(struct inventory *inventory, CK_RV rv)
{
    error_raise_ckr(&inventory->context->provider->core, REASON_TOKEN_FAILED, rv, "list %s",
                    inventory->uri.text);
}

/* What can be seen without a login, where there is none to be had. */
static void read_token(struct inventory *inventory)
{
    CK_RV rv = read_with(inventory, true);

    inventory->no_login = rv != CKR_OK;
    if (rv == CKR_OK)
        return;
    raise(inventory, rv);
    (void)error_text("the login failed", inventory->reason, sizeof(inventory->reason));
    rv = read_with(inventory, false);
    if (rv == CKR_OK)
        return;
    items_clear(inventory);
    raise(inventory, rv);
    complain_openssl("the token cannot be read");
    inventory->failed = true;
}

static bool end(struct inventory *inventory, CK_RV rv)
{
    inventory->slot = NULL;
    if (rv == CKR_OK && inventory->tokens != 0)
        return false;
    if (rv == CKR_OK)
        rv = inventory->scan.failure;
    if (rv != CKR_OK)
        raise(inventory, rv);
    else
        open_raise_no_token(inventory->context->provider, &inventory->uri, &inventory->scan);
    complain_openssl("there is no token");
    inventory->failed = true;
    return false;
}

bool inventory_next(struct inventory *inventory)
{
    CK_RV rv;

    items_clear(inventory);
    rv = scan_next(&inventory->scan, &inventory->slot);
    if (rv != CKR_OK || inventory->slot == NULL)
        return end(inventory, rv);
    inventory->tokens++;
    read_token(inventory);
    return true;
}

void inventory_end(struct inventory *inventory)
{
    items_clear(inventory);
    scan_end(&inventory->scan);
    uri_clear(&inventory->uri);
}

const char *item_class(const struct item *item)
{
    static const struct {
        CK_OBJECT_CLASS class;
        const char *name;
    } classes[] = { { CKO_PRIVATE_KEY, "private key" },
                    { CKO_PUBLIC_KEY, "public key" },
                    { CKO_CERTIFICATE, "certificate" },
                    { CKO_SECRET_KEY, "secret key" } };

    for (size_t i = 0; i < COUNT(classes); i++)
        if (classes[i].class == item->class)
            return classes[i].name;
    return "data";
}

static const char *type_name(CK_KEY_TYPE type)
{
    static const struct {
        CK_KEY_TYPE type;
        const char *name;
    } types[] = {
        { CKK_RSA, "RSA" },          { CKK_EC, "EC" },     { CKK_EC_EDWARDS, "EC" },
        { CKK_EC_MONTGOMERY, "EC" }, { CKK_DSA, "DSA" },   { CKK_DH, "DH" },
        { CKK_AES, "AES" },          { CKK_DES3, "DES3" }, { CKK_GENERIC_SECRET, "generic" }
    };

    for (size_t i = 0; i < COUNT(types); i++)
        if (types[i].type == type)
            return types[i].name;
    return "?";
}

static unsigned bits_of(const struct item *item)
{
    const CK_ATTRIBUTE *modulus = attribute(item->names, CKA_MODULUS);
    const uint8_t *value = modulus != NULL ? modulus->pValue : NULL;
    CK_ULONG len = modulus != NULL ? modulus->ulValueLen : 0;

    while (len != 0 && *value == 0) {
        value++;
        len--;
    }
    return len != 0 ? (unsigned)(8 * len) - (unsigned)__builtin_clz(*value) + 24
           : item->class == CKO_SECRET_KEY
               ? 8 * (unsigned)attribute_ulong(item->names, CKA_VALUE_LEN, 0)
               : (unsigned)attribute_ulong(item->names, CKA_MODULUS_BITS, 0);
}

const char *item_type(const struct item *item, char *buf, size_t size)
{
    const CK_ATTRIBUTE *params = attribute(item->names, CKA_EC_PARAMS);
    const struct curve *curve =
        params != NULL ? curve_by_params((struct view){ params->pValue, params->ulValueLen })
                       : NULL;
    unsigned bits = bits_of(item);
    char name[64];

    if (item->class == CKO_CERTIFICATE || item->class == CKO_DATA)
        (void)snprintf(buf, size, "%s", item->class == CKO_DATA ? "" : "X.509");
    else if (curve != NULL)
        (void)snprintf(buf, size, "%s%s", curve->kind == CURVE_EC ? "EC " : "",
                       curve_name(curve, name, sizeof(name)));
    else
        (void)snprintf(
            buf, size, bits != 0 ? "%s %u" : "%s",
            type_name(attribute_ulong(item->names, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION)),
            bits);
    return buf;
}

static const CK_ATTRIBUTE *name_of(const struct item *item, CK_ATTRIBUTE_TYPE type)
{
    static const CK_ATTRIBUTE none = { 0, NULL, 0 };
    const CK_ATTRIBUTE *found = attribute(item->names, type);

    return found != NULL ? found : &none;
}

const char *item_label(const struct item *item, char *buf, size_t size)
{
    const CK_ATTRIBUTE *label = name_of(item, CKA_LABEL);
    size_t len = label->ulValueLen < size ? label->ulValueLen : size - 1;

    text_printable(label->pValue, len, buf);
    return buf;
}

const char *item_id(const struct item *item, char *buf, size_t size)
{
    const CK_ATTRIBUTE *id = name_of(item, CKA_ID);
    const uint8_t *value = id->pValue;

    buf[0] = '\0';
    for (CK_ULONG i = 0; i < id->ulValueLen && 2 * i + 3 <= size; i++)
        (void)snprintf(buf + 2 * i, 3, "%02x", value[i]);
    return buf;
}

char *item_uri(const struct item *item, const struct provider *provider, struct slot *slot)
{
    const CK_ATTRIBUTE *id = name_of(item, CKA_ID), *label = name_of(item, CKA_LABEL);
    CK_TOKEN_INFO info = key_token_name(provider, slot);

    return uri_format(&info, item->class, id->pValue, id->ulValueLen, label->pValue,
                      label->ulValueLen);
}

void item_json(struct json *json, const struct item *item, const struct inventory *inventory)
{
    char *uri = item_uri(item, inventory->context->provider, inventory->slot);
    char text[256];

    json_text(json, "class", item_class(item));
    json_text(json, "type", item_type(item, text, sizeof(text)));
    json_text(json, "label", item_label(item, text, sizeof(text)));
    json_text(json, "id", item_id(item, text, sizeof(text)));
    json_text(json, "uri", uri);
    free(uri);
}
