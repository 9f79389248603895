/* The token of this folder by its C_* functions alone: what it signs, libcrypto verifies, and the
 * other way round. What libcrypto is too old for is skipped. */
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>

#include "module.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define SIGNATURE_MAX   50000

static ck_session_handle_t session;
static char folder[] = "/tmp/token32-XXXXXX";

static unsigned char pin[] = "1234", wrong[] = "4321", message[] = "a message to be signed";
static unsigned char context[] = "a context", yes = 1, no = 0;
static ck_object_class_t public_class = CKO_PUBLIC_KEY, private_class = CKO_PRIVATE_KEY;

static const struct {
    const char *name;
    unsigned long set;
    unsigned long ciphertext;
} kems[] = {
    { "ML-KEM-512", CKP_ML_KEM_512, 768 },
    { "ML-KEM-768", CKP_ML_KEM_768, 1088 },
    { "ML-KEM-1024", CKP_ML_KEM_1024, 1568 },
};

/* What differs between the two families of signatures. */
struct family {
    ck_mechanism_type_t generate, pure, hashed, sha256;
};

static const struct family ml_dsa = { CKM_ML_DSA_KEY_PAIR_GEN, CKM_ML_DSA, CKM_HASH_ML_DSA,
                                      CKM_HASH_ML_DSA_SHA256 };
static const struct family slh_dsa = { CKM_SLH_DSA_KEY_PAIR_GEN, CKM_SLH_DSA, CKM_HASH_SLH_DSA,
                                       CKM_HASH_SLH_DSA_SHA256 };

static const struct family *family(ck_key_type_t type)
{
    return type == CKK_ML_DSA ? &ml_dsa : &slh_dsa;
}

/* Each test has the module anew, and the user logged in. */
static int begin(void **state)
{
    (void)state;
    OK(v2->C_Initialize(NULL));
    session = session_login();
    return 0;
}

static int end(void **state)
{
    (void)state;
    unsetenv("TOKEN32_SECRETS");
    OK(v2->C_Finalize(NULL));
    return 0;
}

struct pair {
    ck_object_handle_t public_key, private_key;
};

static struct pair generate(ck_mechanism_type_t type, unsigned long set, unsigned char *token)
{
    struct ck_mechanism mechanism = { type, NULL, 0 };
    struct ck_attribute templ[] = {
        { CKA_TOKEN, token, 1 },
        { CKA_LABEL, BYTES("made") },
        { CKA_PARAMETER_SET, &set, sizeof(set) },
    };
    struct pair pair;

    OK(v2->C_GenerateKeyPair(session, &mechanism, templ, 3, templ, 2, &pair.public_key,
                             &pair.private_key));
    return pair;
}

static struct pair generate_p256(void)
{
    static unsigned char oid[] = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 };
    struct ck_mechanism mechanism = { CKM_EC_KEY_PAIR_GEN, NULL, 0 };
    struct ck_attribute templ[] = { { CKA_EC_PARAMS, oid, sizeof(oid) } };
    struct pair pair;

    OK(v2->C_GenerateKeyPair(session, &mechanism, templ, 1, NULL, 0, &pair.public_key,
                             &pair.private_key));
    return pair;
}

/* The public half as libcrypto's, of CKA_PUBLIC_KEY_INFO. */
static EVP_PKEY *public_of(ck_object_handle_t object)
{
    static unsigned char der[8192];
    struct ck_attribute info = { CKA_PUBLIC_KEY_INFO, der, sizeof(der) };
    const unsigned char *position = der;
    EVP_PKEY *pkey;

    OK(v2->C_GetAttributeValue(session, object, &info, 1));
    pkey = d2i_PUBKEY(NULL, &position, (long)info.value_len);
    assert_non_null(pkey);
    return pkey;
}

static bool verifies(EVP_PKEY *pkey, const OSSL_PARAM *params, const unsigned char *signature,
                     size_t len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const bool ok = EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, pkey, params) == 1 &&
                    EVP_DigestVerify(ctx, signature, len, message, sizeof(message) - 1) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

static bool verifies_with(EVP_PKEY *pkey, unsigned char *text, size_t text_len,
                          const unsigned char *signature, size_t len)
{
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string("context-string", text, text_len),
        OSSL_PARAM_construct_end(),
    };

    return verifies(pkey, params, signature, len);
}

