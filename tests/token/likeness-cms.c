#include "likeness.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/x509.h>

/* A certificate with the key, signed by issuer. */
X509 *certificate_make(EVP_PKEY *key, EVP_PKEY *issuer)
{
    X509 *made = X509_new_ex(libctxs[SOFTWARE], NULL);
    X509_NAME *name = X509_get_subject_name(made);

    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
    X509_gmtime_adj(X509_getm_notBefore(made), 0);
    X509_gmtime_adj(X509_getm_notAfter(made), 86400);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"like", -1, -1, 0);
    X509_set_issuer_name(made, name);
    assert_int_equal(X509_set_pubkey(made, key), 1);
    assert_true(X509_sign(made, issuer, EVP_sha256()) > 0);
    return made;
}

static BIO *text_draw(struct lane *lane, unsigned char *text)
{
    int len = (int)draw(lane, 100) + 1;

    draw_bytes(lane, text, (size_t)len);
    return BIO_new_mem_buf(text, len);
}

/* Signed by the lane's key, verified in software. */
void cms_sign(struct lane *lane)
{
    static const unsigned ways[] = { 0, CMS_NOATTR, CMS_USE_KEYID, CMS_NOSMIMECAP };
    static const char *const digests_of_cms[] = { "SHA256", "SHA384", "SHA512", "SHA1" };
    unsigned flags = CMS_BINARY | CMS_PARTIAL | DRAW_OF(lane, ways);
    const EVP_MD *md = EVP_get_digestbyname(DRAW_OF(lane, digests_of_cms));
    unsigned char text[100];
    BIO *in = text_draw(lane, text);
    CMS_ContentInfo *cms = CMS_sign_ex(NULL, NULL, NULL, in, flags, lane->libctx, NULL);
    CMS_SignerInfo *signer =
        CMS_add1_signer(cms, lane->twin->certificate, lane->key, md, flags | CMS_KEY_PARAM);

    note_call(lane, "CMS_add1_signer", signer != NULL);
    if (signer != NULL && CALL(lane, CMS_final, cms, in, NULL, flags) == 1)
        CALL(lane, CMS_verify, cms, NULL, NULL, NULL, NULL, CMS_NO_SIGNER_CERT_VERIFY);
    ERR_clear_error();
    CMS_ContentInfo_free(cms);
    BIO_free(in);
}

/* Encrypted in software once for both, decrypted with the lane's key. */
void cms_decrypt(struct lane *lane)
{
    static const char *const ciphers[] = { "AES-128-CBC", "AES-256-CBC" };
    static unsigned char *der;
    static int len;
    unsigned char text[100];
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(libctxs[SOFTWARE], DRAW_OF(lane, ciphers), NULL);
    BIO *in = text_draw(lane, text), *out = BIO_new(BIO_s_mem());
    STACK_OF(X509) *to = sk_X509_new_null();
    CMS_ContentInfo *cms = CMS_ContentInfo_new_ex(lane->libctx, NULL);
    const unsigned char *position;
    char *found = NULL;
    long found_len;

    sk_X509_push(to, lane->twin->certificate);
    if (lane->side == SOFTWARE) {
        CMS_ContentInfo *made = CMS_encrypt_ex(to, in, cipher, CMS_BINARY, libctxs[SOFTWARE], NULL);

        OPENSSL_free(der);
        der = NULL;
        len = made != NULL ? i2d_CMS_ContentInfo(made, &der) : 0;
        CMS_ContentInfo_free(made);
        ERR_clear_error();
    }
    note(lane, "encrypted", len > 0);
    position = der;
    if (len > 0 && d2i_CMS_ContentInfo(&cms, &position, len) != NULL) {
        ERR_clear_error();
        CALL(lane, CMS_decrypt, cms, lane->key, lane->twin->certificate, NULL, out, 0);
        found_len = BIO_get_mem_data(out, &found);
        note_bytes(lane, "decrypted", found, (size_t)found_len);
    }
    CMS_ContentInfo_free(cms);
    sk_X509_free(to);
    BIO_free(out);
    BIO_free(in);
    EVP_CIPHER_free(cipher);
    ERR_clear_error();
}
