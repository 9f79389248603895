/* A file with a wrapped key, as it comes or put together of a header and bytes; and one with a
 * public key. What was read is written, and read as the same. */
#include "fuzz.h"

#include <stdarg.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "cli/say.h"
#include "cli/wrapped.h"

/* In the place of say.c's: nothing of a file is told. */
void complain(const char *format, ...)
{
    char line[8192];
    va_list args;

    va_start(args, format);
    hold(vsnprintf(line, sizeof(line), format, args) > 0);
    va_end(args);
    hold(strstr(line, PIN_MARK) == NULL);
}

static bool same(const struct wrapped_file *one, const struct wrapped_file *other)
{
    return one->way == other->way && strcmp(one->type, other->type) == 0 &&
           one->blob.len == other->blob.len &&
           memcmp(one->blob.data, other->blob.data, one->blob.len) == 0 &&
           (one->public == NULL) == (other->public == NULL);
}

static void write_and_read(const struct wrapped_file *file)
{
    struct wrapped_file again;
    BIO *memory = BIO_new(BIO_s_mem());
    char *data;
    long len;

    if (wrapped_file_write(file, memory)) {
        len = BIO_get_mem_data(memory, &data);
        hold(wrapped_file_read(fuzz_file(data, (size_t)len), NULL, &again));
        hold(same(file, &again));
        wrapped_file_clear(&again);
    }
    ERR_clear_error();
    BIO_free(memory);
}

static void read_key(const void *data, size_t len)
{
    struct wrapped_file file;

    if (wrapped_file_read(fuzz_file(data, len), NULL, &file)) {
        hold(file.blob.len != 0 && file.blob.len <= 2UL * WRAPPED_MAX);
        hold(memchr(file.type, '\0', sizeof(file.type)) != NULL);
        if (file.way != NULL)
            write_and_read(&file);
    }
    wrapped_file_clear(&file);
    hold(ERR_peek_error() == 0);
}

static void read_public(const void *data, size_t len)
{
    EVP_PKEY *key = public_read(fuzz_file(data, len), NULL);

    EVP_PKEY_free(key);
    hold(ERR_peek_error() == 0);
}

static void add_member(BIO *header, const char *name, struct input *input)
{
    size_t len = input_byte(input) % 64;
    char *value = (char *)input_copy(input, &len, true);

    (void)BIO_printf(header, "%s: %s\n", name, value);
    free(value);
}

/* Members of the input, and its rest in base64. */
static void read_composed(struct input *input)
{
    BIO *header = BIO_new(BIO_s_mem()), *memory = BIO_new(BIO_s_mem());
    char *text;
    size_t len;

    add_member(header, "Mechanism", input);
    add_member(header, "Type", input);
    (void)BIO_write(header, "", 1);
    (void)BIO_get_mem_data(header, &text);
    if (PEM_write_bio(memory, "PKCS11 WRAPPED KEY", text, input->data, (long)input->len) > 0) {
        len = (size_t)BIO_get_mem_data(memory, &text);
        read_key(text, len);
    }
    BIO_free(header);
    BIO_free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = { data, size };
    const unsigned how = input_byte(&input);

    if (how % 4 == 1)
        read_public(input.data, input.len);
    else if (how % 4 == 2)
        read_composed(&input);
    else
        read_key(input.data, input.len);
    return 0;
}
