/* One EVP_PKEY, eight threads, a thousand signatures each. */
#include "harness.h"

#include <pthread.h>

#define THREADS    8
#define SIGNATURES 1000

struct shared {
    OSSL_LIB_CTX *libctx, *plain;
    EVP_PKEY *key, *public;
};

static bool sign_and_verify(const struct shared *shared, unsigned n)
{
    EVP_MD_CTX *signer = EVP_MD_CTX_new(), *verifier = EVP_MD_CTX_new();
    unsigned char sig[1024];
    char message[32];
    size_t len = sizeof(sig);
    int message_len = snprintf(message, sizeof(message), "message %u", n);
    bool ok =
        EVP_DigestSignInit_ex(signer, NULL, "SHA256", shared->libctx, NULL, shared->key, NULL) ==
            1 &&
        EVP_DigestSign(signer, sig, &len, (unsigned char *)message, (size_t)message_len) == 1 &&
        EVP_DigestVerifyInit_ex(verifier, NULL, "SHA256", shared->plain, NULL, shared->public,
                                NULL) == 1 &&
        EVP_DigestVerify(verifier, sig, len, (unsigned char *)message, (size_t)message_len) == 1;

    EVP_MD_CTX_free(signer);
    EVP_MD_CTX_free(verifier);
    return ok;
}

static void *work(void *arg)
{
    uintptr_t good = 0;

    for (unsigned n = 0; n < SIGNATURES; n++)
        good += sign_and_verify(arg, n);
    return (void *)good;
}

static void run(const char *label, const char *settings)
{
    struct shared shared = { libctx_new(settings), libctx_new_plain(), NULL, NULL };
    pthread_t threads[THREADS];

    shared.key = key_load(shared.libctx, label, "private");
    assert_non_null(shared.key);
    shared.public = key_public_copy(shared.key, shared.plain);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &shared), 0);
    for (int i = 0; i < THREADS; i++) {
        void *good;

        pthread_join(threads[i], &good);
        assert_int_equal((uintptr_t)good, SIGNATURES);
    }
    EVP_PKEY_free(shared.key);
    EVP_PKEY_free(shared.public);
    OSSL_LIB_CTX_free(shared.libctx);
    OSSL_LIB_CTX_free(shared.plain);
}

static void test_threads_p256(void **state)
{
    (void)state;
    run("p256", "");
}

/* More threads than sessions: they wait for each other. */
static void test_threads_rsa2048_with_two_sessions(void **state)
{
    (void)state;
    run("rsa2048", "pkcs11-sessions-max = 2\n");
}

/* No session is kept idle: they are opened and closed all the time, and the login stays. */
static void test_threads_p256_without_idle_sessions(void **state)
{
    (void)state;
    run("p256", "pkcs11-module-cache-sessions = 0\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_p256),
        cmocka_unit_test(test_threads_rsa2048_with_two_sessions),
        cmocka_unit_test(test_threads_p256_without_idle_sessions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
