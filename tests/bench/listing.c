/* What it costs to list what is on a token.
 *
 *     listing fill KIND FROM TO
 *     listing raw|made|provider WHAT TIMES
 *
 * fill makes the objects FROM to TO - 1 on the token soft (PIN 1234) of the module PKCS11_MODULE:
 * ec or rsa, both halves of P-256 or RSA-2048 keys (of one, under many names), or cert.
 *
 * The others list WHAT: private, cert or all. raw with that module: the least that PKCS#11 asks
 * for, one search for each class and one call to read each object, with what an EVP_PKEY needs, so
 * that private keys want the public ones too. made is raw, and has libcrypto make its object of
 * each public key and certificate that is listed, without any provider for tokens. provider uses
 * OSSL_STORE, with the provider of OPENSSL_CONF.
 *
 * They print how many private keys, public keys and certificates were given, the milliseconds of
 * CPU time of the first listing, from a process on that has not touched the token, and the median
 * of TIMES others. */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/core_names.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <openssl/x509.h>

#include <p11-kit/pkcs11.h>

#include "common.h"

#define COUNT_OF(list) (sizeof(list) / sizeof((list)[0]))
#define OBJECTS_MOST   100000
#define TIMES_MOST     100
#define BATCH          256

static CK_FUNCTION_LIST *p11;
static CK_SESSION_HANDLE session;

/* Of the process: with a token in software that is all there is, and what else the machine does is
 * not in it. */
static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static CK_SLOT_ID slot_find(void)
{
    CK_SLOT_ID slots[16];
    CK_ULONG count = COUNT_OF(slots);
    CK_TOKEN_INFO info;

    must(p11->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK, "C_GetSlotList");
    for (CK_ULONG i = 0; i < count; i++)
        if (p11->C_GetTokenInfo(slots[i], &info) == CKR_OK && memcmp(info.label, "soft ", 5) == 0)
            return slots[i];
    must(false, "no token soft");
    return 0;
}

static void token_open(CK_FLAGS flags)
{
    void *library = dlopen(getenv("PKCS11_MODULE"), RTLD_NOW | RTLD_LOCAL);
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
    CK_C_GetFunctionList get = NULL;

    must(library != NULL, "PKCS11_MODULE");
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    must(get != NULL && get(&p11) == CKR_OK && p11->C_Initialize(&args) == CKR_OK, "C_Initialize");
    must(p11->C_OpenSession(slot_find(), CKF_SERIAL_SESSION | flags, NULL, NULL, &session) ==
                 CKR_OK &&
             p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)(uintptr_t) "1234", 4) == CKR_OK,
         "C_Login");
}

/* Objects to make. The first two attributes of each template are its names. */
#define NAMES        2
#define VALUE(of)    of, sizeof(of)
#define VALUE_OF(of) &(of), sizeof(of)

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_OBJECT_CLASS private_class = CKO_PRIVATE_KEY, public_class = CKO_PUBLIC_KEY,
                       certificate_class = CKO_CERTIFICATE;

static void create(CK_ATTRIBUTE *template, CK_ULONG count, unsigned long n)
{
    char name[32];
    CK_ULONG len = (CK_ULONG)snprintf(name, sizeof(name), "object-%lu", n);
    CK_OBJECT_HANDLE object;

    template[0] = (CK_ATTRIBUTE){ CKA_ID, name, len };
    template[1] = (CK_ATTRIBUTE){ CKA_LABEL, name, len };
    must(p11->C_CreateObject(session, template, count, &object) == CKR_OK, "C_CreateObject");
}

static void fill_ec(EVP_PKEY *key, unsigned long from, unsigned long to)
{
    static CK_BYTE p256[] = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 };
    static CK_BYTE point[67] = { 4, 65 }, value[32];
    CK_KEY_TYPE type = CKK_EC;
    CK_ATTRIBUTE public[NAMES + 6] = { [NAMES] = { CKA_CLASS, VALUE_OF(public_class) },
                                       { CKA_KEY_TYPE, VALUE_OF(type) },
                                       { CKA_TOKEN, VALUE_OF(yes) },
                                       { CKA_PRIVATE, VALUE_OF(no) },
                                       { CKA_EC_PARAMS, VALUE(p256) },
                                       { CKA_EC_POINT, VALUE(point) } };
    CK_ATTRIBUTE private[NAMES + 7] = { [NAMES] = { CKA_CLASS, VALUE_OF(private_class) },
                                        { CKA_KEY_TYPE, VALUE_OF(type) },
                                        { CKA_TOKEN, VALUE_OF(yes) },
                                        { CKA_PRIVATE, VALUE_OF(yes) },
                                        { CKA_SIGN, VALUE_OF(yes) },
                                        { CKA_EC_PARAMS, VALUE(p256) },
                                        { CKA_VALUE, VALUE(value) } };
    BIGNUM *secret = NULL;
    size_t len = 0;

    must(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point + 2, 65, &len) == 1 &&
             EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &secret) == 1 &&
             BN_bn2binpad(secret, value, sizeof(value)) == sizeof(value),
         "the key");
    BN_clear_free(secret);
    for (unsigned long n = from; n < to; n++) {
        create(private, COUNT_OF(private), n);
        create(public, COUNT_OF(public), n);
    }
}

