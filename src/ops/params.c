#include "ops/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>

#include "base/libcrypto.h"
#include "base/scope.h"

/* As OSSL_PARAM_locate, which a table would call for each of its rows. */
static const OSSL_PARAM *locate(const OSSL_PARAM *params, const char *name)
{
    while (params->key != NULL && (params->key[0] != name[0] || strcmp(params->key, name) != 0))
        params++;
    return params->key != NULL ? params : NULL;
}

int params_set(const struct param_setter *setters, void *ctx, const OSSL_PARAM params[])
{
    if (params == NULL)
        return 1;
    for (; setters->name != NULL; setters++) {
        const OSSL_PARAM *p = locate(params, setters->name);

        if (p != NULL && !setters->set((char *)ctx + setters->at, p))
            return 0;
    }
    return 1;
}

int params_get(const struct param_getter *getters, const void *ctx, OSSL_PARAM params[])
{
    if (params == NULL)
        return 1;
    for (; getters->name != NULL; getters++) {
        OSSL_PARAM *p = (OSSL_PARAM *)(uintptr_t)locate(params, getters->name);

        if (p != NULL && !getters->get((const char *)ctx + getters->at, p))
            return 0;
    }
    return 1;
}

int param_set_uint(void *number, const OSSL_PARAM *p)
{
    return OSSL_PARAM_get_uint(p, number);
}

int param_set_size(void *number, const OSSL_PARAM *p)
{
    return OSSL_PARAM_get_size_t(p, number);
}

int param_set_octets(void *octets, const OSSL_PARAM *p)
{
    const void *data = NULL;
    size_t len = 0;

    bytes_clear(octets);
    return OSSL_PARAM_get_octet_string_ptr(p, &data, &len) &&
           (data == NULL || bytes_set(octets, data, len));
}

int param_ignore(void *at, const OSSL_PARAM *p)
{
    (void)at;
    (void)p;
    return 1;
}

int param_get_int(const void *number, OSSL_PARAM *p)
{
    return OSSL_PARAM_set_int(p, *(const int *)number);
}

int param_get_uint(const void *number, OSSL_PARAM *p)
{
    return OSSL_PARAM_set_uint(p, *(const unsigned *)number);
}

int param_get_size(const void *number, OSSL_PARAM *p)
{
    return OSSL_PARAM_set_size_t(p, *(const size_t *)number);
}

int param_get_octets(const void *octets, OSSL_PARAM *p)
{
    const struct bytes *bytes = octets;

    return OSSL_PARAM_set_octet_ptr(p, bytes->data, bytes->len);
}

int param_get_number(const void *octets, OSSL_PARAM *p)
{
    const struct bytes *bytes = octets;

    return number_param_set(p, view_bytes(bytes));
}

int param_get_digest(const void *digest, OSSL_PARAM *p)
{
    return digest_param_set(p, *(const struct digest *const *)digest);
}

const char *named_number_name(const struct named_number *names, int number)
{
    while (names->name != NULL && names->number != number)
        names++;
    return names->name;
}

bool text_param_get(const OSSL_PARAM *p, const char **out)
{
    return OSSL_PARAM_get_utf8_string_ptr(p, out) == 1 && *out != NULL;
}

bool named_number_get(const OSSL_PARAM *p, const struct named_number *names, int *out)
{
    const char *text = NULL;
    char *end;
    long number;

    if (p->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_get_int(p, out);
    if (!text_param_get(p, &text))
        return false;
    for (; names->name != NULL; names++)
        if (strcmp(names->name, text) == 0) {
            *out = names->number;
            return true;
        }
    number = strtol(text, &end, 10);
    *out = (int)number;
    return end != text && *end == '\0' && number >= -65536 && number <= 65536;
}

int named_number_set(OSSL_PARAM *p, const struct named_number *names, int number)
{
    char text[16];

    if (p->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_set_int(p, number);
    if (named_number_name(names, number) != NULL)
        return OSSL_PARAM_set_utf8_string(p, named_number_name(names, number));
    (void)snprintf(text, sizeof(text), "%d", number);
    return OSSL_PARAM_set_utf8_string(p, text);
}

int refuse(const struct provider *provider, const char *what, const char *value)
{
    error_raise(&provider->core, REASON_PARAMETER, "%s %s", what, value);
    return 0;
}

const struct digest *digest_param_get(const struct provider *provider, const OSSL_PARAM *p,
                                      const char *purpose)
{
    const struct digest *digest = NULL;
    const char *name = NULL;

    if (text_param_get(p, &name))
        digest = digest_find(name);
    if (digest == NULL)
        error_raise(&provider->core, REASON_PARAMETER, "the digest is not supported for %s: %s",
                    purpose, name != NULL ? name : "");
    return digest;
}

int digest_param_take(const struct provider *provider, const OSSL_PARAM *p, const char *purpose,
                      const struct digest **out)
{
    const struct digest *digest = digest_param_get(provider, p, purpose);

    if (digest != NULL)
        *out = digest;
    return digest != NULL;
}

int digest_param_set(OSSL_PARAM *p, const struct digest *digest)
{
    char name[32] = "";

    return OSSL_PARAM_set_utf8_string(p, digest != NULL ? digest_name(digest, name, sizeof(name))
                                                        : name);
}

int number_param_set(OSSL_PARAM *p, struct view number)
{
    _cleanup_(bn_scoped) BIGNUM *bn =
        number.data != NULL ? BN_bin2bn(number.data, (int)number.len, NULL) : NULL;

    return bn != NULL && OSSL_PARAM_set_BN(p, bn);
}
