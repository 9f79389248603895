/* RSA decryption where the token takes the padding off, because raw RSA is not to be had: what can
 * be seen of a wrong padding. Wrong ones make the calls that right ones make, and all processes
 * give the same answer to one. */
#include "harness.h"

#include <sys/wait.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

#include "operator.h"

#ifndef OSSL_ASYM_CIPHER_PARAM_IMPLICIT_REJECTION
#define OSSL_ASYM_CIPHER_PARAM_IMPLICIT_REJECTION "implicit-rejection"
#endif

#define NO_RAW  "hide 3;" /* CKM_RSA_X_509 */
#define WRONG   "C_Decrypt 1 * CKR_ENCRYPTED_DATA_INVALID after;"
#define SIZE    256
#define MESSAGE "the message"

struct world {
    OSSL_LIB_CTX *libctx, *plain;
    EVP_PKEY *key, *public;
    int padding;
    bool explicit; /* wrong PKCS#1 v1.5 padding is an error */
};

struct result {
    bool ok;
    unsigned char out[SIZE];
    size_t len;
};

static struct world world_begin(const char *label, int padding, const char *rules)
{
    struct world world = { .libctx = libctx_new_faulty(""),
                           .plain = libctx_new_plain(),
                           .padding = padding };
    char error[512];

    fault(rules);
    world.key = key_load(world.libctx, label, "private");
    if (world.key == NULL)
        fail_msg("no key %s: %s", label, last_error(error, sizeof(error)));
    world.public = key_public_copy(world.key, world.plain);
    return world;
}

static void world_end(struct world *world)
{
    fault("");
    EVP_PKEY_free(world->key);
    EVP_PKEY_free(world->public);
    OSSL_LIB_CTX_free(world->libctx);
    OSSL_LIB_CTX_free(world->plain);
}

static void encrypt(const struct world *world, int padding, const unsigned char *in, size_t len,
                    unsigned char *out)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(world->plain, world->public, NULL);
    size_t out_len = SIZE;

    assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, padding), 1);
    assert_int_equal(EVP_PKEY_encrypt(ctx, out, &out_len, in, len), 1);
    EVP_PKEY_CTX_free(ctx);
}

/* right: with MESSAGE in it; else a block without a zero that ends the padding, and for OAEP one of
 * the wrong kind. */
static void ciphertext(const struct world *world, bool right, unsigned char *out)
{
    unsigned char block[SIZE] = { 0, 2 };

    memset(block + 2, 0x77, SIZE - 2);
    if (right)
        encrypt(world, world->padding, (const unsigned char *)MESSAGE, strlen(MESSAGE), out);
    else
        encrypt(world, RSA_NO_PADDING, block, SIZE, out);
}

static struct result decrypt(const struct world *world, const unsigned char *in)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(world->libctx, world->key, NULL);
    struct result result = { .len = SIZE };
    unsigned off = 0;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_uint(OSSL_ASYM_CIPHER_PARAM_IMPLICIT_REJECTION, &off),
        OSSL_PARAM_construct_end(),
    };

    ERR_clear_error();
    assert_int_equal(EVP_PKEY_decrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, world->padding), 1);
    if (world->explicit)
        assert_int_equal(EVP_PKEY_CTX_set_params(ctx, params), 1);
    result.ok = EVP_PKEY_decrypt(ctx, result.out, &result.len, in, SIZE) == 1;
    EVP_PKEY_CTX_free(ctx);
    return result;
}

static bool same(const struct result *a, const struct result *b)
{
    return a->ok && b->ok && a->len == b->len && memcmp(a->out, b->out, a->len) == 0;
}

static bool is_message(const struct result *result)
{
    return result->ok && result->len == strlen(MESSAGE) &&
           memcmp(result->out, MESSAGE, result->len) == 0;
}

