/* pkcs11-bridge unwrap: a key that was wrapped, on a token again. */
#include <stdio.h>
#include <string.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "cli/arrive.h"
#include "cli/cli.h"
#include "cli/say.h"
#include "cli/wrapped.h"

enum { WITH, AS, MECHANISM, TYPE, PUBLIC, EXTRACTABLE, ADD };
static const struct option_row options[] = {
    [WITH] = { "with", "URI",
               "the key to unwrap it with: AES, or an RSA private key, on the token" },
    [AS] = { "as", "URI", "the token, and the label and id to give it" },
    [MECHANISM] = { "mechanism", "NAME", WRAP_NAMES "; what the file says without" },
    [TYPE] = { "type", "NAME", "AES, GENERIC-SECRET, RSA, EC, ...; what the file says without" },
    [PUBLIC] = { "public", "FILE", "its public key, or a certificate, where the file has none" },
    [EXTRACTABLE] = { "extractable", NULL, "it may leave the token again, wrapped" },
    [ADD] = { "add", NULL, "also where a key has that label or id already" },
    { NULL, NULL, NULL },
};

/* What the options say in the place of the file. */
static bool take_options(const struct call *call, struct wrapped_file *file)
{
    const char *mechanism = call_option(call, MECHANISM), *type = call_option(call, TYPE);
    const char *public = call_option(call, PUBLIC);

    if (mechanism != NULL)
        file->way = wrap_find(mechanism);
    if (public != NULL) {
        pkey_release(file->public);
        file->public = public_read(public, call->context.libctx);
        if (file->public == NULL)
            return false;
    }
    if (type == NULL && file->type[0] == '\0' && file->public != NULL)
        type = EVP_PKEY_get0_type_name(file->public);
    if (type != NULL)
        (void)snprintf(file->type, sizeof(file->type), "%s", type);
    return true;
}

static bool is_whole(const struct wrapped_file *file)
{
    if (file->type[0] == '\0')
        complain("what type of key is it? --type says that, or --public with its public key");
    else if (arrival_kind(file->type) == NULL && file->public == NULL &&
             strcmp(file->type, "RSA") != 0)
        complain(
            "no token shows the public half of a key of type %s: --public names a file with it",
            file->type);
    else
        return true;
    return false;
}

static enum status bring(struct call *call, const struct wrapped_file *file)
{
    const struct arrival arrival = { .context = &call->context,
                                     .uri = call_option(call, AS),
                                     .type = file->type,
                                     .key = file->public,
                                     .kind = arrival_kind(file->type),
                                     .add = call_option(call, ADD) != NULL,
                                     .extractable = call_option(call, EXTRACTABLE) != NULL,
                                     .with = call_option(call, WITH),
                                     .way = file->way,
                                     .blob = view_bytes(&file->blob) };
    _cleanup_(free_scoped) char *uri = arrive(&arrival);

    if (uri == NULL) {
        complain_openssl("it could not be unwrapped");
        return STATUS_FAILED;
    }
    call_tell_uri(call, uri);
    return STATUS_DONE;
}

static bool is_called_well(const struct call *call)
{
    const char *mechanism = call_option(call, MECHANISM);

    if (call_option(call, WITH) == NULL)
        complain("unwrap wants --with URI");
    else if (call_option(call, AS) == NULL)
        complain("unwrap wants --as URI");
    else if (mechanism != NULL && wrap_find(mechanism) == NULL)
        complain("unwrap wants a --mechanism of " WRAP_NAMES);
    else
        return true;
    return false;
}

static enum status unwrap(struct call *call)
{
    _cleanup_(wrapped_file_clear) struct wrapped_file file = { .way = NULL };

    if (!is_called_well(call))
        return STATUS_USAGE;
    if (!wrapped_file_read(call->operands[0], call->context.libctx, &file) ||
        !take_options(call, &file))
        return STATUS_FAILED;
    return is_whole(&file) ? bring(call, &file) : STATUS_USAGE;
}

const struct subcommand unwrap_subcommand = {
    .name = "unwrap",
    .operands = "FILE",
    .least = 1,
    .most = 1,
    .summary = "Makes a key of a token of what wrap wrote, and says its URI",
    .options = options,
    .run = unwrap,
};
