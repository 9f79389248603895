/* One module in the process, by whatever path it is loaded, and the pin of its file. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

#define KEY "pkcs11:token=soft;object=p256"

static char path[4096], other_path[4200];

/* The fault module, from a path of this test's own. */
static OSSL_LIB_CTX *libctx_from(const char *from, const char *settings)
{
    assert_int_equal(setenv("BRIDGE_FAULT", from, 1), 0);
    return libctx_new_faulty(settings);
}

static void copy(const char *from, const char *to)
{
    char command[20000];

    snprintf(command, sizeof(command), "cp '%s' '%s.new' && mv '%s.new' '%s'", from, to, to, to);
    assert_int_equal(system(command), 0);
}

static void hash(const char *file, char out[65])
{
    char command[20000];
    FILE *pipe;

    snprintf(command, sizeof(command), "sha256sum '%s'", file);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_int_equal(fread(out, 1, 64, pipe), 64);
    out[64] = '\0';
    pclose(pipe);
}

static bool opens(OSSL_LIB_CTX *libctx)
{
    EVP_PKEY *key = key_load_uri(libctx, KEY ";type=private");
    bool ok = key != NULL && key_signs(libctx, key);

    EVP_PKEY_free(key);
    return ok;
}

/* Two contexts by two paths, and the program itself by a third: C_Initialize is called once. */
static void test_trust_one_module(void **state)
{
    OSSL_LIB_CTX *one = libctx_from(path, ""), *other = libctx_from(other_path, "");
    char dotted[4300];
    void *library;

    (void)state;
    assert_true(opens(one));
    assert_true(opens(other));
    snprintf(dotted, sizeof(dotted), "%s/./module.so", getenv("BRIDGE_DIR"));
    library = dlopen(dotted, RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(library);
    assert_ptr_equal(dlsym(library, "count_calls"), fault_symbol("count_calls"));
    assert_int_equal(calls("C_Initialize"), 1);
    dlclose(library);
    OSSL_LIB_CTX_free(one);
    OSSL_LIB_CTX_free(other);
}

/* What dladdr shows is the path, so that a module finds what lies beside it. */
static void test_trust_keeps_its_name(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_from(path, "");
    Dl_info info;

    (void)state;
    assert_true(opens(libctx));
    assert_int_not_equal(dladdr(fault_symbol("count_calls"), &info), 0);
    assert_string_equal(info.dli_fname, path);
    OSSL_LIB_CTX_free(libctx);
}

/* The file was replaced after it was loaded. Who pins the new one does not get the old one. */
static void test_trust_pin_of_what_is_loaded(void **state)
{
    OSSL_LIB_CTX *first = libctx_from(path, ""), *second, *third;
    char settings[200] = "pkcs11-module-sha256 = ", error[2000];

    (void)state;
    hash(path, settings + strlen(settings));
    strcat(settings, "\n");
    assert_true(opens(first));
    second = libctx_from(path, settings);
    assert_true(opens(second));
    OSSL_LIB_CTX_free(second);
    copy(path, path);
    second = libctx_from(path, settings);
    assert_false(opens(second));
    assert_non_null(
        strstr(last_error(error, sizeof(error)), "has loaded the file that was there before"));
    third = libctx_from(path, "");
    assert_true(opens(third));
    OSSL_LIB_CTX_free(third);
    OSSL_LIB_CTX_free(second);
    OSSL_LIB_CTX_free(first);
}

/* The file that was checked is not the one that is there once it is loaded. */
static void test_trust_replaced_meanwhile(void **state)
{
    OSSL_LIB_CTX *libctx = libctx_from(path, "");
    char error[2000];

    (void)state;
    assert_int_equal(setenv("FAULT_TOUCH", path, 1), 0);
    assert_false(opens(libctx));
    assert_non_null(
        strstr(last_error(error, sizeof(error)), "it was replaced while it was loaded"));
    OSSL_LIB_CTX_free(libctx);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trust_one_module),
        cmocka_unit_test(test_trust_keeps_its_name),
        cmocka_unit_test(test_trust_pin_of_what_is_loaded),
        cmocka_unit_test(test_trust_replaced_meanwhile),
    };

    snprintf(path, sizeof(path), "%s/module.so", getenv("BRIDGE_DIR"));
    snprintf(other_path, sizeof(other_path), "%s/link.so", getenv("BRIDGE_DIR"));
    copy(getenv("BRIDGE_FAULT"), path);
    if (symlink(path, other_path) != 0)
        return 1;
    return cases_in_children(tests, sizeof(tests) / sizeof(tests[0]), argc > 1 ? argv[1] : NULL)
               ? 0
               : 1;
}