/* A wrong padding's: nothing of it is told but where it is asked for. */
static void check_wrong(const struct world *world, const struct result *result, const char *what)
{
    bool told = world->explicit || world->padding == RSA_PKCS1_OAEP_PADDING;
    char error[512];

    if (result->ok == told)
        fail_msg("%s: a wrong padding %s", what, told ? "is none" : "is an error");
    if (!told && (is_message(result) || result->len > SIZE - 11 || ERR_peek_error() != 0))
        fail_msg("%s: %zu bytes, %s", what, result->len, last_error(error, sizeof(error)));
    if (told && strstr(last_error(error, sizeof(error)), "the padding is wrong") == NULL)
        fail_msg("%s: is told as: %s", what, error);
}

static const char *const counted[] = {
    NULL,
    "C_DecryptInit",
    "C_Decrypt",
    "C_OpenSession",
    "C_CloseSession",
    "C_Login",
    "C_SignInit",
    "C_Sign",
    "C_CopyObject",
    "C_FindObjects",
    "C_GetAttributeValue",
    "C_GetTokenInfo",
};

#define OPERATIONS 8

struct tally {
    unsigned long calls[OPERATIONS][COUNT_OF(counted)];
};

/* What the operations cost one after the other; pattern has r or w for each. Faulty: what rules to
 * set for a wrong one that is wrong by the token's word alone. */
static void count_operations(const struct world *world, const char *pattern, const char *faulty,
                             struct tally *tally)
{
    unsigned char encrypted[2][SIZE];

    ciphertext(world, true, encrypted[true]);
    ciphertext(world, false, encrypted[false]);
    for (size_t n = 0; n < OPERATIONS; n++) {
        bool right = pattern[n] == 'r';
        struct result result;

        fault(!right && faulty != NULL ? faulty : NO_RAW);
        calls_reset();
        result = decrypt(world, encrypted[right || faulty != NULL]);
        for (size_t c = 0; c < COUNT_OF(counted); c++)
            tally->calls[n][c] = calls(counted[c]);
        /* SoftHSM with OpenSSL 3.2 or later does not say that PKCS#1 v1.5 padding is wrong */
        if (!right && (faulty != NULL || !world->explicit))
            check_wrong(world, &result, faulty != NULL ? faulty : pattern);
        if (right && !is_message(&result))
            fail_msg("%s: the message does not come out", pattern);
    }
    fault(NO_RAW);
}

static void check_equal(const struct tally *a, const struct tally *b, const char *what)
{
    for (size_t n = 0; n < OPERATIONS; n++)
        for (size_t c = 0; c < COUNT_OF(counted); c++)
            if (a->calls[n][c] != b->calls[n][c])
                fail_msg("%s: operation %zu: %s: %lu calls where right paddings have %lu", what,
                         n + 1, counted[c] != NULL ? counted[c] : "in all", b->calls[n][c],
                         a->calls[n][c]);
}

/* From a key's first use on, each in a world of its own. */
static void count_in_world(int padding, bool explicit, const char *pattern, const char *faulty,
                           struct tally *tally)
{
    struct world world = world_begin("rsa2048", padding, NO_RAW);

    world.explicit = explicit;
    count_operations(&world, pattern, faulty, tally);
    world_end(&world);
}

static const struct kind {
    const char *name;
    int padding;
    bool explicit;
} kinds[] = {
    { "implicit rejection", RSA_PKCS1_PADDING, false },
    { "explicit rejection", RSA_PKCS1_PADDING, true },
    { "OAEP", RSA_PKCS1_OAEP_PADDING, false },
};

static void test_padding_makes_no_call(void **state)
{
    static const char *const patterns[] = { "wwwwwwww", "rwrwrwrw", "wwrrwrrw", "rrrrrrrw" };

    (void)state;
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        struct tally right, tally;

        /* the first of all asks the module some things once */
        count_in_world(kinds[k].padding, kinds[k].explicit, "rrrrrrrr", NULL, &right);
        count_in_world(kinds[k].padding, kinds[k].explicit, "rrrrrrrr", NULL, &right);
        for (size_t p = 0; p < COUNT_OF(patterns); p++) {
            count_in_world(kinds[k].padding, kinds[k].explicit, patterns[p], NULL, &tally);
            check_equal(&right, &tally, kinds[k].name);
        }
    }
}

