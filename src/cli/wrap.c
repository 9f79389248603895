/* pkcs11-bridge wrap: a key that leaves its token, encrypted with another. */
#include <stdio.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "cli/cli.h"
#include "cli/file.h"
#include "cli/json.h"
#include "cli/key.h"
#include "cli/say.h"
#include "cli/wrapped.h"
#include "mech/secret.h"

enum { WITH, OUT, MECHANISM, RAW };
static const struct option_row options[] = {
    [WITH] = { "with", "URI", "the key to wrap it with: AES, or an RSA public key, on its token" },
    [OUT] = { "out", "FILE", "write it there, with mode 0600, in the place of what is there" },
    [MECHANISM] = { "mechanism", "NAME", WRAP_NAMES "; the first that the token has without" },
    [RAW] = { "raw", NULL, "the bytes alone, for other programs" },
    { NULL, NULL, NULL },
};

/* The host's copy of the public half, for the file; NULL with words where the token has none. */
static EVP_PKEY *public_half(struct call *call)
{
    _cleanup_(pkey_scoped) EVP_PKEY *key = key_open(&call->context, call->operands[0]);
    unsigned char *der = NULL;
    int len = key != NULL ? i2d_PUBKEY(key, &der) : 0;
    const unsigned char *at = der;
    EVP_PKEY *public =
        len > 0 ? d2i_PUBKEY_ex(NULL, &at, len, call->context.libctx, "provider!=pkcs11") : NULL;

    OPENSSL_free(der);
    if (public == NULL)
        complain("the public half cannot be read, and is not in the file: unwrap will ask for it "
                 "by --public");
    ERR_clear_error();
    return public;
}

static void describe(struct call *call, const struct wrapped *wrapped, struct wrapped_file *file)
{
    const char *type = secret_kind_of(wrapped->type)->name;

    file->way = wrapped->way;
    file->blob = wrapped->blob;
    if (wrapped->class == CKO_PRIVATE_KEY) {
        file->public = public_half(call);
        type = file->public != NULL ? EVP_PKEY_get0_type_name(file->public) : "";
        if (type[0] == '\0' && wrapped->type == CKK_RSA)
            type = "RSA";
    }
    (void)snprintf(file->type, sizeof(file->type), "%s", type);
}

static enum status write_wrapped(struct call *call, const struct wrapped *wrapped)
{
    _cleanup_(bio_scoped) BIO *bio = BIO_new(BIO_s_mem());
    struct wrapped_file file = { .way = NULL };
    bool ok = bio != NULL;

    if (call_option(call, RAW) != NULL) {
        ok = ok && BIO_write(bio, wrapped->blob.data, (int)wrapped->blob.len) > 0;
    } else {
        describe(call, wrapped, &file);
        ok = ok && wrapped_file_write(&file, bio);
        pkey_release(file.public);
    }
    if (!ok)
        complain_openssl("out of memory");
    return ok && file_write(call_option(call, OUT), 0600, bio) ? STATUS_DONE : STATUS_FAILED;
}

static void report(const struct call *call, const struct wrapped *wrapped)
{
    struct json json = { .out = stdout };

    if (!call->json || call_option(call, OUT) == NULL)
        return;
    json_object(&json, NULL);
    json_text(&json, "file", call_option(call, OUT));
    json_text(&json, "mechanism", wrapped->way->name);
    json_number(&json, "bytes", wrapped->blob.len);
    json_end(&json);
}

static enum status wrap(struct call *call)
{
    const char *name = call_option(call, MECHANISM);
    struct wrap_order order = { .provider = call->context.provider,
                                .key = call->operands[0],
                                .with = call_option(call, WITH),
                                .way = name != NULL ? wrap_find(name) : NULL,
                                .ask = context_asks() };
    struct wrapped wrapped = { .way = NULL };
    enum status status = STATUS_FAILED;

    if (order.with == NULL || (name != NULL && order.way == NULL)) {
        complain("wrap wants %s",
                 order.with == NULL ? "--with URI" : "a --mechanism of " WRAP_NAMES);
        return STATUS_USAGE;
    }
    if (key_wrap(&order, &wrapped))
        status = write_wrapped(call, &wrapped);
    else
        complain_openssl("it could not be wrapped");
    if (status == STATUS_DONE)
        report(call, &wrapped);
    wrapped_clear(&wrapped);
    return status;
}

const struct subcommand wrap_subcommand = {
    .name = "wrap",
    .operands = "URI",
    .least = 1,
    .most = 1,
    .summary = "Writes a key to a file, wrapped with another key of its token",
    .options = options,
    .run = wrap,
};
