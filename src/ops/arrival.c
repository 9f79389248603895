#include "ops/arrival.h"

#include <string.h>

#include "base/scope.h"
#include "base/secret.h"
#include "ops/params.h"
#include "pkcs11_bridge.h"

static int set_text(char **at, const OSSL_PARAM *p)
{
    const char *text = NULL;

    secret_text_free(MOVE(*at));
    if (text_param_get(p, &text))
        *at = secret_text(text, p->data_type == OSSL_PARAM_UTF8_PTR ? strlen(text)
                                                                    : strnlen(text, p->data_size));
    return *at != NULL;
}

static int set_uri(void *varrival, const OSSL_PARAM *p)
{
    struct arrival *arrival = varrival;

    return set_text(&arrival->uri, p);
}

static int set_with(void *varrival, const OSSL_PARAM *p)
{
    struct arrival *arrival = varrival;

    return set_text(&arrival->with, p);
}

static int set_wrapped(void *varrival, const OSSL_PARAM *p)
{
    struct arrival *arrival = varrival;
    const void *data = NULL;
    size_t len = 0;

    if (!OSSL_PARAM_get_octet_string_ptr(p, &data, &len) || data == NULL)
        return 0;
    arrival->wrapped = (struct view){ data, len };
    return 1;
}

static int set_by(void *varrival, const OSSL_PARAM *p)
{
    struct arrival *arrival = varrival;
    const char *name = NULL;

    if (!text_param_get(p, &name))
        return 0;
    arrival->by = wrap_find(name);
    return arrival->by != NULL ||
           refuse(arrival->provider, "pkcs11_wrapped_by may be " WRAP_NAMES ", not", name);
}

static int set_extractable(void *varrival, const OSSL_PARAM *p)
{
    struct arrival *arrival = varrival;
    int value = 0;

    if (!OSSL_PARAM_get_int(p, &value))
        return 0;
    arrival->extractable = value != 0;
    return 1;
}

static int set_if_exists(void *varrival, const OSSL_PARAM *p)
{
    struct arrival *arrival = varrival;
    const char *text = NULL;

    if (!text_param_get(p, &text))
        return 0;
    arrival->add = strcmp(text, "add") == 0;
    return arrival->add || strcmp(text, "error") == 0 ||
           refuse(arrival->provider, "pkcs11_if_exists may be error or add, not", text);
}

#define SETTABLE(ROW)                                                                              \
    ROW(PKCS11_BRIDGE_KEYGEN_URI, utf8_string, set_uri, WHOLE)                                     \
    ROW(PKCS11_BRIDGE_KEYGEN_IF_EXISTS, utf8_string, set_if_exists, WHOLE)                         \
    ROW(PKCS11_BRIDGE_IMPORT_WRAPPED, octet_string, set_wrapped, WHOLE)                            \
    ROW(PKCS11_BRIDGE_IMPORT_WITH, utf8_string, set_with, WHOLE)                                   \
    ROW(PKCS11_BRIDGE_IMPORT_BY, utf8_string, set_by, WHOLE)                                       \
    ROW(PKCS11_BRIDGE_IMPORT_EXTRACTABLE, int, set_extractable, WHOLE)

PARAM_SETTERS(setters, SETTABLE);

bool arrival_read(struct arrival *arrival, struct provider *provider, const OSSL_PARAM params[])
{
    *arrival = (struct arrival){ .provider = provider };
    if (!params_set(setters, arrival, params))
        return false;
    return (arrival->wrapped.data == NULL) == (arrival->with == NULL) ||
           refuse(provider, "a wrapped key comes with both of",
                  PKCS11_BRIDGE_IMPORT_WRAPPED ", " PKCS11_BRIDGE_IMPORT_WITH);
}

const struct making_way *arrival_way(struct arrival *arrival)
{
    arrival->order = (struct unwrap_order){ .provider = arrival->provider,
                                            .with = arrival->with,
                                            .way = arrival->by,
                                            .blob = arrival->wrapped };
    return unwrap_begin(&arrival->unwrapping, &arrival->order, &arrival->way) ? &arrival->way
                                                                              : NULL;
}

void arrival_clear(struct arrival *arrival)
{
    unwrap_end(&arrival->unwrapping);
    secret_text_free(arrival->uri);
    secret_text_free(arrival->with);
}
