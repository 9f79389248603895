#include "unit.h"

#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "der/algorithm.h"
#include "mech/digest.h"

static EVP_MD *md_of(const struct digest *digest)
{
    char name[32];

    return EVP_MD_fetch(NULL, digest_name(digest, name, sizeof(name)), NULL);
}

static void test_digest_info_every_digest(void **state)
{
    (void)state;
    for (size_t i = 0; i < DIGESTS; i++) {
        EVP_MD *md = md_of(&digests[i]);
        uint8_t value[DIGEST_MAX] = { 1, 2, 3 }, der[DIGEST_INFO_MAX];
        unsigned char *expected = NULL;
        X509_SIG *sig = X509_SIG_new();
        X509_ALGOR *algorithm;
        ASN1_OCTET_STRING *digest;
        size_t len;

        if (digests[i].oid.len == 0) {
            EVP_MD_free(md);
            X509_SIG_free(sig);
            continue;
        }
        X509_SIG_getm(sig, &algorithm, &digest);
        X509_ALGOR_set0(algorithm, OBJ_nid2obj(EVP_MD_get_type(md)), V_ASN1_NULL, NULL);
        ASN1_OCTET_STRING_set(digest, value, EVP_MD_get_size(md));
        len = (size_t)i2d_X509_SIG(sig, &expected);
        assert_int_equal(digest_info_write(digests[i].oid, (struct view){ value, digests[i].size },
                                           der, sizeof(der)),
                         len);
        assert_memory_equal(der, expected, len);
        OPENSSL_free(expected);
        X509_SIG_free(sig);
        EVP_MD_free(md);
    }
}

static void test_algorithm_write(void **state)
{
    static const uint8_t ecdsa_sha256[] = { 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02 };
    static const uint8_t plain[] = { 0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86,
                                     0x48, 0xce, 0x3d, 0x04, 0x03, 0x02 };
    static const uint8_t with_null[] = { 0x30, 0x0c, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                         0xce, 0x3d, 0x04, 0x03, 0x02, 0x05, 0x00 };
    uint8_t der[ALGORITHM_IDENTIFIER_MAX];

    (void)state;
    assert_int_equal(algorithm_write(VIEW(ecdsa_sha256), false, der, sizeof(der)), sizeof(plain));
    assert_memory_equal(der, plain, sizeof(plain));
    assert_int_equal(algorithm_write(VIEW(ecdsa_sha256), true, der, sizeof(der)),
                     sizeof(with_null));
    assert_memory_equal(der, with_null, sizeof(with_null));
    assert_int_equal(algorithm_write(VIEW(ecdsa_sha256), true, der, sizeof(with_null) - 1), 0);
}

/* Reads it back with libcrypto's RSA_PSS_PARAMS. */
static void test_algorithm_pss(void **state)
{
    static const unsigned salts[] = { 0, 20, 32, 127, 128, 222, 478, 1000 };

    (void)state;
    for (size_t d = 0; d < DIGESTS - 1; d++)
        for (size_t m = 0; m < DIGESTS - 1; m++)
            for (size_t s = 0; s < COUNT_OF(salts); s++) {
                uint8_t der[ALGORITHM_IDENTIFIER_MAX];
                size_t len =
                    algorithm_write_pss(digests[d].oid, digests[m].oid, salts[s], der, sizeof(der));
                const unsigned char *p = der;
                X509_ALGOR *algorithm = d2i_X509_ALGOR(NULL, &p, (long)len);
                const ASN1_OBJECT *object;
                const void *value;
                int type;
                RSA_PSS_PARAMS *pss;
                unsigned char *again = NULL;
                size_t again_len;

                assert_non_null(algorithm);
                assert_ptr_equal(p, der + len);
                X509_ALGOR_get0(&object, &type, &value, algorithm);
                assert_int_equal(OBJ_obj2nid(object), NID_rsassaPss);
                pss =
                    ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_PSS_PARAMS), algorithm->parameter);
                assert_non_null(pss);
                assert_int_equal(pss->saltLength != NULL ? ASN1_INTEGER_get(pss->saltLength) : 20,
                                 salts[s]);
                assert_true((pss->hashAlgorithm == NULL) == (d == 0));
                assert_true((pss->maskGenAlgorithm == NULL) == (m == 0));
                again_len = (size_t)i2d_RSA_PSS_PARAMS(pss, &again);
                assert_memory_equal(again, der + len - again_len, again_len);
                OPENSSL_free(again);
                RSA_PSS_PARAMS_free(pss);
                X509_ALGOR_free(algorithm);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digest_info_every_digest),
        cmocka_unit_test(test_algorithm_write),
        cmocka_unit_test(test_algorithm_pss),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
