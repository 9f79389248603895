/* Ciphers with secret keys of a token, from OpenSSL 3.5 on, beside the default provider's with the
 * same key as bytes. What the token does not have is passed over with a word. */
#include "operator.h"
#include "skey.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#include "pkcs11_bridge.h"

#define MESSAGE_MAX 200000
#define ROOM        (MESSAGE_MAX + 64)

static OSSL_LIB_CTX *libctx, *plain;
static unsigned char bytes[64], iv[16], message[MESSAGE_MAX];
static unsigned char theirs[ROOM], ours[ROOM], back[ROOM];

static SKEY *key_of(OSSL_LIB_CTX *in, size_t len)
{
    SKEY *key = EVP_SKEY_import_raw_key(in, "AES", bytes, len, OURS);
    char error[512];

    if (key == NULL)
        fail_msg("%s", last_error(error, sizeof(error)));
    return key;
}

static EVP_CIPHER *cipher_of(OSSL_LIB_CTX *in, const char *prefix, unsigned bits, const char *mode)
{
    char name[64];
    EVP_CIPHER *cipher;

    snprintf(name, sizeof(name), "%sAES-%u-%s", prefix, bits, mode);
    cipher = EVP_CIPHER_fetch(in, name, NULL);
    assert_non_null(cipher);
    return cipher;
}

/* In pieces of 1, 2, ... bytes up to piece, and again from 1; with piece 0 in one. */
static bool run(EVP_CIPHER_CTX *ctx, const unsigned char *in, size_t len, size_t piece,
                unsigned char *out, size_t *out_len)
{
    size_t size = piece == 0 ? len : 1;
    int n = 0;

    *out_len = 0;
    while (len != 0) {
        size = size < len ? size : len;
        if (EVP_CipherUpdate(ctx, out + *out_len, &n, in, (int)size) != 1)
            return false;
        *out_len += (size_t)n;
        in += size;
        len -= size;
        size = size % (piece != 0 ? piece : 1) + 1;
        if (piece == 0)
            size = len;
    }
    if (EVP_CipherFinal(ctx, out + *out_len, &n) != 1)
        return false;
    *out_len += (size_t)n;
    return true;
}

/* Whether the newest error says that the token does not have the mechanism. */
static bool is_lacking(const char *what)
{
    char error[1024];

    if (!operator_is_lack(last_error(error, sizeof(error))))
        fail_msg("%s: %s", what, error);
    printf("the token does not have %s\n", what);
    return true;
}

static size_t software(unsigned bits, const char *mode, bool padding, size_t len)
{
    EVP_CIPHER *cipher = cipher_of(plain, "", bits, mode);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    size_t out_len = 0;

    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    assert_int_equal(
        EVP_EncryptInit_ex2(ctx, cipher, bytes,
                            EVP_CIPHER_get_mode(cipher) == EVP_CIPH_WRAP_MODE ? NULL : iv, NULL),
        1);
    EVP_CIPHER_CTX_set_padding(ctx, padding);
    assert_true(run(ctx, message, len, 0, theirs, &out_len));
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    return out_len;
}

static bool begin(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, SKEY *key, bool padding,
                  int encrypt)
{
    bool ok = EVP_CipherInit_SKEY(ctx, cipher, key,
                                  EVP_CIPHER_get_mode(cipher) == EVP_CIPH_WRAP_MODE ? NULL : iv,
                                  (size_t)EVP_CIPHER_get_iv_length(cipher), encrypt, NULL) == 1;

    return ok && EVP_CIPHER_CTX_set_padding(ctx, padding) == 1;
}

/* By a block, with the key of 32 bytes: what cannot be encrypted, decryption says nothing of. */
static bool lacks(const char *mode, SKEY *key)
{
    EVP_CIPHER *cipher = cipher_of(libctx, PKCS11_BRIDGE_CIPHER_PREFIX, 256, mode);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;
    bool lacking;

    assert_true(begin(ctx, cipher, key, false, 1));
    lacking = EVP_CipherUpdate(ctx, ours, &n, message, 16) != 1 && is_lacking(mode);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    return lacking;
}

struct mode {
    const char *name;
    unsigned step; /* messages are multiples of so many bytes without padding */
    size_t least;
    bool pieces, pads;
};

static const struct mode modes[] = {
    { "ECB", 16, 0, true, false },   { "ECB", 1, 0, true, true },
    { "CBC", 16, 0, true, false },   { "CBC", 1, 0, true, true },
    { "CTR", 1, 0, true, false },    { "CFB", 1, 0, true, false },
    { "OFB", 1, 0, true, false },    { "CBC-CTS", 1, 16, false, false },
    { "WRAP", 8, 16, false, false }, { "WRAP-PAD", 1, 1, false, false },
};

/* False where the token does not have the mode. */
static bool compare(const struct mode *mode, unsigned bits, SKEY *key, size_t len, size_t piece)
{
    EVP_CIPHER *cipher = cipher_of(libctx, PKCS11_BRIDGE_CIPHER_PREFIX, bits, mode->name);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    size_t their_len = software(bits, mode->name, mode->pads, len), our_len = 0, back_len = 0;
    bool ok =
        begin(ctx, cipher, key, mode->pads, 1) && run(ctx, message, len, piece, ours, &our_len);

    if (!ok)
        ok = !is_lacking(mode->name);
    if (ok) {
        assert_int_equal(our_len, their_len);
        assert_memory_equal(ours, theirs, our_len);
        assert_true(begin(ctx, cipher, key, mode->pads, 0));
        assert_true(run(ctx, theirs, their_len, piece, back, &back_len));
        assert_int_equal(back_len, len);
        assert_memory_equal(back, message, len);
    }
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    return ok;
}

static void test_crypt_modes(void **state)
{
    static const size_t lens[] = { 0, 1, 15, 16, 17, 31, 32, 33, 64, 1000, 4096, 100000 };

    (void)state;
    for (unsigned bits = 128; bits <= 256; bits += 64) {
        SKEY *key = key_of(libctx, bits / 8);

        for (size_t m = 0; m < COUNT_OF(modes); m++) {
            bool has = true;

            for (size_t i = 0; has && i < COUNT_OF(lens); i++) {
                size_t len = lens[i] - lens[i] % modes[m].step;

                if (len < modes[m].least || (len > 4096 && modes[m].least != 0))
                    continue;
                has = compare(&modes[m], bits, key, len, 0) &&
                      (!modes[m].pieces || len > 5000 || compare(&modes[m], bits, key, len, 37));
            }
        }
        EVP_SKEY_free(key);
    }
}

static bool crypts(OSSL_LIB_CTX *in, const struct mode *mode, SKEY *key, int encrypt, size_t len,
                   size_t *out_len)
{
    EVP_CIPHER *cipher = cipher_of(in, PKCS11_BRIDGE_CIPHER_PREFIX, 256, mode->name);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bool ok = begin(ctx, cipher, key, mode->pads, encrypt) &&
              run(ctx, encrypt ? message : theirs, len, 0, encrypt ? ours : back, out_len);

    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    return ok;
}