static unsigned long sign_bytes(ck_object_handle_t key, struct ck_mechanism *mechanism,
                                unsigned char *data, size_t data_len, unsigned char *signature)
{
    unsigned long len = SIGNATURE_MAX, asked;

    OK(v2->C_SignInit(session, mechanism, key));
    OK(v2->C_Sign(session, data, data_len, NULL, &asked));
    OK(v2->C_Sign(session, data, data_len, signature, &len));
    assert_int_equal(len, asked);
    return len;
}

static unsigned long sign(ck_object_handle_t key, struct ck_mechanism *mechanism,
                          unsigned char *signature)
{
    return sign_bytes(key, mechanism, BYTES(message), signature);
}

static ck_rv_t verify(ck_object_handle_t key, struct ck_mechanism *mechanism,
                      unsigned char *signature, unsigned long len)
{
    OK(v2->C_VerifyInit(session, mechanism, key));
    return v2->C_Verify(session, BYTES(message), signature, len);
}

static struct sign_context deterministic(void)
{
    return (struct sign_context){ .hedge = CKH_DETERMINISTIC_REQUIRED,
                                  .context = context,
                                  .context_len = sizeof(context) - 1 };
}

static void test_interfaces(void **state)
{
    ck_rv_t (*list)(struct ck_interface *, unsigned long *) = NULL;
    struct ck_interface found[3], *one;
    struct ck_version version = { 3, 0 };
    unsigned long count = 2;

    (void)state;
    *(void **)&list = dlsym(module_library, "C_GetInterfaceList");
    REFUSED(list(found, &count), CKR_BUFFER_TOO_SMALL);
    OK(list(found, &count));
    assert_int_equal(count, 3);
    OK(v3->C_GetInterface(NULL, &version, &one, 0));
    assert_int_equal(((struct ck_version *)one->function_list_ptr)->minor, 0);
    version = (struct ck_version){ 2, 40 };
    OK(v3->C_GetInterface((unsigned char *)(uintptr_t) "PKCS 11", &version, &one, 0));
    assert_ptr_equal(one->function_list_ptr, v2);
    version.minor = 99;
    REFUSED(v3->C_GetInterface(NULL, &version, &one, 0), CKR_ARGUMENTS_BAD);
    REFUSED(v2->C_DigestInit(session, NULL), CKR_FUNCTION_NOT_SUPPORTED);
}

static void test_mechanisms_are_those_of_libcrypto(void **state)
{
    ck_mechanism_type_t list[64];
    unsigned long count = COUNT_OF(list);
    struct ck_mechanism_info info;
    bool has_ml_dsa = false;

    (void)state;
    OK(v2->C_GetMechanismList(0, list, &count));
    for (unsigned long i = 0; i < count; i++) {
        OK(v2->C_GetMechanismInfo(0, list[i], &info));
        has_ml_dsa |= list[i] == CKM_ML_DSA;
    }
    assert_int_equal(has_ml_dsa, is_known("ML-DSA-44"));
    REFUSED(v2->C_GetMechanismInfo(0, CKM_RSA_PKCS, &info), CKR_MECHANISM_INVALID);
}

