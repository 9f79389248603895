#include "key/open.h"

bool open_uri(struct provider *provider, const char *text, const char *what, struct uri *uri,
              struct pin_source *pins)
{
    const struct config *config = &provider->config;
    char why[512];

    *uri = (struct uri){ 0 };
    if (!provider_usable(provider))
        return false;
    if (!uri_parse(text, config->allow_uri_module, uri, why, sizeof(why))) {
        error_raise(&provider->core, REASON_URI, "cannot use %s: %s", what, why);
        return false;
    }
    if (uri->impossible != NULL) {
        error_raise(&provider->core, REASON_URI, "nothing can match %s: %s", what, uri->impossible);
        return false;
    }
    *pins = provider_pins(provider);
    pins->value = uri->pin;
    pins->file = uri->pin_file;
    pins->uri = uri;
    return true;
}

bool open_default(struct provider *provider, const char *text, const char *what, struct uri *uri,
                  struct pin_source *pins)
{
    if (!open_uri(provider, text, what, uri, pins))
        return false;
    if (provider->config.default_slot != CK_UNAVAILABLE_INFORMATION)
        uri_default_slot(uri, provider->config.default_slot);
    return true;
}

void open_raise_no_token(struct provider *provider, const struct uri *uri, const struct scan *scan)
{
    const struct core *core = &provider->core;
    char waited[SCAN_WAITED_MAX];

    (void)scan_tell_waited(scan, waited);
    if (scan->other_library)
        error_raise(core, REASON_TOKEN,
                    "no token matches %s: the PKCS#11 module %s is another library than the URI "
                    "names (library-description, -manufacturer, -version)",
                    uri->text, scan->module->path);
    else if (scan->uninitialized)
        error_raise_ckr(core, REASON_TOKEN, RV_TOKEN_UNINITIALIZED, "open %s%s", uri->text, waited);
    else if (scan->seen[0] == '\0')
        error_raise(core, REASON_TOKEN,
                    "no token matches %s: the PKCS#11 module %s shows no initialised token%s",
                    uri->text, scan->module->path, waited);
    else
        error_raise(core, REASON_TOKEN, "no token matches %s: the tokens there are: %s%s",
                    uri->text, scan->seen, waited);
}