/* The token says that it wrote another number of bytes than come of the message. */
static void test_crypt_lengths(void **state)
{
    static const char *const lies[] = { "-1", "+1", "+8", "none" };
    OSSL_LIB_CTX *faulty = libctx_new_faulty("");
    SKEY *key = key_of(faulty, 32);

    (void)state;
    for (const struct mode *mode = modes; mode < modes + COUNT_OF(modes); mode++) {
        size_t their_len = software(256, mode->name, mode->pads, 32), len;

        if (!crypts(faulty, mode, key, 1, 32, &len)) {
            assert_true(is_lacking(mode->name));
            continue;
        }
        for (size_t i = 0; i < 2 * COUNT_OF(lies); i++) {
            const bool encrypt = i % 2 == 0, pads = strcmp(mode->name, "WRAP-PAD") == 0;
            const char *lie = lies[i / 2];
            char rule[64], error[512];

            if (!encrypt && pads && strcmp(lie, "-1") == 0)
                continue; /* it may be so */
            (void)snprintf(rule, sizeof(rule), "%s 1 1 - len=%s",
                           encrypt ? "C_Encrypt" : "C_Decrypt", lie);
            fault(rule);
            if (crypts(faulty, mode, key, encrypt, encrypt ? 32 : their_len, &len))
                fail_msg("%s, %s: not noticed", mode->name, rule);
            (void)last_error(error, sizeof(error));
            fault("");
        }
        assert_true(crypts(faulty, mode, key, 1, 32, &len));
    }
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(faulty);
}

/* The buffer is the message's own. */
static void test_crypt_in_place(void **state)
{
    static const char *const names[] = { "CBC", "CTR" };
    SKEY *key = key_of(libctx, 32);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names) && !lacks(names[i], key); i++) {
        EVP_CIPHER *cipher = cipher_of(libctx, PKCS11_BRIDGE_CIPHER_PREFIX, 256, names[i]);
        EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        int n = 0;

        (void)software(256, names[i], false, 160);
        memcpy(back, theirs, 160);
        assert_true(begin(ctx, cipher, key, false, 0));
        for (size_t at = 0; at < 160; at += 32)
            assert_int_equal(EVP_CipherUpdate(ctx, back + at, &n, back + at, 32), 1);
        assert_memory_equal(back, message, 160);
        EVP_CIPHER_CTX_free(ctx);
        EVP_CIPHER_free(cipher);
    }
    EVP_SKEY_free(key);
}

/* A message that is under way goes on in a copy of its context, and in its own after a fork:
 * nothing is open with the token. */
static void test_crypt_fork(void **state)
{
    SKEY *key = key_of(libctx, 32);
    EVP_CIPHER *cipher = cipher_of(libctx, PKCS11_BRIDGE_CIPHER_PREFIX, 256, "CTR");
    EVP_CIPHER_CTX *ctx, *copy;
    int n = 0, status = 0;
    pid_t child;

    (void)state;
    if (lacks("CTR", key)) {
        EVP_CIPHER_free(cipher);
        EVP_SKEY_free(key);
        return;
    }
    ctx = EVP_CIPHER_CTX_new();
    copy = EVP_CIPHER_CTX_new();
    (void)software(256, "CTR", false, 100);
    assert_true(begin(ctx, cipher, key, false, 1));
    assert_int_equal(EVP_CipherUpdate(ctx, ours, &n, message, 37), 1);
    assert_int_equal(EVP_CIPHER_CTX_copy(copy, ctx), 1);
    child = fork();
    if (child == 0) {
        child_limit(); /* its session object is the parent's: no key, and no crash */
        (void)!EVP_CipherUpdate(ctx, ours + 37, &n, message + 37, 63);
        EVP_CIPHER_CTX_free(ctx);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(child_proves_nothing(status) || status == 0);
    assert_int_equal(EVP_CipherUpdate(copy, back + 37, &n, message + 37, 63), 1);
    assert_int_equal(EVP_CipherUpdate(ctx, ours + 37, &n, message + 37, 63), 1);
    assert_memory_equal(ours, theirs, 100);
    assert_memory_equal(back + 37, theirs + 37, 63);
    EVP_CIPHER_CTX_free(copy);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    EVP_SKEY_free(key);
}

#define THREADS 8

struct worker {
    pthread_t thread;
    const EVP_CIPHER *cipher;
    SKEY *key;
    unsigned right;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    unsigned char out[1100];
    size_t len = 0;

    for (unsigned i = 0; i < 20; i++) {
        EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

        worker->right += begin(ctx, worker->cipher, worker->key, true, 1) &&
                         run(ctx, message, 1000, 300, out, &len) && len == 1008 &&
                         memcmp(out, theirs, len) == 0;
        EVP_CIPHER_CTX_free(ctx);
    }
    return NULL;
}

/* More than the pool has sessions, with one key. */
static void test_crypt_threads(void **state)
{
    OSSL_LIB_CTX *in = libctx_new("pkcs11-sessions-max = 3\n");
    SKEY *key = key_of(in, 32);
    EVP_CIPHER *cipher = cipher_of(in, PKCS11_BRIDGE_CIPHER_PREFIX, 256, "CBC");
    struct worker workers[THREADS];

    (void)state;
    assert_int_equal(software(256, "CBC", true, 1000), 1008);
    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ .cipher = cipher, .key = key };
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_int_equal(workers[i].right, 20);
    }
    EVP_CIPHER_free(cipher);
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(in);
}

static void assert_error(const char *part)
{
    char error[1024];

    last_error(error, sizeof(error));
    if (strstr(error, part) == NULL)
        fail_msg("'%s' is not in '%s'", part, error);
}

static void test_crypt_mistakes(void **state)
{
    SKEY *key = key_of(libctx, 32);
    EVP_CIPHER *cbc = cipher_of(libctx, PKCS11_BRIDGE_CIPHER_PREFIX, 256, "CBC");
    EVP_CIPHER *small = cipher_of(libctx, PKCS11_BRIDGE_CIPHER_PREFIX, 128, "CBC");
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;

    (void)state;
    assert_int_not_equal(EVP_CipherInit_SKEY(ctx, small, key, iv, 16, 1, NULL), 1);
    assert_error("length of the cipher's");
    assert_int_not_equal(EVP_EncryptInit_ex2(ctx, cbc, bytes, iv, NULL), 1);
    assert_error("for keys of a token");
    assert_int_not_equal(EVP_CipherInit_SKEY(ctx, cbc, key, iv, 12, 1, NULL), 1);
    assert_error("the IV has not the length");
    assert_int_equal(EVP_CipherInit_SKEY(ctx, cbc, key, NULL, 0, 1, NULL), 1);
    assert_int_not_equal(EVP_CipherUpdate(ctx, ours, &n, message, 16), 1);
    assert_error("no IV is set");
    assert_true(begin(ctx, cbc, key, false, 1));
    assert_int_equal(EVP_CipherUpdate(ctx, ours, &n, message, 17), 1);
    assert_int_not_equal(EVP_CipherFinal(ctx, ours, &n), 1);
    assert_error("no whole number of blocks");
    assert_true(begin(ctx, cbc, key, true, 0));
    assert_int_equal(EVP_CipherUpdate(ctx, back, &n, message, 32), 1);
    assert_int_not_equal(EVP_CipherFinal(ctx, back, &n), 1);
    assert_error("the padding is wrong");
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cbc);
    EVP_CIPHER_free(small);
    EVP_SKEY_free(key);
}

