#include "cli/wrapped.h"

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "cli/file.h"
#include "cli/say.h"

#define LABEL "PKCS11 WRAPPED KEY"

/* The members of the header, RFC 1421 §4.6. */
#define MECHANISM "Mechanism: "
#define TYPE      "Type: "

/* The longest file: the key in PEM, and its public half. */
#define FILE_MOST (2UL * WRAPPED_MAX)

void wrapped_file_clear(struct wrapped_file *file)
{
    bytes_clear(&file->blob);
    pkey_release(file->public);
    *file = (struct wrapped_file){ .way = NULL };
}

/* A name has no blank and no control character: PEM's reader drops some of these, and some not. */
static bool is_name(const char *text)
{
    while (*text > ' ' && *text < 0x7f)
        text++;
    return *text == '\0';
}

/* The value behind name in a header, which ends with its line. False where it is no name. */
static bool header_value(const char *header, const char *name, char *out, size_t size)
{
    const char *at = strstr(header, name);
    size_t len;

    *out = '\0';
    if (at == NULL || (at != header && at[-1] != '\n'))
        return true;
    at += strlen(name);
    len = strcspn(at, "\r\n");
    if (len >= size)
        return false;
    memcpy(out, at, len);
    out[len] = '\0';
    return is_name(out);
}

static bool take_key(struct wrapped_file *file, const char *header, const unsigned char *data,
                     size_t len)
{
    char name[32];

    if (file->blob.data != NULL || !header_value(header, MECHANISM, name, sizeof(name)) ||
        !header_value(header, TYPE, file->type, sizeof(file->type)))
        return false;
    file->way = wrap_find(name);
    return (name[0] == '\0' || file->way != NULL) && bytes_set(&file->blob, data, len);
}

static bool take_part(struct wrapped_file *file, OSSL_LIB_CTX *libctx, const char *name,
                      const char *header, const unsigned char *data, size_t len)
{
    const unsigned char *der = data;

    if (strcmp(name, LABEL) == 0)
        return take_key(file, header, data, len);
    if (strcmp(name, PEM_STRING_PUBLIC) != 0 || file->public != NULL)
        return false;
    file->public = d2i_PUBKEY_ex(NULL, &der, (long)len, libctx, NULL);
    return file->public != NULL;
}

static bool read_pem(struct wrapped_file *file, OSSL_LIB_CTX *libctx, BIO *bio)
{
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL;
    long len = 0;
    bool ok = true;

    while (ok && PEM_read_bio(bio, &name, &header, &data, &len) == 1) {
        ok = take_part(file, libctx, name, header, data, (size_t)len);
        OPENSSL_free(MOVE(name));
        OPENSSL_free(MOVE(header));
        OPENSSL_free(MOVE(data));
    }
    return ok && file->blob.data != NULL;
}

bool wrapped_file_read(const char *path, OSSL_LIB_CTX *libctx, struct wrapped_file *file)
{
    _cleanup_(bio_scoped) BIO *bio = file_read(path, FILE_MOST);
    char *data = NULL;
    long len = bio != NULL ? BIO_get_mem_data(bio, &data) : 0;
    bool ok;

    *file = (struct wrapped_file){ .way = NULL };
    if (bio == NULL)
        return false;
    ok = len > 11 && memcmp(data, "-----BEGIN ", 11) == 0
             ? read_pem(file, libctx, bio)
             : len > 0 && len <= WRAPPED_MAX && bytes_set(&file->blob, data, (size_t)len);
    ERR_clear_error();
    if (!ok)
        complain("%s is no wrapped key, as wrap writes one, nor the bytes of one", path);
    return ok;
}

bool wrapped_file_write(const struct wrapped_file *file, BIO *memory)
{
    char header[128];

    (void)snprintf(header, sizeof(header), MECHANISM "%s\n" TYPE "%s\n", file->way->name,
                   file->type);
    return PEM_write_bio(memory, LABEL, header, file->blob.data, (long)file->blob.len) > 0 &&
           (file->public == NULL || PEM_write_bio_PUBKEY(memory, file->public) == 1);
}

static EVP_PKEY *of_certificate(BIO *bio)
{
    _cleanup_(x509_scoped) X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);

    return certificate != NULL ? X509_get_pubkey(certificate) : NULL;
}

static EVP_PKEY *of_der(const char *data, size_t len, OSSL_LIB_CTX *libctx)
{
    const unsigned char *der = (const unsigned char *)data;

    return d2i_PUBKEY_ex(NULL, &der, (long)len, libctx, NULL);
}

EVP_PKEY *public_read(const char *path, OSSL_LIB_CTX *libctx)
{
    _cleanup_(bio_scoped) BIO *bio = file_read(path, FILE_MOST);
    EVP_PKEY *public;
    char *data = NULL;
    size_t len;

    if (bio == NULL)
        return NULL;
    len = (size_t)BIO_get_mem_data(bio, &data);
    if (len != 0 && (unsigned char)data[0] == (V_ASN1_SEQUENCE | V_ASN1_CONSTRUCTED))
    public = of_der(data, len, libctx);
    else if (len != 0 && memmem(data, len, PEM_STRING_X509, sizeof(PEM_STRING_X509) - 1) !=
                             NULL) public = of_certificate(bio);
    else public = PEM_read_bio_PUBKEY_ex(bio, NULL, NULL, NULL, libctx, NULL);
    ERR_clear_error();
    if (public == NULL)
        complain("%s is no public key, and no certificate", path);
    return public;
}
