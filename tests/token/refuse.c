#include "refuse.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/types.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/encoder.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

struct stat;

typedef void *(*start_function)(void *);

bool (*_Atomic refuse_now)(const char *function);

static bool refuses(const void *caller, const char *function)
{
    bool (*now)(const char *) = atomic_load(&refuse_now);
    Dl_info info;

    if (now == NULL || dladdr(caller, &info) == 0 || info.dli_fname == NULL ||
        strstr(info.dli_fname, "/pkcs11.so") == NULL || !now(function))
        return false;
    errno = EIO;
    return true;
}

#define TYPES_0()                    void
#define TYPES_1(A)                   A a
#define TYPES_2(A, B)                A a, B b
#define TYPES_3(A, B, C)             A a, B b, C c
#define TYPES_4(A, B, C, D)          A a, B b, C c, D d
#define TYPES_5(A, B, C, D, E)       A a, B b, C c, D d, E e
#define TYPES_6(A, B, C, D, E, F)    A a, B b, C c, D d, E e, F f
#define TYPES_7(A, B, C, D, E, F, G) A a, B b, C c, D d, E e, F f, G g
#define TYPES_12(A, B, C, D, E, F, G, H, I, J, K, L)                                               \
    A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k, L l
#define NAMES_0
#define NAMES_1  a
#define NAMES_2  a, b
#define NAMES_3  a, b, c
#define NAMES_4  a, b, c, d
#define NAMES_5  a, b, c, d, e
#define NAMES_6  a, b, c, d, e, f
#define NAMES_7  a, b, c, d, e, f, g
#define NAMES_12 a, b, c, d, e, f, g, h, i, j, k, l