/* The parameters of contexts. */
static void test_crypt_parameters(void **state)
{
    SKEY *key = key_of(libctx, 32);
    EVP_CIPHER *cbc = cipher_of(libctx, PKCS11_BRIDGE_CIPHER_PREFIX, 256, "CBC");
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char updated[16];
    size_t iv_len = 12;
    int n = 0;
    OSSL_PARAM get[] = {
        OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_UPDATED_IV, updated, 16),
        OSSL_PARAM_construct_end(),
    };
    const OSSL_PARAM cs1[] = { TEXT_PARAM(OSSL_CIPHER_PARAM_CTS_MODE, "CS1"),
                               OSSL_PARAM_construct_end() };
    const OSSL_PARAM cs3[] = { TEXT_PARAM(OSSL_CIPHER_PARAM_CTS_MODE, "CS3"),
                               OSSL_PARAM_construct_end() };
    const OSSL_PARAM len[] = { OSSL_PARAM_construct_size_t(OSSL_CIPHER_PARAM_IVLEN, &iv_len),
                               OSSL_PARAM_construct_end() };

    (void)state;
    assert_int_not_equal(EVP_DecryptInit_ex2(ctx, cbc, bytes, iv, NULL), 1);
    assert_error("for keys of a token");
    assert_true(begin(ctx, cbc, key, false, 1));
    assert_int_equal(EVP_CipherUpdate(ctx, ours, &n, message, 32), 1);
    assert_int_equal(EVP_CIPHER_CTX_get_params(ctx, get), 1);
    assert_memory_equal(updated, ours + 16, 16);
    assert_int_equal(EVP_CIPHER_CTX_set_params(ctx, cs1), 1);
    assert_int_not_equal(EVP_CIPHER_CTX_set_params(ctx, cs3), 1);
    assert_error("CS1");
    assert_int_not_equal(EVP_CIPHER_CTX_set_params(ctx, len), 1);
    assert_error("the IV has not a length");
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cbc);
    EVP_SKEY_free(key);
}

/* The other lengths of keys that the AEAD modes have. */
static void test_crypt_aead_keys(void **state)
{
    static const char *const names[] = { "GCM", "CCM" };

    (void)state;
    for (unsigned i = 0; i < 2 * COUNT_OF(names); i++) {
        unsigned bits = i % 2 == 0 ? 128 : 192;
        SKEY *key = key_of(libctx, bits / 8);
        EVP_CIPHER *cipher = cipher_of(libctx, PKCS11_BRIDGE_CIPHER_PREFIX, bits, names[i / 2]);
        EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        const unsigned char *nonce = i / 2 == 0 ? NULL : iv;
        int n = 0;

        assert_int_equal(EVP_CIPHER_get_key_length(cipher), bits / 8);
        assert_int_equal(
            EVP_CipherInit_SKEY(ctx, cipher, key, nonce, nonce != NULL ? 12 : 0, 1, NULL), 1);
        if (EVP_CipherUpdate(ctx, ours, &n, message, 20) == 1)
            assert_int_equal(n, 20);
        else
            (void)is_lacking(names[i / 2]);
        EVP_CIPHER_CTX_free(ctx);
        EVP_CIPHER_free(cipher);
        EVP_SKEY_free(key);
    }
}

static EVP_CIPHER_CTX *gcm_begin(OSSL_LIB_CTX *in, SKEY *key, const unsigned char *nonce,
                                 int encrypt)
{
    EVP_CIPHER *cipher = cipher_of(in, PKCS11_BRIDGE_CIPHER_PREFIX, 256, "GCM");
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    if (EVP_CipherInit_SKEY(ctx, cipher, key, nonce, nonce != NULL ? 12 : 0, encrypt, NULL) != 1) {
        EVP_CIPHER_CTX_free(ctx);
        ctx = NULL;
    }
    EVP_CIPHER_free(cipher);
    return ctx;
}

static size_t room = ROOM;

static void set_room(EVP_CIPHER_CTX *ctx)
{
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_size_t(PKCS11_BRIDGE_CIPHER_FINAL_ROOM, &room),
        OSSL_PARAM_construct_end(),
    };

    assert_int_equal(EVP_CIPHER_CTX_set_params(ctx, params), 1);
}

/* By the default provider, with the nonce; the tag is at theirs + len. */
static void gcm_software(const unsigned char *nonce, size_t aad_len, size_t len)
{
    EVP_CIPHER *cipher = cipher_of(plain, "", 256, "GCM");
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;

    assert_int_equal(EVP_EncryptInit_ex2(ctx, cipher, bytes, nonce, NULL), 1);
    if (aad_len != 0)
        assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, message, (int)aad_len), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, theirs, &n, message, (int)len), 1);
    assert_int_equal(EVP_EncryptFinal_ex(ctx, theirs + len, &n), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, theirs + len), 1);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
}

static bool lacks_gcm(SKEY *key)
{
    EVP_CIPHER_CTX *ctx = gcm_begin(libctx, key, NULL, 1);
    int n = 0;
    bool lacks;

    assert_non_null(ctx);
    lacks = EVP_CipherUpdate(ctx, ours, &n, message, 16) != 1 && is_lacking("GCM");
    EVP_CIPHER_CTX_free(ctx);
    return lacks;
}

static void get_iv(EVP_CIPHER_CTX *ctx, unsigned char nonce[12])
{
    OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_IV, nonce, 12),
                            OSSL_PARAM_construct_end() };

    assert_int_equal(EVP_CIPHER_CTX_get_params(ctx, params), 1);
}

/* The IV is made here, another for each message, and is the one that was used. */
static void test_crypt_gcm_encrypt(void **state)
{
    static const size_t lens[] = { 0, 1, 16, 33, 16384 };
    SKEY *key = key_of(libctx, 32);
    unsigned char nonce[12], tag[16], last[12] = { 0 };
    int n = 0;

    (void)state;
    for (size_t i = 0; !lacks_gcm(key) && i < 4 * COUNT_OF(lens); i++) {
        size_t len = lens[i / 4], aad_len = i & 1 ? 21 : 0, got = 0;
        EVP_CIPHER_CTX *ctx = gcm_begin(libctx, key, NULL, 1);

        if (i & 2)
            set_room(ctx);
        get_iv(ctx, nonce);
        assert_memory_not_equal(nonce, last, 12);
        memcpy(last, nonce, 12);
        if (aad_len != 0) { /* in two pieces */
            assert_int_equal(EVP_CipherUpdate(ctx, NULL, &n, message, 1), 1);
            assert_int_equal(EVP_CipherUpdate(ctx, NULL, &n, message + 1, (int)aad_len - 1), 1);
        }
        assert_true(run(ctx, message, len, i & 2 ? 37 : 0, ours, &got));
        assert_int_equal(got, len);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag), 1);
        gcm_software(nonce, aad_len, len);
        assert_memory_equal(ours, theirs, len);
        assert_memory_equal(tag, theirs + len, 16);
        EVP_CIPHER_CTX_free(ctx);
    }
    EVP_SKEY_free(key);
}

/* So many bytes of EVP_EncryptUpdate, perhaps in the place of the message, with 16 after them. */
static void update_guarded(EVP_CIPHER_CTX *ctx, size_t len, bool in_place)
{
    int n = 0;

    memset(ours + len, 0xee, 16);
    if (in_place)
        memcpy(ours, message, len);
    assert_int_equal(EVP_EncryptUpdate(ctx, ours, &n, in_place ? ours : message, (int)len), 1);
    assert_int_equal(n, len);
}

