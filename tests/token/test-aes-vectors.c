/* Published test vectors (tests/vectors/aes.txt) with keys that are imported into the token. What
 * the token does not have is passed over with a word. */
#include "operator.h"
#include "skey.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "pkcs11_bridge.h"

#define LINE_MOST 16384
#define ROOM      4096

static OSSL_LIB_CTX *libctx;
static unsigned line; /* of the file */

struct piece {
    unsigned char data[ROOM];
    size_t len;
};

struct vector {
    char mode[8], way[8];
    struct piece key, iv, aad, in, tag, out;
    bool fails;
};

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        char error_[512];                                                                          \
        if (!(condition))                                                                          \
            fail_msg("line %u: %s: %s", line, #condition, last_error(error_, sizeof(error_)));     \
    } while (0)

static void read_hex(const char *text, struct piece *out)
{
    long len = 0;
    unsigned char *bytes = NULL;

    out->len = 0;
    if (strcmp(text, "-") == 0)
        return;
    bytes = OPENSSL_hexstr2buf(text, &len);
    CHECK(bytes != NULL && len <= ROOM);
    memcpy(out->data, bytes, (size_t)len);
    out->len = (size_t)len;
    OPENSSL_free(bytes);
}

/* False at the end, and past a comment where *skip is set. */
static bool next(FILE *file, struct vector *vector, bool *skip)
{
    static char text[LINE_MOST];
    struct piece *const pieces[] = { &vector->key, &vector->iv,  &vector->aad,
                                     &vector->in,  &vector->tag, &vector->out };
    char *word, *rest = NULL;

    if (fgets(text, sizeof(text), file) == NULL)
        return false;
    line++;
    *skip = text[0] == '#' || text[0] == '\n';
    if (*skip)
        return true;
    text[strcspn(text, "\n")] = '\0';
    snprintf(vector->mode, sizeof(vector->mode), "%s", strtok_r(text, " ", &rest));
    snprintf(vector->way, sizeof(vector->way), "%s", strtok_r(NULL, " ", &rest));
    vector->fails = false;
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        word = strtok_r(NULL, " ", &rest);
        CHECK(word != NULL);
        if (strcmp(word, "FAIL") == 0)
            vector->fails = true;
        else
            read_hex(word, pieces[i]);
    }
    return true;
}

static SKEY *key_of(const struct vector *vector)
{
    unsigned char bytes[32];
    SKEY *key;

    CHECK(vector->key.len <= sizeof(bytes));
    memcpy(bytes, vector->key.data, vector->key.len);
    key = EVP_SKEY_import_raw_key(libctx, "AES", bytes, vector->key.len, OURS);
    CHECK(key != NULL);
    return key;
}

/* Whether the newest error says that the token does not have the mechanism, or not so. */
static bool is_lacking(void)
{
    char error[1024];

    return operator_is_lack(last_error(error, sizeof(error)));
}

static EVP_CIPHER *cipher_of(const struct vector *vector)
{
    static const char *const names[][2] = {
        { "GCM", "GCM" }, { "KW", "WRAP" }, { "KWP", "WRAP-PAD" }, { "CTR", "CTR" }
    };
    char name[64];
    EVP_CIPHER *cipher = NULL;

    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strcmp(names[i][0], vector->mode) == 0) {
            snprintf(name, sizeof(name), PKCS11_BRIDGE_CIPHER_PREFIX "AES-%zu-%s",
                     8 * vector->key.len, names[i][1]);
            cipher = EVP_CIPHER_fetch(libctx, name, NULL);
        }
    CHECK(cipher != NULL);
    return cipher;
}

static bool begin(EVP_CIPHER_CTX *ctx, const struct vector *vector, SKEY *key, bool encrypt)
{
    EVP_CIPHER *cipher = cipher_of(vector);
    bool has_iv = vector->iv.len != 0;
    int n = 0;
    bool ok = EVP_CipherInit_SKEY(ctx, cipher, key, has_iv ? vector->iv.data : NULL, vector->iv.len,
                                  encrypt, NULL) == 1;

    EVP_CIPHER_free(cipher);
    if (ok && vector->tag.len != 0)
        ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, (int)vector->tag.len,
                                 encrypt ? NULL : (void *)(uintptr_t)vector->tag.data) == 1;
    if (ok && vector->aad.len != 0)
        ok = EVP_CipherUpdate(ctx, NULL, &n, vector->aad.data, (int)vector->aad.len) == 1;
    return ok;
}

static bool run_cipher(EVP_CIPHER_CTX *ctx, const struct vector *vector, SKEY *key,
                       struct piece *out)
{
    int n = 0, last = 0;

