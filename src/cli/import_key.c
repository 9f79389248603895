/* pkcs11-bridge import-key: a private key, or the bytes of a secret one, from a file to a token. */
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "base/secret.h"
#include "cli/arrive.h"
#include "cli/cli.h"
#include "cli/file.h"
#include "cli/json.h"
#include "cli/say.h"
#include "cli/transport.h"

enum { TYPE, ONLY_WRAPPED, PLAIN_, EXTRACTABLE, ADD };
static const struct option_row options[] = {
    [TYPE] = { "type", "NAME", "of bytes: AES or GENERIC-SECRET; AES without" },
    [ONLY_WRAPPED] = { "only-wrapped", NULL, "not where the token takes it by its values alone" },
    [PLAIN_] = { "plain", NULL, "by its values at once, without wrapping it on the way" },
    [EXTRACTABLE] = { "extractable", NULL, "it may leave the token again, wrapped" },
    [ADD] = { "add", NULL, "also where a key has that label or id already" },
    { NULL, NULL, NULL },
};

/* The longest private key in a file. */
#define FILE_MOST 65536

/* No private key is as short as this. */
#define SECRET_MOST 40

struct import {
    struct call *call;
    struct arrival arrival;
    struct view plain; /* what is wrapped on the way: PKCS#8, or the bytes */
    const char *how;   /* it came there */
};

static EVP_PKEY *read_private(struct call *call, BIO *bio)
{
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);
    const unsigned char *der = (const unsigned char *)data;

    return der[0] == 0x30
               ? d2i_AutoPrivateKey_ex(NULL, &der, len, call->context.libctx, "provider!=pkcs11")
               : PEM_read_bio_PrivateKey_ex(bio, NULL, NULL, NULL, call->context.libctx,
                                            "provider!=pkcs11");
}

/* Wrapped on the way in, or with words about why not. */
static char *bring_wrapped(struct import *import)
{
    struct transport transport;
    struct arrival arrival = import->arrival;
    const struct wrap_way *way = NULL;
    char *uri = NULL;

    if (!transport_begin(&transport, arrival.context, arrival.uri))
        return NULL;
    arrival.with = transport.uri;
    while (uri == NULL && (way = wrap_next(CKK_RSA, way)) != NULL) {
        struct bytes blob = { NULL, 0 };

        if (way->takes_private != (arrival.kind == NULL))
            continue;
        if (transport_wrap(&transport, way, import->plain, &blob)) {
            arrival.way = way;
            arrival.blob = view_bytes(&blob);
            uri = arrive(&arrival);
            import->how = way->name;
        }
        bytes_wipe(&blob);
    }
    transport_end(&transport);
    return uri;
}

static char *bring(struct import *import)
{
    bool plain = call_option(import->call, PLAIN_) != NULL;
    char *uri = plain ? NULL : bring_wrapped(import);

    if (uri != NULL || call_option(import->call, ONLY_WRAPPED) != NULL)
        return uri;
    ERR_clear_error();
    import->how = "C_CreateObject";
    return arrive(&import->arrival);
}

static void report(const struct import *import, const char *uri)
{
    bool wrapped = strcmp(import->how, "C_CreateObject") != 0;
    struct json json = { .out = stdout };

    if (import->call->json) {
        json_object(&json, NULL);
        json_text(&json, "uri", uri);
        json_bool(&json, "wrapped", wrapped);
        json_text(&json, "by", import->how);
        json_end(&json);
        return;
    }
    (void)printf("%s\n", uri);
    (void)printf(wrapped ? "wrapped on the way in (%s)\n" : "by its values (%s)\n", import->how);
}

static enum status bring_and_tell(struct import *import)
{
    _cleanup_(free_scoped) char *uri = bring(import);

    if (uri == NULL) {
        complain_openssl("the key could not be brought to the token");
        return STATUS_FAILED;
    }
    report(import, uri);
    return STATUS_DONE;
}

static enum status import_private(struct import *import, BIO *bio)
{
    _cleanup_(pkey_scoped) EVP_PKEY *pkey = read_private(import->call, bio);
    PKCS8_PRIV_KEY_INFO *info = pkey != NULL ? EVP_PKEY2PKCS8(pkey) : NULL;
    unsigned char *der = NULL;
    int len = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : 0;
    enum status status = STATUS_FAILED;

    PKCS8_PRIV_KEY_INFO_free(info);
    if (len <= 0) {
        complain("%s is no private key, in PEM or DER, and no bytes of one",
                 import->call->operands[1]);
        return STATUS_FAILED;
    }
    import->arrival.key = pkey;
    import->arrival.type = EVP_PKEY_get0_type_name(pkey);
    import->plain = (struct view){ der, (size_t)len };
    status = bring_and_tell(import);
    OPENSSL_clear_free(der, (size_t)len);
    return status;
}

static enum status import_secret(struct import *import, struct view bytes)
{
    const char *type = call_option(import->call, TYPE);

    import->arrival.type = type != NULL ? type : "AES";
    import->arrival.kind = arrival_kind(import->arrival.type);
    import->arrival.value = import->plain = bytes;
    if (import->arrival.kind != NULL)
        return bring_and_tell(import);
    complain("--type %s: %s", type, options[TYPE].help);
    return STATUS_USAGE;
}

static enum status import_key(struct call *call)
{
    _cleanup_(bio_scoped) BIO *bio = file_read(call->operands[1], FILE_MOST);
    struct import import = { .call = call,
                             .arrival = { .context = &call->context,
                                          .uri = call->operands[0],
                                          .add = call_option(call, ADD) != NULL,
                                          .extractable = call_option(call, EXTRACTABLE) != NULL } };
    char *data = NULL;
    long len = bio != NULL ? BIO_get_mem_data(bio, &data) : 0;

    if (bio == NULL)
        return STATUS_FAILED;
    if (len > 0 && (len <= SECRET_MOST || call_option(call, TYPE) != NULL))
        return import_secret(&import, (struct view){ (const uint8_t *)data, (size_t)len });
    if (len > 0)
        return import_private(&import, bio);
    complain("%s is empty", call->operands[1]);
    return STATUS_FAILED;
}

const struct subcommand import_key_subcommand = {
    .name = "import-key",
    .operands = "URI FILE",
    .least = 2,
    .most = 2,
    .summary = "Brings a key from a file to the token, wrapped on the way where the token can",
    .options = options,
    .run = import_key,
};