/* The tag is behind the message where the caller says that there is room, and nothing elsewhere. */
static void test_crypt_gcm_tag_room(void **state)
{
    static const unsigned char untouched[16] = { 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
                                                 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee };
    static const size_t lens[] = { 1, 16, 33, 16384 };
    SKEY *key = key_of(libctx, 32);
    unsigned char nonce[12], tag[16];
    unsigned yes = 1;
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_uint(PKCS11_BRIDGE_CIPHER_TAG_ROOM, &yes),
                                  OSSL_PARAM_construct_end() };

    (void)state;
    for (size_t i = 0; !lacks_gcm(key) && i < 4 * COUNT_OF(lens); i++) {
        const size_t len = lens[i / 4];
        EVP_CIPHER_CTX *ctx = gcm_begin(libctx, key, NULL, 1);

        if (i & 1)
            assert_int_equal(EVP_CIPHER_CTX_set_params(ctx, params), 1);
        get_iv(ctx, nonce);
        update_guarded(ctx, len, i & 2);
        gcm_software(nonce, 0, len);
        assert_memory_equal(ours, theirs, len);
        assert_memory_equal(ours + len, i & 1 ? theirs + len : untouched, 16);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag), 1);
        assert_memory_equal(tag, theirs + len, 16);
        EVP_CIPHER_CTX_free(ctx);
    }
    EVP_SKEY_free(key);
}

/* At the end there is as much room as the caller says there, for the tag or not. */
static void test_crypt_gcm_final_room(void **state)
{
    SKEY *key = key_of(libctx, 32);
    EVP_CIPHER_CTX *ctx;
    size_t exact = 100;
    unsigned yes = 1;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_uint(PKCS11_BRIDGE_CIPHER_TAG_ROOM, &yes),
        OSSL_PARAM_construct_size_t(PKCS11_BRIDGE_CIPHER_FINAL_ROOM, &exact),
        OSSL_PARAM_construct_end(),
    };
    int n = 0;

    (void)state;
    if (!lacks_gcm(key)) {
        ctx = gcm_begin(libctx, key, NULL, 1);
        assert_int_equal(EVP_CIPHER_CTX_set_params(ctx, params), 1);
        assert_int_equal(EVP_EncryptUpdate(ctx, ours, &n, message, (int)exact), 1);
        assert_int_equal(n, 0);
        ours[exact] = 0xee;
        assert_int_equal(EVP_EncryptFinal_ex(ctx, ours, &n), 1);
        assert_int_equal(n, exact);
        assert_int_equal(ours[exact], 0xee);
        EVP_CIPHER_CTX_free(ctx);
    }
    EVP_SKEY_free(key);
}

/* Nothing comes out before the tag is right, nor when it is wrong. */
static void test_crypt_gcm_decrypt(void **state)
{
    static const size_t lens[] = { 0, 1, 16, 33, 16384 };
    SKEY *key = key_of(libctx, 32);

    (void)state;
    for (size_t i = 0; !lacks_gcm(key) && i < 4 * COUNT_OF(lens); i++) {
        size_t len = lens[i / 4], got = 0;
        bool wrong = i & 1, pieces = i & 2;
        EVP_CIPHER_CTX *ctx = gcm_begin(libctx, key, iv, 0);
        int n = 0;

        gcm_software(iv, 21, len);
        theirs[len] ^= (unsigned char)wrong;
        assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, theirs + len), 1);
        if (pieces)
            set_room(ctx);
        memset(back, 0xee, len + 1);
        assert_int_equal(EVP_CipherUpdate(ctx, NULL, &n, message, 21), 1);
        if (!wrong) {
            if (!run(ctx, theirs, len, pieces ? 37 : 0, back, &got)) {
                char e[512];
                fail_msg("%zu: %s", len, last_error(e, sizeof(e)));
            }
            assert_int_equal(got, len);
            assert_memory_equal(back, message, len);
        } else {
            assert_false(run(ctx, theirs, len, pieces ? 37 : 0, back, &got));
            assert_error("or its tag, is wrong");
            assert_int_not_equal(EVP_CipherFinal(ctx, back, &n), 1); /* who looks at that alone */
            for (size_t at = 0; at <= len; at++)
                assert_int_equal(back[at], 0xee);
        }
        EVP_CIPHER_CTX_free(ctx);
    }
    EVP_SKEY_free(key);
}

/* What begins without an IV is not encrypted as what came before. */
static void test_crypt_ctr_goes_on(void **state)
{
    SKEY *key = key_of(libctx, 32);
    EVP_CIPHER *cipher = cipher_of(libctx, PKCS11_BRIDGE_CIPHER_PREFIX, 256, "CTR");
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;

    (void)state;
    if (!lacks("CTR", key)) {
        (void)software(256, "CTR", false, 64);
        assert_true(begin(ctx, cipher, key, false, 1));
        assert_int_equal(EVP_CipherUpdate(ctx, ours, &n, message, 17), 1);
        assert_int_equal(EVP_CipherInit_ex2(ctx, NULL, NULL, NULL, 1, NULL), 1);
        assert_int_equal(EVP_CipherUpdate(ctx, ours, &n, message + 32, 32), 1);
        assert_memory_equal(ours, theirs + 32, 32);
    }
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    EVP_SKEY_free(key);
}

static void test_crypt_gcm_mistakes(void **state)
{
    SKEY *key = key_of(libctx, 32);
    EVP_CIPHER_CTX *ctx, *copy = EVP_CIPHER_CTX_new();
    int n = 0;

    (void)state;
    assert_null(gcm_begin(libctx, key, iv, 1));
    assert_error("pkcs11-gcm-caller-iv");
    if (!lacks_gcm(key)) {
        ctx = gcm_begin(libctx, key, iv, 0);
        assert_int_not_equal(EVP_CipherUpdate(ctx, back, &n, message, 16), 1);
        assert_error("set the tag first");
        EVP_CIPHER_CTX_free(ctx);
        ctx = gcm_begin(libctx, key, NULL, 1);
        assert_int_equal(EVP_CIPHER_CTX_copy(copy, ctx), 1);
        assert_int_equal(EVP_CipherUpdate(ctx, ours, &n, message, 16), 1);
        assert_int_not_equal(EVP_CipherUpdate(ctx, ours, &n, message, 16), 1);
        assert_error("pkcs11-final-room");
        assert_int_not_equal(EVP_CipherUpdate(copy, ours, &n, message, 16), 1);
        assert_error("no IV is set");
        EVP_CIPHER_CTX_free(ctx);
    }
    EVP_CIPHER_CTX_free(copy);
    EVP_SKEY_free(key);
}

static void test_crypt_settings(void **state)
{
    OSSL_LIB_CTX *other = libctx_new("pkcs11-gcm-caller-iv = yes\npkcs11-collect-max = 1000\n");
    SKEY *key = key_of(other, 32), *here = key_of(libctx, 32);
    EVP_CIPHER_CTX *ctx = gcm_begin(other, key, iv, 1);
    int n = 0;

    (void)state;
    assert_non_null(ctx);
    if (!lacks_gcm(here)) {
        gcm_software(iv, 0, 100);
        assert_int_equal(EVP_CipherUpdate(ctx, ours, &n, message, 100), 1);
        assert_memory_equal(ours, theirs, 100);
    }
    EVP_CIPHER_CTX_free(ctx);
    ctx = gcm_begin(other, key, iv, 1);
    set_room(ctx);
    assert_int_equal(EVP_CipherUpdate(ctx, ours, &n, message, 1000), 1);
    assert_int_not_equal(EVP_CipherUpdate(ctx, ours, &n, message, 1), 1);
    assert_error("pkcs11-collect-max");
    EVP_CIPHER_CTX_free(ctx);
    EVP_SKEY_free(here);
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(other);
}