static ck_flags_t token_flags(void)
{
    struct ck_token_info info;

    OK(v2->C_GetTokenInfo(0, &info));
    return info.flags & (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
}

static void test_the_third_wrong_pin_locks(void **state)
{
    char path[64];

    (void)state;
    OK(v2->C_Logout(session));
    REFUSED(v2->C_Login(session, CKU_USER, BYTES(wrong)), CKR_PIN_INCORRECT);
    assert_int_equal(token_flags(), CKF_USER_PIN_COUNT_LOW);
    OK(v3->C_LoginUser(session, CKU_USER, BYTES(pin), NULL, 0));
    assert_int_equal(token_flags(), 0);
    OK(v2->C_Logout(session));
    for (int i = 0; i < 3; i++)
        REFUSED(v2->C_Login(session, CKU_USER, BYTES(wrong)), CKR_PIN_INCORRECT);
    assert_int_equal(token_flags(), CKF_USER_PIN_LOCKED);
    REFUSED(v2->C_Login(session, CKU_USER, BYTES(pin)), CKR_PIN_LOCKED);
    (void)snprintf(path, sizeof(path), "%s/tries", folder);
    assert_int_equal(unlink(path), 0);
    OK(v2->C_Login(session, CKU_USER, BYTES(pin)));
}

/* Those of this class, NULL: of any, with the label of generate; their number. */
static unsigned long find_class(ck_object_class_t *class, ck_object_handle_t *objects)
{
    struct ck_attribute templ[] = { { CKA_LABEL, BYTES("made") },
                                    { CKA_CLASS, class, sizeof(*class) } };
    unsigned long count;

    OK(v2->C_FindObjectsInit(session, templ, class == NULL ? 1 : 2));
    OK(v2->C_FindObjects(session, objects, 10, &count));
    OK(v2->C_FindObjectsFinal(session));
    return count;
}

static unsigned long find(ck_object_handle_t *objects)
{
    return find_class(NULL, objects);
}

static void test_private_objects_need_the_login(void **state)
{
    ck_object_handle_t objects[10];

    (void)state;
    (void)generate_p256();
    assert_int_equal(find(objects), 0); /* they have no label */
    NEEDS("ML-DSA-44");
    (void)generate(CKM_ML_DSA_KEY_PAIR_GEN, CKP_ML_DSA_44, &no);
    assert_int_equal(find(objects), 2);
    OK(v2->C_Logout(session));
    assert_int_equal(find(objects), 1);
}

static void test_ecdsa(void **state)
{
    const struct pair pair = generate_p256();
    unsigned char signature[SIGNATURE_MAX];
    struct ck_mechanism mechanism = { CKM_ECDSA_SHA256, NULL, 0 };
    unsigned long len = sign(pair.private_key, &mechanism, signature);

    (void)state;
    assert_int_equal(len, 64);
    OK(verify(pair.public_key, &mechanism, signature, len));
    signature[10] ^= 1;
    REFUSED(verify(pair.public_key, &mechanism, signature, len), CKR_SIGNATURE_INVALID);
    REFUSED(verify(pair.public_key, &mechanism, signature, len - 1), CKR_SIGNATURE_LEN_RANGE);
}

static void test_ecdsa_is_libcryptos(void **state)
{
    const struct pair pair = generate_p256();
    EVP_PKEY *pkey = public_of(pair.public_key);
    unsigned char rs[SIGNATURE_MAX], der[80] = { 0x30, 70, 2, 33, 0 };
    struct ck_mechanism mechanism = { CKM_ECDSA_SHA256, NULL, 0 };
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    (void)state;
    do { /* both numbers with their highest bit set are written as they are here */
        (void)sign(pair.private_key, &mechanism, rs);
    } while (rs[0] < 0x80 || rs[32] < 0x80);
    memcpy(der + 5, rs, 32);
    memcpy(der + 37, (unsigned char[]){ 2, 33, 0 }, 3);
    memcpy(der + 40, rs + 32, 32);
    assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, "SHA2-256", NULL, NULL, pkey, NULL), 1);
    assert_int_equal(EVP_DigestVerify(ctx, der, 72, message, sizeof(message) - 1), 1);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
}

/* Signed on the token with a context: libcrypto verifies it, and not without. */
static void check_context(const struct pair *pair, EVP_PKEY *pkey, const struct family *names)
{
    static unsigned char signature[SIGNATURE_MAX];
    struct sign_context given = deterministic();
    struct ck_mechanism mechanism = { names->pure, &given, SIGN_CONTEXT_SIZE };
    const unsigned long len = sign(pair->private_key, &mechanism, signature);

    assert_true(verifies_with(pkey, BYTES(context), signature, len));
    assert_false(verifies(pkey, NULL, signature, len));
    OK(verify(pair->public_key, &mechanism, signature, len));
    mechanism = (struct ck_mechanism){ names->pure, NULL, 0 };
    REFUSED(verify(pair->public_key, &mechanism, signature, len), CKR_SIGNATURE_INVALID);
}

/* Twice, deterministic and not. */
static void check_hedges(const struct pair *pair, EVP_PKEY *pkey, const struct family *names)
{
    static unsigned char first[SIGNATURE_MAX], second[SIGNATURE_MAX];
    struct sign_context given = { .hedge = CKH_DETERMINISTIC_REQUIRED };
    struct ck_mechanism mechanism = { names->pure, &given, SIGN_CONTEXT_SIZE };
    const unsigned long len = sign(pair->private_key, &mechanism, first);

    assert_int_equal(sign(pair->private_key, &mechanism, second), len);
    assert_memory_equal(first, second, len);
    given.hedge = CKH_HEDGE_REQUIRED;
    assert_int_equal(sign(pair->private_key, &mechanism, second), len);
    assert_memory_not_equal(first, second, len);
    assert_true(verifies(pkey, NULL, second, len));
}

/* The small and slow kinds of SLH-DSA sign once. */
static void check_signatures(ck_key_type_t type)
{
    for (size_t i = 0; i < ALGORITHMS32; i++) {
        struct pair pair;
        EVP_PKEY *pkey;

        if (algorithms32[i].type != type)
            continue;
        pair = generate(family(type)->generate, algorithms32[i].set, &no);
        pkey = public_of(pair.private_key);
        check_context(&pair, pkey, family(type));
        if (strchr(algorithms32[i].name, 's') == NULL)
            check_hedges(&pair, pkey, family(type));
        EVP_PKEY_free(pkey);
    }
}

