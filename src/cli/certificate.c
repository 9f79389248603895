#include "cli/certificate.h"

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/libcrypto.h"
#include "base/scope.h"
#include "cli/file.h"
#include "cli/say.h"
#include "key/key.h"

/* A certificate is no larger. */
#define FILE_MOST (1UL << 20)

X509 *certificate_read(const char *path)
{
    _cleanup_(bio_scoped) BIO *bio = file_read(path, FILE_MOST);
    X509 *certificate = NULL;
    char *data = NULL;
    long len = bio != NULL ? BIO_get_mem_data(bio, &data) : 0;
    const unsigned char *der = (const unsigned char *)data;

    if (bio == NULL)
        return NULL;
    if (len != 0)
        certificate =
            der[0] == 0x30 ? d2i_X509(NULL, &der, len) : PEM_read_bio_X509(bio, NULL, NULL, NULL);
    if (certificate == NULL)
        complain("%s is no certificate, in PEM or DER", path);
    ERR_clear_error();
    return certificate;
}

bool certificate_fits(const X509 *certificate, const struct key *key)
{
    unsigned char *its = NULL;
    int its_len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &its);
    size_t len = 0;
    _cleanup_(free_scoped) uint8_t *spki = key_spki(key, &len);
    bool same =
        its_len > 0 && spki != NULL && len == (size_t)its_len && memcmp(its, spki, len) == 0;

    OPENSSL_free(its);
    return same;
}