static void test_crypt_ccm(void **state)
{
    SKEY *key = key_of(libctx, 32);
    EVP_CIPHER *cipher = cipher_of(libctx, PKCS11_BRIDGE_CIPHER_PREFIX, 256, "CCM");
    EVP_CIPHER *soft = cipher_of(plain, "", 256, "CCM");
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new(), *other = EVP_CIPHER_CTX_new();
    unsigned char tag[16];
    int n = 0;

    (void)state;
    assert_int_equal(EVP_CipherInit_SKEY(ctx, cipher, key, iv, 12, 1, NULL), 1);
    assert_int_equal(EVP_CipherUpdate(ctx, NULL, &n, NULL, 100), 1);
    assert_int_equal(EVP_CipherUpdate(ctx, NULL, &n, message, 21), 1);
    if (EVP_CipherUpdate(ctx, ours, &n, message, 100) == 1 || !is_lacking("CCM")) {
        assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag), 1);
        assert_int_equal(EVP_DecryptInit_ex2(other, soft, NULL, NULL, NULL), 1);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(other, EVP_CTRL_AEAD_SET_IVLEN, 12, NULL), 1);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(other, EVP_CTRL_AEAD_SET_TAG, 16, tag), 1);
        assert_int_equal(EVP_DecryptInit_ex2(other, NULL, bytes, iv, NULL), 1);
        assert_int_equal(EVP_DecryptUpdate(other, NULL, &n, NULL, 100), 1);
        assert_int_equal(EVP_DecryptUpdate(other, NULL, &n, message, 21), 1);
        assert_int_equal(EVP_DecryptUpdate(other, back, &n, ours, 100), 1);
        assert_memory_equal(back, message, 100);
        assert_int_equal(EVP_CipherInit_SKEY(ctx, cipher, key, iv, 12, 0, NULL), 1);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, tag), 1);
        assert_int_equal(EVP_CipherUpdate(ctx, NULL, &n, NULL, 100), 1);
        assert_int_equal(EVP_CipherUpdate(ctx, NULL, &n, message, 21), 1);
        assert_int_equal(EVP_CipherUpdate(ctx, theirs, &n, ours, 100), 1);
        assert_memory_equal(theirs, message, 100);
    }
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_CTX_free(other);
    EVP_CIPHER_free(cipher);
    EVP_CIPHER_free(soft);
    EVP_SKEY_free(key);
}

static bool mac_run(EVP_MAC_CTX *ctx, size_t len, size_t piece, unsigned char *out, size_t *out_len)
{
    bool ok = true;

    for (size_t at = 0; ok && at < len; at += piece)
        ok = EVP_MAC_update(ctx, message + at, len - at < piece ? len - at : piece) == 1;
    return ok && EVP_MAC_final(ctx, out, out_len, 64) == 1;
}

/* False where the token does not have it. */
static bool mac_compare(SKEY *key, const char *name, const OSSL_PARAM *params, size_t key_len,
                        const char *what, size_t len)
{
    char own[32];
    EVP_MAC *mac, *soft = EVP_MAC_fetch(plain, name, NULL);
    EVP_MAC_CTX *ctx, *other = EVP_MAC_CTX_new(soft), *copy;
    unsigned char a[64], b[64];
    size_t a_len = 0, b_len = 0;
    const OSSL_PARAM raw[] = { OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, bytes, 16),
                               OSSL_PARAM_construct_end() };
    bool ok;

    snprintf(own, sizeof(own), "PKCS11-%s", name);
    mac = EVP_MAC_fetch(libctx, own, NULL);
    assert_non_null(mac);
    ctx = EVP_MAC_CTX_new(mac);
    assert_int_equal(EVP_MAC_init(other, bytes, key_len, params), 1);
    assert_true(mac_run(other, len, len + 1, b, &b_len));
    assert_int_not_equal(EVP_MAC_init(ctx, bytes, key_len, params), 1);
    assert_error("for keys of a token");
    assert_int_not_equal(EVP_MAC_update(ctx, message, 1), 1);
    assert_error("initialise it");
    assert_int_equal(EVP_MAC_init_SKEY(ctx, key, params), 1);
    assert_int_not_equal(EVP_MAC_CTX_set_params(ctx, raw), 1);
    assert_error("for keys of a token");
    copy = EVP_MAC_CTX_dup(ctx);
    ok = mac_run(ctx, len, 1000, a, &a_len) || !is_lacking(what);
    if (ok) {
        assert_int_equal(EVP_MAC_CTX_get_mac_size(ctx), b_len);
        assert_int_equal(a_len, b_len);
        assert_memory_equal(a, b, a_len);
        memset(a, 0, sizeof(a));
        assert_true(mac_run(copy, len, len + 1, a, &a_len));
        assert_memory_equal(a, b, a_len);
        memset(a, 0, sizeof(a));
        assert_int_not_equal(EVP_MAC_update(ctx, message, 1), 1);
        assert_error("initialise it");
        assert_int_equal(EVP_MAC_init(ctx, NULL, 0, NULL), 1);
        assert_true(mac_run(ctx, len, len + 1, a, &a_len));
        assert_memory_equal(a, b, a_len);
    }
    EVP_MAC_CTX_free(copy);
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_CTX_free(other);
    EVP_MAC_free(mac);
    EVP_MAC_free(soft);
    return ok;
}

static const size_t mac_lens[] = { 0, 1, 16, 100, 64 * 1024, MESSAGE_MAX };

static void test_crypt_hmac(void **state)
{
    static const char *const digests[] = { "SHA1",       "SHA2-224",   "SHA2-256", "SHA2-384",
                                           "SHA2-512",   "SHA512-224", "SHA3-224", "SHA3-256",
                                           "SHA512-256", "SHA3-384",   "SHA3-512" };
    SKEY *key = EVP_SKEY_import_raw_key(libctx, "GENERIC-SECRET", bytes, 64, OURS);

    (void)state;
    assert_non_null(key);
    for (size_t d = 0; d < COUNT_OF(digests); d++) {
        const OSSL_PARAM params[] = { TEXT_PARAM(OSSL_MAC_PARAM_DIGEST, digests[d]),
                                      OSSL_PARAM_construct_end() };

        for (size_t i = 0; i < COUNT_OF(mac_lens); i++)
            if (!mac_compare(key, "HMAC", params, 64, digests[d], mac_lens[i]))
                break;
    }
    EVP_SKEY_free(key);
}

static void test_crypt_cmac(void **state)
{
    static const char *const names[] = { "AES-128-CBC", "AES-192-CBC", "AES-256-CBC" };

    (void)state;
    for (size_t c = 0; c < COUNT_OF(names); c++) {
        const OSSL_PARAM params[] = { TEXT_PARAM(OSSL_MAC_PARAM_CIPHER, names[c]),
                                      OSSL_PARAM_construct_end() };
        size_t key_len = 16 + 8 * c;
        SKEY *key = key_of(libctx, key_len);

        for (size_t i = 0; i < COUNT_OF(mac_lens); i++)
            if (!mac_compare(key, "CMAC", params, key_len, "CMAC", mac_lens[i]))
                break;
        EVP_SKEY_free(key);
    }
}

static void hkdf_params(OSSL_PARAM *params, const char *mode, size_t salt_len)
{
    *params++ = TEXT_PARAM(OSSL_KDF_PARAM_DIGEST, "SHA2-256");
    *params++ = TEXT_PARAM(OSSL_KDF_PARAM_MODE, mode);
    if (salt_len != 0)
        *params++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, message, salt_len);
    *params++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, message + 100, 10);
    *params = OSSL_PARAM_construct_end();
}