static void test_ml_dsa(void **state)
{
    (void)state;
    NEEDS("ML-DSA-44");
    check_signatures(CKK_ML_DSA);
}

static void test_slh_dsa(void **state)
{
    (void)state;
    NEEDS("SLH-DSA-SHA2-128s");
    check_signatures(CKK_SLH_DSA);
}

/* M' as FIPS 204 §5.4 has it, to be verified by libcrypto as it is. */
static size_t hashed_message(unsigned char *out, const unsigned char *hash, size_t len)
{
    static const unsigned char sha256[] = { 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1 };
    const size_t context_len = sizeof(context) - 1;

    out[0] = 1;
    out[1] = (unsigned char)context_len;
    memcpy(out + 2, context, context_len);
    memcpy(out + 2 + context_len, sha256, sizeof(sha256));
    memcpy(out + 2 + context_len + sizeof(sha256), hash, len);
    return 2 + context_len + sizeof(sha256) + len;
}

static bool verifies_raw(EVP_PKEY *pkey, const unsigned char *data, size_t len,
                         const unsigned char *signature, size_t signature_len)
{
    int raw = 0;
    const OSSL_PARAM params[] = { OSSL_PARAM_construct_int("message-encoding", &raw),
                                  OSSL_PARAM_construct_end() };
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const bool ok = EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, pkey, params) == 1 &&
                    EVP_DigestVerify(ctx, signature, signature_len, data, len) == 1;

    EVP_MD_CTX_free(ctx);
    return ok;
}

/* Hashed by the token, and before. */
static void check_hashed(ck_key_type_t type, unsigned long set)
{
    const struct pair pair = generate(family(type)->generate, set, &no);
    EVP_PKEY *pkey = public_of(pair.public_key);
    static unsigned char first[SIGNATURE_MAX], second[SIGNATURE_MAX];
    unsigned char hash[32], encoded[128];
    struct sign_context given = deterministic();
    struct ck_mechanism mechanism = { family(type)->sha256, &given, SIGN_CONTEXT_SIZE };
    const unsigned long len = sign(pair.private_key, &mechanism, first);
    size_t encoded_len;

    assert_int_equal(EVP_Digest(message, sizeof(message) - 1, hash, NULL, EVP_sha256(), NULL), 1);
    encoded_len = hashed_message(encoded, hash, sizeof(hash));
    assert_true(verifies_raw(pkey, encoded, encoded_len, first, len));
    assert_false(verifies_with(pkey, BYTES(context), first, len));
    given.hash = CKM_SHA256;
    mechanism = (struct ck_mechanism){ family(type)->hashed, &given, HASH_SIGN_CONTEXT_SIZE };
    assert_int_equal(sign_bytes(pair.private_key, &mechanism, hash, sizeof(hash), second), len);
    assert_memory_equal(first, second, len);
    OK(v2->C_SignInit(session, &mechanism, pair.private_key));
    REFUSED(v2->C_Sign(session, hash, 31, second, (unsigned long[]){ SIGNATURE_MAX }),
            CKR_DATA_LEN_RANGE);
    EVP_PKEY_free(pkey);
}

static void test_hash_ml_dsa(void **state)
{
    (void)state;
    NEEDS("ML-DSA-44");
    check_hashed(CKK_ML_DSA, CKP_ML_DSA_44);
}

static void test_hash_slh_dsa(void **state)
{
    (void)state;
    NEEDS("SLH-DSA-SHA2-128s");
    check_hashed(CKK_SLH_DSA, CKP_SLH_DSA_SHA2_128F);
}

/* Each hash makes another signature, and each is verified. */
static void test_every_hash(void **state)
{
    static unsigned char signatures[CKM_HASH_ML_DSA_SHAKE256 + 1][4627];
    struct sign_context given = deterministic();
    struct ck_mechanism mechanism = { 0, &given, SIGN_CONTEXT_SIZE };
    struct pair pair;

    (void)state;
    NEEDS("ML-DSA-44");
    pair = generate(CKM_ML_DSA_KEY_PAIR_GEN, CKP_ML_DSA_44, &no);
    for (ck_mechanism_type_t type = CKM_HASH_ML_DSA_SHA224; type <= CKM_HASH_ML_DSA_SHAKE256;
         type++) {
        unsigned char signature[SIGNATURE_MAX];
        unsigned long len;

        mechanism.mechanism = type;
        len = sign(pair.private_key, &mechanism, signature);
        OK(verify(pair.public_key, &mechanism, signature, len));
        memcpy(signatures[type], signature, len);
        for (ck_mechanism_type_t other = CKM_HASH_ML_DSA_SHA224; other < type; other++)
            assert_memory_not_equal(signatures[type], signatures[other], len);
    }
}

