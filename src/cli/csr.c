/* pkcs11-bridge csr: a request for a certificate (PKCS#10), signed on the token. */
#include <string.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "cli/cli.h"
#include "cli/file.h"
#include "cli/key.h"
#include "cli/say.h"

enum { SUBJECT, SAN, DIGEST, OUT };
static const struct option_row options[] = {
    [SUBJECT] = { "subject", "NAME", "as /C=DE/O=Example/CN=www.example.com" },
    [SAN] = { "san", "LIST", "other names, as DNS:www.example.com,IP:192.0.2.1" },
    [DIGEST] = { "digest", "NAME", "SHA256 without; keys that hash by themselves have none" },
    [OUT] = { "out", "FILE", "write it there" },
    { NULL, NULL, NULL },
};

static void request_scoped(X509_REQ **request)
{
    X509_REQ_free(*request);
}

static void extensions_scoped(STACK_OF(X509_EXTENSION) * *extensions)
{
    sk_X509_EXTENSION_pop_free(*extensions, X509_EXTENSION_free);
}

/* The next part of a name, up to a slash that no backslash stands before; without backslashes. */
static const char *next_part(const char *text, char *part, size_t size)
{
    size_t len = 0;

    while (*text != '\0' && *text != '/' && len + 1 < size) {
        if (*text == '\\' && text[1] != '\0')
            text++;
        part[len++] = *text++;
    }
    part[len] = '\0';
    return text;
}

static bool add_part(X509_NAME *name, char *part)
{
    char *equals = strchr(part, '=');

    if (equals == NULL || equals[1] == '\0') {
        complain("--subject: %s is not of the form TYPE=VALUE", part);
        return false;
    }
    *equals = '\0';
    if (X509_NAME_add_entry_by_txt(name, part, MBSTRING_UTF8, (unsigned char *)equals + 1, -1, -1,
                                   0) == 1)
        return true;
    complain("--subject: OpenSSL knows no %s, or not with this value", part);
    return false;
}

static bool set_subject(X509_REQ *request, const char *subject)
{
    char part[1024];

    if (subject == NULL || subject[0] != '/') {
        complain("csr wants --subject /TYPE=VALUE/TYPE=VALUE...");
        return false;
    }
    while (*subject == '/') {
        subject = next_part(subject + 1, part, sizeof(part));
        if (!add_part(X509_REQ_get_subject_name(request), part))
            return false;
    }
    return true;
}

static bool set_san(X509_REQ *request, const char *san)
{
    _cleanup_(extensions_scoped) STACK_OF(X509_EXTENSION) *extensions =
        sk_X509_EXTENSION_new_null();
    X509_EXTENSION *one = NULL;
    X509V3_CTX ctx;

    if (san == NULL)
        return true;
    X509V3_set_ctx(&ctx, NULL, NULL, request, NULL, 0);
    one = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, san);
    if (one == NULL || extensions == NULL || sk_X509_EXTENSION_push(extensions, one) <= 0) {
        complain("--san %s: names are of the form DNS:... or IP:..., with commas between", san);
        X509_EXTENSION_free(one);
        return false;
    }
    return X509_REQ_add_extensions(request, extensions) == 1;
}

static bool sign(struct call *call, X509_REQ *request, EVP_PKEY *pkey)
{
    const char *name = key_digest(pkey, call_option(call, DIGEST));
    _cleanup_(md_scoped) EVP_MD *md =
        name != NULL ? EVP_MD_fetch(call->context.libctx, name, NULL) : NULL;

    if (name != NULL && md == NULL) {
        complain("--digest %s: OpenSSL has none of this name", name);
        return false;
    }
    if (X509_REQ_set_pubkey(request, pkey) == 1 && X509_REQ_sign(request, pkey, md) > 0)
        return true;
    complain_openssl("the request could not be signed");
    return false;
}

static enum status put(const struct call *call, X509_REQ *request)
{
    _cleanup_(bio_scoped) BIO *bio = BIO_new(BIO_s_mem());

    if (bio == NULL || PEM_write_bio_X509_REQ(bio, request) != 1) {
        complain_openssl("out of memory");
        return STATUS_FAILED;
    }
    return file_write(call_option(call, OUT), 0644, bio) ? STATUS_DONE : STATUS_FAILED;
}

static enum status csr(struct call *call)
{
    _cleanup_(request_scoped) X509_REQ *request = X509_REQ_new_ex(call->context.libctx, NULL);
    _cleanup_(pkey_scoped) EVP_PKEY *pkey = NULL;

    if (request == NULL || !set_subject(request, call_option(call, SUBJECT)) ||
        !set_san(request, call_option(call, SAN)))
        return STATUS_USAGE;
    pkey = key_open(&call->context, call->operands[0]);
    if (pkey == NULL) {
        complain_openssl("the key cannot be opened");
        return STATUS_FAILED;
    }
    return sign(call, request, pkey) ? put(call, request) : STATUS_FAILED;
}

const struct subcommand csr_subcommand = {
    .name = "csr",
    .operands = "URI",
    .least = 1,
    .most = 1,
    .summary = "Writes a request for a certificate, signed with a private key of the token",
    .options = options,
    .run = csr,
};
