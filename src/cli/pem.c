/* pkcs11-bridge pem: the URI of a private key in the clothes of a key file, for programs that read
 * only files. */
#include <string.h>

#include <openssl/pem.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "cli/cli.h"
#include "cli/file.h"
#include "cli/key.h"
#include "cli/say.h"
#include "der/pem_uri.h"
#include "pkcs11_bridge.h"
#include "uri/uri.h"

enum { OUT, PIN_FILE, WITH_PIN };
static const struct option_row options[] = {
    [OUT] = { "out", "FILE", "write it there, with mode 0600, in the place of what is there" },
    [PIN_FILE] = { "pin-file", "PATH", "name the file that holds the PIN in it (pin-source)" },
    [WITH_PIN] = { "with-pin", NULL, "keep the PIN that is in the URI: the file is then a secret" },
    { NULL, NULL, NULL },
};

/* A path as the value of an attribute, RFC 7512 §2.3; false where it finds no room. */
static bool escape(const char *path, char *out, size_t size)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
    size_t len = 0;

    for (; *path != '\0' && size - len > 3; path++)
        len +=
            (size_t)snprintf(out + len, size - len, strchr(plain, *path) != NULL ? "%c" : "%%%02X",
                             (unsigned char)*path);
    return *path == '\0';
}

/* A query that names the file; NULL, with words, where that cannot be. */
static char *query_with_file(const char *path)
{
    static const char before[] = "?pin-source=file:";
    char text[URI_MAX];

    (void)snprintf(text, sizeof(text), "%s", before);
    if (path[0] == '/' && escape(path, text + sizeof(before) - 1, sizeof(text) - sizeof(before)))
        return secret_text(text, strlen(text));
    complain("--pin-file: it takes an absolute path%s, not %s",
             path[0] == '/' ? ", and none as long as that" : "", path);
    return NULL;
}

/* The query of the URI that goes to the file: the caller frees it (secret_text_free). NULL, with
 * words, where it cannot be. */
static char *query_of(const struct call *call)
{
    const char *query = strchr(call->operands[0], '?');
    const char *path = call_option(call, PIN_FILE);

    if (path != NULL && call_option(call, WITH_PIN) != NULL) {
        complain("--with-pin and --pin-file are two ways to the PIN: it takes one");
        return NULL;
    }
    if (path != NULL)
        return query_with_file(path);
    if (call_option(call, WITH_PIN) == NULL || query == NULL)
        query = "";
    return secret_text(query, strlen(query));
}

/* The key as who reads the file will open it, where the file names where its PIN is. */
static EVP_PKEY *open_key(struct call *call, const char *query)
{
    const char *uri = call->operands[0];
    size_t len = strcspn(uri, "?"), size = len + strlen(query) + 1;
    char *text = secret_memory(size);
    EVP_PKEY *pkey = NULL;

    if (call_option(call, PIN_FILE) == NULL) {
        pkey = key_open(&call->context, uri);
    } else if (text != NULL) {
        (void)snprintf(text, size, "%.*s%s", (int)len, uri, query);
        pkey = key_open(&call->context, text);
    }
    secret_memory_free(text);
    return pkey;
}

static bool put_uri(BIO *bio, const char *uri, const char *query)
{
    size_t len = strlen(uri) + strlen(query), size = len + 1 + PEM_URI_OVERHEAD;
    char *text = secret_memory(len + 1);
    unsigned char *der = secret_memory(size);
    bool ok = false;

    if (text != NULL && der != NULL) {
        (void)snprintf(text, len + 1, "%s%s", uri, query);
        size_t written = pem_uri_write((struct view){ (uint8_t *)text, len }, der, size);

        ok =
            written != 0 && PEM_write_bio(bio, PKCS11_BRIDGE_PEM_LABEL, "", der, (long)written) > 0;
    }
    secret_memory_free(text);
    secret_memory_free(der);
    return ok;
}

static enum status write_file(struct call *call, const char *uri, const char *query)
{
    _cleanup_(bio_scoped) BIO *bio = BIO_new(BIO_s_secmem());

    if (bio == NULL || !put_uri(bio, uri, query)) {
        complain_openssl("out of memory");
        return STATUS_FAILED;
    }
    return file_write(call_option(call, OUT), 0600, bio) ? STATUS_DONE : STATUS_FAILED;
}

static enum status pem(struct call *call)
{
    _cleanup_(secret_text_scoped) char *query = query_of(call);
    _cleanup_(pkey_scoped) EVP_PKEY *pkey = NULL;
    _cleanup_(free_scoped) char *uri = NULL;

    if (query == NULL)
        return STATUS_USAGE;
    pkey = open_key(call, query);
    uri = pkey != NULL ? key_uri(&call->context, pkey) : NULL;
    if (uri != NULL)
        return write_file(call, uri, query);
    complain_openssl("the key cannot be opened");
    return STATUS_FAILED;
}

const struct subcommand pem_subcommand = {
    .name = "pem",
    .operands = "URI",
    .least = 1,
    .most = 1,
    .summary = "Writes a private key's URI as a PEM file, for programs that read only those",
    .options = options,
    .run = pem,
};