static void test_parameters_that_do_not_fit(void **state)
{
    struct sign_context given = deterministic();
    struct ck_mechanism mechanism = { CKM_ML_DSA, &given, HASH_SIGN_CONTEXT_SIZE };
    struct pair pair;

    (void)state;
    NEEDS("ML-DSA-44");
    pair = generate(CKM_ML_DSA_KEY_PAIR_GEN, CKP_ML_DSA_44, &no);
    REFUSED(v2->C_SignInit(session, &mechanism, pair.private_key), CKR_MECHANISM_PARAM_INVALID);
    mechanism.parameter_len = SIGN_CONTEXT_SIZE;
    given.context_len = 256;
    REFUSED(v2->C_SignInit(session, &mechanism, pair.private_key), CKR_MECHANISM_PARAM_INVALID);
    given.context_len = 0;
    REFUSED(v2->C_SignInit(session, &mechanism, pair.public_key), CKR_KEY_FUNCTION_NOT_PERMITTED);
    mechanism.mechanism = CKM_SLH_DSA;
    REFUSED(v2->C_SignInit(session, &mechanism, pair.private_key), CKR_KEY_TYPE_INCONSISTENT);
    mechanism.mechanism = CKM_ML_KEM;
    REFUSED(v2->C_SignInit(session, &mechanism, pair.private_key), CKR_MECHANISM_INVALID);
}

/* A key pair of libcrypto's. */
static EVP_PKEY *software(const char *name)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, name, NULL);
    EVP_PKEY *pkey = NULL;

    assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
    assert_int_equal(EVP_PKEY_generate(ctx, &pkey), 1);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static ck_object_handle_t import(EVP_PKEY *pkey, const char *algorithm, ck_object_class_t class,
                                 ck_attribute_type_t type, const char *param)
{
    unsigned char bytes[8192];
    size_t len;

    assert_int_equal(EVP_PKEY_get_octet_string_param(pkey, param, bytes, sizeof(bytes), &len), 1);
    return object_import(session, algorithm, class, type, bytes, len, NULL);
}

static void check_import(const char *name, ck_key_type_t type, bool seeded)
{
    EVP_PKEY *pkey = software(name);
    struct ck_mechanism mechanism = { family(type)->pure, NULL, 0 };
    static unsigned char signature[SIGNATURE_MAX];
    const ck_object_handle_t public_key = import(pkey, name, CKO_PUBLIC_KEY, CKA_VALUE, "pub");
    const ck_object_handle_t private_key = import(
        pkey, name, CKO_PRIVATE_KEY, seeded ? CKA_SEED : CKA_VALUE, seeded ? "seed" : "priv");
    const unsigned long len = sign(private_key, &mechanism, signature);
    struct ck_attribute value = { seeded ? CKA_SEED : CKA_VALUE, NULL, 0 };

    assert_true(verifies(pkey, NULL, signature, len));
    OK(verify(public_key, &mechanism, signature, len));
    REFUSED(v2->C_GetAttributeValue(session, private_key, &value, 1), CKR_ATTRIBUTE_SENSITIVE);
    EVP_PKEY_free(pkey);
}

static void test_imported_keys_sign(void **state)
{
    (void)state;
    NEEDS("ML-DSA-44");
    for (size_t i = 0; i < ALGORITHMS32; i++) {
        if (algorithms32[i].type != CKK_ML_KEM && strchr(algorithms32[i].name, 's') == NULL)
            check_import(algorithms32[i].name, algorithms32[i].type, false);
        if (algorithms32[i].type == CKK_ML_DSA)
            check_import(algorithms32[i].name, algorithms32[i].type, true);
    }
}

static void test_what_is_no_key_is_not_imported(void **state)
{
    ck_key_type_t type = CKK_ML_DSA;
    unsigned long set = CKP_ML_DSA_44;
    struct ck_attribute templ[] = { { CKA_CLASS, &public_class, sizeof(public_class) },
                                    { CKA_KEY_TYPE, &type, sizeof(type) },
                                    { CKA_PARAMETER_SET, &set, sizeof(set) },
                                    { CKA_VALUE, BYTES("short") } };
    ck_object_handle_t object;

    (void)state;
    REFUSED(v2->C_CreateObject(session, templ, 4, &object), CKR_TEMPLATE_INCONSISTENT);
    set = 99;
    REFUSED(v2->C_CreateObject(session, templ, 4, &object), CKR_TEMPLATE_INCONSISTENT);
}