/* The provider's calls come here, since symbols of the program go before those of libraries. */
#define REFUSING_BY(refusal, count, type, name, ...)                                               \
    __attribute__((visibility("default"))) type name(TYPES_##count(__VA_ARGS__));                  \
    type name(TYPES_##count(__VA_ARGS__))                                                          \
    {                                                                                              \
        static _Atomic(void *) found;                                                              \
        void *real = atomic_load(&found);                                                          \
                                                                                                   \
        if (real == NULL)                                                                          \
            atomic_store(&found, real = dlsym(RTLD_NEXT, #name));                                  \
        if (refuses(__builtin_return_address(0), #name))                                           \
            return (type)(refusal);                                                                \
        return ((type(*)(TYPES_##count(__VA_ARGS__)))real)(NAMES_##count);                         \
    }

/* REFUSING(how many arguments, type, name, types of arguments) */
#define REFUSING(count, type, ...) REFUSING_BY(0, count, type, __VA_ARGS__)

/* The system's; open is called with a mode or without. The thread sanitizer calls them before it
 * has begun. */
#ifndef __SANITIZE_THREAD__
REFUSING_BY(-1, 3, int, open, const char *, int, int)
REFUSING_BY(-1, 4, int, openat, int, const char *, int, int)
REFUSING_BY(-1, 3, ssize_t, read, int, void *, size_t)
REFUSING_BY(-1, 3, ssize_t, write, int, const void *, size_t)
REFUSING_BY(-1, 2, int, fstat, int, struct stat *)
REFUSING_BY(-1, 4, int, fstatat, int, const char *, struct stat *, int)
REFUSING_BY(-1, 2, int, mkdir, const char *, mode_t)
REFUSING_BY(-1, 6, void *, mmap, void *, size_t, int, int, int, off_t)
REFUSING_BY(EAGAIN, 4, int, pthread_create, pthread_t *, const pthread_attr_t *, start_function,
            void *)
#endif

REFUSING(1, BIO *, BIO_new, const BIO_METHOD *)
REFUSING(2, BIO *, BIO_new_mem_buf, const void *, int)
REFUSING(3, BIGNUM *, BN_bin2bn, const unsigned char *, int, BIGNUM *)
REFUSING_BY(-1, 3, int, BN_bn2binpad, const BIGNUM *, unsigned char *, int)
REFUSING(0, BIGNUM *, BN_new)
REFUSING(0, BIGNUM *, BN_secure_new)
REFUSING(5, int, EC_GROUP_get_curve, const EC_GROUP *, BIGNUM *, BIGNUM *, BIGNUM *, BN_CTX *)
REFUSING(3, EC_GROUP *, EC_GROUP_new_by_curve_name_ex, OSSL_LIB_CTX *, const char *, int)
REFUSING(6, size_t, EC_POINT_point2oct, const EC_GROUP *, const EC_POINT *, point_conversion_form_t,
         unsigned char *, size_t, BN_CTX *)
REFUSING_BY(-1, 3, int, EVP_DecodeBlock, unsigned char *, const unsigned char *, int)
REFUSING(6, int, EVP_Digest, const void *, size_t, unsigned char *, unsigned int *, const EVP_MD *,
         ENGINE *)
REFUSING(3, int, EVP_DigestFinal_ex, EVP_MD_CTX *, unsigned char *, unsigned int *)
REFUSING(3, int, EVP_DigestInit_ex, EVP_MD_CTX *, const EVP_MD *, ENGINE *)
REFUSING(3, int, EVP_DigestInit_ex2, EVP_MD_CTX *, const EVP_MD *, const OSSL_PARAM *)
REFUSING(5, int, EVP_DigestSign, EVP_MD_CTX *, unsigned char *, size_t *, const unsigned char *,
         size_t)
REFUSING(3, int, EVP_DigestSignFinal, EVP_MD_CTX *, unsigned char *, size_t *)
REFUSING(7, int, EVP_DigestSignInit_ex, EVP_MD_CTX *, EVP_PKEY_CTX **, const char *, OSSL_LIB_CTX *,
         const char *, EVP_PKEY *, const OSSL_PARAM *)
REFUSING(3, int, EVP_DigestUpdate, EVP_MD_CTX *, const void *, size_t)
REFUSING(5, int, EVP_DigestVerify, EVP_MD_CTX *, const unsigned char *, size_t,
         const unsigned char *, size_t)
REFUSING(3, int, EVP_DigestVerifyFinal, EVP_MD_CTX *, const unsigned char *, size_t)
REFUSING(7, int, EVP_DigestVerifyInit_ex, EVP_MD_CTX *, EVP_PKEY_CTX **, const char *,
         OSSL_LIB_CTX *, const char *, EVP_PKEY *, const OSSL_PARAM *)
REFUSING(1, EVP_KDF_CTX *, EVP_KDF_CTX_new, EVP_KDF *)
REFUSING(4, int, EVP_KDF_derive, EVP_KDF_CTX *, unsigned char *, size_t, const OSSL_PARAM *)
REFUSING(3, EVP_KDF *, EVP_KDF_fetch, OSSL_LIB_CTX *, const char *, const char *)
REFUSING(3, EVP_KEYMGMT *, EVP_KEYMGMT_fetch, OSSL_LIB_CTX *, const char *, const char *)
REFUSING(2, int, EVP_MD_CTX_copy_ex, EVP_MD_CTX *, const EVP_MD_CTX *)
REFUSING(1, EVP_PKEY_CTX *, EVP_MD_CTX_get_pkey_ctx, const EVP_MD_CTX *)
REFUSING(0, EVP_MD_CTX *, EVP_MD_CTX_new)
REFUSING(3, EVP_MD *, EVP_MD_fetch, OSSL_LIB_CTX *, const char *, const char *)
REFUSING(1, int, EVP_MD_get_size, const EVP_MD *)
REFUSING(1, int, EVP_MD_up_ref, EVP_MD *)
REFUSING(1, EVP_PKEY_CTX *, EVP_PKEY_CTX_dup, const EVP_PKEY_CTX *)
REFUSING(2, int, EVP_PKEY_CTX_get_params, EVP_PKEY_CTX *, OSSL_PARAM *)
REFUSING(3, EVP_PKEY_CTX *, EVP_PKEY_CTX_new_from_name, OSSL_LIB_CTX *, const char *, const char *)
REFUSING(3, EVP_PKEY_CTX *, EVP_PKEY_CTX_new_from_pkey, OSSL_LIB_CTX *, EVP_PKEY *, const char *)
REFUSING(2, int, EVP_PKEY_CTX_set_group_name, EVP_PKEY_CTX *, const char *)
REFUSING(2, int, EVP_PKEY_CTX_set_params, EVP_PKEY_CTX *, const OSSL_PARAM *)
REFUSING(5, int, EVP_PKEY_decapsulate, EVP_PKEY_CTX *, unsigned char *, size_t *,
         const unsigned char *, size_t)
REFUSING(2, int, EVP_PKEY_decapsulate_init, EVP_PKEY_CTX *, const OSSL_PARAM *)
REFUSING(5, int, EVP_PKEY_decrypt, EVP_PKEY_CTX *, unsigned char *, size_t *, const unsigned char *,
         size_t)
REFUSING(2, int, EVP_PKEY_decrypt_init_ex, EVP_PKEY_CTX *, const OSSL_PARAM *)
REFUSING(3, int, EVP_PKEY_derive, EVP_PKEY_CTX *, unsigned char *, size_t *)
REFUSING(1, int, EVP_PKEY_derive_init, EVP_PKEY_CTX *)
REFUSING(2, int, EVP_PKEY_derive_init_ex, EVP_PKEY_CTX *, const OSSL_PARAM *)
REFUSING(2, int, EVP_PKEY_derive_set_peer, EVP_PKEY_CTX *, EVP_PKEY *)
REFUSING(5, int, EVP_PKEY_encapsulate, EVP_PKEY_CTX *, unsigned char *, size_t *, unsigned char *,
         size_t *)
REFUSING(2, int, EVP_PKEY_encapsulate_init, EVP_PKEY_CTX *, const OSSL_PARAM *)
REFUSING(5, int, EVP_PKEY_encrypt, EVP_PKEY_CTX *, unsigned char *, size_t *, const unsigned char *,
         size_t)
REFUSING(1, int, EVP_PKEY_encrypt_init, EVP_PKEY_CTX *)
REFUSING(2, int, EVP_PKEY_encrypt_init_ex, EVP_PKEY_CTX *, const OSSL_PARAM *)
REFUSING(4, int, EVP_PKEY_export, const EVP_PKEY *, int, OSSL_CALLBACK *, void *)
REFUSING(4, int, EVP_PKEY_fromdata, EVP_PKEY_CTX *, EVP_PKEY **, int, OSSL_PARAM *)
REFUSING(1, int, EVP_PKEY_fromdata_init, EVP_PKEY_CTX *)
REFUSING(2, int, EVP_PKEY_generate, EVP_PKEY_CTX *, EVP_PKEY **)
REFUSING(3, int, EVP_PKEY_get_bn_param, const EVP_PKEY *, const char *, BIGNUM **)
REFUSING(4, int, EVP_PKEY_get_group_name, const EVP_PKEY *, char *, size_t, size_t *)
REFUSING(5, int, EVP_PKEY_get_octet_string_param, const EVP_PKEY *, const char *, unsigned char *,
         size_t, size_t *)
REFUSING(2, int, EVP_PKEY_get_params, const EVP_PKEY *, OSSL_PARAM *)
REFUSING(1, int, EVP_PKEY_keygen_init, EVP_PKEY_CTX *)
REFUSING(1, int, EVP_PKEY_pairwise_check, EVP_PKEY_CTX *)
REFUSING(1, int, EVP_PKEY_param_check, EVP_PKEY_CTX *)
REFUSING(4, int, EVP_PKEY_print_public, BIO *, const EVP_PKEY *, int, ASN1_PCTX *)
REFUSING(1, int, EVP_PKEY_private_check, EVP_PKEY_CTX *)
REFUSING(1, int, EVP_PKEY_public_check, EVP_PKEY_CTX *)
REFUSING(1, int, EVP_PKEY_public_check_quick, EVP_PKEY_CTX *)
REFUSING(2, int, EVP_PKEY_set_params, EVP_PKEY *, OSSL_PARAM *)
REFUSING(5, int, EVP_PKEY_sign, EVP_PKEY_CTX *, unsigned char *, size_t *, const unsigned char *,
         size_t)
REFUSING(2, int, EVP_PKEY_sign_init_ex, EVP_PKEY_CTX *, const OSSL_PARAM *)
REFUSING(5, int, EVP_PKEY_verify, EVP_PKEY_CTX *, const unsigned char *, size_t,
         const unsigned char *, size_t)
REFUSING(1, int, EVP_PKEY_verify_init, EVP_PKEY_CTX *)
REFUSING(2, int, EVP_PKEY_verify_init_ex, EVP_PKEY_CTX *, const OSSL_PARAM *)
REFUSING(5, int, EVP_PKEY_verify_recover, EVP_PKEY_CTX *, unsigned char *, size_t *,
         const unsigned char *, size_t)
REFUSING(1, int, EVP_PKEY_verify_recover_init, EVP_PKEY_CTX *)
REFUSING(2, int, EVP_PKEY_verify_recover_init_ex, EVP_PKEY_CTX *, const OSSL_PARAM *)
REFUSING(7, int, EVP_Q_digest, OSSL_LIB_CTX *, const char *, const char *, const void *, size_t,
         unsigned char *, size_t *)
REFUSING(12, unsigned char *, EVP_Q_mac, OSSL_LIB_CTX *, const char *, const char *, const char *,
         const OSSL_PARAM *, const void *, size_t, const unsigned char *, size_t, unsigned char *,
         size_t, size_t *)
REFUSING(5, OSSL_ENCODER_CTX *, OSSL_ENCODER_CTX_new_for_pkey, const EVP_PKEY *, int, const char *,
         const char *, const char *)
REFUSING(3, int, OSSL_ENCODER_CTX_set_cipher, OSSL_ENCODER_CTX *, const char *, const char *)
REFUSING(3, int, OSSL_ENCODER_CTX_set_passphrase_cb, OSSL_ENCODER_CTX *, OSSL_PASSPHRASE_CALLBACK *,
         void *)
REFUSING(3, int, OSSL_ENCODER_to_data, OSSL_ENCODER_CTX *, unsigned char **, size_t *)
REFUSING(0, OSSL_LIB_CTX *, OSSL_LIB_CTX_new)
REFUSING(2, OSSL_LIB_CTX *, OSSL_LIB_CTX_new_child, const OSSL_CORE_HANDLE *, const OSSL_DISPATCH *)
REFUSING(0, OSSL_PARAM_BLD *, OSSL_PARAM_BLD_new)
REFUSING(3, int, OSSL_PARAM_BLD_push_BN, OSSL_PARAM_BLD *, const char *, const BIGNUM *)
REFUSING(1, OSSL_PARAM *, OSSL_PARAM_BLD_to_param, OSSL_PARAM_BLD *)
REFUSING(2, int, OSSL_PARAM_get_BN, const OSSL_PARAM *, BIGNUM **)
REFUSING(2, int, OSSL_PARAM_get_int, const OSSL_PARAM *, int *)
REFUSING(4, int, OSSL_PARAM_get_octet_string, const OSSL_PARAM *, void **, size_t, size_t *)
REFUSING(3, int, OSSL_PARAM_get_octet_string_ptr, const OSSL_PARAM *, const void **, size_t *)
REFUSING(2, int, OSSL_PARAM_get_size_t, const OSSL_PARAM *, size_t *)
REFUSING(2, int, OSSL_PARAM_get_uint, const OSSL_PARAM *, unsigned int *)
REFUSING(2, int, OSSL_PARAM_get_utf8_string_ptr, const OSSL_PARAM *, const char **)
REFUSING(2, int, OSSL_PARAM_set_BN, OSSL_PARAM *, const BIGNUM *)
REFUSING(2, int, OSSL_PARAM_set_int, OSSL_PARAM *, int)
REFUSING(3, int, OSSL_PARAM_set_octet_ptr, OSSL_PARAM *, const void *, size_t)
REFUSING(3, int, OSSL_PARAM_set_octet_string, OSSL_PARAM *, const void *, size_t)
REFUSING(2, int, OSSL_PARAM_set_size_t, OSSL_PARAM *, size_t)
REFUSING(2, int, OSSL_PARAM_set_uint, OSSL_PARAM *, unsigned int)
REFUSING(2, int, OSSL_PARAM_set_utf8_ptr, OSSL_PARAM *, const char *)
REFUSING(2, int, OSSL_PARAM_set_utf8_string, OSSL_PARAM *, const char *)
REFUSING(5, int, PEM_write_bio, BIO *, const char *, const char *, const unsigned char *, long)
REFUSING(4, int, RAND_bytes_ex, OSSL_LIB_CTX *, unsigned char *, size_t, unsigned int)
REFUSING(4, int, RAND_priv_bytes_ex, OSSL_LIB_CTX *, unsigned char *, size_t, unsigned int)
REFUSING(2, X509 *, X509_new_ex, OSSL_LIB_CTX *, const char *)
REFUSING(5, EVP_PKEY *, d2i_PUBKEY_ex, EVP_PKEY **, const unsigned char **, long, OSSL_LIB_CTX *,
         const char *)
REFUSING(3, X509 *, d2i_X509, X509 **, const unsigned char **, long)
