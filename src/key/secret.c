#include "key/secret.h"

#include <string.h>

#include "base/scope.h"
#include "base/secret.h"
#include "key/load.h"
#include "module/call.h"
#include "token/run.h"

/* CKA_ALLOWED_MECHANISMS last, for who must not ask for it (pkcs11-module-quirks). */
static const CK_ATTRIBUTE_TYPE asked[] = {
    CKA_KEY_TYPE,
    CKA_ID,
    CKA_LABEL,
    CKA_PRIVATE,
    CKA_VALUE_LEN,
    CKA_ENCRYPT,
    CKA_DECRYPT,
    CKA_SIGN,
    CKA_DERIVE,
    CKA_SENSITIVE,
    CKA_EXTRACTABLE,
    CKA_CHECK_VALUE,
    CKA_ALLOWED_MECHANISMS,
};

static CK_RV look(const struct provider *provider, struct session *session, struct handle handle,
                  struct attributes *out)
{
    return attributes_read(session, handle, asked,
                           COUNT(asked) - provider->config.no_allowed_mechanisms, out);
}

static bool is_same(const struct key *key, const struct attributes *attributes)
{
    const CK_ATTRIBUTE *check = attribute(attributes, CKA_CHECK_VALUE);
    size_t len = attribute_ulong(attributes, CKA_VALUE_LEN, 0);

    return attribute_ulong(attributes, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION) ==
               key->object->type &&
           (len == 0 || key->secret_len == 0 || len == key->secret_len) &&
           (check == NULL || key->check.data == NULL ||
            bytes_are(&key->check, check->pValue, check->ulValueLen));
}

static CK_RV confirm(struct session *session, struct handle handle, void *arg)
{
    const struct key *key = arg;
    _cleanup_(free_scoped) struct attributes *attributes = OPENSSL_malloc(sizeof(*attributes));
    CK_RV rv = CKR_HOST_MEMORY;

    if (attributes != NULL)
        rv = look(key->provider, session, handle, attributes);
    if (rv != CKR_OK)
        return rv;
    return is_same(key, attributes) ? CKR_OK : RV_KEY_REPLACED;
}