static void secret_of(ck_object_handle_t key, unsigned char *secret)
{
    struct ck_attribute value = { CKA_VALUE, secret, 32 };

    OK(v2->C_GetAttributeValue(session, key, &value, 1));
    assert_int_equal(value.value_len, 32);
}

static struct ck_attribute readable[] = { { CKA_SENSITIVE, &no, 1 }, { CKA_EXTRACTABLE, &yes, 1 } };
static struct ck_mechanism ml_kem = { CKM_ML_KEM, NULL, 0 };

/* What libcrypto encapsulates to a public key of the token. */
static size_t encapsulate(EVP_PKEY *pkey, unsigned char *ciphertext, unsigned char *secret)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    size_t len = 1568, secret_len = 32;

    assert_int_equal(EVP_PKEY_encapsulate_init(ctx, NULL), 1);
    assert_int_equal(EVP_PKEY_encapsulate(ctx, ciphertext, &len, secret, &secret_len), 1);
    EVP_PKEY_CTX_free(ctx);
    return len;
}

static void check_decapsulation(unsigned long set, unsigned long expected)
{
    const struct pair pair = generate(CKM_ML_KEM_KEY_PAIR_GEN, set, &no);
    EVP_PKEY *pkey = public_of(pair.private_key);
    unsigned char ciphertext[1568], ours[32], theirs[32];
    const size_t len = encapsulate(pkey, ciphertext, ours);
    ck_object_handle_t key;

    assert_int_equal(len, expected);
    OK(v3->C_DecapsulateKey(session, &ml_kem, pair.private_key, readable, 2, ciphertext, len,
                            &key));
    secret_of(key, theirs);
    assert_memory_equal(ours, theirs, 32);
    REFUSED(v3->C_DecapsulateKey(session, &ml_kem, pair.private_key, readable, 2, ciphertext,
                                 len - 1, &key),
            CKR_WRAPPED_KEY_LEN_RANGE);
    EVP_PKEY_free(pkey);
}

static void check_encapsulation(const char *name, unsigned long expected)
{
    EVP_PKEY *pkey = software(name);
    const ck_object_handle_t public_key = import(pkey, name, CKO_PUBLIC_KEY, CKA_VALUE, "pub");
    const ck_object_handle_t private_key = import(pkey, name, CKO_PRIVATE_KEY, CKA_SEED, "seed");
    unsigned char ciphertext[1568], ours[32], theirs[32];
    unsigned long len = 0;
    ck_object_handle_t key;

    OK(v3->C_EncapsulateKey(session, &ml_kem, public_key, readable, 2, NULL, &len, &key));
    assert_int_equal(len, expected);
    OK(v3->C_EncapsulateKey(session, &ml_kem, public_key, readable, 2, ciphertext, &len, &key));
    secret_of(key, ours);
    OK(v3->C_DecapsulateKey(session, &ml_kem, private_key, readable, 2, ciphertext, len, &key));
    secret_of(key, theirs);
    assert_memory_equal(ours, theirs, 32);
    EVP_PKEY_free(pkey);
}

static void test_ml_kem(void **state)
{
    (void)state;
    NEEDS("ML-KEM-512");
    for (size_t i = 0; i < COUNT_OF(kems); i++) {
        check_decapsulation(kems[i].set, kems[i].ciphertext);
        check_encapsulation(kems[i].name, kems[i].ciphertext);
    }
}

static void test_secrets_that_stay(void **state)
{
    unsigned char ciphertext[1568], secret[32];
    struct ck_attribute value = { CKA_VALUE, secret, sizeof(secret) };
    struct pair pair;
    ck_object_handle_t key;
    EVP_PKEY *pkey;

    (void)state;
    NEEDS("ML-KEM-512");
    pair = generate(CKM_ML_KEM_KEY_PAIR_GEN, CKP_ML_KEM_512, &no);
    pkey = public_of(pair.private_key);
    (void)encapsulate(pkey, ciphertext, secret);
    setenv("TOKEN32_SECRETS", "refuse", 1);
    REFUSED(v3->C_DecapsulateKey(session, &ml_kem, pair.private_key, readable, 2, ciphertext, 768,
                                 &key),
            CKR_TEMPLATE_INCONSISTENT);
    setenv("TOKEN32_SECRETS", "keep", 1);
    OK(v3->C_DecapsulateKey(session, &ml_kem, pair.private_key, readable, 2, ciphertext, 768,
                            &key));
    REFUSED(v2->C_GetAttributeValue(session, key, &value, 1), CKR_ATTRIBUTE_SENSITIVE);
    EVP_PKEY_free(pkey);
}

