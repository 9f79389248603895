#include "ops/corebio.h"

#include <string.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/libcrypto.h"
#include "base/scope.h"

#define LINE_MAX_LEN 256

bool corebio_read_all(const struct provider *provider, OSSL_CORE_BIO *bio, struct bytes *out)
{
    const size_t size = COREBIO_MAX + 1;
    _cleanup_(free_scoped) uint8_t *buf = OPENSSL_malloc(size);
    size_t len = 0, got = 0;

    while (buf != NULL && len < size && provider->bio_read(bio, buf + len, size - len, &got) == 1)
        len += got;
    return buf != NULL && len <= COREBIO_MAX && bytes_set(out, buf, len);
}

/* Whether line is "-----<word> <label>-----" with blanks or an end of line after it. Any label will
 * do where label is NULL. */
static bool is_boundary(const char *line, const char *word, const char *label)
{
    size_t word_len = strlen(word);
    size_t label_len = label != NULL ? strlen(label) : 0;

    if (strncmp(line, "-----", 5) != 0 || strncmp(line + 5, word, word_len) != 0 ||
        line[5 + word_len] != ' ')
        return false;
    line += 5 + word_len + 1;
    return label == NULL ||
           (strncmp(line, label, label_len) == 0 && strncmp(line + label_len, "-----", 5) == 0 &&
            strspn(line + label_len + 5, " \t\r\n") == strlen(line + label_len + 5));
}

static bool next_line(const struct provider *provider, OSSL_CORE_BIO *bio, char *line)
{
    return provider->bio_gets(bio, line, LINE_MAX_LEN) > 0;
}

static void encode_ctx_scoped(EVP_ENCODE_CTX **ctx)
{
    EVP_ENCODE_CTX_free(*ctx);
}

/* Decodes base64 text, which it takes in any division into lines. */
static bool base64_decode(const char *text, size_t len, struct bytes *out)
{
    _cleanup_(encode_ctx_scoped) EVP_ENCODE_CTX *ctx = EVP_ENCODE_CTX_new();
    _cleanup_(free_scoped) uint8_t *der = OPENSSL_malloc(COREBIO_MAX);
    int head = 0, tail = 0;

    if (ctx == NULL || der == NULL)
        return false;
    EVP_DecodeInit(ctx);
    if (EVP_DecodeUpdate(ctx, der, &head, (const unsigned char *)text, (int)len) < 0 ||
        EVP_DecodeFinal(ctx, der + head, &tail) < 0)
        return true; /* not PEM after all */
    return bytes_set(out, der, (size_t)head + (size_t)tail);
}

/* Collects the lines up to END in text (COREBIO_MAX bytes) where keep is set; false where it does
 * not end or fit. */
static bool read_body(const struct provider *provider, OSSL_CORE_BIO *bio, char *text, size_t *len,
                      bool keep)
{
    char line[LINE_MAX_LEN];

    *len = 0;
    while (next_line(provider, bio, line)) {
        size_t add = strlen(line);

        if (is_boundary(line, "END", NULL))
            return true;
        if (!keep)
            continue;
        if (*len + add > COREBIO_MAX)
            return false;
        memcpy(text + *len, line, add);
        *len += add;
    }
    return false;
}

bool corebio_read_pem(const struct provider *provider, OSSL_CORE_BIO *bio, const char *label,
                      struct bytes *out)
{
    _cleanup_(free_scoped) char *text = OPENSSL_malloc(COREBIO_MAX);
    char line[LINE_MAX_LEN];
    size_t len;
    bool ours;

    if (text == NULL)
        return false;
    do {
        if (!next_line(provider, bio, line))
            return true;
    } while (!is_boundary(line, "BEGIN", NULL));
    ours = is_boundary(line, "BEGIN", label);
    if (!read_body(provider, bio, text, &len, ours) || !ours)
        return true;
    return base64_decode(text, len, out);
}

bool corebio_write(const struct provider *provider, OSSL_CORE_BIO *bio, const void *data,
                   size_t len)
{
    size_t written = 0;

    return provider->bio_write(bio, data, len, &written) == 1 && written == len;
}

bool corebio_write_pem(const struct provider *provider, OSSL_CORE_BIO *bio, const char *label,
                       const uint8_t *der, size_t len)
{
    _cleanup_(bio_scoped) BIO *memory = BIO_new(BIO_s_mem());
    char *text;
    long text_len;

    if (memory == NULL || PEM_write_bio(memory, label, "", der, (long)len) <= 0)
        return false;
    text_len = BIO_get_mem_data(memory, &text);
    return text_len > 0 && corebio_write(provider, bio, text, (size_t)text_len);
}
