#include "ops/corebio.h"

#include <ctype.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/libcrypto.h"
#include "base/scope.h"

#define LINE_MAX_LEN 256

/* Whatever is read may have a PIN in it, or be somebody's private key: nothing of it is left in
 * memory that is given back. */
bool corebio_read_all(const struct provider *provider, OSSL_CORE_BIO *bio, struct bytes *out)
{
    const size_t size = COREBIO_MAX + 1;
    _cleanup_(bytes_wipe) struct bytes buf = { OPENSSL_malloc(size), 0 };
    size_t got = 0;

    while (buf.data != NULL && buf.len < size &&
           provider->bio_read(bio, buf.data + buf.len, size - buf.len, &got) == 1)
        buf.len += got;
    return buf.data != NULL && buf.len <= COREBIO_MAX && bytes_set(out, buf.data, buf.len);
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

/* Decodes base64 text without blanks. What is decoded before a mistake is wiped as well. */
static bool base64_decode(const struct bytes *text, struct bytes *out)
{
    const size_t size = text->len / 4 * 3 + 1;
    _cleanup_(bytes_wipe) struct bytes der = { OPENSSL_zalloc(size), size };
    int padding = 0, len;

    if (der.data == NULL)
        return false;
    while (padding < 2 && (size_t)padding < text->len &&
           text->data[text->len - 1 - (size_t)padding] == '=')
        padding++;
    len = EVP_DecodeBlock(der.data, text->data, (int)text->len);
    if (len < padding)
        len = padding = 0; /* damaged */
    return bytes_set(out, der.data, (size_t)(len - padding));
}

/* Adds line to text, which has room for COREBIO_MAX bytes, without its blanks. */
static bool text_add(struct bytes *text, const char *line)
{
    for (; *line != '\0'; line++) {
        if (isspace((unsigned char)*line))
            continue;
        if (text->len == COREBIO_MAX)
            return false;
        text->data[text->len++] = (uint8_t)*line;
    }
    return true;
}

/* Collects the lines up to END in text where keep is set; false where it does not end or fit. */
static bool read_body(const struct provider *provider, OSSL_CORE_BIO *bio, char *line,
                      struct bytes *text, bool keep)
{
    while (next_line(provider, bio, line)) {
        if (is_boundary(line, "END", NULL))
            return true;
        if (keep && !text_add(text, line))
            return false;
    }
    return false;
}

static bool read_pem(const struct provider *provider, OSSL_CORE_BIO *bio, const char *label,
                     char *line, struct bytes *out)
{
    _cleanup_(bytes_wipe) struct bytes text = { OPENSSL_malloc(COREBIO_MAX), 0 };
    bool ours;

    if (text.data == NULL)
        return false;
    do {
        if (!next_line(provider, bio, line))
            return true;
    } while (!is_boundary(line, "BEGIN", NULL));
    ours = is_boundary(line, "BEGIN", label);
    if (!read_body(provider, bio, line, &text, ours))
        text.len = 0; /* it does not end, or is too long */
    return !ours || base64_decode(&text, out);
}

bool corebio_read_pem(const struct provider *provider, OSSL_CORE_BIO *bio, const char *label,
                      struct bytes *out)
{
    char line[LINE_MAX_LEN];
    bool ok = read_pem(provider, bio, label, line, out);

    OPENSSL_cleanse(line, sizeof(line));
    return ok;
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