/* A number of key as an attribute, which stays. */
static CK_ATTRIBUTE number(EVP_PKEY *key, CK_ATTRIBUTE_TYPE type, const char *name)
{
    BIGNUM *bn = NULL;
    CK_ATTRIBUTE attribute = { type, malloc(256), 0 };

    must(attribute.pValue != NULL && EVP_PKEY_get_bn_param(key, name, &bn) == 1 &&
             BN_num_bytes(bn) <= 256,
         name);
    attribute.ulValueLen = (CK_ULONG)BN_bn2bin(bn, attribute.pValue);
    BN_clear_free(bn);
    return attribute;
}

static void fill_rsa(EVP_PKEY *key, unsigned long from, unsigned long to)
{
    CK_KEY_TYPE type = CKK_RSA;
    CK_ATTRIBUTE modulus = number(key, CKA_MODULUS, OSSL_PKEY_PARAM_RSA_N);
    CK_ATTRIBUTE exponent = number(key, CKA_PUBLIC_EXPONENT, OSSL_PKEY_PARAM_RSA_E);
    CK_ATTRIBUTE public[NAMES + 6] = { [NAMES] = { CKA_CLASS, VALUE_OF(public_class) },
                                       { CKA_KEY_TYPE, VALUE_OF(type) },
                                       { CKA_TOKEN, VALUE_OF(yes) },
                                       { CKA_PRIVATE, VALUE_OF(no) },
                                       modulus,
                                       exponent };
    CK_ATTRIBUTE private[] = { { 0 },
                               { 0 },
                               { CKA_CLASS, VALUE_OF(private_class) },
                               { CKA_KEY_TYPE, VALUE_OF(type) },
                               { CKA_TOKEN, VALUE_OF(yes) },
                               { CKA_PRIVATE, VALUE_OF(yes) },
                               { CKA_SIGN, VALUE_OF(yes) },
                               modulus,
                               exponent,
                               number(key, CKA_PRIVATE_EXPONENT, OSSL_PKEY_PARAM_RSA_D),
                               number(key, CKA_PRIME_1, OSSL_PKEY_PARAM_RSA_FACTOR1),
                               number(key, CKA_PRIME_2, OSSL_PKEY_PARAM_RSA_FACTOR2),
                               number(key, CKA_EXPONENT_1, OSSL_PKEY_PARAM_RSA_EXPONENT1),
                               number(key, CKA_EXPONENT_2, OSSL_PKEY_PARAM_RSA_EXPONENT2),
                               number(key, CKA_COEFFICIENT, OSSL_PKEY_PARAM_RSA_COEFFICIENT1) };

    for (unsigned long n = from; n < to; n++) {
        create(private, COUNT_OF(private), n);
        create(public, COUNT_OF(public), n);
    }
}

static void fill_certificates(EVP_PKEY *key, unsigned long from, unsigned long to)
{
    static unsigned char der[2000];
    CK_CERTIFICATE_TYPE type = CKC_X_509;
    unsigned char *position = der;
    X509 *certificate = X509_new();
    int len;

    must(X509_gmtime_adj(X509_getm_notBefore(certificate), 0) != NULL &&
             X509_gmtime_adj(X509_getm_notAfter(certificate), 1000) != NULL &&
             X509_set_pubkey(certificate, key) == 1 &&
             X509_sign(certificate, key, EVP_sha256()) > 0,
         "the certificate");
    len = i2d_X509(certificate, &position);
    X509_free(certificate);
    {
        CK_ATTRIBUTE template[NAMES + 6] = { [NAMES] = { CKA_CLASS, VALUE_OF(certificate_class) },
                                             { CKA_TOKEN, VALUE_OF(yes) },
                                             { CKA_PRIVATE, VALUE_OF(no) },
                                             { CKA_CERTIFICATE_TYPE, VALUE_OF(type) },
                                             { CKA_SUBJECT, der, 0 },
                                             { CKA_VALUE, der, (CK_ULONG)len } };

        for (unsigned long n = from; n < to; n++)
            create(template, COUNT_OF(template), n);
    }
}