/* What modules say of a wrong padding, the last one by a name of their own. */
static void test_padding_by_any_name(void **state)
{
    static const char *const answers[] = {
        "CKR_ENCRYPTED_DATA_INVALID", "CKR_ENCRYPTED_DATA_LEN_RANGE",
        "CKR_DATA_INVALID",           "CKR_DATA_LEN_RANGE",
        "CKR_ARGUMENTS_BAD",          "CKR_FUNCTION_FAILED",
        "CKR_GENERAL_ERROR",          "0x80000102",
    };

    (void)state;
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        struct tally right, tally;

        count_in_world(kinds[k].padding, kinds[k].explicit, "rrrrrrrr", NULL, &right);
        for (size_t a = 0; a < COUNT_OF(answers); a++) {
            char rules[100];

            snprintf(rules, sizeof(rules), NO_RAW "C_Decrypt 1 * %s after", answers[a]);
            count_in_world(kinds[k].padding, kinds[k].explicit, "wrwwwrrw", rules, &tally);
            check_equal(&right, &tally, answers[a]);
        }
    }
}

/* A module that leaves the operation active after a wrong padding: once that has shown, every
 * session is dropped after its decryption, also after a right one. */
static void test_padding_leaves_operation(void **state)
{
    struct world world = world_begin("rsa2048", RSA_PKCS1_PADDING, NO_RAW);
    unsigned char encrypted[SIZE];
    struct tally right, tally;
    struct result result;

    (void)state;
    ciphertext(&world, false, encrypted);
    fault(NO_RAW "C_DecryptInit 2 1 CKR_OPERATION_ACTIVE");
    for (int n = 0; n < 3; n++) {
        result = decrypt(&world, encrypted);
        check_wrong(&world, &result, "at first");
    }
    count_operations(&world, "rrrrrrrr", NULL, &right);
    count_operations(&world, "wwrwrrww", NULL, &tally);
    check_equal(&right, &tally, "afterwards");
    assert_int_equal(right.calls[0][4], 1); /* C_CloseSession */
    world_end(&world);
}

/* What a token calls the message is too long to have been in the padding. */
static void test_padding_too_long(void **state)
{
    struct world world = world_begin("rsa2048", RSA_PKCS1_PADDING, NO_RAW "unpadded");
    unsigned char encrypted[SIZE];
    struct result result, again;

    (void)state;
    ciphertext(&world, true, encrypted);
    result = decrypt(&world, encrypted);
    check_wrong(&world, &result, "too long");
    again = decrypt(&world, encrypted);
    assert_true(same(&result, &again));
    world.explicit = true;
    result = decrypt(&world, encrypted);
    check_wrong(&world, &result, "too long, told");
    world_end(&world);
}

/* One key, opened once more, in this process. */
static struct result decrypt_anew(const char *label, const unsigned char *encrypted,
                                  const char *rules)
{
    struct world world = world_begin(label, RSA_PKCS1_PADDING, rules);
    struct result result = decrypt(&world, encrypted);

    world_end(&world);
    return result;
}

/* In a child: with the key that it inherits, or with one that it opens, in the same program or in
 * the one that it becomes. */
enum where { INHERITED, OPENED, EXECUTED };

static const char *program;

static void child(const struct world *world, enum where where, const char *label,
                  const unsigned char *encrypted, const char *rules, int out)
{
    struct result result;
    char *hex;

    child_limit();
    if (where == EXECUTED) {
        setenv("FAULT_RULES", rules, 1);
        hex = OPENSSL_buf2hexstr(encrypted, SIZE);
        if (hex != NULL && dup2(out, STDOUT_FILENO) >= 0)
            (void)execl(program, program, label, hex, (char *)NULL);
        _exit(2);
    }
    result = where == INHERITED ? decrypt(world, encrypted) : decrypt_anew(label, encrypted, rules);
    _exit(write(out, &result, sizeof(result)) == sizeof(result) ? 0 : 1);
}

