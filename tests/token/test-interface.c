/* Modules that have the interfaces of PKCS#11 v3.0 and v3.2, and those that say they do: which list
 * of functions is used, and that an operation which may be left active on a session is cancelled.
 * On a module of v2.40 all is as if there were no interfaces. Each case in a process of its own. */
#include "harness.h"

#include <dlfcn.h>

static OSSL_LIB_CTX *libctx;
static EVP_PKEY *key;

static void begin(const char *lies)
{
    char error[512];

    if (lies != NULL)
        setenv("FAULT_INTERFACE", lies, 1);
    libctx = libctx_new_faulty("pkcs11-retry-ms = 40\npkcs11-log = none\n");
    assert_non_null(libctx);
    key = key_load(libctx, "p256", "private");
    if (key == NULL)
        fail_msg("no key: %s", last_error(error, sizeof(error)));
    assert_true(key_signs(libctx, key));
    calls_reset();
}

static void end(void)
{
    fault("");
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
}

/* Whether the real module has such an interface. */
static bool has_interfaces(void)
{
    void *library = dlopen(getenv("PKCS11_MODULE"), RTLD_NOW | RTLD_LOCAL);

    return library != NULL && dlsym(library, "C_GetInterface") != NULL;
}

/* The operation that C_SignInit began is still there, and C_Sign is not tried again. */
#define LEFT "C_Sign 1 1 CKR_BUFFER_TOO_SMALL;"

static void fail_once(const char *rules)
{
    fault(rules);
    assert_false(key_signs(libctx, key));
    fault("");
}

/* The session stays, and the next signature needs no other. */
static void test_interface_cancels(void **state)
{
    bool has = has_interfaces();

    (void)state;
    begin(NULL);
    fail_once(LEFT);
    assert_int_equal(calls("C_SessionCancel"), has);
    assert_int_equal(calls("C_CloseSession"), !has);
    calls_reset();
    assert_true(key_signs(libctx, key));
    assert_int_equal(calls("C_SignInit"), 1);
    assert_int_equal(calls("C_OpenSession"), !has);
    end();
}

/* What somebody left there is found by C_SignInit, which is tried again. */
static void test_interface_cancels_what_it_finds(void **state)
{
    bool has = has_interfaces();

    (void)state;
    begin(NULL);
    fault("C_SignInit 1 1 CKR_OPERATION_ACTIVE after");
    assert_true(key_signs(libctx, key));
    assert_int_equal(calls("C_SessionCancel"), has);
    assert_int_equal(calls("C_OpenSession"), !has);
    end();
}

static void test_interface_closes_what_cannot_be_cancelled(void **state)
{
    (void)state;
    begin(NULL);
    fail_once(LEFT "C_SessionCancel 1 1 CKR_OPERATION_CANCEL_FAILED");
    assert_int_equal(calls("C_CloseSession"), 1);
    assert_true(key_signs(libctx, key));
    end();
}

static void test_interface_asks_once_for_what_is_missing(void **state)
{
    bool has = has_interfaces();

    (void)state;
    begin(NULL);
    fail_once(LEFT "C_SessionCancel 1 1 CKR_FUNCTION_NOT_SUPPORTED");
    fail_once(LEFT);
    assert_int_equal(calls("C_SessionCancel"), has);
    assert_int_equal(calls("C_CloseSession"), 2);
    end();
}

/* What is broken is not mended with that, and what ended its operation has none to cancel. */
static void test_interface_closes_what_is_broken(void **state)
{
    (void)state;
    begin(NULL);
    fault("C_Sign 1 1 CKR_DEVICE_MEMORY");
    assert_true(key_signs(libctx, key));
    fail_once("C_Sign 1 1 CKR_DATA_INVALID");
    assert_int_equal(calls("C_SessionCancel"), 0);
    assert_int_equal(calls("C_CloseSession"), 2);
    end();
}

static void falls_back(const char *lies)
{
    begin(lies);
    fail_once(LEFT);
    assert_int_equal(calls("C_SessionCancel"), 0);
    assert_int_equal(calls("C_CloseSession"), 1);
    assert_true(key_signs(libctx, key));
    end();
}

#define FALLS_BACK(lies)                                                                           \
    static void test_interface_##lies(void **state)                                                \
    {                                                                                              \
        (void)state;                                                                               \
        falls_back(#lies);                                                                         \
    }

FALLS_BACK(none)
FALLS_BACK(unnamed)
FALLS_BACK(empty)
FALLS_BACK(old)
FALLS_BACK(other)

/* dlsym finds it in the module's handle. Whoever calls it does not come back. */
static void test_interface_of_a_library_behind(void **state)
{
    void *library = dlopen(getenv("BRIDGE_LONELY"), RTLD_NOW | RTLD_LOCAL);

    (void)state;
    assert_non_null(library);
    assert_non_null(dlsym(library, "C_GetInterface"));
    setenv("FAULT_MODULE", getenv("PKCS11_MODULE"), 1);
    setenv("PKCS11_MODULE", getenv("BRIDGE_LONELY"), 1);
    libctx = libctx_new("");
    key = key_load(libctx, "p256", "private");
    assert_non_null(key);
    assert_true(key_signs(libctx, key));
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(libctx);
    (void)dlclose(library);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interface_cancels),
        cmocka_unit_test(test_interface_cancels_what_it_finds),
        cmocka_unit_test(test_interface_closes_what_cannot_be_cancelled),
        cmocka_unit_test(test_interface_asks_once_for_what_is_missing),
        cmocka_unit_test(test_interface_closes_what_is_broken),
        cmocka_unit_test(test_interface_none),
        cmocka_unit_test(test_interface_unnamed),
        cmocka_unit_test(test_interface_empty),
        cmocka_unit_test(test_interface_old),
        cmocka_unit_test(test_interface_other),
        cmocka_unit_test(test_interface_of_a_library_behind),
    };

    return cases_in_children(tests, COUNT_OF(tests), argc > 1 ? argv[1] : NULL) ? 0 : 1;
}