    if (!begin(ctx, vector, key, strcmp(vector->way, "encrypt") == 0) ||
        (vector->in.len != 0 &&
         EVP_CipherUpdate(ctx, out->data, &n, vector->in.data, (int)vector->in.len) != 1) ||
        EVP_CipherFinal_ex(ctx, out->data + n, &last) != 1)
        return false;
    out->len = (size_t)(n + last);
    return true;
}

static void check_tag(EVP_CIPHER_CTX *ctx, const struct vector *vector)
{
    unsigned char tag[16];

    if (vector->tag.len == 0 || strcmp(vector->way, "encrypt") != 0)
        return;
    CHECK(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, (int)vector->tag.len, tag) == 1);
    CHECK(memcmp(tag, vector->tag.data, vector->tag.len) == 0);
}

/* False where the token does not have it. */
static bool check_cipher(const struct vector *vector, SKEY *key)
{
    static struct piece out;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool ok = run_cipher(ctx, vector, key, &out), has = ok || !is_lacking();

    if (has)
        CHECK(ok == !vector->fails);
    if (ok) {
        CHECK(out.len == vector->out.len && memcmp(out.data, vector->out.data, out.len) == 0);
        check_tag(ctx, vector);
    }
    EVP_CIPHER_CTX_free(ctx);
    return has;
}

/* A MAC may be truncated to its first bytes (SP 800-38B §6.2). */
static bool check_mac(const struct vector *vector, SKEY *key)
{
    char name[32];
    const OSSL_PARAM params[] = { TEXT_PARAM(OSSL_MAC_PARAM_CIPHER, name),
                                  OSSL_PARAM_construct_end() };
    EVP_MAC *mac = EVP_MAC_fetch(libctx, PKCS11_BRIDGE_CIPHER_PREFIX "CMAC", NULL);
    EVP_MAC_CTX *ctx = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    unsigned char out[16];
    size_t len = 0;
    bool ok, has;

    CHECK(ctx != NULL);
    snprintf(name, sizeof(name), "AES-%zu-CBC", 8 * vector->key.len);
    ok = EVP_MAC_init_SKEY(ctx, key, params) == 1 &&
         EVP_MAC_update(ctx, vector->in.data, vector->in.len) == 1 &&
         EVP_MAC_final(ctx, out, &len, sizeof(out)) == 1;
    has = ok || !is_lacking();
    if (has)
        CHECK(ok && len == sizeof(out) && vector->out.len >= 4 && vector->out.len <= len &&
              memcmp(out, vector->out.data, vector->out.len) == 0);
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    return has;
}

/* All of one mode. */
static void check_mode(const char *mode)
{
    static struct vector vector;
    char path[1024];
    unsigned done = 0;
    bool skip = false, has = true;
    FILE *file;

    snprintf(path, sizeof(path), "%s/tests/vectors/aes.txt", getenv("BRIDGE_SOURCE"));
    file = fopen(path, "r");
    line = 0;
    assert_non_null(file);
    while (has && next(file, &vector, &skip)) {
        SKEY *key;

        if (skip || strcmp(vector.mode, mode) != 0)
            continue;
        key = key_of(&vector);
        has = strcmp(vector.way, "mac") == 0 ? check_mac(&vector, key) : check_cipher(&vector, key);
        EVP_SKEY_free(key);
        ERR_clear_error();
        done += has;
    }
    (void)fclose(file);
    if (has)
        assert_true(done >= 9);
    else
        printf("the token does not have %s\n", mode);
}

static void test_vectors_gcm(void **state)
{
    (void)state;
    check_mode("GCM");
}

static void test_vectors_kw(void **state)
{
    (void)state;
    check_mode("KW");
}

static void test_vectors_kwp(void **state)
{
    (void)state;
    check_mode("KWP");
}

static void test_vectors_ctr(void **state)
{
    (void)state;
    check_mode("CTR");
}

static void test_vectors_cmac(void **state)
{
    (void)state;
    check_mode("CMAC");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors_gcm),  cmocka_unit_test(test_vectors_kw),
        cmocka_unit_test(test_vectors_kwp),  cmocka_unit_test(test_vectors_ctr),
        cmocka_unit_test(test_vectors_cmac),
    };
    int failed;

    if (!skey_functions()) {
        puts("this libcrypto does not know EVP_SKEY");
        return SKIPPED;
    }
    libctx = libctx_new("pkcs11-gcm-caller-iv = yes\n");
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    OSSL_LIB_CTX_free(libctx);
    return failed;
}
