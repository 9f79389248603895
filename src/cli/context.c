#include "cli/context.h"

#include <stdio.h>

#include <openssl/core.h>
#include <openssl/err.h>

#include "base/libcrypto.h"
#include "base/log.h"
#include "base/terminal.h"
#include "cli/say.h"
#include "instance/instance.h"
#include "pkcs11_bridge.h"
#include "token/pins.h"
#include "token/token.h"

OSSL_provider_init_fn OSSL_provider_init; /* provider.c */

/* As programs have it: by the file, with our code in the place of the module. What else is in the
 * file and does not load, libcrypto passes over in silence; where it does not come to our section
 * for that, programs have no provider, and here is none either. */
static bool load_configured(struct context *context)
{
    const struct conf_file *file = &context->file;

    if (!OSSL_PROVIDER_add_builtin(context->libctx, file->name, OSSL_provider_init))
        return false;
    (void)CONF_modules_load(file->conf, NULL, 0);
    ERR_clear_error();
    if (!OSSL_PROVIDER_available(context->libctx, file->name))
        return false;
    context->handle = OSSL_PROVIDER_load(context->libctx, file->name);
    return context->handle != NULL;
}

static bool load_plain(struct context *context)
{
    context->standard = OSSL_PROVIDER_load(context->libctx, "default");
    if (!OSSL_PROVIDER_add_builtin(context->libctx, PKCS11_BRIDGE_PROVIDER, OSSL_provider_init))
        return false;
    context->handle = OSSL_PROVIDER_load(context->libctx, PKCS11_BRIDGE_PROVIDER);
    return context->handle != NULL;
}

static bool load(struct context *context)
{
    const struct conf_file *file = &context->file;
    bool configured = file->section != NULL;

    if (configured && !conf_file_activates(file, file->section)) {
        complain("%s: the section [%s] is not activated: add activate = 1 there", file->path,
                 file->section);
        return false;
    }
    if (configured ? load_configured(context) : load_plain(context))
        return true;
    complain_openssl("the provider does not load: pkcs11-bridge doctor says why");
    return false;
}

bool context_open(struct context *context)
{
    char why[512];

    *context = (struct context){ .libctx = OSSL_LIB_CTX_new() };
    if (context->libctx == NULL)
        return false;
    if (!conf_file_open(context->libctx, &context->file, why, sizeof(why))) {
        complain("%s", why);
        return false;
    }
    if (!load(context))
        return false;
    context->provider = OSSL_PROVIDER_get0_provider_ctx(context->handle);
    log_to(LOG_TO_NOBODY); /* its sentences are said here */
    return true;
}

void context_close(struct context *context)
{
    (void)(context->handle != NULL && OSSL_PROVIDER_unload(context->handle));
    (void)(context->standard != NULL && OSSL_PROVIDER_unload(context->standard));
    conf_file_close(&context->file);
    libctx_release(context->libctx);
    *context = (struct context){ 0 };
}

static struct secret *ask(void *arg, const CK_TOKEN_INFO *token)
{
    char prompt[80];

    (void)arg;
    (void)snprintf(prompt, sizeof(prompt), "PIN of the token %s: ", token_of(token).label);
    return terminal_ask(prompt);
}

context_ask_fn *context_asks(void)
{
    return ask;
}

void context_ask(struct pin_source *pins)
{
    pins->ask = ask;
}
