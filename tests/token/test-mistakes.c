/* Mistakes that operators make with PINs, and tokens that fail or go: what no error may say, and
 * what still has to work. */
#include "harness.h"
#include "operator.h"

#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "pkcs11_bridge.h"

#define KEY   "pkcs11:token=soft;object=p256;type=private"
#define QUICK "pkcs11-retry-ms = 200\npkcs11-log = none\n"

static bool opens(OSSL_LIB_CTX *libctx, const char *uri)
{
    EVP_PKEY *key = key_load_uri(libctx, uri);

    EVP_PKEY_free(key);
    return key != NULL;
}

static void assert_opens(OSSL_LIB_CTX *libctx, const char *uri)
{
    char error[1200];

    if (!opens(libctx, uri))
        fail_msg("%s: %s", uri, last_error(error, sizeof(error)));
}

/* A file with this text; path ends in XXXXXX. */
static void make_file(char *path, const char *text, size_t len)
{
    int fd = mkstemp(path);

    assert_int_equal(write(fd, text, len), len);
    close(fd);
}

/* A PIN file that somebody left with a PIN that is wrong does not stand before the one that is
 * configured, in any library context of the process. */
static void test_mistakes_stale_file(void **state)
{
    char wrong[] = "/tmp/bridge-pin-XXXXXX", uri[160];
    OSSL_LIB_CTX *libctx = libctx_new_faulty(QUICK);
    CK_SESSION_HANDLE session;

    (void)state;
    make_file(wrong, "0815\n", 5);
    snprintf(uri, sizeof(uri), KEY "?pin-source=file:%s", wrong);
    assert_opens(libctx, "pkcs11:token=soft;object=p256;type=public"); /* the module is up */
    session = operator_session(true);
    assert_opens(libctx, uri); /* somebody is logged in: it is not tried */
    fault("C_SignInit 1 1 - logout");
    {
        EVP_PKEY *key = key_load_uri(libctx, KEY);

        (void)key_signs(libctx, key); /* now it is, and refused */
        ERR_clear_error();
        fault("");
        calls_reset();
        if (!key_signs(libctx, key)) {
            char error[1200];

            fail_msg("%s", last_error(error, sizeof(error)));
        }
        EVP_PKEY_free(key);
    }
    (void)p11->C_CloseSession(session);
    unlink(wrong);
    OSSL_LIB_CTX_free(libctx);
}

/* test-mistakes [NAME]: one test */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes_stale_file),
    };

    operator_open();
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