static const struct {
    const char *name;
    void (*fill)(EVP_PKEY *key, unsigned long from, unsigned long to);
} kinds[] = { { "ec", fill_ec }, { "rsa", fill_rsa }, { "cert", fill_certificates } };

static void fill(const char *kind, unsigned long from, unsigned long to)
{
    EVP_PKEY *key = strcmp(kind, "rsa") == 0 ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");

    token_open(CKF_RW_SESSION);
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (strcmp(kind, kinds[i].name) == 0)
            kinds[i].fill(key, from, to);
    EVP_PKEY_free(key);
    (void)p11->C_Finalize(NULL);
}

/* What a listing gave. */
struct found {
    unsigned long private, public, certificates;
};

static CK_ULONG find(CK_OBJECT_CLASS class, CK_OBJECT_HANDLE *out)
{
    CK_ATTRIBUTE template = { CKA_CLASS, &class, sizeof(class) };
    CK_ULONG count = 0, some;

    must(p11->C_FindObjectsInit(session, &template, 1) == CKR_OK, "C_FindObjectsInit");
    do {
        must(count + BATCH <= OBJECTS_MOST &&
                 p11->C_FindObjects(session, out + count, BATCH, &some) == CKR_OK,
             "C_FindObjects");
        count += some;
    } while (some != 0);
    must(p11->C_FindObjectsFinal(session) == CKR_OK, "C_FindObjectsFinal");
    return count;
}

static CK_ATTRIBUTE *attribute(CK_ATTRIBUTE *list, CK_ULONG count, CK_ATTRIBUTE_TYPE type)
{
    for (CK_ULONG i = 0; i < count; i++)
        if (list[i].type == type && list[i].ulValueLen != CK_UNAVAILABLE_INFORMATION)
            return &list[i];
    return NULL;
}

/* As the default provider's EVP_PKEY. */
static void public_make(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *key = NULL;

    must(EVP_PKEY_fromdata_init(ctx) == 1 &&
             EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) == 1,
         "EVP_PKEY_fromdata");
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
}

/* Only P-256 keys are listed with their public halves. */
static void make_public(CK_ATTRIBUTE *list, CK_ULONG count)
{
    CK_ATTRIBUTE *point = attribute(list, count, CKA_EC_POINT);
    char group[] = "prime256v1";

    must(point != NULL && point->ulValueLen == 67, "CKA_EC_POINT");
    {
        OSSL_PARAM params[] = {
            OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
            OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (char *)point->pValue + 2,
                                              65),
            OSSL_PARAM_construct_end(),
        };

        public_make("EC", params);
    }
}

static void make_certificate(CK_ATTRIBUTE *list, CK_ULONG count)
{
    CK_ATTRIBUTE *value = attribute(list, count, CKA_VALUE);
    const unsigned char *position = value != NULL ? value->pValue : NULL;
    X509 *certificate = value != NULL ? d2i_X509(NULL, &position, (long)value->ulValueLen) : NULL;

    must(certificate != NULL, "d2i_X509");
    X509_free(certificate);
}

/* One call for each object. An attribute that it does not have is no failure of the call's. make
 * may be NULL. */
static CK_ULONG read_all(CK_OBJECT_CLASS class, const CK_ATTRIBUTE_TYPE *types, CK_ULONG count,
                         void (*make)(CK_ATTRIBUTE *list, CK_ULONG count))
{
    static CK_OBJECT_HANDLE objects[OBJECTS_MOST];
    static CK_BYTE values[16][4096];
    CK_ULONG objects_count = find(class, objects);

    for (CK_ULONG n = 0; n < objects_count; n++) {
        CK_ATTRIBUTE template[16];
        CK_RV rv;

        for (CK_ULONG i = 0; i < count; i++)
            template[i] = (CK_ATTRIBUTE){ types[i], values[i], sizeof(values[i]) };
        rv = p11->C_GetAttributeValue(session, objects[n], template, count);
        must(rv == CKR_OK || rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE,
             "C_GetAttributeValue");
        if (make != NULL)
            make(template, count);
    }
    return objects_count;
}