static bool place(struct key *key, struct session *session, struct handle handle,
                  const struct attributes *attributes)
{
    struct object *object = OPENSSL_zalloc(sizeof(*object));

    key->object = object;
    if (object == NULL || !object_fill(object, attributes))
        return false;
    object->slot = session->slot;
    object->class = CKO_SECRET_KEY;
    object->type = attribute_ulong(attributes, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
    object->private = attribute_bool(attributes, CKA_PRIVATE, true);
    object->copying = key->provider->config.copying;
    handle_store(&object->handle, handle);
    object->confirm = confirm;
    object->confirm_arg = key;
    return true;
}

static bool fill(struct key *key, const struct attributes *attributes)
{
    const CK_ATTRIBUTE *check = attribute(attributes, CKA_CHECK_VALUE);

    key->kind = secret_kind_of(key->object->type);
    key->secret_len = attribute_ulong(attributes, CKA_VALUE_LEN, 0);
    key->extractable = attribute_bool(attributes, CKA_EXTRACTABLE, false) &&
                       !attribute_bool(attributes, CKA_SENSITIVE, true);
    return check == NULL || bytes_set(&key->check, check->pValue, check->ulValueLen);
}

CK_RV secret_key_read(struct provider *provider, struct session *session, struct handle handle,
                      struct key **out)
{
    _cleanup_(key_scoped) struct key *key = key_new(provider, KEY_SECRET);
    _cleanup_(free_scoped) struct attributes *attributes = OPENSSL_malloc(sizeof(*attributes));
    CK_RV rv = CKR_HOST_MEMORY;

    if (key != NULL && attributes != NULL)
        rv = look(provider, session, handle, attributes);
    if (rv != CKR_OK)
        return rv;
    if (!place(key, session, handle, attributes) || !fill(key, attributes))
        return CKR_HOST_MEMORY;
    *out = MOVE(key);
    return CKR_OK;
}

/* The first key, and whether it is the only one. */
static struct key *only_one(struct load *load)
{
    _cleanup_(key_scoped) struct key *key = NULL, *other = NULL;
    struct bytes none;

    if (load_next(load, &key, &none) != LOAD_KEY)
        return NULL;
    if (load->provider->config.ambiguous_first || load_next(load, &other, &none) != LOAD_KEY)
        return MOVE(key);
    error_raise(&load->provider->core, REASON_OBJECT,
                "cannot tell which secret key %s means, which fits several: put object= or id= in "
                "it, and serial= where several tokens have one (openssl storeutl lists them), or "
                "set pkcs11-ambiguous = first",
                load->uri.text);
    return NULL;
}

static bool is_of_kind(struct key *key, const struct secret_kind *kind)
{
    char uri[512];

    if (kind->type != CKK_AES || key->object->type == CKK_AES) {
        key->kind = kind;
        return true;
    }
    error_raise(&key->provider->core, REASON_KEY, "cannot use %s: it is no %s key (CKA_KEY_TYPE)",
                key_describe(key, uri, sizeof(uri)), kind->name);
    return false;
}

struct key *secret_key_open(struct provider *provider, const struct secret_kind *kind,
                            const char *uri)
{
    KEEP_ERRNO;
    struct load load;
    _cleanup_(key_scoped) struct key *key = NULL;

    if (load_begin(&load, provider, uri)) {
        load_want(&load, LOAD_SECRET);
        key = only_one(&load);
    }
    load_end(&load);
    return key != NULL && is_of_kind(key, kind) ? MOVE(key) : NULL;
}

const char *secret_key_uri(struct key *key)
{
    char *known = atomic_load(&key->uri), *made;
    char uri[1024];

    if (known != NULL)
        return known;
    made = OPENSSL_strdup(key_name(key, uri, sizeof(uri)));
    if (made == NULL || atomic_compare_exchange_strong(&key->uri, &known, made))
        return made;
    OPENSSL_free(made);
    return known;
}

static CK_RV take_value(struct session *session, struct handle handle, void *arg)
{
    return session_get_value(session, handle, CKA_VALUE, arg);
}

static bool value_keep(struct key *key, const struct room *room)
{
    struct secret *value = secret_new(room->data, room->len), *none = NULL;

    if (value != NULL && !atomic_compare_exchange_strong(&key->value, &none, value))
        secret_free(value);
    return value != NULL;
}

static bool value_read(struct key *key)
{
    struct pin_source pins = key_pins(key);
    const bool known = key->secret_len != 0 && key->secret_len <= SECRET_MAX;
    struct room room = { .size = known ? key->secret_len : SECRET_MAX,
                         .data = secret_memory(SECRET_MAX),
                         .exact = known };
    struct deed deed = { .what = "export" };
    char uri[512];
    CK_RV rv = CKR_HOST_MEMORY;

    if (room.data != NULL)
        rv = run_on_object(key->object, &pins, &deed, take_value, &room);
    if (rv == CKR_OK && !value_keep(key, &room))
        rv = CKR_HOST_MEMORY;
    secret_memory_free(room.data);
    if (rv != CKR_OK)
        error_raise_ckr(&key->provider->core, REASON_OPERATION, rv, "export %s",
                        key_describe(key, uri, sizeof(uri)));
    return rv == CKR_OK;
}

bool secret_key_export(struct key *key, struct view *out)
{
    KEEP_ERRNO;
    char uri[512];
    const struct secret *value;

    if (!key->extractable || !key->provider->config.allow_export) {
        error_raise(&key->provider->core, REASON_KEY, "cannot export %s: %s",
                    key_describe(key, uri, sizeof(uri)),
                    key->extractable ? "pkcs11-module-allow-export is off"
                                     : "its CKA_EXTRACTABLE is off, or CKA_SENSITIVE is on");
        return false;
    }
    if (atomic_load(&key->value) == NULL && !value_read(key))
        return false;
    value = atomic_load(&key->value);
    *out = (struct view){ (const uint8_t *)secret_data(value), secret_len(value) };
    return true;
}