static void hkdf_software(const char *mode, size_t salt_len, unsigned char *out, size_t len)
{
    EVP_KDF *kdf = EVP_KDF_fetch(plain, "HKDF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[6];

    params[0] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, bytes, 64);
    hkdf_params(params + 1, mode, salt_len);
    assert_int_equal(EVP_KDF_derive(ctx, out, len, params), 1);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

/* Whether what derived encrypts is what a key of these bytes does. */
static void assert_aes(SKEY *derived, const unsigned char *value)
{
    unsigned char kept[32];

    memcpy(kept, bytes, 32);
    memcpy(bytes, value, 32);
    assert_true(compare(&modes[2], 256, derived, 64, 0));
    memcpy(bytes, kept, 32);
}

/* OpenSSL 3.6. Bytes of a key that is sensitive don't leave NSS softokn, another key does come of
 * it. */
static void test_crypt_hkdf(void **state)
{
    static const struct {
        const char *mode;
        size_t salt;
    } cases[] = { { "EXTRACT_AND_EXPAND", 20 },
                  { "EXTRACT_AND_EXPAND", 0 },
                  { "EXPAND_ONLY", 0 },
                  { "EXTRACT_ONLY", 13 } };
    int (*set_skey)(EVP_KDF_CTX *, SKEY *, const char *) = NULL;
    SKEY *(*derive_skey)(EVP_KDF_CTX *, void *, const char *, const char *, size_t,
                         const OSSL_PARAM *) = NULL;
    unsigned char value[32], got[32];
    SKEY *key, *derived = NULL;
    EVP_KDF *kdf;
    EVP_KDF_CTX *ctx;
    OSSL_PARAM params[6];

    (void)state;
    *(void **)&set_skey = dlsym(RTLD_DEFAULT, "EVP_KDF_CTX_set_SKEY");
    *(void **)&derive_skey = dlsym(RTLD_DEFAULT, "EVP_KDF_derive_SKEY");
    if (set_skey == NULL || derive_skey == NULL)
        skip();
    key = EVP_SKEY_import_raw_key(libctx, "GENERIC-SECRET", bytes, 64, OURS);
    kdf = EVP_KDF_fetch(libctx, "PKCS11-HKDF", NULL);
    ctx = EVP_KDF_CTX_new(kdf);
    assert_non_null(ctx);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        EVP_KDF_CTX_reset(ctx);
        hkdf_params(params, cases[i].mode, cases[i].salt);
        assert_int_not_equal(EVP_KDF_derive(ctx, got, 32, params), 1);
        assert_error("no key of a token");
        assert_int_equal(set_skey(ctx, key, OSSL_KDF_PARAM_KEY), 1);
        hkdf_software(cases[i].mode, cases[i].salt, value, 32);
        if (EVP_KDF_derive(ctx, got, 32, params) == 1)
            assert_memory_equal(got, value, 32);
        else
            (void)is_lacking("HKDF to bytes");
        derived = derive_skey(ctx, NULL, "AES", OURS, 32, params);
        if (derived != NULL)
            assert_aes(derived, value);
        else
            (void)is_lacking("HKDF");
        EVP_SKEY_free(derived);
    }
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    EVP_SKEY_free(key);
}

/* What there is beside: a copy of a context, how much comes of it, and bytes for a key in
 * software, which the token may keep. */
static void test_crypt_hkdf_contexts(void **state)
{
    int (*set_skey)(EVP_KDF_CTX *, SKEY *, const char *) = NULL;
    SKEY *(*derive_skey)(EVP_KDF_CTX *, void *, const char *, const char *, size_t,
                         const OSSL_PARAM *) = NULL;
    void *(*fetch)(OSSL_LIB_CTX *, const char *, const char *) = NULL;
    void (*release)(void *) = NULL;
    void *software; /* libcrypto loses what it fetches itself where nothing is derived */
    const OSSL_PARAM raw[] = {
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, bytes, 64),
        OSSL_PARAM_construct_end(),
    };
    unsigned char value[32], got[32];
    SKEY *key, *derived;
    EVP_KDF *kdf;
    EVP_KDF_CTX *ctx, *copy;
    OSSL_PARAM params[6];

    (void)state;
    *(void **)&set_skey = dlsym(RTLD_DEFAULT, "EVP_KDF_CTX_set_SKEY");
    *(void **)&derive_skey = dlsym(RTLD_DEFAULT, "EVP_KDF_derive_SKEY");
    *(void **)&fetch = dlsym(RTLD_DEFAULT, "EVP_SKEYMGMT_fetch");
    *(void **)&release = dlsym(RTLD_DEFAULT, "EVP_SKEYMGMT_free");
    if (set_skey == NULL || derive_skey == NULL)
        skip();
    key = EVP_SKEY_import_raw_key(libctx, "GENERIC-SECRET", bytes, 64, OURS);
    kdf = EVP_KDF_fetch(libctx, "PKCS11-HKDF", NULL);
    ctx = EVP_KDF_CTX_new(kdf);
    assert_int_not_equal(EVP_KDF_CTX_set_params(ctx, raw), 1);
    assert_error("for keys of a token");
    hkdf_params(params, "EXTRACT_ONLY", 13);
    assert_int_equal(EVP_KDF_CTX_set_params(ctx, params), 1);
    assert_int_equal(EVP_KDF_CTX_get_kdf_size(ctx), 32);
    assert_int_equal(set_skey(ctx, key, OSSL_KDF_PARAM_KEY), 1);
    copy = EVP_KDF_CTX_dup(ctx);
    assert_non_null(copy);
    EVP_KDF_CTX_free(ctx);
    hkdf_software("EXTRACT_ONLY", 13, value, 32);
    if (EVP_KDF_derive(copy, got, 32, NULL) == 1)
        assert_memory_equal(got, value, 32);
    else
        (void)is_lacking("HKDF to bytes");
    software = fetch(libctx, "GENERIC-SECRET", "provider=default");
    derived = derive_skey(copy, software, "GENERIC-SECRET", NULL, 32, NULL);
    if (derived != NULL)
        assert_string_equal(EVP_SKEY_get0_provider_name(derived), "default");
    else
        (void)is_lacking("HKDF to bytes");
    EVP_SKEY_free(derived);
    release(software);
    EVP_KDF_CTX_free(copy);
    EVP_KDF_free(kdf);
    EVP_SKEY_free(key);
}

/* Whether two keys encrypt to the same. */
static void assert_same_ecb(SKEY *one, SKEY *other, size_t len)
{
    EVP_CIPHER *cipher = cipher_of(libctx, PKCS11_BRIDGE_CIPHER_PREFIX, (unsigned)len * 8, "ECB");
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;

    assert_int_equal(EVP_CipherInit_SKEY(ctx, cipher, one, NULL, 0, 1, NULL), 1);
    assert_int_equal(EVP_CipherUpdate(ctx, ours, &n, message, 64), 1);
    assert_int_equal(EVP_CipherInit_SKEY(ctx, cipher, other, NULL, 0, 1, NULL), 1);
    assert_int_equal(EVP_CipherUpdate(ctx, theirs, &n, message, 64), 1);
    assert_memory_equal(ours, theirs, 64);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
}