static struct result decrypt_in_child(const struct world *world, enum where where,
                                      const char *label, const unsigned char *encrypted,
                                      const char *rules)
{
    struct result result;
    int status = -1, pipes[2];
    ssize_t len;
    pid_t pid;

    do {
        assert_int_equal(pipe(pipes), 0);
        pid = fork();
        if (pid == 0)
            child(world, where, label, encrypted, rules, pipes[1]);
        close(pipes[1]);
        len = read(pipes[0], &result, sizeof(result));
        close(pipes[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
    } while (child_proves_nothing(status));
    if (status != 0 || len != sizeof(result))
        fail_msg("the child ended with status 0x%x after %zd bytes", (unsigned)status, len);
    return result;
}

static void check_same(const struct result *a, struct result b, const char *what)
{
    if (!same(a, &b))
        fail_msg("%s gives another message: %zu bytes, not %zu", what, b.len, a->len);
}

/* The same key opened twice, in children, and in children of children's making. */
static void check_everywhere(const char *label, const char *rules, bool executed)
{
    struct world world = world_begin(label, RSA_PKCS1_PADDING, rules);
    unsigned char encrypted[SIZE];
    struct result result, inherited, opened, other;

    ciphertext(&world, false, encrypted);
    inherited = decrypt_in_child(&world, INHERITED, label, encrypted, rules);
    opened = decrypt_in_child(&world, OPENED, label, encrypted, rules);
    result = decrypt(&world, encrypted);
    check_wrong(&world, &result, label);
    check_same(&result, decrypt(&world, encrypted), "a second decryption");
    check_same(&result, inherited, "a child with the parent's key");
    check_same(&result, opened, "a child that opens the key");
    other = decrypt_anew(label, encrypted, rules);
    check_same(&result, other, "another library context");
    if (executed)
        check_same(&result, decrypt_in_child(&world, EXECUTED, label, encrypted, rules),
                   "another process");
    world_end(&world);
}

static void test_padding_same_everywhere(void **state)
{
    (void)state;
    check_everywhere("rsa2048", NO_RAW WRONG, true);
    check_everywhere("rsa2048", "", true);
}

/* Raw RSA or not, the secret is the same: of workers in the middle of an update, say. */
static void test_padding_same_with_raw(void **state)
{
    struct world world = world_begin("rsa2048", RSA_PKCS1_PADDING, NO_RAW WRONG);
    unsigned char encrypted[SIZE];
    struct result result;

    (void)state;
    ciphertext(&world, false, encrypted);
    result = decrypt(&world, encrypted);
    check_same(&result, decrypt_in_child(&world, EXECUTED, "rsa2048", encrypted, ""), "raw RSA");
    world_end(&world);
}

/* A pair whose private half decrypts with PKCS#1 v1.5 padding, and may sign or not. */
static void generate(const char *label, CK_BBOOL sign)
{
    CK_MECHANISM mechanism = { CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0 };
    CK_MECHANISM_TYPE allowed[] = { CKM_RSA_PKCS };
    CK_BYTE exponent[] = { 1, 0, 1 };
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG bits = 8 * SIZE;
    CK_ATTRIBUTE public[] = { { CKA_TOKEN, &yes, sizeof(yes) },
                              { CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
                              { CKA_ID, (void *)(uintptr_t)label, strlen(label) },
                              { CKA_ENCRYPT, &yes, sizeof(yes) },
                              { CKA_MODULUS_BITS, &bits, sizeof(bits) },
                              { CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent) } };
    CK_ATTRIBUTE private[] = { { CKA_TOKEN, &yes, sizeof(yes) },
                               { CKA_PRIVATE, &yes, sizeof(yes) },
                               { CKA_DECRYPT, &yes, sizeof(yes) },
                               { CKA_SIGN, &sign, sizeof(sign) },
                               { CKA_ALLOWED_MECHANISMS, allowed, sizeof(allowed) },
                               { CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
                               { CKA_ID, (void *)(uintptr_t)label, strlen(label) } };
    CK_SESSION_HANDLE session = operator_session(true);
    CK_OBJECT_HANDLE a, b;

    assert_int_equal(p11->C_GenerateKeyPair(session, &mechanism, public, COUNT_OF(public), private,
                                            COUNT_OF(private), &a, &b),
                     CKR_OK);
    p11->C_CloseSession(session);
}

/* The key and not the token keeps raw RSA away. */
static void test_padding_same_by_allowed_mechanisms(void **state)
{
    (void)state;
    check_everywhere("signs", WRONG, true);
}

/* A key that may not sign: the secret is that of a process and its children. */
static void test_padding_same_in_children(void **state)
{
    struct world world = world_begin("decrypts", RSA_PKCS1_PADDING, "");
    unsigned char encrypted[SIZE];

    (void)state;
    ciphertext(&world, false, encrypted);
    calls_reset();
    (void)decrypt(&world, encrypted);
    assert_int_equal(calls("C_SignInit"), 0);
    world_end(&world);
    check_everywhere("decrypts", WRONG, false);
}

/* A failure that passes is no reason for another secret. */
static void test_padding_secret_can_wait(void **state)
{
    struct world world = world_begin("rsa2048", RSA_PKCS1_PADDING, NO_RAW WRONG);
    unsigned char encrypted[SIZE];
    struct result result, later;
    char error[512];

    (void)state;
    ciphertext(&world, false, encrypted);
    result = decrypt_in_child(&world, OPENED, "rsa2048", encrypted, NO_RAW WRONG);
    fault(NO_RAW WRONG "C_Sign 1 * CKR_FUNCTION_CANCELED");
    later = decrypt(&world, encrypted);
    assert_false(later.ok);
    assert_non_null(strstr(last_error(error, sizeof(error)), "C_Sign: CKR_FUNCTION_CANCELED"));
    fault(NO_RAW WRONG);
    check_same(&result, decrypt(&world, encrypted), "a later try");
    world_end(&world);
}

/* The process that another one of these becomes. */
static int executed(const char *label, const char *hex)
{
    struct world world = { .libctx = libctx_new_faulty(""), .padding = RSA_PKCS1_PADDING };
    unsigned char *encrypted = OPENSSL_hexstr2buf(hex, NULL);
    struct result result;

    world.key = key_load(world.libctx, label, "private");
    if (world.key == NULL || encrypted == NULL)
        return 1;
    result = decrypt(&world, encrypted);
    OPENSSL_free(encrypted);
    EVP_PKEY_free(world.key);
    OSSL_LIB_CTX_free(world.libctx);
    return write(STDOUT_FILENO, &result, sizeof(result)) == sizeof(result) ? 0 : 1;
}

static int group_begin(void **state)
{
    (void)state;
    operator_open();
    assert_int_equal(p11->C_Initialize(NULL), CKR_OK);
    generate("signs", CK_TRUE);
    generate("decrypts", CK_FALSE);
    assert_int_equal(p11->C_Finalize(NULL), CKR_OK);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_padding_makes_no_call),
        cmocka_unit_test(test_padding_by_any_name),
        cmocka_unit_test(test_padding_too_long),
        cmocka_unit_test(test_padding_same_everywhere),
        cmocka_unit_test(test_padding_same_with_raw),
        cmocka_unit_test(test_padding_same_by_allowed_mechanisms),
        cmocka_unit_test(test_padding_same_in_children),
        cmocka_unit_test(test_padding_secret_can_wait),
        cmocka_unit_test(test_padding_leaves_operation),
    };

    program = argv[0];
    return argc == 3 ? executed(argv[1], argv[2])
                     : cmocka_run_group_tests(tests, group_begin, NULL);
}
