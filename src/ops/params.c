#include "ops/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/params.h>

const char *named_number_name(const struct named_number *names, int number)
{
    while (names->name != NULL && names->number != number)
        names++;
    return names->name;
}

bool named_number_get(const OSSL_PARAM *p, const struct named_number *names, int *out)
{
    const char *text = NULL;
    char *end;
    long number;

    if (p->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_get_int(p, out);
    if (!OSSL_PARAM_get_utf8_string_ptr(p, &text))
        return false;
    for (; names->name != NULL; names++)
        if (strcmp(names->name, text) == 0) {
            *out = names->number;
            return true;
        }
    number = strtol(text, &end, 10);
    *out = (int)number;
    return end != text && *end == '\0' && number >= 0 && number <= 65536;
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

    if (OSSL_PARAM_get_utf8_string_ptr(p, &name))
        digest = digest_find(name);
    if (digest == NULL)
        error_raise(&provider->core, REASON_PARAMETER, "the digest is not supported for %s: %s",
                    purpose, name != NULL ? name : "");
    return digest;
}

int digest_param_set(OSSL_PARAM *p, const struct digest *digest)
{
    char name[32] = "";

    return OSSL_PARAM_set_utf8_string(p, digest != NULL ? digest_name(digest, name, sizeof(name))
                                                        : name);
}
