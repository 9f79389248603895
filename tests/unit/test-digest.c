#include "unit.h"

#include <openssl/evp.h>

#include "mech/digest.h"

/* What libcrypto calls a digest, and its size, are what the table says. */
static void test_digest_agrees_with_libcrypto(void **state)
{
    (void)state;
    for (size_t i = 0; i < DIGESTS; i++) {
        char name[32];
        EVP_MD *md = EVP_MD_fetch(NULL, digest_name(&digests[i], name, sizeof(name)), NULL);

        check_case(md != NULL, name);
        check_case((size_t)EVP_MD_get_size(md) == digests[i].size, name);
        check_case(digests[i].size <= DIGEST_MAX, name);
        EVP_MD_free(md);
    }
}

static void each_name(const char *name, void *row)
{
    if (digest_find(name) != row)
        fail_msg("libcrypto's name \"%s\" finds another row", name);
}

static void test_digest_every_name_of_libcrypto(void **state)
{
    (void)state;
    for (size_t i = 0; i < DIGESTS; i++) {
        char name[32];
        EVP_MD *md = EVP_MD_fetch(NULL, digest_name(&digests[i], name, sizeof(name)), NULL);

        EVP_MD_names_do_all(md, each_name, (void *)(uintptr_t)&digests[i]);
        EVP_MD_free(md);
    }
}

static void test_digest_find(void **state)
{
    (void)state;
    assert_ptr_equal(digest_find("sha256"), digest_find("SHA2-256"));
    assert_ptr_equal(digest_find("Sha-1"), &digests[0]);
    assert_null(digest_find(""));
    assert_null(digest_find("SHA2"));
    assert_null(digest_find("SHA2-256:SHA-256"));
    assert_null(digest_find("MD2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digest_agrees_with_libcrypto),
        cmocka_unit_test(test_digest_every_name_of_libcrypto),
        cmocka_unit_test(test_digest_find),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