static bool makes; /* libcrypto's objects */

static struct found list_raw(const char *what)
{
    static const CK_ATTRIBUTE_TYPE of_private[] = {
        CKA_KEY_TYPE,          CKA_ID,   CKA_LABEL,   CKA_MODULUS, CKA_PUBLIC_EXPONENT,
        CKA_EC_PARAMS,         CKA_SIGN, CKA_DECRYPT, CKA_DERIVE,  CKA_ALWAYS_AUTHENTICATE,
        CKA_ALLOWED_MECHANISMS
    };
    static const CK_ATTRIBUTE_TYPE of_public[] = { CKA_KEY_TYPE,        CKA_ID,
                                                   CKA_LABEL,           CKA_MODULUS,
                                                   CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS,
                                                   CKA_EC_POINT,        CKA_ALLOWED_MECHANISMS };
    static const CK_ATTRIBUTE_TYPE of_certificates[] = { CKA_ID, CKA_LABEL, CKA_VALUE };
    bool certificates = strcmp(what, "private") != 0, keys = strcmp(what, "cert") != 0;
    struct found found = { 0 };

    if (keys) {
        found.private = read_all(CKO_PRIVATE_KEY, of_private, COUNT_OF(of_private), NULL);
        found.public = read_all(CKO_PUBLIC_KEY, of_public, COUNT_OF(of_public),
                                makes && certificates ? make_public : NULL);
    }
    if (certificates)
        found.certificates = read_all(CKO_CERTIFICATE, of_certificates, COUNT_OF(of_certificates),
                                      makes ? make_certificate : NULL);
    if (!certificates)
        found.public = 0; /* nobody asked for them */
    else if (keys && OpenSSL_version_num() >= 0x30500000UL)
        (void)read_all(CKO_SECRET_KEY, of_certificates, 2, NULL); /* which listings have since */
    return found;
}

static struct found list_raw_first(const char *what)
{
    token_open(0);
    return list_raw(what);
}

static struct found list_store(const char *what)
{
    char uri[128];
    struct found found = { 0 };
    OSSL_STORE_CTX *store;

    (void)snprintf(uri, sizeof(uri), "pkcs11:token=soft%s%s",
                   strcmp(what, "all") != 0 ? ";type=" : "", strcmp(what, "all") != 0 ? what : "");
    store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);
    must(store != NULL, uri);
    while (!OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        int type = info != NULL ? OSSL_STORE_INFO_get_type(info) : 0;

        found.private += type == OSSL_STORE_INFO_PKEY;
        found.public += type == OSSL_STORE_INFO_PUBKEY;
        found.certificates += type == OSSL_STORE_INFO_CERT;
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return found;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void list(struct found (*first)(const char *what), struct found (*next)(const char *what),
                 const char *what, unsigned times)
{
    double start = now(), taken[TIMES_MOST] = { 0 };
    struct found found = first(what);

    must(times <= TIMES_MOST, "TIMES");
    printf("%lu\t%lu\t%lu\t%.3f", found.private, found.public, found.certificates,
           (now() - start) * 1e3);
    for (unsigned n = 0; n < times; n++) {
        struct found again;

        start = now();
        again = next(what);
        taken[n] = (now() - start) * 1e3;
        must(memcmp(&again, &found, sizeof(found)) == 0, "another number the second time");
    }
    qsort(taken, times, sizeof(taken[0]), compare);
    printf("\t%.3f\n", times != 0 ? (taken[times / 2] + taken[(times - 1) / 2]) / 2 : 0);
}

int main(int argc, char **argv)
{
    const char *verb = argc > 3 ? argv[1] : "";

    if (argc == 5 && strcmp(verb, "fill") == 0)
        fill(argv[2], strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
    else if (argc == 4 && (strcmp(verb, "raw") == 0 || strcmp(verb, "made") == 0)) {
        makes = strcmp(verb, "made") == 0;
        list(list_raw_first, list_raw, argv[2], (unsigned)atoi(argv[3]));
    } else if (argc == 4 && strcmp(verb, "provider") == 0)
        list(list_store, list_store, argv[2], (unsigned)atoi(argv[3]));
    else {
        (void)fprintf(stderr, "usage: listing fill ec|rsa|cert FROM TO | listing raw|made|provider "
                              "private|cert|all TIMES\n");
        return 2;
    }
    return 0;
}