/* Two messages with a context each and a third by parts, after one C_MessageSignInit. */
static void test_messages(void **state)
{
    struct sign_context given = deterministic();
    struct ck_mechanism mechanism = { CKM_ML_DSA, NULL, 0 };
    unsigned char other[] = "another", first[SIGNATURE_MAX], second[SIGNATURE_MAX];
    unsigned long len = SIGNATURE_MAX;
    struct pair pair;
    EVP_PKEY *pkey;

    (void)state;
    NEEDS("ML-DSA-44");
    pair = generate(CKM_ML_DSA_KEY_PAIR_GEN, CKP_ML_DSA_44, &no);
    pkey = public_of(pair.public_key);
    OK(v3->C_MessageSignInit(session, &mechanism, pair.private_key));
    OK(v3->C_SignMessage(session, &given, SIGN_CONTEXT_SIZE, BYTES(message), first, &len));
    assert_true(verifies_with(pkey, BYTES(context), first, len));
    OK(v3->C_SignMessageBegin(session, &given, SIGN_CONTEXT_SIZE));
    OK(v3->C_SignMessageNext(session, NULL, 0, message, 5, NULL, NULL));
    OK(v3->C_SignMessageNext(session, NULL, 0, message + 5, sizeof(message) - 6, second, &len));
    assert_memory_equal(first, second, len);
    given.context = other;
    given.context_len = sizeof(other) - 1;
    OK(v3->C_SignMessage(session, &given, SIGN_CONTEXT_SIZE, BYTES(message), second, &len));
    assert_true(verifies_with(pkey, BYTES(other), second, len));
    OK(v3->C_MessageSignFinal(session));
    REFUSED(v3->C_MessageSignFinal(session), CKR_OPERATION_NOT_INITIALIZED);

    OK(v3->C_MessageVerifyInit(session, &mechanism, pair.public_key));
    REFUSED(v3->C_VerifyMessage(session, &given, SIGN_CONTEXT_SIZE, BYTES(message), first, len),
            CKR_SIGNATURE_INVALID);
    OK(v3->C_VerifyMessageBegin(session, &given, SIGN_CONTEXT_SIZE));
    OK(v3->C_VerifyMessageNext(session, NULL, 0, message, 5, NULL, 0));
    OK(v3->C_VerifyMessageNext(session, NULL, 0, message + 5, sizeof(message) - 6, second, len));
    OK(v3->C_MessageVerifyFinal(session));
    EVP_PKEY_free(pkey);
}

static void test_parts(void **state)
{
    const struct pair pair = generate_p256();
    struct ck_mechanism mechanism = { CKM_ECDSA_SHA256, NULL, 0 };
    unsigned char signature[64];
    unsigned long len = sizeof(signature);

    (void)state;
    OK(v2->C_SignInit(session, &mechanism, pair.private_key));
    REFUSED(v2->C_SignInit(session, &mechanism, pair.private_key), CKR_OPERATION_ACTIVE);
    OK(v2->C_SignUpdate(session, message, 5));
    OK(v2->C_SignUpdate(session, message + 5, sizeof(message) - 6));
    REFUSED(v2->C_SignFinal(session, signature, (unsigned long[]){ 63 }), CKR_BUFFER_TOO_SMALL);
    OK(v2->C_SignFinal(session, signature, &len));
    OK(v3->C_VerifySignatureInit(session, &mechanism, pair.public_key, signature, len));
    OK(v3->C_VerifySignature(session, BYTES(message)));
    OK(v3->C_VerifySignatureInit(session, &mechanism, pair.public_key, signature, len));
    OK(v3->C_VerifySignatureUpdate(session, message, 5));
    REFUSED(v3->C_VerifySignatureFinal(session), CKR_SIGNATURE_INVALID);
    OK(v2->C_SignInit(session, &mechanism, pair.private_key));
    OK(v3->C_SessionCancel(session, CKF_SIGN));
    REFUSED(v2->C_Sign(session, BYTES(message), signature, &len), CKR_OPERATION_NOT_INITIALIZED);
}