static void tls13_params(OSSL_PARAM *params, const char *mode, size_t salt_len, size_t label_len,
                         size_t data_len)
{
    *params++ = TEXT_PARAM(OSSL_KDF_PARAM_DIGEST, "SHA2-256");
    *params++ = TEXT_PARAM(OSSL_KDF_PARAM_MODE, mode);
    if (salt_len != 0)
        *params++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, message, salt_len);
    *params++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, (char *)"tls13 ", 6);
    *params++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, message + 50, label_len);
    if (data_len != 0)
        *params++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_DATA, message + 100, data_len);
    *params = OSSL_PARAM_construct_end();
}

static void tls13_software(const OSSL_PARAM *said, unsigned char *out, size_t len)
{
    EVP_KDF *kdf = EVP_KDF_fetch(plain, "TLS13-KDF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[9], *p = params;

    *p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, bytes, 32);
    while (said->key != NULL)
        *p++ = *said++;
    *p = OSSL_PARAM_construct_end();
    assert_int_equal(EVP_KDF_derive(ctx, out, len, params), 1);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

/* OpenSSL 3.6: the steps of TLS 1.3's key schedule, twice each with one context. */
static void test_crypt_tls13(void **state)
{
    static const struct {
        const char *mode;
        size_t salt, label, data, len;
    } cases[] = {
        { "EXTRACT_ONLY", 0, 7, 0, 32 }, { "EXTRACT_ONLY", 32, 7, 0, 32 },
        { "EXPAND_ONLY", 0, 7, 32, 32 }, { "EXPAND_ONLY", 0, 1, 0, 16 },
        { "EXPAND_ONLY", 0, 3, 0, 24 },
    };
    int (*set_skey)(EVP_KDF_CTX *, SKEY *, const char *) = NULL;
    SKEY *(*derive_skey)(EVP_KDF_CTX *, void *, const char *, const char *, size_t,
                         const OSSL_PARAM *) = NULL;
    unsigned char value[64], got[64];
    SKEY *key;
    EVP_KDF *kdf;
    EVP_KDF_CTX *ctx, *copy;
    OSSL_PARAM params[8];

    (void)state;
    *(void **)&set_skey = dlsym(RTLD_DEFAULT, "EVP_KDF_CTX_set_SKEY");
    *(void **)&derive_skey = dlsym(RTLD_DEFAULT, "EVP_KDF_derive_SKEY");
    if (set_skey == NULL || derive_skey == NULL)
        skip();
    key = EVP_SKEY_import_raw_key(libctx, "GENERIC-SECRET", bytes, 32, OURS);
    kdf = EVP_KDF_fetch(libctx, "PKCS11-TLS13-KDF", NULL);
    ctx = EVP_KDF_CTX_new(kdf);
    assert_non_null(ctx);
    for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) {
        const size_t n = i / 2;
        SKEY *derived;

        if ((i & 1) == 0)
            EVP_KDF_CTX_reset(ctx);
        assert_int_equal(set_skey(ctx, key, OSSL_KDF_PARAM_KEY), 1);
        tls13_params(params, cases[n].mode, cases[n].salt, cases[n].label, cases[n].data);
        tls13_software(params, value, cases[n].len);
        derived = derive_skey(ctx, NULL, "AES", OURS, cases[n].len, (i & 1) == 0 ? params : NULL);
        if (derived != NULL) {
            SKEY *same = EVP_SKEY_import_raw_key(libctx, "AES", value, cases[n].len, OURS);

            assert_same_ecb(derived, same, cases[n].len);
            EVP_SKEY_free(same);
        } else {
            (void)is_lacking("HKDF");
        }
        EVP_SKEY_free(derived);
        copy = EVP_KDF_CTX_dup(ctx);
        assert_non_null(copy);
        if (EVP_KDF_derive(copy, got, cases[n].len, NULL) == 1)
            assert_memory_equal(got, value, cases[n].len);
        else
            (void)is_lacking("HKDF to bytes");
        EVP_KDF_CTX_free(copy);
    }
    tls13_params(params, "EXTRACT_AND_EXPAND", 0, 7, 0);
    assert_int_not_equal(EVP_KDF_derive(ctx, got, 32, params), 1);
    assert_error("either extracts or expands");
    tls13_params(params, "EXPAND_ONLY", 0, 250, 0);
    assert_int_not_equal(EVP_KDF_derive(ctx, got, 32, params), 1);
    assert_error("longer than 255");
    tls13_params(params, "EXPAND_ONLY", 0, 249, 256);
    assert_int_not_equal(EVP_KDF_derive(ctx, got, 32, params), 1);
    assert_error("longer than 255");
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    EVP_SKEY_free(key);
}

static void assert_software(OSSL_LIB_CTX *in)
{
    static const char *const names[] = { "AES-256-CBC",    "AES-128-GCM",     "AES-256-CTR",
                                         "AES-256-ECB",    "AES-256-OFB",     "AES-256-CFB",
                                         "id-aes256-wrap", "AES-128-CBC-CTS", "AES-256-CCM" };

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        EVP_CIPHER *cipher = EVP_CIPHER_fetch(in, names[i], NULL);

        assert_non_null(cipher);
        assert_string_equal(OSSL_PROVIDER_get0_name(EVP_CIPHER_get0_provider(cipher)), "default");
        EVP_CIPHER_free(cipher);
    }
}

/* Keys in software stay there, whatever the order of the providers and the default properties. */
static void test_crypt_raw_keys(void **state)
{
    static const char *const properties[] = { "", "?provider=pkcs11" };

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        OSSL_LIB_CTX *in = i & 1 ? libctx_new_first("") : libctx_new("");

        assert_non_null(in);
        assert_int_equal(EVP_set_default_properties(in, properties[i / 2]), 1);
        EVP_SKEY_free(key_of(in, 32));
        assert_software(in);
        OSSL_LIB_CTX_free(in);
    }
}

/* Nothing comes of a context that refused something, until it is initialised again. */
static void assert_ended(EVP_CIPHER_CTX *ctx, const char *after)
{
    char error[512];
    int n = 0;

    if (EVP_CipherUpdate(ctx, ours, &n, message, 32) == 1 || EVP_CipherFinal(ctx, ours, &n) == 1)
        fail_msg("it goes on after %s", after);
    if (strstr(last_error(error, sizeof(error)), "initialise it again") == NULL)
        fail_msg("after %s: %s", after, error);
    ERR_clear_error();
}

static void assert_refused_init(const char *mode, SKEY *key, SKEY *short_key)
{
    EVP_CIPHER *cipher = cipher_of(libctx, PKCS11_BRIDGE_CIPHER_PREFIX, 256, mode);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    const size_t iv_len = (size_t)EVP_CIPHER_get_iv_length(cipher);
    char nonsense[] = "nonsense";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_CIPHER_PARAM_PADDING, nonsense, 0),
        OSSL_PARAM_construct_end(),
    };

    assert_true(begin(ctx, cipher, key, false, 1));
    assert_int_not_equal(EVP_CipherInit_SKEY(ctx, NULL, short_key, iv, iv_len, 1, NULL), 1);
    assert_ended(ctx, "a key of another length");
    assert_true(begin(ctx, cipher, key, false, 1));
    assert_int_not_equal(EVP_EncryptInit_ex2(ctx, NULL, bytes, iv, NULL), 1);
    assert_ended(ctx, "a key of software");
    assert_true(begin(ctx, cipher, key, false, 1));
    assert_int_not_equal(EVP_CipherInit_SKEY(ctx, NULL, key, iv, iv_len, 1, params), 1);
    assert_ended(ctx, "a parameter that is none");
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
}