/* In a process of its own; whether it returned. */
static bool in_child(bool (*function)(void))
{
    const pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0)
        _exit(function() ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool child_signs(void)
{
    struct ck_mechanism mechanism = { CKM_ECDSA_SHA256, NULL, 0 };
    unsigned char signature[64];

    if (v2->C_CloseSession(session) != CKR_CRYPTOKI_NOT_INITIALIZED)
        return false;
    (void)begin(NULL);
    return sign(generate_p256().private_key, &mechanism, signature) == 64;
}

static void test_a_child_begins_anew(void **state)
{
    struct ck_session_info info;

    (void)state;
    assert_true(in_child(child_signs));
    OK(v2->C_GetSessionInfo(session, &info));
    assert_int_equal(info.state, CKS_RW_USER_FUNCTIONS);
}

static bool child_makes_objects(void)
{
    (void)begin(NULL);
    (void)generate(CKM_ML_DSA_KEY_PAIR_GEN, CKP_ML_DSA_44, &yes);
    return true;
}

static bool child_destroys_objects(void)
{
    ck_object_handle_t objects[10];

    (void)begin(NULL);
    for (unsigned long count = find(objects); count > 0; count--)
        OK(v2->C_DestroyObject(session, objects[count - 1]));
    return true;
}

static void test_processes_share_the_tokens_objects(void **state)
{
    ck_object_handle_t objects[10];
    struct ck_mechanism mechanism = { CKM_ML_DSA, NULL, 0 };
    unsigned char signature[SIGNATURE_MAX];
    unsigned long len;

    (void)state;
    NEEDS("ML-DSA-44");
    assert_true(in_child(child_makes_objects));
    assert_int_equal(find_class(&private_class, &objects[0]), 1);
    assert_int_equal(find_class(&public_class, &objects[1]), 1);
    len = sign(objects[0], &mechanism, signature);
    OK(verify(objects[1], &mechanism, signature, len));
    assert_true(in_child(child_destroys_objects));
    assert_int_equal(find(objects), 0);
}

static void *thread_signs(void *argument)
{
    const ck_object_handle_t *key = argument;
    struct ck_mechanism mechanism = { CKM_ECDSA_SHA256, NULL, 0 };
    const ck_session_handle_t own = session_new();
    unsigned char signature[64];

    for (int i = 0; i < 100; i++) {
        OK(v2->C_SignInit(own, &mechanism, *key));
        OK(v2->C_Sign(own, BYTES(message), signature, (unsigned long[]){ 64 }));
    }
    OK(v2->C_CloseSession(own));
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[4];
    struct pair pair = generate_p256();

    (void)state;
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, thread_signs, &pair.private_key), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void test_session_objects_go_with_their_session(void **state)
{
    const ck_session_handle_t kept = session_new();
    const struct pair pair = generate_p256();
    struct ck_mechanism mechanism = { CKM_ECDSA, NULL, 0 };

    (void)state;
    OK(v2->C_CloseSession(session));
    session = kept;
    REFUSED(v2->C_SignInit(session, &mechanism, pair.private_key), CKR_KEY_HANDLE_INVALID);
}

static void folder_remove(void)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;

    while ((entry = readdir(dir)) != NULL)
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    (void)closedir(dir);
    assert_int_equal(rmdir(folder), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

/* [PATTERN]: only the cases whose names it fits, as for cmocka. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(test_interfaces),
        CASE(test_mechanisms_are_those_of_libcrypto),
        CASE(test_the_third_wrong_pin_locks),
        CASE(test_private_objects_need_the_login),
        CASE(test_ecdsa),
        CASE(test_ecdsa_is_libcryptos),
        CASE(test_ml_dsa),
        CASE(test_slh_dsa),
        CASE(test_hash_ml_dsa),
        CASE(test_hash_slh_dsa),
        CASE(test_every_hash),
        CASE(test_parameters_that_do_not_fit),
        CASE(test_imported_keys_sign),
        CASE(test_what_is_no_key_is_not_imported),
        CASE(test_ml_kem),
        CASE(test_secrets_that_stay),
        CASE(test_messages),
        CASE(test_parts),
        CASE(test_a_child_begins_anew),
        CASE(test_processes_share_the_tokens_objects),
        CASE(test_threads),
        CASE(test_session_objects_go_with_their_session),
    };
    int failed;

    assert_non_null(mkdtemp(folder));
    setenv("TOKEN32_DIR", folder, 1);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    module_open();
    failed = cmocka_run_group_tests_name("token32", tests, NULL, NULL);
    (void)dlclose(module_library);
    folder_remove();
    return failed;
}