/* What a careful caller may rely on, where software goes on with the key and IV of before. */
static void test_crypt_refused_init(void **state)
{
    static const char *const names[] = { "ECB", "CBC", "CTR", "CBC-CTS", "WRAP-PAD" };
    SKEY *key = key_of(libctx, 32), *short_key = key_of(libctx, 16);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_refused_init(names[i], key, short_key);
    EVP_SKEY_free(key);
    EVP_SKEY_free(short_key);
}

/* Of a message whose end or a piece of which was refused. */
static void test_crypt_refused_end(void **state)
{
    SKEY *key = key_of(libctx, 32);
    EVP_CIPHER *cbc = cipher_of(libctx, PKCS11_BRIDGE_CIPHER_PREFIX, 256, "CBC");
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;

    (void)state;
    assert_true(begin(ctx, cbc, key, true, 0));
    assert_int_equal(EVP_CipherUpdate(ctx, ours, &n, message, 32), 1);
    assert_int_not_equal(EVP_CipherFinal(ctx, ours, &n), 1);
    assert_ended(ctx, "a wrong padding");
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cbc);
    EVP_SKEY_free(key);
}

/* What is to be authenticated and was refused is not left out. */
static void test_crypt_gcm_refused_aad(void **state)
{
    OSSL_LIB_CTX *narrow = libctx_new("pkcs11-collect-max = 100\n");
    SKEY *key = key_of(narrow, 32), *other = key_of(libctx, 32);
    EVP_CIPHER_CTX *ctx;
    int n = 0;

    (void)state;
    if (!lacks_gcm(other)) {
        ctx = gcm_begin(narrow, key, NULL, 1);
        assert_int_not_equal(EVP_CipherUpdate(ctx, NULL, &n, message, 101), 1);
        ERR_clear_error();
        assert_int_not_equal(EVP_CipherUpdate(ctx, NULL, &n, message, 10), 1);
        assert_ended(ctx, "too much that is authenticated");
        EVP_CIPHER_CTX_free(ctx);
    }
    EVP_SKEY_free(key);
    EVP_SKEY_free(other);
    OSSL_LIB_CTX_free(narrow);
}

/* A piece that was refused is not left out of what is authenticated. */
static void test_crypt_mac_refused_piece(void **state)
{
    OSSL_LIB_CTX *narrow = libctx_new("pkcs11-collect-max = 100\n");
    SKEY *key = key_of(narrow, 32);
    EVP_MAC *mac = EVP_MAC_fetch(narrow, PKCS11_BRIDGE_CIPHER_PREFIX "CMAC", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    size_t len = 0;

    (void)state;
    assert_int_equal(EVP_MAC_init_SKEY(ctx, key, NULL), 1);
    assert_int_equal(EVP_MAC_update(ctx, message, 60), 1);
    assert_int_not_equal(EVP_MAC_update(ctx, message, 60), 1);
    assert_int_not_equal(EVP_MAC_update(ctx, message, 10), 1);
    assert_int_not_equal(EVP_MAC_final(ctx, ours, &len, sizeof(ours)), 1);
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    EVP_SKEY_free(key);
    OSSL_LIB_CTX_free(narrow);
}

/* Bytes that were refused before the tag was set are not left out of the message: its rest, which
 * is nothing, has a tag of its own. */
static void test_crypt_gcm_refused_piece(void **state)
{
    SKEY *key = key_of(libctx, 32);
    EVP_CIPHER_CTX *ctx;
    unsigned char tag[16];
    int n = 0;

    (void)state;
    if (!lacks_gcm(key)) {
        gcm_software(iv, 0, 0);
        memcpy(tag, theirs, sizeof(tag));
        ctx = gcm_begin(libctx, key, iv, 0);
        assert_int_not_equal(EVP_CipherUpdate(ctx, ours, &n, message, 32), 1);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, tag), 1);
        ERR_clear_error();
        assert_int_not_equal(EVP_CipherFinal(ctx, ours, &n), 1);
        assert_ended(ctx, "a piece before the tag");
        EVP_CIPHER_CTX_free(ctx);
    }
    EVP_SKEY_free(key);
}

/* A message that was decrypted with a short tag leaves none to the next, which is encrypted. */
static void test_crypt_gcm_short_tag(void **state)
{
    SKEY *key = key_of(libctx, 32);
    EVP_CIPHER_CTX *ctx;
    unsigned char tag[16];
    int n = 0;

    (void)state;
    if (!lacks_gcm(key)) {
        gcm_software(iv, 20, 100);
        ctx = gcm_begin(libctx, key, iv, 0);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 12, theirs + 100), 1);
        assert_int_equal(EVP_CipherUpdate(ctx, NULL, &n, message, 20), 1);
        assert_int_equal(EVP_CipherUpdate(ctx, ours, &n, theirs, 100), 1);
        assert_memory_equal(ours, message, 100);
        assert_int_equal(EVP_CipherFinal(ctx, ours, &n), 1);
        assert_int_equal(EVP_CipherInit_SKEY(ctx, NULL, key, NULL, 0, 1, NULL), 1);
        assert_int_equal(EVP_CipherUpdate(ctx, ours, &n, message, 100), 1);
        assert_int_equal(EVP_CipherFinal(ctx, ours, &n), 1);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag), 1);
        EVP_CIPHER_CTX_free(ctx);
    }
    EVP_SKEY_free(key);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crypt_modes),
        cmocka_unit_test(test_crypt_in_place),
        cmocka_unit_test(test_crypt_lengths),
        cmocka_unit_test(test_crypt_fork),
        cmocka_unit_test(test_crypt_mistakes),
        cmocka_unit_test(test_crypt_gcm_encrypt),
        cmocka_unit_test(test_crypt_gcm_decrypt),
        cmocka_unit_test(test_crypt_gcm_mistakes),
        cmocka_unit_test(test_crypt_settings),
        cmocka_unit_test(test_crypt_ccm),
        cmocka_unit_test(test_crypt_raw_keys),
        cmocka_unit_test(test_crypt_hmac),
        cmocka_unit_test(test_crypt_cmac),
        cmocka_unit_test(test_crypt_hkdf),
        cmocka_unit_test(test_crypt_threads),
        cmocka_unit_test(test_crypt_parameters),
        cmocka_unit_test(test_crypt_aead_keys),
        cmocka_unit_test(test_crypt_hkdf_contexts),
        cmocka_unit_test(test_crypt_gcm_tag_room),
        cmocka_unit_test(test_crypt_gcm_final_room),
        cmocka_unit_test(test_crypt_tls13),
        cmocka_unit_test(test_crypt_ctr_goes_on),
        cmocka_unit_test(test_crypt_refused_init),
        cmocka_unit_test(test_crypt_refused_end),
        cmocka_unit_test(test_crypt_gcm_refused_aad),
        cmocka_unit_test(test_crypt_gcm_refused_piece),
        cmocka_unit_test(test_crypt_gcm_short_tag),
        cmocka_unit_test(test_crypt_mac_refused_piece),
    };
    int failed;

    if (!skey_functions()) {
        puts("this libcrypto does not know EVP_SKEY");
        return SKIPPED;
    }
    libctx = libctx_new("");
    plain = libctx_new_plain();
    (void)RAND_bytes(bytes, sizeof(bytes));
    (void)RAND_bytes(iv, sizeof(iv));
    memset(iv + 8, 0xff, 8); /* a counter that overflows */
    (void)RAND_bytes(message, sizeof(message));
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    OSSL_LIB_CTX_free(libctx);
    OSSL_LIB_CTX_free(plain);
    return failed;
}
